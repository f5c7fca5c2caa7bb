"""Bytes -> `Frame`: every image people really have, upright, 8-bit RGB.

JPEG goes through simplejpeg, everything else (and what simplejpeg refuses) through a fixed list of Pillow's
readers, never those that start other programs, such as EPS and WMF. Colour profiles are ignored: values are
taken as sRGB. Transparency is composited over white. Of animations and multi-page files the first image
counts.

Pixels are converted in strips: memory holds the reader's buffers and the result, never a further whole copy.
"""

from __future__ import annotations

import io
import logging
import re
import threading
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import (
    Image,
    ImageFile,
)

from cortexia_video.errors import DecodeError
from cortexia_video.frame import Frame
from cortexia_video.images.decode_errors import decode_errors
from cortexia_video.images.exif_focal_length import focal_length_px
from cortexia_video.images.foreign_content import describe_foreign, find_camera_file
from cortexia_video.images.greyscale import find_grey_scale, list_strips, strip_grey
from cortexia_video.images.memory_limit import check_memory
from cortexia_video.images.pillow_readers import (
    find_reader,
    read_exif,
)
from cortexia_video.images.sniff import SNIFF_BYTES, name_format
from cortexia_video.runtime.memory import BufferPool

SizeRule = Callable[[int, int], tuple[int, int]]  # (height, width) of an image -> of one that will do


class Header(NamedTuple):
    """What a file says before its pixels are decoded: format as Pillow names it, stored sides in pixels."""

    format: str
    width: int
    height: int


def read_header(data: bytes) -> Header:
    """Return format and size without decoding pixels; raises DecodeError where the content is no image."""
    with decode_errors(data), _open(data) as pil_image:
        return Header(pil_image.format or "", *pil_image.size)


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
    with decode_errors(data), _open(data) as pil_image:
        _check_size(pil_image, max_megapixels)
        check_memory(pil_image, data, max_megapixels)
        width, height = pil_image.size
        image: NDArray[np.uint8] | None = None
        if (
            pil_image.format == "JPEG"
        ):  # of others EXIF comes later: Pillow loads a PNG for it, errors are lost
            exif = read_exif(pil_image)
            orientation = _orientation(exif)
            least = _stored(enough(*_stored((height, width), orientation)), orientation) if enough else (0, 0)
            buffer = scratch.take(3 * height * width) if scratch and not any(least) else None
            try:
                image = simplejpeg.decode_jpeg(data, min_height=least[0], min_width=least[1], buffer=buffer)
            except ValueError as error:  # Pillow may read it better, but not where content is lost
                if _LOST_CONTENT.search(str(error)):
                    raise
        if image is None:
            pil_image.load()
            _check_size(pil_image, max_megapixels)
            exif = read_exif(pil_image)
            orientation = _orientation(exif)
        upright = _upright(image, orientation) if image is not None else _rgb(pil_image, orientation)
    reduced = image is not None and image.shape[:2] != (height, width)
    full_size = _stored((height, width), orientation) if reduced else None
    full_height, full_width = full_size or upright.shape[:2]
    f_px = focal_length_px(exif, full_width, full_height)
    return Frame(key, upright, f_px, None if f_px is None else "exif", full_size=full_size)


def convert_pillow(pil_image: Image.Image, key: str) -> Frame:
    """Return an image that Pillow opened, of any mode, as `decode` returns it: upright, RGB."""
    with decode_errors(b""):
        pil_image.load()
        exif = read_exif(pil_image)
        upright = _rgb(pil_image, _orientation(exif))
    f_px = focal_length_px(exif, upright.shape[1], upright.shape[0])
    return Frame(key, upright, f_px, None if f_px is None else "exif")


# ---- which reader ------------------------------------------------------------------------------------------


_ROW_BYTES = 8  # of a pixel, at most, in what Pillow unpacks


def _open(data: bytes) -> ImageFile.ImageFile:
    """Open with the one reader that the content asks for; no pixels are decoded yet."""
    quieten_pillow()
    head = data[:SNIFF_BYTES]
    name = name_format(head)
    if name is None:
        raise DecodeError(describe_foreign(data))
    if name == "TIFF" and (camera := find_camera_file(data)):
        raise DecodeError(camera)
    opened = find_reader(name)(io.BytesIO(data))
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


# ---- metadata ----------------------------------------------------------------------------------------------

