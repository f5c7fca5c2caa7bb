"""`StreamMixture`: batches of several streams, drawn by weight, of one kind of depth each; it can be resumed.

Each of n readers goes through shards of its own, in an order drawn anew each epoch. With `shuffle` above 1
it draws the order of so many samples that follow each other: less random than a shuffle of all, but a place
in it is four numbers. A reader that goes on reads the samples of its block, and what is before them in their
shard, once more, without decoding; no sample is lost or given twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count, islice
from typing import NamedTuple, TypedDict

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from cortexia_video.datasets.dataset import AnyDataset, Load, ShardReader
from cortexia_video.datasets.mixture import group_by_kind, keep_usable, require_weights
from cortexia_video.datasets.sample_checks import OnProblem, raise_problem
from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import Failure, InputError
from cortexia_video.rgbd_sample import RGBDSample

_BATCHES, _SHARDS, _BLOCKS = range(3)  # what is drawn, so that no two draw the same numbers


class Place(NamedTuple):
    """Where a reader is in a stream: the first sample of its block, and how many of the block it gave.

    shard: counted in the epoch's order.
    """

    epoch: int = 0
    shard: int = 0
    sample: int = 0
    taken: int = 0


class ReaderPosition(TypedDict):
    """Where one of n readers is. drawn, given: batches, also those that nothing could be used of, and not."""

    drawn: int
    given: int
    places: dict[str, list[int]]


class StreamPosition(TypedDict):
    """Where a mixture is: JSON can hold it. readers: by number, as text. next: whose turn it is."""

    of: list[object]
    count: int
    next: int
    readers: dict[str, ReaderPosition]


class StreamBatch(NamedTuple):
    """Samples, the number of their batch among all readers', and where their reader is after it."""

    samples: list[RGBDSample]
    number: int
    position: StreamPosition


def advance(position: StreamPosition | None, after: StreamPosition) -> StreamPosition:
    """Return the position after a batch that followed it; each batch knows where its own reader is only."""
    readers = position["readers"] if position else {}
    return {**after, "readers": {**readers, **after["readers"]}}


@dataclass(frozen=True, slots=True)
class StreamMixture:
    """Several streams, or datasets of any sort, as one endless row of batches.

    datasets: by name. A batch is drawn from those of one kind, so that metres and disparity never share a
    loss; that of a stream which does not say its kind is that of its first sample. weights: how often
    samples of each come, against each other. shuffle: samples whose order is drawn, kept packed in memory.
    Raises `InputError` for weights that are none.
    """

    datasets: Mapping[str, AnyDataset]
    weights: Mapping[str, float]
    batch_size: int
    seed: int = 0
    shuffle: int = 1

    def __post_init__(self) -> None:
        require_weights(self.datasets, self.weights, self.batch_size)
        if self.shuffle < 1:
            raise InputError(f"shuffle={self.shuffle} samples cannot be: 1 keeps the order, more shuffle it")

    def batches(
        self,
        position: StreamPosition | None = None,
        *,
        on_problem: OnProblem = raise_problem,
        part: tuple[int, int] = (0, 1),
    ) -> Iterator[StreamBatch]:
        """Read on from a position, without end. A batch that nothing can be used of is left out.

        on_problem: what to do with a sample that cannot be used; where it returns, the batch is smaller by
        it. part: (i, n): be the i-th of n readers, each with samples of its own.
        Raises `InputError` for the position of another mixture or number of readers, and for empty streams.
        """
        reader = self._find_start(position, part)
        kinds = {name: find_kind(dataset) for name, dataset in self.datasets.items()}
        groups = group_by_kind(kinds)
        walks = {name: self._walk(name, reader["places"], part) for name in self.datasets}
        while True:
            names = self._draw(groups, reader["drawn"], part[0])
            steps = [(name, *next(walks[name])) for name in names]
            attempts = [(name, load()) for name, load, _ in steps]
            samples = [s for name, each in attempts for s in keep_usable(each, name, kinds[name], on_problem)]
            reader = {
                "drawn": reader["drawn"] + 1,
                "given": reader["given"] + bool(samples),
                "places": {**reader["places"], **{name: list(place) for name, _, place in steps}},
            }
            if samples:
                number = (reader["given"] - 1) * part[1] + part[0]
                yield StreamBatch(samples, number, self._say(part, reader))

    def _say(self, part: tuple[int, int], reader: ReaderPosition) -> StreamPosition:
        index, readers = part
        turn = (index + 1) % readers
        return {"of": self._identify(), "count": readers, "next": turn, "readers": {str(index): reader}}

    def _find_start(self, position: StreamPosition | None, part: tuple[int, int]) -> ReaderPosition:
        index, readers = part
        new: ReaderPosition = {"drawn": 0, "given": 0, "places": {}}
        if position is None:
            return new
        if position["of"] != self._identify():
            raise InputError(
                f"a position of {position['of']} does not fit {self._identify()}: the streams, weights, "
                "batch size, shuffle or seed changed; start anew"
            )
        if position["count"] != readers:
            raise InputError(
                f"a position of {position['count']} readers does not fit {readers}: each has samples "
                f"of its own; use num_workers={position['count']}"
            )
        return position["readers"].get(str(index), new)

    def _identify(self) -> list[object]:
        sets = [[name, len(each.shards), self.weights[name]] for name, each in self.datasets.items()]
        return [self.seed, self.batch_size, self.shuffle, *sets]

    def _draw(self, groups: Sequence[Sequence[str]], drawn: int, index: int) -> list[str]:
        """Return of which streams the samples of a batch are."""
        random = np.random.default_rng([self.seed, index, drawn, _BATCHES])
        weights = [[self.weights[name] for name in names] for names in groups]
        chosen = random.choice(len(groups), p=_share(map(sum, weights)))
        picks = random.choice(len(groups[chosen]), self.batch_size, p=_share(weights[chosen]))
        return [groups[chosen][pick] for pick in picks]

    def _walk(
        self, name: str, places: Mapping[str, Sequence[int]], part: tuple[int, int]
    ) -> Iterator[tuple[Load, Place]]:
        seed = [self.seed, list(self.datasets).index(name)]
        walk = _Walk(name, self.datasets[name].shards, seed, part, self.shuffle)
        return walk.go_on(Place(*places.get(name, ())))


