"""Motion between two small grey images, in numpy alone: the same numbers on every machine with it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cortexia_video.images.resampling import resize_depth

Array = NDArray[np.float32]

_FINEST = 56  # pixels of the short side, about, at which motion is sought last; it is then enlarged
_ROUNDS = (1, 2, 3)  # of refinement, from the coarsest level on
_WINDOW = 3  # pixels on each side that share a motion
_SMOOTH = 2
_STIFF = 0.02  # of the mean structure: flat regions stay where they are


def find_flow(image: Array, before: Array) -> Array:
    """Return where each pixel of an image was before, float32 (2, H, W): rows, columns to add to its own.

    image, before: float32 (H, W), 0..255. Least squares over windows, from coarse to fine: Lucas and Kanade
    1981, in the pyramid of Bouguet 2001.
    """
    finest = max(0, round(math.log2(min(image.shape) / _FINEST)))
    coarsest = finest + len(_ROUNDS) - 1
    now, then = [image], [before]
    for _ in range(coarsest):
        now.append(_halve(now[-1]))
        then.append(_halve(then[-1]))
    down = across = np.zeros_like(now[-1])
    for level, rounds in zip(range(coarsest, finest - 1, -1), _ROUNDS, strict=True):
        if level < coarsest:
            down, across = (2 * resize_depth(each, *now[level].shape) for each in (down, across))
        down, across = _refine(now[level], then[level], down, across, rounds)
    scale = np.float32(2**finest)
    return np.stack([scale * resize_depth(each, *image.shape) for each in (down, across)])


def _refine(shown: Array, then: Array, down: Array, across: Array, rounds: int) -> tuple[Array, Array]:
    rows, columns = np.indices(shown.shape, np.float32)
    down, across = down.copy(), across.copy()
    slopes = np.gradient(shown) if min(shown.shape) > 1 else [np.zeros_like(shown)] * 2
    by_row, by_column = (each.astype(np.float32, copy=False) for each in slopes)
    rr, rc, cc = (
        box_mean(np.multiply(a, b, dtype=np.float32), _WINDOW)
        for a, b in ((by_row, by_row), (by_row, by_column), (by_column, by_column))
    )
    stiff = np.float32(_STIFF * float((rr + cc).mean()) + 1 / (2 * _WINDOW + 1) ** 2)
    rr, cc = rr + stiff, cc + stiff
    determinant: Array = rr * cc - rc * rc
    for _ in range(rounds):
        (moved,), _ = sample([then], rows + down, columns + across)
        change = moved - shown
        r, c = box_mean(by_row * change, _WINDOW), box_mean(by_column * change, _WINDOW)
        down -= (cc * r - rc * c) / determinant
        across -= (rr * c - rc * r) / determinant
    return box_mean(down, _SMOOTH), box_mean(across, _SMOOTH)


def sample(maps: list[Array], rows: Array, columns: Array) -> tuple[list[Array], NDArray[np.bool_]]:
    """Interpolate maps (H, W) bilinearly at places (h, w); also return which places lie inside."""
    height, width = maps[0].shape
    inside = (rows >= 0) & (rows <= height - 1) & (columns >= 0) & (columns <= width - 1)
    rows, columns = np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)
    top, left = rows.astype(np.int32), columns.astype(np.int32)
    np.minimum(top, max(height - 2, 0), out=top)
    np.minimum(left, max(width - 2, 0), out=left)
    down, across = rows - top, columns - left
    first = top * width + left
    right, below = int(width > 1), width * int(height > 1)
    found = []
    for each in maps:
        flat = each.ravel()
        upper = flat[first]
        upper += across * (flat[first + right] - upper)
        lower = flat[first + below]
        lower += across * (flat[first + (below + right)] - lower)
        upper += down * (lower - upper)
        found.append(upper)
    return found, inside


def box_mean(values: Array, radius: int) -> Array:
    """Return the mean over a square of `2 * radius + 1` pixels around each, edges held."""
    side = np.float32(1 / (2 * radius + 1))
    for _ in range(2):
        rows = np.clip(np.arange(-radius - 1, len(values) + radius), 0, len(values) - 1)
        summed = np.cumsum(values[rows], 0, dtype=np.float64)
        values = np.subtract(summed[2 * radius + 1 :], summed[: -2 * radius - 1], dtype=np.float32) * side
        values = np.ascontiguousarray(values.T)
    return values


def _halve(values: Array) -> Array:
    height, width = (max(2, side // 2 * 2) for side in values.shape)
    even = values[:height, :width]
    if even.shape[0] % 2 or even.shape[1] % 2:  # one pixel high or wide
        even = np.pad(even, [(0, side % 2) for side in even.shape], mode="edge")
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) * np.float32(0.25)
