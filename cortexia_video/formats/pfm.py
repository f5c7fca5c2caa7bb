"""Portable float map, grey: three lines of text, then float32 rows from the bottom up. It has no metadata.

Source: P. Debevec, https://www.pauldebevec.com/Research/HDR/PFM/. The sign of the third line's number is the
byte order, negative for little-endian; its size is a unit that nobody agrees on, and is not used.
"""

from __future__ import annotations

import re

import numpy as np

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import DepthFileError
from cortexia_video.formats.raw_depth import Chunks, RawDepth, require_pixels

MAGIC = (b"Pf", b"PF")
_HEADER = re.compile(rb"P([fF])\s+(\d{1,9})\s+(\d{1,9})\s+([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s")


def encode(depth: DepthMap) -> Chunks:
    """Return the pieces of a little-endian file."""
    height, width = depth.values.shape
    values = np.ascontiguousarray(depth.values[::-1], dtype="<f4")
    return [f"Pf\n{width} {height}\n-1.0\n".encode(), values.reshape(-1).view(np.uint8).data]


def decode(data: bytes, most: float) -> RawDepth:
    """Return the values, float32 of the file's byte order, over its own bytes. most: pixels."""
    header = _HEADER.match(data[:256])
    if header is None:
        raise DepthFileError("its header is not that of a PFM file: Pf, width and height, scale")
    letter, width, height, scale = header.groups()
    if letter == b"F":
        raise DepthFileError("it has three channels (PF): depth is one number a pixel (Pf)")
    require_pixels(int(height), int(width), most)
    expected = 4 * int(width) * int(height)
    if len(data) - header.end() != expected:
        found = len(data) - header.end()
        raise DepthFileError(f"it has {found} bytes of values, its header says {expected}: it is not whole")
    values = np.frombuffer(data, "<f4" if float(scale) < 0 else ">f4", offset=header.end())
    return RawDepth(values.reshape(int(height), int(width))[::-1], {})
