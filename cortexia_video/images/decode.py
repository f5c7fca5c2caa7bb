"""Bytes -> `Frame`: every picture people really have, upright, 8-bit RGB.

JPEG goes through simplejpeg, everything else (and what simplejpeg refuses) through a fixed list of Pillow's
readers, never those that start other programs, such as EPS and WMF. Colour profiles are ignored: values are
taken as sRGB. Transparency is composited over white. Of animations and multi-page files the first picture
counts.

Pixels are converted in strips: memory holds the reader's buffers and the result, never a further whole copy.
"""

from __future__ import annotations

import io
import logging
import math
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    IcoImagePlugin,
    Image,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    QoiImagePlugin,
    TgaImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from cortexia_video.errors import DecodeError, describe
from cortexia_video.frame import Frame
from cortexia_video.images.exif_focal_length import focal_length_px
from cortexia_video.images.foreign_content import describe_foreign, find_camera_file
from cortexia_video.runtime.buffers import Scratch

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".avif", ".avifs"}
)
SNIFF_BYTES = 64


SizeRule = Callable[[int, int], tuple[int, int]]  # (height, width) of a picture -> of one that will do


class Header(NamedTuple):
    """What a file says before its pixels are decoded: format as Pillow names it, stored sides in pixels."""

    format: str
    width: int
    height: int


def sniff(head: bytes) -> str | None:
    """Return JPEG, PNG, WEBP, TIFF, BMP or AVIF by the first `SNIFF_BYTES` of a file, or None."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADER_BYTES:
        return "BMP"
    return "AVIF" if head[4:8] == b"ftyp" and _AVIF_BRANDS & _brands(head) else None


def read_header(data: bytes) -> Header:
    """Return format and size without decoding pixels; raises DecodeError where the content is no picture."""
    with _decode_errors(data), _open(data) as picture:
        return Header(picture.format or "", *picture.size)


def decode(
    data: bytes,
    key: str,
    *,
    max_megapixels: float = 200.0,
    enough: SizeRule | None = None,
    scratch: Scratch | None = None,
) -> Frame:
    """Decode one picture to an upright `Frame`: uint8 (H, W, 3) RGB and, where EXIF has it, the focal length.

    A picture of up to 200 megapixels takes less than 2 GiB, or is refused from its header; a higher limit
    raises both. A file that is cut short is an error, never half a picture. Raises DecodeError with a message
    for people, without the key, and the reader's own error as cause.

    enough: says for the (height, width) of the upright picture how large an image will do. A large JPEG is
    then decoded to a half, a quarter or an eighth of its sides, not below that; `Frame.full_size` tells.
    scratch: memory for the pixels of a JPEG; the frame's image then holds until the thread decodes another.
    """
    with _decode_errors(data), _open(data) as picture:
        _check_size(picture, max_megapixels)
        _check_memory(picture, data, max_megapixels)
        width, height = picture.size
        image = None
        if (
            picture.format == "JPEG"
        ):  # of others EXIF comes later: Pillow loads a PNG for it, and errors are lost
            exif = _read_exif(picture)
            orientation = _orientation(exif)
            least = _stored(enough(*_stored((height, width), orientation)), orientation) if enough else (0, 0)
            image = _read_jpeg(data, least, (height, width), scratch)
        if image is None:
            picture.load()
            _check_size(picture, max_megapixels)
            exif = _read_exif(picture)
            orientation = _orientation(exif)
        upright = _upright(image, orientation) if image is not None else _rgb(picture, orientation)
    reduced = image is not None and image.shape[:2] != (height, width)
    full_size = _stored((height, width), orientation) if reduced else None
    full_height, full_width = full_size or upright.shape[:2]
    f_px = focal_length_px(exif, full_width, full_height)
    return Frame(key, upright, f_px, None if f_px is None else "exif", full_size=full_size)


# ---- which reader ------------------------------------------------------------------------------------------

_SAVE = "convert it to JPEG or PNG"
_SUBFILE, _WIDTH, _HEIGHT, _COMPRESSION, _COLOURS, _SUB_IFDS, _DNG_VERSION = (
    254,
    256,
    257,
    259,
    320,
    330,
    50706,
)
_OF_CAMERAS = {32803, 34892}  # photometric interpretations: colour filter array, linear raw
_PALETTE = 3
_USUAL_COMPRESSIONS = {1, 5, 7, 8, 32773, 32946}
_COMPRESSIONS = {
    6: "an old kind of JPEG",
    32809: "ThunderScan",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "JPEG, as raw files of cameras are",
    34925: "LZMA",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_BMP_HEADER_BYTES = {12, 16, 40, 52, 56, 64, 108, 124}
_AVIF_BRANDS = {b"avif", b"avis"}


def _brands(head: bytes) -> set[bytes]:
    """Major and compatible brands of an ISO base media file (ISO 14496-12, box `ftyp`)."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return {head[8:12], *(head[start : start + 4] for start in range(16, end - 3, 4))}


