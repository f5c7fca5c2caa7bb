"""Small charts as SVG: counts over one axis, and bars with numbers. They say in words what they show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from cortexia_video.errors import format_count
from cortexia_video.html.markup import Content, element
from cortexia_video.html.wording import format_number, format_value

_WIDTH = 400  # units of the drawing; a phone shows about as many pixels
_BINS = 40
_LABEL, _BARS, _GAP, _TICKS = 20, 44, 14, 12  # heights
_MOST_TICKS = 7
_CHARACTER = 8  # width, with what must be free beside a label
_SMALLEST = 1e-30  # difference that an axis can show; relative to its numbers 1e-9
_STEPS = (1.0, 2.0, 5.0)
_FINE_STEPS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)


class Series(NamedTuple):
    """What one row of a chart counts. values: float (n,), finite. note: said at the right."""

    label: str
    values: NDArray[np.float64]
    note: str


class Bar(NamedTuple):
    """label and note stand above the bar, as long as its value says."""

    label: str
    value: float
    note: str


class _Axis(NamedTuple):
    low: float
    high: float
    logarithmic: bool

    def place(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where values lie, 0 to 1; on a logarithmic axis what is not above 0 lies at 0."""
        low, high, at = self.low, self.high, values
        if self.logarithmic:
            low, high, at = math.log(low), math.log(high), np.log(np.maximum(values, self.low))
        return ((at - low) / (high - low)).clip(0, 1)

    def value(self, place: float) -> float:
        if self.logarithmic:
            return self.low * (self.high / self.low) ** place
        return self.low + place * (self.high - self.low)

    def ticks(self) -> list[float]:
        """Return round numbers at equal distances, on a logarithmic axis about equal ones if possible."""
        if self.logarithmic:
            decades = math.log10(self.high / self.low)
            steps = _FINE_STEPS if decades < 1 else _STEPS if decades < 2 else (1.0,)
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            numbers = (step * 10.0**power for power in powers for step in steps)
            ticks = [number for number in numbers if self.low <= number <= self.high]
            ticks = ticks[:: max(1, math.ceil(len(ticks) / _MOST_TICKS))]
            if len(ticks) > 2:
                return ticks
        least = (self.high - self.low) / (_MOST_TICKS - 1)
        power = 10.0 ** math.floor(math.log10(least))
        step = next(each * power for each in (*_STEPS, 10.0) if each * power >= least)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [step * number for number in range(first, last + 1)]


def draw_histograms(
    title: str, rows: Sequence[Series], *, unit: str, logarithmic: bool, counted: str = "image"
) -> Element:
    """Draw how often which values occur: a row of columns for each series, over one axis.

    counted: what there is one of for each value.
    """
    # axis that all values lie on
    values = np.concatenate([row.values for row in rows])
    positive = values[values > 0]
    if logarithmic and positive.size:
        low, high = float(positive.min()), float(positive.max())
        axis = _Axis(low, high, True) if high > 1.05 * low else _Axis(low / 1.1, high * 1.1, True)
    else:
        low, high = float(values.min()), float(values.max())
        least = max(_SMALLEST, 1e-9 * max(abs(low), abs(high)))
        room = 0.0 if high - low > least else max(0.05 * abs(high), 0.5)
        axis = _Axis(low - room, high + room, False)
    each = _LABEL + _BARS + _GAP
    height = each * len(rows) + _TICKS
    parts: list[Content] = []
    for number, row in enumerate(rows):
        parts += _draw_row(row, axis, number * each, unit, counted)
    ticks, top = axis.ticks(), each * len(rows) - _GAP
    longest = max(len(f"{_format_tick(tick)} {unit}") for tick in ticks)
    ticks = ticks[:: math.ceil(len(ticks) * longest * _CHARACTER / _WIDTH)]
    for tick, place in zip(ticks, axis.place(np.array(ticks)), strict=True):
        x = _WIDTH * float(place)
        anchor = "start" if place < 0.06 else "end" if place > 0.94 else "middle"
        parts.append(element("line", class_="axis", x1=f"{x:.1f}", x2=f"{x:.1f}", y1=top, y2=top + 5))
        label = f"{_format_tick(tick)} {unit}".rstrip()
        parts.append(element("text", label, x=f"{x:.1f}", y=top + 18, class_="tick", text_anchor=anchor))
    described = "; ".join(f"{row.label}: {row.note}" for row in rows)
    return _draw(title, described, height, parts)


def draw_bars(title: str, bars: Sequence[Bar]) -> Element:
    """Draw a horizontal bar for each value."""
    longest = max(bar.value for bar in bars) or 1.0
    parts: list[Content] = []
    for number, bar in enumerate(bars):
        top = number * 30
        parts += _draw_label(bar.label, bar.note, top)
        width = _WIDTH * bar.value / longest
        parts += [element("rect", class_="track", x=0, y=top + 18, width=_WIDTH, height=5)]
        parts += [element("rect", class_="bar", x=0, y=top + 18, width=f"{width:.1f}", height=5)]
    described = "; ".join(f"{bar.label}: {bar.note}" for bar in bars)
    return _draw(title, described, 30 * len(bars), parts)


def _draw(title: str, described: str, height: float, parts: Sequence[Content]) -> Element:
    named = (element("title", title), element("desc", described))
    return element("svg", *named, *parts, viewBox=f"0 0 {_WIDTH} {height:g}", role="img", class_="chart")


def _draw_label(label: str, note: str, top: float) -> list[Element]:
    return [
        element("text", label, x=0, y=top + 12, class_="label"),
        element("text", note, x=_WIDTH, y=top + 12, class_="note", text_anchor="end"),
    ]


def _draw_row(row: Series, axis: _Axis, top: float, unit: str, counted: str) -> list[Element]:
    counts = np.bincount(np.minimum((axis.place(row.values) * _BINS).astype(int), _BINS - 1), minlength=_BINS)
    bottom = top + _LABEL + _BARS
    parts = _draw_label(row.label, row.note, top)
    width = _WIDTH / _BINS
    for number in np.flatnonzero(counts):
        high = max(1.5, _BARS * counts[number] / counts.max())
        ends = (axis.value(number / _BINS), axis.value((number + 1) / _BINS))
        said = f"{format_number(ends[0])} to {format_value(ends[1], unit)}"
        bar = element(
            "rect",
            element("title", f"{said}: {format_count(int(counts[number]), counted)}"),
            class_="bar",
            x=f"{number * width:.2f}",
            y=f"{bottom - high:.2f}",
            width=f"{width - 1:.2f}",
            height=f"{high:.2f}",
        )
        parts.append(bar)
    line = element("line", class_="axis", x1=0, x2=_WIDTH, y1=bottom, y2=bottom)
    return [*parts, line]


def _format_tick(value: float) -> str:
    text = f"{abs(value):,.0f}" if abs(value) >= 1000 else f"{abs(value):g}"
    return f"−{text}" if value < 0 else text
