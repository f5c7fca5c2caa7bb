"""Batches for training: windows of samples, mirrored, of one size a batch, and recoloured; from one seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from torch.utils.data import IterableDataset

from cortexia_video.augmentation import Crop, Flip, Resize, Transform
from cortexia_video.augmentation.geometry import View
from cortexia_video.augmentation.transform import Chain, RandomTransform, Seed, make_rng
from cortexia_video.datasets.torch.datasets import MixedBatches
from cortexia_video.errors import Failure, InputError, attempt_all
from cortexia_video.rgbd_sample import RGBDSample
from cortexia_video.training.color_jitter import add_borders, jitter_color

# width / height, how often
_ASPECTS = ((4 / 3, 0.5), (3 / 2, 0.14), (1.0, 0.12), (3 / 4, 0.1), (16 / 9, 0.09), (2 / 3, 0.05))
_STRETCH = 0.06
_ERROR = "error"


@dataclass(frozen=True, slots=True)
class BatchView(RandomTransform):
    """A window of each sample, mirrored or not, resampled to the size that the batch has.

    short_sides: in pixels, one of which is drawn for each batch, by `chances`. multiple_of: what both sides
    are.
    smallest_window: share of the largest window of that aspect ratio that is cut at least.
    Its seed is that of the batch: the size is drawn from it alone, the rest also from the sample's key.
    """

    short_sides: tuple[int, ...]
    chances: tuple[float, ...]
    multiple_of: int
    smallest_window: float = 0.6

    def __call__(self, sample: RGBDSample, seed: Seed | None = None) -> RGBDSample:
        if seed is None or isinstance(seed, Generator):
            raise InputError("a batch's view is seeded by the numbers of its batch")
        size = self.draw_size(np.random.default_rng(seed))
        return self._draw(View.of(sample), make_rng(seed, sample.key), size)(sample)

    def draw(self, view: View, rng: Generator) -> Transform:
        return self._draw(view, rng, self.draw_size(rng))

    def draw_size(self, rng: Generator) -> tuple[int, int]:
        """Draw (height, width) in pixels."""
        short = int(rng.choice(self.short_sides, p=self.chances))
        ratios, chances = zip(*_ASPECTS, strict=True)
        aspect = float(rng.choice(ratios, p=chances))
        height, width = (short, short * aspect) if aspect >= 1 else (short / aspect, short)
        unit = self.multiple_of
        return round(height / unit) * unit, round(width / unit) * unit

    def _draw(self, view: View, rng: Generator, size: tuple[int, int]) -> Chain:
        share = min(view.height / size[0], view.width / size[1]) * rng.uniform(self.smallest_window, 1)
        height = min(view.height, max(1, round(size[0] * share * float(np.exp(rng.normal(0, _STRETCH))))))
        width = min(view.width, max(1, round(size[1] * share)))
        top = int(rng.integers(0, view.height - height + 1))
        left = int(rng.integers(0, view.width - width + 1))
        mirrored = (Flip(),) if rng.random() < 0.5 else ()
        return Chain((Crop(top, left, height, width), *mirrored, Resize(*size)))


class TrainingBatches(IterableDataset[dict[str, Any]]):
    """Batches as `MixedBatches` gives them, whose images are recoloured, and some framed, by the batch's number.

    An error ends them as a last batch that says it, for `read_batches`: torch would bring it from a worker
    with all its traceback for a message.
    """

    def __init__(self, batches: MixedBatches, seed: int) -> None:
        self._batches = batches
        self._seed = seed

    def __iter__(self) -> Iterator[dict[str, Any]]:
        def recolour(batch: dict[str, Any]) -> dict[str, Any]:
            rng = np.random.default_rng([self._seed, 1, batch["batch"]])
            image = jitter_color(batch["pixel_values"], rng)
            image, valid = add_borders(image, batch["valid"], rng)
            return {**batch, "pixel_values": image, "valid": valid}

        for batch in attempt_all("training", "decode", map(recolour, self._batches)):
            yield {_ERROR: batch.reason} if isinstance(batch, Failure) else batch


def read_batches(loaded: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield what a loader of `TrainingBatches` gives; `InputError` where they ended by an error."""
    for batch in loaded:
        if _ERROR in batch:
            raise InputError(batch[_ERROR])
        yield batch
