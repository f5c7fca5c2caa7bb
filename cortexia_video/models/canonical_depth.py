"""Depth as it would be with another focal length, which networks give, and metres of it.

Canonical inverse depth, C, is what Depth Pro's network gives (Bochkovskii et al., ICLR 2025): inverse depth as it
would be if the focal length were as long as the image is wide, so depth = f_px / (width C). With a horizontal
field of view a, width / f_px = 2 tan(a / 2). C is what gets resized, since inverse depth is what is linear across
a plane.

Depth at a focal length of F pixels is what Metric3D (Yin et al., ICCV 2023: F = 1000) and Depth Anything 3 (F = 300)
give: depth = value f / F, with f in pixels of the image as the network sees it. Where that is w wide, value w / F is
depth as if the focal length were as long as the image is wide, whatever the size it is then brought to.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

# As a file says what its graph gives; the second with a number behind it, such as canonical:300.
CANONICAL_INVERSE_DEPTH, AT_FOCAL_LENGTH = "canonical_inverse_depth", "canonical:"

_NEAREST, _FARTHEST = 1e-4, 1e4  # metres; inverse depth is held between their inverses
_STRIP = 1 << 16  # values


def parse_focal_length(numbers: str) -> float | None:
    """Return F of `canonical:F`; None for what says no such thing, or no number of pixels."""
    try:
        canonical_f = (
            float(numbers.removeprefix(AT_FOCAL_LENGTH)) if numbers.startswith(AT_FOCAL_LENGTH) else 0.0
        )
    except ValueError:
        return None
    return canonical_f if 0 < canonical_f < math.inf else None


def depth_to_metres(values: NDArray[np.float32], fov_deg: float) -> NDArray[np.float32]:
    """Turn depth as if the focal length were as long as the image is wide, float32 (H, W), into metres, in place.

    fov_deg: horizontal field of view of the image, degrees.
    """
    values /= np.float32(2 * math.tan(math.radians(fov_deg) / 2))
    return values


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
