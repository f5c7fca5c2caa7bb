"""Images beside their depth, small: those to look at first, then some of the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from typing import Literal, NamedTuple

from cortexia_video.errors import DecodeError, Failure, attempt
from cortexia_video.html.views import Layer, find_scale, fit_within, link_to, pick_values, to_jpeg
from cortexia_video.html.wording import describe_unit
from cortexia_video.images.decode import decode, read_header, read_image_bytes
from cortexia_video.images.resampling import resize_depth, resize_image
from cortexia_video.ledger.artifacts import (
    find_depth,
    find_image,
    find_missing,
    list_maps,
    list_outputs,
    locate_image,
    read_output,
    read_run_depth,
    read_run_image,
)
from cortexia_video.reporting.depth_sample import MEMORY, DepthSample, count_bytes
from cortexia_video.reporting.ledger_summary import Line
from cortexia_video.reporting.outliers import Outlier
from cortexia_video.runtime.bounded_map import map_bounded
from cortexia_video.runtime.progress import track
from cortexia_video.runtime.resources import MemoryBudget
from cortexia_video.storage.paths import AnyPath, to_path
from cortexia_video.viz.colormap import Spacing, colored_depthmap

PAIRS = 24
_FAILED, _UNUSUAL = 1 / 4, 1 / 2  # of the pairs at most
_WIDTH, _HEIGHT = 480, 360  # pixels that an image fits into, of few
_DECODE_BYTES = 10  # a pixel, at the worst moment
_CLIPPED = (2.0, 98.0)  # percentiles that the colours end at

Why = Literal["failed", "unusual", "sampled"]


class Pair(NamedTuple):
    """An image and its depth. links: of the page to their files, by what they are called."""

    line: Line
    why: Why
    layers: Sequence[Layer]
    links: Mapping[str, str | None]

    @property
    def key(self) -> str:
        key: str = self.line["key"]
        return key


def make_contact_sheet(
    root: AnyPath,
    failed: Sequence[Line],
    outliers: Sequence[Outlier],
    sample: DepthSample,
    *,
    page: AnyPath,
    shown: int,
    images: AnyPath | None,
    workers: int,
) -> list[Pair]:
    """Make up to `shown` pairs: some of what failed, some outliers, and then the sample in its order.

    page: where the page will be, for links. images: the folder that the images are in now, if they were moved.
    """
    budget = MemoryBudget(MEMORY)
    candidates: Iterable[tuple[Line, Why]] = chain(
        ((line, "failed") for line in failed[: int(_FAILED * shown)]),
        ((outlier.line, "unusual") for outlier in outliers[: int(_UNUSUAL * shown)]),
        ((line, "sampled") for line in sample.readable),
    )
    chosen: dict[str, tuple[Line, Why]] = {}
    for line, why in candidates:
        chosen.setdefault(line["key"], (line, why))
    pairs = [*islice(chosen.values(), shown)]
    scale = find_scale(2 * len(pairs))

    def make(pair: tuple[Line, Why]) -> Pair:
        line, why = pair
        image = _make_image(line, images, budget, scale)
        if why == "failed":
            depth = Layer("depth", why_not=str(line.get("reason")))
        else:
            depth = _make_depth(root, line, budget, scale)
        links = {}
        if image.jpeg:
            links["image"] = link_to(locate_image(line, images), page)
        if depth.jpeg and "inside" not in line:
            found = find_depth(line)
            links["depth file"] = link_to(root / (found[0] if found else next(iter(line["outputs"]))), page)
            lost = find_missing(root, line)
            links |= {
                each: link_to(root / name, page) for each, name in list_maps(line).items() if each not in lost
            }
        return Pair(line, why, (image, depth), links)

    return [*track(map_bounded(pairs, make, workers=workers), "drawing", "images", len(pairs))]


def _make_image(line: Line, images: AnyPath | None, budget: MemoryBudget, scale: float) -> Layer:
    """Return a line's image, or why there is none."""
    without, fit = partial(Layer, "image", ""), _find_fit(scale)
    if line.get("made_of") == "depth" and "image" not in line:
        return without("converted from a depth file")
    source = find_image(line)

    def show(data: bytes) -> Layer:
        header = read_header(data)
        with budget.hold(len(data) + _DECODE_BYTES * header.height * header.width):
            frame = decode(data, line["key"], enough=fit)
            return Layer("image", to_jpeg(resize_image(frame.image, *fit(*frame.image.shape[:2])), "420"))

    def make() -> Layer:
        moved = images is not None
        # of a failure, the path is all there is
        path = to_path(source.path) if source and not moved else locate_image(line, images)
        if "frame" in line and (path.is_file() or path.is_dir()):
            return show(read_run_image(line, images=images))  # which looks whether it changed
        if not path.is_file():
            return without("the image no longer exists")
        status = path.stat()
        mtime_ns = source.mtime_ns if moved and source else status.st_mtime_ns  # copies may be newer
        if source and source[1:] != (status.st_size, mtime_ns):
            return without("the image was changed since")
        with budget.hold(status.st_size):
            data = read_image_bytes(str(path))
        return show(data)

    made = attempt(line["key"], "decode", make)
    if not isinstance(made, Failure):
        return made
    decoded = isinstance(made.error, DecodeError | MemoryError)
    return without("no image that can be decoded" if decoded else "the image cannot be opened")


def _make_depth(root: AnyPath, line: Line, budget: MemoryBudget, scale: float) -> Layer:
    """Return a line's depth in colours, bright where near, or the view that it has instead, or why none."""
    fit = _find_fit(scale)

    def make() -> Layer:
        with budget.hold(count_bytes(line)):
            if find_depth(line) is None:
                view = read_output(root, next(iter(list_outputs(line))), line)
                image = decode(view, line["key"], max_megapixels=math.inf).image
                return Layer("depth", to_jpeg(resize_image(image, *fit(*image.shape[:2])), "444"))
            depth = read_run_depth(root, line)
            height, width = fit(*depth.values.shape)
            step = max(1, min(depth.values.shape[0] // height, depth.values.shape[1] // width) // 2)
            values = resize_depth(depth.values[::step, ::step], height, width)
            spacing: Spacing = "inverse" if depth.kind in ("metric", "scale_invariant") else "linear"
            table = "viridis" if depth.larger_is_nearer else "viridis_r"
            colours = colored_depthmap(values, cmap=table, percentiles=_CLIPPED, spacing=spacing)
            jpeg = to_jpeg(colours, "444")  # else depth of few pixels would have colours of no table
            return Layer("depth", jpeg, values=pick_values(depth.values, describe_unit(depth.kind), scale))

    made = attempt(line["key"], "decode", make)
    return Layer("depth", why_not=made.reason) if isinstance(made, Failure) else made


def _find_fit(scale: float) -> Callable[[int, int], tuple[int, int]]:
    """Return what gives the size that an image of (height, width) has on the page."""
    return partial(fit_within, most_height=round(scale * _HEIGHT), most_width=round(scale * _WIDTH))
