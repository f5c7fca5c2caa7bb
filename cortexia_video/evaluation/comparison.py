"""`Comparison`: what models said of the same images; their maps brought into one unit, and how far they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np

from cortexia_video.depth_map import DepthKind, DepthMap
from cortexia_video.errors import Failure, InputError, format_count
from cortexia_video.evaluation.metrics.alignment import align
from cortexia_video.evaluation.metrics.depth_metrics import delta1
from cortexia_video.evaluation.metrics.pixel_sums import Floats, measure_pixels
from cortexia_video.geometry.anchors import anchor_depth
from cortexia_video.html.views import fit_within
from cortexia_video.html.wording import format_number
from cortexia_video.images.resampling import resize_depth
from cortexia_video.ledger.artifacts import Line, read_run_depth
from cortexia_video.storage.paths import AnyPath

_HEIGHT, _WIDTH = 360, 480  # that maps are compared at
_WAYS: dict[DepthKind, str] = {
    "metric": "median",
    "scale_invariant": "median",
    "affine_invariant": "affine",
    "disparity": "disparity",
}


@dataclass(frozen=True, slots=True)
class ComparedModel:
    """A model, and how it did on the images.

    Attributes:
        name: Its name, or the run's folder.
        folder: The run's.
        kind: What its numbers mean.
        done: Images with depth.
        failed: Images without.
        images_per_second: Of its whole run, with reading and writing; 0 where nobody measured it.
        model_ms: Milliseconds an image in the model; 0 where nobody measured it.
    """

    name: str
    folder: AnyPath
    kind: str
    done: int
    failed: int
    images_per_second: float
    model_ms: float


class ComparedImage(NamedTuple):
    """An image, or a frame of a clip. lines: of each run's ledger. agreement: delta1 of each pair of models."""

    key: str
    lines: Sequence[Line]
    agreement: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Return the mean over pairs."""
        return float(np.mean(self.agreement))


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far models agree.

    Attributes:
        path: Of the page.
        models: In the order in which they were given.
        images: How many were compared; of clips, frames.
        agreement: Mean delta1 of each two models, by their names.
        worst: The images on which they disagree most, these first.
        skipped: Why others could not be compared, the first hundred.
    """

    path: AnyPath
    models: Sequence[ComparedModel]
    images: int
    agreement: Mapping[tuple[str, str], float]
    worst: Sequence[ComparedImage]
    skipped: Sequence[Failure]

    def __str__(self) -> str:
        lines = [
            f"{each.name}: {each.kind}, {each.done} done, {each.failed} failed"
            + (f", {format_number(each.images_per_second)} images/s" if each.images_per_second else "")
            for each in self.models
        ]
        lines += [
            f"delta1 of {one} and {other}: {share:.3f}" for (one, other), share in self.agreement.items()
        ]
        if self.worst:
            lines.append(
                f"most different: {', '.join(f'{each.key} {each.mean:.3f}' for each in self.worst[:3])}"
            )
        skipped = f", {len(self.skipped)} not" if self.skipped else ""
        return "\n".join([*lines, f"{self.path}: {format_count(self.images, 'image')} compared{skipped}"])


def read_maps(image: ComparedImage, folders: Sequence[AnyPath]) -> list[DepthMap]:
    """Return the maps of an image, of one size, in the depth of one of them; NaN where unknown.

    Raises `InputError` where that one has no depth, or one alone is a panorama, and what `read_run_depth` raises.
    """
    depths = [read_run_depth(folder, line) for folder, line in zip(folders, image.lines, strict=True)]
    projections = [each.projection for each in depths]
    if len({*projections}) > 1:
        raise InputError(
            f"projections differ ({', '.join(projections)}): estimate all with the same `projection`"
        )
    full = depths[0].full_size or depths[0].values.shape
    size = fit_within(full[0], full[1], _HEIGHT, _WIDTH)
    around = projections[0] == "equirectangular"
    return align_maps(
        [DepthMap(resize_depth(each.values, *size, around=around), each.kind) for each in depths]
    )


def align_maps(depths: Sequence[DepthMap]) -> list[DepthMap]:
    """Return maps (H, W) as depth in the unit of one: the first metric, else scale-invariant, else first one."""
    kinds = [each.kind for each in depths]
    chosen = next((kinds.index(kind) for kind in ("metric", "scale_invariant") if kind in kinds), 0)
    reference = depths[chosen]
    if reference.kind in ("affine_invariant", "disparity"):
        reference = DepthMap(anchor_depth(reference, near_m=1, far_m=10).values, "scale_invariant")
    known = np.isfinite(reference.values) & (reference.values > 0)
    if not known.any():
        raise InputError("no pixel of the map that the others are aligned to is known")
    largest = float(reference.values[known].max())
    aligned = []
    for number, depth in enumerate(depths):
        values: Floats = (reference if number == chosen else depth).values.astype(np.float64)
        if number != chosen and (depth.kind, reference.kind) != ("metric", "metric"):
            values = align(
                values, depth.kind, reference.values, known, _WAYS[depth.kind], max_depth_m=largest
            )
        values = np.where(np.isfinite(values) & (values > 0), values, np.nan)
        aligned.append(DepthMap(values.astype(np.float32), reference.kind))
    return aligned


def find_agreement(maps: Sequence[DepthMap]) -> tuple[float, ...]:
    """Return delta1 of each two maps, over the pixels that both know; raises ValueError where there is none."""
    shares = []
    for one, other in combinations(maps, 2):
        both = np.isfinite(one.values) & np.isfinite(other.values)
        shares.append(delta1(measure_pixels(one.values, other.values, both)))
    return tuple(shares)
