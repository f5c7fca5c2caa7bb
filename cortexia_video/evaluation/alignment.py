"""Bring relative depth into the units of a reference, so that metrics can compare them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cortexia_video.evaluation.metrics import Array, Mask, select


def align_disparity(
    disparity: Array, reference_m: Array, mask: Mask, *, max_depth_m: float
) -> NDArray[np.float64]:
    """Fit scale and shift of a disparity to 1 / reference by least squares, and return depth in metres.

    disparity: (H, W), larger is nearer, up to factor and shift. reference_m: (H, W) metres, > 0 in `mask`.
    Aligned disparity below 1 / max_depth_m, also below 0, is clamped there: no depth exceeds `max_depth_m`.
    Returns float64 (H, W). A disparity that is constant in the mask gives a constant.
    Source: Ranftl et al., "Towards Robust Monocular Depth Estimation", TPAMI 2020, section 5.
    """
    scale, shift = fit_scale_and_shift(disparity, 1 / np.where(mask, reference_m, 1.0), mask)
    aligned = scale * disparity.astype(np.float64) + shift
    return np.asarray(1 / np.maximum(aligned, 1 / max_depth_m))


def fit_scale_and_shift(values: Array, target: Array, mask: Mask) -> tuple[float, float]:
    """Minimise the sum of (scale * values + shift - target)^2 over the mask; equal values have scale 0."""
    x, y = select(values, target, mask)
    centred = x - x.mean()
    variance = float(centred @ centred)
    scale = float(centred @ (y - y.mean())) / variance if variance > 0 else 0.0
    return scale, float(y.mean() - scale * x.mean())
