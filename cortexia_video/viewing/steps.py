"""`Step`: what the viewer shows of one image, in sizes for a screen: the image, and depth of each column."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthKind, DepthMap
from cortexia_video.errors import Failure, InputError, attempt
from cortexia_video.evaluation.error_map import ErrorMap
from cortexia_video.frame import Frame
from cortexia_video.images.resampling import pick_points, resize_image
from cortexia_video.jobs.point_clouds import CloudMaker
from cortexia_video.pinhole import Pinhole, to_fov_deg
from cortexia_video.point_clouds.cloud import UNITS, PointCloud, require_unit
from cortexia_video.viz.color_tables import find_color_table, find_unknown_color
from cortexia_video.viz.colormap import Range, Spacing, find_range

LONGEST = 1024  # pixels of the longer side of what is shown
_SAMPLED = 256  # of a frame whose colors hold for its clip
_LONGEST_CLOUD = 384  # of the grid of points
_SHOWN = (2.0, 98.0)  # percentiles that the colours end at
DEPTH_COLORS, ERROR_COLORS = (  # uint8 (256, 3) RGB: the first is that of what is unknown
    np.vstack([find_unknown_color(name)[None], find_color_table(name)[1:]])
    for name in ("viridis", "Spectral")
)
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
        levels: uint8 (h, w), numbers of colors: 1 to 255, the last is nearest; 0 is unknown.
        camera: Of these pixels, where it is known.
        points: In metres, or up to a factor.
        lines: What a person should know.
        no_points: Why there are none, if so.
        alignment: By what relative depth became metres, if it did.
        error: float32 (h, w), depth / ground truth - 1, NaN where nothing is measured; or None.
        error_levels: uint8 (h, w), the same for the error, from half to twice the distance.
        normals: uint8 (h, w, 3), as colors: red to the right, green up, blue to the camera; black is unknown; or None.
        confidence: float32 (h, w), larger is surer, in the model's own unit; or None.
    """

    values: NDArray[np.float32]
    kind: DepthKind
    limits: Range
    levels: NDArray[np.uint8]
    camera: Pinhole | None
    points: PointCloud | None
    lines: list[str] = field(default_factory=list)
    no_points: str | None = None
    alignment: str | None = None
    error: NDArray[np.float32] | None = None
    error_levels: NDArray[np.uint8] | None = None
    normals: NDArray[np.uint8] | None = None
    confidence: NDArray[np.float32] | None = None

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

    @property
    def no_points(self) -> str | None:
        """Why no map has points, where there are maps."""
        shown = [each for each in self.maps if isinstance(each, MapView)]
        return shown[0].no_points if shown and not any(each.points for each in shown) else None


def fit(height: int, width: int) -> tuple[int, int]:
    """Return the size in which an image of (height, width) is shown."""
    return _fit(height, width, LONGEST)


