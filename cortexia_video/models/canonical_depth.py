"""Canonical inverse depth, and metres of it.

What Depth Pro's network gives (Bochkovskii et al., ICLR 2025): inverse depth as it would be if the focal
length were as long as the image is wide, C, so depth = f_px / (width C). With a horizontal field of view a,
width / f_px = 2 tan(a / 2). C is what gets resized, since inverse depth is what is linear across a plane.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

CANONICAL_INVERSE_DEPTH = "canonical_inverse_depth"  # as a file says that this is what its graph gives

_NEAREST, _FARTHEST = 1e-4, 1e4  # metres; inverse depth is held between their inverses
_STRIP = 1 << 16  # values


def to_metres(values: NDArray[np.float32], fov_deg: float) -> NDArray[np.float32]:
    """Turn canonical inverse depth, float32 (H, W), into metres, in its place; 0.1 mm to 10 km.

    fov_deg: horizontal field of view of the image, degrees.
    """
    factor = np.float32(2 * math.tan(math.radians(fov_deg) / 2))
    values = np.ascontiguousarray(values)
    flat = values.reshape(-1)
    for start in range(0, flat.size, _STRIP):  # pieces that stay in the cache for all three steps
        piece = flat[start : start + _STRIP]
        np.multiply(piece, factor, out=piece)
        np.clip(piece, 1 / _FARTHEST, 1 / _NEAREST, out=piece)
        np.reciprocal(piece, out=piece)
    return values
