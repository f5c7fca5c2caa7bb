"""Depth at other pixels, none of it invented between near and far.

Three ways. `nearest`: every value is that of one known pixel. `edge_aware`: between four known pixels of one
surface it is interpolated, exactly on planes; at edges, holes and borders it is nearest. Sparse samples: each
known pixel goes to the pixel that its centre falls into; where several meet, the nearest hides the others.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cortexia_video.augmentation.geometry import Motion, Row, View
from cortexia_video.depth_map import DepthMap, larger_is_nearer
from cortexia_video.errors import InputError
from cortexia_video.geometry.depth_edges import choose_max_gap
from cortexia_video.rgbd_sample import RGBDSample

Sampling = Literal["nearest", "edge_aware"]

_SURFACE_GAP = 0.05  # of one surface, where no focal length says how steep it can be
_NAN = np.float32(np.nan)
_SAME_AXIS = (0, 0, 1)


def require_sampling(sampling: str) -> None:
    """Raise `InputError` for a way of sampling that there is not."""
    if sampling not in get_args(Sampling):
        raise InputError(
            f"depth cannot be sampled by {sampling!r}: use one of {', '.join(get_args(Sampling))}"
        )


def look_along(values: NDArray[np.float32], motion: Motion) -> NDArray[np.float32]:
    """Return depth along the axis of the turned camera, at the pixels of the source: float32 (H, W).

    The point z (x, y, 1) is turn (x, y, 1)^T z in the new axes: its depth is z times the last row's product.
    What comes to lie behind the camera is unknown.
    """
    if motion.turn[2] == _SAME_AXIS:
        return values
    factor = _dot_rays(motion.turn[2], motion.source)
    if factor.ravel()[[0, motion.source.width - 1, -motion.source.width, -1]].min() > 0:  # it is linear
        return np.multiply(values, factor, out=factor)
    return np.where(factor > 0, values * factor, _NAN)


def interpolate_surfaces(
    nearest: NDArray[np.float32], depth: DepthMap, motion: Motion
) -> NDArray[np.float32]:
    """Replace the nearest depth, float32 of the target, by interpolated depth where it is on one surface.

    depth: of the source. Inverse depth is mixed: on a plane it is linear in the image. The four are one
    surface where they differ by no more than `geometry.choose_max_gap`, as a share. Kinds with an unknown
    shift have no shares: what is nearest is given back.
    """
    if depth.kind not in ("metric", "scale_invariant"):
        return nearest
    # where the target's pixels come from, across and down, each float64 of the target's size
    target = motion.target
    centres = np.stack(np.meshgrid(np.arange(target.width) + 0.5, np.arange(target.height) + 0.5), axis=-1)
    u, v = np.moveaxis(motion.inverse().move(centres), -1, 0)
    left, top = np.floor(u - 0.5), np.floor(v - 0.5)
    corners = [
        depth.values[_clip(top + down, motion.source.height), _clip(left + across, motion.source.width)]
        for down in (0, 1)
        for across in (0, 1)
    ]
    near, far = np.min(corners, axis=0), np.max(corners, axis=0)
    camera = motion.source.camera
    max_gap = choose_max_gap(camera.fx) if camera else _SURFACE_GAP
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        surface = (near > 0) & (far - near <= max_gap * near) & ~np.isnan(nearest)
        across, down = np.clip(u - 0.5 - left, 0, 1), np.clip(v - 0.5 - top, 0, 1)
        one, two, three, four = (1 / each for each in corners)
        above, below = one + (two - one) * across, three + (four - three) * across
        mixed = np.clip(1 / (above + (below - above) * down), near, far)
    if motion.turn[2] != _SAME_AXIS:  # from along the old axis to along the new one
        mixed = mixed / _dot_rays(motion.inverse().turn[2], motion.target)
    return np.where(surface, mixed, nearest).astype(np.float32)


def scatter(
    sample: RGBDSample, motion: Motion, mask: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """Move known pixels one by one: depth float32 of the target's size, and the mask, which they take along.

    mask: that of the target, for the pixels that none comes to.
    """
    seen = look_along(sample.depth.values, motion)
    known = np.isfinite(seen)
    if sample.depth.kind in ("metric", "scale_invariant"):
        known &= seen > 0
    rows, columns = np.nonzero(known)
    moved = np.floor(motion.move(np.stack([columns, rows], axis=-1) + 0.5))
    target = motion.target
    inside = ((moved >= 0) & (moved < [target.width, target.height])).all(axis=-1)
    rows, columns, (across, down) = rows[inside], columns[inside], moved[inside].astype(np.intp).T
    values = seen[rows, columns]
    order = np.argsort(values if larger_is_nearer(sample.depth.kind) else -values, kind="stable")
    depth = np.full((target.height, target.width), _NAN)
    depth[down[order], across[order]] = values[order]  # the nearest is written last
    if mask is not None and sample.mask is not None:
        mask = mask.copy()
        mask[down[order], across[order]] = sample.mask[rows[order], columns[order]]
    return depth, mask


def _clip(indices: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    return np.clip(indices, 0, count - 1).astype(np.intp)


def _dot_rays(row: Row, view: View) -> NDArray[np.float32]:
    """Return the product of a row with (x, y, 1) of every pixel: float32 (H, W)."""
    assert view.camera
    across, down = view.camera.find_rays()
    x, y, z = np.array(row, np.float32)
    return x * across + (y * down + z)
