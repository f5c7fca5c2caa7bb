"""How steady the depth of a video is, where cameras are known: the temporal alignment error (TAE).

Each map is seen from the camera of the next frame, and the other way round, and compared with the map there
by AbsRel; TAE is the mean over the 2 (n - 1) pairs. Source: Yang et al., "Depth Any Video with Scalable
Synthetic Data", ICLR 2025, section 5; as Chen et al., "Video Depth Anything", CVPR 2025, measure it, but of
points that fall on one pixel the nearest is seen, and a pair without a common pixel is left out instead of
counting as 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from cortexia_video.evaluation.metrics.pixel_sums import Array, Floats, Mask
from cortexia_video.pinhole import Pinhole, project, unproject
from cortexia_video.video.optical_flow import sample

_SAME_POINT = 0.02


def measure_stability(depths: Sequence[Array], poses: Sequence[Array], camera: Pinhole) -> float:
    """Return the temporal alignment error (TAE) of a video's aligned depth maps: 0 is perfect.

    Source: Yang et al., "Depth Any Video with Scalable Synthetic Data", ICLR 2025, section 5.

    Args:
        depths: (H, W) each. What is not finite and above 0 is unknown.
        poses: Camera to world, (4, 4) each, in the unit of the depth.
        camera: Of all frames.

    Returns:
        The error, in the unit of the poses.

    Raises:
        ValueError: Fewer than two frames, another number of poses, or no pair of frames sees a common pixel.
    """
    if len(depths) != len(poses) or len(depths) < 2:
        raise ValueError(f"{len(depths)} maps and {len(poses)} poses: give two or more, one pose each")
    errors = [
        error
        for pair in zip(pairwise(depths), pairwise(poses), strict=True)
        for error in compare_views(*pair, camera)
    ]
    if not errors:
        raise ValueError("no two frames see a common pixel: are the poses camera to world?")
    return float(np.mean(errors))


def compare_views(depths: Sequence[Array], poses: Sequence[Array], camera: Pinhole) -> list[float]:
    """Return the errors of two frames seen from each other, as `measure_stability` has them: none to two."""
    errors = []
    for here, there in ((0, 1), (1, 0)):
        motion = np.linalg.inv(poses[there]) @ poses[here]
        seen = see_from(depths[here], motion, camera)
        common = np.isfinite(seen) & _known(depths[there])
        if common.any():
            target = depths[there][common].astype(np.float64)
            errors.append(float(np.mean(np.abs(seen[common] - target) / target)))
    return errors


def see_from(depth: Array, motion: Array, camera: Pinhole) -> Floats:
    """Return depth as another camera sees its points, to the nearest pixel: float64 (H, W), NaN where none
    falls.

    motion: (4, 4), from the axes of the first camera to those of the second.
    """
    points = unproject(depth.astype(np.float32), camera)[_known(depth)].astype(np.float64)
    moved = points @ motion[:3, :3].T + motion[:3, 3]
    moved = moved[moved[:, 2] > 0]
    columns, rows = np.floor(project(moved, camera)).astype(np.int64).T
    inside = (columns >= 0) & (columns < camera.width) & (rows >= 0) & (rows < camera.height)
    seen = np.full(depth.shape, np.inf)
    np.minimum.at(seen, (rows[inside], columns[inside]), moved[inside, 2])
    return np.where(np.isfinite(seen), seen, np.nan)


def measure_change(
    depths: Sequence[Array], truth_m: Sequence[Array], poses: Sequence[Array], camera: Pinhole
) -> float:
    """Return how much the error of a video's aligned depth changes along the true motion: 0 is without flicker.

    The error of a pixel is ln(depth / truth). A point of the truth is followed into the next frame by the poses,
    if it is seen there: the truth there is within 2 % of its depth. Unlike the TAE, it does not grow with an
    error that stays.

    Args:
        depths: (H, W) each. What is not finite and above 0 is unknown.
        truth_m: (H, W) each, metres, NaN or 0 where unknown.
        poses: Camera to world, (4, 4) each, metres.
        camera: Of all frames.

    Returns:
        The mean of |difference|; 0.01 is about 1 % of the depth from one frame to the next.

    Raises:
        ValueError: Fewer than two frames, another number of them, or no point is seen twice.
    """
    if not len(depths) == len(truth_m) == len(poses) or len(depths) < 2:
        raise ValueError(
            f"{len(depths)} maps, {len(truth_m)} of ground truth and {len(poses)} poses: give two or more"
        )
    total, count = 0.0, 0
    for pair, truth, pair_poses in zip(pairwise(depths), pairwise(truth_m), pairwise(poses), strict=True):
        changes = follow_errors(pair, truth, pair_poses, camera)
        total, count = total + float(changes.sum()), count + changes.size
    if not count:
        raise ValueError("no point is seen in two frames: are the poses camera to world, in metres?")
    return total / count


def follow_errors(
    depths: Sequence[Array], truth_m: Sequence[Array], poses: Sequence[Array], camera: Pinhole
) -> Array:
    """Return how much the errors of points that two frames see change: float32 (N,), as `measure_change` says."""
    with np.errstate(divide="ignore", invalid="ignore"):
        before, after = (
            np.where(_known(depth) & _known(truth), np.log(depth / truth), np.nan).astype(np.float32)
            for depth, truth in zip(depths, truth_m, strict=True)
        )
    motion = np.linalg.inv(poses[1]) @ poses[0]
    points = unproject(np.asarray(truth_m[0], np.float32), camera).astype(np.float64)
    points = points @ motion[:3, :3].T + motion[:3, 3]
    seen = _known(truth_m[0]) & (points[..., 2] > 0)
    columns, rows = np.moveaxis(project(points[seen], camera) - 0.5, -1, 0).astype(np.float32)
    (there_m, error), inside = sample([np.asarray(truth_m[1], np.float32), after], rows, columns)
    with np.errstate(invalid="ignore"):
        inside &= np.abs(there_m / points[seen][:, 2] - 1) < _SAME_POINT
    changes = np.abs(error - before[seen])[inside]
    return changes[np.isfinite(changes)]


def _known(depth: Array) -> Mask:
    return np.asarray(np.isfinite(depth) & (depth > 0))
