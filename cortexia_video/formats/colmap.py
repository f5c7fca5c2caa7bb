"""COLMAP's dense maps: `width&height&channels&` in ASCII, then float32 in rows, 0 where unknown.

Source: Mat<T>::Write of COLMAP's src/colmap/mvs/mat.h and its scripts/python/read_write_dense.py. Depth is in
the unit of the reconstruction, which is metres only if that was scaled to them.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from cortexia_video.errors import DepthFileError
from cortexia_video.formats.raw_depth import Chunks, RawDepth, require_pixels

HEAD = re.compile(rb"(\d{1,9})&(\d{1,9})&(\d{1,4})&")


def encode(values: np.ndarray[Any, Any]) -> Chunks:
    """Return the pieces of a file of values (H, W), 0 where unknown."""
    height, width = values.shape
    return [
        f"{width}&{height}&1&".encode(),
        np.ascontiguousarray(values, "<f4").reshape(-1).view(np.uint8).data,
    ]


def decode(data: bytes, most: float) -> RawDepth:
    """Return the values, float32, over the file's own bytes. most: pixels."""
    header = HEAD.match(data)
    if header is None:
        raise DepthFileError("its header is not that of COLMAP's maps: width&height&channels&")
    width, height, channels = map(int, header.groups())
    if channels != 1:
        raise DepthFileError(f"it has {channels} channels, as COLMAP's normals have: depth has one")
    require_pixels(height, width, most)
    expected = 4 * width * height
    if len(data) - header.end() != expected:
        found = len(data) - header.end()
        raise DepthFileError(f"it has {found} bytes of values, its header says {expected}: it is not whole")
    return RawDepth(np.frombuffer(data, "<f4", offset=header.end()).reshape(height, width), {})
