"""Views: images of one thing side by side, which the page's script enlarges, with their values under the pointer."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import quote
from xml.etree.ElementTree import Element

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from cortexia_video.html.markup import Content, append, element
from cortexia_video.html.wording import shorten
from cortexia_video.images.resampling import pick_points
from cortexia_video.storage.paths import AnyPath, name_inside

_QUALITY = 80  # of JPEG: 480 x 360 pixels of a photo take some 30 kB, of noise 150
_COLUMNS, _ROWS = 128, 96  # that values for the pointer fit into
_IMAGES = 80  # of a page, from which on they get smaller
_STEPS = 65534  # between the smallest and the largest value


class Values(NamedTuple):
    """Values of some points of a map, for the pointer.

    Code 0 is unknown; code c is low * (high / low) ** t where low is above 0, else low + (high - low) * t,
    with t = (c - 1) / 65534.

    codes: 16 bits each, little-endian, row by row from the top left, in base64. columns: in a row. unit: said
    behind a value.
    """

    codes: str
    columns: int
    low: float
    high: float
    unit: str


class Layer(NamedTuple):
    """One image of a view. jpeg: a data URI; where there is none `why_not` says why. below: said under it."""

    name: str
    jpeg: str = ""
    why_not: str = ""
    values: Values | None = None
    below: Sequence[Content] = ()


def fit_within(height: int, width: int, most_height: int, most_width: int) -> tuple[int, int]:
    """Return the (height, width) of an image that is shrunk, if need be, to fit."""
    scale = min(most_height / height, most_width / width, 1.0)
    return max(1, round(height * scale)), max(1, round(width * scale))


def find_scale(images: int) -> float:
    """Return by what the sides of so many images of a page are multiplied, so that all have no more pixels than 80."""
    return min(1.0, math.sqrt(_IMAGES / max(images, 1)))


def to_jpeg(image: NDArray[np.uint8], subsampling: Literal["420", "444"]) -> str:
    """Return uint8 (H, W, 3) RGB as the data URI of a JPEG; 444 keeps the colours of a table."""
    pixels = np.ascontiguousarray(image)
    data = simplejpeg.encode_jpeg(pixels, quality=_QUALITY, colorsubsampling=subsampling)
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def pick_values(values: NDArray[np.floating], unit: str, scale: float = 1.0) -> Values | None:
    """Return the values of points of (H, W), as they are; None where none is finite.

    scale: 128 x 96 points times this at most.
    """
    most = round(scale * _ROWS), round(scale * _COLUMNS)
    height, width = fit_within(values.shape[0], values.shape[1], *most)
    few = pick_points(values, height, width).astype(np.float64)
    known = np.isfinite(few)
    if not known.any():
        return None
    low, high = float(few[known].min()), float(few[known].max())
    steps = np.log(few[known] / low) if low > 0 else few[known] - low
    codes = np.zeros(few.shape, "<u2")
    codes[known] = 1 + np.round(steps * (_STEPS / (steps.max() or 1.0)))
    return Values(base64.b64encode(codes.tobytes()).decode(), width, low, high, unit)


def link_to(file: AnyPath, page: AnyPath) -> str | None:
    """Return the link from a page to a file, which holds where both move together; None where there is none."""
    try:
        if isinstance(file, Path) and isinstance(page, Path):
            inside = Path(os.path.relpath(file, page.parent)).as_posix()
        else:
            inside = name_inside(file, page.parent)
    except ValueError:  # on another drive, in another bucket
        return None
    return quote(os.fsencode(inside))


def show_view(
    layers: Sequence[Layer], *caption: Content, links: Mapping[str, str | None] | None = None, tags: str = ""
) -> Element:
    """Make a view. links: by what they are called. tags: words that `find_bar` can choose by."""
    row = element("div", *map(_show_layer, layers), class_="row")
    named = [element("a", name, href=link) for name, link in (links or {}).items() if link]
    files = element("div", *(each for link in named for each in (link, " ")), class_="files")
    said = append(element("figcaption"), (*caption, files if named else None))
    return element("figure", row, said, class_="view", data_tags=tags or None)


def _show_layer(layer: Layer) -> Element:
    if not layer.jpeg:
        return element("div", shorten(layer.why_not, 160), class_="layer missing")
    known: dict[str, object] = {}
    if layer.values is not None:
        known = {f"data_{name}": value for name, value in layer.values._asdict().items()}
    image = element("img", src=layer.jpeg, alt=layer.name, **known)
    below = append(element("div", class_="scale"), layer.below) if layer.below else None
    return element("div", image, below, class_="layer")


def show_hint() -> Element:
    """Make the line that says what can be done with views, which the page's script shows."""
    said = "A pointer over an image reads its values; a click, or Enter, enlarges it."
    return element("p", said, class_="quiet scripted", hidden="")


def find_bar(choices: Mapping[str, str]) -> Element:
    """Make what the page is searched by, which its script shows. choices: titles, by words of `tags`."""
    options = [element("option", title, value=tag) for tag, title in {"": "everything", **choices}.items()]
    return element(
        "div",
        element("label", "Search ", element("input", type="search", placeholder="name or reason")),
        element("label", "Show ", element("select", *options)),
        element("output"),
        class_="find scripted",
        role="search",
        hidden="",
    )


def make_viewer() -> Element:
    """Make the window that a view is enlarged in, which the page's script opens and fills."""
    buttons = {"previous": "‹ Previous", "next": "Next ›", "close": "Close"}
    bar = [element("button", title, type="button", class_=name) for name, title in buttons.items()]
    left, right = (element("label", f"{side} ", element("select")) for side in ("Left", "Right"))
    slider = element("input", type="range", min=0, max=100, value=50, aria_label="From left to right image")
    hint = "Values under the pointer; arrow keys move it"
    return element(
        "dialog",
        element("div", *bar, class_="bar"),
        element("div", class_="stage", tabindex=0, role="group", aria_label=hint),
        element("div", left, slider, right, class_="bar"),
        element("div", class_="said"),
        element("p", "Arrow keys: other images; in the image, the pointer. Escape: close.", class_="quiet"),
        aria_label="Enlarged images",
    )
