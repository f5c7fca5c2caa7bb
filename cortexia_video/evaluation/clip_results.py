"""`measure_clips`: each clip of a ground truth with one alignment, its error, and its flicker where poses are known.

The frames of a clip are the images of one folder of the ground truth, in natural order. Poses are those of a file
as TUM RGB-D has it (timestamp tx ty tz qx qy qz qw, camera to world, metres): `groundtruth.txt` or `poses.txt` in
the clip's folder or above it, or `clips/NAME.poses.txt`, as `cortexia scenes --move` writes it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.depth_map import DepthKind, DepthMap
from cortexia_video.errors import InputError, in_words
from cortexia_video.evaluation.ground_truth import GroundTruth, bare
from cortexia_video.evaluation.image_score import fit_size
from cortexia_video.evaluation.metrics.alignment import Fit, require_alignment
from cortexia_video.evaluation.metrics.clips import ClipFrame, ClipScore, fit_clip, score_frames
from cortexia_video.evaluation.metrics.pixel_sums import Array
from cortexia_video.evaluation.predictors import StoredPredictor
from cortexia_video.evaluation.protocol import Protocol
from cortexia_video.evaluation.reference import Items, PendingItem
from cortexia_video.runtime.bounded_map import run_bounded
from cortexia_video.sparse_depth.colmap import to_matrix
from cortexia_video.storage.paths import AnyPath, read_named_text, to_path
from cortexia_video.video.image_sequence import in_natural_order

_POSES = (
    "{0}/groundtruth.txt",
    "{0}/poses.txt",
    "{1}/clips/{2}.poses.txt",
    "{1}/groundtruth.txt",
    "{1}/poses.txt",
)
_NEAR_S = 0.02  # between an image and its pose, at most, as TUM's own tools have it
_COLUMNS = 8  # timestamp tx ty tz qx qy qz qw

Fits = Mapping[tuple[str, str, str], Fit]


class ClipResult(NamedTuple):
    """What a predictor scored on a clip by one alignment. lacks: why its flicker was not measured, or nothing."""

    predictor: str
    clip: str
    alignment: str
    fit: Fit
    score: ClipScore
    lacks: str = ""


class _Clip(NamedTuple):
    """A clip of the ground truth. poses: of its frames, None where there is none."""

    name: str
    frames: Sequence[PendingItem]
    poses: Sequence[Array | None]


def name_clip(key: str) -> str:
    """Return the clip that an image of the ground truth is a frame of: its folder."""
    return key.rpartition("/")[0]


def measure_clips(
    truth: GroundTruth, protocol: Protocol, predictors: Sequence[StoredPredictor], workers: int
) -> list[ClipResult]:
    """Measure all clips; of each, two frames and some pixels of all are in memory.

    Raises `InputError` for a kind that does not allow the protocol's alignment, and a stream as ground truth.
    """
    if not all(isinstance(each.dataset, RGBDDataset) for each in truth.sets):
        raise InputError("a stream as ground truth has no clips: leave `align_per` out")
    items = Items(truth, protocol)
    found: dict[tuple[str, str], list[ClipResult]] = {}
    work = ((clip, each) for clip in _list_clips(truth, items) for each in predictors)
    run_bounded(
        work,
        lambda pair: ((pair[0].name, pair[1].name), _measure(*pair, items, protocol)),
        lambda result: found.update([result]),
        workers=workers,
    )
    order = {each.name: number for number, each in enumerate(predictors)}
    return [*chain(*(found[key] for key in sorted(found, key=lambda key: (order[key[1]], key[0]))))]


def list_fits(results: Iterable[ClipResult]) -> Fits:
    """Return the fits by predictor, alignment and clip."""
    return {(each.predictor, each.alignment, each.clip): each.fit for each in results}


def _list_clips(truth: GroundTruth, items: Items) -> Iterator[_Clip]:
    clips: dict[str, list[PendingItem]] = {}
    for pending in items.list_pending():
        clips.setdefault(name_clip(pending.key), []).append(pending)
    for name, frames in clips.items():
        frames.sort(key=lambda frame: in_natural_order(frame.key))
        poses = _find_poses(to_path(truth.path), name, [each.key for each in frames])
        yield _Clip(name, frames, poses)


def _measure(clip: _Clip, predictor: StoredPredictor, items: Items, protocol: Protocol) -> list[ClipResult]:
    """Return what a predictor scores by each alignment; nothing where it has no depth of the clip."""
    depths = (predictor.read(each.key) for each in clip.frames)
    kind = next((each.kind for each in depths if isinstance(each, DepthMap)), None)
    if kind is None:
        return []
    results = []
    for alignment in protocol.list_alignments({kind}):
        require_alignment(kind, alignment)
        opened = filter(None, map(items.open, clip.frames))
        camera = next((item.reference.camera for item in opened), None)
        frames = partial(_read, clip, predictor, items, protocol, kind)
        pixels = len(clip.frames) * next((frame.truth_m.size for frame in frames()), 0)
        try:
            fit = fit_clip(frames(), kind, alignment, pixels)
        except ValueError:  # nothing can be fitted: the images say it
            continue
        score = score_frames(frames(), kind, alignment, fit, camera)
        lacks = "no two frames that follow each other have depth" if math.isnan(score.change) else ""
        lacks = lacks if camera else "no camera is known"
        lacks = lacks if any(each is not None for each in clip.poses) else "no poses are known"
        results.append(ClipResult(predictor.name, clip.name, alignment, fit, score, lacks))
    return results


def _read(
    clip: _Clip, predictor: StoredPredictor, items: Items, protocol: Protocol, kind: DepthKind
) -> Iterator[ClipFrame]:
    """Yield the frames that have a reference; of one without depth all is unknown."""
    for pending, pose in zip(clip.frames, clip.poses, strict=True):
        item = items.open(pending)
        if item is None:
            continue
        reference, depth = item.reference, predictor.read(pending.key)
        values = None
        if isinstance(depth, DepthMap) and depth.kind == kind:
            around = depth.projection == "equirectangular"
            values = fit_size(depth.values, reference.size, protocol, around=around)
        truth_m = np.where(reference.mask, reference.depth_m, np.nan).astype(np.float64)
        unknown = np.full(reference.size, np.nan, np.float32)
        yield ClipFrame(unknown if values is None else values, truth_m, reference.max_m, pose)


def _find_poses(root: AnyPath, name: str, keys: Sequence[str]) -> list[Array | None]:
    """Return the poses of frames; all None where there is no file of them."""
    pure = PurePosixPath(name)
    for pattern in _POSES:
        place = root / pattern.format(pure, pure.parent, pure.name)
        if not place.is_file():
            continue
        with in_words(f"{place} holds no poses", "each line is timestamp tx ty tz qx qy qz qw"):
            rows = np.loadtxt(read_named_text(place).splitlines(), ndmin=2)
            if rows.shape[1] != _COLUMNS:
                raise ValueError(f"its lines have {rows.shape[1]} numbers")
        return [None if row is None else _to_pose(rows[row]) for row in _find_rows(keys, rows[:, 0])]
    return [None] * len(keys)


def _find_rows(keys: Sequence[str], times_s: Array) -> list[int | None]:
    """Return which row is a frame's: by its name, where that is a time or a number; else by its order."""
    names = [PurePosixPath(bare(key)).name for key in keys]
    if all(each.isascii() and each.isdecimal() for each in names):
        return [int(each) if int(each) < len(times_s) else None for each in names]
    try:
        wanted = [float(each) for each in names]
    except ValueError:
        return [number if len(keys) == len(times_s) else None for number in range(len(keys))]
    order = np.argsort(times_s, kind="stable")
    sorted_s = times_s[order].tolist()
    rows: list[int | None] = []
    for time_s in wanted:
        at = bisect_left(sorted_s, time_s)
        near = [each for each in (at - 1, at) if 0 <= each < len(sorted_s)]
        best = min(near, key=lambda each: abs(sorted_s[each] - time_s), default=None)
        is_near = best is not None and abs(sorted_s[best] - time_s) <= _NEAR_S
        rows.append(int(order[best]) if best is not None and is_near else None)
    return rows


def _to_pose(row: Array) -> Array:
    """Return camera to world (4, 4) of timestamp tx ty tz qx qy qz qw."""
    pose = np.eye(4)
    pose[:3, :3] = to_matrix(np.roll(row[4:], 1))
    pose[:3, 3] = row[1:4]
    return pose
