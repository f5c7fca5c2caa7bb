"""`PixelSums`: what every metric over pixels needs of one image, from one pass; and of many, added exactly.

`depth_m` and `reference_m` are (H, W) in one unit, aligned; `mask` is bool (H, W), True where to measure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

RATIOS = (1.05, 1.10, 1.25, 1.25**2, 1.25**3)
_BLOCK = 1 << 13  # pixels at once: they stay in the cache, and OpenBLAS starts no threads (from 10,000 on)


@dataclass(frozen=True, slots=True)
class PixelSums:
    """Sums over the pixels of one image or of many; d is depth, r the reference, g = ln(d / r).

    pixels: how many. within: how many have max(d / r, r / d) below each of `RATIOS`.
    relative: sum of |d - r| / r. squared_relative: (d - r)^2 / r. absolute: |d - r|. squared: (d - r)^2.
    inverse_squared: (1 / d - 1 / r)^2. log: g. log_absolute: |g|. log_spread: (g - mean of g)^2.
    """

    pixels: int
    within: tuple[int, ...]
    relative: float
    squared_relative: float
    absolute: float
    squared: float
    inverse_squared: float
    log: float
    log_absolute: float
    log_spread: float


ADDED = ("relative", "squared_relative", "absolute", "squared", "inverse_squared", "log", "log_absolute")


def measure_pixels(depth_m: Array, reference_m: Array, mask: Mask) -> PixelSums:
    """Compare depth with a reference where the mask says, in float64.

    Raises ValueError where nothing can be measured, and for depth that is not finite and above 0: clip it, or
    say what an unknown pixel counts as.
    """
    return sum_errors(*select(depth_m, reference_m, mask))


def sum_errors(depth: Floats, reference: Floats) -> PixelSums:
    """Compare depth (N,) with a reference (N,), both finite, as `measure_pixels` does."""
    if depth.min() <= 0 or reference.min() <= 0:
        bad = np.count_nonzero((depth <= 0) | (reference <= 0))
        raise ValueError(f"{bad} of {depth.size} measured pixels are not above 0: clip them")
    room = np.empty((3, min(_BLOCK, depth.size)))
    parts = list(list_blocks(depth.size))
    blocks = np.array(
        [_sum_block(depth[part], reference[part], room[:, : part.stop - part.start]) for part in parts]
    )
    *added, spread = blocks[:, : len(ADDED) + 1].sum(axis=0).tolist()
    sums = dict(zip(ADDED, added, strict=True))
    sizes = np.array([part.stop - part.start for part in parts])
    means = blocks[:, ADDED.index("log")] / sizes
    spread += float(sizes @ (means - sums["log"] / depth.size) ** 2)
    within = blocks[:, len(ADDED) + 1 :].sum(axis=0).astype(int).tolist()
    return PixelSums(depth.size, tuple(within), **sums, log_spread=spread)


def list_blocks(size: int) -> Iterator[slice]:
    """Yield the parts of a flat array that are worked on one after the other."""
    for start in range(0, size, _BLOCK):
        yield slice(start, min(start + _BLOCK, size))


def _sum_block(depth: Floats, reference: Floats, room: Floats) -> list[float]:
    """Return the sums of `ADDED`, that of (g - mean of g)^2 over the block, then the counts of `RATIOS`.

    room: (3, N) to work in. With e = d - r and q = d / r - 1: |e| / r = |q|, e^2 / r = e q, and
    1 / r - 1 / d = q / d.
    """
    ratio, error, other = room
    np.subtract(depth, reference, out=error)
    np.divide(depth, reference, out=ratio)
    share = np.subtract(ratio, 1, out=other)
    squared, squared_relative = error @ error, error @ share
    absolute = np.abs(error, out=error).sum()
    inverse = np.divide(share, depth, out=error)
    inverse_squared = inverse @ inverse
    relative = np.abs(share, out=share).sum()
    logs = np.log(ratio, out=error)
    log, log_absolute = logs.sum(), np.abs(logs, out=other).sum()
    logs -= log / logs.size
    log_spread = logs @ logs
    np.maximum(ratio, np.divide(reference, depth, out=other), out=ratio)
    counts = [np.count_nonzero(ratio < limit) for limit in RATIOS]
    sums = [relative, squared_relative, absolute, squared, inverse_squared, log, log_absolute]
    return [*sums, log_spread, *counts]


class ExactSum:
    """A sum of floats that is right to the last bit, in whatever order they come, in constant memory."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = Fraction(0)

    def add(self, value: float) -> None:
        """Add a finite float."""
        self._sum += Fraction(value)
        self.count += 1

    @property
    def total(self) -> float:
        """Return the sum, rounded once."""
        return float(self._sum)

    @property
    def mean(self) -> float:
        """Return the mean, rounded once; NaN of nothing."""
        return float(self._sum / self.count) if self.count else math.nan


