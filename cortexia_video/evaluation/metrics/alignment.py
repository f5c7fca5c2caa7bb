"""Bring depth into the units of a reference, so that metrics can compare them.

x is what is fitted to y: depth to depth, or inverse depth to inverse depth. Which alignment a kind of depth
allows is a table; what it does not allow is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import InputError, not_known
from cortexia_video.evaluation.metrics.pixel_sums import (
    Array,
    Floats,
    Mask,
    find_places,
    is_finite,
    list_blocks,
    select,
    sum_products,
    take,
)

_KEPT = 0.8  # share of the pixels that a trimmed fit keeps
_STEPS = 50
_SETTLED = 1e-10  # change of a fit, of its size, that ends the steps


class Fit(NamedTuple):
    """scale * x + shift is near y."""

    scale: float
    shift: float = 0.0


class Alignment(NamedTuple):
    """How x is fitted to y; x is depth, or inverse depth, of the kinds that allow it.

    fitted: for people, what is fitted to the ground truth of each image. how: by what measure.
    """

    fit: Callable[[Floats, Floats], Fit]
    space: Literal["depth", "disparity"]
    kinds: tuple[DepthKind, ...]
    fitted: str = "none"
    how: str = ""

    def describe(self, of: str = "image") -> str:
        """Return it in words. of: what is fitted by itself, each image or each clip."""
        if not self.how:
            return "none, depth is measured in metres as it is"
        return f"{self.fitted} of each {of}, to its ground truth, by {self.how}"


def align(
    values: Array, kind: DepthKind, reference_m: Array, mask: Mask, alignment: str, *, max_depth_m: float
) -> Floats:
    """Align values to a reference, as their kind needs it: fit factor and shift, and apply them.

    Aligned disparity below 1 / max_depth_m, also below 0, is clamped there: no depth exceeds `max_depth_m`.
    Depth that was aligned as depth is not clamped, and may be 0 or less. Sources of each alignment:
    docs/evaluation.md.

    Args:
        values: (H, W) of `kind`, not finite where unknown.
        kind: metric, scale_invariant, affine_invariant or disparity.
        reference_m: (H, W) metres, above 0 in `mask`.
        mask: bool (H, W), where to fit; there the values count that are known.
        alignment: none, median, scale, scale_l1, affine, affine_l1, affine_trimmed, disparity, disparity_l1
            or disparity_trimmed.
        max_depth_m: Metres, see above.

    Returns:
        Depth in metres, float64 (H, W), NaN where the values are unknown.

    Raises:
        InputError: The kind does not allow the alignment.
        ValueError: Nothing is known.

    Example:
        >>> metres = np.array([[1.0, 2.0, 4.0]])
        >>> what = ("disparity", metres, metres > 0, "disparity")
        >>> found = cx.evaluation.align(3 / metres - 1, *what, max_depth_m=10.0)
        >>> np.allclose(found, metres)
        True
    """
    require_alignment(kind, alignment)
    places = find_places(values, reference_m, mask)
    chosen, reference = take(values, places), take(reference_m, places)
    fit = fit_alignment(chosen, kind, reference, alignment)
    return apply_fit(values.astype(np.float64), kind, fit, alignment, max_depth_m=max_depth_m)


def fit_alignment(values: Floats, kind: DepthKind, reference_m: Floats, alignment: str) -> Fit:
    """Fit values (N,) to a reference (N,) above 0, where the values are usable, as `align` does.

    Raises `InputError` for an alignment that the kind does not allow, ValueError where nothing is usable.
    """
    how = require_alignment(kind, alignment)
    usable = find_usable(values, kind, alignment)
    if not usable.all():
        values, reference_m = values[usable], reference_m[usable]
    if not values.size:
        raise ValueError("no pixel to fit: where the reference is known, no value is")
    if how.space == "depth":
        return how.fit(values, reference_m)
    return how.fit(values if kind == "disparity" else 1 / values, 1 / reference_m)


def find_usable(values: Floats, kind: DepthKind, alignment: str) -> Mask:
    """Return which values can be fitted: the finite, and of depth whose inverse is taken those above 0."""
    if ALIGNMENTS[alignment].space == "disparity" and kind != "disparity":
        return np.isfinite(values) & (values > 0)
    return np.isfinite(values)


def apply_fit(values: Floats, kind: DepthKind, fit: Fit, alignment: str, *, max_depth_m: float) -> Floats:
    """Bring values of any shape, which are used up, into the unit of the reference; NaN where unknown."""
    inverse = ALIGNMENTS[alignment].space == "disparity"
    aligned = values
    if inverse and kind != "disparity":
        with np.errstate(divide="ignore", invalid="ignore"):
            aligned = np.where(values > 0, 1 / values, np.nan)
    if not is_finite(aligned):
        aligned[~np.isfinite(aligned)] = np.nan
    if fit != (1.0, 0.0):
        aligned *= fit.scale
        aligned += fit.shift
    if inverse:
        np.divide(1, np.maximum(aligned, 1 / max_depth_m, out=aligned), out=aligned)
    return aligned


def require_alignment(kind: DepthKind, alignment: str) -> Alignment:
    """Return the alignment by name; raise `InputError` where there is none, or the kind does not allow it."""
    how = ALIGNMENTS.get(alignment)
    if how is None:
        raise InputError(not_known("alignment", alignment, ALIGNMENTS))
    if kind not in how.kinds:
        allowed = ", ".join(name for name, each in ALIGNMENTS.items() if kind in each.kinds)
        raise InputError(f"{kind} depth does not allow the alignment {alignment!r}: use one of {allowed}")
    return how


def align_disparity(disparity: Array, reference_m: Array, mask: Mask, *, max_depth_m: float) -> Floats:
    """Fit scale and shift of a disparity to 1 / reference by least squares; see `align`.

    Source: Ranftl et al., "Towards Robust Monocular Depth Estimation", TPAMI 2020, section 5.
    """
    return align(disparity, "disparity", reference_m, mask, "disparity", max_depth_m=max_depth_m)


def fit_scale_and_shift(values: Array, target: Array, mask: Mask) -> Fit:
    """Minimise the sum of (scale * values + shift - target)^2 over the mask; equal values have scale 0."""
    return _fit_affine(*select(values, target, mask))


def _fit_median(x: Floats, y: Floats) -> Fit:
    """Scale by median y / median x: Zhou et al., "Unsupervised Learning of Depth", CVPR 2017, section 4.1."""
    return Fit(_divide(float(np.median(y)), float(np.median(x))))


def _fit_scale(x: Floats, y: Floats) -> Fit:
    """Minimise the sum of (scale * x - y)^2: scale = x.y / x.x."""
    return Fit(_divide(sum_products(x, y), sum_products(x, x)))


def _fit_scale_l1(x: Floats, y: Floats) -> Fit:
    """Minimise the sum of |scale * x - y| / y: the median of y / x, each weighing |x| / y.

    The weights are those of Wang et al., "MoGe", CVPR 2025: far pixels must not decide alone.
    """
    useful = x != 0
    if not useful.any():
        return Fit(0.0)
    scales, weights = y[useful] / x[useful], np.abs(x[useful]) / y[useful]
    order = np.argsort(scales, kind="stable")
    reached = np.cumsum(weights[order])
    return Fit(float(scales[order[np.searchsorted(reached, reached[-1] / 2)]]))


def _fit_affine(x: Floats, y: Floats) -> Fit:
    """Minimise the sum of (scale * x + shift - y)^2."""
    x_mean, y_mean = float(x.mean()), float(y.mean())
    covariance = variance = 0.0
    for part in list_blocks(x.size):
        centred = x[part] - x_mean
        variance += float(centred @ centred)
        covariance += float(centred @ (y[part] - y_mean))
    scale = _divide(covariance, variance)
    return Fit(scale, y_mean - scale * x_mean)


def _fit_affine_l1(x: Floats, y: Floats) -> Fit:
    """Minimise the sum of |scale * x + shift - y| / y, by least squares with weights again and again.

    Holland and Welsch, "Robust regression using iteratively reweighted least-squares", 1977.
    """
    weights = 1 / np.maximum(np.abs(y), np.finfo(np.float64).tiny)
    smallest = 1e-9 * float(np.abs(y).mean())
    fit = _fit_weighted(x, y, weights)
    for _ in range(_STEPS):
        errors = np.abs(fit.scale * x + fit.shift - y)
        before, fit = fit, _fit_weighted(x, y, weights / np.maximum(errors, smallest))
        if _is_settled(before, fit):
            break
    return fit


def _fit_trimmed(x: Floats, y: Floats) -> Fit:
    """Fit by least squares to the 80 % that fit best, again and again.

    The concentration steps of Rousseeuw and Van Driessen, "Computing LTS Regression for Large Data Sets",
    2006; the share is that of the trimmed loss of Ranftl et al., TPAMI 2020.
    """
    fit, kept = _fit_affine(x, y), max(int(_KEPT * x.size), 1)
    for _ in range(_STEPS):
        errors = np.abs(fit.scale * x + fit.shift - y)
        best = np.argpartition(errors, kept - 1)[:kept]
        before, fit = fit, _fit_affine(x[best], y[best])
        if _is_settled(before, fit):
            break
    return fit


def _fit_weighted(x: Floats, y: Floats, weights: Floats) -> Fit:
    total = float(weights.sum())
    x_mean, y_mean = sum_products(weights, x) / total, sum_products(weights, y) / total
    centred = x - x_mean
    weighted = weights * centred
    scale = _divide(sum_products(weighted, y - y_mean), sum_products(weighted, centred))
    return Fit(scale, y_mean - scale * x_mean)


def _is_settled(before: Fit, after: Fit) -> bool:
    return all(abs(new - old) <= _SETTLED * abs(new) for old, new in zip(before, after, strict=True))


def _divide(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else 0.0


_DEPTHS: tuple[DepthKind, ...] = ("metric", "scale_invariant", "affine_invariant")
_RATIOS: tuple[DepthKind, ...] = ("metric", "scale_invariant")
_INVERSES: tuple[DepthKind, ...] = ("metric", "scale_invariant", "disparity")

_BOTH, _OF_INVERSE = "scale and shift", "scale and shift of 1 / depth"
_SQUARES, _L1, _TRIMMED = "least squares", "least absolute relative error", "trimmed least squares"

ALIGNMENTS: dict[str, Alignment] = {
    "none": Alignment(lambda x, y: Fit(1.0), "depth", ("metric",)),
    "median": Alignment(_fit_median, "depth", _RATIOS, "scale", "medians"),
    "scale": Alignment(_fit_scale, "depth", _RATIOS, "scale", _SQUARES),
    "scale_l1": Alignment(_fit_scale_l1, "depth", _RATIOS, "scale", _L1),
    "affine": Alignment(_fit_affine, "depth", _DEPTHS, _BOTH, _SQUARES),
    "affine_l1": Alignment(_fit_affine_l1, "depth", _DEPTHS, _BOTH, _L1),
    "affine_trimmed": Alignment(_fit_trimmed, "depth", _DEPTHS, _BOTH, _TRIMMED),
    "disparity": Alignment(_fit_affine, "disparity", _INVERSES, _OF_INVERSE, _SQUARES),
    "disparity_l1": Alignment(_fit_affine_l1, "disparity", _INVERSES, _OF_INVERSE, _L1),
    "disparity_trimmed": Alignment(_fit_trimmed, "disparity", _INVERSES, _OF_INVERSE, _TRIMMED),
}
