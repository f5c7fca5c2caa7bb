"""Errors of depth against a reference, in float64, over the pixels where the reference is known.

Every metric takes `depth_m` and `reference_m`, (H, W) in the same unit and already aligned, and `mask`, bool
(H, W), True where to measure; it raises ValueError where nothing can be measured. Definitions: Eigen, Puhrsch
and Fergus, "Depth Map Prediction from a Single Image using a Multi-Scale Deep Network", NeurIPS 2014, 4.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Mask = NDArray[np.bool_]


def abs_rel(depth_m: Array, reference_m: Array, mask: Mask) -> float:
    """Average |depth - reference| / reference: 0 is perfect."""
    depth, reference = select(depth_m, reference_m, mask)
    return float(np.mean(np.abs(depth - reference) / reference))


def delta1(depth_m: Array, reference_m: Array, mask: Mask) -> float:
    """Give the share of pixels with max(depth / reference, reference / depth) < 1.25: 1 is perfect."""
    depth, reference = select(depth_m, reference_m, mask)
    positive = depth > 0
    ratio = np.maximum(depth[positive] / reference[positive], reference[positive] / depth[positive])
    return float(np.count_nonzero(ratio < 1.25) / depth.size)


def known_mask(reference_m: Array, max_depth_m: float) -> Mask:
    """Say where a reference is known: finite, above 0 and at most `max_depth_m`; bool (H, W)."""
    with np.errstate(invalid="ignore"):
        known: Mask = np.isfinite(reference_m) & (reference_m > 0) & (reference_m <= max_depth_m)
    return known


def select(values: Array, reference: Array, mask: Mask) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Take the measured pixels of both as float64 (N,); raise ValueError where that cannot be."""
    if not values.shape == reference.shape == mask.shape:
        raise ValueError(
            f"values {values.shape}, reference {reference.shape} and mask {mask.shape} must have one shape: "
            "resize the values to the reference"
        )
    if not mask.any():
        raise ValueError("no pixel to measure: the mask is empty")
    chosen = values[mask].astype(np.float64)
    if not np.isfinite(chosen).all():
        unknown = np.count_nonzero(~np.isfinite(chosen))
        raise ValueError(
            f"{unknown} of {chosen.size} measured pixels are not finite: exclude them in the mask"
        )
    return chosen, reference[mask].astype(np.float64)
