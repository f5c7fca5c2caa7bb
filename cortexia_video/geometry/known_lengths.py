"""Metres from one length in the scene: the camera's height over the ground, or a thing of known size in the image.

Both fix one factor only, so they are for depth that lacks no more, and they need the focal length.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import InputError
from cortexia_video.geometry.alignment import UNKNOWNS, Fit
from cortexia_video.pinhole import Pinhole

Floats = NDArray[np.float64]

_PIXELS = 20_000  # of the lower part of the image, that the ground is looked for in
_TOP = 0.35  # share of the image's height above which no ground is looked for
_HYPOTHESES = 500
_TILT = math.cos(math.radians(50))  # how far the ground's normal may lean from the image's vertical
_NEAR = 0.03  # distance from a plane that belongs to it, as a share of a point's depth
_BELOW = 0.05  # share of the points that may lie under the ground
_STEPS = 10
_EXACT = 0.002  # distance from the plane, as `_NEAR`, below which no point is left out
_LEAST = 0.05  # share of the points that must lie on it


def fit_camera_height(depth: DepthMap, camera: Pinhole, height_m: float) -> Fit:
    """Return the factor that puts the camera at a height over the ground that the image shows.

    The ground is the plane with most points of the lower two thirds near it (Fischler and Bolles, RANSAC, 1981) that is
    within 50 degrees of level and has next to nothing under it. The fit's deviation is that of the plane alone: how
    exact the height is, and whether the plane is the ground, it cannot know.

    Args:
        depth: Of kind `scale_invariant` or `metric`.
        camera: Of its image, in any size.
        height_m: Metres from the lens to the ground, upright.

    Raises:
        InputError: The depth has no shape in space, the height is not above 0, or no plane is found.
    """
    _require(depth, "camera_height", height_m)
    lines, columns = depth.values.shape
    rows, places = np.divmod(np.arange(int(_TOP * lines) * columns, lines * columns), columns)
    values = depth.values[rows, places].astype(np.float64)
    known = np.flatnonzero(np.isfinite(values) & (values > 0))
    known = known[:: max(1, len(known) // _PIXELS)]
    if len(known) < 100:
        raise InputError("the lower part of the image has next to no known depth: no ground is found in it")
    pinhole = camera.resized(columns, lines)
    points = _unproject(pinhole, places[known], rows[known], values[known])
    random, best, support = np.random.default_rng(1), None, 0
    for chosen in random.integers(len(points), size=(_HYPOTHESES, 3)):
        try:
            plane = np.linalg.solve(
                points[chosen], np.ones(3)
            )  # plane . point = 1; its length is 1 over the distance
        except np.linalg.LinAlgError:
            continue
        height = (points @ plane - 1) / (np.linalg.norm(plane) * points[:, 2])
        near = int(np.count_nonzero(np.abs(height) < _NEAR))
        is_level = plane[1] > _TILT * np.linalg.norm(plane)
        if is_level and near > support and np.mean(height > _NEAR) < _BELOW:
            best, support = plane, near
    if best is None or support < _LEAST * len(points):
        raise InputError("no ground is found in the lower part of the image: give known distances instead")
    limit = _NEAR
    for _ in range(_STEPS):  # nearer and nearer, so that the foot of a wall has no part in it
        weights = 1 / (np.linalg.norm(best) * points[:, 2])
        away = np.abs((points @ best - 1) * weights)
        on = away < limit
        design = points[on] * weights[on, None]
        best = np.linalg.lstsq(design, weights[on], rcond=None)[0]
        limit = min(limit, max(_EXACT, 3 * 1.4826 * float(np.median(away[on]))))
    sigma2 = float(np.mean((design @ best - weights[on]) ** 2))
    covariance = sigma2 * np.linalg.inv(design.T @ design)
    length = float(np.linalg.norm(best))
    deviation = math.sqrt(float(best @ covariance @ best)) / length**2  # of 1 over the distance, as a share
    return _describe(depth, height_m * length, deviation, points[on, 2])


def fit_known_length(depth: DepthMap, camera: Pinhole, lengths: Sequence[tuple[float, ...]]) -> Fit:
    """Return the factor that gives things in the image their known sizes.

    Args:
        depth: Of kind `scale_invariant` or `metric`.
        camera: Of its image, in any size.
        lengths: For each thing x1, y1, x2, y2, the pixels of the whole image where it begins and ends, and its metres.

    Returns:
        The mean factor, each weighed by how well its ends are known: what one pixel up or down, left or right of both
        changes is its deviation.

    Raises:
        InputError: The depth has no shape in space, or an end is outside of the image or at unknown depth.
    """
    factors, deviations, ends = [], [], []
    pinhole = camera.resized(depth.values.shape[1], depth.values.shape[0])
    height, width = depth.full_size or depth.values.shape
    rows, columns = depth.values.shape
    for x1, y1, x2, y2, metres in lengths:
        _require(depth, "size", metres)
        around = []
        for x, y in ((x1, y1), (x2, y2)):
            if not (0 <= x < width and 0 <= y < height):
                raise InputError(
                    f"the end {x:g},{y:g} of a length lies outside of the image of {width} x {height}: give pixels of "
                    "the whole image"
                )
            column, row = int(x * columns / width), int(y * rows / height)
            steps = [*itertools.product((0, -1, 1), (0, -1, 1))]
            places = np.clip([(column + a, row + b) for a, b in steps], 0, (columns - 1, rows - 1))
            values = depth.values[places[:, 1], places[:, 0]].astype(np.float64)
            if not (np.isfinite(values[0]) and values[0] > 0):
                raise InputError(
                    f"the end {x:g},{y:g} of a length is where depth is unknown: move it a little"
                )
            around.append(
                _unproject(pinhole, places[:, 0], places[:, 1], np.where(values > 0, values, values[0]))
            )
            ends.append(values[0])
        spans = np.linalg.norm(around[0][:, None] - around[1], axis=2)
        if not spans[0, 0] > 0:
            raise InputError(
                "a length begins and ends at one point of the depth map: its ends must be pixels apart"
            )
        factors.append(metres / spans[0, 0])
        deviations.append(float(np.std(spans)) / spans[0, 0])
    weights = 1 / np.maximum(deviations, 1e-6) ** 2
    factor = float(np.average(factors, weights=weights))
    deviation = 1 / math.sqrt(float(weights.sum()))
    if len(factors) > 1:  # things that contradict each other say more than their ends
        deviation = max(deviation, float(np.std(factors, ddof=1)) / factor / math.sqrt(len(factors)))
    return _describe(depth, factor, deviation, np.array(ends))


def _require(depth: DepthMap, name: str, metres: float) -> None:
    if UNKNOWNS[depth.kind] != 1:
        raise InputError(
            f"{depth.kind} depth has no shape in space, so that `{name}` says nothing of it: give two known "
            "distances or more, or use a model of metric or scale-invariant depth"
        )
    if not 0 < metres < math.inf:
        raise InputError(f"`{name}` must be metres above 0, not {metres:g}")


def _unproject(camera: Pinhole, columns: NDArray[np.intp], rows: NDArray[np.intp], depth: Floats) -> Floats:
    across, down = (columns + 0.5 - camera.cx) / camera.fx, (rows + 0.5 - camera.cy) / camera.fy
    return np.stack([across * depth, down * depth, depth], axis=1)


def _describe(depth: DepthMap, scale: float, deviation: float, values: Floats) -> Fit:
    near, far = scale * float(values.min()), scale * float(values.max())
    covariance = np.diag([(deviation * scale) ** 2, 0.0])
    return Fit(depth.kind, scale, 0.0, near, far, covariance=covariance, middle=float(np.median(values)))
