"""How well aligned depth fits the distances that it was aligned to: of all images, and which fit worst and where."""

from __future__ import annotations

import heapq
from array import array
from collections import Counter
from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from cortexia_video.depth_map import Alignment
from cortexia_video.errors import format_count
from cortexia_video.html.blocks import code, facts, fold, quiet, section
from cortexia_video.html.markup import element
from cortexia_video.html.wording import format_share, format_value

_KEPT, _OPEN = 60, 15  # images: shown at all, and without a click


class Alignments:
    """Takes in lines of a ledger. A million take 16 MB, and the worst are kept whole."""

    def __init__(self) -> None:
        self.sources: Counter[str] = Counter()
        self._residuals, self._held_out = array("d"), array("d")
        self._points = self._rejected = self._without = 0
        self._worst: list[tuple[float, int, str, Alignment]] = []

    def add(self, line: Mapping[str, Any]) -> None:
        """Count a line that says `done`; most are of depth that was never aligned."""
        if line.get("alignment") is None:
            return
        try:
            found = Alignment.from_dict(line["alignment"])
        except ValueError:  # of a ledger that somebody changed
            return
        self.sources[found.by] += 1
        self._points += found.points_used + found.points_rejected
        self._rejected += found.points_rejected
        if found.held_out_share is not None:
            self._held_out.append(found.held_out_share)
        if found.residual_share is None:
            self._without += 1
            return
        self._residuals.append(found.residual_share)
        entry = (found.residual_share, len(self._residuals), line["key"], found)
        (heapq.heappush if len(self._worst) < _KEPT else heapq.heappushpop)(self._worst, entry)

    def show(self) -> Element | None:
        """Make the section of the page; None where nothing was aligned."""
        if not self.sources:
            return None
        named = {f"aligned by {by}": format_count(count, "image") for by, count in self.sources.items()}
        named["points"] = f"{self._points:,}, of which {self._rejected:,} were rejected"
        for name, shares in (("median residual", self._residuals), ("median error held out", self._held_out)):
            if shares:
                middle, high = np.quantile(shares, (0.5, 0.95))
                named[name] = f"{format_share(middle)}; of 5 % of the images over {format_share(high)}"
        if self._without:
            named["without a point of their own"] = format_count(self._without, "image")
        items = [_show_image(key, found) for _, _, key, found in sorted(self._worst, reverse=True)]
        said = quiet(
            "The images that fit worst come first. Each ninth of an image shows how much farther (+) or nearer its "
            "depth is than its points say."
        )
        more = len(self._residuals) - len(items)
        return section("Alignment", facts(named), *((said, *fold(items, _OPEN, more)) if items else ()))


def _show_image(key: str, found: Alignment) -> Element:
    off = format_value(found.residual_m or 0.0, "m")
    said = (
        f"{format_share(found.residual_share or 0.0)} ({off}) at {format_count(found.points_used, 'point')}"
    )
    said += f", {found.points_rejected:,} rejected" if found.points_rejected else ""
    if found.held_out_share is not None:
        said += f"; held out {format_share(found.held_out_share)}"
    said += f"; {format_share(found.beyond)} of the pixels beyond the points" if found.beyond > 0.005 else ""
    rows = [found.residual_grid[begin : begin + 3] for begin in (0, 3, 6)]
    cells = [
        [element("td", "" if each is None else f"{round(100 * each):+d} %") for each in row] for row in rows
    ]
    table = element("table", *(element("tr", *row) for row in cells), class_="ninths")
    return element("li", code(key), element("span", said), table)
