"""`Batcher`: things of one group together, mixed groups waiting in a bounded window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")
Group = tuple[int | str, ...]  # shape and type of a network's input, and whatever else keeps images apart


class Batcher(Generic[Item]):
    """Gather items of one group into batches of at most `limit_of(group)`.

    An item waits for at most `window()` others to come after it; then its group goes as it is.
    """

    def __init__(self, limit_of: Callable[[Group], int], window: Callable[[], int]) -> None:
        self._limit_of = limit_of
        self._window = window
        self._groups: dict[Group, list[Item]] = {}  # the group that has waited longest comes first
        self._since: dict[Group, int] = {}
        self._count = 0

    def add(self, group: Group, item: Item) -> list[list[Item]]:
        """Add one item; return the batches that are ready now."""
        self._count += 1
        items = self._groups.setdefault(group, [])
        self._since.setdefault(group, self._count)
        items.append(item)
        ready = [self._take(group)] if len(items) >= self._limit_of(group) else []
        oldest = next(iter(self._groups), None)
        if oldest is not None and self._count - self._since[oldest] >= self._window():
            ready.append(self._take(oldest))
        return ready

    def take_oldest(self) -> list[Item] | None:
        """Return the group that has waited longest, full or not; None where nothing waits."""
        oldest = next(iter(self._groups), None)
        return None if oldest is None else self._take(oldest)

    def flush(self) -> Iterator[list[Item]]:
        """Yield what still waits, in the order of arrival of each group's first item."""
        while (group := self.take_oldest()) is not None:
            yield group

    def _take(self, group: Group) -> list[Item]:
        del self._since[group]
        return self._groups.pop(group)
