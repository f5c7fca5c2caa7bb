"""`colored_depthmap`: a colour for each depth, from a table of 256."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal, NamedTuple, TypedDict, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from cortexia_video.depth_map import DepthMap
from cortexia_video.viz.color_tables import find_color_table, find_unknown_color

Depth = DepthMap | Image.Image | ArrayLike
Spacing = Literal["linear", "inverse"]
_Values = NDArray[np.floating | np.integer]

_LEVELS = 256  # colours of a table; the level after them is that of unknown pixels
_ALL = (0.0, 100.0)
_STRIP_PIXELS = 1 << 19  # even. Fewer stay nearer in the cache, more let threads wait less for each other


class Coloring(TypedDict, total=False):
    """The options of `colored_depthmap`, which says what each does, for functions that pass them on.

    Attributes:
        d_min: The value of the first colour.
        d_max: The value of the last colour.
        cmap: Name of a color map.
        percentiles: Of the known values, where a limit is not given.
        spacing: How values are spread over the colours.
        unknown: A value that stands for unknown pixels.
    """

    d_min: float | None
    d_max: float | None
    cmap: str
    percentiles: tuple[float, float]
    spacing: Spacing
    unknown: float | None


class Range(NamedTuple):
    """What the first and the last colour stand for.

    Attributes:
        d_min: The value of the first.
        d_max: The value of the last.
    """

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
    """Colour depth from the first colour at `d_min` to the last at `d_max`.

    A map of one value is all of the first colour. Unknown pixels are grey, or violet where the table is grey.

    Args:
        depth: Values (H, W) of any type, a `DepthMap`, or an image of Pillow's of mode F, I, I;16 or L.
        d_min: Values below have the first colour; by default the lower of the `percentiles`.
        d_max: Values above have the last colour; by default the upper of the `percentiles`.
        cmap: viridis, magma, turbo, Spectral or grey; viridis_r and so on run the other way.
        percentiles: Of the known values: by default the smallest and the largest.
        spacing: `linear`, or `inverse`: even in 1 / depth, so that what is near has more of the colours.
        unknown: A value that stands for unknown pixels, such as 0. NaN and infinity always do, and what is
            not above 0 where the spacing is inverse.

    Returns:
        uint8 (H, W, 3) RGB.

    Raises:
        ValueError: The depth is none, the name is not known, or the limits are no range.

    Example:
        >>> cx.colored_depthmap(np.array([[1.0, 2.0, np.nan]]))[0].tolist()
        [[68, 1, 84], [253, 231, 37], [128, 128, 128]]
    """
    values = _take_depth(depth)
    limits = find_range(values, d_min, d_max, percentiles=percentiles, spacing=spacing, unknown=unknown)
    image = np.empty(((values.size + 1) // 2, 2 * 3), np.uint8)
    painter = _Painter(values.dtype, limits, spacing, unknown, cmap)
    for number, part in enumerate(_cut(values)):
        painter.paint(part, image[number * _STRIP_PIXELS // 2 :])
    return image.reshape(-1, 3)[: values.size].reshape(*values.shape, 3)


def find_range(
    depth: Depth,
    d_min: float | None = None,
    d_max: float | None = None,
    *,
    percentiles: tuple[float, float] = _ALL,
    spacing: Spacing = "linear",
    unknown: float | None = None,
) -> Range:
    """Return what the first and the last colour stand for where `colored_depthmap` is given the same.

    Args:
        depth: As of `colored_depthmap`; so are those below.
        d_min: Returned, where it is given.
        d_max: Returned, where it is given.
        percentiles: Of the known values.
        spacing: linear or inverse.
        unknown: A value that stands for unknown pixels.

    Returns:
        The range; 1 to 1 where no pixel is known.

    Raises:
        ValueError: As of `colored_depthmap`.

    Example:
        >>> cx.viz.find_range(np.array([[1.0, 3.0]]))
        Range(d_min=1.0, d_max=3.0)
    """
    if spacing not in get_args(Spacing):
        raise ValueError(f"unknown spacing {spacing!r}: use one of {', '.join(get_args(Spacing))}")
    if d_min is None or d_max is None:
        values = _take_depth(depth)
        ends = [(np.fmin.reduce(part), np.fmax.reduce(part)) for part in _cut(values)]  # past NaN
        lows, highs = zip(*ends, strict=True)
        low, high = float(np.fmin.reduce(lows)), float(np.fmax.reduce(highs))
        all_known = unknown is None and spacing == "linear" and math.isfinite(low) and math.isfinite(high)
        known = values if all_known else values[_find_known(values, spacing, unknown)]
        if not known.size:
            low, high = 1.0, 1.0
        elif tuple(percentiles) != _ALL:
            low, high = map(float, np.nanpercentile(known, percentiles, method="nearest"))
        elif not all_known:
            low, high = float(known.min()), float(known.max())
        d_min = min(low, high if d_max is None else d_max) if d_min is None else d_min
        d_max = max(high, d_min) if d_max is None else d_max
    if not -math.inf < d_min <= d_max < math.inf:
        raise ValueError(f"d_min {d_min} to d_max {d_max} is no range: swap them, and use cmap='viridis_r'")
    if spacing == "inverse" and d_min <= 0:
        raise ValueError(f"d_min must be above 0 where the spacing is inverse, got {d_min}")
    return Range(float(d_min), float(d_max))


def _take_depth(depth: Depth) -> _Values:
    """Return the numbers (H, W) of whatever stands for depth."""
    if isinstance(depth, DepthMap):
        return depth.values
    if isinstance(depth, Image.Image) and depth.mode not in ("F", "I", "L") and depth.mode[:4] != "I;16":
        raise ValueError(
            f"depth must be one number a pixel, not an image of mode {depth.mode}: give F or I;16"
        )
    if isinstance(depth, str | os.PathLike):
        raise TypeError(f"depth must be numbers (H, W), got the path {depth}: read it by `read_depth`")
    values = np.asarray(depth)
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):
        values = values.squeeze(axis=2 if values.shape[2] == 1 else 0)
    if values.ndim != 2 or values.dtype.kind not in "iuf" or not values.size:
        raise ValueError(f"depth must be numbers (H, W), not {values.dtype} {values.shape}: give one channel")
    return values


def _cut(values: _Values) -> Iterator[_Values]:
    """Yield the values strip after strip."""
    flat = values.reshape(-1)
    return (flat[start : start + _STRIP_PIXELS] for start in range(0, flat.size, _STRIP_PIXELS))


def _find_known(values: _Values, spacing: Spacing, unknown: float | None) -> NDArray[np.bool_]:
    known = np.isfinite(values)
    if unknown is not None:
        known &= values != unknown
    if spacing == "inverse":
        known &= values > 0
    return known


class _Painter:
    """Colours strips of values, which it works on in the same memory again and again.

    Colours are looked up for two pixels at once, which takes half the time. Where all are known their levels
    are bytes, and two of them are one number as they lie there.
    """

    def __init__(
        self, dtype: np.dtype[Any], limits: Range, spacing: Spacing, unknown: float | None, cmap: str
    ) -> None:
        self._start, end = (1 / each for each in limits) if spacing == "inverse" else limits
        self._spacing: Spacing = spacing
        self._unknown = unknown
        self._known_pairs, self._pairs = _pair_colors(cmap)
        self._steps = np.zeros(_STRIP_PIXELS, np.result_type(dtype, np.float32))
        self._levels = np.zeros(_STRIP_PIXELS, np.uint8)
        scale = _LEVELS / (end - self._start) if end != self._start else 0.0
        largest = float(np.finfo(self._steps.dtype).max)
        self._scale = min(max(scale, -largest), largest)  # by infinity, 0 would become what is no number

    def paint(self, values: _Values, pairs: NDArray[np.uint8]) -> None:
        """Colour up to _STRIP_PIXELS values into uint8 (half as many, 6), and one more if they are odd."""
        known = _find_known(values, self._spacing, self._unknown)
        steps = self._steps[: values.size]  # each value's place in 256 equal ones: the top is in the last
        with np.errstate(all="ignore"):  # what is unknown may be anything
            if self._spacing == "inverse":
                values = np.divide(1, values, out=steps, dtype=steps.dtype)
            np.subtract(values, self._start, out=steps, dtype=steps.dtype)
            np.multiply(steps, self._scale, out=steps)
            np.clip(steps if self._scale else 0, 0, _LEVELS - 1, out=steps)  # a range of one value is level 0
        even = 2 * ((values.size + 1) // 2)
        if known.all():
            self._levels[: values.size] = steps
            table, numbers = self._known_pairs, self._levels[:even].view(np.uint16).astype(np.intp)
        else:
            np.fmax(steps, np.multiply(~known, _LEVELS, dtype=steps.dtype), out=steps)  # also past NaN
            levels = self._steps[:even].astype(np.intp)
            table, numbers = self._pairs, levels[::2] * (_LEVELS + 1) + levels[1::2]
        # by mode="raise" numpy would make a copy of `out` first
        np.take(table, numbers, axis=0, out=pairs[: even // 2], mode="clip")


@cache
def _pair_colors(cmap: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the colours of two levels: of known ones by their two bytes, and of any by 257 * first + second.

    Both are uint8 (n, 6).
    """
    colors = np.vstack([find_color_table(cmap), find_unknown_color(cmap)])
    in_bytes = np.arange(_LEVELS**2, dtype=np.uint16).view(np.uint8).reshape(-1, 2).T
    in_numbers = np.divmod(np.arange(len(colors) ** 2), len(colors))
    known, any_two = (np.hstack([colors[first], colors[second]]) for first, second in (in_bytes, in_numbers))
    return known, any_two