_ORIENTATION = 0x0112


def _orientation(exif: dict[int, object]) -> int:
    """EXIF orientation 1 to 8; anything else turns nothing, as 1."""
    value = exif.get(_ORIENTATION)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


# ---- pixels ------------------------------------------------------------------------------------------------

# What libjpeg calls a warning, but is lost content. Others, as stray bytes between segments, are harmless.
_LOST_CONTENT = re.compile("premature end|huffman|arithmetic|progression|instead of RST", re.IGNORECASE)
_COPY_ROWS = 64
_COMPOSITED = {"LA", "PA", "RGBA"}
_PREMULTIPLIED = {"La", "RGBa"}
_KEYED = {"1", "L", "I;16", "RGB"}  # one sample value or triple may mean transparent


def _stored(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Turn the (height, width) of the upright image into that of the stored one, and back."""
    return size[::-1] if orientation >= 5 else size


def _upright(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn uint8 (H, W, 3) as EXIF says; the input itself where nothing is to be turned."""
    if orientation not in _TURNS:
        return image
    upright, stored = _canvas(image.shape[1], image.shape[0], orientation)
    _copy(image, stored)
    return upright


# Orientation -> swap axes first, then step of rows and of columns. 1 and all invalid values turn nothing.
_TURNS: dict[int, tuple[bool, int, int]] = {
    2: (False, 1, -1),
    3: (False, -1, -1),
    4: (False, -1, 1),
    5: (True, 1, 1),
    6: (True, 1, -1),
    7: (True, -1, -1),
    8: (True, -1, 1),
}
_INVERSE = {6: 8, 8: 6}


def _canvas(width: int, height: int, orientation: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a new upright uint8 (H, W, 3) for a stored width x height, and its view in stored order."""
    swap = _TURNS.get(orientation, (False, 1, 1))[0]
    upright = np.empty((width, height, 3) if swap else (height, width, 3), np.uint8)
    turned, rows, columns = _TURNS.get(_INVERSE.get(orientation, orientation), (False, 1, 1))
    return upright, (upright.swapaxes(0, 1) if turned else upright)[::rows, ::columns]


def _copy(rows: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
    """Copy (h, W, 3 or 1) into a view of (h, W, 3); by bands and channels: twice as fast for turned views."""
    if target.flags.c_contiguous:
        target[...] = rows
        return
    for y in range(0, len(rows), _COPY_ROWS):
        for channel in range(3):
            target[y : y + _COPY_ROWS, :, channel] = rows[y : y + _COPY_ROWS, :, channel % rows.shape[2]]


def _rgb(pil_image: Image.Image, orientation: int) -> NDArray[np.uint8]:
    """Return upright uint8 (H, W, 3) RGB of a loaded image of any mode."""
    upright, stored = _canvas(*pil_image.size, orientation)
    scale = find_grey_scale(pil_image)
    for place, strip in list_strips(pil_image):
        rows = _strip_rgb(strip) if scale is None else strip_grey(strip, scale)
        if strip.mode in _KEYED and "transparency" in pil_image.info:
            keyed = (_samples(strip) == pil_image.info["transparency"]).all(axis=2, keepdims=True)
            rows = np.where(keyed, np.uint8(255), rows)
        _copy(rows, stored[place])
    return upright


def _strip_rgb(strip: Image.Image) -> NDArray[np.uint8]:
    """Return uint8 (h, W, 3) RGB, or (h, W, 1) grey, of an 8-bit mode; transparency over white."""
    if strip.mode in _PREMULTIPLIED:
        strip = strip.convert("LA" if strip.mode == "La" else "RGBA")
    if strip.mode in _COMPOSITED or (strip.mode == "P" and strip.has_transparency_data):
        strip = strip.convert("RGBA")
        white = Image.new("RGB", strip.size, "white")
        white.paste(strip, mask=strip.getchannel("A"))
        strip = white
    return _samples(strip if strip.mode in ("L", "RGB") else strip.convert("RGB"))


def _samples(strip: Image.Image) -> NDArray[np.uint8]:
    """(h, W, channels) as Pillow holds them, in the mode's own type."""
    samples: NDArray[np.uint8] = np.asarray(strip)
    return samples if samples.ndim == 3 else samples[..., None]


# ---- grey with more than 8 bits ----------------------------------------------------------------------------


# ---- what went wrong, for people ---------------------------------------------------------------------------
