"""The page of an evaluation: the tables, and the worst and best pictures with where they are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from xml.etree.ElementTree import Element

from cortexia_video.errors import printable
from cortexia_video.evaluation.job import Evaluation
from cortexia_video.evaluation.summary import Summary
from cortexia_video.evaluation.text_table import choose_shown, format_interval, format_value
from cortexia_video.evaluation.tiles import Tile
from cortexia_video.reporting.blocks import code, facts, quiet, section, write_whole
from cortexia_video.reporting.markup import element

_LISTED = 100
_LEGEND = (
    "Depth and reference share their colours, bright is near, from the 2nd to the 98th percentile of the "
    "reference. In the last picture red is too near, blue too far, by a factor of two at the ends, pale "
    "yellow is right; grey is not measured."
)


def write_page(evaluation: Evaluation, summary: Summary, worst: Sequence[Tile], best: Sequence[Tile]) -> str:
    """Give the page's HTML, which needs nothing but itself."""
    first = evaluation.columns[0].name
    main = element(
        "main",
        _show_header(evaluation),
        section("All pictures", _show_totals(summary), _show_comparisons(summary)),
        section("Sets", _show_sets(evaluation, summary)) if len(summary.sets[first]) > 1 else None,
        section(f"The worst of {printable(first)}", quiet(_LEGEND), *map(_show_tile, worst)),
        section(f"The best of {printable(first)}", *map(_show_tile, best)) if best else None,
        _show_troubles(evaluation),
        _show_protocol(evaluation),
    )
    own = files("cortexia_video.evaluation").joinpath("page.css").read_text(encoding="utf-8")
    return write_whole(main, f"Evaluation: {first}", css=own)


def _show_header(evaluation: Evaluation) -> Element:
    pictures = sum(map(len, evaluation.columns[-1].scores.values()))
    return element(
        "header",
        element("p", "Depth evaluation", class_="kicker"),
        element("h1", ", ".join(each.name for each in evaluation.columns if not each.is_baseline)),
        element("p", f"{pictures} pictures of {evaluation.place}, by {evaluation.protocol}.", class_="lead"),
    )


def _make_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Element:
    lines = [element("tr", *(element("td", cell) for cell in row)) for row in rows]
    titles = element("tr", *(element("th", cell) for cell in head))
    table = element("table", element("thead", titles), element("tbody", *lines))
    return element("div", table, class_="wide")


def _show_totals(summary: Summary) -> Element:
    shown = choose_shown(summary)
    rows = [
        [name, *(format_interval(totals[metric]) for metric in shown)]
        for name, totals in summary.totals.items()
    ]
    return _make_table(["", *shown.values()], rows)


def _show_comparisons(summary: Summary) -> Element:
    said = [
        f"{each.first} less {each.other}: AbsRel {format_interval(each.differences['abs_rel'])}, better in "
        f"{each.better['abs_rel']:.0%} of draws."
        for each in summary.comparisons
    ]
    note = "Intervals are of 95 %, by drawing pictures again; the same draws for all. (-) smaller is better."
    return element("div", quiet(note), *(element("p", line) for line in said))


def _show_sets(evaluation: Evaluation, summary: Summary) -> Element:
    rows = []
    for name, scores in evaluation.columns[-1].scores.items():
        cells = [
            f"{format_value(sets[name]['abs_rel'])} / {format_value(sets[name]['delta1'])}"
            if name in sets
            else "-"
            for sets in summary.sets.values()
        ]
        rows.append([name, str(len(scores)), *cells])
    return _make_table(["AbsRel / delta1", "pictures", *summary.sets], rows)


def _show_tile(tile: Tile) -> Element:
    metrics = tile.score.metrics
    shown = {"picture": tile.picture, "reference": tile.reference, "depth": tile.depth, "error": tile.errors}
    cells = [
        element("div", element("img", src=data, alt=name), name)
        for name, data in shown.items()
        if data is not None
    ]
    said = (
        f" AbsRel {format_value(metrics['abs_rel'])}, delta1 {format_value(metrics['delta1'])}; "
        f"{tile.low_m:.3g} to {tile.high_m:.3g} m {tile.score.remark}"
    )
    caption = element("figcaption", code(tile.score.key, 60), said)
    return element("figure", element("div", *cells, class_="row"), caption, class_="tile")


def _show_troubles(evaluation: Evaluation) -> Element | None:
    lines = [(f"{each.name}: {key}", remark) for each in evaluation.columns for key, remark in each.remarks()]
    lines += [(each.key, f"not in any mean: {each.reason}") for each in evaluation.left]
    if not lines:
        return None
    items = [element("li", code(key), element("span", why)) for key, why in lines[:_LISTED]]
    more = quiet(f"And {len(lines) - _LISTED} more.") if len(lines) > _LISTED else None
    return section("What could not be measured", element("ul", *items, class_="keys"), more)


def _show_protocol(evaluation: Evaluation) -> Element:
    protocol = evaluation.protocol
    named = {
        "data set": f"{protocol.dataset} {protocol.split or ''}",
        "depth": f"{protocol.bounds[0]}{protocol.min_m:g}, {protocol.max_m}{protocol.bounds[1]} m",
        "crop": "none" if protocol.crop is None else ", ".join(f"{share:g}" for share in protocol.crop),
        "alignment": protocol.alignment,
        "clip": f"{protocol.clip}, from {protocol.clip_min_m:g} m",
        "mean over": protocol.aggregation,
        "digest": protocol.digest,
    }
    sources = element("ul", *(element("li", source) for source in protocol.sources), class_="keys")
    return section("Protocol", element("p", protocol.about), facts(named), sources)
