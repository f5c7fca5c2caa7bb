"""Pictures whose depth or focal length is unlike the others', and why."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cortexia_video.reporting.depth_sample import Measurement
from cortexia_video.reporting.focal_lengths import FocalLengths
from cortexia_video.reporting.ledger_summary import Line
from cortexia_video.reporting.wording import format_number, format_share, format_value, find_unit

MANY_UNKNOWN = 0.2  # of the pixels
SATURATED = 0.25  # of the known pixels
NEARLY_CONSTANT = 0.02  # far end over near end, less 1; or spread over the usual one
UNUSUAL = 3.5  # robust z, as Iglewicz and Hoaglin advise (How to Detect and Handle Outliers, 1993, p. 11)
FEWEST = 8  # maps that say what is usual
_MATERIAL = math.log(1.5)  # a factor that is worth a look
_MATERIAL_FOCAL = math.log(1.1)
_HAVE_A_ZERO = ("metric", "scale_invariant")


class Outlier(NamedTuple):
    """A picture to look at. reasons: for people. severity: the larger, the sooner."""

    line: Line
    reasons: list[str]
    severity: float

    @property
    def key(self) -> str:
        key: str = self.line["key"]
        return key


def find_outliers(measured: Iterable[Measurement]) -> list[Outlier]:
    """Compare each depth map with those that mean the same; the most unlike come first."""
    groups: dict[object, list[Measurement]] = defaultdict(list)
    for each in measured:
        groups[each.meaning].append(each)
    found = [outlier for group in groups.values() for outlier in _find_in(group)]
    return sorted(found, key=lambda outlier: (-outlier.severity, outlier.key))


def find_focal_outliers(focal_lengths: FocalLengths) -> list[Outlier]:
    """Give pictures with a focal length far from the others', of the 50 shortest and the 50 longest."""
    if len(focal_lengths) < FEWEST:
        return []
    everything = np.log(np.concatenate([*focal_lengths.film_mm.values()]))
    usual, scale = _find_scale(everything)
    outliers = []
    for focal in focal_lengths.extremes():
        away = abs(math.log(focal.film_mm) - usual)
        if scale and away > max(UNUSUAL * scale, _MATERIAL_FOCAL):
            reason = (
                f"focal length {format_value(focal.film_mm, 'mm')} on 35 mm film "
                f"({format_value(focal.f_px, 'pixels')}), where {format_value(math.exp(usual), 'mm')} is usual"
            )
            outliers.append(Outlier(focal.line, [reason], away / scale))
    return sorted(outliers, key=lambda outlier: (-outlier.severity, outlier.key))


def _find_in(group: Sequence[Measurement]) -> Iterator[Outlier]:
    """Yield the outliers among maps of one meaning."""
    kind = group[0].meaning.kind
    unusual = _find_unusual(group, kind)
    spread = _usual_spread(group)
    for number, each in enumerate(group):
        faults = [*_find_faults(each, kind, spread)]
        reasons, severity = unusual.get(number, ([], 0.0))
        if faults or reasons:
            yield Outlier(each.line, faults + reasons, 1e6 * len(faults) + severity)


def _find_faults(each: Measurement, kind: str, usual_spread: float) -> Iterator[str]:
    """Yield what is wrong with a map whatever the others are."""
    unit = find_unit(kind)
    if each.unknown == 1:
        yield "every pixel is unknown"
        return
    if each.unknown > MANY_UNKNOWN:
        yield f"{format_share(each.unknown)} of the pixels are unknown"
    if each.low == each.high:
        yield f"constant: every known pixel is {format_value(each.low, unit)}"
        return
    if _is_nearly_constant(each, kind, usual_spread):
        ends = f"{format_number(each.p2)} to {format_value(each.p98, unit)}"
        yield f"nearly constant: 96 % of the pixels are {ends}"
    for share, value, end in ((each.at_low, each.low, "smallest"), (each.at_high, each.high, "largest")):
        if share > SATURATED:
            yield (
                f"saturated: {format_share(share)} of the pixels have the {end} value, "
                f"{format_value(value, unit)}"
            )


def _is_nearly_constant(each: Measurement, kind: str, usual_spread: float) -> bool:
    if kind in _HAVE_A_ZERO:
        return each.p98 <= (1 + NEARLY_CONSTANT) * each.p2
    return each.p98 - each.p2 <= NEARLY_CONSTANT * usual_spread


def _usual_spread(group: Sequence[Measurement]) -> float:
    """Give the median of the distances from 2nd to 98th percentile; 0 for too few maps to say."""
    spreads = [each.p98 - each.p2 for each in group if each.unknown < 1]
    return float(np.median(spreads)) if len(spreads) >= FEWEST else 0.0


def _find_unusual(group: Sequence[Measurement], kind: str) -> dict[int, tuple[list[str], float]]:
    """Give the maps whose median or range is far from the others', by number: why, and how far."""
    numbers = [number for number, each in enumerate(group) if _can_be_compared(each, kind)]
    found: dict[int, tuple[list[str], float]] = {}
    if len(numbers) < FEWEST:
        return found
    maps = [group[number] for number in numbers]
    for name, values, unit in _features(maps, kind):
        logarithmic = name != "median" or kind in _HAVE_A_ZERO
        places = np.log(values) if logarithmic else values
        usual, scale = _find_scale(places)
        least = _MATERIAL if logarithmic else float(np.median([each.p98 - each.p2 for each in maps]))
        for number, place, value in zip(numbers, places, values, strict=True):
            if scale and abs(place - usual) > max(UNUSUAL * scale, least):
                said = format_value(math.exp(usual) if logarithmic else usual, unit)
                reasons, severity = found.get(number, ([], 0.0))
                reason = f"unusual {name}: {format_value(value, unit)}, where {said} is usual"
                found[number] = ([*reasons, reason], max(severity, float(abs(place - usual) / scale)))
    return found


def _can_be_compared(each: Measurement, kind: str) -> bool:
    return each.unknown < 1 and each.p98 > each.p2 and (kind not in _HAVE_A_ZERO or each.p2 > 0)


def _features(maps: Sequence[Measurement], kind: str) -> Iterator[tuple[str, NDArray[np.float64], str]]:
    """Yield what maps are compared by: name, a number for each, unit."""
    yield "median", np.array([each.median for each in maps]), find_unit(kind)
    if kind in _HAVE_A_ZERO:
        yield "range, far over near", np.array([each.p98 / each.p2 for each in maps]), "times"
    else:
        yield "range", np.array([each.p98 - each.p2 for each in maps]), ""


def _find_scale(values: NDArray[np.float64]) -> tuple[float, float]:
    """Give the median, and what stands for a standard deviation: 1.4826 times the median distance from it.

    Where more than half are equal, 1.2533 times the mean distance (Iglewicz and Hoaglin, 1993, p. 12).
    """
    usual = float(np.median(values))
    distances = np.abs(values - usual)
    return usual, 1.4826 * float(np.median(distances)) or 1.253314 * float(distances.mean())
