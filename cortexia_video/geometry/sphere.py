"""Equirectangular panoramas: where each pixel looks, and square views of the sphere around the camera.

Pixel (row v, column u) of H x W looks at longitude 2 pi ((u + 0.5) / W - 0.5), to the right, and at latitude
pi (0.5 - (v + 0.5) / H), up: the middle of the image looks forward. Axes are OpenCV's: x right, y down, z forward.
The views look at the corners of an icosahedron, none of which is straight above or below; each is 90 degrees wide and
high, so that every direction is in one to three of them (as in MoGe's panorama script, microsoft/MoGe).
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
FOV_DEG = 90.0  # of each view, both ways
_GOLDEN = (1 + math.sqrt(5)) / 2


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
    """Return a view's values (h, w) at places (N,), -1 to 1 across and down it, bilinearly; its edges are held."""
    height, width = values.shape
    column = np.clip((x + 1) / 2 * width - 0.5, 0, width - 1)
    row = np.clip((y + 1) / 2 * height - 0.5, 0, height - 1)
    left, top = column.astype(np.intp), row.astype(np.intp)
    right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    weight, down = (column - left).astype(np.float32), (row - top).astype(np.float32)
    upper = values[top, left] * (1 - weight) + values[top, right] * weight
    lower = values[below, left] * (1 - weight) + values[below, right] * weight
    found: NDArray[np.float32] = upper * (1 - down) + lower * down
    return found
