"""Views of a sphere, each with depth of its own, merged to one panorama of distances.

Depth along each view's axis times the length of the ray is distance, which is the same in all views. What each view's
depth leaves open is solved by what views share: a factor, from the medians of the ratios of each two that overlap;
or a factor and a shift (of inverse depth for disparity), by least squares of their differences, where outliers count
less. Then they are mixed, with weights that fall to 0 at their borders. Rey-Area et al. (360MonoDepth, CVPR 2022) solve
scale and shift of disparity, too; MoGe's panorama script mixes gradients of the logarithm, by a solver of SciPy's.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthKind
from cortexia_video.geometry.alignment import UNKNOWNS
from cortexia_video.geometry.normals import to_units
from cortexia_video.geometry.sphere import find_directions, list_views, look_through, look_up

Floats = NDArray[np.float64]
_SAMPLES = 20_000  # directions, evenly over the sphere, at which views are compared
_FEWEST = 20  # of them that two views must share
_STEPS = 12
_OUTLIER = 2.5  # medians of the differences, beyond which one counts less
_LEAST = 0.05  # of the median depth: what is nearer counts as that, where errors count as shares
_TINY = 1e-9
_ROWS = 64  # of the panorama, mixed at once


class MergedViews(NamedTuple):
    """values: float32 (H, W), distances, inverse for disparity. valid: bool (H, W), None where no view says it.

    scale, shift: (V,), of each view: scale * value + shift is (inverse) depth. normals: float32 (H, W, 3), in the
    panorama's axes, NaN where unknown, and confidence: float32 (H, W); None where no view says it.
    """

    values: NDArray[np.float32]
    valid: NDArray[np.bool_] | None
    scale: Floats
    shift: Floats
    normals: NDArray[np.float32] | None = None
    confidence: NDArray[np.float32] | None = None


def merge_views(
    views: NDArray[np.float32],
    kind: DepthKind,
    height: int,
    valid: NDArray[np.bool_] | None = None,
    *,
    normals: NDArray[np.float32] | None = None,
    confidence: NDArray[np.float32] | None = None,
) -> MergedViews:
    """Return one panorama, height x twice that, of what a model gave for the views of `list_views`.

    views: float32 (V, h, w) of `kind`, in each view's own scale. valid: bool (V, h, w), False where depth is unknown.
    Metric depth keeps its metres: the geometric mean of the views' factors is 1. Where a view is not finite and valid,
    nothing is solved, and so are all values that it is in. normals: (V, h, w, 3), in each view's axes, NaN where
    unknown. confidence: (V, h, w).
    """
    rotations = list_views()
    scale, shift = _solve(views, kind, rotations, valid)
    layers = _stack(views, valid, confidence, normals, rotations)
    mixed = np.empty((height, 2 * height, layers.shape[-1]), np.float32)
    for top in range(0, height, _ROWS):
        directions = find_directions(height, 2 * height, slice(top, top + _ROWS)).reshape(-1, 3)
        sums, whole = (
            np.zeros((len(directions), layers.shape[-1]), np.float32),
            np.zeros(len(directions), np.float32),
        )
        for number, rotation in enumerate(rotations):
            inside, x, y, length = _see(rotation, directions)
            weight = (((1 - x**2) * (1 - y**2)) ** 2 + _TINY).astype(np.float32)
            ray = 1 / length if kind == "disparity" else length
            seen = look_up(layers[number], x, y)
            seen[:, 0] = ray * (
                np.float32(scale[number]) * seen[:, 0] + np.float32(shift[number]) * seen[:, 1]
            )
            sums[inside] += weight[:, None] * seen
            whole[inside] += weight
        mixed[top : top + _ROWS] = (sums / whole[:, None]).reshape(-1, 2 * height, layers.shape[-1])
    values, share, *others = np.moveaxis(mixed, -1, 0)
    return MergedViews(
        values / share,
        None if valid is None else share >= 0.5,
        scale,
        shift,
        None if normals is None else to_units(np.stack(others[-3:], axis=-1)),
        None if confidence is None else others[0],
    )


def _stack(
    views: NDArray[np.float32],
    valid: NDArray[np.bool_] | None,
    confidence: NDArray[np.float32] | None,
    normals: NDArray[np.float32] | None,
    rotations: Floats,
) -> NDArray[np.float32]:
    """Return what is mixed of views, (V, h, w, layers): known depth, where it is, confidence, x, y, z of normals.

    What nobody knows has a number all the same.
    """
    floor = np.float32(0 if valid is None else _TINY)
    known = np.ones(views.shape, bool) if valid is None else valid
    layers = [np.where(known, views, floor * np.nan_to_num(views)), known + floor]
    layers += [] if confidence is None else [confidence]
    if normals is not None:
        told = np.isfinite(normals).all(axis=-1) & known
        local = np.where(told[..., None], normals, np.float32(0))
        layers += [*np.moveaxis(np.einsum("vhwc,vcd->vhwd", local, rotations.astype(np.float32)), -1, 0)]
    return np.stack(layers, axis=-1, dtype=np.float32)


def _see(
    rotation: Floats, directions: NDArray[np.float32]
) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return which of directions (N, 3) a view sees, and of these where, and the lengths of their rays."""
    x, y, length = look_through(rotation, directions)
    with np.errstate(invalid="ignore"):
        inside = np.flatnonzero((np.abs(x) <= 1) & (np.abs(y) <= 1))
    return inside, x[inside], y[inside], length[inside]


