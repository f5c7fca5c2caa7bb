"""`RGBDDataset` and `RGBDStream`: samples by number, or in a row; a broken one is a `Failure` or an error."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Protocol

from cortexia_video.datasets.eval_region import EVERYWHERE, Region
from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import Failure, InputError, attempt, attempt_all, format_count
from cortexia_video.rgbd_sample import RGBDSample
from cortexia_video.runtime.bounded_map import map_bounded
from cortexia_video.runtime.resources import choose_workers, keep_freed_memory

Attempt = RGBDSample | Failure
Load = Callable[[], Attempt]  # decodes a sample; not to be called where it is to be passed over
ShardReader = Callable[[], Iterator[Load]]  # goes through a shard, from its first sample on

_SHARD_ENTRIES = 256
_WHILE_READ = 3  # times as much as a sample holds: files, readers' buffers, numbers before they are metres


class DatasetEntry(Protocol):
    """What a reader knows of a sample before it reads it."""

    @property
    def key(self) -> str: ...


@dataclass(frozen=True, slots=True)
class RGBDDataset:
    """Samples that are read when asked for: `len(dataset)`, `dataset[3]`, `for sample in dataset`.

    Attributes:
        name: Of its layout.
        entries: One for each sample, in order, keys unique.
        read: Reads the sample of an entry, or raises a `CortexiaError`; called from several threads.
        kind: Of depth.
        evaluation: What is compared of an image.
        registered: Depth lies on the image.
        root: The folder that it was opened from, or what the hub calls it.
        scale_is_said: The set itself says what its depth means, so that metres are what they say, however few
            or many.
        read_file: Returns the file that an entry's image came as, or None.
    """

    name: str
    entries: Sequence[Any]
    read: Callable[[Any], RGBDSample]
    kind: DepthKind | None = "metric"
    evaluation: Region = EVERYWHERE
    registered: bool = True
    root: str | None = None
    scale_is_said: bool = False
    read_file: Callable[[Any], bytes | None] | None = None

    def __repr__(self) -> str:
        return _describe(self, format_count(len(self), "sample"))

    def __post_init__(self) -> None:
        if len(set(self.keys)) != len(self.entries):
            key, count = Counter(self.keys).most_common(1)[0]
            raise InputError(f"{self.name}: {count} samples have the key {key!r}: name the files apart")

    @property
    def keys(self) -> list[str]:
        """Of the samples, in order."""
        return [entry.key for entry in self.entries]

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> RGBDSample:
        """Read one sample; raises what is wrong with it, and IndexError."""
        keep_freed_memory()
        return self.read(self.entries[index])

    def __iter__(self) -> Iterator[RGBDSample]:
        return (self.read(entry) for entry in self.entries)

    @property
    def shards(self) -> Sequence[ShardReader]:
        """Return the samples as those of a stream are given, a few hundred each."""

        def list_loads(start: int) -> Iterator[Load]:
            return (partial(self._try, entry) for entry in self.entries[start : start + _SHARD_ENTRIES])

        return [partial(list_loads, start) for start in range(0, len(self), _SHARD_ENTRIES)]

    def attempt(self, *, workers: int | None = None) -> Iterator[Attempt]:
        """Read all samples in order, a few ahead.

        Args:
            workers: Threads; one per core by default.

        Returns:
            An iterator of samples, with a `Failure` in place of each that cannot be read.
        """
        return map_bounded(
            list_all(self), operator.call, workers=choose_workers(workers), size_of=count_bytes
        )

    def try_read(self, index: int) -> Attempt:
        """Read one sample.

        Args:
            index: Its number, from 0.

        Returns:
            The sample, or a `Failure` that says what is wrong with it.

        Raises:
            IndexError: There is no such number.
        """
        return self._try(self.entries[index])

    def _try(self, entry: DatasetEntry) -> Attempt:
        return attempt(entry.key, "decode", lambda: self.read(entry))


@dataclass(frozen=True, slots=True)
class RGBDStream:
    """Samples in a row, of which nobody knows how many; shards can be gone through apart from each other.

    Attributes:
        name: Of its layout.
        shards: Each a function that goes through its samples, from the first on.
        kind: Of depth.
        evaluation: What is compared of an image.
        registered: Depth lies on the image.
        root: The folder that it was opened from, or what the hub calls it.
        scale_is_said: As of `RGBDDataset`.
    """

    name: str
    shards: Sequence[ShardReader]
    kind: DepthKind | None = "metric"
    evaluation: Region = EVERYWHERE
    registered: bool = True
    root: str | None = None
    scale_is_said: bool = False

    def __repr__(self) -> str:
        return _describe(self, format_count(len(self.shards), "shard"))

    def __iter__(self) -> Iterator[RGBDSample]:
        """Yield the samples; raises what is wrong with one."""
        for load in list_all(self):
            each = load()
            if isinstance(each, Failure):
                raise each.error
            yield each

    def attempt(self, *, workers: int | None = None) -> Iterator[Attempt]:
        """Read all samples in order, a few ahead.

        Args:
            workers: Threads; one per core by default.

        Returns:
            An iterator of samples, with a `Failure` in place of each that cannot be read.
        """
        return map_bounded(
            list_all(self), operator.call, workers=choose_workers(workers), size_of=count_bytes
        )


def count_bytes(attempt: Attempt) -> int:
    """Return the bytes that reading a sample takes at the most; of a failure none."""
    if isinstance(attempt, Failure):
        return 0
    return _WHILE_READ * (attempt.frame.image.nbytes + attempt.depth.values.nbytes)


def list_loads(key: str, read: Callable[[], Iterator[Load]]) -> Iterator[Load]:
    """Go through a shard; where it breaks off, the last load says why. key: the shard's."""
    for load in attempt_all(key, "decode", read()):
        yield partial(Failure, load.key, load.stage, load.error) if isinstance(load, Failure) else load


AnyDataset = RGBDDataset | RGBDStream


def _describe(dataset: AnyDataset, holds: str) -> str:
    where = f" in {dataset.root}" if dataset.root else ""
    return f"<{type(dataset).__name__} {dataset.name}: {holds}{where}>"


def list_all(dataset: AnyDataset) -> Iterator[Load]:
    """Yield what reads each sample, in order."""
    keep_freed_memory()
    return chain.from_iterable(shard() for shard in dataset.shards)
