"""Where in an image depth is wrong: near or far, up or down, beside edges or on surfaces."""

from __future__ import annotations

import numpy as np

from cortexia_video.evaluation.metrics.pixel_sums import Array, Floats, Mask, take
from cortexia_video.geometry.depth_edges import find_edges, keep_known

_GAP = 0.05  # of the nearer of two neighbours: from here on there is an edge between them
_BESIDE = 3  # pixels from an edge
REGIONS = ("near", "middle", "far", "upper rows", "middle rows", "lower rows", "beside edges", "off edges")


def split_errors(
    depth_m: Floats, reference_m: Array, mask: Mask, ends: tuple[float, float] = (np.nan, np.nan)
) -> list[float]:
    """Average |d - r| / r over each of `REGIONS`; NaN where a region has no pixel.

    depth_m: (N,), clipped, at the pixels of the mask; where it is NaN the end that is farther from the
    reference counts. reference_m: (H, W). near, middle, far: thirds of the
    measured pixels by the reference's depth; rows: thirds of the image; edges: of the reference.
    """
    places = np.flatnonzero(mask)
    known_m = take(reference_m, places)
    errors = np.abs(fill_unknown(depth_m, known_m, ends) - known_m) / known_m
    nearer, farther = np.percentile(known_m, (100 / 3, 200 / 3))
    height, width = mask.shape
    rows = np.searchsorted(places, [-(-height * third // 3) * width for third in (1, 2)])
    beside = find_pixels_beside_edges(reference_m, mask).reshape(-1).take(places)
    chosen = (
        errors[known_m <= nearer],
        errors[(known_m > nearer) & (known_m <= farther)],
        errors[known_m > farther],
        *np.split(errors, rows),
        errors[beside],
        errors[~beside],
    )
    return [float(each.mean()) if each.size else float("nan") for each in chosen]


def fill_unknown(depth_m: Floats, reference_m: Array, ends: tuple[float, float]) -> Floats:
    """Return depth whose unknown pixels have the end that is farther from the reference."""
    low, high = ends
    farther = np.where(np.abs(low - reference_m) > np.abs(high - reference_m), low, high)
    return np.where(np.isfinite(depth_m), depth_m, farther)


def find_pixels_beside_edges(reference_m: Array, mask: Mask) -> Mask:
    """Return which pixels have an edge of the reference at most 3 rows and columns away, bool (H, W)."""
    beside = find_edges(keep_known(np.where(mask, reference_m, np.nan).astype(np.float32)), _GAP)
    for _ in range(_BESIDE):
        before = beside.copy()
        beside[1:] |= before[:-1]
        beside[:-1] |= before[1:]
        before = beside.copy()
        beside[:, 1:] |= before[:, :-1]
        beside[:, :-1] |= before[:, 1:]
    return beside
