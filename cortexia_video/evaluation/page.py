"""The page of an evaluation: the tables, and the worst and best images with where they are wrong."""

from __future__ import annotations

import threading
from bisect import bisect, insort
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Literal, NamedTuple
from xml.etree.ElementTree import Element

import numpy as np

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import Failure, format_count, printable
from cortexia_video.evaluation.ground_truth import GroundTruth
from cortexia_video.evaluation.image_score import ImageScore, align_image, clip_depth, find_ends
from cortexia_video.evaluation.job import Column, Evaluation
from cortexia_video.evaluation.metrics.alignment import ALIGNMENTS
from cortexia_video.evaluation.metrics.depth_metrics import abs_rel
from cortexia_video.evaluation.metrics.pixel_sums import Array
from cortexia_video.evaluation.metrics.regions import REGIONS, fill_unknown, split_errors
from cortexia_video.evaluation.metrics.registry import GROUPS
from cortexia_video.evaluation.predictors import ImageWork, Prediction, Predictor, find_photos
from cortexia_video.evaluation.protocol import Protocol
from cortexia_video.evaluation.reference import EvalItem, Items, PendingItem
from cortexia_video.evaluation.summary import Summary
from cortexia_video.evaluation.text_table import (
    COVERAGE,
    choose_shown,
    describe_draws,
    describe_fit,
    describe_fits,
    describe_mean,
    describe_pixels,
    describe_regions,
    format_interval,
    format_value,
    has_intervals,
    list_sets,
)
from cortexia_video.formats.registry import REPORT_MARK
from cortexia_video.html.blocks import code, facts, quiet, section, swatch, table, write_document
from cortexia_video.html.markup import element
from cortexia_video.html.views import Layer, fit_within, pick_values, show_hint, show_view, to_jpeg
from cortexia_video.images.resampling import resize_image
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
_WIDTH, _HEIGHT = 480, 480  # pixels that a tile's images fit into
_DEPTH_COLOURS = "viridis_r"
_ERROR_COLOURS = "Spectral"


