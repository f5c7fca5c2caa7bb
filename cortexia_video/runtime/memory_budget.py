"""`MemoryBudget`: how much memory the big arrays of all workers together may take."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
from collections.abc import Iterator


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
