"""Where depth jumps from one pixel to the next: between a thing and what is behind it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_WIDEST = 0.05
_STEEPEST = 25.0  # the tangent of 87.7 degrees


def choose_max_gap(f_px: float) -> float:
    """Return the largest difference between neighbours that one surface is taken to have.

    5 %, or where that is less, that of a surface seen at 87.7 degrees to its normal, whose depth differs by
    tan(87.7 degrees) / f_px. So an edge is found, too, that was spread over several pixels when the map was
    enlarged.

    Args:
        f_px: Focal length in pixels of the depth map.

    Returns:
        A share of the depth.

    Example:
        >>> cx.geometry.choose_max_gap(500), cx.geometry.choose_max_gap(2000)
        (0.05, 0.0125)
    """
    return min(_WIDEST, _STEEPEST / f_px)


def keep_known(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the depth with NaN for all that is no distance: infinite, or not above 0."""
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(np.nan))


def find_gaps(depth: NDArray[np.float32], max_gap: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return between which neighbours depth jumps: bool (H, W - 1) across and (H - 1, W) down.

    depth: float32 (H, W), above 0, NaN where unknown: no gap is beside an unknown pixel. max_gap: the largest
    difference that is none, as a share of the nearer of the two.
    """
    return is_gap(depth[:, :-1], depth[:, 1:], max_gap), is_gap(depth[:-1], depth[1:], max_gap)


def find_edges(depth: NDArray[np.float32], max_gap: float) -> NDArray[np.bool_]:
    """Return which pixels have a gap to one of their four neighbours.

    Sensors, networks and interpolation put flying pixels there: neither on the thing nor behind it.

    Args:
        depth: float32 (H, W), in any unit; NaN where unknown.
        max_gap: As a share of depth, see `choose_max_gap`.

    Returns:
        bool (H, W).

    Example:
        >>> cx.geometry.find_edges(np.array([[1, 1, 2, 2]], np.float32), 0.05).tolist()
        [[False, True, True, False]]
    """
    across, down = find_gaps(depth, max_gap)
    edges = np.zeros(depth.shape, bool)
    edges[:, :-1] |= across
    edges[:, 1:] |= across
    edges[:-1] |= down
    edges[1:] |= down
    return edges


def is_gap(one: NDArray[np.float32], other: NDArray[np.float32], max_gap: float) -> NDArray[np.bool_]:
    """Return where the difference of two depths, as `find_gaps` takes them, is a gap."""
    return np.abs(other - one) > max_gap * np.minimum(one, other)
