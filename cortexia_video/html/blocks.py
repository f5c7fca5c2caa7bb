"""The pieces that sections of the page are made of."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from xml.etree.ElementTree import Element

from cortexia_video.html.markup import Content, append, element, verbatim, write_html
from cortexia_video.html.views import make_viewer
from cortexia_video.html.wording import shorten
from cortexia_video.viz.color_tables import find_color_table

_LONG = 30  # characters: such a fact is also its own tooltip
_POLICY = (
    "default-src 'none'; base-uri 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{}'"
)


def write_document(main: Element, title: str, mark: bytes) -> str:
    """Return the HTML of a page that needs nothing but itself, and in which no script but ours can run.

    mark: by which the file is known as ours.
    """
    room = files(__package__)
    css, script = (room.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY.format(digest)),
        element("title", title),
        verbatim("style", css),
    )
    body = element("body", main, make_viewer(), verbatim("script", script))
    return write_html(element("html", head, body, lang="en"), mark.decode())


def section(title: str, *content: Content) -> Element:
    return append(element("section", element("h2", title)), content)


def quiet(*content: Content) -> Element:
    """Make a paragraph that does not ask for attention."""
    return append(element("p", class_="quiet"), content)


def code(key: str, most: int = 120) -> Element:
    """Make a key, its middle left out where it is long; a tooltip then has more of it."""
    return element("code", shorten(key, most), title=shorten(key, 200) if len(key) > most else None)


def tag(text: str) -> Element | None:
    return element("span", text, class_="tag") if text else None


def swatch(colors: str) -> Element:
    """Make a bar of a color table."""
    table = find_color_table(colors)
    steps = ", ".join(f"#{bytes(table[place]).hex()}" for place in range(0, 256, 51))
    return element("span", class_="swatch", style=f"background: linear-gradient(to right, {steps})")


def facts(named: Mapping[str, str]) -> Element:
    """Make a list of names and values."""
    pairs = [
        element("div", element("dt", name), element("dd", text, title=text if len(text) > _LONG else None))
        for name, text in named.items()
    ]
    return element("dl", *pairs, class_="facts")


def fold(items: Sequence[Element], open_: int, more: int) -> Iterator[Element]:
    """Yield a list of `open_` items, those beyond them behind a click, and how many `more` there are."""
    yield element("ul", *items[:open_], class_="keys")
    if items[open_:]:
        summary = element("summary", f"{len(items) - open_:,} more")
        yield element("details", summary, element("ul", *items[open_:], class_="keys"))
    if more:
        yield quiet(f"And {more:,} more, not on this page.")


def table(
    label: str, head: Sequence[str], rows: Sequence[Sequence[str]], class_: str | None = None
) -> Element:
    """Make a table; on a phone each row is a list of titles and cells. The roles hold there, too."""
    titles = element("tr", *(element("th", title, scope="col") for title in head))
    lines = [
        element(
            "tr",
            *(
                element("td", cell, role="cell", data_title=title)
                for title, cell in zip(head, row, strict=True)
            ),
            role="row",
        )
        for row in rows
    ]
    made = element(
        "table", element("thead", titles), element("tbody", *lines), role="table", aria_label=label
    )
    return element("div", made, class_="wide", tabindex="0", role="region", aria_label=label)


def chart_box(title: str, note: str, chart: Element, *below: Content) -> Element:
    caption = element("figcaption", element("strong", title), " ", element("span", note, class_="quiet"))
    return append(element("figure", caption, chart, class_="chart-box"), below)


def side_by_side(*parts: Content) -> Element:
    """Lay charts, and what is said of them, beside each other where there is room."""
    return append(element("div", class_="charts"), parts)
