"""`Summary`: what all images come to, with confidence intervals and comparisons of the same images.

Intervals are 95 % percentile intervals of the bootstrap: images are drawn again with replacement, within
each set where the mean is over sets, the same draws for all predictors, so that differences are of pairs.
They say how much the choice of images matters, not whether six places stand for the world. Fewer than
`FEWEST` images that can be drawn for each other say nothing of that: there is no interval then.
Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from cortexia_video.evaluation.job import Column, Evaluation
from cortexia_video.evaluation.metrics.depth_metrics import PIXEL_METRICS, score_pixels
from cortexia_video.evaluation.metrics.pixel_sums import ADDED, RATIOS, Array, Floats, PixelSums, add_sums
from cortexia_video.evaluation.metrics.registry import MEANINGS
from cortexia_video.evaluation.score_table import ScoreTable

RESAMPLES = 1000
FEWEST = 5
METRICS = (*PIXEL_METRICS, *MEANINGS)
_BETTER = {name: each.better for table in (PIXEL_METRICS, MEANINGS) for name, each in table.items()}
_ADDED = 1 + len(RATIOS) + len(ADDED) + 1  # what adds up over pixels
_ROWS = 256  # images at once: of so few OpenBLAS starts no threads, which others' work would hold up
_AT_ONCE = 20  # draws: of 100,000 images they are 16 MB
_ENDS = (2.5, 97.5)


class Interval(NamedTuple):
    """A value and its 95 % interval, whose ends are NaN where there is none."""

    value: float
    low: float
    high: float


class Comparison(NamedTuple):
    """The first predictor less another, by metric. better: share of draws in which the first is better,
    NaN where there are no draws."""

    first: str
    other: str
    differences: Mapping[str, Interval]
    better: Mapping[str, float]


class Summary(NamedTuple):
    """totals: by predictor and metric. sets: by predictor, set and metric. What was not measured is NaN."""

    totals: Mapping[str, Mapping[str, Interval]]
    sets: Mapping[str, Mapping[str, Mapping[str, float]]]
    comparisons: Sequence[Comparison]


def summarise(evaluation: Evaluation, *, seed: int = 0, resamples: int = RESAMPLES) -> Summary:
    """Sum up an evaluation; the same seed gives the same intervals."""
    totals, sets, drawn = {}, {}, []
    for column in evaluation.columns:
        rng = np.random.default_rng(seed)
        totals[column.name], sets[column.name], draws = _sum_up(column, evaluation, rng, resamples)
        drawn.append(draws)
    first, *others = totals
    comparisons = [
        _compare((first, totals[first]), (other, totals[other]), drawn[0] - draws)
        for other, draws in zip(others, drawn[1:], strict=True)
    ]
    return Summary(totals, sets, comparisons)


def _sum_up(
    column: Column, evaluation: Evaluation, rng: np.random.Generator, resamples: int
) -> tuple[dict[str, Interval], dict[str, dict[str, float]], Floats]:
    """Return totals, sets and draws of a column; the table of many images is large, and let go here."""
    aggregation = evaluation.protocol.aggregation
    per_pixel = aggregation == "pixel"
    scores = [*column.scores.values()]
    count = sum(map(len, scores))
    values, sums = np.empty((count, len(METRICS))), np.empty((count, _ADDED if per_pixel else 0))
    for row, score in enumerate(chain.from_iterable(scores)):
        metrics = score.metrics
        values[row] = [metrics.get(name, math.nan) for name in METRICS]
        if per_pixel:
            sums[row] = _list_sums(score.sums)
    whole = _Table(values, sums, scores)
    tables = dict(zip(column.scores, _split(whole), strict=True))
    groups = [tables[name] for name in evaluation.averaged] if aggregation == "set" else [whole]
    # metrics of each draw, (resamples, metrics), NaN where too few images can be drawn
    sizes = [len(table.values) for table in groups]
    if sum(size for size in sizes if size > 1) < FEWEST:
        draws = np.full((resamples, len(METRICS)), np.nan)
    else:
        drawn = [
            _weigh(groups, _draw(sizes, min(_AT_ONCE, resamples - start), rng), per_pixel)
            for start in range(0, resamples, _AT_ONCE)
        ]
        draws = np.concatenate(drawn)
    totals = _make_intervals(_aggregate(groups, per_pixel), draws)
    return totals, {name: _aggregate([table], per_pixel) for name, table in tables.items()}, draws


class _Table(NamedTuple):
    """Scores of images whose mean is taken together, a row each.

    values: of `METRICS`, NaN where not measured. sums: what adds up over pixels, where the mean is over
    these.
    """

    values: Floats
    sums: Floats
    scores: Sequence[ScoreTable]


def _split(whole: _Table) -> Iterator[_Table]:
    """Yield the table of each set: the same numbers, not copies."""
    start = 0
    for scores in whole.scores:
        part = slice(start, start + len(scores))
        yield _Table(whole.values[part], whole.sums[part], [scores])
        start = part.stop


def _list_sums(sums: PixelSums) -> list[float]:
    squared_logs = sums.log_spread + sums.log**2 / sums.pixels
    return [sums.pixels, *sums.within, *(getattr(sums, name) for name in ADDED), squared_logs]


def _aggregate(tables: Sequence[_Table], per_pixel: bool) -> dict[str, float]:
    """Return every metric of all; sums are exact, so the order of images changes no bit."""
    means = np.array([[_mean(column) for column in table.values.T] for table in tables])
    total = dict(zip(METRICS, map(_mean, means.T), strict=True))
    if per_pixel:
        total |= score_pixels(
            add_sums(score.sums for table in tables for scores in table.scores for score in scores)
        )
    return total


def _mean(values: Floats) -> float:
    """Return the mean of what was measured."""
    chosen = values[~np.isnan(values)]
    return math.fsum(chosen) / chosen.size if chosen.size else math.nan


def _draw(sizes: Sequence[int], draws: int, rng: np.random.Generator) -> list[Floats]:
    """Return for each set how often each image comes in each draw, (draws, images)."""
    counts = [np.empty((draws, size)) for size in sizes]
    for draw in range(draws):
        for each, size in zip(counts, sizes, strict=True):
            each[draw] = rng.multinomial(size, np.full(size, 1 / size))
    return counts


def _weigh(tables: Sequence[_Table], counts: Sequence[Floats], per_pixel: bool) -> Floats:
    """Return the metrics of draws, (draws, metrics), each image as often as it was drawn."""
    pairs = list(zip(tables, counts, strict=True))
    # mean of what was measured in each draw, (draws, metrics)
    means = np.array(
        [
            _divide(
                _multiply(count, table.values, lambda rows: np.where(np.isnan(rows), 0, rows)),
                _multiply(count, table.values, lambda rows: (~np.isnan(rows)).astype(np.float64)),
            )
            for table, count in pairs
        ]
    )
    known = ~np.isnan(means)
    found = _divide(np.where(known, means, 0).sum(axis=0), known.sum(axis=0))
    if per_pixel:
        sums = sum(_multiply(count, table.sums) for table, count in pairs)
        found[:, : len(PIXEL_METRICS)] = [_score_sums(row) for row in np.asarray(sums).tolist()]
    return found


def _multiply(counts: Floats, rows: Floats, change: Callable[[Floats], Floats] = lambda rows: rows) -> Floats:
    """Return counts (draws, images) times rows (images, columns), which are changed a few at once."""
    total = np.zeros((len(counts), rows.shape[1]))
    for start in range(0, len(rows), _ROWS):
        total += counts[:, start : start + _ROWS] @ change(rows[start : start + _ROWS])
    return total


def _divide(total: Floats, weight: Array) -> Floats:
    """Divide, NaN where the weight is 0."""
    return np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 0)


def _score_sums(row: Sequence[float]) -> list[float]:
    """Return the pixel metrics of sums as `_list_sums` lists them."""
    pixels, *rest = row
    within, added = rest[: len(RATIOS)], dict(zip(ADDED, rest[len(RATIOS) : -1], strict=True))
    spread = max(rest[-1] - added["log"] ** 2 / pixels, 0.0)
    sums = PixelSums(int(pixels), tuple(map(int, within)), **added, log_spread=spread)
    return list(score_pixels(sums).values())


def _make_intervals(values: Mapping[str, float], draws: Floats) -> dict[str, Interval]:
    known = [draws[~np.isnan(draws[:, index]), index] for index in range(len(METRICS))]
    ends = [np.percentile(each, _ENDS).tolist() if each.size else [math.nan, math.nan] for each in known]
    return {name: Interval(values[name], *pair) for name, pair in zip(METRICS, ends, strict=True)}


def _compare(
    first: tuple[str, Mapping[str, Interval]], other: tuple[str, Mapping[str, Interval]], draws: Floats
) -> Comparison:
    """Compare two predictors, each a name with its totals. draws: the first's less the other's."""
    (ours, one), (theirs, two) = first, other
    differences = _make_intervals({name: one[name].value - two[name].value for name in METRICS}, draws)
    better = {}
    for index, name in enumerate(METRICS):
        signed = -draws[:, index] if _BETTER[name] == "smaller" else draws[:, index]
        better[name] = math.nan if np.isnan(signed).all() else float(np.mean(signed > 0))
    return Comparison(ours, theirs, differences, better)
