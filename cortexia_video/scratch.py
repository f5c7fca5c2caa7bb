"""`Scratch`: memory for large arrays, used again and again: fresh memory costs its pages each time."""

from __future__ import annotations

import mmap
import threading

_MOST = 1 << 26  # bytes; larger ones are rare, and would be kept for good


class Scratch:
    """One piece of memory for each thread, as large as the largest that was asked for."""

    def __init__(self) -> None:
        self._of_thread = threading.local()

    def take(self, count: int) -> memoryview:
        """Give `count` bytes from the start of a page, not cleared: those that this thread got before."""
        if count > _MOST:
            return memoryview(mmap.mmap(-1, count))
        kept: mmap.mmap | None = getattr(self._of_thread, "memory", None)
        if kept is None or len(kept) < count:
            kept = self._of_thread.memory = mmap.mmap(-1, max(count, 1))
        return memoryview(kept)[:count]
