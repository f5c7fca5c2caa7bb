"""Maps of what a sensor measured of an image, with holes: from samples or its own map, and filled.

A hole is filled by the mean of the four nearest known pixels, as the authors of Prompt Depth Anything do with the
points of a car's LiDAR (DepthAnything/PromptDA, issue 3: "KNN completion (k=4)").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import InputError
from cortexia_video.geometry.alignment import require_registered

NEIGHBOURS = 4
_SIDE = 512  # of a map that samples are laid into, its longer one: finer than networks read it
_TILE = 16  # pixels along each side, whose neighbours are looked for together


def to_sparse_map(known: DepthMap | ArrayLike, width: int, height: int) -> NDArray[np.float32]:
    """Return what is known of an image of width x height as a map: float32 (h, w), metres, NaN where unknown.

    known: a sensor's metric map of it, as large as it is; or samples (N, 3), x and y in pixels of the image and
    metres, as `align` takes them: a map of them has 512 pixels along its longer side, 1 where the image has 1.
    Raises `InputError` for a map that is not metric or of an image of another shape, and for what knows nothing.
    """
    if isinstance(known, DepthMap):
        require_registered(known, width, height)
        found = np.where(known.known_values > 0, known.known_values, np.float32(np.nan))
        found[np.isinf(found)] = np.nan
    else:
        samples = np.asarray(known, np.float64)
        if samples.ndim != 2 or samples.shape[1] not in (3, 4):
            raise InputError(
                f"sparse depth is a metric DepthMap, or samples (N, 3), x, y and metres, not {samples.shape}"
            )
        factor = min(1.0, _SIDE / max(width, height))
        size = max(1, round(height * factor)), max(1, round(width * factor))
        found = lay_samples(samples[:, :2] / (width, height), samples[:, 2], *size)
    if np.isnan(found).all():
        raise InputError("its sparse depth has no point in the image with a distance above 0")
    return found


def lay_samples(
    places: NDArray[np.floating], depth_m: NDArray[np.floating], height: int, width: int
) -> NDArray[np.float32]:
    """Return a map, float32 (height, width), of depth at places (N, 2), x and y as shares of its sides.

    Of several in one pixel the nearest stands: it hides the others. What is outside, or no distance, is left out.
    """
    with np.errstate(invalid="ignore"):
        good = ((places >= 0) & (places < 1)).all(axis=1) & (depth_m > 0) & np.isfinite(depth_m)
    column, row = np.floor(places[good] * (width, height)).astype(np.intp).T
    laid = np.full((height, width), np.inf, np.float32)
    np.minimum.at(laid, (row, column), depth_m[good].astype(np.float32))
    laid[np.isinf(laid)] = np.nan
    return laid


def shrink_sparse(known: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Return a map with holes, float32 (h, w), NaN where unknown, at (height, width) where it is larger."""
    size = min(len(known), height), min(known.shape[1], width)
    if known.shape == size:
        return known
    row, column = np.nonzero(np.isfinite(known))
    places = np.column_stack([column + 0.5, row + 0.5]) / known.shape[::-1]
    return lay_samples(places, known[row, column], *size)


def fill_holes(known: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a map, float32 (h, w), with NaN replaced by the mean of the four nearest known pixels.

    Of pixels that are as near the upper count, then those to the left. One at least must be known.
    """
    there, filled = np.isfinite(known), known.copy()
    for top in range(0, known.shape[0], _TILE):
        for left in range(0, known.shape[1], _TILE):
            tile = slice(top, top + _TILE), slice(left, left + _TILE)
            holes = np.argwhere(~there[tile]) + np.array((top, left))
            if len(holes):
                filled[tuple(holes.T)] = _average_nearest(known, there, holes)
    return filled


def _average_nearest(
    known: NDArray[np.float32], there: NDArray[np.bool_], holes: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Return the mean of the known pixels that are nearest to each of a few places (N, 2), rows and columns."""
    around, whole = _TILE // 2, max(known.shape)
    while True:
        (top, left), (bottom, right) = (
            np.maximum(holes.min(axis=0) - around, 0),
            holes.max(axis=0) + around + 1,
        )
        places = np.argwhere(there[top:bottom, left:right]) + np.array((top, left))
        count = min(NEIGHBOURS, len(places))
        if around >= whole or count == NEIGHBOURS:
            middle = holes.mean(axis=0)
            away, reach = np.hypot(*(places - middle).T), np.hypot(*(holes - middle).T).max()
            # what is nearest to a hole is no farther than what is to the middle, and twice the way there
            places = places[away <= np.partition(away, count - 1)[count - 1] + 2 * reach + 1e-6]
            squares = ((holes[:, None] - places) ** 2).sum(axis=-1)
            keys = np.sort(np.partition(squares * len(places) + np.arange(len(places)), count - 1)[:, :count])
            if around >= whole or keys[:, -1].max() // len(places) <= around**2:  # none is nearer outside
                nearest = places[np.sort(keys % len(places))]
                return known[nearest[..., 0], nearest[..., 1]].mean(axis=1)
        around *= 2
