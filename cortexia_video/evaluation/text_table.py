"""The results as lines of text for people."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from cortexia_video.errors import printable
from cortexia_video.evaluation.job import Evaluation
from cortexia_video.evaluation.metrics.registry import GROUPS, MEANINGS
from cortexia_video.evaluation.summary import FEWEST, Interval, Summary

SHOWN = {
    "abs_rel": "AbsRel (-)",
    "delta1": "delta1 (+)",
    "rmse": "RMSE m (-)",
    "silog": "SILog (-)",
}
_WITH_INTERVAL = ("abs_rel", "delta1")
_LISTED = 10  # images of each kind of trouble


def list_lines(evaluation: Evaluation, summary: Summary) -> Iterator[str]:
    """Yield the table of all, that of the sets, the comparisons, and what was wrong."""
    images = evaluation.count_images()
    yield f"protocol {evaluation.protocol}: {_count(images)} of {evaluation.place}"
    yield describe_mean(evaluation)
    yield f"{describe_draws(summary)}; (-) smaller is better, (+) larger"
    yield ""
    yield from _lay_out(_list_totals(summary))
    if len(evaluation.columns[-1].scores) > 1:
        yield ""
        # AbsRel / delta1 of each set
        rows = [["AbsRel / delta1", "images", *map(printable, summary.sets)]]
        for name, scores in evaluation.columns[-1].scores.items():
            cells = [
                f"{format_value(sets[name]['abs_rel'])} / {format_value(sets[name]['delta1'])}"
                if name in sets
                else "-"
                for sets in summary.sets.values()
            ]
            rows.append([describe_set(evaluation, name), str(len(scores)), *cells])
        yield from _lay_out(rows)
    yield ""
    for each in summary.comparisons:
        value, low, high = each.differences["abs_rel"]
        said = f"{printable(each.first)} less {printable(each.other)}: AbsRel {value:+.3f}"
        if not math.isnan(low):
            said += f" [{low:+.3f}, {high:+.3f}], better in {each.better['abs_rel']:.0%} of draws"
        yield said
    yield from _list_troubles(evaluation)


def describe_mean(evaluation: Evaluation) -> str:
    """Return what the numbers of all images are the mean of."""
    averaged, aggregation = evaluation.averaged, evaluation.protocol.aggregation
    if aggregation != "set":
        return "mean over all pixels" if aggregation == "pixel" else "mean over all images"
    count = evaluation.count_images(averaged)
    sets = "the one set's mean" if len(averaged) == 1 else f"mean of {len(averaged)} sets' means"
    return f"{sets}, over {_count(count)}"


def describe_set(evaluation: Evaluation, name: str) -> str:
    """Return a set's name, and why it is not in the mean where it is not."""
    return printable(name) + ("" if name in evaluation.averaged else " (synthetic: not in the mean)")


def describe_draws(summary: Summary) -> str:
    """Return what the intervals are, or why there are none."""
    if has_intervals(summary):
        return "95 % intervals by drawing images again, the same draws for all"
    return f"no intervals: there are fewer than {FEWEST} images to draw from"


def has_intervals(summary: Summary) -> bool:
    return not all(math.isnan(totals["abs_rel"].low) for totals in summary.totals.values())


def format_value(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def format_interval(interval: Interval) -> str:
    if math.isnan(interval.value):
        return "-"
    if math.isnan(interval.low):
        return format_value(interval.value)
    return f"{format_value(interval.value)} [{format_value(interval.low)}, {format_value(interval.high)}]"


def choose_shown(summary: Summary) -> dict[str, str]:
    """Return metrics and their titles: the usual ones, and those of groups that were measured.

    Regions are left out: the page has them.
    """
    signs = {"smaller": "(-)", "larger": "(+)"}
    measured = {
        name: f"{meaning.title} {signs[meaning.better]}"
        for name, meaning in MEANINGS.items()
        if name not in GROUPS["regions"].metrics
        and not all(math.isnan(totals[name].value) for totals in summary.totals.values())
    }
    return {**SHOWN, **measured}


def _list_totals(summary: Summary) -> list[list[str]]:
    shown = choose_shown(summary)
    rows = [["", *shown.values()]]
    for name, totals in summary.totals.items():
        cells = [
            format_interval(totals[metric])
            if metric in _WITH_INTERVAL
            else format_value(totals[metric].value)
            for metric in shown
        ]
        rows.append([printable(name), *cells])
    return rows


def _list_troubles(evaluation: Evaluation) -> Iterator[str]:
    """Yield what was left out or counts as unknown, each kind counted, the first of them named."""
    for column in evaluation.columns:
        kinds = Counter(remark for _, remark in column.remarks())
        for remark, count in kinds.most_common(_LISTED):
            keys = [key for key, each in column.remarks() if each == remark]
            named = ", ".join(map(printable, keys[:_LISTED]))
            more = f" and {len(keys) - _LISTED} more" if len(keys) > _LISTED else ""
            yield f"{printable(column.name)}: {_count(count)}: {remark}: {named}{more}"
        if len(kinds) > _LISTED:
            yield f"{printable(column.name)}: and {len(kinds) - _LISTED} more reasons, all in images.csv"
        unknown = sum(score.unknown for scores in column.scores.values() for score in scores)
        if unknown:
            pixels = sum(score.sums.pixels for scores in column.scores.values() for score in scores)
            yield (
                f"{printable(column.name)}: {unknown} of {pixels} pixels are unknown: they count as "
                "far wrong as the protocol's clip allows"
            )
        for (group, lack), count in column.count_lacks(evaluation.asked).items():
            yield f"{printable(column.name)}: {group} not measured on {_count(count)}: {lack}"
    if evaluation.left:
        yield f"{_count(len(evaluation.left))} without a reference that can be used, in no mean:"
        yield from (f"  {printable(each.key)}: {each.reason}" for each in evaluation.left[:_LISTED])


def _count(images: int) -> str:
    return f"{images} image" if images == 1 else f"{images} images"


def _lay_out(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
