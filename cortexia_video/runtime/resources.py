"""What a job takes of its machine: cores (`choose_workers`), memory (`MemoryBudget`, `BufferPool`) and time.

`StageClock` measures time, `Usage` is what came together, and `Speed` how near that is to what was possible.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from cortexia_video.errors import require_at_least_1
from cortexia_video.runtime.trace import Trace

_MOST = 1 << 26  # bytes of one piece; larger ones are rare, and would be kept for good
_TOGETHER = 1 << 29  # bytes kept for all threads
MODEL = "model"  # the stage
_GOOD = 0.8
Mark = tuple[str, float, float]  # a stage that begins, `time.perf_counter`, `time.thread_time`
_DYNAMIC_MOST = (32 << 20) - (1 << 16)
_M_ARENA_MAX = -8  # of malloc.h


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_workers(given: int | None) -> int:
    """Return the number of threads asked for, or one a core; `InputError` where there would be none."""
    if given is None:
        return count_cores()
    require_at_least_1(workers=given)
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


@cache
def share_heaps() -> None:
    """Let glibc have a heap for each core, not eight: what one thread frees, another can take.

    Threads hand images and depth on to each other, and each heap keeps some of what was freed in it (mallopt(3),
    M_ARENA_MAX). What the environment says counts.
    """
    mallopt = (
        getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    )  # musl has none
    if mallopt and "MALLOC_ARENA_MAX" not in os.environ:
        mallopt(_M_ARENA_MAX, count_cores())


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


class StageClock:
    """Adds up the time of stages over all threads; with `trace`, each piece is written there.

    seconds: by the clock, for each stage, summed over threads. core_seconds: of a processor core, in the
    measuring thread alone (threads that a library starts inside are not seen).
    """

    def __init__(self, trace: Trace | None = None) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.core_seconds: dict[str, float] = defaultdict(float)
        self._trace = trace
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def measure(self, stage: str, what: str = "") -> Iterator[None]:
        """Add the time of the block to a stage. what: the key, or so, that the trace shows with it."""
        started, core_started = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            seconds, core_seconds = time.perf_counter() - started, time.thread_time() - core_started
            self.add(stage, seconds, core_seconds)
            if self._trace:
                self._trace.add(stage, started, seconds, what)

    def add_up(self, marks: Sequence[Mark], what: str = "") -> None:
        """Add stages that follow one another on this thread: each from its mark to the next, the last until now.

        what: as `measure` takes it. A mark without a name is time that is nobody's: waiting.
        """
        ends = (*marks[1:], ("", time.perf_counter(), time.thread_time()))
        for (stage, began, core_began), (_, ended, core_ended) in zip(marks, ends, strict=True):
            if stage:
                self.add(stage, ended - began, core_ended - core_began)
                if self._trace:
                    self._trace.add(stage, began, ended - began, what)

    def add(self, stage: str, seconds: float, core_seconds: float) -> None:
        """Add time that was measured elsewhere to a stage."""
        with self._lock:
            self.seconds[stage] += seconds
            self.core_seconds[stage] += core_seconds


class Resources:
    """What the threads of a worker share: the memory that they may take, buffers, and the clock of their stages."""

    def __init__(self, memory: int, trace: Trace | None) -> None:
        self.budget, self.buffers, self.clock = MemoryBudget(memory), BufferPool(), StageClock(trace)
        self._process_seconds = time.process_time()

    def usage(self, *, device: str, devices: int, threads: int, batch_sizes: Mapping[str, int]) -> Usage:
        """Return what this process used since it has them."""
        stages = dict(self.clock.core_seconds)
        stages.pop(MODEL, None)
        process = time.process_time() - self._process_seconds
        return Usage(
            seconds=dict(self.clock.seconds),
            core_seconds={**stages, MODEL: max(0.0, process - sum(stages.values()))},
            device=device,
            devices=devices,
            cores=count_cores(),
            threads=threads,
            batch_sizes=batch_sizes,
        )


@dataclass(frozen=True, slots=True)
class Usage:
    """What the workers of a run used of their machines.

    seconds, core_seconds: of each stage, all threads together, by the clock and of processor cores; of these
    `model` is what the processes used beyond their other stages. device: that the model runs on.
    devices, cores: how many there were. threads: that read, and as many that write.
    batch_sizes: the largest batch of each input shape, where that was found out.
    """

    seconds: Mapping[str, float]
    core_seconds: Mapping[str, float]
    device: str
    devices: int
    cores: int
    threads: int
    batch_sizes: Mapping[str, int]

    @property
    def slowest(self) -> str | None:
        """Name the stage that took the longest by the clock, all threads together."""
        return max(self.seconds, key=lambda name: self.seconds[name], default=None)

    def measure(self, images: int, seconds: float) -> Speed:
        """Return the speed of a run that tried so many images in so many seconds."""
        waited = max(self.seconds.get(name, 0.0) for name in ("read", "write"))
        return Speed(
            images=images,
            seconds=seconds,
            cores=self.cores,
            devices=self.devices,
            busy_seconds=self.seconds.get(MODEL, 0.0),
            core_seconds=self.core_seconds,
            on_processor=self.device.startswith("cpu"),
            disk_seconds=waited / self.threads,
        )


@dataclass(frozen=True, slots=True)
class Speed:
    """What a run's clock says.

    images: that were tried, done or failed. seconds: by the clock. cores, devices: how many there were.
    busy_seconds: of the model's threads, by the clock, all devices together.
    core_seconds: of processor cores, for each stage, all images together; `model` is what the process used
    beyond its other stages. on_processor: the devices are processors, so the model competes for the cores.
    disk_seconds: of the threads that read, or of those that write, if that is more, by the clock and for each
    thread on average.

    Nothing could have been faster than `max(model, cores)`: the model's own time on each device, and the
    seconds of all cores (input, output, and a model that runs on the processor) shared among the cores.
    """

    images: int
    seconds: float
    cores: int
    devices: int
    busy_seconds: float
    core_seconds: Mapping[str, float]
    on_processor: bool = False
    disk_seconds: float = 0.0

    @property
    def model_share(self) -> float:
        """Return the share of the run during which the model was at work."""
        return self.busy_seconds / (self.devices * self.seconds) if self.seconds else 0.0

    @property
    def cores_share(self) -> float:
        """Return the share of the processor's time that the run used."""
        return sum(self.core_seconds.values()) / (self.cores * self.seconds) if self.seconds else 0.0

    @property
    def disk_share(self) -> float:
        """Return the share of the run during which the threads that read, or that write, did only that."""
        return self.disk_seconds / self.seconds if self.seconds else 0.0

    @property
    def share_of_bound(self) -> float:
        """Return the bound's time over the run's: 1 means that nothing waited without need."""
        return min(1.0, self.model_share if self._model_is_limit else self.cores_share)

    @property
    def slowest(self) -> str:
        """Name the stage to look at first."""
        if self._model_is_limit:
            return MODEL
        stages = {
            name: used for name, used in self.core_seconds.items() if name != MODEL or self._model_on_cores
        }
        return max(stages, key=lambda name: stages[name], default=MODEL)

    @property
    def _model_on_cores(self) -> bool:
        return self.on_processor and self.core_seconds.get(MODEL, 0.0) > 0.5 * self.busy_seconds

    @property
    def _model_is_limit(self) -> bool:
        """Return whether the model, on a device of its own, was busier than the cores."""
        return not self._model_on_cores and self.model_share >= self.cores_share

    def as_dict(self) -> dict[str, object]:
        """Return the ledger's words for it; seconds are for each image."""
        each = {name: round(used / max(self.images, 1), 5) for name, used in self.core_seconds.items()}
        names = ("share_of_bound", "model_share", "cores_share", "disk_share")
        return {
            **{name: round(getattr(self, name), 3) for name in names},
            "slowest": self.slowest,
            "core_seconds_an_image": each,
            "cores": self.cores,
            "devices": self.devices,
        }

    def __str__(self) -> str:
        limit = "the model" if self._model_is_limit else f"{self.cores} cores"
        each = (f"{name} {1e3 * used / max(self.images, 1):.1f}" for name, used in self.core_seconds.items())
        waiting = (
            ""
            if self.share_of_bound > _GOOD
            else f"; reading or writing took {self.disk_share:.0%} of the time"
        )
        return (
            f"{self.share_of_bound:.0%} of what {limit} can do{waiting}; slowest: {self.slowest}; "
            f"milliseconds of a core for an image: {', '.join(each)}"
        )
