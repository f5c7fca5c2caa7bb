"""JPEG XL, lossless, grey of 16 bits: the numbers of `quantization`, and what they stand for as JSON in a box.

The box is that of JUMBF (ISO 19566-5), which JPEG XL (ISO 18181-2) has for this.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import DepthFileError, explain_import
from cortexia_video.formats.metadata import from_text, metadata_of, to_text
from cortexia_video.formats.quantization import Quantizer, choose_steps, split_rows
from cortexia_video.formats.raw_depth import Chunks, RawDepth, require_pixels
from cortexia_video.runtime.resources import BufferPool

_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
_CODESTREAM = b"\xff\x0a"
MAGIC = (_CONTAINER, _CODESTREAM)
_FTYP = b"jxl \0\0\0\0jxl "
_JSON_TYPE = bytes.fromhex("6a736f6e00110010800000aa00389b71")  # ISO 19566-5, annex B
_REQUESTABLE_AND_LABELLED = b"\x03"
_LABEL = b"cortexia_video\0"
_JUMD_BYTES = 64
_FAST = 1  # the effort
_HEADER_BYTES = 24  # of a codestream, which begin with the image's size
_SIDE_BITS = (9, 13, 18, 30)
_scratch = BufferPool()
_RATIOS = ((0, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # width to height


def encode(depth: DepthMap, scale: float | None = None, offset: float = 0.0) -> Chunks:
    """Return the pieces of the file. scale, offset: as `choose_steps` takes them."""
    meaning = choose_steps(depth, scale, offset)
    steps = Quantizer(depth.values, meaning)
    numbers = np.frombuffer(_scratch.take(2 * depth.values.size), np.uint16).reshape(depth.values.shape)
    for rows in split_rows(*depth.values.shape):
        steps.fill(rows, numbers[rows])
    packed = _import().jpegxl_encode(numbers, lossless=True, effort=_FAST, numthreads=1)
    text = to_text({**metadata_of(depth), **meaning})
    about = _box(
        b"jumb", _box(b"jumd", _JSON_TYPE + _REQUESTABLE_AND_LABELLED + _LABEL) + _box(b"json", text)
    )
    if packed.startswith(_CODESTREAM):
        return [_CONTAINER + _box(b"ftyp", _FTYP) + about, _box(b"jxlc", packed)]
    view = memoryview(packed)
    begin = next(begin for name, begin, _ in _boxes(packed) if name in (b"jxlc", b"jxlp"))
    return [view[: begin - 8], about, view[begin - 8 :]]


def decode(data: bytes, most: float) -> RawDepth:
    """Return the numbers of any JPEG XL image of one frame. most: pixels.

    Raises `DepthFileError`, `MissingExtraError`, and what imagecodecs does for a broken file.
    """
    jpegxl_decode = _import().jpegxl_decode
    begin, text = 0, b""
    if data.startswith(_CONTAINER):
        for name, start, end in _boxes(data):
            if name == b"jumb" and _LABEL in data[start : start + _JUMD_BYTES]:
                (first,) = struct.unpack_from(">I", data, start)
                text = data[start + first + 8 : end]
            if name in (b"jxlc", b"jxlp"):
                begin = start + (4 if name == b"jxlp" else 0)  # after its number
                break
        else:
            raise DepthFileError("there is no image in it: it is cut short")
    height, width, is_animated = _read_header(data[begin : begin + _HEADER_BYTES])
    require_pixels(height, width, most)
    if is_animated:
        raise DepthFileError("it has several frames: depth is one image, write each into a file of its own")
    return RawDepth(jpegxl_decode(data, index=0, numthreads=1), from_text(text))


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content


def _boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, begin and end of the content of each box (ISO 18181-2)."""
    place = 0
    while place + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, place)
        begin = place + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, begin)
            begin += 8
        end = place + size if size else len(data)
        if end <= place:
            return
        yield name, begin, end
        place = end


def _read_header(codestream: bytes) -> tuple[int, int, bool]:
    """Return height, width and whether there are several frames, from the first bytes of a codestream.

    Source: ISO 18181-1, SizeHeader and the beginning of ImageMetadata. Of one with a preview, before which
    nothing says whether it is animated, that is taken not to be so.
    """
    bits = int.from_bytes(codestream[len(_CODESTREAM) :], "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    eighths = 0

    def side() -> int:
        return 8 * (1 + take(5)) if eighths else 1 + take(_SIDE_BITS[take(2)])

    def size() -> tuple[int, int]:
        nonlocal eighths
        eighths = take(1)
        height, ratio = side(), take(3)
        return height, height * _RATIOS[ratio][0] // _RATIOS[ratio][1] if ratio else side()

    height, width = size()
    if take(1) or not take(1):  # all as usual; no fields beyond the usual
        return height, width, False
    take(3)  # its orientation
    if take(1):
        size()  # as which it is to be shown
    return height, width, not take(1) and bool(take(1))


def _import() -> Any:
    try:
        import imagecodecs
    except ImportError as error:
        raise explain_import(error, "the format jxl needs", "'cortexia-video[jxl]'") from error
    return imagecodecs
