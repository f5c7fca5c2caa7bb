"""Metres for relative depth, from samples whose distance is known.

What a kind of depth leaves open is fitted: a factor of depth (`metric`, `scale_invariant`), factor and shift of
depth (`affine_invariant`) or of inverse depth (`disparity`). Of depth, errors count relative to it, as sensors
and tape measures have them; of inverse depth as they are, as triangulation and networks of disparity have them.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cortexia_video.depth_map import Alignment, DepthKind, DepthMap, Share
from cortexia_video.errors import InputError
from cortexia_video.pinhole import has_same_shape

Floats = NDArray[np.float64]

UNKNOWNS: dict[DepthKind, int] = {"metric": 1, "scale_invariant": 1, "affine_invariant": 2, "disparity": 2}
_HYPOTHESES = 250  # where 2 of 5 samples are wrong, every third pair is good
_SCORED = 250  # samples that a hypothesis is scored on
_SEED = 1
_NORMAL = 1.4826  # of a normal error, the standard deviation over the median of its size
_TRIM = 2.5  # standard deviations beyond which a sample is rejected: Rousseeuw and Leroy, 1987
_HUBER = 1.345  # the same, beyond which it counts less: 95 % efficient for normal errors
_STEPS = 30
_SETTLED = 1e-9  # change of a fit, of its size, that ends the steps
_MOST_KNOWN = 20_000  # pixels of a sensor's map
_EXACT = 1e-6  # of the samples' targets: what float32 loses is no error
_HELD_OUT = 10  # one sample of so many
_FEWEST_HELD_OUT = 20  # samples of which some are held out
_STRAY = 1e-3  # share of pixels that may be left without depth
_ROWS = 64  # of a map, worked on at once
_log = logging.getLogger(__name__)


class Samples(NamedTuple):
    """Where a map's depth is known otherwise.

    values: float64 (N,), of the map. depth_m: (N,), metres along the axis. weights: (N,), above 0.
    places: (N, 2), x and y as shares of width and height. outside: how many more lay outside of the image, where
    the map is unknown, or were no distance.
    """

    values: Floats
    depth_m: Floats
    weights: Floats
    places: Floats
    outside: int = 0


@dataclass(frozen=True, slots=True)
class Fit:
    """scale * value + shift is depth, or 1 / depth for disparity, in metres.

    kind: of the values. near_m, far_m: of the samples that it is made of. limit: error, as errors count (see
    above), beyond which a sample is rejected; sigma: the standard deviation of the others. covariance: of scale
    and shift, (2, 2), None where the samples are no more than the unknowns. middle: a value in the middle of the
    samples. held_out: median error of samples that a fit did not see, in metres and as a share.
    """

    kind: DepthKind
    scale: float
    shift: float
    near_m: float
    far_m: float
    limit: float = 0.0
    sigma: float = 0.0
    covariance: Floats | None = None
    middle: float = 0.0
    held_out: tuple[float | None, float | None] = (None, None)

    def to_metres(self, values: Floats) -> Floats:
        """Return depth, metres; 0 or less behind the camera, and for a disparity beyond infinity."""
        fitted = self.scale * values + self.shift
        if self.kind != "disparity":
            return fitted
        with np.errstate(divide="ignore"):
            return np.where(np.isnan(fitted) | (fitted > 0), 1 / fitted, -1.0)

    def find_errors(self, samples: Samples) -> Floats:
        """Return how far samples are from the fit, as errors count."""
        slope, one, target = _weigh(samples, self.kind)
        return np.abs(self.scale * slope + self.shift * one - target)

    def find_deviation(self, value: float) -> float | None:
        """Return the standard deviation of what is fitted, at a value of the map."""
        if self.covariance is None:
            return None
        return math.sqrt(max(0.0, float(np.array([value, 1.0]) @ self.covariance @ [value, 1.0])))


def align(
    depth: DepthMap, samples: ArrayLike | DepthMap, *, by: str = "points", unknown_beyond: bool = False
) -> DepthMap:
    """Return metric depth that fits known distances, robust against two of five of them being wrong.

    Args:
        depth: Of any kind. Metric depth gets a factor, too, and a warning that says how far off it was.
        samples: (N, 3) or (N, 4): x and y in pixels of the whole image (that of `depth.full_size`), where (0, 0)
            is its outer corner; metres along the optical axis; perhaps a weight above 0. Or a sensor's metric
            `DepthMap` of the same view: every pixel that it knows.
        by: What the distances came from, for the metadata.
        unknown_beyond: Make pixels NaN that the fit puts behind the camera or beyond infinity, rather than
            refuse the fit.

    Returns:
        Metres, with how they came about in `alignment`. Samples outside of the image, or where the map is
        unknown, are left out. Pixels that the fit puts beyond infinity by less than three of its standard
        deviations, or that are fewer than one in a thousand, are NaN.

    Raises:
        InputError: There are fewer samples than unknowns; they fit only with near and far swapped; or the shift
            makes depth negative.

    Example:
        >>> relative = cx.DepthMap(np.array([[1.0, 0.5, 0.25]], np.float32), "disparity")
        >>> cx.align(relative, [(0, 0, 2.0), (1, 0, 4.0)]).values.tolist()
        [[2.0, 4.0, 8.0]]
    """
    if isinstance(samples, DepthMap):
        height, width = depth.full_size or depth.values.shape
        samples = list_known(samples, width, height)
    taken = take_samples(depth, samples)
    fit = fit_samples(taken, depth.kind)
    return apply_fit(depth, fit, taken, by, unknown_beyond=unknown_beyond)


def take_samples(depth: DepthMap, samples: ArrayLike) -> Samples:
    """Return the map's values at samples (N, 3 or 4) as `align` takes them; each in the nearest pixel."""
    rows = np.asarray(samples, np.float64)
    if rows.size == 0:
        rows = np.empty((0, 3))
    if rows.ndim != 2 or rows.shape[1] not in (3, 4):
        raise InputError(f"samples must be (N, 3), x, y and metres, or (N, 4) with weights, not {rows.shape}")
    height, width = depth.full_size or depth.values.shape
    metres, weights = rows[:, 2], rows[:, 3] if rows.shape[1] == 4 else np.ones(len(rows))
    with np.errstate(invalid="ignore"):
        places = rows[:, :2] / (width, height)
        good = ((places >= 0) & (places < 1)).all(axis=1)
        good &= (metres > 0) & np.isfinite(metres) & (weights > 0) & np.isfinite(weights)
    lines, columns = depth.values.shape
    cells = np.floor(np.where(good[:, None], places, 0) * (columns, lines)).astype(np.intp)
    values = depth.values[cells[:, 1], cells[:, 0]].astype(np.float64)
    good &= np.isfinite(values)
    if depth.valid is not None:
        good &= depth.valid[cells[:, 1], cells[:, 0]]
    if UNKNOWNS[depth.kind] == 1:
        good &= values > 0
    return Samples(values[good], metres[good], weights[good], places[good], int((~good).sum()))


