"""`PointCloud`, and `point_cloud`, which makes one of a depth map and its image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthKind, DepthMap, require_depth
from cortexia_video.errors import InputError, format_count
from cortexia_video.frame import Frame
from cortexia_video.geometry.depth_edges import choose_max_gap, find_edges, keep_known
from cortexia_video.geometry.normals import depth_to_normals
from cortexia_video.geometry.sphere import (
    choose_sphere_gap,
    distance_to_normals,
    find_sphere_edges,
    unproject_sphere,
)
from cortexia_video.html.notebook import SIDE, encode_png, write_figure
from cortexia_video.images.decode import ImageLike, to_frame
from cortexia_video.images.resampling import resize_image
from cortexia_video.pinhole import Pinhole, has_same_shape, is_plausible, to_f_px, unproject
from cortexia_video.storage.paths import PathLike

_DRAWN = 200_000  # points, for an image of `SIDE`
Unit = Literal["metre", "unknown"]
UNITS: dict[DepthKind, Unit] = {"metric": "metre", "scale_invariant": "unknown"}


@dataclass(frozen=True, slots=True, eq=False)
class PointCloud:
    """Coloured points in the camera's axes as OpenCV has them: x right, y down, z forward.

    Attributes:
        points: float32 (N, 3).
        colors: uint8 (N, 3) sRGB.
        normals: float32 (N, 3) of unit length, or None.
        unit: `metre`, or `unknown` where the points are true up to a factor.

    Example:
        >>> cx.point_clouds.PointCloud(np.zeros((1, 3), np.float32), np.zeros((1, 3), np.uint8), None, "metre")
        PointCloud(1 point, metres)
    """

    points: NDArray[np.float32]
    colors: NDArray[np.uint8]
    normals: NDArray[np.float32] | None
    unit: Unit

    def __repr__(self) -> str:
        unit = "metres" if self.unit == "metre" else "unit unknown"
        normals = "" if self.normals is None else ", normals"
        return f"PointCloud({format_count(len(self.points), 'point')}, {unit}{normals})"

    def _repr_png_(self) -> bytes:
        return encode_png(_draw(self))

    def _repr_html_(self) -> str:
        return write_figure(self, _draw(self))


def point_cloud(
    depth: DepthMap,
    image: Frame | ImageLike | PathLike,
    *,
    f_px: float | None = None,
    fov_deg: float | None = None,
    camera: Pinhole | None = None,
    max_gap: float | None = None,
    normals: bool = False,
) -> PointCloud:
    """Return a point for each pixel of a depth map that is known, valid and at no edge, coloured by the image.

    Pixel (row, column) with depth z becomes z ((column + 0.5 - cx) / fx, (row + 0.5 - cy) / fy, 1); of a panorama, at
    distance r, r times the direction at which it looks (`geometry.sphere`).

    Args:
        depth: `metric`, or `scale_invariant`: then the points are true up to a factor. It is never resampled.
        image: uint8 (H, W, 3) RGB, a `Frame`, an image of Pillow's or a path, of the depth's size or another: its
            colours are resampled to the depth's grid.
        f_px: Focal length in pixels of `image`; by default `depth.f_px`.
        fov_deg: Its horizontal field of view instead.
        camera: The camera of the image, in any size, instead. Without one the axis meets the image's middle.
        max_gap: A pixel is left out where its depth differs by more than this share from a neighbour's, since
            between a thing and its background depth is neither; by default `geometry.choose_max_gap`.
        normals: Also which way the surface faces: `depth.normals`, else as follows from depth
            (`geometry.depth_to_normals`); to the camera where nothing tells.

    Returns:
        Points, colours, and normals where they were asked for.

    Raises:
        InputError: The kind of depth is another, there is no focal length or more than one, sizes do not
            belong together, or no point is left.

    Example:
        >>> depth = cx.DepthMap(np.full((48, 64), 2, np.float32), "metric", f_px=50.0)
        >>> cx.point_cloud(depth, np.zeros((48, 64, 3), np.uint8)).points.shape
        (3072, 3)
    """
    require_depth(depth)
    unit = require_unit(depth.kind)
    image = to_frame(image).image
    _require_shape("image", image.shape[:2], depth.full_size or depth.values.shape)
    values, pinhole = keep_known(depth.known_values), None
    if depth.projection == "equirectangular":
        if any(each is not None for each in (f_px, fov_deg, camera)):
            raise InputError("a panorama has no focal length: leave out `f_px`, `fov_deg` and `intrinsics`")
        gap = choose_sphere_gap(values.shape[1]) if max_gap is None else max_gap
        edges = find_sphere_edges(values, gap)
    else:
        pinhole = _choose_camera(depth, image, f_px, fov_deg, camera).resized(*values.shape[::-1])
        gap = choose_max_gap(pinhole.fx) if max_gap is None else max_gap
        edges = find_edges(values, gap)
    kept = ~(np.isnan(values) | edges)
    if not kept.any():
        raise InputError(f"no point is left: each pixel is unknown or has a gap of over {gap:.2g} beside it")
    points = (unproject(values, pinhole) if pinhole else unproject_sphere(values))[kept]
    colors = resize_image(image, *values.shape)[kept]
    facing = None
    if normals:
        seen = depth.normals
        if seen is None:
            follow = depth_to_normals(values, pinhole, max_gap=gap) if pinhole else None
            seen = distance_to_normals(values, max_gap=gap) if follow is None else follow
        facing = seen[kept]
        lost = np.isnan(facing[:, 0])  # points without a normal face the camera
        towards = -points[lost]
        facing[lost] = towards / np.linalg.norm(towards, axis=1, keepdims=True)
    return PointCloud(points, colors, facing, unit)


def _draw(cloud: PointCloud) -> NDArray[np.uint8]:
    """Draw some of the points as the camera saw them, the nearest on top: uint8 (h, w, 3) RGB for a notebook."""
    step = max(1, len(cloud.points) // _DRAWN)
    points, colors = cloud.points[::step], cloud.colors[::step]
    ahead = points[:, 2] > 0
    order = np.argsort(-points[ahead, 2])
    seen, colors = (points[ahead, :2] / points[ahead, 2:])[order], colors[ahead][order]
    if not len(seen):
        return np.full((1, 1, 3), 255, np.uint8)
    low, high = np.percentile(seen, (0.5, 99.5), axis=0)
    scale = SIDE / max(*(high - low), 1e-6)
    width, height = np.maximum(1, np.rint((high - low) * scale)).astype(int)
    across, down = ((seen - low) * scale).astype(int).T
    inside = (across >= 0) & (across < width) & (down >= 0) & (down < height)
    image = np.full((height, width, 3), 255, np.uint8)
    image[down[inside], across[inside]] = colors[inside]
    return image


NO_SHAPE = (
    "depth of kind {} is shifted by an unknown amount and has no shape in space: give `near_m` and `far_m` with the "
    "focal length, align it to what you know (cortexia align), or use a model of metric depth"
)


def require_unit(kind: DepthKind) -> Unit:
    """Return the unit of points made of this kind of depth; `InputError` for kinds without a shape."""
    if kind not in UNITS:
        raise InputError(NO_SHAPE.format(kind))
    return UNITS[kind]


def _choose_camera(
    depth: DepthMap,
    image: NDArray[np.uint8],
    f_px: float | None,
    fov_deg: float | None,
    camera: Pinhole | None,
) -> Pinhole:
    """Return the camera of the image, of whatever size, from the one thing that tells it."""
    if sum(each is not None for each in (f_px, fov_deg, camera)) > 1:
        raise InputError(
            "the focal length is given twice: give one of `f_px`, `fov_deg` and `intrinsics` (a camera)"
        )
    height, width = depth.full_size or depth.values.shape
    if camera is not None:
        _require_shape("camera", (camera.height, camera.width), (height, width))
    elif fov_deg is not None:
        camera = Pinhole.centred(to_f_px(require_angle(fov_deg), width), width, height)
    elif f_px is not None:
        camera = Pinhole.centred(f_px, image.shape[1], image.shape[0])
    elif depth.f_px is not None:
        camera = Pinhole.centred(depth.f_px, width, height)
    else:
        raise InputError("no focal length is known: give `f_px` (in pixels), `fov_deg` or `intrinsics`")
    if not is_plausible(camera.fx, camera.width, camera.height):
        size = f"{camera.width} x {camera.height}"
        raise InputError(
            f"no lens has a focal length of {camera.fx:g} pixels for {size}: give pixels, not mm"
        )
    return camera


def _require_shape(what: str, size: tuple[int, ...], image: tuple[int, int]) -> None:
    if not has_same_shape((size[1], size[0]), (image[1], image[0])):
        raise InputError(
            f"the {what} is {size[1]} x {size[0]}, the depth is of an image of {image[1]} x {image[0]}: "
            "give what belongs together, or where a network squeezed it the image's size (full_size)"
        )


def require_angle(fov_deg: float) -> float:
    """Return a field of view; `InputError` for what is none."""
    if not 0 < fov_deg < 180:
        raise InputError(f"`fov_deg` must be above 0 and below 180 degrees, got {fov_deg:g}")
    return fov_deg
