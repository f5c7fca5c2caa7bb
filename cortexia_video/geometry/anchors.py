"""Metres for depth without factor and shift, by how far away the nearest and the farthest thing are."""

from __future__ import annotations

import math

import numpy as np

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import InputError
from cortexia_video.geometry.alignment import Fit, apply_fit, take_samples


def anchor_depth(depth: DepthMap, *, near_m: float, far_m: float) -> DepthMap:
    """Return metric depth whose nearest known value is `near_m` and whose farthest is `far_m`.

    That fixes what the kinds `disparity` (in 1 / depth) and `affine_invariant` (in depth) lack. The metres
    are as good as the two numbers, and one pixel that is wrongly nearest or farthest bends them all.

    Args:
        depth: Of one of these kinds.
        near_m: Metres.
        far_m: Metres.

    Returns:
        Depth of kind metric: float32 (H, W), metres.

    Raises:
        InputError: The kind is another, the numbers are not 0 < near < far, or the map is constant.

    Example:
        >>> depth = cx.DepthMap(np.array([[0.0, 1.0]], np.float32), "disparity")
        >>> cx.geometry.anchor_depth(depth, near_m=1, far_m=4).values.tolist()
        [[4.0, 1.0]]
    """
    return apply_fit(
        depth, fit_extremes(depth, near_m=near_m, far_m=far_m), take_samples(depth, []), "near_far"
    )


def fit_extremes(depth: DepthMap, *, near_m: float, far_m: float) -> Fit:
    """Return what makes a map's nearest known value `near_m` and its farthest `far_m`; raises as `anchor_depth`."""
    if depth.kind not in ("disparity", "affine_invariant"):
        raise InputError(
            f"depth of kind {depth.kind} has no unknown shift: `near_m` and `far_m` are not for it"
        )
    require_distances(near_m, far_m)
    known = depth.known_values
    values = np.where(np.isfinite(known), known, np.float32(np.nan))
    low, high = (float(each.reduce(values, axis=None)) for each in (np.fmin, np.fmax))
    if not low < high:
        raise InputError("depth is the same everywhere, or unknown: no near and far in it")
    first, last = (1 / far_m, 1 / near_m) if depth.larger_is_nearer else (near_m, far_m)
    scale = (last - first) / (high - low)
    return Fit(depth.kind, scale, first - scale * low, near_m, far_m)


def require_distances(near_m: float, far_m: float) -> None:
    """Raise `InputError` for numbers that are not 0 < near < far."""
    if not 0 < near_m < far_m < math.inf:
        raise InputError(f"`near_m` {near_m:g} and `far_m` {far_m:g} must be metres, 0 < near < far")
