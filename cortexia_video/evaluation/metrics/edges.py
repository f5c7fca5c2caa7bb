"""How well depth finds the edges of a reference: boundary F1 and recall, and distances between edges in pixels.

Boundaries: two neighbours i, j have a contour between them where d(j) / d(i) > t: j is behind i. Precision and
recall are taken for each of four directions (behind to the right, left, below, above), averaged over these,
their harmonic mean is averaged over ten t in 1.05..1.25, each weighing t. No alignment is needed: a factor on
depth changes nothing. Source: Bochkovskii et al., "Depth Pro: Sharp Monocular Metric Depth in Less Than a
Second", ICLR 2025, section 4 and appendix; as there, a map without contours scores 0.

Distances: Koch et al., "Evaluation of CNN-based Single-Image Depth Estimation Methods", ECCV 2018 workshops
(iBims-1), section 3: depth boundary errors, with distances up to 10 pixels. Which pixels are edges is the
caller's: iBims-1 has them drawn by hand and takes Canny's of the estimate; `geometry.find_edges` gives those of
both where nobody drew any.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from cortexia_video.evaluation.metrics.pixel_sums import Array, Floats, Mask

_LIMITS = np.linspace(1.05, 1.25, 10)
_WEIGHTS = _LIMITS / _LIMITS.sum()
_NEAREST = 1e-6  # depth below is taken for this
_ALPHA = 0.1  # of a mask that is a share: what is more is inside
_FARTHEST = 10.0  # pixels


def boundary_f1(depth: Array, reference: Array, mask: Mask | None = None) -> float:
    """Return the boundary F1 of depth against a reference: 1 is perfect.

    Source: Bochkovskii et al., "Depth Pro", ICLR 2025, section 4.

    Args:
        depth: (H, W), in any unit. What is not finite in the mask has no contour there.
        reference: (H, W), in any unit.
        mask: bool (H, W), True where the reference is known (default: everywhere); only neighbours that both
            are count.

    Returns:
        The F1 of precision and recall, weighted over thresholds.

    Raises:
        ValueError: The shapes differ.
    """
    ours, theirs = _invert(depth), _invert(reference)
    if ours.shape != theirs.shape or (mask is not None and mask.shape != ours.shape):
        raise ValueError(f"depth {ours.shape}, reference {theirs.shape} and mask must have one shape")
    masks = _neighbours(np.ones(ours.shape, bool) if mask is None else mask)
    counts = []  # for each direction and limit: the contours of the first, of the second, and of both
    for mine, other, known in zip(_neighbours(ours), _neighbours(theirs), masks, strict=True):
        with np.errstate(invalid="ignore"):
            one, two = mine[0] / mine[1], other[0] / other[1]
            edges = (one > _LIMITS[0]) | (two > _LIMITS[0])
        if mask is not None:
            edges &= known[0] & known[1]
        one, two = one[edges] > _LIMITS[:, None], two[edges] > _LIMITS[:, None]
        counts.append([np.count_nonzero(each, axis=1) for each in (one, two, one & two)])
    found, true, both = np.stack(counts, axis=1)
    precision = (both / np.maximum(found, 1)).mean(axis=0)
    recall = (both / np.maximum(true, 1)).mean(axis=0)
    together = precision + recall
    f1 = np.divide(2 * precision * recall, together, out=np.zeros_like(together), where=together > 0)
    return float(f1 @ _WEIGHTS)


def boundary_recall(depth: Array, inside: Array) -> float:
    """Return the share of a mask's outline that depth has a contour on, thinned to one pixel.

    Of neighbours in a row that all are above a threshold only the largest is a contour: depth that is wrong
    in a broad band gains nothing. Source: Bochkovskii et al., "Depth Pro", ICLR 2025, section 4.

    Args:
        depth: (H, W), in any unit.
        inside: bool or a share 0 to 1, (H, W), of what is before the rest: a person, hair.

    Returns:
        The recall, weighted over thresholds: 1 is perfect.

    Raises:
        ValueError: The two have not one shape.
    """
    near, within = _invert(depth), np.asarray(inside) > _ALPHA
    if near.shape != within.shape:
        raise ValueError(f"depth {near.shape} and mask {within.shape} must have one shape")
    recalls = []
    for (here, there), (inner, beside) in zip(_neighbours(near), _neighbours(within), strict=True):
        with np.errstate(invalid="ignore"):
            ratio, outline = here / there, inner & ~beside
            found = [np.count_nonzero(_thin(ratio, limit) & outline) for limit in _LIMITS]
        recalls.append(np.array(found) / max(int(np.count_nonzero(outline)), 1))
    return float(np.mean(recalls, axis=0) @ _WEIGHTS)


def _invert(depth: Array) -> Floats:
    """Return inverse depth, float64; NaN where depth is not finite."""
    exact = depth.astype(np.float64)
    exact[~np.isfinite(exact)] = np.nan
    with np.errstate(invalid="ignore"):
        np.maximum(exact, _NEAREST, out=exact)
    return np.divide(1, exact, out=exact)


def _neighbours(array: Array) -> Iterator[tuple[Array, Array]]:
    """Yield the views of all pixels and of their neighbours, in four directions, as rows."""
    for rows in (array, array.T):
        yield rows[:, 1:], rows[:, :-1]
        yield rows[:, :-1], rows[:, 1:]


def _thin(ratio: Floats, limit: float) -> Mask:
    """Keep of each run along a row that is above the limit the first of its largest."""
    ratio = np.ascontiguousarray(ratio)  # of a transposed view `ravel` would be a copy
    above = ratio > limit
    thinned = np.zeros(above.size, bool)
    places = np.flatnonzero(above)
    if places.size:
        begins = above.copy()
        begins[:, 1:] &= ~above[:, :-1]
        starts = np.flatnonzero(begins.ravel()[places])
        values = ratio.ravel()[places]
        lengths = np.diff(np.append(starts, places.size))
        largest = np.flatnonzero(values == np.repeat(np.maximum.reduceat(values, starts), lengths))
        runs = np.searchsorted(starts, largest, side="right")
        _, first = np.unique(runs, return_index=True)
        thinned[places[largest[first]]] = True
    return thinned.reshape(above.shape)


def edge_accuracy(edges: Mask, reference_edges: Mask) -> float:
    """Average the distance from found edges to the nearest true one: 0 is best, 10 worst.

    Source: Koch et al., "Evaluation of CNN-based Single-Image Depth Estimation Methods" (iBims-1),
    ECCV 2018 workshops, section 3.

    Args:
        edges: bool (H, W), found.
        reference_edges: bool (H, W), true.

    Returns:
        Pixels. Found edges 10 pixels and more from any do not count; where all are, it is 10. NaN without
        true edges.
    """
    if not reference_edges.any():
        return float("nan")
    distances = measure_distance(reference_edges)[edges]
    near = distances[distances < _FARTHEST]
    return float(near.mean()) if near.size else _FARTHEST


def edge_completeness(
    edges: Mask, reference_edges: Mask, *, formula: Literal["paper", "scripts"] = "paper"
) -> float:
    """Average the distance from true edges to the nearest found one: 0 is best, 10 worst.

    Source: Koch et al., "Evaluation of CNN-based Single-Image Depth Estimation Methods" (iBims-1),
    ECCV 2018 workshops, section 3. Most public copies of iBims-1's evaluation script compute something else
    under this name, and published tables are made with them: the mean over true and found edges together,
    each to the nearest of the other.

    Args:
        edges: bool (H, W), found.
        reference_edges: bool (H, W), true.
        formula: `paper`, or `scripts`: what most copies of the script compute.

    Returns:
        Pixels, at most 10. NaN without true edges.

    Raises:
        ValueError: The formula is none of these.
    """
    if formula not in ("paper", "scripts"):
        raise ValueError(f"unknown formula {formula!r}: use paper or scripts")
    if not reference_edges.any():
        return float("nan")
    distances = measure_distance(edges)[reference_edges]
    if formula == "scripts":
        distances = np.concatenate([distances, measure_distance(reference_edges)[edges]])
    return float(distances.mean())


def measure_distance(edges: Mask) -> Floats:
    """Return the distance to the nearest edge, (H, W) in pixels between centres, at most 10.

    First along the columns, then the least of d(x + k)^2 + k^2 over the row: Felzenszwalb and Huttenlocher,
    "Distance Transforms of Sampled Functions", 2012, with the few k that matter instead of their envelope.
    """
    farthest = int(_FARTHEST)
    width = edges.shape[1]
    down = np.minimum(_measure_behind(edges), _measure_behind(edges[::-1])[::-1])
    squares = np.pad(np.minimum(down, _FARTHEST) ** 2, ((0, 0), (farthest, farthest)), constant_values=100.0)
    nearest = squares[:, farthest : farthest + width].copy()
    for step in range(1, farthest):
        for start in (farthest - step, farthest + step):
            np.minimum(nearest, squares[:, start : start + width] + step * step, out=nearest)
    return np.sqrt(np.minimum(nearest, _FARTHEST**2))


def _measure_behind(edges: Mask) -> Floats:
    """Return how many rows above the last edge of the column is, or infinity."""
    rows = np.arange(edges.shape[0], dtype=np.float64)[:, None]
    last = np.maximum.accumulate(np.where(edges, rows, -np.inf), axis=0)
    return np.asarray(rows - last)