class _TiffReader(TiffImagePlugin.TiffImageFile):
    """Pillow's reader without its own size limit (`_check_size` came first) or turning a whole copy."""

    def _open(self) -> None:
        try:
            super()._open()
        except Exception as error:
            if kind := self._find_kind():
                raise DecodeError(
                    f"not supported: this kind of TIFF cannot be read ({kind}); {_SAVE}"
                ) from error
            raise
        if _DNG_VERSION in self.tag_v2 or (self.tag_v2.get(_SUBFILE, 0) & 1 and _SUB_IFDS in self.tag_v2):
            raise DecodeError(f"not supported: the raw file of a camera, with a small preview; {_SAVE}")

    def load(self) -> Any:
        """Decode the pixels; where that cannot be, what they are compressed by may be why."""
        try:
            return super().load()
        except OSError as error:
            compression = self.tag_v2.get(_COMPRESSION, 1)
            if compression in _USUAL_COMPRESSIONS or "decoder error" not in str(error):
                raise
            told = f"this kind of TIFF cannot be read ({_name_compression(compression)})"
            raise DecodeError(f"damaged, or not supported: {told}; {_SAVE}") from error

    def _find_kind(self) -> str | None:
        """Say what is unusual about the pixels, by the tags that were read until Pillow gave up."""
        tags = getattr(self, "tag_v2", {})
        if not tags.get(_WIDTH) or not tags.get(_HEIGHT):
            return None
        if tags.get(_PHOTOMETRIC) in _OF_CAMERAS:
            return "the raw data of a camera"
        compression = tags.get(_COMPRESSION, 1)
        if compression not in TiffImagePlugin.COMPRESSION_INFO:
            return _name_compression(compression)
        if tags.get(_PHOTOMETRIC) == _PALETTE and _COLOURS not in tags:
            return None
        bits, sort = tags.get(_BITS_PER_SAMPLE, (1,)), tags.get(_SAMPLE_FORMAT, (1,))[0]
        numbers = {2: ", signed", 3: ", floating point", 5: ", complex", 6: ", complex"}.get(sort, "")
        return f"{len(bits)} channel{'s'[: len(bits) > 1]} of {max(bits)} bits{numbers}"

    def load_prepare(self) -> None:
        if self._im is None:
            self.im = Image.core.new(self.mode, self._tile_size)  # type: ignore[attr-defined]
        super().load_prepare()

    def strip_bytes(self) -> float:
        """Bytes of one decompressed strip, for each pixel of the whole picture: libtiff buffers a strip."""
        if _TILE_WIDTH in self.tag_v2:
            return 0.0
        height = self._tile_size[1]
        rows = min(self.tag_v2.get(_ROWS_PER_STRIP, height), height)
        return float(sum(self.tag_v2.get(_BITS_PER_SAMPLE, (1,)))) / 8.0 * rows / height

    def load_end(self) -> None:
        _read_exif(self)  # now, while the file is open: Pillow keeps what it read
        self._size = self._tile_size


def _name_compression(number: int) -> str:
    return f"compressed by {_COMPRESSIONS.get(number, f'method {number}')}"


class _PngReader(PngImagePlugin.PngImageFile):
    """Pillow's reader with the transparent colour (tRNS) on the scale of the samples that Pillow returns."""

    def _open(self) -> None:
        super()._open()
        key = self.info.get("transparency")
        raw_mode = str(self.tile[0].args) if self.tile else ""
        if isinstance(key, int) and raw_mode in ("L;2", "L;4"):
            self.info["transparency"] = key * (85 if raw_mode == "L;2" else 17)
        if isinstance(key, tuple) and raw_mode == "RGB;16B":
            self.info["transparency"] = tuple(sample >> 8 for sample in key)


_READERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": _PngReader,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "TIFF": _TiffReader,
    "BMP": BmpImagePlugin.BmpImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
    "ICO": IcoImagePlugin.IcoImageFile,
    "QOI": QoiImagePlugin.QoiImageFile,
    "JPEG2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
    "TGA": TgaImagePlugin.TgaImageFile,
}
# Readable when named explicitly; folders are not scanned for them.
_OTHER_MAGIC = [
    ("GIF", re.compile(rb"GIF8[79]a")),
    ("PPM", re.compile(rb"P[1-6]\s")),
    ("ICO", re.compile(rb"\x00\x00\x01\x00[^\x00]", re.DOTALL)),
    ("QOI", re.compile(rb"qoif")),
    ("JPEG2000", re.compile(rb"\xff\x4f\xff\x51|\x00\x00\x00\x0cjP  \r\n\x87\n")),
    # TGA has no magic: colour map type, image type, then anything up to the bits per pixel.
    ("TGA", re.compile(rb".[\x00\x01][\x01-\x03\x09-\x0b].{13}[\x01\x08\x0f\x10\x18\x20]", re.DOTALL)),
]


def _open(data: bytes) -> ImageFile.ImageFile:
    """Open with the one reader that the content asks for; no pixels are decoded yet."""
    quieten_pillow()
    head = data[:SNIFF_BYTES]
    name = _name_format(head)
    if name is None:
        raise DecodeError(describe_foreign(data))
    if name == "TIFF" and (camera := find_camera_file(data)):
        raise DecodeError(camera)
    return _READERS[name](io.BytesIO(data))


def _name_format(head: bytes) -> str | None:
    return sniff(head) or next((name for name, magic in _OTHER_MAGIC if magic.match(head)), None)


def _check_size(picture: Image.Image, max_megapixels: float) -> None:
    """Refuse a picture above the limit: before its pixels are allocated, and again in case the file lied."""
    width, height = picture.size
    megapixels = width * height / 1e6
    if megapixels > max_megapixels:
        raise DecodeError(
            f"too large: {width} x {height} is {megapixels:.4g} megapixels, "
            f"the limit is {max_megapixels:g}; raise --max-megapixels"
        )


# ---- memory ------------------------------------------------------------------------------------------------

# Peak bytes a pixel beyond the file itself, reader and result together: measured at 20 to 200 megapixels.
_PEAK_BYTES = {"JPEG": 9.0, "PNG": 7.1, "BMP": 7.1, "TIFF": 7.1, "WEBP": 16.0, "AVIF": 20.0, "JPEG2000": 20.0}
_PEAK_BYTES_OTHER = 12.0
_ALLOWED_BYTES = 10.2  # 2 GiB less 100 MB for Python and numpy, at 200 megapixels
_DEFAULT_MEGAPIXELS = 200.0
_EDGE_BYTES = 16.0  # of each row (a pointer, padding) and of each column (two rows of 16-bit RGBA unpacked)
_ROWS_PER_STRIP, _TILE_WIDTH = 278, 322


def _check_memory(picture: Image.Image, data: bytes, max_megapixels: float) -> None:
    """Refuse what would take over 10.2 bytes a pixel of the limit (2 GB for 200 megapixels or fewer)."""
    width, height = picture.size
    needed_mb = (len(data) + _peak_bytes(picture) * width * height + _EDGE_BYTES * (width + height)) / 1e6
    if needed_mb > _ALLOWED_BYTES * max(max_megapixels, _DEFAULT_MEGAPIXELS):
        raise DecodeError(
            f"too large: {width} x {height} as this kind of {picture.format} takes {needed_mb / 1000:.1f} GB "
            f"to decode; convert it, or raise --max-megapixels to {math.ceil(needed_mb / _ALLOWED_BYTES)}"
        )


def _peak_bytes(picture: Image.Image) -> float:
    """Peak bytes a pixel while decoding this picture."""
    if isinstance(picture, _TiffReader):
        return max(_PEAK_BYTES["TIFF"], 4.0 + picture.strip_bytes())
    if picture.format == "JPEG" and picture.mode == "CMYK" and "progressive" in picture.info:
        return 12.0
    return _PEAK_BYTES.get(picture.format or "", _PEAK_BYTES_OTHER)


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
_EXIF_IFD = 0x8769


def _read_exif(picture: Image.Image) -> dict[int, object]:
    """Tags of the first and the Exif directory by number; broken metadata does not make a broken picture."""
    try:
        exif = picture.getexif()
        return {**exif, **exif.get_ifd(_EXIF_IFD)}
    except Exception:  # noqa: BLE001  (foreign boundary: Pillow raises anything on broken EXIF)
        return {}


