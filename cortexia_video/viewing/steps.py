"""`Step`: what the viewer shows of one image, in sizes for a screen: the image, and depth of each column."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthKind, DepthMap
from cortexia_video.errors import Failure, InputError
from cortexia_video.frame import Frame
from cortexia_video.images.resampling import pick_points, resize_image
from cortexia_video.jobs.point_clouds import CloudMaker
from cortexia_video.pinhole import Pinhole, to_fov_deg
from cortexia_video.point_clouds.cloud import UNITS, PointCloud, require_unit
from cortexia_video.viz.colormap import Range, Spacing, colored_depthmap, find_range

LONGEST = 1024  # pixels of the longer side of what is shown
_LONGEST_CLOUD = 512  # of the grid of points
_QUALITY = 90
_SHOWN = (2.0, 98.0)  # percentiles that the colours end at
_ENDS = ((np.min, np.inf), (np.max, -np.inf))
_MEANINGS: dict[DepthKind, str] = {
    "metric": "metres",
    "scale_invariant": "depth up to a factor, not metres",
    "affine_invariant": "depth up to a factor and a shift, not metres",
    "disparity": "inverse depth up to a factor and a shift (larger is nearer), not metres",
}


@dataclass(frozen=True, slots=True, eq=False)
class MapView:
    """Depth as it is shown.

    Attributes:
        values: float32 (h, w), picked from the map, NaN where unknown.
        kind: Of the values.
        limits: The values at which the colors end.
        colors: uint8 (h, w, 3) RGB, bright where near, grey where unknown.
        camera: Of these pixels, where it is known.
        points: In metres, or up to a factor.
        lines: What a person should know.
        alignment: By what relative depth became metres, if it did.
    """

    values: NDArray[np.float32]
    kind: DepthKind
    limits: Range
    colors: NDArray[np.uint8]
    camera: Pinhole | None
    points: PointCloud | None
    lines: list[str] = field(default_factory=list)
    alignment: str | None = None

    @property
    def is_metric(self) -> bool:
        return self.kind == "metric"


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One step of the time line.

    Attributes:
        key: Of the image.
        image: uint8 (h, w, 3) RGB, or None.
        maps: Of each column, or the failure in its place.
        problem: What is wrong with the image, if anything.
        time_s: Of a frame of a clip, or of a dataset that knows it.
        clip: The key of that clip.
    """

    key: str
    image: NDArray[np.uint8] | None
    maps: list[MapView | Failure]
    problem: str | None = None
    time_s: float | None = None
    clip: str = ""

    @property
    def problems(self) -> list[str]:
        """What cannot be shown, for people."""
        said = [each.reason for each in self.maps if isinstance(each, Failure)]
        return [*([self.problem] if self.problem else []), *said]


def fit(height: int, width: int) -> tuple[int, int]:
    """Return the size in which an image of (height, width) is shown."""
    return _fit(height, width, LONGEST)


def _fit(height: int, width: int, longest: int) -> tuple[int, int]:
    factor = min(1.0, longest / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def shrink_image(frame: Frame) -> NDArray[np.uint8]:
    """Return an image in the size in which it is shown; averaged where it shrinks."""
    return resize_image(frame.image, *fit(*frame.image.shape[:2]))


def make_map_view(
    depth: DepthMap,
    frame: Frame | None,
    camera: Pinhole | None,
    maker: CloudMaker,
    limits: Range | None = None,
) -> MapView:
    """Return a depth map as it is shown.

    frame: its image. camera: of the whole image, where more is known than a focal length. limits: of the
    colours of metres, where another map of the image has chosen them.
    """
    depth = depth if depth.kind in UNITS else maker.anchor(depth)
    values = pick_points(depth.values, *fit(*depth.values.shape))
    spacing: Spacing = "inverse" if depth.kind in UNITS else "linear"
    shown = (
        limits
        if limits and depth.kind == "metric"
        else find_range(values, percentiles=_SHOWN, spacing=spacing)
    )
    colors = colored_depthmap(
        values, *shown, "viridis" if depth.larger_is_nearer else "viridis_r", spacing=spacing
    )
    lines = [*_describe(depth, values, shown)]
    seen = frame or Frame("", colors, full_size=depth.full_size or depth.values.shape)
    points = pinhole = None
    try:
        require_unit(depth.kind)
        pinhole = maker.find_camera(depth, seen, camera)
        points = maker.make_points(_thin(depth), seen, pinhole)
    except InputError as error:
        lines.append(f"no points: {error}")
    if pinhole:
        source = f" ({depth.f_source})" if depth.f_source else ""
        fov_deg = to_fov_deg(pinhole.fx, pinhole.width)
        lines.append(f"focal length {pinhole.fx:.5g} px{source}, {fov_deg:.3g} degrees wide")
        pinhole = pinhole.resized(values.shape[1], values.shape[0])
    alignment = depth.alignment.by if depth.alignment else None
    return MapView(values, depth.kind, shown, colors, pinhole, points, lines, alignment)


def _describe(depth: DepthMap, values: NDArray[np.float32], shown: Range) -> Iterator[str]:
    """Yield what a person should know of a map; values: as it is shown."""
    unit = " m" if depth.kind == "metric" else ""
    known = np.isfinite(depth.values)
    by = f", from relative depth by {depth.alignment.by}" if depth.alignment else ""
    yield _MEANINGS[depth.kind] + by
    if known.any():
        low, high = (float(end(depth.values, where=known, initial=first)) for end, first in _ENDS)
        yield f"{low:.4g} to {high:.4g}{unit}, colors {shown.d_min:.4g} to {shown.d_max:.4g}{unit}"
    yield f"{1 - known.mean():.1%} unknown"
    if values.shape != depth.values.shape:
        (height, width), (rows, columns) = values.shape, depth.values.shape
        yield f"shown at {width} x {height} of {columns} x {rows}: every value is one of the map's"


def _thin(depth: DepthMap) -> DepthMap:
    """Return a map of few enough points."""
    height, width = depth.values.shape
    size = _fit(height, width, _LONGEST_CLOUD)
    return replace(
        depth, values=pick_points(depth.values, *size), full_size=depth.full_size or (height, width)
    )


def encode_jpeg(image: NDArray[np.uint8], colorsubsampling: Literal["420", "444"] = "420") -> bytes:
    """Return an image as a JPEG, quality 90."""
    return simplejpeg.encode_jpeg(
        np.ascontiguousarray(image), quality=_QUALITY, colorsubsampling=colorsubsampling
    )
