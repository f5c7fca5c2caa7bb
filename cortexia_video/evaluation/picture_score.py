"""`PictureScore`: one picture's depth against its reference, as a protocol says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import InputError
from cortexia_video.evaluation.alignment import align, require_alignment
from cortexia_video.evaluation.boundary import boundary_f1
from cortexia_video.evaluation.metrics import score_pixels
from cortexia_video.evaluation.pixels import Array, Floats, Mask, PixelSums, measure_pixels
from cortexia_video.evaluation.protocol import Protocol
from cortexia_video.resampling import resize_depth

_SAME_SHAPE = 0.02  # how far aspect ratios may be apart, as a share
_DENSE = 0.5  # share of known pixels from which contours of a reference mean something
_UNIT = (900.0, 1100.0)  # a median ratio between these is one of units
BOUNDARY = "boundary_f1"


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What a picture is measured against: depth float64 (H, W) metres, where it counts, and up to where.

    registered: its edges lie where the picture's do.
    """

    key: str
    depth_m: Floats
    mask: Mask
    max_m: float
    registered: bool = True

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.depth_m.shape
        return height, width


class PictureScore(NamedTuple):
    """What one picture gave. sums: of its pixels. boundary: boundary F1, where it is measured.

    unknown: pixels that count though no depth is known. remark: what a person must know of it.
    """

    key: str
    sums: PixelSums
    boundary: float | None = None
    unknown: int = 0
    remark: str = ""

    @property
    def metrics(self) -> dict[str, float]:
        """Every metric by name; boundary F1 only where it was measured."""
        scores = score_pixels(self.sums)
        return scores if self.boundary is None else {**scores, BOUNDARY: self.boundary}


def find_reference(
    key: str,
    depth_m: Array,
    protocol: Protocol,
    *,
    mask: Mask | None = None,
    set_max_m: float | None = None,
    registered: bool = True,
) -> Reference:
    """Prepare the reference of a picture, (H, W) in metres, not finite or 0 where unknown.

    mask: True for pixels that the data set lets be used. Raises `InputError` where no pixel is to be
    measured.
    """
    depth = protocol.cut(depth_m).astype(np.float64)
    max_m = protocol.find_max_m(depth, set_max_m)
    counts = protocol.find_mask(depth, max_m)
    if mask is not None:
        counts &= protocol.cut(mask)
    known = int(np.count_nonzero(counts))
    if known < protocol.min_pixels:
        raise InputError(
            f"{known} valid pixels of the reference by protocol {protocol.name}, which needs "
            f"{protocol.min_pixels}: is its unit metres?"
        )
    if not math.isfinite(max_m):
        max_m = float(depth[counts].max())
    return Reference(key, depth, counts, max_m, registered)


def score_picture(depth: DepthMap | None, reference: Reference, protocol: Protocol) -> PictureScore:
    """Measure depth against a reference; None, where there is no depth, counts as unknown everywhere.

    Raises `InputError` for a kind that does not allow the protocol's alignment. Depth of another shape than
    the reference counts as unknown everywhere, and the score says so.
    """
    aligned, remark = align_picture(depth, reference, protocol)
    score = score_aligned(aligned, reference, protocol)._replace(remark=remark)
    dense = np.count_nonzero(reference.mask) > _DENSE * reference.mask.size
    if protocol.boundaries and reference.registered and dense:
        return score._replace(boundary=boundary_f1(aligned, reference.depth_m, reference.mask))
    return score


def align_picture(depth: DepthMap | None, reference: Reference, protocol: Protocol) -> tuple[Floats, str]:
    """Give depth aligned to the reference, float64 (H, W), NaN where unknown; and what is wrong with it."""
    nowhere = np.full(reference.size, np.nan)
    if depth is None:
        return nowhere, "no depth"
    require_alignment(depth.kind, protocol.alignment)
    values = fit_size(depth.values, reference.size, protocol)
    if values is None:
        height, width = depth.values.shape
        tall, wide = reference.size
        return nowhere, f"depth of {width} x {height} for a reference of {wide} x {tall}"
    if not np.isfinite(values[reference.mask]).any():
        return nowhere, "no finite depth"
    aligned = align(
        values,
        depth.kind,
        reference.depth_m,
        reference.mask,
        protocol.alignment,
        max_depth_m=reference.max_m,
    )
    return aligned, _find_unit_mismatch(aligned, reference) if protocol.alignment == "none" else ""


def score_aligned(aligned: Floats, reference: Reference, protocol: Protocol) -> PictureScore:
    """Clip aligned depth as the protocol says, and measure it."""
    clipped, unknown = clip_depth(aligned, reference, protocol)
    sums = measure_pixels(clipped, reference.depth_m, reference.mask)
    return PictureScore(reference.key, sums, None, unknown)


def clip_depth(aligned: Floats, reference: Reference, protocol: Protocol) -> tuple[Floats, int]:
    """Give depth that can be measured in the mask, and how many of its pixels were not finite."""
    low, high = protocol.clip_min_m, max(reference.max_m, protocol.clip_min_m)
    unknown = ~np.isfinite(aligned)
    clipped = np.clip(aligned, low, high) if protocol.clip == "all" else aligned
    with np.errstate(invalid="ignore"):
        lost = unknown if protocol.clip == "all" else unknown | (aligned <= 0)
    if lost.any():
        farther = np.where(reference.depth_m**2 > low * high, low, high)
        clipped = np.where(lost, farther, clipped)
    return clipped, int(np.count_nonzero(unknown & reference.mask))


def fit_size(values: Array, shape: tuple[int, int], protocol: Protocol) -> Array | None:
    """Give depth (h, w) as large as the reference, or None where it is of another shape."""
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


def _find_unit_mismatch(aligned: Floats, reference: Reference) -> str:
    """Say in words that depth is 1,000 times the reference, or the other way round."""
    ours = aligned[reference.mask]
    theirs = reference.depth_m[reference.mask]
    usable = np.isfinite(ours) & (ours > 0)
    if not usable.any():
        return ""
    ratio = float(np.median(ours[usable] / theirs[usable]))
    if _UNIT[0] < ratio < _UNIT[1]:
        return f"depth is {ratio:,.0f} times the reference: millimetres taken for metres?"
    if _UNIT[0] < 1 / ratio < _UNIT[1]:
        return f"the reference is {1 / ratio:,.0f} times the depth: is its unit millimetres?"
    return ""