def _orientation(exif: dict[int, object]) -> int:
    """EXIF orientation 1 to 8; anything else turns nothing, as 1."""
    value = exif.get(_ORIENTATION)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


# ---- pixels ------------------------------------------------------------------------------------------------

# What libjpeg calls a warning, but is lost content. Others, as stray bytes between segments, are harmless.
_LOST_CONTENT = re.compile("premature end|huffman|arithmetic|progression|instead of RST", re.IGNORECASE)
_STRIP_PIXELS = 1 << 20
_COPY_ROWS = 64
_COMPOSITED = {"LA", "PA", "RGBA"}
_PREMULTIPLIED = {"La", "RGBa"}
_KEYED = {"1", "L", "I;16", "RGB"}  # one sample value or triple may mean transparent


def _read_jpeg(
    data: bytes, least: tuple[int, int], size: tuple[int, int], scratch: Scratch | None
) -> NDArray[np.uint8] | None:
    """uint8 (H, W, 3) RGB, not turned; None for what Pillow may read better; raises where content is lost.

    least: (height, width) that will do; (0, 0) asks for the full `size`.
    """
    buffer = scratch.take(3 * size[0] * size[1]) if scratch and not any(least) else None
    try:
        image: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data, min_height=least[0], min_width=least[1], buffer=buffer
        )
        return image
    except ValueError as error:
        if _LOST_CONTENT.search(str(error)):
            raise
        return None


