"""The page of an evaluation: the tables, and the worst and best images with where they are wrong."""

from __future__ import annotations

import base64
import io
import math
import threading
from bisect import bisect, insort
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np
from PIL import Image

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import Failure, printable
from cortexia_video.evaluation.ground_truth import GroundTruth
from cortexia_video.evaluation.image_score import ImageScore, align_image, clip_depth, find_ends
from cortexia_video.evaluation.job import Column, Evaluation
from cortexia_video.evaluation.metrics.alignment import ALIGNMENTS
from cortexia_video.evaluation.metrics.depth_metrics import abs_rel
from cortexia_video.evaluation.metrics.pixel_sums import Array
from cortexia_video.evaluation.metrics.regions import REGIONS, fill_unknown, split_errors
from cortexia_video.evaluation.metrics.registry import GROUPS
from cortexia_video.evaluation.predictors import Prediction, Predictor, Work
from cortexia_video.evaluation.protocol import Protocol
from cortexia_video.evaluation.reference import Destination, EvalItem, Items
from cortexia_video.evaluation.summary import Summary
from cortexia_video.evaluation.text_table import (
    COVERAGE,
    choose_shown,
    describe_draws,
    describe_fit,
    describe_fits,
    describe_mean,
    describe_pixels,
    format_interval,
    format_value,
    has_intervals,
    list_sets,
)
from cortexia_video.formats.registry import REPORT_MARK
from cortexia_video.html.blocks import code, facts, quiet, section, swatch, write_document
from cortexia_video.html.markup import element
from cortexia_video.inference.executor import Skipped
from cortexia_video.viz.colormap import colored_depthmap, find_range

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
_EACH = 6  # of the worst, and of the best
_WIDTH = 320
_QUALITY = 85
DEPTH_COLOURS = "viridis_r"
ERROR_COLOURS = "Spectral"


class Tile(NamedTuple):
    """Images as data URIs; image is None where there is none.

    limits_m: where the colours of depth end. regions: relative error by region of the image.
    """

    score: ImageScore
    image: str | None
    reference: str
    depth: str
    errors: str
    limits_m: tuple[float, float]
    regions: Mapping[str, float]


class TileMaker:
    """Tiles of the worst and the best images of a predictor by AbsRel, made while their depth is in memory."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._lock = threading.Lock()
        self._order: list[tuple[float, str]] = []  # AbsRel and key of what is kept, the best first
        self._tiles: dict[str, Tile] = {}

    def look(self, item: EvalItem, depth: DepthMap | None, score: ImageScore) -> None:
        """Make a tile of an image if it may be among the worst or the best; on any thread."""
        place = abs_rel(score.sums), score.key
        with self._lock:
            if len(self._order) == 2 * _EACH and bisect(self._order, place) == _EACH:
                return
        tile = self._make(item, depth, score)
        with self._lock:
            insort(self._order, place)
            self._tiles[score.key] = tile
            if len(self._order) > 2 * _EACH:
                del self._tiles[self._order.pop(_EACH)[1]]

    def choose(
        self, column: Column, truth: GroundTruth, predictor: Predictor
    ) -> tuple[list[Tile], list[Tile]]:
        """Return the worst and the best; of few images half are best, the rest is worst.

        Those of scores that were kept earlier are made now: their depth is made, or read, again.
        """
        scores = list(column.list_scores())
        order = np.argsort([abs_rel(score.sums) for score in scores], kind="stable").tolist()
        best = order[: min(_EACH, len(order) // 2)]
        worst = order[len(best) :][-_EACH:][::-1]
        missing = {scores[row].key: scores[row] for row in (*worst, *best)}
        for key in self._tiles.keys() & missing.keys():
            del missing[key]
        items = Items(truth, self._protocol)

        def begin(place: Destination) -> EvalItem | Skipped[None]:
            return items.open(place) or Skipped(None)

        def measure(item: EvalItem, prediction: Prediction) -> None:
            depth, score = None if isinstance(prediction, Failure) else prediction, missing[item.frame.key]
            self._tiles[score.key] = self._make(item, depth, score)

        if missing:
            work = Work(begin=begin, measure=measure, settle=lambda _: None, workers=1)
            predictor.work_through(items.list_places(missing), work)
        chosen = [[scores[row].key for row in rows] for rows in (worst, best)]
        first, second = ([self._tiles[key] for key in keys if key in self._tiles] for keys in chosen)
        return first, second

    def _make(self, item: EvalItem, depth: DepthMap | None, score: ImageScore) -> Tile:
        reference, mask = item.reference, item.reference.mask
        protocol = self._protocol if score.alignment == self._protocol.alignment else self._protocol.plain
        aligned = align_image(depth, reference, protocol, score.fit)
        known = np.where(mask, reference.depth_m, np.nan)
        clipped = clip_depth(aligned, reference.limit_m, protocol)
        filled = fill_unknown(clipped, known, find_ends(reference.max_m, protocol))
        shown = find_range(known, percentiles=(2, 98), spacing="inverse")
        limits = (shown.d_min, shown.d_max)
        true, found = (
            colored_depthmap(each, *limits, DEPTH_COLOURS, spacing="inverse") for each in (known, clipped)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(mask, np.log2(filled / reference.depth_m), np.nan)
        errors = colored_depthmap(ratio, -1, 1, ERROR_COLOURS)
        photo = _encode(protocol.cut(item.frame.image)) if item.within.has_images else None
        split = split_errors(filled[mask], reference.depth_m, mask)
        regions = dict(zip(REGIONS, split, strict=True))
        return Tile(score, photo, _encode(true), _encode(found), _encode(errors), limits, regions)


def _encode(image: Array) -> str:
    """Return a small JPEG as a data URI; averaged where it shrinks."""
    small = Image.fromarray(np.ascontiguousarray(image))
    if small.width > _WIDTH:
        small = small.resize(
            (_WIDTH, max(1, round(small.height * _WIDTH / small.width))), Image.Resampling.BOX
        )
    data = io.BytesIO()
    small.save(data, "JPEG", quality=_QUALITY, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"


def write_page(evaluation: Evaluation, summary: Summary, worst: Sequence[Tile], best: Sequence[Tile]) -> str:
    """Return the page's HTML, which needs nothing but itself."""
    first, images = evaluation.columns[0].name, evaluation.count_images()
    predictors = dict.fromkeys(each.predictor for each in evaluation.columns if not each.is_baseline)
    header = element(
        "header",
        element("p", "Depth evaluation", class_="kicker"),
        element("h1", ", ".join(predictors)),
        element("p", f"{images} images of {evaluation.place}, by {evaluation.protocol}.", class_="lead"),
        element("p", f"All images together: {describe_mean(evaluation)}."),
        *(element("p", f"{line}.") for line in describe_fits(evaluation)),
    )
    totals = [
        [title, *(format_interval(totals[metric]) for totals in summary.totals.values())]
        for metric, title in choose_shown(evaluation, summary).items()
    ]
    fits = ["fit", *(describe_fit(column) for column in evaluation.columns)]
    compared = [
        f"{each.first} less {each.other}: AbsRel {format_interval(each.differences['abs_rel'])}"
        + (f", better in {each.better['abs_rel']:.0%} of draws." if has_intervals(summary) else ".")
        for each in summary.comparisons
    ]
    note = quiet(f"There are {describe_draws(summary)}. (-) smaller is better, (+) larger. {COVERAGE}")
    head, *sets = list_sets(evaluation, summary)
    main = element(
        "main",
        header,
        section(
            "All images",
            _make_table(["", *map(printable, summary.totals)], [fits, *totals]),
            element("div", note, *(element("p", line) for line in compared)),
        ),
        section("Sets", _make_table(head, sets)) if len(summary.sets[first]) > 1 else None,
        _show_regions(summary),
        section(f"The worst of {printable(first)}", quiet(_LEGEND), *map(_show_tile, worst)),
        section(f"The best of {printable(first)}", *map(_show_tile, best)) if best else None,
        _show_troubles(evaluation),
        _show_protocol(evaluation.protocol),
    )
    own = files("cortexia_video.evaluation").joinpath("page.css").read_text(encoding="utf-8")
    return write_document(main, f"Evaluation: {first}", REPORT_MARK, css=own)


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


