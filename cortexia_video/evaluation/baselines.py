"""Depth without looking at the image: what a network has to beat. Each is fitted to the reference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cortexia_video.evaluation.metrics.alignment import align_disparity, fit_scale_and_shift
from cortexia_video.evaluation.metrics.pixel_sums import Array, Mask

Baseline = Callable[[Array, Mask, float], NDArray[np.float64]]


def median_depth(reference_m: Array, mask: Mask, max_depth_m: float) -> NDArray[np.float64]:
    """Return depth (H, W), everywhere the median of the reference, in metres."""
    del max_depth_m
    return np.full(reference_m.shape, np.median(reference_m[mask].astype(np.float64)))


def depth_by_row(reference_m: Array, mask: Mask, max_depth_m: float) -> NDArray[np.float64]:
    """Fit depth that is linear in the row by least squares: (H, W) metres in 0..`max_depth_m`."""
    rows = np.indices(reference_m.shape, np.float64)[0]
    scale, shift = fit_scale_and_shift(rows, reference_m, mask)
    return np.asarray(np.clip(scale * rows + shift, 0, max_depth_m))


def disparity_by_row(reference_m: Array, mask: Mask, max_depth_m: float) -> NDArray[np.float64]:
    """Fit disparity that is linear in the row, aligned as a network's is: (H, W) metres."""
    rows = np.indices(reference_m.shape, np.float64)[0]
    return align_disparity(rows, reference_m, mask, max_depth_m=max_depth_m)


BASELINES: dict[str, Baseline] = {
    "median depth": median_depth,
    "depth linear in row": depth_by_row,
    "disparity linear in row": disparity_by_row,
}
