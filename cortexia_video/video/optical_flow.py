"""Motion between two small grey images, in numpy alone: the same numbers on every machine with it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_FINEST = 56  # pixels of the short side, about, at which motion is sought last; it is then enlarged
_ROUNDS = (1, 2, 3)  # of refinement, from the coarsest level on
_WINDOW = 3  # pixels on each side that share a motion
_SMOOTH = 2
_STRIP = 32  # rows
_STIFF = 0.02  # of the mean structure: flat regions stay where they are


def find_flow(image: Array, before: Array) -> Array:
    """Return where each pixel of an image was before, float32 (2, H, W): rows, columns to add to its own.

    image, before: float32 (H, W), 0..255. Least squares over windows, from coarse to fine: Lucas and Kanade
    1981, in the pyramid of Bouguet 2001.
    """
    finest = max(0, round(math.log2(min(image.shape) / _FINEST)))
    coarsest = finest + len(_ROUNDS) - 1
    pyramid = [np.stack([image, before])]
    for _ in range(coarsest):
        pyramid.append(_halve(pyramid[-1]))
    flow = np.zeros_like(pyramid[-1])
    for level, rounds in zip(range(coarsest, finest - 1, -1), _ROUNDS, strict=True):
        if level < coarsest:
            flow = 2 * _enlarge(flow, *pyramid[level].shape[1:])
        now, then = pyramid[level]
        flow = _refine(now, then, flow, rounds)
    return np.float32(2**finest) * _enlarge(flow, *image.shape)


def _refine(shown: Array, then: Array, flow: Array, rounds: int) -> Array:
    rows, columns = np.indices(shown.shape, np.float32)
    down, across = flow
    slopes = np.gradient(shown) if min(shown.shape) > 1 else [np.zeros_like(shown)] * 2
    by_row, by_column = (each.astype(np.float32, copy=False) for each in slopes)
    products = np.stack([by_row * by_row, by_row * by_column, by_column * by_column])
    rr, rc, cc = box_mean(products, _WINDOW)
    stiff = np.float32(_STIFF * float((rr + cc).mean()) + 1 / (2 * _WINDOW + 1) ** 2)
    rr, cc = rr + stiff, cc + stiff
    determinant = rr * cc - rc * rc
    for _ in range(rounds):
        (moved,), _ = sample([then], rows + down, columns + across)
        change = moved - shown
        r, c = box_mean(np.stack([by_row * change, by_column * change]), _WINDOW)
        down = down - (cc * r - rc * c) / determinant
        across = across - (rr * c - rc * r) / determinant
    return box_mean(np.stack([down, across]), _SMOOTH)


def sample(maps: list[Array], rows: Array, columns: Array) -> tuple[list[Array], NDArray[np.bool_]]:
    """Interpolate maps (H, W) bilinearly at places (h, w); also return which places lie inside."""
    height, width = maps[0].shape
    flats = [each.ravel() for each in maps]
    found = [np.empty(rows.shape, np.float32) for _ in maps]
    inside = np.empty(rows.shape, np.bool_)
    right, below = int(width > 1), width * int(height > 1)
    for start in range(0, len(rows), _STRIP):  # what is in between stays in the cache
        strip = slice(start, start + _STRIP)
        row, column = np.clip(rows[strip], 0, height - 1), np.clip(columns[strip], 0, width - 1)
        np.logical_and(row == rows[strip], column == columns[strip], out=inside[strip])
        top, left = row.astype(np.int32), column.astype(np.int32)
        np.minimum(top, max(height - 2, 0), out=top)
        np.minimum(left, max(width - 2, 0), out=left)
        row -= top.astype(np.float32)  # exact
        column -= left.astype(np.float32)
        first = (top * width + left).astype(np.intp)
        for flat, out in zip(flats, found, strict=True):
            upper, lower = flat.take(first), flat[below:].take(first)
            if right:
                upper += column * (flat[1:].take(first) - upper)
                lower += column * (flat[below + 1 :].take(first) - lower)
            lower -= upper
            lower *= row
            np.add(upper, lower, out=out[strip])
    return found, inside


def box_mean(values: Array, radius: int) -> Array:
    """Return the mean of maps (..., H, W) over a square of `2 * radius + 1` pixels around each, edges held."""
    side = np.float32(1 / (2 * radius + 1))
    for axis in (-2, -1):
        sides = list(values.shape)
        length = sides[axis]
        sides[axis] += 2 * radius
        held, given = (np.moveaxis(each, axis, 0) for each in (np.empty(sides, np.float32), values))
        held[radius : radius + length] = given
        held[:radius], held[radius + length :] = given[:1], given[-1:]
        total = held[:length] + held[1 : length + 1]
        for offset in range(2, 2 * radius + 1):
            total += held[offset : length + offset]
        total *= side
        values = np.moveaxis(total, 0, axis)
    return values


def _halve(values: Array) -> Array:
    height, width = (max(2, side // 2 * 2) for side in values.shape[1:])
    even = values[:, :height, :width]
    odd = [side % 2 for side in even.shape[1:]]
    if any(odd):  # one pixel high or wide
        even = np.pad(even, [(0, 0), *((0, each) for each in odd)], mode="edge")
    rows = even[:, ::2] + even[:, 1::2]
    return (rows[..., ::2] + rows[..., 1::2]) * np.float32(0.25)


def _enlarge(flow: Array, height: int, width: int) -> Array:
    """Interpolate (2, h, w) bilinearly to (2, height, width): half-pixel centres, edges held."""
    for axis, new in ((2, width), (1, height)):  # columns, which are slower, of the fewer rows
        old = flow.shape[axis]
        if old == new:
            continue
        at = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
        before = at.astype(np.intp)
        weight = (at - before).astype(np.float32).reshape(-1, *[1] * (2 - axis))
        first = flow.take(before, axis)
        flow = first + weight * (flow.take(np.minimum(before + 1, old - 1), axis) - first)
    return flow
