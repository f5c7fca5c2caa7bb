"""The results as lines of text for people."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from cortexia_video.errors import format_count, printable
from cortexia_video.evaluation.job import Column, Evaluation
from cortexia_video.evaluation.metrics.alignment import ALIGNMENTS
from cortexia_video.evaluation.metrics.regions import REGIONS
from cortexia_video.evaluation.metrics.registry import GROUPS, MEANINGS
from cortexia_video.evaluation.summary import FEWEST, Interval, Summary
from cortexia_video.html.wording import lay_out

SHOWN = {
    "coverage": "coverage (+)",
    "abs_rel": "AbsRel (-)",
    "delta1": "delta1 (+)",
    "rmse": "RMSE m (-)",
    "silog": "SILog (-)",
}
COVERAGE = (
    "Coverage is the share of pixels whose depth is known; in each metric the others count as that end of the "
    "protocol's clip which makes it worse."
)
_WITH_INTERVAL = ("abs_rel", "delta1")
_LISTED = 10  # images of each kind of trouble


def list_lines(evaluation: Evaluation, summary: Summary, width: int | None = None) -> Iterator[str]:
    """Yield the table of all, that of the sets, the comparisons, and what was wrong.

    width: characters that a line has room for; tables leave out what does not fit, and say so.
    """
    images = evaluation.count_images()
    yield f"protocol {evaluation.protocol}: {format_count(images, 'image')} of {evaluation.ground_truth}"
    yield describe_mean(evaluation)
    yield f"{describe_draws(summary)}; (-) smaller is better, (+) larger"
    yield from describe_fits(evaluation)
    yield ""
    shown = choose_shown(evaluation, summary)
    rows = [["", "fit", *shown.values()]]
    for column in evaluation.columns:
        totals = summary.totals[column.name]
        cells = [
            format_interval(totals[metric])
            if metric in _WITH_INTERVAL
            else format_value(totals[metric].value)
            for metric in shown
        ]
        rows.append([printable(column.name), describe_fit(column), *cells])
    yield from lay_out(rows, width, least=1)
    if len(evaluation.columns[-1].scores) > 1:
        yield ""
        yield from lay_out(list_sets(evaluation, summary), width)
    yield ""
    for each in summary.comparisons:
        value, low, high = each.differences["abs_rel"]
        said = f"{printable(each.first)} less {printable(each.other)}: AbsRel {value:+.3f}"
        if not math.isnan(low):
            said += f" [{low:+.3f}, {high:+.3f}], better in {each.better['abs_rel']:.0%} of draws"
        yield said
    if evaluation.clips:
        yield ""
        yield from lay_out(list_clips(evaluation), width)
        lacks = Counter(each.lacks for each in evaluation.clips if each.lacks)
        yield from (
            f"change and TAE not measured on {count} of these: {lack}" for lack, count in lacks.items()
        )
        yield "baselines are fitted to each frame"
        yield ""
    yield from _list_troubles(evaluation)


def list_clips(evaluation: Evaluation) -> list[list[str]]:
    """Return what each predictor scored on each clip, a row each, below a row of headings."""
    rows = [["of clips", "clip", "fit", "frames", "AbsRel (-)", "per frame (-)", "change % (-)", "TAE % (-)"]]
    for each in evaluation.clips:
        score = each.score
        rows.append(
            [
                *(printable(each.predictor), printable(each.clip) or ".", ALIGNMENTS[each.alignment].fitted),
                *(str(score.frames), format_value(score.abs_rel), format_value(score.abs_rel_per_frame)),
                *(format_value(100 * value) for value in (score.change, score.stability)),
            ]
        )
    return rows


def describe_fit(column: Column) -> str:
    """Return what of a column's depth was fitted to the ground truth, in a word or two."""
    return "baseline" if column.is_baseline else ALIGNMENTS[column.alignment].fitted


def describe_fits(evaluation: Evaluation) -> Iterator[str]:
    """Yield how depth was fitted to the ground truth, and which predictors' was."""
    columns = [column for column in evaluation.columns if not column.is_baseline]
    for alignment in dict.fromkeys(column.alignment for column in columns):
        names = ", ".join(printable(each.name) for each in columns if each.alignment == alignment)
        lost = (
            ""
            if alignment == "none"
            else "; what is fitted has no metres of its own, so no error in metres is shown"
        )
        yield f"fit of {names}: {ALIGNMENTS[alignment].describe(evaluation.protocol.align_per)}{lost}"
    for column in columns:
        kinds = column.count_kinds()
        if len(kinds) > 1:
            counts = ", ".join(
                f"{kind} on {format_count(count, 'image')}" for kind, count in sorted(kinds.items())
            )
            yield f"{printable(column.name)} has depth of several kinds, {counts}: all were fitted"


