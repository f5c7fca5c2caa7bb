"""Files and bytes -> `Frame`: every image people really have, upright, 8-bit RGB.

JPEG goes through simplejpeg, everything else (and what simplejpeg refuses) through a fixed list of Pillow's
readers, never those that start other programs, such as EPS and WMF. Colour profiles are ignored: values are
taken as sRGB. Transparency is composited over white. Of animations and multi-page files the first image
counts.
"""

from __future__ import annotations

import io
import logging
import math
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageFile

from cortexia_video.errors import (
    CortexiaError,
    DecodeError,
    InputError,
    describe,
    printable,
    put_in_words,
)
from cortexia_video.frame import Frame
from cortexia_video.images.exif import Exif, focal_length_px, read_exif
from cortexia_video.images.foreign_content import describe_foreign, find_camera_file
from cortexia_video.images.pillow_readers import READERS, TiffReader, import_heif_reader
from cortexia_video.images.pixels import to_rgb, turn
from cortexia_video.images.sniff import JPEG, SNIFF_BYTES, name_format
from cortexia_video.runtime.resources import BufferPool
from cortexia_video.storage.archive_member import IMAGES, read_part
from cortexia_video.storage.paths import NamedFileError, PathLike, read_named, split_inside, to_path
from cortexia_video.storage.remote_path import RemotePath

ImageLike = NDArray[np.uint8] | Image.Image
SizeRule = Callable[[int, int], tuple[int, int]]  # (height, width) of an image -> of one that will do


class Header(NamedTuple):
    """What a file says before its pixels are decoded: format as Pillow names it, stored sides in pixels."""

    format: str
    width: int
    height: int


def read_header(data: bytes) -> Header:
    """Return format and size without decoding pixels; raises DecodeError where the content is no image."""
    with _decode_errors(data), _open(data) as pil_image:
        return Header(pil_image.format or "", *pil_image.size)


def read_orientation(data: bytes) -> int:
    """Return the orientation, 1 to 8, by which EXIF says that a JPEG is to be turned; of other files 1."""
    if not data.startswith(b"\xff\xd8"):
        return 1
    with _decode_errors(data), _open(data) as pil_image:
        return read_exif(pil_image).orientation


def read_image(path: PathLike, *, max_megapixels: float = 200.0) -> Frame:
    """Read one image file, as `estimate` does: upright, 8-bit RGB, with the focal length that EXIF has.

    Args:
        path: A path, or a URL such as `s3://bucket/a.jpg`.
        max_megapixels: Refuse larger images from their header; an image of 200 takes less than 2 GiB.

    Returns:
        The frame: image uint8 (H, W, 3) RGB, `f_px` in pixels or None. Its key is the file's name.

    Raises:
        InputError: There is no such file.
        DecodeError: The file cannot be read, is no image, is cut short, or is too large.

    Example:
        >>> cx.read_image("examples/room_900002.jpg").image.shape
        (480, 640, 3)
    """
    place = to_path(path)
    try:
        return decode(read_image_bytes(path), place.name, max_megapixels=max_megapixels)
    except DecodeError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise InputError(f"no such file: {printable(str(place))}") from error
        raise DecodeError(f"{printable(str(place))}: {error}") from error


def read_image_bytes(path: PathLike) -> bytes:
    """Read a whole file, or an image inside an archive; raise `DecodeError` with a reason for people."""
    text = path.url if isinstance(path, RemotePath) else os.fspath(path)
    inside = split_inside(text) if "#" in text else None
    try:
        return read_part(to_path(inside[0]), inside[1], IMAGES) if inside else read_named(path)
    except CortexiaError:
        raise
    except Exception as error:
        if isinstance(error, FileNotFoundError) and isinstance(to_path(path), RemotePath) and not inside:
            raise DecodeError("it was removed after the bucket was listed") from error
        if isinstance(error, NamedFileError) and not inside:
            raise DecodeError(str(error)) from error
        beginning = "its shard cannot be read" if inside else "cannot be read"
        raise put_in_words(error, beginning, kind=DecodeError) from error


