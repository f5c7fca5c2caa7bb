"""How many scenes per second are rendered: alone, in batches, and in as many processes as there are cores.

    python benchmarks/scenes.py --repeats 5
    python benchmarks/scenes.py --device cuda --batch-sizes 16 64
    python benchmarks/scenes.py --kinds room furnished desk under --repeats 3    # seconds of a core, each kind alone

The ways take turns; printed are the median, the least and the most of all rounds. Textures: painted before.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import torch
from cyclopts import App
from record import note_seconds

from cortexia_video.runtime.resources import count_cores
from cortexia_video.scenes import render_scenes

_BEFORE = range(60)  # seeds that have most of their library's textures painted
_EACH_ROUND = 24

app = App(help="Measure scenes per second.")


def render(seeds: range, height: int, width: int, device: str, batch_size: int | None) -> int:
    """Render scenes and forget them; say how many."""
    made = sum(1 for _ in render_scenes(seeds, height, width, device=device, batch_size=batch_size))
    if device != "cpu":
        torch.cuda.synchronize(device)
    return made


@app.default
def measure(
    *,
    height: int = 192,
    width: int = 256,
    repeats: int = 5,
    device: str = "cpu",
    batch_sizes: list[int] | None = None,
    kinds: list[str] | None = None,
) -> None:
    """Print a table of scenes per second."""
    torch.set_num_threads(1)  # scenes are too small to share
    if kinds:
        measure_kinds(kinds, height, width, repeats)
        return
    render(_BEFORE, height, width, device, None)
    ways: dict[str, Callable[[range], object]] = {
        f"one process of one thread, batch of {size}": lambda seeds, size=size: render(
            seeds, height, width, device, size
        )
        for size in batch_sizes or (1, 4)
    }
    cores = count_cores()
    with ProcessPoolExecutor(
        cores, multiprocessing.get_context("spawn"), torch.set_num_threads, (1,)
    ) as executor:

        def share(seeds: range) -> None:
            parts = [seeds[at::cores] for at in range(cores)]
            jobs = [executor.submit(render, part, height, width, "cpu", None) for part in parts]
            assert sum(job.result() for job in jobs) == len(seeds)

        if device == "cpu":
            ways[f"{cores} processes of one thread"] = share
            for _ in range(2):
                share(_BEFORE)
        rates = take_turns(ways, repeats)
    print(f"{height} x {width}, {device}, {_EACH_ROUND} scenes a round, {repeats} rounds\n")
    print("| way | scenes/s, median | least | most |\n|---|---|---|---|")
    for way, values in rates.items():
        note_seconds(way, [1 / rate for rate in values])
        print(f"| {way} | {statistics.median(values):.1f} | {min(values):.1f} | {max(values):.1f} |")


def measure_kinds(kinds: list[str], height: int, width: int, repeats: int) -> None:
    """Print seconds of a core per scene for each kind, places built and textures painted among them."""
    taken: dict[str, list[float]] = {kind: [] for kind in kinds}
    for turn in range(-1, repeats):  # the first is not counted: it imports and paints
        seeds = range(4008 + turn * _EACH_ROUND, 4008 + (turn + 1) * _EACH_ROUND)
        for kind, values in taken.items():
            started = time.process_time()
            made = sum(1 for _ in render_scenes(seeds, height, width, [kind]))
            values.append((time.process_time() - started) / made)
    print("| kind | seconds of a core per scene, median | least | most |\n|---|---|---|---|")
    for kind, (_, *values) in taken.items():
        print(f"| {kind} | {statistics.median(values):.2f} | {min(values):.2f} | {max(values):.2f} |")


def take_turns(ways: dict[str, Callable[[range], object]], repeats: int) -> dict[str, list[float]]:
    """Run each way once a round, on the same seeds; give scenes per second."""
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(repeats):
        seeds = range(200 + turn * _EACH_ROUND, 200 + (turn + 1) * _EACH_ROUND)
        for way, run in ways.items():
            started = time.perf_counter()
            run(seeds)
            rates[way].append(_EACH_ROUND / (time.perf_counter() - started))
    return rates


if __name__ == "__main__":
    app()
