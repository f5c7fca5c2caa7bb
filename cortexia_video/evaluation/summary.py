"""`Summary`: what all images come to, with confidence intervals and comparisons of the same images.

Intervals are 95 % percentile intervals of the bootstrap: images are drawn again with replacement, within
each set where the mean is over sets, the same draws for all predictors, so that differences are of pairs.
They say how much the choice of images matters, not whether six places stand for the world. Fewer than
`FEWEST` images that can be drawn for each other say nothing of that: there is no interval then.
Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cortexia_video.evaluation.image_score import ImageScore, list_hidden
from cortexia_video.evaluation.job import Column, Evaluation
from cortexia_video.evaluation.metrics.depth_metrics import PIXEL_METRICS, score_pixels
from cortexia_video.evaluation.metrics.pixel_sums import ADDED, RATIOS, Array, Floats, PixelSums, add_sums
from cortexia_video.evaluation.metrics.registry import MEANINGS

RESAMPLES = 1000
FEWEST = 5
METRICS = (*PIXEL_METRICS, *MEANINGS)
_BETTER = {name: each.better for table in (PIXEL_METRICS, MEANINGS) for name, each in table.items()}
_ADDED = 1 + len(RATIOS) + len(ADDED) + 1  # what adds up over pixels
_ROWS = 256  # images at once: of so few OpenBLAS starts no threads, which others' work would hold up
_AT_ONCE = 20  # draws: of 100,000 images they are 16 MB
_ENDS = (2.5, 97.5)


class Interval(NamedTuple):
    """A value and its 95 % interval.

    Attributes:
        value: The value.
        low: The lower end, NaN where there is no interval.
        high: The upper end, NaN where there is no interval.
    """

    value: float
    low: float
    high: float


class PairedComparison(NamedTuple):
    """The first predictor less another, by metric. better: share of draws in which the first is better,
    NaN where there are no draws."""

    first: str
    other: str
    differences: Mapping[str, Interval]
    better: Mapping[str, float]


class Summary(NamedTuple):
    """What all images come to. What was not measured is NaN.

    Attributes:
        totals: By predictor and metric: `totals["compact"]["abs_rel"].value`.
        sets: By predictor, dataset and metric.
        comparisons: The first predictor less each other that was fitted as it was.
    """

    totals: Mapping[str, Mapping[str, Interval]]
    sets: Mapping[str, Mapping[str, Mapping[str, float]]]
    comparisons: Sequence[PairedComparison]


def summarise(evaluation: Evaluation, *, seed: int = 0, resamples: int = RESAMPLES) -> Summary:
    """Sum up an evaluation; the same seed gives the same intervals.

    Predictors are compared with the first one that was fitted as they were; baselines, which are fitted, with
    the first that was, too, if one was.
    """
    totals, sets, drawn = {}, {}, {}
    for column in evaluation.columns:
        rng = np.random.default_rng(seed)
        name = column.name
        totals[name], sets[name], drawn[name] = _sum_up(column, evaluation, rng, resamples)
    firsts: dict[str, str] = {}
    comparisons = []
    for column in evaluation.columns:
        fit = "fitted" if column.alignment not in ("", "none") else "none"
        if column.is_baseline:
            fit = next(iter(sorted(firsts)))
        ours, theirs = firsts.setdefault(fit, column.name), column.name
        if ours == theirs:
            continue
        draws = drawn[ours] - drawn[theirs]
        less = {name: totals[ours][name].value - totals[theirs][name].value for name in METRICS}
        better = {}
        for index, name in enumerate(METRICS):
            signed = -draws[:, index] if _BETTER[name] == "smaller" else draws[:, index]
            better[name] = math.nan if np.isnan(signed).all() else float(np.mean(signed > 0))
        comparisons.append(PairedComparison(ours, theirs, _make_intervals(less, draws), better))
    return Summary(totals, sets, comparisons)


class _Table(NamedTuple):
    """Scores of images whose mean is taken together, a row each.

    values: of `METRICS`, NaN where not measured. sums: what adds up over pixels, where the mean is over
    these.
    """

    values: Floats
    sums: Floats
    scores: Sequence[ImageScore]


def _sum_up(
    column: Column, evaluation: Evaluation, rng: np.random.Generator, resamples: int
) -> tuple[dict[str, Interval], dict[str, dict[str, float]], Floats]:
    """Return totals, sets and draws of a column; the table of many images is large, and let go here."""
    aggregation = evaluation.protocol.aggregation
    per_pixel = aggregation == "pixel"
    hidden = list_hidden(column.alignment)
    every = list(column.list_scores())
    values, sums = np.empty((len(every), len(METRICS))), np.empty((len(every), _ADDED if per_pixel else 0))
    for row, score in enumerate(every):
        metrics = score.metrics
        values[row] = [math.nan if name in hidden else metrics.get(name, math.nan) for name in METRICS]
        if per_pixel:
            added = score.sums
            squared_logs = added.log_spread + added.log**2 / added.pixels
            sums[row] = [added.pixels, *added.within, *(getattr(added, name) for name in ADDED), squared_logs]
    tables, start = {}, 0
    for name, scores in column.scores.items():  # the same numbers, not copies
        part = slice(start, start + len(scores))
        tables[name], start = _Table(values[part], sums[part], scores), part.stop
    whole = _Table(values, sums, every)
    groups = [tables[name] for name in evaluation.averaged] if aggregation == "set" else [whole]
    draws = _resample(groups, per_pixel, rng, resamples)
    draws[:, [METRICS.index(name) for name in hidden]] = math.nan
    totals = _make_intervals(_aggregate(groups, per_pixel, hidden), draws)
    return totals, {name: _aggregate([table], per_pixel, hidden) for name, table in tables.items()}, draws


def _aggregate(tables: Sequence[_Table], per_pixel: bool, hidden: Sequence[str]) -> dict[str, float]:
    """Return every metric of all; sums are exact, so the order of images changes no bit."""
    means = np.array([[_mean(column) for column in table.values.T] for table in tables])
    total = dict(zip(METRICS, map(_mean, means.T), strict=True))
    if per_pixel:
        total |= score_pixels(add_sums(score.sums for table in tables for score in table.scores))
    return total | dict.fromkeys(hidden, math.nan)


def _mean(values: Floats) -> float:
    """Return the mean of what was measured."""
    chosen = values[~np.isnan(values)]
    return math.fsum(chosen) / chosen.size if chosen.size else math.nan


def _resample(tables: Sequence[_Table], per_pixel: bool, rng: np.random.Generator, resamples: int) -> Floats:
    """Return the metrics of each draw, (resamples, metrics), NaN where too few images can be drawn.

    An image weighs as often as it was drawn, from its set; a few draws are done at once.
    """
    sizes = [len(table.values) for table in tables]
    found = np.full((resamples, len(METRICS)), np.nan)
    if sum(size for size in sizes if size > 1) < FEWEST:
        return found
    for start in range(0, resamples, _AT_ONCE):
        part = found[start : start + _AT_ONCE]
        counts = [np.empty((len(part), size)) for size in sizes]
        for draw in range(len(part)):
            for each, size in zip(counts, sizes, strict=True):
                each[draw] = rng.multinomial(size, np.full(size, 1 / size))
        pairs = list(zip(tables, counts, strict=True))
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
        part[:] = _divide(np.where(known, means, 0).sum(axis=0), known.sum(axis=0))
        if per_pixel:
            sums = np.asarray(sum(_multiply(count, table.sums) for table, count in pairs))
            part[:, : len(PIXEL_METRICS)] = [_score_sums(row) for row in sums.tolist()]
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
    """Return the pixel metrics of sums that were added: pixels, `within`, `ADDED` and squared logs."""
    pixels, *rest = row
    within, added = rest[: len(RATIOS)], dict(zip(ADDED, rest[len(RATIOS) : -1], strict=True))
    spread = max(rest[-1] - added["log"] ** 2 / pixels, 0.0)
    unknown = int(added.pop("unknown"))
    sums = PixelSums(int(pixels), tuple(map(int, within)), unknown, **added, log_spread=spread)
    return list(score_pixels(sums).values())


def _make_intervals(values: Mapping[str, float], draws: Floats) -> dict[str, Interval]:
    known = [draws[~np.isnan(draws[:, index]), index] for index in range(len(METRICS))]
    ends = [np.percentile(each, _ENDS).tolist() if each.size else [math.nan, math.nan] for each in known]
    return {name: Interval(values[name], *pair) for name, pair in zip(METRICS, ends, strict=True)}
