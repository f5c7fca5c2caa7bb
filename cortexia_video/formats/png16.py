"""A grey PNG of 16 bits: the numbers of `steps`, and what they stand for as text before the pixels."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import PngImagePlugin

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import DepthFileError
from cortexia_video.formats import png8
from cortexia_video.formats.metadata import from_text, metadata_of, to_text
from cortexia_video.formats.steps import Steps, split_rows
from cortexia_video.formats.stored import Chunks, Stored, require_pixels

MAGIC = b"\x89PNG\r\n\x1a\n"
_KEYWORD = "cortexia_video"
_UP = 2  # the filter: each byte less the one above it
_CHANNELS = {0: "grey", 2: "RGB", 3: "a palette", 4: "grey and alpha", 6: "RGBA"}


def encode(depth: DepthMap) -> Chunks:
    """Give the pieces of a PNG.

    Filtered and packed here, strip by strip: Pillow tries every filter on every row, which takes twice as
    long for files no smaller (`docs/formats.md`).
    """
    steps = Steps(depth)
    height, width = depth.values.shape
    text = to_text({**metadata_of(depth), **steps.metadata})
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0))
    pieces = [MAGIC + header + _chunk(b"tEXt", _KEYWORD.encode() + b"\0" + text)]
    deflate = zlib.compressobj(level=1)
    above = np.zeros((1, width), ">u2")
    for rows in split_rows(height, width):
        numbers = np.empty((1 + rows.stop - rows.start, width), ">u2")
        numbers[0] = above
        steps.fill(rows, numbers[1:])
        above = numbers[-1]
        packed = deflate.compress(_filter(numbers).data)
        if packed:
            pieces.append(_chunk(b"IDAT", packed))
    return [*pieces, _chunk(b"IDAT", deflate.flush()), _chunk(b"IEND", b"")]


def _filter(numbers: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Give PNG's filtered rows of big-endian numbers; the first row is the one above the others."""
    data = numbers.view(np.uint8)
    filtered = np.empty((len(data) - 1, data.shape[1] + 1), np.uint8)
    filtered[:, 0] = _UP
    np.subtract(data[1:], data[:-1], out=filtered[:, 1:])
    return filtered


def _chunk(name: bytes, data: bytes) -> bytes:
    return b"".join(
        (struct.pack(">I", len(data)), name, data, struct.pack(">I", zlib.crc32(data, zlib.crc32(name))))
    )


def decode(data: bytes, most: float) -> Stored:
    """Give the numbers of any 16-bit grey PNG, uint16, and what its text says if it is ours.

    most: pixels. Raises `DepthFileError`, and what Pillow does for a broken file.
    """
    if png8.MARK in data[:128]:
        raise DepthFileError("it is an 8-bit view, made to look at: there is no depth in it")
    with PngImagePlugin.PngImageFile(io.BytesIO(data)) as picture:  # Image.open refuses large ones
        bits, colour = data[24], data[25]
        if (bits, colour) != (16, 0):
            raise DepthFileError(
                f"it has {bits} bits a channel, {_CHANNELS.get(colour, colour)}: "
                "depth is read from PNG of 16 bits, grey"
            )
        require_pixels(picture.height, picture.width, most)
        values = np.asarray(picture)
        text = {str(name): str(value) for name, value in picture.info.items()}
        return Stored(values, from_text(text.pop(_KEYWORD, "")), text)
