"""How many threads and processes a job uses."""

from __future__ import annotations

import os

from cortexia_video.errors import InputError


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
