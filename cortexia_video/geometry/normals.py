"""Which way the surface of every pixel faces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthKind, DepthMap
from cortexia_video.errors import InputError
from cortexia_video.geometry.depth_edges import choose_max_gap, find_gaps, keep_known
from cortexia_video.geometry.sphere import distance_to_normals, unproject_sphere
from cortexia_video.pinhole import Pinhole, require_size, unproject

_SHORTEST = 1e-6  # of a mixed normal that says which way: between opposite ones there is none
SHAPED: tuple[DepthKind, ...] = ("metric", "scale_invariant")  # kinds whose points are true, up to a factor


def depth_to_normals(
    depth: NDArray[np.float32], camera: Pinhole, *, max_gap: float | None = None
) -> NDArray[np.float32]:
    """Return the unit normal of every pixel, towards the camera.

    On a plane n . P = 1, with P = z (x, y, 1) a point, 1 / z = n . (x, y, 1): inverse depth is linear in the
    image. Its slopes are n's first two parts, what they leave of it at a pixel is the third. So planes are
    exact at any slant, and -n faces the camera, since n . P is above 0.

    Args:
        depth: float32 (H, W) along the axis, in any unit; what is not finite and above 0 is unknown.
        camera: Of these pixels.
        max_gap: No difference is taken over a larger gap, as a share of depth; by default `choose_max_gap`.

    Returns:
        float32 (H, W, 3), in OpenCV's axes: x right, y down, z forward. NaN where depth is unknown, and where
        no neighbour on the same surface is known across, or none down.

    Raises:
        InputError: The camera is for another size.

    Example:
        >>> wall = np.full((48, 64), 2, np.float32)
        >>> cx.geometry.depth_to_normals(wall, cx.Pinhole.centred(50, 64, 48))[20, 20, 2].tolist()
        -1.0
    """
    require_size(depth, camera)
    depth = keep_known(depth)
    across, down = find_gaps(depth, choose_max_gap(camera.fx) if max_gap is None else max_gap)
    nearness = np.reciprocal(depth)
    rays_across, rays_down = camera.find_rays()
    normals = np.empty((*depth.shape, 3), np.float32)
    x, y, z = np.moveaxis(normals, -1, 0)
    np.multiply(_slope(nearness, across), camera.fx, out=x)
    np.multiply(_slope(nearness.T, down.T).T, camera.fy, out=y)
    np.subtract(nearness, rays_across * x + rays_down * y, out=z)
    normals /= -np.sqrt(np.einsum("hwc,hwc->hw", normals, normals))[..., None]
    return normals


def find_normals(depth: DepthMap) -> NDArray[np.float32]:
    """Return the normals of a depth map, float32 (H, W, 3): the model's own, else those that follow from depth.

    Raises `InputError` where none can follow: depth has an unknown shift, or no focal length.
    """
    if depth.normals is not None:
        return depth.normals
    camera = _require_shape(depth, "normals")
    return depth_to_normals(depth.values, camera) if camera else distance_to_normals(depth.values)


def find_points(depth: DepthMap) -> NDArray[np.float32]:
    """Return the points of a depth map, float32 (H, W, 3), in its unit; unknown is NaN.

    Raises what `find_normals` does.
    """
    camera = _require_shape(depth, "points")
    return unproject(depth.values, camera) if camera else unproject_sphere(depth.values)


def stretch_normals(normals: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Return normals float32 (H, W, 3) of a surface whose depth along the axis is `factor` times what it was.

    So is that of metres for another focal length: x and y of each point stay.
    """
    return to_units(normals * np.array([1, 1, 1 / factor], np.float32))


def to_units(normals: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return normals (H, W, 3), which are used up, as long as 1; NaN where too short to say which way."""
    length = np.sqrt(np.einsum("hwc,hwc->hw", normals, normals))
    length[length < _SHORTEST] = np.nan
    return np.divide(normals, length[..., None], out=normals)


def _require_shape(depth: DepthMap, what: str) -> Pinhole | None:
    """Return the camera of depth that has a shape in space, None of a panorama. what: it is needed for."""
    if depth.kind not in SHAPED:
        raise InputError(f"{what} need depth that is metric or scale_invariant, not {depth.kind}")
    if depth.camera is None and depth.projection == "perspective":
        raise InputError(f"{what} need a focal length, and none is known: give `f_px` or `intrinsics`")
    return depth.camera


def _slope(values: NDArray[np.float32], gaps: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the step to the next column: the mean of those to both sides, or of one where that is all."""
    steps = np.full((values.shape[0], values.shape[1] + 1), np.nan, np.float32)
    steps[:, 1:-1] = np.where(gaps, np.float32(np.nan), np.diff(values, axis=1))
    before, after = steps[:, :-1], steps[:, 1:]
    return np.where(np.isnan(before), after, np.where(np.isnan(after), before, (before + after) / 2))