def describe_mean(evaluation: Evaluation) -> str:
    """Return what the numbers of all images are the mean of."""
    averaged, aggregation = evaluation.averaged, evaluation.protocol.aggregation
    if aggregation != "set":
        return "mean over all pixels" if aggregation == "pixel" else "mean over all images"
    count = evaluation.count_images(averaged)
    sets = "the one set's mean" if len(averaged) == 1 else f"mean of {len(averaged)} sets' means"
    return f"{sets}, over {format_count(count, 'image')}"


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


def choose_shown(evaluation: Evaluation, summary: Summary) -> dict[str, str]:
    """Return metrics and their titles: the usual ones, and those of groups, that were measured of a predictor.

    Where all depth was fitted the title says so. Regions are left out: the page has them.
    """
    signs = {"smaller": "(-)", "larger": "(+)"}
    titles = SHOWN | {
        name: f"{meaning.title} {signs[meaning.better]}"
        for name, meaning in MEANINGS.items()
        if name not in GROUPS["regions"].metrics
    }
    columns = [column for column in evaluation.columns if not column.is_baseline]
    fitted = all(column.alignment != "none" for column in columns)
    return {
        name: f"fitted {title}" if fitted and name in SHOWN and name != "coverage" else title
        for name, title in titles.items()
        if not all(math.isnan(summary.totals[column.name][name].value) for column in columns)
    }


def list_sets(evaluation: Evaluation, summary: Summary) -> list[list[str]]:
    """Return AbsRel, delta1 and coverage of each set, a row each, below a row of headings."""
    rows = [["AbsRel / delta1 / coverage", "images", *map(printable, summary.sets)]]
    for name, scores in evaluation.columns[-1].scores.items():
        cells = [
            " / ".join(format_value(sets[name][metric]) for metric in ("abs_rel", "delta1", "coverage"))
            if name in sets
            else "-"
            for sets in summary.sets.values()
        ]
        rows.append([describe_set(evaluation, name), str(len(scores)), *cells])
    return rows


def describe_pixels(evaluation: Evaluation) -> Iterator[str]:
    """Yield what pixels of each predictor are unknown, or were raised to the clip, and in which images."""
    least_m = evaluation.protocol.clip_min_m
    for name, column in {each.predictor: each for each in reversed(evaluation.columns)}.items():
        pixels = sum(score.sums.pixels for score in column.list_scores())
        unknown = sum(score.unknown for score in column.list_scores())
        if unknown:
            yield (
                f"{printable(name)}: {unknown} of {pixels} pixels are unknown: in each metric they count as "
                "that end of the protocol's clip which makes it worse"
            )
        raised = {score.key: score.raised for score in column.list_scores() if score.raised}
        if raised and not column.is_baseline:
            yield (
                f"{printable(name)}: {sum(raised.values())} of {pixels} pixels are at or below 0 m, clipped to "
                f"{least_m:g} m: {_name_some([*raised])}"
            )


def _list_troubles(evaluation: Evaluation) -> Iterator[str]:
    """Yield what was left out or counts as unknown, each kind counted, the first of them named."""
    said = set()
    for column in evaluation.columns:
        pairs = [pair for pair in column.remarks() if (column.predictor, *pair) not in said]
        said |= {(column.predictor, *pair) for pair in pairs}
        kinds = Counter(remark for _, remark in pairs)
        for remark, count in kinds.most_common(_LISTED):
            keys = [key for key, each in pairs if each == remark]
            yield f"{printable(column.name)}: {format_count(count, 'image')}: {remark}: {_name_some(keys)}"
        if len(kinds) > _LISTED:
            yield f"{printable(column.name)}: and {len(kinds) - _LISTED} more reasons, all in images.csv"
        for (group, lack), count in column.count_lacks(evaluation.asked).items():
            yield f"{printable(column.name)}: {group} not measured on {format_count(count, 'image')}: {lack}"
    yield from describe_pixels(evaluation)
    if evaluation.skipped:
        yield f"{format_count(len(evaluation.skipped), 'image')} without a reference that can be used, in no mean:"
        yield from (f"  {printable(each.key)}: {each.reason}" for each in evaluation.skipped[:_LISTED])


def _name_some(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - _LISTED} more" if len(keys) > _LISTED else ""
    return ", ".join(map(printable, keys[:_LISTED])) + more


def describe_regions(errors: Mapping[str, float]) -> str:
    """Return of each way to divide an image the worst part against the best. errors: by `REGIONS`."""
    said = []
    for way in (REGIONS[:3], REGIONS[3:6], REGIONS[6:]):
        known = {name: errors[name] for name in way if not math.isnan(errors[name])}
        worst, best = (choose(known, key=known.__getitem__, default="") for choose in (max, min))
        if worst != best:
            said.append(f"{worst} {known[worst]:.2f} ({best} {known[best]:.2f})")
    return "; ".join(said)
