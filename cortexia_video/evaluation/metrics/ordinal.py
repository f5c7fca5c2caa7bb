"""How often depth orders pairs of points as people do: for ground truth that is only relative."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cortexia_video.evaluation.metrics.pixel_sums import Array


def whdr(
    values: Array,
    points: NDArray[np.int64],
    relations: NDArray[np.int64],
    weights: Array | None = None,
    *,
    equal_ratio: float = 1.0,
    larger_is_nearer: bool = False,
) -> float:
    """Return the weighted share of pairs that are ordered otherwise: 0 is perfect.

    Sources: Bell, Bala and Snavely, "Intrinsic Images in the Wild", SIGGRAPH 2014 (equal_ratio 1.1); Chen et
    al., "Single-Image Depth Perception in the Wild", NIPS 2016 (no equal pairs: equal_ratio 1). The ordinal
    agreement is 1 - whdr.

    Args:
        values: (H, W) depth or disparity. A pair with an unknown value is ordered wrongly.
        points: (N, 2, 2), row and column of the two of each pair.
        relations: (N,), 1 where the first is farther, -1 where it is nearer, 0 where they are as far.
        weights: (N,), all 1 by default.
        equal_ratio: Values whose ratio is at most this are as far; at 1, the only choice that makes sense for
            values with a free shift, nothing but equal ones are.
        larger_is_nearer: The values are disparity.

    Returns:
        The share, 0 to 1.

    Raises:
        ValueError: There are no pairs.
    """
    if not len(points):
        raise ValueError("no pair of points to measure")
    first, second = values[tuple(np.moveaxis(points, -1, 0))].T.astype(np.float64)
    order = np.where(first > second * equal_ratio, 1, np.where(second > first * equal_ratio, -1, 0))
    wrong = (-order if larger_is_nearer else order) != relations
    wrong |= ~(np.isfinite(first) & np.isfinite(second))
    return float(np.average(wrong, weights=weights))