def decode(
    data: bytes,
    key: str,
    *,
    max_megapixels: float = 200.0,
    enough: SizeRule | None = None,
    scratch: BufferPool | None = None,
) -> Frame:
    """Decode one image to an upright frame, 8-bit RGB, with the focal length where EXIF has it.

    An image of up to 200 megapixels takes less than 2 GiB, or is refused from its header; a higher limit
    raises both. A file that is cut short is an error, never half an image.

    Args:
        data: The bytes of the file.
        key: Of the frame.
        max_megapixels: Refuse larger images.
        enough: Says for the (height, width) of the upright image how large an image will do. A large JPEG is
            then decoded to a half, a quarter or an eighth of its sides, not below that; `Frame.full_size`
            tells.
        scratch: Memory for the pixels of a JPEG; the frame's image then holds until the thread decodes
            another.

    Returns:
        The frame: image uint8 (H, W, 3) RGB, `f_px` in pixels or None.

    Raises:
        DecodeError: What is wrong, in words for people, without the key; the reader's own error is its cause.

    Example:
        >>> from pathlib import Path
        >>> cx.decode(Path("examples/room_900002.jpg").read_bytes(), "room").width
        640
    """
    with _decode_errors(data), _open(data) as pil_image:
        _check_size(pil_image, max_megapixels)
        _check_memory(pil_image, data, max_megapixels)
        width, height = pil_image.size
        image: NDArray[np.uint8] | None = None
        if pil_image.format == "JPEG":  # of others later: Pillow loads a PNG for it, and errors are lost
            is_tagged = "exif" in pil_image.info or "xmp" in pil_image.info
            exif, orientation = read_exif(pil_image) if is_tagged else Exif({}, 1)
            least = _stored(enough(*_stored((height, width), orientation)), orientation) if enough else (0, 0)
            buffer = scratch.take(3 * height * width) if scratch and not any(least) else None
            try:
                image = simplejpeg.decode_jpeg(data, min_height=least[0], min_width=least[1], buffer=buffer)
            except ValueError as error:  # Pillow may read it better, but not where content is lost
                if _LOST_CONTENT.search(str(error)):
                    raise
        if isinstance(pil_image, TiffReader) and (stored := pil_image.view_rgb(data)) is not None:
            exif, orientation = read_exif(pil_image)
            upright = turn(stored, orientation)
        elif image is None:
            pil_image.load()
            _check_size(pil_image, max_megapixels)
            exif, orientation = read_exif(pil_image)
            upright = to_rgb(pil_image, orientation)
        else:
            upright = turn(image, orientation) if orientation > 1 else image
    reduced = image is not None and image.shape[:2] != (height, width)
    full_size = _stored((height, width), orientation) if reduced else None
    full_height, full_width = full_size or upright.shape[:2]
    f_px = focal_length_px(exif, full_width, full_height) if exif else None
    return Frame(key, upright, f_px, None if f_px is None else "exif", full_size=full_size)


def to_frame(image: Frame | ImageLike | PathLike) -> Frame:
    """Return what a person gave for an image as a frame; what is a path is read.

    Raises what `read_image` does, and `InputError` for what is no image.
    """
    if isinstance(image, Frame):
        return image
    if isinstance(image, Image.Image):
        return convert_pillow(image, "image")
    if isinstance(image, str | os.PathLike | RemotePath):
        return read_image(image)
    try:
        return Frame("image", np.asarray(image))
    except ValueError as error:
        raise InputError(str(error)) from error


def convert_pillow(pil_image: Image.Image, key: str) -> Frame:
    """Return an image that Pillow opened, of any mode, as `decode` returns it: upright, RGB."""
    with _decode_errors(b""):
        pil_image.load()
        exif, orientation = read_exif(pil_image)
        upright = to_rgb(pil_image, orientation)
    f_px = focal_length_px(exif, upright.shape[1], upright.shape[0])
    return Frame(key, upright, f_px, None if f_px is None else "exif")


# ---- which reader ------------------------------------------------------------------------------------------


_ROW_BYTES = 8  # of a pixel, at most, in what Pillow unpacks


def _open(data: bytes) -> ImageFile.ImageFile:
    """Open with the one reader that the content asks for; no pixels are decoded yet."""
    quieten_pillow()
    name = "JPEG" if data.startswith(JPEG) else name_format(data[:SNIFF_BYTES])
    if name is None:
        raise DecodeError(describe_foreign(data))
    if name == "TIFF" and (camera := find_camera_file(data)):
        raise DecodeError(camera)
    opened = (READERS.get(name) or import_heif_reader())(io.BytesIO(data))
    # a row at a time: Pillow joins smaller pieces, each time copying what it has of the row (780 bytes took 24 s)
    opened.decodermaxblock = max(opened.decodermaxblock, _ROW_BYTES * opened.size[0])
    return opened


def _check_size(pil_image: Image.Image, max_megapixels: float) -> None:
    """Refuse an image above the limit: before its pixels are allocated, and again in case the file lied."""
    width, height = pil_image.size
    megapixels = width * height / 1e6
    if megapixels > max_megapixels:
        raise DecodeError(
            f"too large: {width} x {height} is {megapixels:.4g} megapixels, "
            f"the limit is {max_megapixels:g}; raise `max_megapixels`"
        )


# ---- memory ------------------------------------------------------------------------------------------------

# Peak bytes per pixel beyond the file itself, reader and result together: measured at 20 to 200 megapixels.
_PEAK_BYTES = {
    "JPEG": 9.0,
    "PNG": 7.1,
    "BMP": 7.1,
    "TIFF": 7.1,
    "WEBP": 16.0,
    "AVIF": 20.0,
    "HEIF": 9.5,
    "JPEG2000": 20.0,
}
_PEAK_BYTES_OTHER = 12.0
_ALLOWED_BYTES = 10.2  # 2 GiB less 100 MB for Python and numpy, at 200 megapixels
_DEFAULT_MEGAPIXELS = 200.0
_EDGE_BYTES = 16.0  # of each row (a pointer, padding) and of each column (two rows of 16-bit RGBA unpacked)


