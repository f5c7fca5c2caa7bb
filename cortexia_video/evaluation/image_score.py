"""`ImageScore`: one image's depth against its reference, as a protocol says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from cortexia_video.depth_map import DepthKind, DepthMap
from cortexia_video.evaluation.metrics.alignment import (
    ALIGNMENTS,
    Fit,
    apply_fit,
    find_usable,
    fit_alignment,
    require_alignment,
)
from cortexia_video.evaluation.metrics.depth_metrics import PIXEL_METRICS, score_pixels
from cortexia_video.evaluation.metrics.pixel_sums import Array, Floats, PixelSums, sum_errors, take
from cortexia_video.evaluation.metrics.registry import Subject, measure_groups
from cortexia_video.evaluation.protocol import Protocol
from cortexia_video.evaluation.reference import Reference
from cortexia_video.images.resampling import resize_depth

_SAME_SHAPE = 0.02  # how far aspect ratios may be apart, as a share
_UNIT = (900.0, 1100.0)  # a median ratio between these is one of units
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_IN_METRES = [name for name, metric in PIXEL_METRICS.items() if metric.unit]


class ImageScore(NamedTuple):
    """What one image gave. sums: of its pixels. more: metrics of groups. lacking: why a group has none.

    kind: of its depth, None where there is none. alignment: by which it was measured; "" of baselines.
    raised: pixels at or below 0 m, which were raised to the least depth of the clip.
    remark: what a person must know of it. fit: that of all frames of its clip, where these are aligned as one.
    """

    key: str
    sums: PixelSums
    more: Mapping[str, float] = _NOTHING
    lacking: Mapping[str, str] = _NOTHING
    kind: DepthKind | None = None
    alignment: str = ""
    raised: int = 0
    remark: str = ""
    fit: Fit | None = None

    @property
    def unknown(self) -> int:
        """Pixels that count though no depth is known."""
        return self.sums.unknown

    @property
    def metrics(self) -> dict[str, float]:
        """Every metric by name; those of groups only where they were measured."""
        return {**score_pixels(self.sums), **self.more}


def list_hidden(alignment: str) -> list[str]:
    """Return the metrics that say nothing of depth fitted so: what is fitted has no metres of its own."""
    return _IN_METRES if alignment not in ("", "none") else []


class _Fitted(NamedTuple):
    """Depth as large as the reference, or none, and how it is brought to that.

    chosen, known_m: depth and reference where that counts, float64 (N,).
    """

    values: Array | None
    kind: DepthKind | None
    fit: Fit
    chosen: Floats
    known_m: Floats
    remark: str = ""

    def bring(self, values: Floats, reference: Reference, protocol: Protocol) -> Floats:
        """Return values of this depth, which are used up, in metres; NaN where unknown."""
        if self.values is None or self.kind is None:
            return np.full(values.shape, np.nan)
        with np.errstate(invalid="ignore"):
            nearest = values <= 0 if self.kind in ("metric", "scale_invariant") else None
        aligned = apply_fit(values, self.kind, self.fit, protocol.alignment, max_depth_m=reference.max_m)
        if nearest is not None and ALIGNMENTS[protocol.alignment].space == "disparity":
            aligned[nearest] = 0  # what has no inverse is as near as can be
        return aligned

    def bring_all(self, reference: Reference, protocol: Protocol) -> Floats:
        values = np.empty(reference.size) if self.values is None else self.values.astype(np.float64)
        return self.bring(values, reference, protocol)


def score_image(
    depth: DepthMap | None,
    reference: Reference,
    protocol: Protocol,
    groups: Sequence[str] = (),
    fit: Fit | None = None,
) -> ImageScore:
    """Measure depth against a reference; None, where there is no depth, counts as unknown everywhere.

    groups: of `metrics/registry.py` that are measured, too. fit: that of its clip, in place of its own. Raises
    `InputError` for a kind that does not allow the protocol's alignment. Depth of another shape than the
    reference counts as unknown everywhere, and the score says so.
    """
    fitted = _fit_image(depth, reference, protocol, fit)
    aligned, remark = fitted.bring(fitted.chosen, reference, protocol), fitted.remark
    if protocol.alignment == "none" and not remark:
        remark = _find_unit_mismatch(aligned, fitted.known_m)
    with np.errstate(invalid="ignore"):
        raised = int(np.count_nonzero(aligned <= 0))
    estimated = depth is not None and depth.f_source == "estimated"
    subject = Subject(
        lambda: fitted.bring_all(reference, protocol),
        reference,
        clip_depth(aligned, reference.limit_m, protocol),
        find_ends(reference.max_m, protocol),
        depth.f_px if depth is not None and estimated else None,
    )
    kind = None if depth is None else depth.kind
    score = _score_subject(subject, fitted.known_m, groups, is_baseline=False)
    return score._replace(kind=kind, alignment=protocol.alignment, raised=raised, remark=remark, fit=fit)


def score_baseline(
    depth_m: Floats, reference: Reference, protocol: Protocol, groups: Sequence[str] = ()
) -> ImageScore:
    """Measure depth (H, W) that was fitted to the reference."""
    places = np.flatnonzero(reference.mask)
    clipped = clip_depth(take(depth_m, places), reference.limit_m, protocol)
    subject = Subject(lambda: depth_m, reference, clipped, find_ends(reference.max_m, protocol))
    return _score_subject(subject, take(reference.depth_m, places), groups, is_baseline=True)


def _score_subject(
    subject: Subject, known_m: Floats, groups: Sequence[str], *, is_baseline: bool
) -> ImageScore:
    sums = sum_errors(subject.clipped_m, known_m, subject.ends)
    more, lacking = measure_groups(groups, subject, is_baseline=is_baseline) if groups else ({}, {})
    return ImageScore(subject.reference.key, sums, more or _NOTHING, lacking or _NOTHING)


def align_image(
    depth: DepthMap | None, reference: Reference, protocol: Protocol, fit: Fit | None = None
) -> Floats:
    """Return depth as it is measured, float64 (H, W): aligned; NaN where unknown, or where it cannot be."""
    return _fit_image(depth, reference, protocol, fit).bring_all(reference, protocol)


def _fit_image(
    depth: DepthMap | None, reference: Reference, protocol: Protocol, fit: Fit | None = None
) -> _Fitted:
    """Fit depth to the reference, or say why it cannot be measured."""
    places = np.flatnonzero(reference.mask)
    known_m = take(reference.depth_m, places)
    nothing = _Fitted(None, None, Fit(1.0), np.full(places.size, np.nan), known_m)
    if depth is None:
        return nothing._replace(remark="no depth")
    kind, alignment = depth.kind, protocol.alignment
    require_alignment(kind, alignment)
    if _see_differently(depth, reference):
        return nothing._replace(
            remark=f"{depth.projection} depth for a reference that is {reference.projection}"
        )
    around = depth.projection == "equirectangular"
    values = fit_size(depth.values, reference.size, protocol, around=around)
    if values is None:
        height, width = depth.values.shape
        tall, wide = reference.size
        return nothing._replace(remark=f"depth of {width} x {height} for a reference of {wide} x {tall}")
    chosen = take(values, places)
    if not find_usable(chosen, kind, alignment).any():
        found = np.isfinite(chosen).any()
        return nothing._replace(remark="no depth above 0" if found else "no finite depth")
    fit = fit or fit_alignment(chosen, kind, known_m, alignment)
    return _Fitted(values, kind, fit, chosen, known_m)


def find_ends(max_m: float, protocol: Protocol) -> tuple[float, float]:
    """Return the least and the largest depth that can be measured, in metres."""
    return protocol.clip_min_m, max(max_m, protocol.clip_min_m)


def clip_depth(aligned: Floats, limit_m: float, protocol: Protocol) -> Floats:
    """Return depth that can be measured, above 0; NaN where it is unknown."""
    low, high = find_ends(limit_m, protocol)
    if protocol.clip == "all":
        return np.clip(aligned, low, high)
    with np.errstate(invalid="ignore"):
        return np.where(aligned <= 0, low, aligned)


def _see_differently(depth: DepthMap, reference: Reference) -> bool:
    """Return whether one is a panorama and the other surely none: files of others do not say which they are."""
    if depth.projection == "perspective" and reference.projection == "equirectangular":
        return depth.model is not None or depth.f_px is not None
    return depth.projection == "equirectangular" and reference.camera is not None


def fit_size(
    values: Array, shape: tuple[int, int], protocol: Protocol, *, around: bool = False
) -> Array | None:
    """Return depth (h, w) as large as the reference, or None where it is of another shape.

    What is not finite is unknown, and does not spread. around: as of `resize_depth`.
    """
    if values.shape == shape:
        return values
    if not np.isfinite(values).all():
        values = np.where(np.isfinite(values), values, np.nan)
    if protocol.window is not None and protocol.cut(values).shape == shape:
        return protocol.cut(values)
    ratio = values.shape[0] * shape[1] / (values.shape[1] * shape[0])
    if protocol.resize == "refuse" or abs(ratio - 1) > _SAME_SHAPE:
        return None
    if protocol.resize == "bilinear":
        return resize_depth(values, *shape, around=around)
    for axis, count in enumerate(shape):  # corner pixels' centres on each other: torch's align_corners
        places = np.linspace(0, values.shape[axis] - 1, count)
        before = np.minimum(places.astype(np.intp), max(values.shape[axis] - 2, 0))
        weight = np.expand_dims(places - before, 1 - axis)
        after = np.minimum(before + 1, values.shape[axis] - 1)
        first = np.take(values, before, axis).astype(np.float64)
        values = first + weight * (np.take(values, after, axis) - first)
    return values


def _find_unit_mismatch(ours: Floats, theirs: Floats) -> str:
    """Return in words that depth (N,) is 1,000 times the reference (N,), or the other way round."""
    usable = np.isfinite(ours) & (ours > 0)
    if not usable.any():
        return ""
    ratio = float(np.median(ours[usable] / theirs[usable]))
    if _UNIT[0] < ratio < _UNIT[1]:
        return f"depth is {ratio:,.0f} times the reference: millimetres taken for metres?"
    if _UNIT[0] < 1 / ratio < _UNIT[1]:
        return f"the reference is {1 / ratio:,.0f} times the depth: is its unit millimetres?"
    return ""
