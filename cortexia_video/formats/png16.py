"""A grey PNG of 16 bits: the numbers of `quantization`, and what they stand for as text before the pixels."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import PngImagePlugin

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import DepthFileError
from cortexia_video.formats import png8
from cortexia_video.formats.metadata import Metadata, from_text, metadata_of, to_text
from cortexia_video.formats.quantization import Quantizer, choose_steps, split_rows
from cortexia_video.formats.raw_depth import Chunks, RawDepth, require_pixels

MAGIC = b"\x89PNG\r\n\x1a\n"
KEYWORD = "cortexia_video"
_NOTHING: Mapping[str, str] = MappingProxyType({})
_UP = 2  # the filter: each byte less the one above it
_SAMPLES = 4  # strips
_GREY, _RGB, _RGBA = 0, 2, 6
_CHANNELS = {_GREY: "grey", _RGB: "RGB", 3: "a palette", 4: "grey and alpha", _RGBA: "RGBA"}


def encode(depth: DepthMap, scale: float | None = None, offset: float = 0.0) -> Chunks:
    """Return the pieces of a PNG. scale, offset: as `choose_steps` takes them."""
    steps = choose_steps(depth, scale, offset)
    return encode_numbers(Quantizer(depth.values, steps), {**metadata_of(depth), **steps})


def encode_numbers(
    steps: Quantizer, metadata: Metadata, text: Mapping[str, str] = _NOTHING, *, channels: int = 1
) -> Chunks:
    """Return the pieces of a PNG of some numbers. text: what other programs look for in it.

    channels: 1 or 3, which lie beside each other in the steps.

    Filtered and packed here, strip by strip: Pillow tries every filter on every row, which takes twice as
    long for files no smaller.
    """
    height, width = steps.values.shape
    colour = _RGB if channels == 3 else _GREY
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width // channels, height, 16, colour, 0, 0, 0))
    said = {KEYWORD: to_text(metadata), **{name: value.encode("ascii") for name, value in text.items()}}
    texts = [_chunk(b"tEXt", name.encode("ascii") + b"\0" + value) for name, value in said.items()]
    pieces = [MAGIC + header + b"".join(texts)]
    strips = [*split_rows(height, width)]
    # to look for what comes again in noise takes twice as long, and finds nothing: a few strips decide
    samples = [_filter(steps, rows) for rows in strips[:: -(-len(strips) // _SAMPLES)]]
    sizes = dict.fromkeys((zlib.Z_HUFFMAN_ONLY, zlib.Z_DEFAULT_STRATEGY), 0)
    for strategy in sizes:
        deflate = _deflate(strategy)
        sizes[strategy] = sum(len(deflate.compress(sample)) for sample in samples) + len(deflate.flush())
    deflate = _deflate(min(sizes, key=lambda strategy: sizes[strategy]))
    for rows in strips:
        packed = deflate.compress(_filter(steps, rows))
        if packed:
            pieces.append(_chunk(b"IDAT", packed))
    return [*pieces, _chunk(b"IDAT", deflate.flush()), _chunk(b"IEND", b"")]


def _filter(steps: Quantizer, rows: slice) -> memoryview:
    """Return some rows as PNG's filtered bytes: each number's less those of the number above."""
    above = min(rows.start, 1)  # above the first row is nothing
    numbers = np.zeros((1 + rows.stop - rows.start, steps.values.shape[1]), ">u2")
    steps.fill(slice(rows.start - above, rows.stop), numbers[1 - above :])
    data = numbers.view(np.uint8)
    filtered = np.empty((len(data) - 1, data.shape[1] + 1), np.uint8)
    filtered[:, 0] = _UP
    np.subtract(data[1:], data[:-1], out=filtered[:, 1:])
    return filtered.data


def _deflate(strategy: int) -> Any:
    return zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, strategy)


def _chunk(name: bytes, data: bytes) -> bytes:
    return b"".join(
        (struct.pack(">I", len(data)), name, data, struct.pack(">I", zlib.crc32(data, zlib.crc32(name))))
    )


def decode(data: bytes, most: float) -> RawDepth:
    """Return the numbers of a PNG: grey uint8 or uint16 (H, W), or uint8 (H, W, 3) of one in colour.

    So is what its text says if it is ours. most: pixels. Raises `DepthFileError`, and what Pillow does for a
    broken file.
    """
    if png8.MARK in data[:128]:
        raise DepthFileError("it is an 8-bit view, made to look at: there is no depth in it")
    with PngImagePlugin.PngImageFile(io.BytesIO(data)) as image:  # Image.open refuses large ones
        bits, colour = data[24], data[25]
        if (bits, colour) not in ((16, _GREY), (8, _GREY), (8, _RGB), (8, _RGBA)):
            raise DepthFileError(
                f"it has {bits} bits per channel, {_CHANNELS.get(colour, colour)}: "
                "depth is read from PNG of 16 bits, grey"
            )
        require_pixels(image.height, image.width, most)
        if image.n_frames > 1:
            raise DepthFileError(f"it has {image.n_frames} frames: depth is one image")
        values = np.asarray(image)
        text = {str(name): str(value) for name, value in image.info.items()}
        metadata = from_text(text.pop(KEYWORD, ""))
        return RawDepth(values[..., :3] if values.ndim == 3 else values, metadata, text)


def decode_rgb(data: bytes) -> NDArray[np.uint16]:
    """Return the numbers of a PNG of three channels that `encode_numbers` wrote: uint16 (H, W, 3).

    Pillow drops the lower half of such numbers. Raises `DepthFileError` for a file of anybody else, and what zlib
    does for a broken one.
    """
    width, height, bits, colour = struct.unpack(">IIBB", data[16:26]) if data[:8] == MAGIC else (0, 0, 0, 0)
    if (bits, colour) != (16, _RGB):
        raise DepthFileError("it is no PNG of 16 bits in RGB")
    packed, at = [], len(MAGIC)
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IDAT":
            packed.append(data[at + 8 : at + 8 + size])
        at += size + 12
    row = 1 + 6 * width
    unpacked = zlib.decompressobj().decompress(b"".join(packed), row * height + 1)
    if len(unpacked) != row * height:
        raise DepthFileError(f"it has {len(unpacked)} bytes of pixels, not {row * height}: it is not whole")
    rows = np.frombuffer(unpacked, np.uint8).reshape(height, row)
    if (rows[:, 0] != _UP).any():
        raise DepthFileError("it was written by another program: write it again by cortexia")
    numbers = np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8).view(">u2")
    return numbers.astype(np.uint16).reshape(height, width, 3)