def _solve(
    views: NDArray[np.float32], kind: DepthKind, rotations: Floats, valid: NDArray[np.bool_] | None
) -> tuple[Floats, Floats]:
    """Return scale and shift (V,) of each view, by the directions that two see."""
    count = len(views)
    steps = np.arange(_SAMPLES) + 0.5  # of Fibonacci's lattice
    down, turn = 1 - 2 * steps / _SAMPLES, np.pi * (1 + 5**0.5) * steps
    level = np.sqrt(1 - down**2)
    directions = np.stack([level * np.cos(turn), down, level * np.sin(turn)], axis=-1).astype(np.float32)
    seen, ones = np.full((2, count, _SAMPLES), np.nan)
    for number, rotation in enumerate(rotations):
        inside, x, y, length = _see(rotation, directions)
        if valid is not None:
            kept = look_up(valid[number].astype(np.float32), x, y) > 0.99
            inside, x, y, length = inside[kept], x[kept], y[kept], length[kept]
        ones[number, inside] = 1 / length if kind == "disparity" else length
        seen[number, inside] = look_up(views[number], x, y) * ones[number, inside]
    if not np.isfinite(seen[~np.isnan(ones)]).all():
        return np.ones(count), np.zeros(count)
    if UNKNOWNS[kind] == 1:
        return _solve_scales(np.log(np.maximum(seen, _TINY))), np.zeros(count)
    return _solve_scales_and_shifts(seen, ones, relative=kind != "disparity")


def _list_overlaps(seen: Floats) -> list[tuple[int, int, NDArray[np.intp]]]:
    pairs = (
        (one, other, np.flatnonzero(np.isfinite(seen[one]) & np.isfinite(seen[other])))
        for one, other in combinations(range(len(seen)), 2)
    )
    return [each for each in pairs if len(each[2]) >= _FEWEST]


def _solve_scales(logs: Floats) -> Floats:
    """Return the factors that bring views together; logs: (V, N) of their distances. Their geometric mean is 1."""
    rows, targets = [np.ones(len(logs))], [0.0]
    for one, other, both in _list_overlaps(logs):
        row, weight = np.zeros(len(logs)), len(both) ** 0.5
        row[one], row[other] = weight, -weight
        rows.append(row)
        targets.append(-weight * float(np.median(logs[one, both] - logs[other, both])))
    found: Floats = np.linalg.lstsq(np.stack(rows), np.array(targets), rcond=None)[0]
    return np.exp(found - found.mean())


def _solve_scales_and_shifts(seen: Floats, ones: Floats, *, relative: bool) -> tuple[Floats, Floats]:
    """Return scales, of mean 1, and shifts: scale * seen + shift * ones is alike where two views see the same.

    Each overlap counts as much as another. What they do not tell, as of a view of the sky alone, stays as it is, the
    more so the less views agree. relative: errors count as shares of depth.
    """
    count, overlaps = len(seen), _list_overlaps(seen)
    unit = float(np.nanmedian(np.abs(seen))) or 1.0
    found = np.concatenate([np.ones(count), np.zeros(count)])  # scales, then shifts in `unit`
    start = found.copy()
    for _ in range(_STEPS):
        normal, noise = np.zeros((2 * count, 2 * count)), 0.0
        for one, other, both in overlaps:
            places = [one, count + one, other, count + other]
            design = np.stack(
                [seen[one, both] / unit, ones[one, both], -seen[other, both] / unit, -ones[other, both]]
            )
            if relative:
                design /= np.maximum(_LEAST, np.abs(found[places[:2]] @ design[:2]))
            errors = np.abs(found[places] @ design)
            weights = 1 / np.maximum(1, errors / (_OUTLIER * np.median(errors) + _TINY))
            weights /= weights.sum()
            normal[np.ix_(places, places)] += (design * weights) @ design.T
            noise += float(weights @ errors**2) / len(overlaps)
        for more in (1.0, 1e2, 1e4, np.inf):
            if more == np.inf:  # no factor above 0 brings them together
                return np.ones(count), np.zeros(count)
            solved = _solve_held(normal, start, more * noise + _TINY)
            if (solved[:count] > 0).all():
                break
        found = solved
    return found[:count], found[count:] * unit


def _solve_held(normal: Floats, start: Floats, hold: float) -> Floats:
    """Minimise x' normal x + hold |x - start|^2, where the mean of the first half of x stays that of `start`."""
    size = len(start)
    fixed = np.zeros((1, size))
    fixed[0, : size // 2] = 1
    system = np.block([[normal + hold * np.eye(size), fixed.T], [fixed, np.zeros((1, 1))]])
    solved: Floats = np.linalg.solve(system, np.concatenate([hold * start, fixed @ start]))
    return solved[:size]
