"""Depth as pictures for people: colours, rows, contact sheets, a window."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, TypedDict, Unpack, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from cortexia_video.color_tables import find_color_table, find_unknown_color
from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import MissingExtraError
from cortexia_video.resampling import resize_image

Depth = DepthMap | Image.Image | ArrayLike
Picture = Image.Image | ArrayLike
Spacing = Literal["linear", "inverse"]
_Values = NDArray[np.floating | np.integer]

_LEVELS = 256  # colours of a table; the level after them is that of unknown pixels
_ALL = (0.0, 100.0)
_STRIP_PIXELS = 1 << 15  # worked on at once, so that what is in between stays in the cache
_GAP = 8  # pixels between the pictures of a sheet


class Coloring(TypedDict, total=False):
    """The options of `colored_depthmap`, for functions that pass them on."""

    d_min: float | None
    d_max: float | None
    cmap: str
    percentiles: tuple[float, float]
    spacing: Spacing
    unknown: float | None


class Range(NamedTuple):
    """What the first and the last colour stand for."""

    d_min: float
    d_max: float


def colored_depthmap(
    depth: Depth,
    d_min: float | None = None,
    d_max: float | None = None,
    cmap: str = "viridis",
    *,
    percentiles: tuple[float, float] = _ALL,
    spacing: Spacing = "linear",
    unknown: float | None = None,
) -> NDArray[np.uint8]:
    """Colour depth from the first colour at `d_min` to the last at `d_max`: uint8 (H, W, 3) RGB.

    depth: numbers (H, W) of any type, a `DepthMap`, or a picture of Pillow's of mode F, I, I;16 or L.
    d_min, d_max: values beyond them have the colours of the ends. Where not given, they are the `percentiles`
    of the known values, by default the smallest and the largest.
    cmap: viridis, magma, turbo, Spectral or grey; viridis_r and so on run the other way.
    spacing: `linear`, or `inverse`: even in 1 / depth, so that what is near has more of the colours.
    unknown: a value that stands for unknown pixels, such as 0. NaN and infinity always do, and what is not
    above 0 where the spacing is inverse. These pixels are grey, or violet where the table is grey.

    A map of one value is all of the first colour. Raises ValueError for what is no depth, for a name that is
    not known and for limits that are no range.
    """
    values = _take_depth(depth)
    limits = find_range(values, d_min, d_max, percentiles=percentiles, spacing=spacing, unknown=unknown)
    colors = np.vstack([find_color_table(cmap), find_unknown_color(cmap)])
    picture = np.empty((values.size, 3), np.uint8)
    flat = values.reshape(-1)
    for start in range(0, values.size, _STRIP_PIXELS):
        part = slice(start, start + _STRIP_PIXELS)
        levels = _find_levels(flat[part], limits, spacing, unknown)
        np.take(colors, levels, axis=0, out=picture[part], mode="clip")  # "raise" would copy `out` first
    return picture.reshape(*values.shape, 3)


def find_range(
    depth: Depth,
    d_min: float | None = None,
    d_max: float | None = None,
    *,
    percentiles: tuple[float, float] = _ALL,
    spacing: Spacing = "linear",
    unknown: float | None = None,
) -> Range:
    """Say what the first and the last colour stand for where `colored_depthmap` is given the same.

    It is 1 to 1 where no pixel is known. Raises ValueError as that does.
    """
    if spacing not in get_args(Spacing):
        raise ValueError(f"unknown spacing {spacing!r}: use one of {', '.join(get_args(Spacing))}")
    if d_min is None or d_max is None:
        low, high = _measure(_take_depth(depth), percentiles, spacing, unknown)
        d_min = min(low, high if d_max is None else d_max) if d_min is None else d_min
        d_max = max(high, d_min) if d_max is None else d_max
    if not -math.inf < d_min <= d_max < math.inf:
        raise ValueError(f"d_min {d_min} to d_max {d_max} is no range: swap them, and use cmap='viridis_r'")
    if spacing == "inverse" and d_min <= 0:
        raise ValueError(f"d_min must be above 0 where the spacing is inverse, not {d_min}")
    return Range(float(d_min), float(d_max))


def show_depthmap(depth: Depth, **coloring: Unpack[Coloring]) -> None:
    """Show coloured depth in a window of matplotlib's until that is closed.

    Raises MissingExtraError without matplotlib, else what `colored_depthmap` raises.
    """
    picture = colored_depthmap(depth, **coloring)
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise MissingExtraError("showing a window needs: pip install 'cortexia-video[plot]'") from error
    figure, axes = pyplot.subplots()
    try:
        axes.imshow(picture)
        axes.axis("off")
        pyplot.show(block=True)  # else an interactive session would close it at once
    finally:
        pyplot.close(figure)


def merge_into_row(image: Picture, depth: Depth, **coloring: Unpack[Coloring]) -> NDArray[np.uint8]:
    """Put a picture and its coloured depth side by side: uint8 (H, 2 W, 3), as large as the picture.

    image: uint8 (H, W, 3) RGB, also (H, W) or with alpha, which is left out, or a picture of Pillow's.
    depth, coloring: as `colored_depthmap` takes them. Depth of another size is sampled: no value is mixed.
    """
    picture = _take_picture(image)
    height, width = picture.shape[:2]
    return np.hstack([picture, _sample(colored_depthmap(depth, **coloring), height, width)])


def collage(
    samples: Iterable[tuple[Picture, Depth]],
    *,
    columns: int = 2,
    height: int = 240,
    **coloring: Unpack[Coloring],
) -> NDArray[np.uint8]:
    """Lay out pictures beside their depth on one sheet, `columns` pairs a row, each `height` pixels high.

    samples: pairs as `merge_into_row` takes them, of any sizes. Gives uint8 (H', W', 3), white between.
    """
    pairs = [_make_pair(image, depth, height, coloring) for image, depth in samples]
    if not pairs:
        raise ValueError("collage needs at least one sample")
    lines = [pairs[start : start + columns] for start in range(0, len(pairs), columns)]
    width = max(sum(pair.shape[1] + _GAP for pair in line) for line in lines)
    sheet = np.full((len(lines) * (height + _GAP) + _GAP, width + _GAP, 3), 255, np.uint8)
    for number, line in enumerate(lines):
        top, left = _GAP + number * (height + _GAP), _GAP
        for pair in line:
            sheet[top : top + height, left : left + pair.shape[1]] = pair
            left += pair.shape[1] + _GAP
    return sheet


def _make_pair(image: Picture, depth: Depth, height: int, coloring: Coloring) -> NDArray[np.uint8]:
    """Give a picture `height` pixels high, averaged, and its coloured depth, sampled, as large."""
    picture = _take_picture(image)
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    colors = _sample(colored_depthmap(depth, **coloring), height, width)
    return np.hstack([resize_image(picture, height, width), colors])


def _take_depth(depth: Depth) -> _Values:
    """Give the numbers (H, W) of whatever stands for depth."""
    if isinstance(depth, DepthMap):
        return depth.values
    if isinstance(depth, Image.Image) and depth.mode not in ("F", "I", "L") and depth.mode[:4] != "I;16":
        raise ValueError(
            f"depth must be one number a pixel, not a picture of mode {depth.mode}: give F or I;16"
        )
    values = np.asarray(depth)
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):
        values = values.squeeze(axis=2 if values.shape[2] == 1 else 0)
    if values.ndim != 2 or values.dtype.kind not in "iuf" or not values.size:
        raise ValueError(f"depth must be numbers (H, W), not {values.dtype} {values.shape}: give one channel")
    return values


def _take_picture(image: Picture) -> NDArray[np.uint8]:
    """Give uint8 (H, W, 3) of whatever stands for a picture."""
    pixels = np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else image)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
        raise ValueError(
            f"a picture must be uint8 (H, W, 3) RGB, not {pixels.dtype} {pixels.shape}: convert it"
        )
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else np.ascontiguousarray(pixels[..., :3])


def _sample(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Give the pixels nearest to the centres of (height, width): no colours that were not there."""
    if picture.shape[:2] == (height, width):
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.NEAREST))