@dataclass(frozen=True, slots=True)
class _Walk:
    """One reader's way through one stream, without end."""

    name: str
    shards: Sequence[ShardReader]
    seed: list[int]
    part: tuple[int, int]
    shuffle: int

    def go_on(self, place: Place) -> Iterator[tuple[Load, Place]]:
        """Yield samples from a place on, and where the reader is after each."""
        for epoch in count(place.epoch):
            rest, empty = self._go_through(place), True
            while block := list(islice(rest, self.shuffle)):
                start, empty = block[0][1], False
                picks = self._draw(*start[:3], _BLOCKS).permutation(len(block)).tolist()
                for taken in range(place.taken, len(block)):
                    yield block[picks[taken]][0], start._replace(taken=taken + 1)
                place = Place(epoch)
            if empty:
                raise InputError(
                    f"{self.name!r} has no sample for reader {self.part[0] + 1} of {self.part[1]}: use fewer "
                    "workers, or leave it out"
                )
            place = Place(epoch + 1)

    def _go_through(self, place: Place) -> Iterator[tuple[Load, Place]]:
        """Yield what is left of an epoch, and where each sample is.

        Where there are fewer shards than readers, each goes through all and takes every n-th sample.
        """
        index, readers = self.part
        order = self._draw(place.epoch, _SHARDS).permutation(len(self.shards)).tolist()
        shared = len(order) < readers
        mine = order if shared else order[index::readers]
        for shard in range(place.shard, len(mine)):
            first = place.sample if shard == place.shard else 0
            for sample, load in islice(enumerate(self.shards[mine[shard]]()), first, None):
                if not shared or sample % readers == index:
                    yield load, Place(place.epoch, shard, sample)

    def _draw(self, *what: int) -> Generator:
        return np.random.default_rng([*self.seed, *what])


def find_kind(dataset: AnyDataset) -> DepthKind:
    """Return the kind of a dataset's depth: where it does not say it, that of its first sample."""
    if dataset.kind:
        return dataset.kind
    loads = chain.from_iterable(shard() for shard in dataset.shards)
    attempts = (load() for load in loads)
    found = next((each.depth.kind for each in attempts if not isinstance(each, Failure)), None)
    if found is None:
        raise InputError(f"{dataset.name}: no sample can be read, so the kind of its depth is unknown")
    return found


def _share(weights: Iterable[float]) -> NDArray[np.float64]:
    numbers = np.array([*weights], np.float64)
    return numbers / numbers.sum()
