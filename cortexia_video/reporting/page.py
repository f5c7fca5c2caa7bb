"""The page: what was found, as HTML that needs nothing but itself."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from cortexia_video.color_tables import find_color_table
from cortexia_video.errors import UnknownModelError
from cortexia_video.formats.table import REPORT_MARK
from cortexia_video.models.table import find_model
from cortexia_video.reporting.charts import Bar, Series, draw_bars, draw_histograms
from cortexia_video.reporting.contact_sheet import Pair
from cortexia_video.reporting.depth_sample import DepthSample, Measurement
from cortexia_video.reporting.failures import FailureGroup
from cortexia_video.reporting.ledger_summary import LedgerSummary, Meaning, Run
from cortexia_video.reporting.markup import Content, append, element, style, write_html
from cortexia_video.reporting.outliers import Outlier
from cortexia_video.reporting.wording import (
    MEANINGS,
    find_unit,
    format_count,
    format_number,
    format_seconds,
    format_share,
    format_value,
    shorten,
)

_REASONS, _KEYS_OPEN = 20, 8  # failures: reasons that are shown, and keys of each without a click
_OUTLIERS, _OUTLIERS_OPEN = 60, 15
_UNREADABLE = 40
_RUNS = 25
_MEANINGS = 6
_LOGARITHMIC = ("metric", "scale_invariant")
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_SOURCES = {"exif": "EXIF", "given": "given by a person", "estimated": "estimated by the model"}
_NAMES = {"failed": "failed", "unusual": "unusual", "sampled": ""}


@dataclass(frozen=True, slots=True)
class Findings:
    """All that the page tells. folder: as it was named."""

    folder: str
    summary: LedgerSummary
    sample: DepthSample
    outliers: Sequence[Outlier]
    focal_outliers: Sequence[Outlier]
    pairs: Sequence[Pair]


def write_page(found: Findings) -> str:
    """Give the page's HTML."""
    title = f"Depth report: {found.folder}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        style(files("cortexia_video.reporting").joinpath("page.css").read_text(encoding="utf-8")),
    )
    sections = (
        _show_meanings(found),
        _show_failures(found.summary),
        _show_unreadable(found.sample),
        _show_outliers(found),
        _show_pairs(found),
        _show_depth(found.sample),
        _show_focal_lengths(found.summary),
        _show_speed(found.summary.runs),
        _show_runs(found.summary.runs),
    )
    main = element("main", _show_header(found), *sections, _show_footer(found))
    return write_html(element("html", head, element("body", main), lang="en"), REPORT_MARK.decode())


# ---- what came of the pictures -----------------------------------------------------------------------------


def _show_header(found: Findings) -> Element:
    summary = found.summary
    waiting = summary.requeued + summary.unfinished
    tiles = [
        _tile(f"{summary.pictures:,}", "pictures"),
        _tile(f"{summary.done:,}", "done"),
        _tile(f"{summary.failed:,}", "failed", "bad" if summary.failed else None),
        _tile(f"{summary.requeued:,}", "requeued", "bad" if summary.requeued else None),
        _tile(f"{summary.unfinished:,}", "not finished", "bad" if summary.unfinished else None),
    ]
    note = "The next run does what is requeued or not finished." if waiting else None
    return element(
        "header",
        element("p", "Depth report", class_="kicker"),
        element("h1", found.folder),
        element("p", _say_all(found), class_="lead"),
        element("dl", *tiles, class_="tiles"),
        element("p", note, class_="quiet") if note else None,
    )


def _tile(number: str, label: str, class_: str | None = None) -> Element:
    return element("div", element("dt", label), element("dd", number, class_=class_))