def _find_known(values: _Values, spacing: Spacing, unknown: float | None) -> NDArray[np.bool_]:
    known = np.isfinite(values)
    if unknown is not None:
        known &= values != unknown
    if spacing == "inverse":
        known &= values > 0
    return known


def _measure(
    values: _Values, percentiles: Sequence[float], spacing: Spacing, unknown: float | None
) -> tuple[float, float]:
    """Give two percentiles of the known values."""
    low, high = (float(each.reduce(values, axis=None)) for each in (np.fmin, np.fmax))  # past NaN
    all_known = unknown is None and spacing == "linear" and math.isfinite(low) and math.isfinite(high)
    known = values if all_known else values[_find_known(values, spacing, unknown)]
    if not known.size:
        return 1.0, 1.0
    if tuple(percentiles) != _ALL:
        low, high = np.nanpercentile(known, percentiles)
    elif not all_known:
        low, high = known.min(), known.max()
    return float(low), float(high)


def _find_levels(values: _Values, limits: Range, spacing: Spacing, unknown: float | None) -> NDArray[np.intp]:
    """Give the number of each value's colour: of 256 equal steps, as matplotlib's; or the unknown's."""
    known = _find_known(values, spacing, unknown)
    start, end = (1 / each for each in limits) if spacing == "inverse" else limits
    dtype = np.result_type(values, np.float32)
    with np.errstate(all="ignore"):  # what is unknown may be anything
        places = np.divide(1, values, dtype=dtype) if spacing == "inverse" else values
        steps = np.subtract(places, start, dtype=dtype)
        steps *= _LEVELS / (end - start) if end != start else 0.0
        np.clip(steps, 0, _LEVELS - 1, out=steps)
    if not known.all():
        np.fmax(steps, np.multiply(~known, _LEVELS, dtype=dtype), out=steps)  # also past NaN
    return steps.astype(np.intp)
