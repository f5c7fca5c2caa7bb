"""The page of an evaluation: the tables, and the worst and best images with where they are wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from xml.etree.ElementTree import Element

from cortexia_video.errors import printable
from cortexia_video.evaluation.job import Evaluation
from cortexia_video.evaluation.metrics.regions import REGIONS
from cortexia_video.evaluation.metrics.registry import GROUPS
from cortexia_video.evaluation.page_images import DEPTH_COLOURS, ERROR_COLOURS, Tile
from cortexia_video.evaluation.summary import Summary
from cortexia_video.evaluation.text_table import (
    choose_shown,
    describe_draws,
    describe_mean,
    describe_set,
    format_interval,
    format_value,
    has_intervals,
)
from cortexia_video.html.blocks import code, facts, quiet, section, swatch, write_whole
from cortexia_video.html.markup import element

_LISTED = 100
_LEGEND = (
    "Depth and reference share their colours, from the 2nd to the 98th percentile of the reference. In the "
    "last image red is too near, blue too far, pale yellow is right; grey is not measured. Below each: in "
    "which parts of the image the relative error is largest, and smallest."
)
_REGIONS = (
    "Relative error in parts of the images: thirds of the pixels by distance, thirds of the rows, and what "
    "is at most 3 pixels from an edge of the reference."
)


def write_page(evaluation: Evaluation, summary: Summary, worst: Sequence[Tile], best: Sequence[Tile]) -> str:
    """Return the page's HTML, which needs nothing but itself."""
    first = evaluation.columns[0].name
    rows = [
        [title, *(format_interval(totals[metric]) for totals in summary.totals.values())]
        for metric, title in choose_shown(summary).items()
    ]
    said = [
        f"{each.first} less {each.other}: AbsRel {format_interval(each.differences['abs_rel'])}"
        + (f", better in {each.better['abs_rel']:.0%} of draws." if has_intervals(summary) else ".")
        for each in summary.comparisons
    ]
    note = f"There are {describe_draws(summary)}. (-) smaller is better."
    main = element(
        "main",
        _show_header(evaluation),
        section(
            "All images",
            _make_table(["", *map(printable, summary.totals)], rows),
            element("div", quiet(note), *(element("p", line) for line in said)),
        ),
        section("Sets", _show_sets(evaluation, summary)) if len(summary.sets[first]) > 1 else None,
        _show_regions(summary),
        section(f"The worst of {printable(first)}", quiet(_LEGEND), *map(_show_tile, worst)),
        section(f"The best of {printable(first)}", *map(_show_tile, best)) if best else None,
        _show_troubles(evaluation),
        _show_protocol(evaluation),
    )
    own = files("cortexia_video.evaluation").joinpath("page.css").read_text(encoding="utf-8")
    return write_whole(main, f"Evaluation: {first}", css=own)


def _show_header(evaluation: Evaluation) -> Element:
    images = evaluation.count_images()
    return element(
        "header",
        element("p", "Depth evaluation", class_="kicker"),
        element("h1", ", ".join(each.name for each in evaluation.columns if not each.is_baseline)),
        element("p", f"{images} images of {evaluation.place}, by {evaluation.protocol}.", class_="lead"),
        element("p", f"All images together: {describe_mean(evaluation)}."),
    )


def _make_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Element:
    lines = [element("tr", *(element("td", cell) for cell in row)) for row in rows]
    titles = element("tr", *(element("th", cell) for cell in head))
    table = element("table", element("thead", titles), element("tbody", *lines))
    return element("div", table, class_="wide")


def _show_regions(summary: Summary) -> Element | None:
    """Make the table of where all are wrong, where that was measured."""
    regions = GROUPS["regions"].metrics
    rows = [
        [meaning.title, *(format_value(totals[name].value) for totals in summary.totals.values())]
        for name, meaning in regions.items()
    ]
    if all(cell == "-" for row in rows for cell in row[1:]):
        return None
    table = _make_table(["AbsRel", *map(printable, summary.totals)], rows)
    return section("Where the errors are", quiet(_REGIONS), table)


def _show_sets(evaluation: Evaluation, summary: Summary) -> Element:
    rows = []
    for name, scores in evaluation.columns[-1].scores.items():
        cells = [
            f"{format_value(sets[name]['abs_rel'])} / {format_value(sets[name]['delta1'])}"
            if name in sets
            else "-"
            for sets in summary.sets.values()
        ]
        rows.append([describe_set(evaluation, name), str(len(scores)), *cells])
    return _make_table(["AbsRel / delta1", "images", *summary.sets], rows)


def _show_tile(tile: Tile) -> Element:
    metrics, (near, far) = tile.score.metrics, (f"{limit:.3g} m" for limit in tile.limits_m)
    shown = {
        "image": (tile.image, ()),
        "reference": (tile.reference, (DEPTH_COLOURS, near, far)),
        "depth": (tile.depth, (DEPTH_COLOURS, near, far)),
        "error": (tile.errors, (ERROR_COLOURS, "half as far", "twice")),
    }
    cells = [
        element("div", element("img", src=data, alt=name), _show_scale(name, *scale))
        for name, (data, scale) in shown.items()
        if data is not None
    ]
    said = (
        f" AbsRel {format_value(metrics['abs_rel'])}, delta1 {format_value(metrics['delta1'])}. "
        f"{_say_regions(tile.regions)} {tile.score.remark}"
    )
    caption = element("figcaption", code(tile.score.key, 60), said)
    return element("figure", element("div", *cells, class_="row"), caption, class_="tile")


def _show_scale(name: str, colours: str = "", low: str = "", high: str = "") -> Element:
    """Make what is below an image: its name, or the ends of its colours with these between."""
    if not colours:
        return element("div", name, class_="scale")
    return element("div", f"{name}: {low} ", swatch(colours), f" {high}", class_="scale")


def _say_regions(regions: Mapping[str, float]) -> str:
    """Return where the error is largest: of each way to divide the image, the worst part against the best."""
    ways = (REGIONS[:3], REGIONS[3:6], REGIONS[6:])
    said = []
    for way in ways:
        known = {name: regions[name] for name in way if not math.isnan(regions[name])}
        worst, best = (choose(known, key=known.__getitem__, default="") for choose in (max, min))
        if worst != best:
            said.append(f"{worst} {known[worst]:.2f} ({best} {known[best]:.2f})")
    return f"Error: {'; '.join(said)}." if said else ""


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
        "dataset": f"{protocol.dataset} {protocol.split or ''}",
        "depth": f"{protocol.bounds[0]}{protocol.min_m:g}, {protocol.max_m}{protocol.bounds[1]} m",
        "crop": "none" if protocol.crop is None else ", ".join(f"{share:g}" for share in protocol.crop),
        "alignment": protocol.alignment,
        "clip": f"{protocol.clip}, from {protocol.clip_min_m:g} m",
        "mean over": protocol.aggregation,
        "digest": protocol.digest,
    }
    sources = element("ul", *(element("li", source) for source in protocol.sources), class_="keys")
    return section("Protocol", element("p", protocol.about), facts(named), sources)
