"""What a job takes of its machine: cores (`choose_workers`), and memory (`MemoryBudget`, `BufferPool`)."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import sys
import threading
from collections.abc import Iterator
from functools import cache

from cortexia_video.errors import InputError

_MOST = 1 << 26  # bytes of one piece; larger ones are rare, and would be kept for good
_TOGETHER = 1 << 29  # bytes kept for all threads
_DYNAMIC_MOST = (32 << 20) - (1 << 16)


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_workers(given: int | None) -> int:
    """Return the number of threads asked for, or one a core; `InputError` where there would be none."""
    if given is None:
        return count_cores()
    if given < 1:
        raise InputError(f"`workers` must be at least 1, got {given}")
    return given


class MemoryBudget:
    """Let work begin only while its arrays fit; what is larger than the whole budget runs alone."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._held = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def hold(self, count: int) -> Iterator[None]:
        """Wait until `count` bytes are free, and keep them for the block. Do not nest."""
        count = min(count, self.total)
        with self._changed:
            self._changed.wait_for(lambda: self._held + count <= self.total)
            self._held += count
        try:
            yield
        finally:
            if count > self.total // 4:
                _give_back_freed_memory()
            with self._changed:
                self._held -= count
                self._changed.notify_all()


def _give_back_freed_memory() -> None:
    """Ask glibc for what its per-thread heaps keep: after images of 200 megapixels, over a gigabyte."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim:
            trim(0)


@cache
def keep_freed_memory() -> None:
    """Let glibc keep up to 64 MB of what is freed for the next arrays; fresh pages cost more than filling them.

    Where it gives memory back follows the largest block below 32 MiB that was ever freed (mallopt(3),
    M_MMAP_THRESHOLD), unless the environment says it; this is one, of which no page is touched.
    """
    bytes(_DYNAMIC_MOST)


class BufferPool:
    """Memory for large arrays, used again and again: fresh memory costs its pages each time.

    One piece for each thread, as large as the largest that was asked for. Where many threads would keep more
    than 512 MiB together, the last ones get fresh memory each time.
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
