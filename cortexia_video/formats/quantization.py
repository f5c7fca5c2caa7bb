"""Depth as whole numbers of 16 bits, 0 = unknown: millimetres where they fit, else log-spaced or linear."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthMap
from cortexia_video.formats.metadata import Metadata

LAST = 65535
INTERVALS = 65534  # from 1 to 65535
_RELATIVE = 2e-4  # the largest error of log steps
_WIDEST = math.exp(25)  # of far / near: half a log step is then less than that
_NARROWEST = 1.1  # below it float32 is too coarse for log steps; equal ones are smaller still
_MILLIMETRES = (0.999, 65535.01)  # what rounds to 1..65535
_MILLIMETRE = 0.001
_POSITIVE = ("metric", "scale_invariant")
_EXACT = (1e-30, 1e30)  # steps a unit, between which float32 is good enough
_AT_ONCE = 1 << 17  # pixels: as float32 they stay in the cache; with fewer, threads wait for each other


class Quantizer:
    """A depth map as numbers. metadata: what they stand for, in the words of `metadata`.

    Millimetres for metres that fit; else for metres and depth up to a factor steps of equal ratio, as long
    as all is above 0 and far / near is at most e^25; else steps of equal size from the smallest value to the
    largest. Infinite values become unknown.
    """

    def __init__(self, depth: DepthMap) -> None:
        self.values, low, high, self._all_known = _find_range(depth.values)
        self._buffer = np.empty((0, 0), np.float32)
        self._log = False
        self._start, self._per_unit, self._first = 0.0, 1000.0, 0
        self.metadata: dict[str, float] = {"scale": _MILLIMETRE, "offset": 0.0, "unknown": 0}
        if depth.kind == "metric" and not (1000 * low < _MILLIMETRES[0] or 1000 * high > _MILLIMETRES[1]):
            return
        self._start, self._first = low, 1
        if depth.kind in _POSITIVE and low > 0 and _NARROWEST <= high / low <= _WIDEST:
            self._log = True
            self._per_unit = INTERVALS / math.log(high / low)
            self.metadata = {"near": low, "far": high, "unknown": 0}
        elif low <= high:
            step = (high - low) / INTERVALS
            self._per_unit = 1 / step if step else 0.0
            if not _EXACT[0] < self._per_unit < _EXACT[1]:
                self._buffer = np.empty((0, 0), np.float64)
            self.metadata = {"scale": step, "offset": low - step, "unknown": 0}

    def fill(self, rows: slice, out: NDArray[np.uint16]) -> None:
        """Write the numbers of some rows into `out` (rows, W), of either byte order."""
        values = self.values[rows]
        if self._buffer.shape != values.shape:
            self._buffer = np.empty(values.shape, self._buffer.dtype)
        steps = self._buffer
        with np.errstate(invalid="ignore"):  # a NaN may be of the signalling sort
            if self._log:
                np.divide(values, self._start, out=steps)
                np.log(steps, out=steps)
                steps *= self._per_unit
            elif self._start:
                np.subtract(values, self._start, out=steps, dtype=steps.dtype)
                steps *= self._per_unit
            else:
                np.multiply(values, self._per_unit, out=steps, dtype=steps.dtype)
            steps += self._first + 0.5
            if not self._all_known:
                np.fmax(steps, 0, out=steps)  # NaN becomes 0
            out[...] = steps


def lost(depth: DepthMap) -> str | None:
    """Return what a depth map loses as numbers beyond half a step of the sizes in `docs/formats.md`."""
    steps = Quantizer(depth)
    losses = [] if steps.values is depth.values else ["infinite values become unknown"]
    if depth.kind in _POSITIVE and "near" not in steps.metadata and steps.metadata["scale"] != _MILLIMETRE:
        error, least = steps.metadata["scale"] / 2, steps.metadata["scale"] + steps.metadata["offset"]
        if error > _RELATIVE * least:
            losses.append(
                f"its range is too wide for steps of equal ratio: values are kept to within {error:g} only"
            )
    return "; ".join(losses) or None


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
    if metadata.get("scale") is None and not {"near", "unknown"} & metadata.keys():
        return _convert(numbers, metadata)
    values = np.empty(numbers.shape, np.float32)
    for rows in split_rows(*numbers.shape):  # in float64 the whole would take many times the memory
        values[rows] = _convert(numbers[rows], metadata)
    return values


def _convert(numbers: NDArray[Any], metadata: Metadata) -> NDArray[np.float32]:
    said = metadata.get("unknown")
    given = (
        said if isinstance(said, Sequence) and not isinstance(said, str) else [] if said is None else [said]
    )
    each = [number for number in map(float, given) if not math.isnan(number)]  # NaN stands for itself
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


def _read_number(metadata: Metadata, name: str, default: float | None = None) -> float:
    value = metadata.get(name, default)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise ValueError(f"{name} is {value!r}: it must be a number")


def _find_range(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, float, bool]:
    """Return values without infinite ones, lowest and highest (of none, NaN), and whether all are known."""
    low, high = float(values.min()), float(values.max())
    all_known = not math.isnan(low)
    if not all_known:
        low, high = (float(each.reduce(values, axis=None)) for each in (np.fmin, np.fmax))
    if math.isinf(low) or math.isinf(high):
        return _find_range(np.where(np.isinf(values), np.float32(np.nan), values))
    return values, low, high, all_known


def split_rows(height: int, width: int) -> Iterator[slice]:
    """Yield the rows of a map in strips that stay in the processor's cache."""
    rows = max(1, _AT_ONCE // width)
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))