def _say_all(found: Findings) -> str:
    """Give the sentences that a person reads who reads no more."""
    summary, sample = found.summary, found.sample
    if not summary.pictures:
        return "No picture has come to an end here yet."
    fates = f"{summary.done:,} of {format_count(summary.pictures, 'picture')} have depth"
    failed = f", {summary.failed:,} failed" if summary.failed else ""
    looked = f" Of {format_count(sample.pictures, 'depth map')} looked at, {len(found.outliers):,} "
    looked += "looks unusual" if len(found.outliers) == 1 else "look unusual"
    broken = f" and {len(sample.unreadable):,} cannot be read" if sample.unreadable else ""
    return f"{fates}{failed}.{looked if sample.pictures else ''}{broken}{'.' if sample.pictures else ''}"


def _show_failures(summary: LedgerSummary) -> Element | None:
    if not summary.failed:
        return None
    groups = summary.failures.largest()
    more = sum(group.count for group in groups[_REASONS:])
    shown = [_show_group(group) for group in groups[:_REASONS]]
    rest = f"And {format_count(more, 'failure')} for other reasons: ledger.jsonl has them all." if more else None
    return _section("Failures", *shown, element("p", rest, class_="quiet") if rest else None)


def _show_group(group: FailureGroup) -> Element:
    varied = any(reason != group.reason for _, reason in group.keys)
    items = [
        element("li", _code(key), element("span", shorten(reason, 200), class_="quiet") if varied else None)
        for key, reason in group.keys
    ]
    more = group.count - len(items)
    count = element("span", f"{group.count:,}", class_="count")
    stage = element("span", group.stage, class_="tag")
    heading = element("h3", count, " ", shorten(group.reason, 300), " ", stage if group.stage else None)
    return element("div", heading, *_fold(items, _KEYS_OPEN, more), class_="group")


def _show_unreadable(sample: DepthSample) -> Element | None:
    """List the damaged outputs that were met."""
    if not sample.unreadable:
        return None
    count = f"{len(sample.unreadable):,} of {format_count(sample.pictures, 'sampled output')}"
    remedy = element("code", "cortexia verify --requeue")
    items = [element("li", shorten(each.reason, 240)) for each in sample.unreadable[:_UNREADABLE]]
    more = len(sample.unreadable) - len(items)
    intro = element("p", f"{count} cannot be read. ", remedy, " finds all such, and lets the next run do them again.")
    return _section("Damaged outputs", intro, *_fold(items, _KEYS_OPEN, more))


def _fold(items: Sequence[Element], most: int, more: int) -> Iterator[Element]:
    """Yield a list, what is beyond `most` behind a click, and how many more there are."""
    yield element("ul", *items[:most], class_="keys")
    if items[most:]:
        summary = element("summary", f"{len(items) - most:,} more")
        yield element("details", summary, element("ul", *items[most:], class_="keys"))
    if more:
        yield element("p", f"And {more:,} more: ledger.jsonl has them all.", class_="quiet")


# ---- what the numbers are ----------------------------------------------------------------------------------


def _show_meanings(found: Findings) -> Element | None:
    meanings = found.summary.meanings.most_common()
    if not meanings:
        return None
    cards = [_show_meaning(meaning, count) for meaning, count in meanings[:_MEANINGS]]
    more = len(meanings) - len(cards)
    rest = element("p", f"And {format_count(more, 'other meaning')}.", class_="quiet") if more else None
    return _section("What the numbers mean", *cards, rest)


def _show_meaning(meaning: Meaning, count: int) -> Element:
    metric = meaning.kind == "metric"
    direction = "nearer" if meaning.kind == "disparity" else "farther"
    known = meaning.kind in MEANINGS
    facts = {
        "Kind": meaning.kind,
        "Unit": ("metre" if metric else "none: relative") if known else "unknown",
        "A larger number is": direction if known else "unknown",
        "Model": shorten(meaning.model),
        "Weights (SHA-256)": f"{meaning.weights_sha256[:16]}…" if meaning.weights_sha256 else "unknown",
        **_find_licence(meaning.model),
        "Pictures": f"{count:,}",
    }
    return element("div", element("p", MEANINGS.get(meaning.kind)), _facts(facts), class_="group")


