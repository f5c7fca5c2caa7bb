"""`Mixture`: batches of several datasets, drawn by weight, of one kind of depth each; it can be resumed.

What is in batch n follows from the seed and n alone: no state but n, whatever reads it, and however often it
is interrupted. Each dataset is gone through in an order of its own, drawn anew each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.sample_checks import OnProblem, check, raise_problem
from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import Failure, InputError
from cortexia_video.rgbd_sample import RGBDSample


class Pick(NamedTuple):
    """A sample of a mixture: the name of its dataset there, and its number in it."""

    name: str
    number: int


class Position(TypedDict):
    """Where a mixture is; JSON can hold it.

    Attributes:
        batch: The number of the next batch.
        of: What it is a position of: seed, batch size, datasets and weights.
    """

    batch: int
    of: list[object]


@dataclass(frozen=True, slots=True)
class Mixture:
    """Several datasets as one endless row of batches.

    Args:
        datasets: By name. Of each, `kind` must be known: a batch is drawn from those of one kind, so that
            metres and disparity never share a loss.
        weights: How often samples of each come, against each other.
        batch_size: Samples of a batch.
        seed: Of the order.

    Raises:
        InputError: A dataset is empty or of unknown kind, or the weights are none.
    """

    datasets: Mapping[str, RGBDDataset]
    weights: Mapping[str, float]
    batch_size: int
    seed: int = 0

    def __post_init__(self) -> None:
        require_weights(self.datasets, self.weights, self.batch_size)
        for name, dataset in self.datasets.items():
            if dataset.kind is None or not len(dataset):
                fault = "is empty" if dataset.kind else "has depth of several kinds, or does not say which"
                raise InputError(f"dataset {name!r} {fault}: leave it out, or split it by kind")

    def plan(self, start: int = 0) -> Iterator[list[Pick]]:
        """Yield what each batch holds, without reading it, without end.

        Args:
            start: Number of the first batch, from 0.

        Yields:
            The samples of a batch.
        """
        by_kind: dict[DepthKind | None, list[str]] = {}
        for name, dataset in self.datasets.items():
            by_kind.setdefault(dataset.kind, []).append(name)
        weights = np.array([sum(self.weights[name] for name in names) for names in by_kind.values()])
        shares = weights / weights.sum()
        groups = [_Group(self, names) for names in by_kind.values()]
        random = np.random.default_rng([self.seed])
        for number in count():
            group = groups[random.choice(len(groups), p=shares)]
            picks = group.take(random.choice(len(group.names), self.batch_size, p=group.shares))
            if number >= start:
                yield picks

    def batches(
        self,
        position: Position | None = None,
        *,
        on_problem: OnProblem = raise_problem,
        part: tuple[int, int] = (0, 1),
    ) -> Iterator[list[RGBDSample]]:
        """Read the batches from a position on, without end.

        Args:
            position: Of the first batch; by default from the beginning.
            on_problem: What to do with a sample that cannot be used; where it returns, the batch is smaller by it.
            part: (i, n): only batches whose number leaves i when divided by n: for one of n readers.

        Yields:
            The samples of a batch.

        Raises:
            InputError: The position is of another mixture; or `on_problem` raises it.
        """
        start = self.find_start(position)
        for number, picks in enumerate(self.plan(start), start):
            if number % part[1] != part[0]:
                continue
            batch = []
            for name, index in picks:
                dataset = self.datasets[name]
                checked = check(dataset.try_read(index), dataset)
                if not isinstance(checked, Failure) and checked.depth.kind != dataset.kind:
                    wrong = InputError(f"its depth is {checked.depth.kind}, that of {name} {dataset.kind}")
                    checked = Failure(checked.key, "decode", wrong)
                if isinstance(checked, Failure):
                    on_problem(checked)
                else:
                    batch.append(checked)
            yield batch

    def position(self, batch: int) -> Position:
        """Return what to keep after some batches were used, to go on from there.

        Args:
            batch: How many were used.

        Returns:
            A position, which JSON can hold.
        """
        return {"batch": batch, "of": self._identify()}

    def find_start(self, position: Position | None) -> int:
        """Return the number of the batch to go on from.

        Args:
            position: What `position` gave, or None for the beginning.

        Returns:
            The number, from 0.

        Raises:
            InputError: The position is of another mixture.
        """
        if position is None:
            return 0
        if position["of"] != self._identify():
            raise InputError(
                f"a position of {position['of']} does not fit {self._identify()}: the datasets, weights, "
                "batch size or seed changed; start anew"
            )
        return position["batch"]

    def _identify(self) -> list[object]:
        sets = [[name, len(self.datasets[name]), self.weights[name]] for name in self.datasets]
        return [self.seed, self.batch_size, *sets]


def require_weights(datasets: Mapping[str, object], weights: Mapping[str, float], batch_size: int) -> None:
    """Raise `InputError` where not each dataset has a weight above 0, or a batch has no samples."""
    if set(weights) != set(datasets) or not datasets:
        raise InputError(
            f"weights are for {', '.join(weights) or 'nothing'}, datasets are "
            f"{', '.join(datasets) or 'none'}: give each dataset a weight"
        )
    if min(weights.values()) <= 0 or batch_size < 1:
        raise InputError(f"weights {dict(weights)} and batches of {batch_size} must be above 0")


class _Group:
    """The datasets of one kind, and how far each was gone through."""

    def __init__(self, mixture: Mixture, names: list[str]) -> None:
        self.names = names
        weights = np.array([mixture.weights[name] for name in names])
        self.shares = weights / weights.sum()
        order = list(mixture.datasets)
        self._rows = [
            _shuffle(len(mixture.datasets[name]), [mixture.seed, order.index(name)]) for name in names
        ]

    def take(self, choices: NDArray[np.int64]) -> list[Pick]:
        return [Pick(self.names[choice], next(self._rows[choice])) for choice in choices]


def _shuffle(length: int, seed: list[int]) -> Iterator[int]:
    """Yield all numbers below `length` in a random order, then in another, without end."""
    epoch = 0
    while True:
        yield from np.random.default_rng([*seed, epoch]).permutation(length).tolist()
        epoch += 1
