"""Images beside their depth, small: those to look at first, then some of the others."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import Literal, NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from cortexia_video.errors import DecodeError, Failure, attempt
from cortexia_video.images.decode import decode, read_header, read_image_bytes
from cortexia_video.images.resampling import resize_depth, resize_image
from cortexia_video.ledger.artifacts import (
    find_depth,
    find_image,
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
_FAILED, _UNUSUAL = 6, 12  # of them at most
_WIDTH, _HEIGHT = 240, 180  # pixels that a small image fits into
_QUALITY = 80  # of its JPEG: some 10 kB, of noise 50
_DECODE_BYTES = 10  # a pixel, at the worst moment
_CLIPPED = (2.0, 98.0)  # percentiles that the colours end at

Why = Literal["failed", "unusual", "sampled"]


class Pair(NamedTuple):
    """An image and its depth as data URIs; where there is none, `why_no_...` says why."""

    line: Line
    why: Why
    image: str | None
    why_no_image: str
    depth: str | None
    why_no_depth: str

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
    images: AnyPath | None,
    workers: int,
) -> list[Pair]:
    """Make up to 24 pairs: some of what failed, some outliers, and then the sample in its order.

    images: the folder that the images are in now, if they were moved.
    """
    budget = MemoryBudget(MEMORY)
    candidates: Iterable[tuple[Line, Why]] = chain(
        ((line, "failed") for line in failed[:_FAILED]),
        ((outlier.line, "unusual") for outlier in outliers[:_UNUSUAL]),
        ((line, "sampled") for line in sample.readable),
    )
    chosen: dict[str, tuple[Line, Why]] = {}
    for line, why in candidates:
        chosen.setdefault(line["key"], (line, why))

    def make(pair: tuple[Line, Why]) -> Pair:
        line, why = pair
        image = _make_image(line, images, budget)
        depth = ("", str(line.get("reason"))) if why == "failed" else _make_depth(root, line, budget)
        return Pair(line, why, image[0] or None, image[1], depth[0] or None, depth[1])

    shown = [*islice(chosen.values(), PAIRS)]
    return [*track(map_bounded(shown, make, workers=workers), "drawing", "images", len(shown))]


def _make_image(line: Line, images: AnyPath | None, budget: MemoryBudget) -> tuple[str, str]:
    """Return a line's image, or why there is none."""
    if line.get("made_of") == "depth" and "image" not in line:
        return "", "converted from a depth file"
    source = find_image(line)

    def make() -> tuple[str, str]:
        moved = images is not None
        # of a failure, the path is all there is
        path = to_path(source.path) if source and not moved else locate_image(line, images)
        if not path.is_file():
            return "", "the image no longer exists"
        status = path.stat()
        mtime_ns = source.mtime_ns if moved and source else status.st_mtime_ns  # copies may be newer
        if source and source[1:] != (status.st_size, mtime_ns):
            return "", "the image was changed since"
        with budget.hold(status.st_size):
            data = read_run_image(line, images=images) if "frame" in line else read_image_bytes(str(path))
            header = read_header(data)
        with budget.hold(len(data) + _DECODE_BYTES * header.height * header.width):
            frame = decode(data, line["key"], enough=_fit)
            small = resize_image(frame.image, *_fit(*frame.image.shape[:2]))
            return _encode(small, "420"), ""

    made = attempt(line["key"], "decode", make)
    if not isinstance(made, Failure):
        return made
    decoded = isinstance(made.error, DecodeError | MemoryError)
    return "", "no image that can be decoded" if decoded else "the image cannot be opened"


def _make_depth(root: AnyPath, line: Line, budget: MemoryBudget) -> tuple[str, str]:
    """Return a line's depth in colours, bright where near, or the view that it has instead, or why none."""

    def make() -> str:
        with budget.hold(count_bytes(line)):
            if find_depth(line) is None:
                view = read_output(root, next(iter(list_outputs(line))), line)
                image = decode(view, line["key"], max_megapixels=math.inf).image
                return _encode(resize_image(image, *_fit(*image.shape[:2])), "444")
            depth = read_run_depth(root, line)
            height, width = _fit(*depth.values.shape)
            step = max(1, min(depth.values.shape[0] // height, depth.values.shape[1] // width) // 2)
            values = resize_depth(depth.values[::step, ::step], height, width)
            spacing: Spacing = "inverse" if depth.kind in ("metric", "scale_invariant") else "linear"
            table = "viridis" if depth.larger_is_nearer else "viridis_r"
            colours = colored_depthmap(values, cmap=table, percentiles=_CLIPPED, spacing=spacing)
            return _encode(colours, "444")  # else depth of few pixels would have colours of no table

    made = attempt(line["key"], "decode", make)
    return ("", made.reason) if isinstance(made, Failure) else (made, "")


def _fit(height: int, width: int) -> tuple[int, int]:
    """Return the size of a small image for an image's (height, width)."""
    scale = min(_WIDTH / width, _HEIGHT / height, 1.0)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _encode(image: NDArray[np.uint8], subsampling: Literal["420", "444"]) -> str:
    pixels = np.ascontiguousarray(image)
    data = simplejpeg.encode_jpeg(pixels, quality=_QUALITY, colorsubsampling=subsampling)
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