def _find_licence(model: str) -> dict[str, str]:
    """Say on what terms the weights of a model may be used, where the table of models knows it."""
    try:
        info = find_model(model)
    except UnknownModelError:
        return {"Licence of the weights": "unknown"}
    commercial = {True: "free for use in a product", False: "not for use in a product", None: ""}
    terms = commercial[info.commercial]
    return {"Licence of the weights": f"{info.licence_weights}{f', {terms}' if terms else ''}"}


def _facts(facts: Mapping[str, str]) -> Element:
    pairs = [
        element("div", element("dt", name), element("dd", text, title=text if len(text) > 30 else None))
        for name, text in facts.items()
    ]
    return element("dl", *pairs, class_="facts")


def _show_depth(sample: DepthSample) -> Element | None:
    groups: dict[Meaning, list[Measurement]] = defaultdict(list)
    for each in sample.measured:
        if each.unknown < 1:
            groups[each.meaning].append(each)
    largest = sorted(groups.items(), key=lambda group: -len(group[1]))[:_MEANINGS]
    parts = [_draw_depth(meaning, maps) for meaning, maps in largest]
    if not parts:
        return None
    how = "Of each map: the value that 2 %, half and 98 % of its known pixels are not above."
    return _section("Depth", element("p", how, class_="quiet"), element("div", *parts, class_="charts"))


def _draw_depth(meaning: Meaning, maps: Sequence[Measurement]) -> Element:
    unit = find_unit(meaning.kind)
    ends = ("far end", "near end") if meaning.kind == "disparity" else ("near end", "far end")
    numbers = {
        f"2nd percentile ({ends[0]})": [each.p2 for each in maps],
        "median": [each.median for each in maps],
        f"98th percentile ({ends[1]})": [each.p98 for each in maps],
    }
    series = [_series(label, np.array(values), unit) for label, values in numbers.items()]
    logarithmic = meaning.kind in _LOGARITHMIC
    title = f"{meaning.kind} by {shorten(meaning.model, 40)}: {format_count(len(maps), 'map')}"
    axis = ("metres" if unit else "no unit") + (", logarithmic axis" if logarithmic else "")
    return _figure(title, axis, draw_histograms(title, series, unit=unit, logarithmic=logarithmic, counted="map"))


def _series(label: str, values: NDArray[np.float64], unit: str) -> Series:
    first, middle, last = np.percentile(values, (25, 50, 75))
    half = f"half of them {format_number(first)} to {format_value(last, unit)}, median {format_number(middle)}"
    return Series(label, values, half)


def _show_focal_lengths(summary: LedgerSummary) -> Element | None:
    if not summary.done:
        return None
    lengths = summary.focal_lengths
    unknown = f"{format_count(lengths.unknown, 'picture')} of {summary.done:,} without a known focal length."
    if not len(lengths):
        return _section("Focal length", element("p", unknown))
    in_pixels = lengths.f_px
    series = [
        _series(f"{_SOURCES.get(source, source)}: {len(values):,}", values, "mm")
        for source, values in lengths.film_mm.items()
    ][:_MEANINGS]
    title = "Focal length by where it is from"
    chart = draw_histograms(title, series, unit="mm", logarithmic=True)
    pixels = "; ".join(
        f"{_SOURCES.get(source, source)} {format_number(float(values.min()))} to {format_value(float(values.max()), 'pixels')}"
        for source, values in in_pixels.items()
    )
    said = f"As on 36 x 24 mm film, so that the size of a picture does not matter. In pixels: {pixels}."
    rest = element("p", unknown, class_="quiet") if lengths.unknown else None
    figure = _figure(title, "mm on 35 mm film, logarithmic axis", chart)
    return _section("Focal length", element("p", said, class_="quiet"), element("div", figure, class_="charts"), rest)


# ---- what to look at ---------------------------------------------------------------------------------------


