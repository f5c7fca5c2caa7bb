"""`Summary`: what all pictures come to, with confidence intervals and comparisons of the same pictures.

Intervals are 95 % percentile intervals of the bootstrap: pictures are drawn again with replacement, within
each set where the mean is over sets, the same draws for all contestants, so that differences are of pairs.
They say how much the choice of pictures matters, not whether six places stand for the world.
Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cortexia_video.evaluation.job import Column, Evaluation
from cortexia_video.evaluation.metrics import PIXEL_METRICS, score_pixels
from cortexia_video.evaluation.picture_score import BOUNDARY, PictureScore
from cortexia_video.evaluation.pixels import ADDED, RATIOS, Floats, PixelSums, add_sums

RESAMPLES = 1000
METRICS = (*PIXEL_METRICS, BOUNDARY)
_ENDS = (2.5, 97.5)


class Interval(NamedTuple):
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


class Comparison(NamedTuple):
    """The first contestant less another, by metric. better: share of draws in which the first is better."""

    first: str
    other: str
    differences: Mapping[str, Interval]
    better: Mapping[str, float]


class Summary(NamedTuple):
    """totals: by contestant and metric. sets: by contestant, set and metric. What was not measured is NaN."""

    totals: Mapping[str, Mapping[str, Interval]]
    sets: Mapping[str, Mapping[str, Mapping[str, float]]]
    comparisons: Sequence[Comparison]


def summarise(evaluation: Evaluation, *, seed: int = 0, resamples: int = RESAMPLES) -> Summary:
    """Sum up an evaluation; the same seed gives the same intervals."""
    columns, per_pixel = evaluation.columns, evaluation.protocol.aggregation == "pixel"
    groups = [_group(column, evaluation) for column in columns]
    values = [_aggregate(each, per_pixel) for each in groups]
    drawn = _resample(groups, per_pixel, np.random.default_rng(seed), resamples)
    totals = {
        column.name: _make_intervals(value, draws)
        for column, value, draws in zip(columns, values, drawn, strict=True)
    }
    sets = {
        column.name: {name: _aggregate([scores], per_pixel) for name, scores in column.scores.items()}
        for column in columns
    }
    comparisons = [
        _compare(columns[0].name, columns[index].name, values[0], values[index], drawn[0] - drawn[index])
        for index in range(1, len(columns))
    ]
    return Summary(totals, sets, comparisons)


def _group(column: Column, evaluation: Evaluation) -> list[list[PictureScore]]:
    """Give the pictures whose means are taken together: sets, or all."""
    if evaluation.protocol.aggregation == "set":
        names = [name for name in evaluation.counting if name in column.scores] or list(column.scores)
        return [column.scores[name] for name in names]
    return [[score for scores in column.scores.values() for score in scores]]


def _aggregate(groups: Sequence[Sequence[PictureScore]], per_pixel: bool) -> dict[str, float]:
    """Give every metric of all; sums are exact, so the order of pictures changes no bit."""
    if per_pixel:
        pictures = [score for group in groups for score in group]
        return {**score_pixels(add_sums(each.sums for each in pictures)), BOUNDARY: math.nan}
    means = [[_mean(values) for values in _list_values(group)] for group in groups]
    return dict(zip(METRICS, map(_mean, zip(*means, strict=True)), strict=True))


def _list_values(group: Sequence[PictureScore]) -> Iterator[list[float]]:
    """Yield for each metric the values of the pictures, NaN where it was not measured."""
    measured = [score.metrics for score in group]
    return ([metrics.get(name, math.nan) for metrics in measured] for name in METRICS)


def _mean(values: Sequence[float]) -> float:
    """Give the mean of what was measured."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def _resample(
    columns: Sequence[Sequence[Sequence[PictureScore]]],
    per_pixel: bool,
    rng: np.random.Generator,
    resamples: int,
) -> list[Floats]:
    """Give for each column the metrics of each draw, (resamples, metrics)."""
    tables = [[_tabulate(group, per_pixel) for group in groups] for groups in columns]
    drawn = [np.empty((resamples, len(METRICS))) for _ in tables]
    sizes = [len(table) for table in tables[0]]
    for draw in range(resamples):
        counts = [rng.multinomial(size, np.full(size, 1 / size)).astype(np.float64) for size in sizes]
        for groups, rows in zip(tables, drawn, strict=True):
            parts = [_weigh(*each, per_pixel) for each in zip(groups, counts, strict=True)]
            rows[draw] = [_mean(each) for each in zip(*parts, strict=True)]
    return drawn


def _tabulate(group: Sequence[PictureScore], per_pixel: bool) -> Floats:
    """Give a row for each picture: its metrics, or what adds up over pixels."""
    if not per_pixel:
        return np.array(list(_list_values(group))).T
    return np.array([_list_sums(score.sums) for score in group])


def _list_sums(sums: PixelSums) -> list[float]:
    squared_logs = sums.log_spread + sums.log**2 / sums.pixels
    return [sums.pixels, *sums.within, *(getattr(sums, name) for name in ADDED), squared_logs]


def _weigh(table: Floats, counts: Floats, per_pixel: bool) -> list[float]:
    """Give the metrics of a draw, each picture as often as it was drawn."""
    if not per_pixel:
        known = ~np.isnan(table)
        total, weight = counts @ np.where(known, table, 0), counts @ known
        means = np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 0)
        return [float(mean) for mean in means]
    pixels, *rest = (counts @ table).tolist()
    within, added = rest[: len(RATIOS)], dict(zip(ADDED, rest[len(RATIOS) : -1], strict=True))
    spread = max(rest[-1] - added["log"] ** 2 / pixels, 0.0)
    scores = score_pixels(PixelSums(int(pixels), tuple(map(int, within)), **added, log_spread=spread))
    return [*scores.values(), math.nan]


def _make_intervals(values: Mapping[str, float], draws: Floats) -> dict[str, Interval]:
    known = [draws[~np.isnan(draws[:, index]), index] for index in range(len(METRICS))]
    ends = [np.percentile(each, _ENDS).tolist() if each.size else [math.nan, math.nan] for each in known]
    return {name: Interval(values[name], *pair) for name, pair in zip(METRICS, ends, strict=True)}


def _compare(
    first: str, other: str, ours: Mapping[str, float], theirs: Mapping[str, float], draws: Floats
) -> Comparison:
    differences = _make_intervals({name: ours[name] - theirs[name] for name in METRICS}, draws)
    better = {}
    for index, name in enumerate(METRICS):
        smaller = name in PIXEL_METRICS and PIXEL_METRICS[name].better == "smaller"
        signed = -draws[:, index] if smaller else draws[:, index]
        better[name] = float(np.mean(signed > 0))
    return Comparison(first, other, differences, better)