def _fit(height: int, width: int, longest: int) -> tuple[int, int]:
    factor = min(1.0, longest / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def shrink_image(frame: Frame) -> NDArray[np.uint8]:
    """Return an image in the size in which it is shown; averaged where it shrinks."""
    return resize_image(frame.image, *fit(*frame.image.shape[:2]))


class ClipLimits(NamedTuple):
    """Where colors end in all frames of a clip whose depth is of this kind."""

    kind: DepthKind
    limits: Range


def find_clip_limits(frames: Sequence[DepthMap]) -> ClipLimits | None:
    """Return where the colors of some frames end, of all of them together."""
    if not frames:
        return None
    height, width = frames[0].values.shape
    size = _fit(height, width, _SAMPLED)
    values = np.vstack([pick_points(each.values, *size) for each in frames])
    return ClipLimits(frames[0].kind, find_range(values, percentiles=_SHOWN, spacing=_space(frames[0].kind)))


def _space(kind: DepthKind) -> Spacing:
    return "inverse" if kind in UNITS else "linear"


def _choose_limits(
    depth: DepthMap, values: NDArray[np.float32], limits: Range | None, held: ClipLimits | None
) -> Range:
    """Return where the colors of a map end: where others do that are to be compared, else by its own values."""
    if depth.kind == "metric" and limits:
        return limits
    if depth.alignment and depth.alignment.by == "near_far":
        return Range(depth.alignment.near_m, depth.alignment.far_m)
    if held and held.kind == depth.kind:
        return held.limits
    return find_range(values, percentiles=_SHOWN, spacing=_space(depth.kind))


def make_map_view(
    depth: DepthMap,
    frame: Frame | None,
    camera: Pinhole | None,
    maker: CloudMaker,
    limits: Range | None = None,
    held: ClipLimits | None = None,
) -> MapView:
    """Return a depth map as it is shown.

    frame: its image. camera: of the whole image, where more is known than a focal length. limits: of the
    colors of metres, where another map of the image has chosen them. held: of the clip that it is a frame of.
    """
    depth = depth if depth.kind in UNITS else maker.anchor(depth)
    values = pick_points(depth.values, *fit(*depth.values.shape))
    shown = _choose_limits(depth, values, limits, held)
    levels = _find_levels(values, shown, _space(depth.kind), reverse=not depth.larger_is_nearer)
    lines = [*_describe(depth, values, shown)]
    seen = frame or Frame("", DEPTH_COLORS[levels], full_size=depth.full_size or depth.values.shape)
    points = pinhole = no_points = None
    try:
        require_unit(depth.kind)
        around = depth.projection == "equirectangular"
        pinhole = None if around else maker.find_camera(depth, seen, camera)
        height, width = depth.values.shape
        picked = pick_points(depth.known_values, *_fit(height, width, _LONGEST_CLOUD))  # few enough points
        thin = replace(depth.without_maps(), values=picked, full_size=depth.full_size or (height, width))
        points = maker.make_points(thin, seen, pinhole)
    except InputError as error:
        no_points = str(error)
        lines.append(f"no points: {no_points}")
    if pinhole:
        source = f" ({depth.f_source})" if depth.f_source else ""
        fov_deg = to_fov_deg(pinhole.fx, pinhole.width)
        lines.append(f"focal length {pinhole.fx:.5g} px{source}, {fov_deg:.3g} degrees wide")
        pinhole = pinhole.resized(values.shape[1], values.shape[0])
    size, normals = values.shape, None
    if depth.normals is not None:  # in OpenCV's axes, in the colors that people know them by
        shares = 0.5 + pick_points(depth.normals, *size) * np.array([0.5, -0.5, -0.5], np.float32)
        normals = np.where(np.isfinite(shares), np.round(255 * shares), 0).astype(np.uint8)
    return MapView(
        values,
        depth.kind,
        shown,
        levels,
        pinhole,
        points,
        lines,
        no_points,
        _name_alignment(depth),
        normals=normals,
        confidence=None if depth.confidence is None else pick_points(depth.confidence, *size),
    )


def add_error(shown: MapView, find: Callable[[], ErrorMap]) -> MapView:
    """Return a map with where it is wrong, or with why that is not known."""
    found = attempt("", "decode", find)
    if isinstance(found, Failure):
        return replace(shown, lines=[*shown.lines, f"no error: {found.reason}"])
    error = pick_points(found.relative, *fit(*found.relative.shape))
    with np.errstate(divide="ignore"):
        levels = _find_levels(np.log2(error + 1), Range(-1.0, 1.0), "linear")
    line = f"AbsRel {found.abs_rel:.3f} against the ground truth; fit: {found.fit}"
    return replace(shown, lines=[*shown.lines, line], error=error, error_levels=levels)


def _find_levels(
    values: NDArray[np.float32], limits: Range, spacing: Spacing, *, reverse: bool = False
) -> NDArray[np.uint8]:
    """Return the numbers of colors, 1 to 255, for values from the lower limit to the upper; 0 is unknown."""
    first, last = limits
    with np.errstate(divide="ignore", invalid="ignore"):
        if spacing == "inverse":
            values, first, last = np.reciprocal(values), 1 / first, 1 / last
        share = np.clip((values - first) / (last - first), 0, 1) if last != first else values - first
        levels = np.round(254 * (1 - share if reverse else share)) + 1
    return np.where(np.isfinite(levels), levels, 0).astype(np.uint8)


def _describe(depth: DepthMap, values: NDArray[np.float32], shown: Range) -> Iterator[str]:
    """Yield what a person should know of a map; values: as it is shown."""
    unit = " m" if depth.kind == "metric" else ""
    known = np.isfinite(depth.values)
    by = _name_alignment(depth)
    yield _MEANINGS[depth.kind] + (f", from relative depth by {by}" if by else "")
    if depth.projection == "equirectangular":
        yield "a panorama: distances along the rays of its pixels"
    if known.any():
        low, high = (float(end(depth.values, where=known, initial=first)) for end, first in _ENDS)
        yield f"{low:.4g} to {high:.4g}{unit}, colors {shown.d_min:.4g} to {shown.d_max:.4g}{unit}"
    yield f"{1 - known.mean():.1%} unknown"
    if depth.valid is not None:
        yield f"{1 - depth.valid.mean():.1%} outside of its mask"
    if depth.normals is not None:
        back = "to the camera" if depth.projection == "perspective" else "backwards"
        yield f"normals: red to the right, green up, blue {back}"
    if values.shape != depth.values.shape:
        (height, width), (rows, columns) = values.shape, depth.values.shape
        yield f"shown at {width} x {height} of {columns} x {rows}: every value is one of the map's"


def _name_alignment(depth: DepthMap) -> str | None:
    by = depth.alignment.by if depth.alignment else None
    return "near and far" if by == "near_far" else by and by.replace("_", " ")
