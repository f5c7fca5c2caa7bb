"""TIFF of one float32 channel; what the values mean is JSON in the tag ImageDescription.

Packed by zstd behind a float predictor where the packages of the extra `tiff` are installed, else not packed.
Pillow reads both, with or without them.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, TiffImagePlugin

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import DepthFileError
from cortexia_video.formats.metadata import from_text, metadata_of, to_text
from cortexia_video.formats.raw_depth import Chunks, RawDepth, require_pixels
from cortexia_video.images.decode import quieten_pillow

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_DESCRIPTION = 270  # the tag
_FLOAT_PREDICTOR = 3
_ROWS = 64  # of a strip
_OTHER_MODES = {"1": "black and white", "L": "8-bit grey", "P": "a palette"}
_MODES = ("F", "I;16", "I;16B", "I")


def encode(depth: DepthMap) -> Chunks:
    """Return the file in one piece."""
    try:
        import imagecodecs  # noqa: F401 - what tifffile packs with
        import tifffile
    except ImportError:
        return encode_unpacked(depth)
    text = to_text(metadata_of(depth)).decode()
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        depth.values,
        photometric="minisblack",
        compression="zstd",
        compressionargs={"level": 1},
        predictor=_FLOAT_PREDICTOR,
        rowsperstrip=_ROWS,
        description=text,
        metadata=None,
        software=False,
        maxworkers=1,
    )
    return [file.getbuffer()]


def encode_unpacked(depth: DepthMap) -> Chunks:
    """Return the file in one piece, not packed: the same bytes on every machine, and quick to read."""
    text = to_text(metadata_of(depth)).decode()
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(depth.values)).save(file, "TIFF", tiffinfo={_DESCRIPTION: text})
    return [file.getbuffer()]


def decode(data: bytes, most: float) -> RawDepth:
    """Return the values of the first page, float32 or whole numbers of 16 or 32 bits. most: pixels.

    Raises `DepthFileError`, and what Pillow does for a broken file.
    """
    quieten_pillow()
    with TiffImagePlugin.TiffImageFile(io.BytesIO(data)) as image:  # Image.open refuses large ones
        if image.mode not in _MODES:
            pixels = _OTHER_MODES.get(image.mode, image.mode)
            raise DepthFileError(
                f"its pixels are {pixels}: depth is read from TIFF of one channel, float32 or uint16"
            )
        require_pixels(image.height, image.width, most)
        tile, count = image.tile[0], image.width * image.height
        text = str(image.tag_v2.get(_DESCRIPTION, ""))
        whole = len(image.tile) == 1 and tile.extents == (0, 0, *image.size)
        if whole and (tile.codec_name, tile.args) == ("raw", ("F;32F", 0, 1)):
            # in one piece: Pillow takes five times as long, by 64 KB at once; where it begins is no place for
            # floats, so it is copied
            values = np.frombuffer(data, "<f4", count, tile.offset).reshape(image.height, image.width)
            return RawDepth(values.astype(np.float32), from_text(text))
        return RawDepth(np.asarray(image), from_text(text))
