"""Equirectangular panoramas: where each pixel looks, and square views of the sphere around the camera.

Pixel (row v, column u) of H x W looks at longitude 2 pi ((u + 0.5) / W - 0.5), to the right, and at latitude
pi (0.5 - (v + 0.5) / H), up: the middle of the image looks forward. Axes are OpenCV's: x right, y down, z forward.
The views look at the corners of an icosahedron, none of which is straight above or below; each is 90 degrees wide and
high, so that every direction is in one to three of them (as in MoGe's panorama script, microsoft/MoGe).
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cortexia_video.geometry.depth_edges import choose_max_gap, find_edges, is_gap, keep_known

Floats = NDArray[np.floating]
FOV_DEG = 90.0  # of each view, both ways
_GOLDEN = (1 + math.sqrt(5)) / 2
_ROWS = 64  # of a panorama, worked on at once


def find_directions(height: int, width: int, rows: slice = slice(None)) -> NDArray[np.float32]:
    """Return the unit vectors (h, width, 3), float32, at which some rows of a panorama look."""
    longitude = 2 * np.pi * ((np.arange(width) + 0.5) / width - 0.5)
    latitude = np.pi * (0.5 - (np.arange(height)[rows, None] + 0.5) / height)
    level = np.cos(latitude)
    found = (level * np.sin(longitude), np.broadcast_to(-np.sin(latitude), (len(latitude), width)))
    return np.stack([*found, level * np.cos(longitude)], axis=-1).astype(np.float32)


def unproject_sphere(distance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the points, float32 (H, W, 3), of a panorama's distances (H, W), in their unit; unknown is NaN."""
    return find_directions(*distance.shape) * distance[..., None]


def choose_sphere_gap(width: int) -> float:
    """Return `choose_max_gap` of a panorama so wide: of a lens with as many pixels a radian."""
    return choose_max_gap(width / (2 * math.pi))


def find_sphere_edges(distance: NDArray[np.float32], max_gap: float) -> NDArray[np.bool_]:
    """Return `find_edges` of a panorama (H, W), whose last column has the first beside it."""
    return find_edges(np.pad(distance, ((0, 0), (1, 1)), "wrap"), max_gap)[:, 1:-1]


