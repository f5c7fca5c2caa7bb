"""The page of a comparison: models, how far each two agree, and the images on which they disagree most."""

from __future__ import annotations

from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from cortexia_video.errors import Failure, attempt, format_count, printable
from cortexia_video.evaluation.comparison import ComparedImage, Comparison, read_maps
from cortexia_video.evaluation.metrics.regions import REGIONS, split_errors
from cortexia_video.evaluation.text_table import describe_regions
from cortexia_video.formats.registry import REPORT_MARK
from cortexia_video.html.blocks import code, quiet, section, swatch, table, write_document
from cortexia_video.html.markup import element
from cortexia_video.html.views import Layer, find_scale, link_to, pick_values, show_hint, show_view, to_jpeg
from cortexia_video.html.wording import find_unit, format_number, format_value
from cortexia_video.images.decode import decode
from cortexia_video.images.resampling import resize_image
from cortexia_video.ledger.artifacts import find_depth, read_run_image
from cortexia_video.viz.colormap import colored_depthmap, find_range

_COLOURS, _SPREAD_COLOURS = "viridis_r", "magma"
_NOTE = (
    "Which model is right is not known here. delta1 is the share of the pixels on which two models differ by a "
    "factor under 1.25. Before that each map is aligned to that of one model: the first that is metric (other metric "
    "maps then stay as they are), else the first that is known up to a factor, else the first, whose nearest and "
    "farthest are called 1 and 10."
)
_LEGEND = (
    "All maps of an image share their colours. The last image is the spread: how many times as far as the nearest "
    "answer the farthest is. Below each: in which parts of the image it is largest, and smallest."
)


class _Ends(NamedTuple):
    """What the first and the last colour of a table stand for."""

    low: str
    colours: str
    high: str


def write_comparison(result: Comparison) -> str:
    """Return the page's HTML, which needs nothing but itself."""
    names = [each.name for each in result.models]
    header = element(
        "header",
        element("p", "Model comparison", class_="kicker"),
        element("h1", ", ".join(names)),
        element("p", f"{format_count(result.images, 'image')} with depth by all.", class_="lead"),
    )
    models = [
        [
            printable(each.name),
            each.kind,
            f"{each.done:,}",
            f"{each.failed:,}",
            format_number(each.images_per_second) if each.images_per_second else "-",
            f"{format_number(each.model_ms)} ms" if each.model_ms else "-",
        ]
        for each in result.models
    ]
    head = ["Model", "Values", "Done", "Failed", "Images/s", "In the model, an image"]
    shares = {pair[::way]: share for pair, share in result.agreement.items() for way in (1, -1)}
    agreement = [
        [printable(one), *("" if one == other else f"{shares[one, other]:.3f}" for other in names)]
        for one in names
    ]
    worst = [_show_image(result, image) for image in result.worst]
    count = f"{len(worst):,} of {result.images:,} shown."
    skipped = [element("li", code(each.key), element("span", each.reason)) for each in result.skipped]
    main = element(
        "main",
        header,
        section("Models", table("Models", head, models)),
        section("Agreement", table("Agreement", ["delta1", *map(printable, names)], agreement), quiet(_NOTE)),
        section("Where they disagree most", element("p", count), quiet(_LEGEND), show_hint(), *worst),
        section("What could not be compared", element("ul", *skipped, class_="keys")) if skipped else None,
    )
    return write_document(main, f"Comparison: {', '.join(names)}", REPORT_MARK)


def _show_image(result: Comparison, image: ComparedImage) -> Element:
    folders = [each.folder for each in result.models]
    maps = attempt(image.key, "decode", lambda: read_maps(image, folders))
    if isinstance(maps, Failure):  # it could be read a moment ago
        return show_view([Layer("depth", why_not=maps.reason)], code(image.key, 60))
    every = np.stack([each.values for each in maps])
    scale = find_scale(len(result.worst) * (len(maps) + 2))
    height, width = (max(1, round(scale * side)) for side in every.shape[1:])

    def paint(
        name: str, values: NDArray[np.float32], colours: NDArray[np.uint8], unit: str, ends: _Ends
    ) -> Layer:
        jpeg = to_jpeg(resize_image(colours, height, width), "444")
        below = (f"{name}: {ends.low} ", swatch(ends.colours), f" {ends.high}")
        return Layer(name, jpeg, values=pick_values(values, unit, scale), below=below)

    shown = find_range(np.vstack([*every]), percentiles=(2, 98), spacing="inverse")
    unit = find_unit(maps[0].kind)
    ends = _Ends(format_value(shown.d_min, unit), _COLOURS, format_value(shown.d_max, unit))
    layers = [_read_image(image, height, width)]
    for model, values in zip(result.models, every, strict=True):
        colours = colored_depthmap(values, *shown, _COLOURS, spacing="inverse")
        layers.append(paint(printable(model.name), values, colours, unit or "(relative)", ends))
    spread = every.max(0) / every.min(0)  # NaN where one is unknown
    colours = colored_depthmap(np.log2(spread), 0, 1, _SPREAD_COLOURS)
    layers.append(paint("spread", spread, colours, "times", _Ends("same", _SPREAD_COLOURS, "twice")))
    known = np.isfinite(spread)
    regions = dict(zip(REGIONS, split_errors(every.max(0)[known], every.min(0), known), strict=True))
    shares = zip(result.agreement, image.agreement, strict=True)
    said = ", ".join(f"{one} and {other} {share:.3f}" for (one, other), share in shares)
    caption = f" delta1: {said}. Spread less 1: {describe_regions(regions)}."
    found = zip(result.models, image.lines, map(find_depth, image.lines), strict=True)
    links = {
        model.name: link_to(model.folder / depth[0], result.path)
        for model, line, depth in found
        if depth and "inside" not in line
    }
    return show_view(layers, code(image.key, 60), caption, links=links)


def _read_image(image: ComparedImage, height: int, width: int) -> Layer:
    def read() -> Layer:
        found = decode(read_run_image(image.lines[0]), image.key, enough=lambda *_: (height, width)).image
        return Layer("image", to_jpeg(resize_image(found, height, width), "420"), below=("image",))

    made = attempt(image.key, "decode", read)
    return Layer("image", why_not=made.reason) if isinstance(made, Failure) else made