def _show_outliers(found: Findings) -> Element | None:
    lists = [
        _list_outliers(f"Depth, among {format_count(len(found.sample.measured), 'map')} looked at", found.outliers),
        _list_outliers(f"Focal length, among {format_count(len(found.summary.focal_lengths), 'picture')}", found.focal_outliers),
    ]
    return _section("Unusual", *lists) if any(part is not None for part in lists) else None


def _list_outliers(heading: str, outliers: Sequence[Outlier]) -> Element | None:
    if not outliers:
        return None
    items = [
        element("li", _code(each.key), element("span", "; ".join(each.reasons)))
        for each in outliers[:_OUTLIERS]
    ]
    return element(
        "div", element("h3", heading), *_fold(items, _OUTLIERS_OPEN, len(outliers) - len(items)), class_="group"
    )


def _show_pairs(found: Findings) -> Element | None:
    if not found.pairs:
        return None
    ranges = {each.key: _say_range(each) for each in found.sample.measured}
    return _section(
        "Pictures and depth",
        _show_legend(),
        element("div", *(_show_pair(pair, ranges.get(pair.key)) for pair in found.pairs), class_="pairs"),
    )


def _show_legend() -> Element:
    table = find_color_table("viridis")
    colors = ", ".join(f"#{bytes(table[place]).hex()}" for place in range(0, 256, 51))
    swatch = element("span", class_="swatch", style=f"background: linear-gradient(to right, {colors})")
    text = "each map scaled for itself, from its 2nd to its 98th percentile; grey is unknown"
    return element("p", "far ", swatch, f" near; {text}", class_="quiet")


def _say_range(each: Measurement) -> str:
    unit = find_unit(each.meaning.kind)
    return f"{format_number(each.p2)} to {format_value(each.p98, unit)}"


def _show_pair(pair: Pair, said: str | None) -> Element:
    images = element(
        "div",
        _image(pair.picture, "picture", pair.why_no_picture),
        _image(pair.depth, "depth", pair.why_no_depth),
        class_="pair",
    )
    name = _NAMES[pair.why]
    caption = element(
        "figcaption",
        _code(pair.key, 60),
        element("span", said, class_="range") if said else None,
        element("span", name, class_="tag") if name else None,
    )
    return element("figure", images, caption)


def _image(data: str | None, what: str, why_not: str) -> Element:
    if data is None:
        return element("div", shorten(why_not, 160), class_="missing")
    return element("img", src=data, alt=what)


# ---- how fast it was ---------------------------------------------------------------------------------------


def _show_speed(runs: Sequence[Run]) -> Element | None:
    """Show where the time of the run that did most pictures went."""
    measured = [run for run in runs if run.speed]
    if not measured:
        return None
    run = max(measured, key=lambda run: _number(run.end, "done"))
    speed = run.speed or {}
    stages = speed.get("core_seconds_an_image")
    bars = [
        Bar(str(name), 1e3 * used, f"{format_number(1e3 * used)} ms")
        for name, used in (stages.items() if isinstance(stages, dict) else ())
        if isinstance(used, int | float)
    ]
    bars.sort(key=lambda bar: -bar.value)
    done, rate = _number(run.end, "done"), _number(run.end, "images_per_second")
    said = (
        f"The run of {_say_time(run.started)} did {format_count(int(done), 'picture')} at {format_number(rate)} "
        f"pictures/s: {_say_share(speed, 'share_of_bound')} of what {_say_machine(speed)} can do. "
        f"The model was at work for {_say_share(speed, 'model_share')} of the time, the cores for "
        f"{_say_share(speed, 'cores_share')}; slowest: {speed.get('slowest')}."
    )
    title = "Milliseconds of a core for each picture"
    figure = _figure(title, "by stage", draw_bars(title, bars)) if bars else None
    return _section("Speed", element("p", said), element("div", figure, class_="charts") if bars else None)


