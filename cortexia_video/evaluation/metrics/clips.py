"""`score_clip`: the depth of a video with one alignment for all of its frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import InputError
from cortexia_video.evaluation.metrics.alignment import align, apply_fit, find_usable, fit_alignment
from cortexia_video.evaluation.metrics.pixel_sums import Array
from cortexia_video.evaluation.metrics.temporal_stability import measure_change, measure_stability
from cortexia_video.images.resampling import resize_depth
from cortexia_video.pinhole import Pinhole

_FITTED = 1 << 22  # pixels of all frames together, about, that the alignment is fitted to
_USUAL = {
    "disparity": "disparity",
    "affine_invariant": "affine",
    "scale_invariant": "scale",
    "metric": "none",
}


class ClipScore(NamedTuple):
    """How good the depth of a video is.

    Attributes:
        frames: How many were measured.
        abs_rel: Mean of |depth - truth| / truth, one alignment for the clip.
        abs_rel_per_frame: The same, each frame aligned by itself: what a still image would have.
        change: As `measure_change` has it, NaN without poses.
        stability: The TAE, as `measure_stability` has it, NaN without poses.
    """

    frames: int
    abs_rel: float
    abs_rel_per_frame: float
    change: float
    stability: float


def score_clip(
    depths: Sequence[DepthMap],
    truth_m: Sequence[Array],
    *,
    alignment: str | None = None,
    max_depth_m: float = 80.0,
    poses: Sequence[Array] | None = None,
    camera: Pinhole | None = None,
) -> ClipScore:
    """Measure the depth of a video, with one alignment for all of its frames.

    Args:
        depths: Of the frames, all of one kind; smaller maps are enlarged.
        truth_m: (H, W) each, metres, NaN or 0 where unknown.
        alignment: As of `align`; by default none for metres, a factor for scale-invariant depth, factor and
            shift for the others.
        max_depth_m: Farther points do not count.
        poses: Camera to world, (4, 4) each, metres; `cortexia scenes --move` writes them.
        camera: Of the truth, where poses are given.

    Returns:
        Error and flicker.

    Raises:
        InputError: There are no frames, of another number than the truth, or the kind does not allow the alignment.
        ValueError: Nothing is known of the truth.

    Example:
        >>> truth = [np.full((4, 6), 2.0), np.full((4, 6), 3.0)]
        >>> depths = [cx.DepthMap((0.5 * each).astype(np.float32), "scale_invariant") for each in truth]
        >>> round(cx.evaluation.score_clip(depths, truth).abs_rel, 6)
        0.0
    """
    if not depths or len(depths) != len(truth_m):
        raise InputError(f"{len(depths)} frames of depth and {len(truth_m)} of truth: give one each")
    if (poses is None) != (camera is None):
        raise InputError("`poses` and `camera` belong together: give both or none")
    kind = depths[0].kind
    alignment = alignment or _USUAL[kind]
    shape = truth_m[0].shape
    truth = [np.asarray(each, np.float64) for each in truth_m]
    masks = [np.isfinite(each) & (each > 0) & (each <= max_depth_m) for each in truth]
    maps = [resize_depth(each.values, *shape) for each in depths]
    step = max(1, math.ceil(sum(int(each.sum()) for each in masks) / _FITTED))
    chosen = np.concatenate([each[mask][::step] for each, mask in zip(maps, masks, strict=True)]).astype(
        float
    )
    known_m = np.concatenate([each[mask][::step] for each, mask in zip(truth, masks, strict=True)])
    usable = find_usable(chosen, kind, alignment)
    fit = fit_alignment(chosen[usable], kind, known_m[usable], alignment)
    aligned = [
        apply_fit(each.astype(np.float64), kind, fit, alignment, max_depth_m=max_depth_m) for each in maps
    ]
    alone = [
        align(each, kind, known, mask, alignment, max_depth_m=max_depth_m)
        for each, known, mask in zip(maps, truth, masks, strict=True)
    ]
    change = stability = math.nan
    if poses is not None and camera is not None:
        within = [np.where(mask, each, np.nan) for each, mask in zip(truth, masks, strict=True)]
        change = measure_change(aligned, within, poses, camera)
        stability = measure_stability(aligned, poses, camera)
    return ClipScore(
        len(maps), _abs_rel(aligned, truth, masks), _abs_rel(alone, truth, masks), change, stability
    )


def _abs_rel(depths: Sequence[Array], truth: Sequence[Array], masks: Sequence[Array]) -> float:
    """Return the mean over frames of the mean over pixels."""
    errors = [
        float(np.nanmean(np.abs(depth[mask] - known[mask]) / known[mask]))
        for depth, known, mask in zip(depths, truth, masks, strict=True)
        if mask.any()
    ]
    return float(np.mean(errors))
