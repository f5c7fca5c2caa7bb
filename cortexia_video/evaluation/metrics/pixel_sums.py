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

    A pixel whose depth is unknown counts in each sum as that end of the clip which makes it worse.

    Attributes:
        pixels: How many.
        within: How many have max(d / r, r / d) below each of `RATIOS`.
        unknown: How many have no known depth.
        relative: The sum of |d - r| / r.
        squared_relative: The sum of (d - r)^2 / r.
        absolute: The sum of |d - r|.
        squared: The sum of (d - r)^2.
        inverse_squared: The sum of (1 / d - 1 / r)^2.
        log_squared: The sum of g^2.
        log_absolute: The sum of |g|.
        log: The sum of g, where unknown pixels make the spread largest.
        log_spread: The sum of (g - mean of g)^2.
    """

    pixels: int
    within: tuple[int, ...]
    unknown: int
    relative: float
    squared_relative: float
    absolute: float
    squared: float
    inverse_squared: float
    log_squared: float
    log_absolute: float
    log: float
    log_spread: float


ADDED = (
    "unknown",
    "relative",
    "squared_relative",
    "absolute",
    "squared",
    "inverse_squared",
    "log_squared",
    "log_absolute",
    "log",
)
_ERRORS = ADDED[1:]


def measure_pixels(depth_m: Array, reference_m: Array, mask: Mask) -> PixelSums:
    """Compare depth with a reference where the mask says, in float64.

    Args:
        depth_m: (H, W) metres, finite and above 0 in `mask`: clip it, or say what an unknown pixel counts as.
        reference_m: (H, W) metres.
        mask: bool (H, W), where to compare.

    Returns:
        Sums, which `score_pixels` makes metrics of, and `add_sums` adds.

    Raises:
        ValueError: Nothing can be measured, or depth is not finite and above 0.

    Example:
        >>> depth, reference = np.full((2, 2), 2.2), np.full((2, 2), 2.0)
        >>> sums = cx.evaluation.measure_pixels(depth, reference, reference > 0)
        >>> round(float(cx.evaluation.score_pixels(sums)["abs_rel"]), 6)
        0.1
    """
    return sum_errors(*select(depth_m, reference_m, mask))


def sum_errors(
    depth: Floats, reference: Floats, ends: tuple[float, float] = (math.nan, math.nan)
) -> PixelSums:
    """Compare depth (N,), NaN where unknown, with a reference (N,), as `measure_pixels` does.

    ends: what an unknown depth may be, least and largest.
    """
    lost = None if is_finite(depth) else ~np.isfinite(depth)
    known, target = (depth, reference) if lost is None else (depth[~lost], reference[~lost])
    if (known.size and known.min() <= 0) or reference.min() <= 0:
        bad = np.count_nonzero((depth <= 0) | (reference <= 0))
        raise ValueError(f"{bad} of {depth.size} measured pixels are not above 0: clip them")
    room = np.empty((3, min(_BLOCK, known.size)))
    parts = list(list_blocks(known.size))
    sums = dict.fromkeys(_ERRORS, 0.0)
    within, spread = [0] * len(RATIOS), 0.0
    if parts:
        blocks = np.array(
            [_sum_block(known[part], target[part], room[:, : part.stop - part.start]) for part in parts]
        )
        *added, spread = blocks[:, : len(_ERRORS) + 1].sum(axis=0).tolist()
        sums = dict(zip(_ERRORS, added, strict=True))
        sizes = np.array([part.stop - part.start for part in parts])
        means = blocks[:, _ERRORS.index("log")] / sizes
        spread += float(sizes @ (means - sums["log"] / known.size) ** 2)
        within = blocks[:, len(_ERRORS) + 1 :].sum(axis=0).astype(int).tolist()
    found = PixelSums(known.size, tuple(within), 0, **sums, log_spread=spread)
    return found if lost is None else _add_unknown(found, reference[lost], *ends)


def _add_unknown(known: PixelSums, reference: Floats, low: float, high: float) -> PixelSums:
    """Add pixels of which only the reference (N,) is known, each at the end that is worse for each sum.

    The spread of logs is a matter of all pixels: it is largest, of all choices of ends, where the nearest
    references take the far end and the others the near one; how many, is tried.
    """
    farther = np.maximum(np.abs(low - reference), np.abs(high - reference))
    inverse = np.maximum(np.abs(1 / low - 1 / reference), np.abs(1 / high - 1 / reference))
    below = np.sort(np.log(low / reference))[::-1]
    wide = math.log(high / low)
    logs = np.maximum(np.abs(below), np.abs(below + wide))
    pixels = known.pixels + reference.size
    sums = known.log + below.sum() + wide * np.arange(reference.size + 1)
    moved = np.concatenate([[0.0], np.cumsum(2 * wide * below + wide**2)])
    count = int((moved - sums**2 / pixels).argmax())
    chosen = below + wide * (np.arange(reference.size) < count)
    spread = known.log_spread + float(((chosen - chosen.mean()) ** 2).sum())
    if known.pixels:
        apart = known.log / known.pixels - chosen.mean()
        spread += float(known.pixels * reference.size / pixels * apart**2)
    more = [int(np.count_nonzero(logs < math.log(limit))) for limit in RATIOS]
    return PixelSums(
        pixels,
        tuple(one + other for one, other in zip(known.within, more, strict=True)),
        known.unknown + reference.size,
        relative=known.relative + float((farther / reference).sum()),
        squared_relative=known.squared_relative + float((farther**2 / reference).sum()),
        absolute=known.absolute + float(farther.sum()),
        squared=known.squared + float((farther**2).sum()),
        inverse_squared=known.inverse_squared + float((inverse**2).sum()),
        log_squared=known.log_squared + float((logs**2).sum()),
        log_absolute=known.log_absolute + float(logs.sum()),
        log=float(sums[count]),
        log_spread=spread,
    )


def list_blocks(size: int) -> Iterator[slice]:
    """Yield the parts of a flat array that are worked on one after the other."""
    for start in range(0, size, _BLOCK):
        yield slice(start, min(start + _BLOCK, size))


def _sum_block(depth: Floats, reference: Floats, room: Floats) -> list[float]:
    """Return the sums of `_ERRORS`, that of (g - mean of g)^2 over the block, then the counts of `RATIOS`.

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
    log, log_squared, log_absolute = logs.sum(), logs @ logs, np.abs(logs, out=other).sum()
    logs -= log / logs.size
    log_spread = logs @ logs
    np.maximum(ratio, np.divide(reference, depth, out=other), out=ratio)
    counts = [np.count_nonzero(ratio < limit) for limit in RATIOS]
    sums = [relative, squared_relative, absolute, squared, inverse_squared, log_squared, log_absolute, log]
    return [*sums, log_spread, *counts]


def add_sums(images: Iterable[PixelSums]) -> PixelSums:
    """Add the sums of images, in constant memory and to the same bits in any order.

    The spread of all is that within images and between them.

    Args:
        images: One for each image, from `measure_pixels`.

    Returns:
        The sums over the pixels of all images.

    Raises:
        ValueError: There is no image.
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
    unknown = int(sums.pop("unknown"))
    rounded = {name: float(value) for name, value in sums.items()}
    return PixelSums(pixels, tuple(within.tolist()), unknown, **rounded, log_spread=max(float(spread), 0.0))


def select(values: Array, reference: Array, mask: Mask) -> tuple[Floats, Floats]:
    """Take the measured pixels of both as float64 (N,); raise ValueError where that cannot be."""
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