def add_sums(images: Iterable[PixelSums]) -> PixelSums:
    """Add the sums of images, in constant memory and to the same bits in any order.

    The spread of all is that within images and between them. Raises ValueError where there is no image.
    """
    pixels, within = 0, np.zeros(len(RATIOS), np.int64)
    sums = dict.fromkeys(ADDED, Fraction(0))
    squared_logs = Fraction(0)
    for each in images:
        pixels += each.pixels
        within += each.within
        for name in ADDED:
            sums[name] += Fraction(getattr(each, name))
        squared_logs += Fraction(each.log_spread) + Fraction(each.log) ** 2 / each.pixels
    if not pixels:
        raise ValueError("no image to add up")
    spread = squared_logs - sums["log"] ** 2 / pixels
    rounded = {name: float(value) for name, value in sums.items()}
    return PixelSums(pixels, tuple(within.tolist()), **rounded, log_spread=max(float(spread), 0.0))


def known_mask(reference_m: Array, max_depth_m: float, min_depth_m: float = 0.0) -> Mask:
    """Return where a reference is known: finite, above `min_depth_m`, at most `max_depth_m`; bool (H, W)."""
    with np.errstate(invalid="ignore"):
        known: Mask = np.isfinite(reference_m) & (reference_m > min_depth_m) & (reference_m <= max_depth_m)
    return known


def select(values: Array, reference: Array, mask: Mask) -> tuple[Floats, Floats]:
    """Return the measured pixels of both as float64 (N,); raise ValueError where that cannot be."""
    places = find_places(values, reference, mask)
    chosen, target = (take(each, places) for each in (values, reference))
    if not is_finite(chosen):
        unknown = np.count_nonzero(~np.isfinite(chosen))
        raise ValueError(
            f"{unknown} of {chosen.size} measured pixels are not finite: exclude them in the mask"
        )
    return chosen, target


def sum_products(one: Floats, other: Floats) -> float:
    """Return the sum of products of (N,) and (N,), added in one order whatever the number of cores is."""
    return float(sum(one[part] @ other[part] for part in list_blocks(one.size)))


def find_places(values: Array, reference: Array, mask: Mask) -> NDArray[np.intp]:
    """Return where the mask is True in the flat arrays; raise ValueError for other shapes, or if nowhere."""
    if not values.shape == reference.shape == mask.shape:
        raise ValueError(
            f"values {values.shape}, reference {reference.shape} and mask {mask.shape} must have one shape: "
            "resize the values to the reference"
        )
    places = np.flatnonzero(mask)
    if not places.size:
        raise ValueError("no pixel to measure: the mask is empty")
    return places


def is_finite(values: Floats) -> bool:
    """Return whether all numbers are finite; their sum tells that of most arrays in one quick pass."""
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.isfinite(values.sum()) or np.isfinite(values).all())


def take(values: Array, places: NDArray[np.intp]) -> Floats:
    """Return the pixels (N,) of an array (H, W) at places of the flat array, float64, a copy.

    A block at a time: a large array costs its memory's pages each time that it is made.
    """
    flat, chosen = values.reshape(-1), np.empty(places.size)
    for part in list_blocks(places.size):
        chosen[part] = flat[part] if places.size == flat.size else flat.take(places[part])
    return chosen
