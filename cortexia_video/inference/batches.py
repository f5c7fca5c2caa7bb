"""`Batcher`: images of one group together; `BatchLimits`: how many of a group go into one call of the model."""

from __future__ import annotations

import contextlib
import logging
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from cortexia_video.errors import InputError
from cortexia_video.inference.machine_memory import MachineMemory

Item = TypeVar("Item")
Group = tuple[int | str, ...]  # shape and type of a network's input, and whatever else keeps images apart
BatchSize = int | Literal["auto"]

_LARGEST_TRIED = 64
_AUTO_BYTES = 1 << 28  # of a batch's input
_WORTH_IT = 1.05  # a doubled batch must raise the rate by this much to be kept
_CALLS_TIMED = 2  # of each size; the faster one counts, since the first pays for warming up
BATCHES_WAITING = 4
_KNOWN_S = 7 * 86_400  # for which a limit counts: another program may have had the memory that day
_OUT_OF_MEMORY = ("out of memory", "failed to allocate memory", "bad_alloc", "bad allocation")

_log = logging.getLogger(__name__)


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


@dataclass(slots=True)
class _Search:
    """Where the search for the best batch size of one group is."""

    size: int = 1
    seconds: list[float] = field(default_factory=list)  # of calls with `size` images
    best: tuple[int, float] = (1, 0.0)  # size, images per second
    settled: bool = False


class BatchLimits:
    """What was asked for, less what did not fit; with `auto`, what proved fastest. Thread-safe.

    largest: the largest batch that may be asked for now.

    `auto` begins with single images and doubles while that raises images per second by 5 %, on the run's
    own batches: nothing is computed for the search alone.
    """

    def __init__(self, batch_size: BatchSize, most: int | None = None) -> None:
        if batch_size != "auto" and not (isinstance(batch_size, int) and batch_size >= 1):
            raise InputError(f"`batch_size` must be at least 1, or auto, got {batch_size!r}")
        self.is_auto = batch_size == "auto"
        self._most = min(_LARGEST_TRIED if batch_size == "auto" else batch_size, most or sys.maxsize)
        self.largest = 1 if self.is_auto else self._most
        self._fitting: dict[Group, int] = {}
        self._about: Mapping[str, Any] | None = None
        self._looked_up: set[Group] = set()
        self._searches: dict[Group, _Search] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock())

    def remember(self, about: Mapping[str, Any]) -> None:
        """Begin with the limits that runs of the last days found; keep those found from now on.

        about: what they depend on, besides the machine and the group: the model. A group has a file of its own, so
        that runs side by side keep each other's.
        """
        with self._lock:
            self._about = about

    def of(self, group: Group) -> int:
        """Return how many images of this group the next batch should hold."""
        with self._lock:
            fitting = min(self._recall(group), self._most)
            return min(fitting, self._search(group).size) if self.is_auto else fitting

    def fitting(self, group: Group) -> int:
        """Return how many images of this group fit, as far as is known."""
        with self._lock:
            return self._recall(group)

    def window(self) -> int:
        """Return how many prepared images may wait for others of their group."""
        return BATCHES_WAITING * self.largest

    @property
    def found(self) -> dict[str, int]:
        """Return what was found, by shape: the largest batch that fits, or the fastest."""
        with self._lock:
            sizes = {group: search.best[0] for group, search in self._searches.items() if search.best[1]}
            sizes |= {group: min(size, sizes.get(group, size)) for group, size in self._fitting.items()}
        return {"x".join(map(str, group)): size for group, size in sizes.items()}

    def record_full_memory(self, group: Group, count: int) -> None:
        """Remember that `count` images of this group do not fit."""
        with self._lock:
            known = min(self._fitting.get(group, count), self._read_kept(group) or count)
            self._fitting[group] = max(1, min(count // 2, known))
            if self.is_auto:
                search = self._search(group)
                search.settled = True
                self._resize(search, max(1, min(search.size, search.best[0])))
            if memory := self._open_memory(group):
                memory.write([self._fitting[group], time.time()])

    def record_time(self, group: Group, count: int, seconds: float) -> None:
        """Record, with `auto`, the time of one call that went well."""
        with self._lock:
            search = self._search(group)
            if search.settled or count != search.size:
                return
            search.seconds.append(seconds)
            if len(search.seconds) < _CALLS_TIMED:
                return
            rate = search.size / max(min(search.seconds), 1e-9)
            if rate < search.best[1] * _WORTH_IT:
                search.settled = True
                self._resize(search, search.best[0])
                return
            # how many inputs of four bytes a number fit into what `auto` may take
            fitting = max(1, _AUTO_BYTES // (4 * math.prod(side for side in group if isinstance(side, int))))
            search.best = (search.size, rate)
            most = min(self._most, fitting, self._recall(group))
            search.settled = search.size * 2 > most
            self._resize(search, search.size if search.settled else search.size * 2)
            search.seconds = []

    def _recall(self, group: Group) -> int:
        """Return how many images of this group fit, as this run or an earlier one found; the first look reads."""
        if group not in self._looked_up:
            self._looked_up.add(group)
            if group not in self._fitting and (kept := self._read_kept(group)):
                self._fitting[group] = kept
                _log.info("%d images of %s fit in memory together, as an earlier run found", kept, group)
        return self._fitting.get(group, sys.maxsize)

    def _read_kept(self, group: Group) -> int | None:
        """Return what a run of the last days found, this one's or another's."""
        if memory := self._open_memory(group):
            with contextlib.suppress(TypeError, ValueError):  # nothing, or not as we wrote it
                size, found_s = memory.read()
                if float(found_s) > time.time() - _KNOWN_S:
                    return max(1, int(size))
        return None

    def _open_memory(self, group: Group) -> MachineMemory | None:
        return None if self._about is None else MachineMemory("batches", {**self._about, "group": group})

    def _resize(self, search: _Search, size: int) -> None:
        search.size = size
        self.largest = max(each.size for each in self._searches.values())

    def _search(self, group: Group) -> _Search:
        return self._searches.setdefault(group, _Search())


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether an error, or its cause, means that memory was too small: of the host or of a device."""
    while error is not None:
        text = str(error).lower()
        named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
        if named or any(sign in text for sign in _OUT_OF_MEMORY):
            return True
        error = error.__cause__
    return False