def _stored(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Turn the (height, width) of the upright picture into that of the stored one, and back."""
    return size[::-1] if orientation >= 5 else size


def _upright(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn uint8 (H, W, 3) as EXIF says; the input itself where nothing is to be turned."""
    if orientation not in _TURNS:
        return image
    upright, stored = _canvas(image.shape[1], image.shape[0], orientation)
    _copy(image, stored)
    return upright


def _turn(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """View of an image in stored order, (H, W, 3), as the upright one (Exif 2.32, Orientation)."""
    swap, rows, columns = _TURNS.get(orientation, (False, 1, 1))
    return (image.swapaxes(0, 1) if swap else image)[::rows, ::columns]


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
    """New upright uint8 (H, W, 3) for a stored width x height, and the same memory seen in stored order."""
    swap = _TURNS.get(orientation, (False, 1, 1))[0]
    upright = np.empty((width, height, 3) if swap else (height, width, 3), np.uint8)
    return upright, _turn(upright, _INVERSE.get(orientation, orientation))


def _copy(rows: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
    """Copy (h, W, 3 or 1) into a view of (h, W, 3); by bands and channels: twice as fast for turned views."""
    if target.flags.c_contiguous:
        target[...] = rows
        return
    for y in range(0, len(rows), _COPY_ROWS):
        for channel in range(3):
            target[y : y + _COPY_ROWS, :, channel] = rows[y : y + _COPY_ROWS, :, channel % rows.shape[2]]


def _rgb(picture: Image.Image, orientation: int) -> NDArray[np.uint8]:
    """Upright uint8 (H, W, 3) RGB of a loaded picture of any mode."""
    upright, stored = _canvas(*picture.size, orientation)
    scale = _grey_scale(picture)
    for place, strip in _strips(picture):
        rows = _strip_rgb(strip) if scale is None else _strip_grey(strip, scale)
        if strip.mode in _KEYED and "transparency" in picture.info:
            keyed = (_samples(strip) == picture.info["transparency"]).all(axis=2, keepdims=True)
            rows = np.where(keyed, np.uint8(255), rows)
        _copy(rows, stored[place])
    return upright


def _strips(picture: Image.Image) -> Iterator[tuple[tuple[slice, slice], Image.Image]]:
    """Place and pixels of each strip of at most a million pixels, so that temporaries stay small."""
    width, height = picture.size
    wide = min(width, _STRIP_PIXELS)
    tall = _STRIP_PIXELS // wide
    for y in range(0, height, tall):
        for x in range(0, width, wide):
            right, below = min(x + wide, width), min(y + tall, height)
            yield (slice(y, below), slice(x, right)), picture.crop((x, y, right, below))


def _strip_rgb(strip: Image.Image) -> NDArray[np.uint8]:
    """uint8 (h, W, 3) RGB, or (h, W, 1) grey, of an 8-bit mode; transparency over white."""
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

_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339


class _GreyScale(NamedTuple):
    """How to read samples of more than 8 bits: their type, the largest value, and whether that is black."""

    dtype: str
    white: float
    inverted: bool = False


def _grey_scale(picture: Image.Image) -> _GreyScale | None:
    """The scale of 16-bit, 32-bit and float grey, or None for 8-bit modes.

    16-bit modes end at the bits that the file names (12 in some TIFF). For 32 bits no file says: integers
    take the smallest usual white (8, 16 or 32 bits) that holds them all, floats 1 or 255.
    """
    tags = getattr(picture, "tag_v2", {})
    inverted = tags.get(_PHOTOMETRIC) == 0
    if picture.mode.startswith("I;16"):
        bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
        return _GreyScale("", 2.0**bits - 1.0, inverted)
    if picture.mode not in ("I", "F"):
        return None
    if picture.format == "PPM":
        return _GreyScale("i4", 65535.0)
    unsigned = picture.mode == "I" and tags.get(_SAMPLE_FORMAT, (1,))[0] == 1
    dtype = "f4" if picture.mode == "F" else "u4" if unsigned else "i4"
    return _GreyScale(dtype, _fitting_white(picture, dtype), inverted)


def _fitting_white(picture: Image.Image, dtype: str) -> float:
    """The smallest usual white level that no sample exceeds; raises DecodeError where there is none."""
    extremes = [
        (values.min(), values.max()) for values in (_grey_samples(s, dtype) for _, s in _strips(picture))
    ]
    low = float(np.min([low for low, _ in extremes]))
    high = float(np.max([high for _, high in extremes]))
    levels = (
        (1.0, 255.0) if dtype == "f4" else (255.0, 65535.0, 4294967295.0 if dtype == "u4" else 2147483647.0)
    )
    white = next((level for level in levels if high <= level), None)
    if math.isnan(low):
        raise DecodeError("some of its values are no numbers (NaN): convert it to 8 or 16 bits")
    if white is None or not low >= 0.0:
        raise DecodeError(
            f"cannot tell black from white: the values run from {low:g} to {high:g}; "
            "convert it to 8 or 16 bits, or floating point values to 0..1"
        )
    return white


def _grey_samples(strip: Image.Image, dtype: str) -> NDArray[np.generic]:
    """(h, W) in the type the file means; Pillow holds unsigned 32-bit integers as signed ones."""
    samples: NDArray[np.generic] = np.asarray(strip)
    return samples.view(dtype) if dtype else samples


def _strip_grey(strip: Image.Image, scale: _GreyScale) -> NDArray[np.uint8]:
    """uint8 (h, W, 1): 0..white to 0..255, rounded."""
    grey = np.rint(np.multiply(_grey_samples(strip, scale.dtype), 255.0 / scale.white, dtype=np.float64))
    values: NDArray[np.uint8] = grey.astype(np.uint8)[..., None]
    return ~values if scale.inverted else values


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
    (re.compile(r"cannot handle (\d+)-bit layers"), r"\1 bits a colour"),
    (re.compile(r"cannot handle (\d+)-layer images"), r"\1 colour channels"),
    (re.compile(r"Unsupported BMP pixel depth \((\d+)\)"), r"\1 bits a pixel"),
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
    """Say in one line what is wrong with a file that a reader refused."""
    name, detail = _name_format(data[:SNIFF_BYTES]) or "picture", " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return describe(error)
    if isinstance(error, Image.DecompressionBombError):
        pixels = re.search(r"\d+", detail)
        megapixels = f"{int(pixels[0]) / 1e6:.4g}" if pixels else "so many"
        return f"too large: {megapixels} megapixels are more than can be read of a {name}; convert it to JPEG"
    if _LONG_TEXT.search(detail):
        return f"too large: the text in this {name} is; save it without metadata"
    if isinstance(error, EOFError) or _CUT_SHORT.search(detail) or _lacks_end(name, data):
        return "cut short: the file ends before the picture does"
    if isinstance(error, NotImplementedError) or _UNSUPPORTED.search(detail):
        kinds = (match.expand(words) for says, words in _KINDS if (match := says.search(detail)))
        told = f" ({kind})" if (kind := next(kinds, None)) else ""
        return f"not supported: this kind of {name} cannot be read{told}; convert it to JPEG or PNG"
    return f"damaged: the {name} cannot be read; copy it again from where it came"


def _lacks_end(name: str, data: bytes) -> bool:
    """Whether a file is shorter than it says, where the format says so."""
    if name == "WEBP":
        return len(data) < int.from_bytes(data[4:8], "little") + 8
    return name == "PNG" and b"IEND" not in data[-1024:]
