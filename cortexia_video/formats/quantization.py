"""Depth as whole numbers of 16 bits, 0 = unknown: by log steps that are the same for every image, or linear."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import format_count
from cortexia_video.formats.metadata import Metadata

LAST = 65535
INTERVALS = 65534  # from 1 to 65535
RELATIVE = 2e-4
"""The largest error of log steps, as a share of the value."""
_NEAR, _FAR = 1e-5, 1e6  # of log steps: 10 micrometres to 1000 km; half a step is 1.94e-4 of the value
_POSITIVE = ("metric", "scale_invariant")
_EXACT = (1e-30, 1e30)  # steps a unit, between which float32 is good enough
_AT_ONCE = 1 << 17  # pixels: as float32 they stay in the cache; with fewer, threads wait for each other


def choose_steps(depth: DepthMap, scale: float | None = None, offset: float = 0.0) -> dict[str, float]:
    """Return what numbers of 16 bits stand for, as in `metadata`.

    scale: what one step is in the numbers that the depth comes from, such as 0.001 for a sensor's millimetres:
    they are kept. offset: what 0 would stand for, of frames of one clip. Else metres, and depth up to a factor,
    have log steps from 1e-5 to 1e6, in every file the same; all other kinds, whose numbers are those of one image
    anyway, equal steps from its smallest value to its largest.
    """
    if scale is not None:
        return {"scale": scale, "offset": offset, "unknown": 0}
    if depth.kind in _POSITIVE:
        return {"near": _NEAR, "far": _FAR, "unknown": 0}
    low, high, _ = _find_range(depth.values)
    step = (high - low) / INTERVALS if low <= high else 1.0
    return {"scale": step, "offset": low - step if low <= high else 0.0, "unknown": 0}


class Quantizer:
    """A depth map as numbers. What has no number, such as infinite values, is written as unknown, 0.

    values: float32 (H, W), NaN where unknown. steps: what the numbers stand for, as in `metadata`.
    first: that of the smallest value, where the steps have an offset. turn: bits by which numbers are turned,
    to the left.
    """

    def __init__(
        self, values: NDArray[np.float32], steps: Metadata, *, first: int = 1, turn: int = 0
    ) -> None:
        self.values = values
        self._turn = turn
        self._is_log = "near" in steps
        dtype: type[np.floating] = np.float32
        if self._is_log:
            self._per_unit = INTERVALS / math.log(steps["far"] / steps["near"])
            self._start, self._first = 0.0, 1 - math.log(steps["near"]) * self._per_unit
        else:
            first = first if steps["offset"] or not steps["scale"] else 0
            self._per_unit = 1 / steps["scale"] if steps["scale"] else 0.0
            self._start, self._first = steps["offset"] + first * steps["scale"], first
            if not _EXACT[0] < self._per_unit < _EXACT[1]:
                dtype = np.float64
        self._buffer = np.empty((0, 0), dtype)

    def fill(self, rows: slice, out: NDArray[np.uint16]) -> None:
        """Write the numbers of some rows into `out` (rows, W), of either byte order."""
        values = self.values[rows]
        if self._buffer.shape != values.shape:
            self._buffer = np.empty(values.shape, self._buffer.dtype)
        steps = self._buffer
        with np.errstate(invalid="ignore", divide="ignore"):  # a NaN may be of the signalling sort
            if self._is_log:
                np.log(values, out=steps)
            else:
                np.subtract(values, self._start, out=steps, dtype=steps.dtype)
            steps *= self._per_unit
            steps += self._first + 0.5
            if not (steps.min() >= 1 and steps.max() < LAST + 1):  # NaN is not
                steps[~((steps >= 1) & (steps < LAST + 1))] = 0
        if not self._turn:
            out[...] = steps
            return
        numbers = steps.astype(np.uint16)
        out[...] = (numbers << self._turn) | (numbers >> (16 - self._turn))


def find_loss(
    depth: DepthMap, steps: Metadata, *, bound: float = RELATIVE, first: float = 1, last: int = LAST
) -> str | None:
    """Return what a depth map loses as numbers, or None.

    bound: the largest error, as a share of the value, that is none where one step is given by `scale`.
    first, last: the numbers of values.
    """
    values = depth.values
    low, high, infinite = _find_range(values)
    losses = [*filter(None, [_say_infinite(infinite)])]
    if "near" in steps:
        size = math.log(steps["far"] / steps["near"]) / INTERVALS
        ends = [steps["near"] * math.exp((number - 1) * size) for number in (first - 0.5, last + 0.5)]
    else:
        ends = [steps["offset"] + steps["scale"] * number for number in (first - 0.5, last + 0.5)]
    if low < ends[0] or high >= ends[1]:
        with np.errstate(invalid="ignore"):
            count = int(np.count_nonzero(((values < ends[0]) | (values >= ends[1])) & np.isfinite(values)))
        losses.append(
            f"{format_count(count, 'value is', 'values are')} outside of the {ends[0]:.4g} to {ends[1]:.6g} that its "
            f"numbers hold, and unknown there (it has {low:g} to {high:g})"
        )
    if "near" not in steps:
        coarse, scale, offset = 0, steps["scale"], steps["offset"]
        for rows in split_rows(*values.shape):
            with np.errstate(invalid="ignore"):
                wide = values[rows].astype(np.float64)
                error = np.abs(np.rint((wide - offset) / scale) * scale + offset - wide)
                inside = (wide >= ends[0]) & (wide < ends[1])
                coarse += int(np.count_nonzero((error > bound * np.abs(wide)) & inside))
        if coarse:
            losses.append(
                f"its steps of {steps['scale']:g} are too coarse for {format_count(coarse, 'value')}: off by more "
                f"than {bound:.2%}"
            )
    return "; ".join(losses) or None


def _say_infinite(count: int) -> str | None:
    said = format_count(count, "infinite value becomes", "infinite values become")
    return f"{said} unknown" if count else None


def lost(depth: DepthMap, scale: float | None = None, offset: float = 0.0) -> str | None:
    """Return what a depth map loses by `choose_steps` beyond what `docs/formats.md` states, or None."""
    steps = choose_steps(depth, scale, offset)
    if depth.kind in _POSITIVE or scale is not None:
        return find_loss(depth, steps, bound=math.inf if offset else RELATIVE)
    infinite = _find_range(depth.values)[2]
    return _say_infinite(infinite)


def to_values(numbers: NDArray[Any], metadata: Metadata) -> NDArray[np.float32]:
    """Return the values that numbers of any type stand for: float32, NaN where unknown.

    Floats without a scale and without unknown values come back as they are, where they are float32 in the
    same memory. Raises `ValueError` for a scale that is none.
    """
    if numbers.dtype.kind == "u" and numbers.dtype.itemsize <= 2:
        table = _convert(np.arange(256**numbers.dtype.itemsize, dtype=numbers.dtype), metadata)
        values = np.empty(numbers.shape, np.float32)
        for rows in split_rows(*numbers.shape):
            np.take(table, numbers[rows], out=values[rows], mode="clip")
        return values
    if metadata.get("scale") is None and "near" not in metadata and not _list_unknown(metadata):
        values = _convert(numbers, metadata)
        return np.require(values, requirements="W") if "unknown" in metadata else values
    values = np.empty(numbers.shape, np.float32)
    for rows in split_rows(*numbers.shape):  # in float64 the whole would take many times the memory
        values[rows] = _convert(numbers[rows], metadata)
    return values


def _convert(numbers: NDArray[Any], metadata: Metadata) -> NDArray[np.float32]:
    each = _list_unknown(metadata)
    unknown = np.isin(numbers, np.array(each, np.result_type(numbers.dtype, np.float32))) if each else None
    values: NDArray[Any]
    if "near" in metadata:
        near, far = (_read_number(metadata, name) for name in ("near", "far"))
        if not 0 < near <= far:
            raise ValueError(f"near is {near:g} and far {far:g}: they must be above 0, far not below near")
        values = near * (far / near) ** ((numbers.astype(np.float64) - 1) / INTERVALS)
    elif metadata.get("scale") is not None:
        wide = numbers.astype(np.float32) if numbers.dtype == np.float16 else numbers
        values = wide * _read_number(metadata, "scale") + _read_number(metadata, "offset", 0.0)
    else:
        values = numbers
    with np.errstate(over="ignore"):  # what is too large for float32 is infinite, which is refused later
        result = values.astype(np.float32, copy=unknown is not None and values is numbers)
    if unknown is not None:
        result[unknown] = np.nan
    return result


def _list_unknown(metadata: Metadata) -> list[float]:
    """Return what stands for unknown; NaN stands for itself, and is left out."""
    said = metadata.get("unknown")
    given = (
        said if isinstance(said, Sequence) and not isinstance(said, str) else [] if said is None else [said]
    )
    return [number for number in map(float, given) if not math.isnan(number)]


def _read_number(metadata: Metadata, name: str, default: float | None = None) -> float:
    value = metadata.get(name, default)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise ValueError(f"{name} is {value!r}: it must be a number")


def _find_range(values: NDArray[np.float32]) -> tuple[float, float, int]:
    """Return the lowest and the highest finite value (of none, NaN), and how many are infinite."""
    low, high = (float(each.reduce(values, axis=None)) for each in (np.fmin, np.fmax))
    if not math.isinf(low) and not math.isinf(high):
        return low, high, 0
    infinite = np.isinf(values)
    known = np.where(infinite, np.float32(np.nan), values)
    low, high = (float(each.reduce(known, axis=None)) for each in (np.fmin, np.fmax))
    return low, high, int(np.count_nonzero(infinite))


def split_rows(height: int, width: int) -> Iterator[slice]:
    """Yield the rows of a map in strips that stay in the processor's cache."""
    rows = max(1, _AT_ONCE // width)
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))
