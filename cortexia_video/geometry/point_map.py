"""The camera of a point map whose points are right but for one scale, and one shift along the optical axis.

Networks for any camera give such maps: (x, y, z) of each pixel, where (x, y, z + shift) is in front of a
pinhole. With pixels placed at (u, v) from the middle of the image, in widths of it, and a focal length of f
widths, shift and f are where the sum of |f (x, y) / (z + shift) - (u, v)|^2 is least. Wang et al., MoGe, CVPR
2025, section 3.1. For a shift the best f follows by itself, so one number is searched for (Golub and Pereyra,
The Differentiation of Pseudo-Inverses and Nonlinear Least Squares Problems Whose Variables Separate, 1973).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_STEPS = 50  # six to ten are enough where there is a camera
_HALVINGS = 30
_CONVERGED = 1e-10
_FLAT = 1e-12  # of the slope that is not along the values: points on a plane that the camera faces fit any f

Array = NDArray[np.float64]


def place_pixels(height: int, width: int, aspect: float) -> NDArray[np.float32]:
    """Return where the pixels of a map are, float32 (height, width, 2), from its middle, in widths of the image.

    aspect: width over height of the image, which the map's sides need not have to the last pixel.
    """
    across = (np.arange(width, dtype=np.float32) + 0.5) / width - 0.5
    down = ((np.arange(height, dtype=np.float32) + 0.5) / height - 0.5) / np.float32(aspect)
    return np.stack(np.broadcast_arrays(across[None, :], down[:, None]), axis=-1)


def solve_camera(
    points: NDArray[np.floating], places: NDArray[np.floating], focal: float | None = None
) -> tuple[float, float]:
    """Return the focal length and the shift along the axis that fit points best.

    points: (N, 3), z above 0. places: (N, 2), where they are seen, in widths of the image. focal: in widths
    of the image, where it is known: then only the shift is searched for.

    Returns focal length in widths and the shift, in the points' unit; every z + shift is above 0. Where
    points say nothing (fewer than two, or all on the axis) the focal length is `focal`, or half a width over
    the tangent of 30 degrees, and the shift 0.
    """
    xyz = np.asarray(points, np.float64).reshape(-1, 3)
    target = np.asarray(places, np.float64).reshape(-1, 2)
    if len(xyz) < 2 or not xyz[:, :2].any():
        return focal or 0.5 / math.tan(math.radians(30)), 0.0
    nearest = float(xyz[:, 2].min())
    shift = 0.0
    f, residual, slope = _project(xyz, target, shift, focal)
    for _ in range(_STEPS):
        steepness = float((slope * slope).sum())
        if steepness <= _FLAT * float((target * target).sum()) / nearest**2:
            break
        step = -float((residual * slope).sum()) / steepness
        error = float((residual * residual).sum())
        for _ in range(_HALVINGS):
            if nearest + shift + step > 0:
                f, residual, slope = _project(xyz, target, shift + step, focal)
                if float((residual * residual).sum()) <= error:
                    break
            step /= 2
        else:
            break
        shift += step
        if abs(step) <= _CONVERGED * (nearest + shift):
            break
    f, _, _ = _project(xyz, target, shift, focal)
    return f, shift


def _project(xyz: Array, target: Array, shift: float, focal: float | None) -> tuple[float, Array, Array]:
    """Return the best focal length for a shift, how far points are from their places, and its slope."""
    away = 1 / (xyz[:, 2:] + shift)
    seen = xyz[:, :2] * away
    turned = -seen * away  # the derivative of `seen`
    square = float((seen * seen).sum())
    f = float((seen * target).sum()) / square if focal is None else focal
    along = float((seen * turned).sum()) / square if focal is None else 0.0
    return f, f * seen - target, f * (turned - along * seen)
