"""Portable grey map of 8 or 16 bits (binary, P5), read only: the numbers, whose meaning somebody has to say.

Source: https://netpbm.sourceforge.net/doc/pgm.html. Not by Pillow, which stretches the numbers to 65535.
"""

from __future__ import annotations

import re

import numpy as np

from cortexia_video.errors import DepthFileError
from cortexia_video.formats.raw_depth import RawDepth, require_pixels

MAGIC = b"P5"
_HEADER = re.compile(rb"P5" + 3 * rb"(?:\s|#[^\n\r]*[\n\r])+(\d{1,9})" + rb"(?:#[^\n\r]*[\n\r])?\s")
_HEADER_BYTES = 1 << 16
_EIGHT_BITS = 255


def decode(data: bytes, most: float) -> RawDepth:
    """Return the numbers, uint8 or big-endian uint16 (H, W), over the file's own bytes. most: pixels."""
    header = _HEADER.match(data[:_HEADER_BYTES])
    if header is None:
        raise DepthFileError("its header is not that of a PGM file: P5, width, height, largest number")
    width, height, largest = map(int, header.groups())
    if not 0 < largest < 1 << 16:
        raise DepthFileError(f"its largest number is {largest}, which is not of 8 or 16 bits")
    require_pixels(height, width, most)
    dtype = np.dtype(">u2" if largest > _EIGHT_BITS else "u1")
    expected = dtype.itemsize * width * height
    if len(data) - header.end() != expected:
        found = len(data) - header.end()
        raise DepthFileError(f"it has {found} bytes of values, its header says {expected}: it is not whole")
    return RawDepth(np.frombuffer(data, dtype, offset=header.end()).reshape(height, width), {})
