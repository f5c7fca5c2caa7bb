"""`ImageScore`: one image's depth against its reference, as a protocol says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from cortexia_video.depth_map import DepthKind, DepthMap
from cortexia_video.evaluation.metrics.alignment import (
    Fit,
    apply_fit,
    find_usable,
    fit_alignment,
    require_alignment,
)
from cortexia_video.evaluation.metrics.depth_metrics import score_pixels
from cortexia_video.evaluation.metrics.pixel_sums import Array, Floats, PixelSums, is_finite, sum_errors, take
from cortexia_video.evaluation.metrics.registry import Subject, measure_groups
from cortexia_video.evaluation.protocol import Protocol
from cortexia_video.evaluation.reference import Reference
from cortexia_video.images.resampling import resize_depth

_SAME_SHAPE = 0.02  # how far aspect ratios may be apart, as a share
_UNIT = (900.0, 1100.0)  # a median ratio between these is one of units
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class ImageScore(NamedTuple):
    """What one image gave. sums: of its pixels. more: metrics of groups. lacking: why a group has none.

    unknown: pixels that count though no depth is known. remark: what a person must know of it.
    """

    key: str
    sums: PixelSums
    more: Mapping[str, float] = _NOTHING
    lacking: Mapping[str, str] = _NOTHING
    unknown: int = 0
    remark: str = ""

    @property
    def metrics(self) -> dict[str, float]:
        """Every metric by name; those of groups only where they were measured."""
        return {**score_pixels(self.sums), **self.more}


class _Fitted(NamedTuple):
    """Depth as large as the reference, or none, and how it is brought to that.

    chosen, known_m: depth and reference where that counts, float64 (N,).
    """

    values: Array | None
    kind: DepthKind
    fit: Fit
    chosen: Floats
    known_m: Floats
    remark: str = ""


def score_image(
    depth: DepthMap | None, reference: Reference, protocol: Protocol, groups: Sequence[str] = ()
) -> ImageScore:
    """Measure depth against a reference; None, where there is no depth, counts as unknown everywhere.

    groups: of `metric_groups` that are measured, too. Raises `InputError` for a kind that does not allow the
    protocol's alignment. Depth of another shape than the reference counts as unknown everywhere, and the
    score says so.
    """
    fitted = _fit_image(depth, reference, protocol)
    aligned, remark = _bring(fitted, fitted.chosen, reference, protocol), fitted.remark
    if protocol.alignment == "none" and not remark:
        remark = _find_unit_mismatch(aligned, fitted.known_m)
    clipped = clip_depth(aligned, fitted.known_m, reference.max_m, protocol)
    score = _score_known(aligned, clipped, fitted.known_m, reference.key)._replace(remark=remark)
    if not groups:
        return score
    f_px = depth.f_px if depth is not None and depth.f_source == "estimated" else None
    subject = Subject(lambda: _bring_all(fitted, reference, protocol), reference, clipped, f_px)
    more, lacking = measure_groups(groups, subject)
    return score._replace(more=more, lacking=lacking)


def score_baseline(
    depth_m: Floats, reference: Reference, protocol: Protocol, groups: Sequence[str] = ()
) -> ImageScore:
    """Measure depth (H, W) that was fitted to the reference."""
    places = np.flatnonzero(reference.mask)
    chosen, known_m = take(depth_m, places), take(reference.depth_m, places)
    clipped = clip_depth(chosen, known_m, reference.max_m, protocol)
    score = _score_known(chosen, clipped, known_m, reference.key)
    more, lacking = measure_groups(groups, Subject(lambda: depth_m, reference, clipped), is_baseline=True)
    return score._replace(more=more, lacking=lacking)


def align_image(depth: DepthMap | None, reference: Reference, protocol: Protocol) -> Floats:
    """Return depth as it is measured, float64 (H, W): aligned; NaN where unknown, or where it cannot be."""
    return _bring_all(_fit_image(depth, reference, protocol), reference, protocol)


def _fit_image(depth: DepthMap | None, reference: Reference, protocol: Protocol) -> _Fitted:
    """Fit depth to the reference, or say why it cannot be measured."""
    places = np.flatnonzero(reference.mask)
    known_m = take(reference.depth_m, places)
    nothing = _Fitted(None, "metric", Fit(1.0), np.full(places.size, np.nan), known_m)
    if depth is None:
        return nothing._replace(remark="no depth")
    kind, alignment = depth.kind, protocol.alignment
    require_alignment(kind, alignment)
    values = fit_size(depth.values, reference.size, protocol)
    if values is None:
        height, width = depth.values.shape
        tall, wide = reference.size
        return nothing._replace(remark=f"depth of {width} x {height} for a reference of {wide} x {tall}")
    chosen = take(values, places)
    if not find_usable(chosen, kind, alignment).any():
        found = np.isfinite(chosen).any()
        return nothing._replace(remark="no depth above 0" if found else "no finite depth")
    fit = fit_alignment(chosen, kind, known_m, alignment)
    return _Fitted(values, kind, fit, chosen, known_m)


def _bring(fitted: _Fitted, values: Floats, reference: Reference, protocol: Protocol) -> Floats:
    """Return values of fitted depth, which are used up, in metres; NaN where unknown."""
    return apply_fit(values, fitted.kind, fitted.fit, protocol.alignment, max_depth_m=reference.max_m)


def _bring_all(fitted: _Fitted, reference: Reference, protocol: Protocol) -> Floats:
    if fitted.values is None:
        return np.full(reference.size, np.nan)
    return _bring(fitted, fitted.values.astype(np.float64), reference, protocol)


def _score_known(aligned: Floats, clipped: Floats, known_m: Floats, key: str) -> ImageScore:
    """Measure clipped depth (N,), and count what of the aligned depth was unknown."""
    unknown = 0 if is_finite(aligned) else int(np.count_nonzero(~np.isfinite(aligned)))
    return ImageScore(key, sum_errors(clipped, known_m), unknown=unknown)


def clip_depth(aligned: Floats, reference_m: Array, max_m: float, protocol: Protocol) -> Floats:
    """Return depth that can be measured: the unknown takes the end that is farther from the reference."""
    low, high = protocol.clip_min_m, max(max_m, protocol.clip_min_m)
    clipped = np.clip(aligned, low, high) if protocol.clip == "all" else aligned
    lost = ~np.isfinite(aligned)
    if protocol.clip == "unknown":
        with np.errstate(invalid="ignore"):
            lost |= aligned <= 0
    if lost.any():
        farther = np.where(reference_m.astype(np.float64) ** 2 > low * high, low, high)
        clipped = np.where(lost, farther, clipped)
    return clipped


def fit_size(values: Array, shape: tuple[int, int], protocol: Protocol) -> Array | None:
    """Return depth (h, w) as large as the reference, or None where it is of another shape."""
    if values.shape == shape:
        return values
    if protocol.window is not None and protocol.cut(values).shape == shape:
        return protocol.cut(values)
    ratio = values.shape[0] * shape[1] / (values.shape[1] * shape[0])
    if protocol.resize == "refuse" or abs(ratio - 1) > _SAME_SHAPE:
        return None
    if protocol.resize == "bilinear-corners":
        return _resize_between_corners(values, shape)
    return resize_depth(values, *shape)


def _resize_between_corners(values: Array, shape: tuple[int, int]) -> Floats:
    """Interpolate bilinearly, the centres of the corner pixels on each other (torch's align_corners)."""
    for axis, count in enumerate(shape):
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
