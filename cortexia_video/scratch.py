"""`Scratch`: memory for large arrays, used again and again: fresh memory costs its pages each time."""

from __future__ import annotations

import threading

_MOST = 1 << 26  # bytes; larger ones are rare, and would be kept for good


class Scratch:
    """One piece of memory for each thread, as large as the largest that was asked for."""

    def __init__(self) -> None:
        self._of_thread = threading.local()

    def take(self, count: int) -> memoryview:
        """Give `count` bytes, not cleared: the ones that this thread got the last time."""
        if count > _MOST:
            return memoryview(bytearray(count))
        kept: bytearray = getattr(self._of_thread, "bytes", bytearray())
        if len(kept) < count:
            kept = self._of_thread.bytes = bytearray(count)
        return memoryview(kept)[:count]
