"""`Tile`: one image of the page: as it is, its reference, the depth, and where that is wrong."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from PIL import Image

from cortexia_video.errors import Failure
from cortexia_video.evaluation.eval_items import Destination, EvalItem, Items
from cortexia_video.evaluation.ground_truth import GroundTruth
from cortexia_video.evaluation.image_score import ImageScore, align_image, clip_depth
from cortexia_video.evaluation.job import Column, Evaluation
from cortexia_video.evaluation.metrics.depth_metrics import abs_rel
from cortexia_video.evaluation.metrics.pixel_sums import Array
from cortexia_video.evaluation.metrics.regions import REGIONS, split_errors
from cortexia_video.evaluation.predictors import Prediction, Predictor, Work
from cortexia_video.evaluation.protocol import Protocol
from cortexia_video.inference.executor import Skipped
from cortexia_video.viz.colormap import colored_depthmap, find_range

_EACH = 6  # of the worst, and of the best
DEPTH_COLOURS = "viridis_r"
ERROR_COLOURS = "Spectral"
_WIDTH = 320
_QUALITY = 85


class Tile(NamedTuple):
    """Images as data URIs; image is None where there is none.

    limits_m: where the colours of depth end. regions: relative error by region of the image.
    """

    score: ImageScore
    image: str | None
    reference: str
    depth: str
    errors: str
    limits_m: tuple[float, float]
    regions: Mapping[str, float]


def make_tiles(
    evaluation: Evaluation, truth: GroundTruth, predictor: Predictor
) -> tuple[list[Tile], list[Tile]]:
    """Return the worst and the best images of a predictor by AbsRel; their depth is made, or read, again."""
    column = next(column for column in evaluation.columns if column.name == predictor.name)
    worst, best = _choose(column)
    wanted = {score.key: score for score in (*worst, *best)}
    tiles: dict[str, Tile] = {}
    items = Items(truth, evaluation.protocol)

    def begin(place: Destination) -> EvalItem | Skipped[Tile | None]:
        return items.open(place) or Skipped(None)

    def measure(item: EvalItem, guess: Prediction) -> Tile | None:
        return _make_tile(item, guess, wanted[item.frame.key], evaluation.protocol)

    def settle(tile: Tile | None) -> None:
        if tile:
            tiles[tile.score.key] = tile

    work = Work(begin=begin, measure=measure, settle=settle, workers=1)
    predictor.work_through(items.list_places(wanted), work)
    return _take(tiles, worst), _take(tiles, best)


def _choose(column: Column) -> tuple[list[ImageScore], list[ImageScore]]:
    """Return the worst and the best scores by AbsRel; of few images half are best, the rest is worst."""
    errors = [abs_rel(score.sums) for scores in column.scores.values() for score in scores]
    order = np.argsort(errors, kind="stable").tolist()
    best = order[: min(_EACH, len(order) // 2)]
    worst = order[len(best) :][-_EACH:][::-1]
    every = enumerate(chain.from_iterable(column.scores.values()))
    wanted = {row: score for row, score in every if row in {*worst, *best}}
    return [wanted[row] for row in worst], [wanted[row] for row in best]


def _take(tiles: dict[str, Tile], scores: Sequence[ImageScore]) -> list[Tile]:
    return [tiles[score.key] for score in scores if score.key in tiles]


def _make_tile(item: EvalItem, guess: Prediction, score: ImageScore, protocol: Protocol) -> Tile:
    reference = item.reference
    aligned = align_image(None if isinstance(guess, Failure) else guess, reference, protocol)
    clipped = clip_depth(aligned, reference.depth_m, reference.max_m, protocol)
    known = np.where(reference.mask, reference.depth_m, np.nan)
    shown = find_range(known, percentiles=(2, 98), spacing="inverse")
    limits = (shown.d_min, shown.d_max)
    true, found = (
        colored_depthmap(each, *limits, DEPTH_COLOURS, spacing="inverse")
        for each in (known, np.where(np.isfinite(aligned), clipped, np.nan))
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(reference.mask, np.log2(clipped / reference.depth_m), np.nan)
    errors = colored_depthmap(ratio, -1, 1, ERROR_COLOURS)
    image = protocol.cut(item.frame.image)
    photo = _encode(image) if item.within.has_images else None
    split = split_errors(clipped[reference.mask], reference.depth_m, reference.mask)
    regions = dict(zip(REGIONS, split, strict=True))
    return Tile(score, photo, _encode(true), _encode(found), _encode(errors), limits, regions)


def _encode(image: Array) -> str:
    """Return a small JPEG as a data URI; averaged where it shrinks."""
    small = Image.fromarray(np.ascontiguousarray(image))
    if small.width > _WIDTH:
        small = small.resize(
            (_WIDTH, max(1, round(small.height * _WIDTH / small.width))), Image.Resampling.BOX
        )
    data = io.BytesIO()
    small.save(data, "JPEG", quality=_QUALITY, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