def _show_tile(tile: Tile) -> Element:
    metrics, (near, far) = tile.score.metrics, (f"{limit:.3g} m" for limit in tile.limits_m)
    cells = []
    for name, data, colours, low, high in (
        ("image", tile.image, "", "", ""),
        ("reference", tile.reference, DEPTH_COLOURS, near, far),
        ("depth", tile.depth, DEPTH_COLOURS, near, far),
        ("error", tile.errors, ERROR_COLOURS, "half as far", "twice"),
    ):
        if data is not None:
            scale = (f"{name}: {low} ", swatch(colours), f" {high}") if colours else (name,)
            cells.append(
                element("div", element("img", src=data, alt=name), element("div", *scale, class_="scale"))
            )
    said = []  # of each way to divide the image, the worst part against the best
    for way in (REGIONS[:3], REGIONS[3:6], REGIONS[6:]):
        known = {name: tile.regions[name] for name in way if not math.isnan(tile.regions[name])}
        worst, best = (choose(known, key=known.__getitem__, default="") for choose in (max, min))
        if worst != best:
            said.append(f"{worst} {known[worst]:.2f} ({best} {known[best]:.2f})")
    scores = ", ".join(
        f"{title} {format_value(metrics[name])}"
        for name, title in (("abs_rel", "AbsRel"), ("delta1", "delta1"), ("coverage", "coverage"))
    )
    where = f" Error: {'; '.join(said)}." if said else ""
    caption = element("figcaption", code(tile.score.key, 60), f" {scores}.{where} {tile.score.remark}")
    return element("figure", element("div", *cells, class_="row"), caption, class_="tile")


def _show_troubles(evaluation: Evaluation) -> Element | None:
    lines = [(f"{each.name}: {key}", remark) for each in evaluation.columns for key, remark in each.remarks()]
    lines += [(each.key, f"not in any mean: {each.reason}") for each in evaluation.left]
    notes = [element("p", note) for note in describe_pixels(evaluation)]
    if not lines and not notes:
        return None
    items = [element("li", code(key), element("span", why)) for key, why in lines[:_LISTED]]
    more = quiet(f"And {len(lines) - _LISTED} more.") if len(lines) > _LISTED else None
    listed = element("ul", *items, class_="keys") if items else None
    return section("What could not be measured", *notes, listed, more)


def _show_protocol(protocol: Protocol) -> Element:
    named = {
        "dataset": f"{protocol.dataset} {protocol.split or ''}",
        "depth": f"{protocol.bounds[0]}{protocol.min_m:g}, {protocol.max_m}{protocol.bounds[1]} m",
        "crop": "none" if protocol.crop is None else ", ".join(f"{share:g}" for share in protocol.crop),
        "fit": ALIGNMENTS[protocol.alignment].describe(protocol.align_per)
        + ("; metric depth also without" if protocol.unfitted else ""),
        "clip": f"{protocol.clip}, from {protocol.clip_min_m:g} m",
        "mean over": protocol.aggregation,
        "digest": protocol.digest,
    }
    sources = element("ul", *(element("li", source) for source in protocol.sources), class_="keys")
    return section("Protocol", element("p", protocol.about), facts(named), sources)