def list_known(known: DepthMap, width: int, height: int) -> Floats:
    """Return what a sensor's metric map knows of an image of width x height: (N, 3), as `align` takes samples.

    Of many pixels some, evenly over them. Raises `InputError` where the map is not metric, or of another image.
    """
    require_registered(known, width, height)
    lines, columns = known.values.shape
    with np.errstate(invalid="ignore"):
        row, column = np.nonzero(np.isfinite(known.values) & (known.values > 0))
    step = max(1, math.ceil(len(row) / _MOST_KNOWN))
    row, column = row[step // 2 :: step], column[step // 2 :: step]
    places = (column + 0.5) * (width / columns), (row + 0.5) * (height / lines)
    return np.stack([*places, known.values[row, column].astype(np.float64)], axis=1)


def require_metric(known: DepthMap) -> None:
    """Raise `InputError` for a map that says no metres."""
    if known.kind != "metric":
        raise InputError(f"the known depth is {known.kind}, not metric: it says no metres")


def require_registered(known: DepthMap, width: int, height: int) -> None:
    """Raise `InputError` for a sensor's map that is not metric, or not of an image of width x height."""
    require_metric(known)
    other = known.full_size or known.values.shape
    if not has_same_shape((width, height), (other[1], other[0])):
        raise InputError(
            f"the known depth is of an image of {other[1]} x {other[0]}, this one has {width} x {height}, of "
            "another shape: register it to the image first, or put a rig.json beside it (docs/align.md)"
        )


def join_samples(groups: Sequence[Samples], *, most: float = math.inf) -> Samples:
    """Return the samples of several images as one set, for a fit that they share; `most` of each, evenly."""
    parts = [_pick(each, slice(None, None, max(1, math.ceil(len(each.values) / most)))) for each in groups]
    values, depth_m, weights, places = (
        np.concatenate([getattr(each, name) for each in parts]) for name in Samples._fields[:4]
    )
    return Samples(values, depth_m, weights, places, sum(each.outside for each in groups))


def fit_samples(samples: Samples, kind: DepthKind) -> Fit:
    """Fit to samples what a kind leaves open; the same samples give the same fit.

    The line through a pair of samples (or the factor of one) that has the least median error rejects what is
    far from it (Rousseeuw, "Least Median of Squares Regression", 1984); to the others Huber's estimator (1964)
    is fitted. A tenth of the samples, held out from a second such fit, tells its error.

    Raises `InputError` for too few samples, for samples that do not fix the unknowns, and for a factor that is
    not above 0.
    """
    count, needed = len(samples.values), UNKNOWNS[kind]
    if count < needed:
        left_out = f" ({samples.outside} more are outside, or where it is unknown)" if samples.outside else ""
        raise InputError(f"{count} known distances{left_out}; {kind} depth needs {needed} or more")
    fit = _fit(samples, kind)
    if not fit.scale > 0:
        raise InputError(
            f"the distances fit only with a factor of {fit.scale:g}, as if near and far were swapped: check "
            f"them, and that the kind of depth is {kind}"
        )
    if count < _FEWEST_HELD_OUT:
        return fit
    order = np.random.default_rng(_SEED).permutation(count)
    unseen, seen = (_pick(samples, part) for part in np.split(order, [count // _HELD_OUT]))
    found = _fit(seen, kind).to_metres(unseen.values)
    errors = np.abs(np.where(found > 0, found, math.inf) - unseen.depth_m)
    return replace(fit, held_out=(_median(errors), _median(errors / unseen.depth_m)))


def apply_fit(
    depth: DepthMap,
    fit: Fit,
    samples: Samples,
    by: str,
    *,
    share: Share = "none",
    unknown_beyond: bool = False,
) -> DepthMap:
    """Return metres by a fit; `samples` are this image's, `alignment` says how they agree. See `align`."""
    metres, before = np.empty_like(depth.values), depth.known_values
    near, far = fit.near_m * (1 - _EXACT), fit.far_m * (1 + _EXACT)
    known = lost = inside = 0
    lowest = math.inf
    for begin in range(0, len(metres), _ROWS):
        values = before[begin : begin + _ROWS].astype(np.float64)
        found = fit.to_metres(np.where(np.isfinite(values), values, np.nan))
        known += found.size - int(np.count_nonzero(np.isnan(found)))
        gone = found <= 0
        if gone.any():
            lost += int(np.count_nonzero(gone))
            lowest = min(lowest, float(values[gone].min()))
            found[gone] = np.nan
        inside += int(np.count_nonzero((found >= near) & (found <= far)))
        metres[begin : begin + _ROWS] = found
    if lost > _STRAY * known and not unknown_beyond:
        _refuse_lost(fit, lost / known, lowest)
    used = fit.find_errors(samples) <= fit.limit
    found = fit.to_metres(samples.values)
    errors = np.where(found > 0, found, math.inf) - samples.depth_m
    shares = errors / samples.depth_m
    cells = (np.floor(samples.places * 3) @ (1, 3)).astype(int)
    deviation = fit.find_deviation(fit.middle)
    alignment = Alignment(
        by=by,
        kind=fit.kind,
        scale=fit.scale,
        shift=fit.shift,
        share=share,
        points_used=int(used.sum()),
        points_rejected=int((~used).sum()),
        residual_m=_median(np.abs(errors[used])) if used.any() else None,
        residual_share=_median(np.abs(shares[used])) if used.any() else None,
        held_out_m=fit.held_out[0],
        held_out_share=fit.held_out[1],
        uncertainty=None if deviation is None else deviation / (fit.scale * fit.middle + fit.shift),
        near_m=fit.near_m,
        far_m=fit.far_m,
        beyond=1 - inside / max(1, known),
        residual_grid=tuple(  # the median of each ninth of the image
            _median(shares[cells == cell]) if (cells == cell).any() else None for cell in range(9)
        ),
    )
    if depth.kind == "metric":
        _log.warning("the metric depth was off by a factor of %.4g; it is multiplied by it", fit.scale)
    return replace(depth, values=metres, kind="metric", alignment=alignment, relative=depth, scale_from=None)


def to_metres(alignment: Alignment, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return metres of another map by the fit of an alignment; NaN behind the camera and beyond infinity."""
    fit = Fit(alignment.kind, alignment.scale, alignment.shift, alignment.near_m, alignment.far_m)
    metres = fit.to_metres(values.astype(np.float64)).astype(np.float32)
    metres[~(metres > 0)] = np.nan
    return metres


def _fit(samples: Samples, kind: DepthKind) -> Fit:
    """Fit robustly, with the map's values brought to a spread of 1 for the while, and for a shift around 0."""
    slope, one, target = _weigh(samples, kind)
    needed, count = UNKNOWNS[kind], len(target)
    centre = _find_middle(samples.values) if needed == 2 else 0.0
    spread = float(np.abs(samples.values - centre).max())
    if not spread > 0:
        raise InputError(
            f"the depth map has one value, {samples.values[0]:g}, at all {count} known distances: {kind} depth "
            "needs some that are near and some that are far"
        )
    design = np.stack([(slope - centre * one) / spread, one], axis=1)[:, :needed]
    floor = _EXACT * _find_middle(np.abs(target))
    found, sigma = _find_consensus(design, target, samples.weights)
    kept, size, limit = np.ones(count, bool), count, math.inf
    for _ in range(2):  # the second time with a deviation that outliers have no part in
        sigma = max(sigma, floor)
        errors = np.abs(design @ found - target)
        limit = max(_TRIM * sigma, float(np.partition(errors, needed - 1)[needed - 1]))
        kept = errors <= limit
        near, sought, weights = design[kept], target[kept], samples.weights[kept]
        found = _fit_huber(near, sought, weights, sigma, found)
        size = len(sought)
        mean = float(np.average((near @ found - sought) ** 2, weights=weights))
        sigma = math.sqrt(mean * size / max(1, size - needed))
    to_map = np.array([[1 / spread, 0.0], [-centre / spread, 1.0]])[:, :needed]  # of scale and shift
    covariance = None
    if size > needed:
        normal = (near * (weights / weights.mean())[:, None]).T @ near
        covariance = sigma**2 * to_map @ np.linalg.pinv(normal) @ to_map.T
    scale, shift = map(float, to_map @ found)
    near_m, far_m = float(samples.depth_m[kept].min()), float(samples.depth_m[kept].max())
    middle = _find_middle(samples.values[kept])
    return Fit(kind, scale, shift, near_m, far_m, limit, max(sigma, floor), covariance, middle)


def _weigh(samples: Samples, kind: DepthKind) -> tuple[Floats, Floats, Floats]:
    """Return what scale and shift are multiplied by, and what that should be: errors have one deviation then."""
    if kind == "disparity":
        return samples.values, np.ones(len(samples.values)), 1 / samples.depth_m
    return samples.values / samples.depth_m, 1 / samples.depth_m, np.ones(len(samples.values))


def _find_consensus(design: Floats, target: Floats, weights: Floats) -> tuple[Floats, float]:
    """Return the hypothesis with the least median error, of those through as few samples as there are unknowns.

    Also the standard deviation that this error tells, with the correction for few samples of Rousseeuw and
    Leroy, "Robust Regression and Outlier Detection", 1987, section 5.1.
    """
    (count, needed), random = design.shape, np.random.default_rng(_SEED)
    if math.comb(count, needed) <= _HYPOTHESES:
        chosen = np.array([*itertools.combinations(range(count), needed)])
    else:
        chosen = random.integers(count, size=(_HYPOTHESES, needed))
    if needed == 1:
        first = design[chosen[:, 0], 0]
        good = first != 0
        hypotheses = (target[chosen[good, 0]] / first[good])[:, None]
    else:
        pairs = design[chosen]
        good = np.abs(np.linalg.det(pairs)) > 0
        hypotheses = np.linalg.solve(pairs[good], target[chosen[good]][..., None])[..., 0]
    if not len(hypotheses):  # each pair that was drawn lies where the map has one value
        return _solve(design, target, weights), math.inf
    scored = np.arange(count)
    if count > _SCORED or np.ptp(weights):  # as often as their weights say
        reached = np.cumsum(weights)
        scored = np.searchsorted(reached, (np.arange(_SCORED) + 0.5) * (reached[-1] / _SCORED))
    errors = hypotheses @ design[scored].T  # half a megabyte, worked on in its place
    errors -= target[scored]
    np.abs(errors, out=errors)
    middle = math.ceil((count + needed + 1) // 2 / count * len(scored)) - 1
    errors.partition(middle, axis=1)
    medians = errors[:, middle]
    best = int(medians.argmin())
    return hypotheses[best], _NORMAL * (1 + 5 / max(1, count - needed)) * float(medians[best])


def _fit_huber(design: Floats, target: Floats, weights: Floats, sigma: float, start: Floats) -> Floats:
    """Minimise Huber's loss by least squares with weights, again and again."""
    found = start
    for _ in range(_STEPS):
        errors = np.abs(design @ found - target)
        before, found = found, _solve(design, target, weights / np.maximum(1, errors / (_HUBER * sigma)))
        if np.abs(found - before).max() <= _SETTLED * np.abs(found).max():
            break
    return found


def _solve(design: Floats, target: Floats, weights: Floats) -> Floats:
    weighted = design * weights[:, None]
    return np.linalg.pinv(weighted.T @ design) @ (weighted.T @ target)


def _refuse_lost(fit: Fit, share: float, lowest: float) -> None:
    """Raise `InputError` for a fit that leaves a share of the pixels without depth, and not just by its noise."""
    remedy = "or `unknown_beyond=True`, which makes them unknown"
    if fit.kind != "disparity":
        raise InputError(
            f"its shift of {fit.shift:.4g} m makes {100 * share:.2g} % of depth negative: give points that are "
            f"nearer, {remedy}"
        )
    deviation = math.hypot(fit.sigma, fit.find_deviation(lowest) or 0.0)
    if fit.scale * lowest + fit.shift < -3 * deviation:
        raise InputError(
            f"its shift of {fit.shift:.4g} / m puts {100 * share:.2g} % of the pixels beyond infinity, where depth "
            f"is negative: give points that are farther, {remedy}"
        )


def _median(values: Floats) -> float | None:
    """Return the median; None where that is beyond infinity."""
    middle = _find_middle(values)
    return middle if math.isfinite(middle) else None


def _find_middle(values: Floats) -> float:
    """Return the median; of few numbers several times as fast as numpy's, which looks for NaN."""
    low, high = (len(values) - 1) // 2, len(values) // 2
    ordered = np.partition(values, (low, high))
    return float(ordered[low] + ordered[high]) / 2


def _pick(samples: Samples, part: NDArray[np.intp] | slice) -> Samples:
    return Samples(samples.values[part], samples.depth_m[part], samples.weights[part], samples.places[part])