def _say_machine(speed: Mapping[str, Any]) -> str:
    cores, devices = int(_number(speed, "cores")), int(_number(speed, "devices"))
    return f"{format_count(cores, 'core')} and {format_count(devices, 'device')}"


def _say_share(speed: Mapping[str, Any], name: str) -> str:
    return format_share(_number(speed, name))


def _show_runs(runs: Sequence[Run]) -> Element | None:
    if not runs:
        return None
    latest = runs[-1]
    settings = {str(name): shorten(_say_setting(value), 80) for name, value in latest.settings.items()}
    titles = ("Started (UTC)", "Found", "Done", "Skipped", "Failed", "Time", "Pictures/s", "Of bound", "Slowest", "Other settings")
    head = element("thead", element("tr", *(element("th", title, scope="col") for title in titles)))
    body = element("tbody", *(_show_run(run, latest) for run in reversed(runs[-_RUNS:])))
    more = len(runs) - _RUNS
    rest = element("p", f"And {format_count(more, 'earlier run')}.", class_="quiet") if more > 0 else None
    table = element("div", element("table", head, body), class_="wide", tabindex="0", role="region", aria_label="Runs")
    about = element("div", element("h3", "Settings of the latest run"), _facts(settings), class_="group")
    return _section("Runs", table, rest, about)


def _show_run(run: Run, latest: Run) -> Element:
    """Give a row; settings are shown where they are not the latest's."""
    other = [name for name in {**run.settings, **latest.settings} if run.settings.get(name) != latest.settings.get(name)]
    said = "; ".join(f"{name}: {shorten(_say_setting(run.settings.get(name)), 24)}" for name in other[:8])
    if run.end is None:
        cells = [*["–"] * 4, "no end: killed, or still going on", "", "", ""]
    else:
        counts = (f"{int(_number(run.end, name)):,}" for name in ("found", "done", "skipped", "failed"))
        time = format_seconds(_number(run.end, "seconds")) + (", interrupted" if run.end.get("interrupted") else "")
        rate = format_number(_number(run.end, "images_per_second"))
        speed = run.speed or {}
        cells = [*counts, time, rate, _say_share(speed, "share_of_bound") if speed else "", str(speed.get("slowest", ""))]
    return element("tr", element("td", _say_time(run.started)), *(element("td", cell) for cell in cells), element("td", said))


def _say_time(text: str) -> str:
    """Give `2026-11-21 11:41` for a time as the ledger has it."""
    return shorten(text[:16].replace("T", " "), 20)


def _say_setting(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else str(value)


def _number(entry: Mapping[str, Any] | None, name: str) -> float:
    """Give a number of a ledger's line, 0 where it has none."""
    value = (entry or {}).get(name)
    return float(value) if isinstance(value, int | float) else 0.0


# ---- pieces ------------------------------------------------------------------------------------------------


def _show_footer(found: Findings) -> Element:
    sample = found.sample
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    said = (
        f"Written {now} by cortexia {version('cortexia-video')}. Depth was measured on {sample.pictures:,} of "
        f"{format_count(found.summary.done, 'picture')} with depth, chosen by a hash of their keys. A map is "
        "unusual whose median or range is more than 3.5 robust standard deviations, and a factor of 1.5, from "
        "the others'; that is constant; of whose pixels over 20 % are unknown, or over 25 % share its largest "
        "or smallest value."
    )
    return element("footer", element("p", said))


def _section(title: str, *content: Content) -> Element:
    return append(element("section", element("h2", title)), content)


def _figure(title: str, note: str, chart: Element) -> Element:
    caption = element("figcaption", element("strong", title), element("span", note, class_="quiet"))
    return element("figure", caption, chart, class_="chart-box")


def _code(key: str, most: int = 120) -> Element:
    return element("code", shorten(key, most), title=shorten(key, 400) if len(key) > most else None)


__all__: Iterable[str] = ("Findings", "write_page")