class Tile(NamedTuple):
    """What is shown of an image.

    layers: the image where there is one, reference, depth and error. regions: relative error by region of the
    image. full_size: (height, width) of what the protocol cuts its window from.
    """

    score: ImageScore
    layers: Sequence[Layer]
    regions: Mapping[str, float]
    full_size: tuple[int, int]


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
        self, column: Column, truth: GroundTruth, predictors: Sequence[Predictor]
    ) -> tuple[list[Tile], list[Tile]]:
        """Return the worst and the best of the first predictor; of few images half are best, the rest is worst.

        Those of scores that were kept earlier are made now: their depth is made, or read, again. Where the
        ground truth has no images, they are those that the ledger of a predictor's run knows.
        """
        scores = list(column.list_scores())
        order = np.argsort([abs_rel(score.sums) for score in scores], kind="stable").tolist()
        best = order[: min(_EACH, len(order) // 2)]
        worst = order[len(best) :][-_EACH:][::-1]
        missing = {scores[row].key: scores[row] for row in (*worst, *best)}
        for key in self._tiles.keys() & missing.keys():
            del missing[key]
        items = Items(truth, self._protocol)

        def begin(pending: PendingItem) -> EvalItem | Skipped[None]:
            return items.open(pending) or Skipped(None)

        def measure(item: EvalItem, prediction: Prediction) -> None:
            depth, score = None if isinstance(prediction, Failure) else prediction, missing[item.frame.key]
            self._tiles[score.key] = self._make(item, depth, score)

        if missing:
            work = ImageWork(begin=begin, measure=measure, collect=lambda _: None, workers=1)
            predictors[0].work_through(items.list_pending(missing), work)
        chosen = [[scores[row].key for row in rows] for rows in (worst, best)]
        dark = {
            key for key in chain(*chosen) if key in self._tiles and self._tiles[key].layers[0].name != "image"
        }
        for key, photo in find_photos(predictors, dark):
            tile = self._tiles[key]
            layer = Layer("image", why_not=photo) if isinstance(photo, str) else self._show(tile, photo)
            self._tiles[key] = tile._replace(layers=[layer, *tile.layers])
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
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(mask, filled / reference.depth_m, np.nan)
            errors = np.log2(ratio)
        near, far = (f"{limit:.3g} m" for limit in shown)
        paint = partial(
            colored_depthmap, d_min=shown.d_min, d_max=shown.d_max, cmap=_DEPTH_COLOURS, spacing="inverse"
        )
        layers = [
            _layer("reference", paint(known), known, "m", (near, _DEPTH_COLOURS, far)),
            _layer("depth", paint(clipped), clipped, "m", (near, _DEPTH_COLOURS, far)),
            _layer(
                "error",
                colored_depthmap(errors, -1, 1, _ERROR_COLOURS),
                ratio,
                "times the reference",
                ("half as far", _ERROR_COLOURS, "twice"),
            ),
        ]
        split = split_errors(filled[mask], reference.depth_m, mask)
        height, width = item.frame.image.shape[:2]
        tile = Tile(score, layers, dict(zip(REGIONS, split, strict=True)), (height, width))
        if not item.within.has_images:
            return tile
        return tile._replace(layers=[self._show(tile, item.frame.image), *layers])

    def _show(self, tile: Tile, image: Array) -> Layer:
        """Return the image of a tile, where its reference is."""
        window = self._protocol.cut(resize_image(image, *tile.full_size))
        return Layer("image", _shrink(window, "420"), below=("image",))


def _layer(name: str, colours: Array, values: Array, unit: str, ends: tuple[str, str, str]) -> Layer:
    """Return a map in colours; ends: what the first and the last stand for, their table between."""
    low, table, high = ends
    below = (f"{name}: {low} ", swatch(table), f" {high}")
    return Layer(name, _shrink(colours, "444"), values=pick_values(values, unit), below=below)


def _shrink(image: Array, subsampling: Literal["420", "444"]) -> str:
    height, width = fit_within(image.shape[0], image.shape[1], _HEIGHT, _WIDTH)
    return to_jpeg(resize_image(image, height, width), subsampling)


def write_page(evaluation: Evaluation, summary: Summary, worst: Sequence[Tile], best: Sequence[Tile]) -> str:
    """Return the page's HTML, which needs nothing but itself."""
    first, images = evaluation.columns[0].name, evaluation.count_images()
    predictors = dict.fromkeys(each.predictor for each in evaluation.columns if not each.is_baseline)
    header = element(
        "header",
        element("p", "Depth evaluation", class_="kicker"),
        element("h1", ", ".join(predictors)),
        element(
            "p",
            f"{format_count(images, 'image')} of {evaluation.ground_truth}, by {evaluation.protocol}.",
            class_="lead",
        ),
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
            table("All images", ["", *map(printable, summary.totals)], [fits, *totals]),
            element("div", note, *(element("p", line) for line in compared)),
        ),
        section("Sets", table("Sets", head, sets)) if len(summary.sets[first]) > 1 else None,
        _show_regions(summary),
        section(f"The worst of {printable(first)}", quiet(_LEGEND), show_hint(), *map(_show_tile, worst)),
        section(f"The best of {printable(first)}", *map(_show_tile, best)) if best else None,
        _show_troubles(evaluation),
        _show_protocol(evaluation.protocol),
    )
    return write_document(main, f"Evaluation: {first}", REPORT_MARK)


def _show_regions(summary: Summary) -> Element | None:
    """Make the table of where all are wrong, where that was measured."""
    regions = GROUPS["regions"].metrics
    rows = [
        [meaning.title, *(format_value(totals[name].value) for totals in summary.totals.values())]
        for name, meaning in regions.items()
    ]
    if all(cell == "-" for row in rows for cell in row[1:]):
        return None
    title = "Where the errors are"
    return section(title, quiet(_REGIONS), table(title, ["AbsRel", *map(printable, summary.totals)], rows))


def _show_tile(tile: Tile) -> Element:
    metrics = tile.score.metrics
    scores = ", ".join(
        f"{title} {format_value(metrics[name])}"
        for name, title in (("abs_rel", "AbsRel"), ("delta1", "delta1"), ("coverage", "coverage"))
    )
    said = describe_regions(tile.regions)
    where = f" Error: {said}." if said else ""
    return show_view(tile.layers, code(tile.score.key, 60), f" {scores}.{where} {tile.score.remark}")


def _show_troubles(evaluation: Evaluation) -> Element | None:
    lines = [(f"{each.name}: {key}", remark) for each in evaluation.columns for key, remark in each.remarks()]
    lines += [(each.key, f"not in any mean: {each.reason}") for each in evaluation.skipped]
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