def distance_to_normals(
    distance: NDArray[np.float32], *, max_gap: float | None = None
) -> NDArray[np.float32]:
    """Return the unit normal of every pixel of a panorama, towards the camera: float32 (H, W, 3), NaN where unknown.

    It is across to both ways between the points beside one, on which all planes are exact. Near the poles, where
    columns crowd, those that are looked at across are as far apart as rows are. distance: float32 (H, W), in any unit;
    what is not finite and above 0 is unknown. max_gap: as of `depth_to_normals`.
    """
    height, width = distance.shape
    gap = choose_sphere_gap(width) if max_gap is None else max_gap
    normals = np.empty((height, width, 3), np.float32)
    for top in range(0, height, _ROWS):
        first, last = max(0, top - 1), min(height, top + _ROWS + 1)
        points = find_directions(height, width, slice(first, last))
        points *= keep_known(distance[first:last])[..., None]
        latitude = np.pi * (0.5 - (np.arange(first, last) + 0.5) / height)
        apart = np.clip(np.rint(1 / np.cos(latitude)).astype(np.intp), 1, max(1, width // 4))[:, None]
        row, column = np.arange(last - first)[:, None], np.arange(width)
        right = _step(points, (row, (column - apart) % width), (row, (column + apart) % width), gap)
        above, below = np.maximum(row - 1, 0), np.minimum(row + 1, last - first - 1)
        seen = np.cross(_step(points, (above, column), (below, column), gap), right)
        with np.errstate(invalid="ignore"):  # of a pixel alone
            seen /= np.sqrt(np.einsum("hwc,hwc->hw", seen, seen))[..., None]
        rows = slice(top, min(top + _ROWS, height))
        normals[rows] = seen[top - first : rows.stop - first]
    return normals


def _step(
    points: NDArray[np.float32], before: tuple[Any, Any], after: tuple[Any, Any], max_gap: float
) -> NDArray[np.float32]:
    """Return the way along a surface from the points before each, (h, w, 3), to those after; none over a gap."""
    distance = np.sqrt(np.einsum("hwc,hwc->hw", points, points))
    ways = (
        np.where(
            is_gap(distance[each], distance, max_gap)[..., None],
            np.float32(np.nan),
            way * (points - points[each]),
        )
        for each, way in ((before, np.float32(1)), (after, np.float32(-1)))
    )
    first, second = ways
    return np.where(np.isnan(first), second, np.where(np.isnan(second), first, first + second))


def list_views() -> NDArray[np.float64]:
    """Return the rotations (12, 3, 3) of the views: each takes a direction to the axes of its view."""
    corners = [
        np.roll((0.0, a, b * _GOLDEN), turn) for a, b in product((1, -1), repeat=2) for turn in range(3)
    ]
    forward = np.array(corners) / math.hypot(1, _GOLDEN)
    right = np.cross((0.0, 1.0, 0.0), forward)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    return np.stack([right, np.cross(forward, right), forward], axis=1)


def look_through(rotation: Floats, directions: Floats) -> tuple[Floats, Floats, Floats]:
    """Return where a view sees directions (N, 3): x and y, from -1 to 1 across it, and the ray's length at depth 1.

    Not in front of it the length is infinite.
    """
    x, y, z = (directions @ rotation.T.astype(directions.dtype)).T
    z = np.where(z > 1e-6, z, np.nan)
    length = np.where(np.isnan(z), np.inf, 1 / z)
    half = math.tan(math.radians(FOV_DEG) / 2)
    return x / z / half, y / z / half, length


def cut_view(image: NDArray[np.uint8], rotation: Floats, side: int) -> NDArray[np.uint8]:
    """Return the (side, side, 3) view of a panorama uint8 (H, W, 3), interpolated bilinearly, around its ends, too."""
    half = math.tan(math.radians(FOV_DEG) / 2)
    across = ((np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1) * np.float32(half)
    local = np.stack(np.broadcast_arrays(across, across[:, None], np.float32(1)), axis=-1)
    x, y, z = np.moveaxis(local @ rotation.astype(np.float32), -1, 0)
    height, width = image.shape[:2]
    column = (np.arctan2(x, z) / (2 * np.pi) + 0.5) * width - 0.5
    row = (0.5 - np.arctan2(-y, np.hypot(x, z)) / np.pi) * height - 0.5
    left, top = np.floor(column).astype(np.intp), np.floor(row).astype(np.intp)
    weight, down = (column - left)[..., None], (row - top)[..., None]
    above, below = np.clip(top, 0, height - 1), np.clip(top + 1, 0, height - 1)
    first, second = left % width, (left + 1) % width
    upper = image[above, first] * (1 - weight) + image[above, second] * weight
    lower = image[below, first] * (1 - weight) + image[below, second] * weight
    return np.rint(upper * (1 - down) + lower * down).astype(np.uint8)


def look_up(values: NDArray[np.float32], x: Floats, y: Floats) -> NDArray[np.float32]:
    """Return a view's values (h, w, ...) at places (N,), -1 to 1 across and down it, bilinearly; its edges are held."""
    height, width = values.shape[:2]
    column = np.clip((x + 1) / 2 * width - 0.5, 0, width - 1)
    row = np.clip((y + 1) / 2 * height - 0.5, 0, height - 1)
    left, top = column.astype(np.intp), row.astype(np.intp)
    right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    each = (-1, *(1,) * (values.ndim - 2))
    weight = (column - left).astype(np.float32).reshape(each)
    down = (row - top).astype(np.float32).reshape(each)
    upper = values[top, left] * (1 - weight) + values[top, right] * weight
    lower = values[below, left] * (1 - weight) + values[below, right] * weight
    found: NDArray[np.float32] = upper * (1 - down) + lower * down
    return found
