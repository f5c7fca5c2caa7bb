"""Images whose depth or focal length is unlike the others', and why."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cortexia_video.html.wording import find_unit, format_number, format_share, format_value
from cortexia_video.reporting.depth_sample import Measurement
from cortexia_video.reporting.focal_lengths import FocalLengths
from cortexia_video.reporting.ledger_summary import DepthMeaning, Line

MANY_UNKNOWN = 0.2  # of the pixels
SATURATED = 0.25  # of the known pixels
NEARLY_CONSTANT = 0.02  # far end over near end, less 1; or spread over the usual one
UNUSUAL = 3.5  # robust z, as Iglewicz and Hoaglin advise (How to Detect and Handle Outliers, 1993, p. 11)
FEWEST = 8  # maps that say what is usual
_MATERIAL = math.log(1.5)  # a factor that is worth a look
_MATERIAL_FOCAL = math.log(1.1)
_HAVE_A_ZERO = ("metric", "scale_invariant")


class Outlier(NamedTuple):
    """An image to look at. reasons: for people. severity: the larger, the sooner."""

    line: Line
    reasons: list[str]
    severity: float

    @property
    def key(self) -> str:
        key: str = self.line["key"]
        return key


def find_outliers(measured: Iterable[Measurement]) -> list[Outlier]:
    """Compare each depth map with those that mean the same; the most unlike come first."""
    groups: dict[DepthMeaning, list[Measurement]] = defaultdict(list)
    for each in measured:
        groups[each.meaning].append(each)
    found = []
    for meaning, group in groups.items():
        unusual = _find_unusual(group, meaning.kind)
        # median of the distances from 2nd to 98th percentile; 0 for too few maps to say
        spreads = [each.p98 - each.p2 for each in group if each.unknown < 1]
        spread = float(np.median(spreads)) if len(spreads) >= FEWEST else 0.0
        for number, each in enumerate(group):
            faults = [*_find_faults(each, meaning.kind, spread)]
            reasons, severity = unusual.get(number, ([], 0.0))
            if faults or reasons:
                found.append(Outlier(each.line, faults + reasons, 1e6 * len(faults) + severity))
    return sorted(found, key=lambda outlier: (-outlier.severity, outlier.key))


def find_focal_outliers(focal_lengths: FocalLengths) -> list[Outlier]:
    """Return images with a focal length far from the others', of the 50 shortest and the 50 longest."""
    if len(focal_lengths) < FEWEST:
        return []
    everything = np.log(np.concatenate([*focal_lengths.film_mm.values()]))
    usual, scale = _find_scale(everything)
    outliers = []
    for focal in focal_lengths.extremes():
        away = abs(math.log(focal.film_mm) - usual)
        if away > max(UNUSUAL * scale, _MATERIAL_FOCAL):
            mm, pixels = format_value(focal.film_mm, "mm"), format_value(focal.f_px, "pixels")
            reason = f"{mm} on 35 mm film ({pixels}), where {format_value(math.exp(usual), 'mm')} is usual"
            outliers.append(Outlier(focal.line, [reason], away / (scale or 1)))
    return sorted(outliers, key=lambda outlier: (-outlier.severity, outlier.key))


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
    if kind in _HAVE_A_ZERO:
        nearly_constant = each.p98 <= (1 + NEARLY_CONSTANT) * each.p2
    else:
        nearly_constant = each.p98 - each.p2 <= NEARLY_CONSTANT * usual_spread
    if nearly_constant:
        ends = f"{format_number(each.p2)} to {format_value(each.p98, unit)}"
        yield f"nearly constant: 96 % of the pixels are {ends}"
    for share, value, end in ((each.at_low, each.low, "smallest"), (each.at_high, each.high, "largest")):
        if share > SATURATED:
            yield (
                f"saturated: {format_share(share)} of the pixels have the {end} value, "
                f"{format_value(value, unit)}"
            )


def _find_unusual(group: Sequence[Measurement], kind: str) -> dict[int, tuple[list[str], float]]:
    """Return the maps whose median or range is far from the others', by number: why, and how far."""
    numbers = [
        number
        for number, each in enumerate(group)
        if (each.unknown < 1 and each.p98 > each.p2 and (kind not in _HAVE_A_ZERO or each.p2 > 0))
    ]
    found: dict[int, tuple[list[str], float]] = {}
    if len(numbers) < FEWEST:
        return found
    medians = np.array([group[number].median for number in numbers])
    low, high = np.array([(group[number].p2, group[number].p98) for number in numbers]).T
    # what maps are compared by: name, values, unit, and which distance from the usual one is none
    logarithmic = kind in _HAVE_A_ZERO
    features: tuple[tuple[str, NDArray[np.float64], str, float], ...] = (
        ("median", medians, "", float(np.median(high - low))),
        ("range", high - low, "", _MATERIAL),
    )
    if logarithmic:  # distances are those of logarithms
        features = (
            ("median", medians, find_unit(kind), _MATERIAL),
            ("range, far end over near end", high / low, "times", _MATERIAL),
        )
    for name, values, unit, least in features:
        # how far each is from what is usual as a robust z; 0 for those that are near
        scaled = np.log(values) if logarithmic else values
        middle, scale = _find_scale(scaled)
        distances = np.abs(scaled - middle)
        far = distances > max(UNUSUAL * scale, least)
        away = np.where(far, distances / (scale or 1), 0)
        usual = float(np.exp(middle)) if logarithmic else middle
        for place in np.flatnonzero(away):
            value = format_value(values[place], unit)
            reason = f"unusual {name}: {value}, where {format_value(usual, unit)} is usual"
            reasons, severity = found.get(numbers[place], ([], 0.0))
            found[numbers[place]] = ([*reasons, reason], max(severity, float(away[place])))
    return found


def _find_scale(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the median, and what stands for a standard deviation: 1.4826 times the median distance from it.

    Where more than half are equal, 1.2533 times the mean distance (Iglewicz and Hoaglin, 1993, p. 12).
    """
    usual = float(np.median(values))
    distances = np.abs(values - usual)
    return usual, 1.4826 * float(np.median(distances)) or 1.253314 * float(distances.mean())
