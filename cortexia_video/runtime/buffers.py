"""`BufferPool`: memory for large arrays, used again and again: fresh memory costs its pages each time."""

from __future__ import annotations

import mmap
import threading

_MOST = 1 << 26  # bytes of one piece; larger ones are rare, and would be kept for good
_TOGETHER = 1 << 29  # bytes kept for all threads


class BufferPool:
    """One piece of memory for each thread, as large as the largest that was asked for.

    Where many threads would keep more than 512 MiB together, the last ones get fresh memory each time.
    """

    def __init__(self) -> None:
        self._of_thread = threading.local()
        self._kept = 0
        self._lock = threading.Lock()

    def take(self, count: int) -> memoryview:
        """Return `count` bytes from the start of a page, not cleared: those that this thread got before."""
        kept: mmap.mmap | None = getattr(self._of_thread, "memory", None)
        if kept is None or len(kept) < count:
            kept = mmap.mmap(-1, max(count, 1))
            more = count - len(getattr(self._of_thread, "memory", b""))
            with self._lock:
                may = more <= _MOST and self._kept + more <= _TOGETHER
                self._kept += more if may else 0
            if may:
                self._of_thread.memory = kept
        return memoryview(kept)[:count]
