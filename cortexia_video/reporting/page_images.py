"""The section of images beside their depth."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from cortexia_video.html.blocks import code, quiet, section, swatch, tag
from cortexia_video.html.markup import element
from cortexia_video.html.wording import find_unit, format_number, format_value, shorten
from cortexia_video.reporting.contact_sheet import Pair
from cortexia_video.reporting.depth_sample import DepthSample

_TAGS = {"failed": "failed", "unusual": "unusual", "sampled": ""}


def show_pairs(pairs: Sequence[Pair], sample: DepthSample) -> Element | None:
    """Show images and depth, the range of depth below."""
    if not pairs:
        return None
    measured = {each.key: each for each in sample.measured}
    figures = []
    for pair in pairs:
        each, said = measured.get(pair.key), ""
        if each is not None:
            said = f"{format_number(each.p2)} to {format_value(each.p98, find_unit(each.meaning.kind))}"
        image = _show_image(pair.image, "image", pair.why_no_image)
        depth = _show_image(pair.depth, "depth", pair.why_no_depth)
        about = element("div", element("span", said), tag(_TAGS[pair.why]), class_="about")
        caption = element("figcaption", code(pair.key, 60), about)
        figures.append(element("figure", element("div", image, depth, class_="pair"), caption))
    legend = (
        "each map has all colours, from its 2nd to its 98th percentile, which stand below; grey is unknown"
    )
    return section(
        "Images and depth",
        quiet("Far ", swatch("viridis"), f" near: {legend}."),
        element("div", *figures, class_="pairs"),
    )


def _show_image(data: str | None, what: str, why_not: str) -> Element:
    if data is None:
        return element("div", shorten(why_not, 160), class_="missing")
    return element("img", src=data, alt=what)
