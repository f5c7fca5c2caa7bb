"""What a notebook shows of a value: a small image, and escaped text. The types ask for it when a cell ends in one.

Those at the root of the package, and those below this room, come here by its name (`frame.draw_png`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, singledispatch
from io import BytesIO
from xml.etree.ElementTree import Element, tostring

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cortexia_video.depth_map import DepthMap
from cortexia_video.frame import Frame
from cortexia_video.html.markup import element
from cortexia_video.html.views import fit_within, to_jpeg
from cortexia_video.images.resampling import resize_image
from cortexia_video.rgbd_sample import RGBDSample
from cortexia_video.viz.colormap import Spacing, colored_depthmap

SIDE = 320  # pixels of an image at most, so that a notebook of many stays small
_MOST_LINES, _MOST_ITEMS = 60, 10
_CLIPPED = (1.0, 99.0)
_fit = partial(fit_within, most_height=SIDE, most_width=SIDE)
_NOTHING = np.full((1, 1, 3), 128, np.uint8)


@singledispatch
def image_of(value: object) -> NDArray[np.uint8]:
    """Return uint8 (h, w, 3) RGB, no side above `SIDE`."""
    raise TypeError(f"a notebook has no image of {type(value).__name__}")


@image_of.register
def _(frame: Frame) -> NDArray[np.uint8]:
    return resize_image(frame.image, *_fit(*frame.image.shape[:2])) if frame.image.size else _NOTHING


@image_of.register
def _(depth: DepthMap) -> NDArray[np.uint8]:
    """Bright where near, as on the report; pixels are left out, never mixed: unknown ones stay unknown."""
    if not depth.values.size:
        return _NOTHING
    sides = depth.values.shape
    taken = [np.arange(count) * side // count for side, count in zip(sides, _fit(*sides), strict=True)]
    small = depth.values[np.ix_(*taken)]
    spacing: Spacing = "inverse" if depth.kind in ("metric", "scale_invariant") else "linear"
    table = "viridis" if depth.larger_is_nearer else "viridis_r"
    return colored_depthmap(small, cmap=table, percentiles=_CLIPPED, spacing=spacing)


@image_of.register
def _(sample: RGBDSample) -> NDArray[np.uint8]:
    return np.hstack([image_of(sample.frame), image_of(sample.depth)])


def draw_png(value: object) -> bytes:
    """Return `image_of` as a PNG."""
    return encode_png(image_of(value))


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Return the PNG of uint8 (H, W, 3) RGB."""
    file = BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def write_figure(value: object, image: NDArray[np.uint8] | None = None) -> str:
    """Return an image, by default `image_of`, with the value's `repr` below."""
    link = to_jpeg(image_of(value) if image is None else image, "444")
    caption = element("figcaption", element("code", repr(value)))
    return _write(element("figure", element("img", src=link, alt=type(value).__name__), caption))


def write_text(text: str, items: Sequence[str] = ()) -> str:
    """Return lines of text as they stand, and items as a list below, the first of each where there are many."""
    lines = text.splitlines()
    if len(lines) > _MOST_LINES:
        lines = [*lines[:_MOST_LINES], f"... {len(lines) - _MOST_LINES} more lines: print() shows them"]
    block = "".join(f"{_write(element('span', line))}\n" for line in lines)  # each escaped; a line stays one
    shown = [element("li", each) for each in items[:_MOST_ITEMS]]
    if len(items) > _MOST_ITEMS:
        shown.append(element("li", f"and {len(items) - _MOST_ITEMS} more"))
    return f"<pre>{block}</pre>{_write(element('ul', *shown)) if shown else ''}"


def _write(made: Element) -> str:
    return tostring(made, encoding="unicode", method="html")