def _check_memory(pil_image: Image.Image, data: bytes, max_megapixels: float) -> None:
    """Refuse what would take over 10.2 bytes per pixel of the limit (2 GB for 200 megapixels or fewer)."""
    width, height = pil_image.size
    peak = _PEAK_BYTES.get(pil_image.format or "", _PEAK_BYTES_OTHER)
    if isinstance(pil_image, TiffReader):
        peak = max(peak, 4.0 + pil_image.strip_bytes())
    elif pil_image.format == "JPEG" and pil_image.mode == "CMYK" and "progressive" in pil_image.info:
        peak = 12.0
    needed_mb = (len(data) + peak * width * height + _EDGE_BYTES * (width + height)) / 1e6
    if needed_mb > _ALLOWED_BYTES * max(max_megapixels, _DEFAULT_MEGAPIXELS):
        raise DecodeError(
            f"too large: {width} x {height} as this kind of {pil_image.format} takes "
            f"{needed_mb / 1000:.1f} GB to decode; convert it, "
            f"or raise `max_megapixels` to {math.ceil(needed_mb / _ALLOWED_BYTES)}"
        )


# ---- noise -------------------------------------------------------------------------------------------------

_PILLOW_REMARKS = ("ignore", None, UserWarning, re.compile(r"PIL\."), 0)
_remarks_lock = threading.Lock()
logging.getLogger("PIL").addHandler(
    logging.NullHandler()
)  # else errors reach stderr through logging's last resort


def quieten_pillow() -> None:
    """Keep Pillow's remarks about odd metadata off the terminal, and from becoming errors under `-W error`.

    `warnings.catch_warnings` swaps the filters of the whole process and is not thread-safe. So one narrow
    filter stays in front, and is put there again when others changed the list. DecompressionBombWarning is no
    UserWarning and stays as it is.
    """
    if warnings.filters[0] != _PILLOW_REMARKS:
        with _remarks_lock:
            warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


# ---- pixels -------------------------------------------------------------------------------------------------
# What libjpeg calls a warning, but is lost content. Others, as stray bytes between segments, are harmless.
_LOST_CONTENT = re.compile("premature end|huffman|arithmetic|progression|instead of RST", re.IGNORECASE)


def _stored(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Turn the (height, width) of the upright image into that of the stored one, and back."""
    return size[::-1] if orientation >= 5 else size


# ---- what went wrong, for people ---------------------------------------------------------------------------

_CUT_SHORT = re.compile(
    "premature end of jpeg|truncated|end of (file|image|stream)|not enough|unexpected end|not large enough",
    re.IGNORECASE,
)
_UNSUPPORTED = re.compile(
    "unsupported|unknown|not (yet )?supported|cannot handle|bad (mode|bits)", re.IGNORECASE
)
# What readers say of kinds that they do not know, and the words for it.
_KINDS = [
    (re.compile(r"cannot handle (\d+)-bit layers"), r"\1 bits per colour"),
    (re.compile(r"cannot handle (\d+)-layer images"), r"\1 colour channels"),
    (re.compile(r"Unsupported BMP pixel depth \((\d+)\)"), r"\1 bits per pixel"),
    (re.compile(r"Unsupported BMP compression \((\d+)\)"), r"compression \1"),
    (re.compile("Unsupported BMP bitfields layout"), "colours of unusual bits"),
]
_LONG_TEXT = re.compile("MAX_TEXT_(CHUNK|MEMORY)")


@contextmanager
def _decode_errors(data: bytes) -> Iterator[None]:
    """Turn whatever a reader raises into a DecodeError that keeps the original as cause."""
    try:
        yield
    except DecodeError:
        raise
    except Exception as error:  # foreign boundary: readers raise anything on broken files
        raise DecodeError(_describe(data, error)) from error


def _describe(data: bytes, error: Exception) -> str:
    """Return in one line what is wrong with a file that a reader refused."""
    name, detail = name_format(data[:SNIFF_BYTES]) or "image", " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return describe(error)
    if isinstance(error, Image.DecompressionBombError):
        pixels = re.search(r"\d+", detail)
        megapixels = f"{int(pixels[0]) / 1e6:.4g}" if pixels else "so many"
        return f"too large: {megapixels} megapixels are more than can be read of a {name}; convert it to JPEG"
    if _LONG_TEXT.search(detail):
        return f"too large: the text in this {name} is; save it without metadata"
    shorter = name == "WEBP" and len(data) < int.from_bytes(data[4:8], "little") + 8
    shorter = shorter or (name == "PNG" and b"IEND" not in data[-1024:])
    if isinstance(error, EOFError) or _CUT_SHORT.search(detail) or shorter:
        return "cut short: the file ends before the image does"
    if isinstance(error, NotImplementedError) or _UNSUPPORTED.search(detail):
        kinds = (match.expand(words) for says, words in _KINDS if (match := says.search(detail)))
        which = f" ({kind})" if (kind := next(kinds, None)) else ""
        return f"not supported: this kind of {name} cannot be read{which}; convert it to JPEG or PNG"
    return f"damaged: the {name} cannot be read; copy it again from where it came"
