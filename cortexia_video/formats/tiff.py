"""TIFF of one channel; what the values mean is JSON in the tag ImageDescription.

Written as float32, by deflate behind a float predictor where tifffile is installed, else not packed: OpenCV,
OpenImageIO, Pillow, tifffile and imageio read both (zstd they do not). Read by Pillow; numbers that it does
not know (float16, float64, uint64) by tifffile.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import re
import struct
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import DepthFileError, explain_import
from cortexia_video.formats.metadata import from_text, metadata_of, to_text
from cortexia_video.formats.raw_depth import Chunks, RawDepth, require_pixels
from cortexia_video.images.decode import quieten_pillow

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLOUR, _DESCRIPTION = 254, 256, 257, 258, 259, 262, 270
_SAMPLES, _SAMPLE_FORMAT, _DEPTH = 277, 339, 32997
_TAGS = (*range(254, 271), _SAMPLES, _SAMPLE_FORMAT, _DEPTH)
_STACKED = re.compile(rb'ImageJ=[^\0]*?\nimages=(\d{1,9})\s|\{(?:[^{}]{0,99}, )?"shape": \[([\d, ]{1,99})\]')
_SORTS = {1: "B", 2: "s", 3: "H", 4: "L", 16: "Q"}  # of tags: what `struct` calls them
_WHITE_IS_0, _PALETTE = 0, 3
_NO_REMARKS = logging.NullHandler()  # without it what tifffile logs would be printed
_NOT_AN_IMAGE = 0b101  # of a page's sort: a smaller copy, or a mask
_FLOAT_PREDICTOR = 3
_ROWS = 64  # of a strip
_KINDS = {1: "u", 2: "i", 3: "f"}  # by SampleFormat
_BY_PILLOW = ("u8", "u16", "i16", "u32", "i32", "f32")
_MOST_PAGES = 1 << 16
logging.getLogger("tifffile").addHandler(logging.NullHandler())  # else what it also raises reaches stderr


def encode(depth: DepthMap) -> Chunks:
    """Return the file in one piece."""
    try:
        import imagecodecs  # noqa: F401 - what tifffile packs with
        import tifffile
    except ImportError:
        return encode_unpacked(depth)
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        depth.values,
        photometric="minisblack",
        compression="zlib",
        compressionargs={"level": 1},
        predictor=_FLOAT_PREDICTOR,
        rowsperstrip=_ROWS,
        description=to_text(metadata_of(depth)).decode(),
        metadata=None,
        software=False,
        maxworkers=1,
    )
    return [file.getbuffer()]


def encode_unpacked(depth: DepthMap, **metadata: Any) -> Chunks:
    """Return the file in one piece, not packed: the same bytes on every machine, and quick to read.

    metadata: where it differs from the map's.
    """
    text = to_text({**metadata_of(depth), **metadata}).decode()
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(depth.values)).save(file, "TIFF", tiffinfo={_DESCRIPTION: text})
    return [file.getbuffer()]


def decode(data: bytes, most: float, page: int | None = None) -> RawDepth:
    """Return the values of a page of one channel. most: pixels. page: counted from 1; may be left out of one.

    Raises `DepthFileError`, `explain_import`, and what Pillow and tifffile do for a broken file.
    """
    quieten_pillow()
    pages = _read_pages(data)
    images = [number for number, tags in enumerate(pages) if not tags.get(_SUBFILE, 0) & _NOT_AN_IMAGE]
    if page is None and len(images) != 1:
        raise DepthFileError(
            f"it has {len(images)} pages, of which one is depth: say which as `page`, from 1"
        )
    number = images[0] if page is None else page - 1
    if not 0 <= number < len(pages):
        raise DepthFileError(f"it has no page {page}: `page` is 1 to {len(pages)}")
    tags = pages[number]
    require_pixels(tags[_HEIGHT], tags[_WIDTH], most)
    bits, samples = tags.get(_BITS, 1), tags.get(_SAMPLES, 1)
    kind = f"{_KINDS.get(tags.get(_SAMPLE_FORMAT, 1), 'complex ')}{bits}"
    if samples != 1 or bits < 8 or tags.get(_COLOUR) == _PALETTE:
        pixels = "a palette" if tags.get(_COLOUR) == _PALETTE else f"{samples} x {kind}"
        raise DepthFileError(f"its pixels are {pixels}: depth is read from TIFF of one channel")
    description = tags.get(_DESCRIPTION, b"")
    stacked = _STACKED.match(description)  # ImageJ and tifffile may put several images behind one page
    sides = [int(side) for side in re.findall(rb"\d+", stacked[1] or stacked[2])] if stacked else []
    behind = math.prod(sides) // (1 if len(sides) == 1 else tags[_HEIGHT] * tags[_WIDTH])
    if tags.get(_DEPTH, 1) > 1 or (len(images) == 1 and behind > 1):
        count = max(behind, tags.get(_DEPTH, 1))
        raise DepthFileError(
            f"it has {count} images in one page: depth is one, write each into a file of its own"
        )
    text = from_text(description)
    is_swapped = data.startswith(b"MM") and tags.get(_COMPRESSION, 1) != 1  # whose bytes it would swap twice
    is_inverted = kind == "u8" and tags.get(_COLOUR) == _WHITE_IS_0  # which it would turn back
    if kind in _BY_PILLOW and not is_swapped and not is_inverted:
        with contextlib.suppress(SyntaxError):  # of an order of bytes, or a layout, that it does not know
            return RawDepth(_read_by_pillow(data, number, kind), text)
    try:
        import tifffile
    except ImportError as error:
        raise explain_import(error, f"TIFF of {kind} needs", "'cortexia-video[tiff]'") from error
    logging.getLogger("tifffile").addHandler(_NO_REMARKS)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        return RawDepth(np.asarray(file.pages[number].asarray(maxworkers=1)), text)


def _read_by_pillow(data: bytes, number: int, kind: str) -> np.ndarray[Any, Any]:
    with TiffImagePlugin.TiffImageFile(io.BytesIO(data)) as image:  # Image.open refuses large ones
        image.seek(number)
        tile, count = image.tile[0], image.width * image.height
        whole = len(image.tile) == 1 and tile.extents == (0, 0, *image.size)
        if whole and (tile.codec_name, tile.args) == ("raw", ("F;32F", 0, 1)):
            # in one piece: Pillow takes five times as long, by 64 KB at once; where it begins is no place for
            # floats, so it is copied
            values = np.frombuffer(data, "<f4", count, tile.offset).reshape(image.height, image.width)
            return values.astype(np.float32)
        numbers = np.asarray(image)
        return numbers.view(np.uint32) if kind == "u32" else numbers


def _read_pages(data: bytes) -> list[dict[int, Any]]:
    """Return the tags of every page, of those that count here (TIFF 6.0, section 2; BigTIFF)."""
    order, is_big = "<" if data[:2] == b"II" else ">", b"+" in data[:4]
    header, entry, pointer = ("Q", "HHQ", "Q") if is_big else ("H", "HHL", "L")
    (place,) = struct.unpack_from(order + pointer, data, 8 if is_big else 4)
    pages: list[dict[int, Any]] = []
    seen = {0}
    while place not in seen and len(pages) < _MOST_PAGES:
        seen.add(place)
        (count,) = struct.unpack_from(order + header, data, place)
        place += struct.calcsize(order + header)
        pages.append({})
        for _ in range(count):
            tag, sort, length = struct.unpack_from(order + entry, data, place)
            at, place = (
                place + struct.calcsize(order + entry),
                place + struct.calcsize(order + entry + pointer),
            )
            if tag in _TAGS and sort in _SORTS and tag not in pages[-1]:
                letter = _SORTS[sort]
                if struct.calcsize(order + letter) * length > struct.calcsize(order + pointer):
                    (at,) = struct.unpack_from(order + pointer, data, at)
                if letter == "s":
                    pages[-1][tag] = data[at : at + length].rstrip(b"\0")
                else:
                    (pages[-1][tag],) = struct.unpack_from(order + letter, data, at)  # the first, of several
        (place,) = struct.unpack_from(order + pointer, data, place)
    return pages
