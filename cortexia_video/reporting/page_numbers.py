"""The sections about numbers: what they mean, how depth and focal lengths are distributed."""

from __future__ import annotations

from collections import Counter, defaultdict
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import KINDS
from cortexia_video.errors import UnknownModelError, format_count
from cortexia_video.html.blocks import chart_box, facts, quiet, section, side_by_side
from cortexia_video.html.charts import Series, draw_histograms
from cortexia_video.html.markup import element
from cortexia_video.html.wording import (
    MEANINGS,
    find_unit,
    format_number,
    format_value,
    shorten,
    shorten_digest,
)
from cortexia_video.models.registry import find_model
from cortexia_video.reporting.depth_sample import DepthSample, Measurement
from cortexia_video.reporting.focal_lengths import FocalLengths
from cortexia_video.reporting.ledger_summary import DepthMeaning

_SHOWN = 6  # meanings, or sources of focal lengths
_LOGARITHMIC = ("metric", "scale_invariant")
_SOURCES = {"exif": "EXIF", "given": "Given", "estimated": "Estimated", "None": "Of unknown source"}
_TERMS = {True: ", free for use in a product", False: ", not for use in a product", None: ""}
_HOW_TO_READ = (
    "Each row counts maps or images by one of their numbers; at its right their median and, in brackets, "
    "the range of the middle half."
)


def show_meanings(meanings: Counter[DepthMeaning]) -> Element | None:
    """Return of each model and kind what its numbers are."""
    if not meanings:
        return None
    cards = []
    for meaning, count in meanings.most_common(_SHOWN):
        try:
            info = find_model(meaning.model)
            licence = f"{info.licence_weights}{_TERMS[info.commercial]}"
        except UnknownModelError:
            licence = "unknown"
        unit = "metre" if find_unit(meaning.kind) else "none: relative"
        larger = "nearer" if meaning.kind == "disparity" else "farther"
        named = {
            "Kind": shorten(meaning.kind),
            "Unit": unit if meaning.kind in KINDS else "unknown",
            "A larger value is": larger if meaning.kind in KINDS else "unknown",
            "Model": shorten(meaning.model),
            "Weights (SHA-256)": shorten_digest(meaning.weights_sha256) or "unknown",
            "Licence of the weights": licence,
            "Images": f"{count:,}",
        }
        meant = element("p", MEANINGS.get(meaning.kind))
        cards.append(element("div", meant, facts(named), class_="group"))
    more = len(meanings) - len(cards)
    rest = f"And {format_count(more, 'other meaning')}, of fewer images."
    return section("What the numbers mean", *cards, quiet(rest) if more else None)


def show_distributions(sample: DepthSample, lengths: FocalLengths) -> Element | None:
    """Draw how near and how far the maps of each meaning go, and the focal lengths from each source."""
    groups: dict[DepthMeaning, list[Measurement]] = defaultdict(list)
    for each in sample.measured:
        if each.unknown < 1:
            groups[each.meaning].append(each)
    largest = sorted(groups.items(), key=lambda group: -len(group[1]))[:_SHOWN]
    boxes = []
    for meaning, maps in largest:
        unit, logarithmic = find_unit(meaning.kind), meaning.kind in _LOGARITHMIC
        ends = ("far end", "near end") if meaning.kind == "disparity" else ("near end", "far end")
        numbers = {
            f"2nd percentile ({ends[0]})": [each.p2 for each in maps],
            "Median": [each.median for each in maps],
            f"98th percentile ({ends[1]})": [each.p98 for each in maps],
        }
        series = [_series(label, np.array(values), unit) for label, values in numbers.items()]
        title = f"{meaning.kind} by {shorten(meaning.model, 40)}: {format_count(len(maps), 'map')}"
        title = title[0].upper() + title[1:]
        note = ("metres" if unit else "no unit") + (", logarithmic axis" if logarithmic else "")
        chart = draw_histograms(title, series, unit=unit, logarithmic=logarithmic, counted="map")
        boxes.append(chart_box(title, note, chart))
    if lengths:
        boxes.append(_draw_focal_lengths(lengths))
    if not boxes:
        return None
    return section("Depth and focal length", quiet(_HOW_TO_READ), side_by_side(*boxes))


def _draw_focal_lengths(lengths: FocalLengths) -> Element:
    series = [
        _series(
            f"{_SOURCES.get(source, shorten(source, 20))}: {format_count(len(values), 'image')}",
            values,
            "mm",
        )
        for source, values in lengths.film_mm.items()
    ][:_SHOWN]
    f_px = np.concatenate([*lengths.f_px.values()])
    pixels = f"{format_number(float(f_px.min()))} to {format_value(float(f_px.max()), 'pixels')}"
    unknown = f" {format_count(lengths.unknown, 'image')} without one." if lengths.unknown else ""
    said = (
        "As on 36 x 24 mm film with the same diagonal field of view: so the size of an image does not "
        f"matter. In pixels: {pixels}.{unknown}"
    )
    title = "Focal length by source"
    chart = draw_histograms(title, series, unit="mm", logarithmic=True)
    return chart_box(title, "35 mm equivalent, logarithmic axis", chart, quiet(said))


def _series(label: str, values: NDArray[np.float64], unit: str) -> Series:
    first, middle, last = map(float, np.percentile(values, (25, 50, 75)))
    note = f"{format_value(middle, unit)} ({format_number(first)} to {format_number(last)})"
    return Series(label, values, note)
