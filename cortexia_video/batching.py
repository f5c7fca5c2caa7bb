"""`Batcher`: things of one shape together, mixed shapes waiting in a bounded window."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Batcher(Generic[Item]):
    """Group items by shape into batches of at most `batch_size`.

    At most `window` items wait; when they are more, the group that has waited longest goes as it is.
    """

    def __init__(self, batch_size: int, window: int) -> None:
        self.batch_size = batch_size
        self.window = window
        self._groups: dict[Hashable, list[Item]] = {}
        self._waiting = 0

    def add(self, shape: Hashable, item: Item) -> list[Item]:
        """Take one item; give the batch that is ready now, or an empty list."""
        group = self._groups.setdefault(shape, [])
        group.append(item)
        self._waiting += 1
        if len(group) >= self.batch_size:
            return self._take(shape)
        if self._waiting >= self.window:
            return self._take(next(iter(self._groups)))
        return []

    def flush(self) -> Iterator[list[Item]]:
        """Give what still waits, in the order of arrival of each group's first item."""
        while self._groups:
            yield self._take(next(iter(self._groups)))

    def _take(self, shape: Hashable) -> list[Item]:
        batch = self._groups.pop(shape)
        self._waiting -= len(batch)
        return batch
