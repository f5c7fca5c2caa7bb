"""Jobs measured in turns: each in a process of its own, which stays, so that none disturbs another."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from cortexia_video.runtime.resources import count_cores

Job = Callable[[Sequence[Path], Path], None]  # photos, the folder to fill
Load = Callable[[], Job]  # what is not timed: reading weights

_WARMING_UP = 4  # photos
_DISTURBED = 0.08  # of all cores' time


@dataclass(frozen=True, slots=True)
class Run:
    """One turn of one job.

    core_seconds: of all its threads. foreign_seconds: of cores that the rest of the machine used meanwhile,
    the kernel's own threads included. peak_bytes: resident, since its process began.
    """

    images: int
    seconds: float
    core_seconds: float
    foreign_seconds: float
    peak_bytes: int
    files: int
    file_bytes: int

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds

    @property
    def busy(self) -> float:
        """Return the share of all cores' time that the job used."""
        return self.core_seconds / (self.seconds * count_cores())

    @property
    def disturbed(self) -> float:
        """Return the share of all cores' time that others took."""
        return self.foreign_seconds / (self.seconds * count_cores())


def race(
    loads: Mapping[str, Load],
    photos: Sequence[Path],
    output: Path,
    rounds: int,
    judge: Callable[[Mapping[str, Sequence[Run]]], str | None] = lambda runs: None,
) -> dict[str, list[Run]]:
    """Measure each job in every round, A B C A B C, after a few photos that do not count.

    A round in which other programs took more than a few percent of the cores is repeated, and so is one of which
    `judge`, which sees the runs so far, says what cannot be; as many times in all as there are rounds. What still
    cannot be is left to `arithmetic`.
    """
    runs: dict[str, list[Run]] = {name: [] for name in loads}
    repeats = rounds
    with ExitStack() as stack:
        pools = {name: stack.enter_context(_start(load)) for name, load in loads.items()}
        for pool in pools.values():
            pool.submit(_measure, photos[:_WARMING_UP], output).result()
        done = 0
        while done < rounds:
            for name, pool in pools.items():
                runs[name].append(pool.submit(_measure, photos, output).result())
                print(_describe(name, runs[name][-1]), file=sys.stderr, flush=True)
            if repeats and (problem := _find_disturbance(runs) or judge(runs)):
                repeats -= 1
                print(f"  this round is repeated: {problem}", file=sys.stderr, flush=True)
                for each in runs.values():
                    each.pop()
            else:
                done += 1
    return runs


def _find_disturbance(runs: Mapping[str, Sequence[Run]]) -> str | None:
    """Say who was disturbed by other programs in the last round, if anybody was."""
    name, most = max(((name, each[-1].disturbed) for name, each in runs.items()), key=lambda each: each[1])
    return f"others used {most:.0%} of the cores while {name} ran" if most > _DISTURBED else None


def _describe(name: str, run: Run) -> str:
    return (
        f"  {name}: {run.seconds / run.images * 1e3:.0f} ms/image, {run.busy:.0%} busy, "
        f"{run.disturbed:.0%} by others, peak {run.peak_bytes / 2**20:.0f} MiB"
    )


def _start(load: Load) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_load, initargs=(load,))


# ---- in the job's process ----------------------------------------------------------------------------------

_loaded: list[Job] = []


def _load(load: Load) -> None:
    _loaded.append(load())


def _measure(photos: Sequence[Path], output: Path) -> Run:
    """Run the job once into an empty folder, on a disk that has nothing left to write, and clean up."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    os.sync()
    everyone, used, started = _machine_seconds(), time.process_time(), time.perf_counter()
    _loaded[0](photos, output)
    seconds, core_seconds = time.perf_counter() - started, time.process_time() - used
    foreign = max(0.0, _machine_seconds() - everyone - core_seconds)
    sizes = [path.stat().st_size for path in output.rglob("*.npy")]
    shutil.rmtree(output)
    return Run(len(photos), seconds, core_seconds, foreign, _peak_bytes(), len(sizes), sum(sizes))


def _machine_seconds() -> float:
    """Return the seconds that all cores have worked since the machine started (proc(5), all but idle)."""
    user, nice, system, _, _, interrupts, soft_interrupts, stolen = map(
        int, Path("/proc/stat").read_text().split(maxsplit=9)[1:9]
    )
    ticks = user + nice + system + interrupts + soft_interrupts + stolen
    return ticks / os.sysconf("SC_CLK_TCK")


def _peak_bytes() -> int:
    """Return the peak of resident memory; `getrusage` counts that of the process that started this one."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024
