"""Datasets of images with depth as torch's: by number, and as an endless row of mixed batches.

DataLoader(SampleDataset(dataset, augment), batch_size=8, shuffle=True, num_workers=2)
DataLoader(MixedBatches(mixture, augment, position), batch_size=None, num_workers=2)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import Dataset, IterableDataset, default_collate, get_worker_info

from cortexia_video.augmentation import RandomTransform, Transform
from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.mixture import Mixture, Position
from cortexia_video.datasets.sample_checks import OnProblem, raise_problem
from cortexia_video.datasets.torch.tensors import to_tensors
from cortexia_video.errors import InputError

Augment = Transform | RandomTransform
_HOPELESS = 100  # batches


class SampleDataset(Dataset[dict[str, Any]]):
    """Samples by number, as `to_tensors` gives them, for a `DataLoader`.

    All samples of a batch must come out of `augment` with one size. Set `epoch` for other augmentations of
    the same samples.

    Args:
        dataset: Such as `open_dataset` opens.
        augment: A transform, random or not.
        seed: Of the random ones.
    """

    def __init__(self, dataset: RGBDDataset, augment: Augment | None = None, *, seed: int = 0) -> None:
        self.epoch = 0
        self._dataset = dataset
        self._augment = augment
        self._seed = seed

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self._dataset[index]
        if self._augment is not None:
            sample = self._augment(sample, (self._seed, self.epoch))
        return to_tensors(sample)


class MixedBatches(IterableDataset[dict[str, Any]]):
    """Batches of a mixture, collated; the worker i of n reads every n-th, and torch puts them in order.

    Each batch says its number in `batch`: after it was used, keep `mixture.position(batch["batch"] + 1)`. A
    batch of which no sample can be used is left out.

    Args:
        mixture: Of datasets.
        augment: A transform, random or not.
        position: Where to go on.
        on_problem: Called where a sample is read, in the worker's process.
        share: (i, n): only every n-th batch, beginning with the i-th: for one of n trainers that go on
            together.

    Example:
        >>> DataLoader(MixedBatches(mixture, augment), batch_size=None, num_workers=2)  # doctest: +SKIP
    """

    def __init__(
        self,
        mixture: Mixture,
        augment: Augment | None = None,
        position: Position | None = None,
        *,
        share: tuple[int, int] = (0, 1),
        on_problem: OnProblem = raise_problem,
    ) -> None:
        self._mixture = mixture
        self._share = share
        self._augment = augment
        self._position = position
        self._on_problem = on_problem

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        index, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        trainer, trainers = self._share
        done = (self._position["batch"] if self._position else 0) // trainers
        count = trainers * workers  # torch asks worker 0 for the first batch
        part = (trainers * ((done + index) % workers) + trainer, count)
        number, empty = trainers * (done + index) + trainer, 0
        for samples in self._mixture.batches(self._position, on_problem=self._on_problem, part=part):
            if samples:
                if self._augment is not None:
                    seed = (self._mixture.seed, number)
                    samples = [self._augment(sample, seed) for sample in samples]
                yield {**default_collate([to_tensors(sample) for sample in samples]), "batch": number}
            empty = 0 if samples else empty + 1
            if empty == _HOPELESS:
                raise InputError(
                    f"of {empty} batches in a row no sample can be used: see what was said of each"
                )
            number += count
