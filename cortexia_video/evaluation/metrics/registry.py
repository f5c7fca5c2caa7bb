"""The table of metrics that need more than pixels by themselves: neighbours, a camera, an estimated one.

A row says what it measures and what it needs; what an image lacks is said, never guessed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from cortexia_video.errors import InputError, propose
from cortexia_video.evaluation.metrics.edges import boundary_f1, edge_accuracy, edge_completeness
from cortexia_video.evaluation.metrics.geometry import (
    field_of_view_error,
    focal_length_error,
    measure_normals,
    score_cloud,
)
from cortexia_video.evaluation.metrics.ordinal import whdr
from cortexia_video.evaluation.metrics.pixel_sums import Array, Floats
from cortexia_video.evaluation.metrics.regions import REGIONS, split_errors
from cortexia_video.evaluation.protocol import Protocol
from cortexia_video.evaluation.reference import Reference
from cortexia_video.geometry.depth_edges import find_edges, keep_known
from cortexia_video.pinhole import Pinhole, unproject

_GAP = 0.05  # of the nearer of two neighbours: from here on there is an edge between them
_NEAR = 0.05  # of the median of the reference: so far may a point be from its match
_POINTS = 20_000  # of each cloud, at the same pixels
_PAIRS = 5_000
_APART = 1.02  # ratio from which one of a pair is farther


@dataclass
class Subject:
    """An image's depth. find_depth: gives it aligned, float64 (H, W), NaN where unknown; asked for once.

    clipped_m: the depth (N,) that is measured, where the reference counts, NaN where unknown. ends: what that
    may be, least and largest. f_px: as the predictor estimated it.
    """

    find_depth: Callable[[], Floats]
    reference: Reference
    clipped_m: Floats
    ends: tuple[float, float]
    f_px: float | None = None

    @cached_property
    def depth_m(self) -> Floats:
        return self.find_depth()


class MetricLabel(NamedTuple):
    """What a number says. title: over its column."""

    title: str
    better: Literal["smaller", "larger"]


class Group(NamedTuple):
    """Metrics that are measured together. find_lack: why an image cannot have them, or nothing.

    of_baselines: they say something of depth that does not look at the image, too.
    """

    metrics: Mapping[str, MetricLabel]
    find_lack: Callable[[Subject], str]
    measure: Callable[[Subject], Iterable[float]]
    of_baselines: bool = True


def choose_groups(protocol: Protocol, asked: Sequence[str]) -> tuple[str, ...]:
    """Return the groups to measure: those that are asked for, the protocol's, and of focal lengths always.

    Raises `InputError` for a name that is none.
    """
    for name in asked:
        if name not in GROUPS:
            raise InputError(
                f"unknown metrics {name!r}: {propose(name, GROUPS)}{_ELSEWHERE.get(name, _OFFERED)}"
            )
    wanted = {*asked, "focal", *(["boundary"] if protocol.boundaries else [])}
    return tuple(name for name in GROUPS if name in wanted)


def measure_groups(
    names: Sequence[str], subject: Subject, *, is_baseline: bool = False
) -> tuple[dict[str, float], dict[str, str]]:
    """Return the metrics of the groups that the image allows, and for each other group what it lacks."""
    found: dict[str, float] = {}
    lacking: dict[str, str] = {}
    for name in names:
        group = GROUPS[name]
        if is_baseline and not group.of_baselines:
            continue
        lack = group.find_lack(subject)
        if lack:
            lacking[name] = lack
        else:
            found |= zip(group.metrics, group.measure(subject), strict=True)
    return found, lacking


def _need_neighbours(subject: Subject) -> str:
    if not subject.reference.registered:
        return "the reference is not registered to the image"
    return "" if subject.reference.is_dense else "half of the reference's pixels or more are unknown"


def _need_camera(subject: Subject) -> str:
    if subject.reference.camera is None:
        around = subject.reference.projection == "equirectangular"
        return "it is a panorama, which no camera sees" if around else "no camera is known"
    return "" if subject.reference.is_dense else "half of the reference's pixels or more are unknown"


def _need_estimated_camera(subject: Subject) -> str:
    if subject.f_px is None:
        return "no focal length was estimated"
    return "no camera is known" if subject.reference.camera is None else ""


def _need_nothing(_: Subject) -> str:
    return ""


def _measure_edges(subject: Subject) -> Iterator[float]:
    ours, theirs = (find_edges(each, _GAP) for each in _know_alike(subject))
    yield edge_accuracy(ours, theirs)
    yield edge_completeness(ours, theirs)
    yield edge_completeness(ours, theirs, formula="scripts")


def _measure_normals(subject: Subject) -> Iterator[float]:
    ours, theirs = _know_alike(subject)
    error = measure_normals(ours, theirs, _camera(subject))
    yield error.mean_deg
    yield error.within_11


def _measure_points(subject: Subject) -> Iterator[float]:
    """Near is 5 % of the reference's median distance: at most 20,000 pixels of it, and the same of depth."""
    places = np.flatnonzero(subject.reference.mask)
    places = places[:: -(-places.size // _POINTS)]
    ours, theirs = (unproject(each, _camera(subject)).reshape(-1, 3)[places] for each in _know_alike(subject))
    yield score_cloud(ours, theirs, _NEAR * float(np.median(theirs[:, 2]))).f_score


def _measure_order(subject: Subject) -> Iterator[float]:
    """Of 5,000 pairs of pixels, drawn the same for all, those that the reference has 2 % apart or more."""
    depth_m, places = subject.reference.depth_m, np.flatnonzero(subject.reference.mask)
    drawn = np.random.default_rng(0).choice(places, (_PAIRS, 2))
    first, second = depth_m.ravel()[drawn].T.astype(np.float64)
    apart = np.maximum(first / second, second / first) >= _APART
    if not apart.any():
        yield math.nan
        return
    points = np.stack(np.unravel_index(drawn[apart], depth_m.shape), axis=-1)
    yield whdr(subject.depth_m, points, np.sign(first - second)[apart].astype(np.int64))


def _measure_focal_length(subject: Subject) -> Iterator[float]:
    camera, f_px = _camera(subject), subject.f_px or math.nan
    yield focal_length_error(f_px, camera.fx)
    yield field_of_view_error(f_px, camera.fx, camera.width)


def _know_alike(subject: Subject) -> tuple[Array, Array]:
    """Return depth and reference, float32, NaN where the reference does not count or nothing is known."""
    mask = subject.reference.mask
    ours, theirs = (
        keep_known(np.where(mask, each, np.nan).astype(np.float32))
        for each in (subject.depth_m, subject.reference.depth_m)
    )
    return ours, theirs


def _camera(subject: Subject) -> Pinhole:
    camera = subject.reference.camera
    if camera is None:
        raise ValueError(f"{subject.reference.key} has no camera")
    return camera


GROUPS: dict[str, Group] = {
    "boundary": Group(
        {"boundary_f1": MetricLabel("boundary F1", "larger")},
        _need_neighbours,
        lambda it: [boundary_f1(it.depth_m, it.reference.depth_m, it.reference.mask)],
        False,
    ),
    "edges": Group(
        {
            "edge_accuracy": MetricLabel("edge accuracy px", "smaller"),
            "edge_completeness": MetricLabel("edge completeness px, paper", "smaller"),
            "edge_completeness_scripts": MetricLabel("edge completeness px, scripts", "smaller"),
        },
        _need_neighbours,
        _measure_edges,
        False,
    ),
    "normals": Group(
        {
            "normal_error": MetricLabel("normals deg", "smaller"),
            "normals_within_11": MetricLabel("normals < 11.25 deg", "larger"),
        },
        _need_camera,
        _measure_normals,
    ),
    "points": Group({"f_score": MetricLabel("F-score", "larger")}, _need_camera, _measure_points),
    "ordinal": Group({"whdr": MetricLabel("WHDR", "smaller")}, _need_nothing, _measure_order),
    "regions": Group(
        {f"abs_rel {region}": MetricLabel(region, "smaller") for region in REGIONS},
        _need_nothing,
        lambda it: split_errors(it.clipped_m, it.reference.depth_m, it.reference.mask, it.ends),
    ),
    "focal": Group(
        {
            "focal_error": MetricLabel("focal length", "smaller"),
            "fov_error": MetricLabel("field of view deg", "smaller"),
        },
        _need_estimated_camera,
        _measure_focal_length,
        False,
    ),
}
MEANINGS = {name: meaning for group in GROUPS.values() for name, meaning in group.metrics.items()}
_OFFERED = f"use some of {', '.join(GROUPS)}"
_ELSEWHERE = {
    "stability": "it needs the pose of every image of a video, which no dataset here tells: use "
    "cortexia_video.evaluation.metrics.temporal_stability from Python",
}
