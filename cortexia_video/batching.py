"""`Batcher`: things of one shape together, mixed shapes waiting in a bounded window."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Batcher(Generic[Item]):
    """Group items by shape into batches of at most `limit_of(shape)`.

    An item waits for at most `window()` others to come after it; then its group goes as it is.
    """

    def __init__(self, limit_of: Callable[[Hashable], int], window: Callable[[], int]) -> None:
        self._limit_of = limit_of
        self._window = window
        self._groups: dict[Hashable, list[Item]] = {}  # the group that has waited longest comes first
        self._since: dict[Hashable, int] = {}
        self._count = 0

    def add(self, shape: Hashable, item: Item) -> list[list[Item]]:
        """Take one item; give the batches that are ready now."""
        self._count += 1
        group = self._groups.setdefault(shape, [])
        self._since.setdefault(shape, self._count)
        group.append(item)
        ready = [self._take(shape)] if len(group) >= self._limit_of(shape) else []
        oldest = next(iter(self._groups), None)
        if oldest is not None and self._count - self._since[oldest] >= self._window():
            ready.append(self._take(oldest))
        return ready

    def take_oldest(self) -> list[Item] | None:
        """Give the group that has waited longest, full or not; None where nothing waits."""
        oldest = next(iter(self._groups), None)
        return None if oldest is None else self._take(oldest)

    def flush(self) -> Iterator[list[Item]]:
        """Give what still waits, in the order of arrival of each group's first item."""
        while (group := self.take_oldest()) is not None:
            yield group

    def _take(self, shape: Hashable) -> list[Item]:
        del self._since[shape]
        return self._groups.pop(shape)
