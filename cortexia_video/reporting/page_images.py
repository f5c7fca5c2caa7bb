"""The section of images beside their depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element

from cortexia_video.html.blocks import code, quiet, section, swatch, tag
from cortexia_video.html.markup import element
from cortexia_video.html.views import show_hint, show_view
from cortexia_video.html.wording import find_unit, format_number, format_value, shorten
from cortexia_video.reporting.contact_sheet import Pair
from cortexia_video.reporting.depth_sample import DepthSample

MOST_PAIRS = 1000
_LEGEND = "each map has all colours, from its 2nd to its 98th percentile, which stand below; grey is unknown."


def show_pairs(
    pairs: Sequence[Pair],
    sample: DepthSample,
    *,
    showable: int,
    tags: Mapping[str, str],
    why: Mapping[str, str],
) -> Element | None:
    """Show images and depth, the range of depth below.

    showable: how many there are to show. tags: more words to choose by, and why: reasons; by key.
    """
    if not pairs:
        return None
    measured = {each.key: each for each in sample.measured}
    shown = element("div", class_="pairs")
    clip, row = "", shown  # the frames of a clip are a row of their own
    for pair in pairs:
        name = pair.key.rpartition("/")[0] if "frame" in pair.line else ""
        if name != clip:
            clip, row = name, shown
            if clip:
                row = element("div", class_="clip")
                shown.append(row)
        each, said = measured.get(pair.key), ""
        if each is not None:
            said = f"{format_number(each.p2)} to {format_value(each.p98, find_unit(each.meaning.kind))}"
        about = element(
            "div", element("span", said), tag(pair.why if pair.why != "sampled" else ""), class_="about"
        )
        reason = quiet(shorten(why[pair.key], 240)) if pair.key in why else None
        tagged = f"{pair.why} {tags.get(pair.key, '')}".rstrip()
        row.append(show_view(pair.layers, code(pair.key, 60), about, reason, links=pair.links, tags=tagged))
    count = f"{len(pairs):,} of {showable:,} shown"
    if showable > len(pairs):
        wanted, some = min(showable, MOST_PAIRS), "all" if showable <= MOST_PAIRS else "more"
        count += f"; cortexia report DIR --shown {wanted} shows {some}"
    return section(
        "Images and depth",
        element("p", f"{count}."),
        quiet("Far ", swatch("viridis"), f" near: {_LEGEND}"),
        show_hint(),
        shown,
    )
