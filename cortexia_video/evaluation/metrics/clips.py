"""`score_clip`: the depth of a video with one alignment for all of its frames."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from cortexia_video.depth_map import DepthKind, DepthMap
from cortexia_video.errors import InputError
from cortexia_video.evaluation.metrics.alignment import Fit, align, apply_fit, find_usable, fit_alignment
from cortexia_video.evaluation.metrics.pixel_sums import Array, Floats, Mask
from cortexia_video.evaluation.metrics.temporal_stability import compare_views, follow_errors
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
        ValueError: Nothing is known of the ground truth.

    Example:
        >>> truth = [np.full((4, 6), 2.0), np.full((4, 6), 3.0)]
        >>> depths = [cx.DepthMap((0.5 * each).astype(np.float32), "scale_invariant") for each in truth]
        >>> round(cx.evaluation.score_clip(depths, truth).abs_rel, 6)
        0.0
    """
    if not depths or len(depths) != len(truth_m):
        raise InputError(f"{len(depths)} frames of depth and {len(truth_m)} of ground truth: give one each")
    if (poses is None) != (camera is None):
        raise InputError("`poses` and `camera` belong together: give both or none")
    kind = depths[0].kind
    alignment = alignment or _USUAL[kind]
    shape = truth_m[0].shape

    def read(number: int) -> ClipFrame:
        known = np.asarray(truth_m[number], np.float64)
        with np.errstate(invalid="ignore"):
            counts = np.isfinite(known) & (known > 0) & (known <= max_depth_m)
        return ClipFrame(
            resize_depth(depths[number].values, *shape),
            np.where(counts, known, np.nan),
            max_depth_m,
            poses[number] if poses is not None else None,
        )

    numbers = range(len(depths))
    fit = fit_clip(map(read, numbers), kind, alignment, len(depths) * truth_m[0].size)
    score = score_frames(map(read, numbers), kind, alignment, fit, camera)
    if poses is not None and math.isnan(score.change):
        raise ValueError("no point is seen in two frames: are the poses camera to world, in metres?")
    return score


class ClipFrame(NamedTuple):
    """A frame of a clip with its ground truth.

    values: (H, W), depth of the clip's kind. truth_m: float64 (H, W), NaN where it is unknown or does not count.
    max_depth_m: the largest depth that counts. pose: camera to world, (4, 4), or None.
    """

    values: Array
    truth_m: Floats
    max_depth_m: float
    pose: Array | None = None


def fit_clip(frames: Iterable[ClipFrame], kind: DepthKind, alignment: str, pixels: int) -> Fit:
    """Return the one alignment of all frames. pixels: how many there are in all: of many some are taken.

    Raises what `fit_alignment` does.
    """
    step = max(1, math.ceil(pixels / _FITTED))
    chosen, known = [np.empty(0)], [np.empty(0)]
    for frame in frames:
        places = np.isfinite(frame.truth_m)
        chosen.append(frame.values[places][::step].astype(np.float64))
        known.append(frame.truth_m[places][::step])
    return fit_alignment(np.concatenate(chosen), kind, np.concatenate(known), alignment)


def score_frames(
    frames: Iterable[ClipFrame], kind: DepthKind, alignment: str, fit: Fit, camera: Pinhole | None
) -> ClipScore:
    """Measure the frames of a clip, in order, two in memory at a time; what cannot be measured is NaN."""
    together, alone, views, changes, count = [], [], [], np.zeros(2), 0
    before: tuple[ClipFrame, Floats] | None = None
    for frame in frames:
        values, known = frame.values.astype(np.float64), np.isfinite(frame.truth_m)
        aligned = apply_fit(values, kind, fit, alignment, max_depth_m=frame.max_depth_m)
        together.append(_abs_rel(aligned, frame.truth_m, known))
        if find_usable(frame.values[known], kind, alignment).any():
            each = (frame.values, kind, frame.truth_m, known, alignment)
            alone.append(_abs_rel(align(*each, max_depth_m=frame.max_depth_m), frame.truth_m, known))
        if before and camera and before[0].pose is not None and frame.pose is not None:
            pair, poses = (before[1], aligned), (before[0].pose, frame.pose)
            views += compare_views(pair, poses, camera)
            found = follow_errors(pair, (before[0].truth_m, frame.truth_m), poses, camera)
            changes += float(found.sum()), found.size
        before, count = (frame, aligned), count + bool(np.isfinite(frame.values).any())
    change = float(changes[0] / changes[1]) if changes[1] else math.nan
    return ClipScore(count, _mean(together), _mean(alone), change, _mean(views))


def _abs_rel(depth: Floats, truth_m: Floats, known: Mask) -> float:
    """Return the mean over the pixels whose depth and ground truth are known."""
    found = known & np.isfinite(depth)
    if not found.any():
        return math.nan
    return float(np.mean(np.abs(depth[found] - truth_m[found]) / truth_m[found]))


def _mean(values: Sequence[float]) -> float:
    known = [each for each in values if not math.isnan(each)]
    return float(np.mean(known)) if known else math.nan
