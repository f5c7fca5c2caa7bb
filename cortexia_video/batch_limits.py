"""`BatchLimits`: how many pictures of one shape go into one call of the model."""

from __future__ import annotations

import sys
import threading
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Literal

BatchSize = int | Literal["auto"]

_LARGEST_TRIED = 64
_WORTH_IT = 1.05  # a doubled batch must raise the rate by this much to be kept
_CALLS_TIMED = 2  # of each size; the faster one counts, since the first pays for warming up
_BATCHES_WAITING = 4
_OUT_OF_MEMORY = ("out of memory", "failed to allocate memory", "bad_alloc", "bad allocation")


@dataclass(slots=True)
class _Search:
    """Where the search for the best batch size of one shape is."""

    size: int = 1
    seconds: list[float] = field(default_factory=list)  # of calls with `size` pictures
    best: tuple[int, float] = (1, 0.0)  # size, pictures a second
    settled: bool = False


class BatchLimits:
    """What was asked for, less what did not fit; with `auto`, what proved fastest. Thread-safe.

    `auto` begins with single pictures and doubles while that raises pictures a second by 5 %, on the run's
    own batches: nothing is computed for the search alone.
    """

    def __init__(self, batch_size: BatchSize, most: int | None = None) -> None:
        if batch_size != "auto" and batch_size < 1:
            raise ValueError(f"batch_size must be at least 1 or 'auto', not {batch_size}")
        self._auto = batch_size == "auto"
        self._most = min(_LARGEST_TRIED if batch_size == "auto" else batch_size, most or sys.maxsize)
        self._fitting: dict[Hashable, int] = {}
        self._searches: dict[Hashable, _Search] = {}
        self._lock = threading.Lock()

    def of(self, shape: Hashable) -> int:
        """Say how many pictures of this shape the next batch should hold."""
        with self._lock:
            fitting = self._fitting.get(shape, self._most)
            return min(fitting, self._search(shape).size) if self._auto else fitting

    def fitting(self, shape: Hashable) -> int:
        """Say how many pictures of this shape fit, as far as is known."""
        with self._lock:
            return self._fitting.get(shape, sys.maxsize)

    @property
    def largest(self) -> int:
        """Give the largest batch that may be asked for now."""
        with self._lock:
            sizes = [search.size for search in self._searches.values()]
        return max(sizes, default=1) if self._auto else self._most

    @property
    def window(self) -> int:
        """Say how many prepared pictures may wait for others of their shape."""
        return _BATCHES_WAITING * self.largest

    @property
    def found(self) -> dict[str, int]:
        """Give the shapes whose batches were not of the size asked for, and the size they have now."""
        with self._lock:
            shapes = {*self._fitting, *self._searches}
        return {"x".join(map(str, shape)): self.of(shape) for shape in shapes if isinstance(shape, tuple)}

    def record_full_memory(self, shape: Hashable, count: int) -> None:
        """Remember that `count` pictures of this shape do not fit."""
        with self._lock:
            self._fitting[shape] = max(1, min(count // 2, self._fitting.get(shape, count)))
            if self._auto:
                search = self._search(shape)
                search.size, search.settled = max(1, min(search.size, search.best[0])), True

    def record_time(self, shape: Hashable, count: int, seconds: float) -> None:
        """Take the time of one call that went well."""
        with self._lock:
            search = self._search(shape) if self._auto else None
            if search is None or search.settled or count != search.size:
                return
            search.seconds.append(seconds)
            if len(search.seconds) == _CALLS_TIMED:
                self._go_on(search)

    def _go_on(self, search: _Search) -> None:
        rate = search.size / max(min(search.seconds), 1e-9)
        if rate < search.best[1] * _WORTH_IT:
            search.size, search.settled = search.best[0], True
            return
        search.best = (search.size, rate)
        search.settled = search.size * 2 > self._most
        search.size = search.size if search.settled else search.size * 2
        search.seconds = []

    def _search(self, shape: Hashable) -> _Search:
        return self._searches.setdefault(shape, _Search())


def is_out_of_memory(error: BaseException | None) -> bool:
    """Say whether an error, or its cause, means that memory was too small: of the host or of a device."""
    while error is not None:
        text = str(error).lower()
        named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
        if named or any(sign in text for sign in _OUT_OF_MEMORY):
            return True
        error = error.__cause__
    return False
