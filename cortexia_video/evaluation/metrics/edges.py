"""How near the edges of depth are to those of a reference, in pixels.

Source: Koch et al., "Evaluation of CNN-based Single-Image Depth Estimation Methods", ECCV 2018 workshops
(iBims-1), section 3: depth boundary errors, with distances up to 10 pixels. Which pixels are edges is the
caller's: iBims-1 has them drawn by hand and takes Canny's of the estimate; `geometry.find_edges` gives
those of both where nobody drew any.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from cortexia_video.evaluation.metrics.pixel_sums import Floats, Mask

_FARTHEST = 10.0  # pixels


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
