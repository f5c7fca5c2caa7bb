"""How fast depth files are converted, and that memory does not grow with their number.

    python benchmarks/conversion.py [speed] [memory] [ledger] [--work FOLDER] [--quick]

`speed`: maps of 12 megapixels from npy, by one worker and by two, in turns. `memory`: small maps, a thousand
and ten thousand of them. `ledger`: one file of a folder whose ledger knows a million. Markdown tables with
medians, smallest and largest. Each in a process of its own; `--work` should be on a real disk. Five minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np
import xxhash
from cyclopts import App
from race import Job, race
from record import note_seconds

from cortexia_video import DepthMap, DepthReader, convert, read_depth
from cortexia_video.formats.registry import FORMATS
from cortexia_video.ledger.state import LEDGER_NAME

Section = Literal["speed", "memory", "ledger"]
_TWELVE_MEGAPIXELS, _SMALL = (3000, 4000), (240, 320)
_DIFFERENT = 16  # maps; the other names are links to these
_MILLION = 1_000_000

app = App(help=__doc__)


@app.default
def measure(*sections: Section, work: Path = Path("/tmp/cortexia-conversion"), quick: bool = False) -> None:
    """Measure and print.

    Parameters
    ----------
    sections
        Which; all by default.
    work
        A folder to make and to remove.
    quick
        Few and small, to see that it runs.
    """
    for section in sections or ("speed", "memory", "ledger"):
        shutil.rmtree(work, ignore_errors=True)
        {"speed": _measure_speed, "memory": _measure_memory, "ledger": _measure_ledger}[section](work, quick)
    shutil.rmtree(work)


def _measure_speed(work: Path, quick: bool) -> None:
    maps = _make_maps(work / "in", 4 if quick else 8, _SMALL if quick else _TWELVE_MEGAPIXELS)
    formats = [name for name, form in FORMATS.items() if form.decode and form.is_installed]
    loads = {f"{name}, {count}": partial(_load, name, count) for name in formats for count in (1, 2)}
    runs = race(loads, maps, work / "out", 1 if quick else 3)
    print("\n| npy to, workers | ms a map: median (min-max) | cores busy | peak MiB |\n|---|---|---|---|")
    for name, each in runs.items():
        times = [1e3 * run.seconds / run.images for run in each]
        note_seconds(name, [run.core_seconds / run.images for run in each])
        busy, peak = median(run.busy for run in each), each[-1].peak_bytes / 2**20
        print(
            f"| {name} | {median(times):.0f} ({min(times):.0f}-{max(times):.0f}) | {busy:.0%} | {peak:.0f} |"
        )


def _measure_memory(work: Path, quick: bool) -> None:
    print("\n| maps of 240 x 320, npz to png16 | maps/s | peak MiB |\n|---|---|---|")
    for count in (20, 100) if quick else (1000, 10000):
        maps = _make_maps(work / f"in-{count}", count, _SMALL)
        (run,) = race({f"{count}": partial(_load, "png16", 2)}, maps, work / "out", 1)[f"{count}"]
        print(f"| {count} | {run.images_per_second:.0f} | {run.peak_bytes / 2**20:.0f} |")


def _measure_ledger(work: Path, quick: bool) -> None:
    path = _write_ledger(work / "out", 1000 if quick else _MILLION)
    print("\n| one file of a million | s: median (min-max) | peak MiB |\n|---|---|---|")
    for name, job in (("read_depth", _read_one), ("DepthReader, the first 1000", _read_many)):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            taken = [pool.submit(_time, job, path).result() for _ in range(1 if quick else 5)]
        times = [seconds for seconds, _ in taken]
        print(f"| {name} | {median(times):.2f} ({min(times):.2f}-{max(times):.2f}) | {taken[-1][1]:.0f} |")


def _make_maps(folder: Path, count: int, shape: tuple[int, int]) -> list[Path]:
    """Write metres that are smooth with edges and noise, a few different ones under many names."""
    format = "npy" if shape == _TWELVE_MEGAPIXELS else "npz"
    folder.mkdir(parents=True)
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    paths = [folder / f"{number:05}{FORMATS[format].suffix}" for number in range(count)]
    for number, path in enumerate(paths):
        if number >= _DIFFERENT:
            os.link(paths[number % _DIFFERENT], path)
            continue
        noise = np.random.default_rng(number).normal(0, 0.003, shape)
        values = 3 + 2 * np.sin(x / 900 + number) + y / 1500 + 2 * (np.sin(x / 130) > 0.6) + noise
        depth = DepthMap(values.astype(np.float32), "metric", 3050.5, "exif")
        path.write_bytes(b"".join(map(bytes, FORMATS[format].encode(depth))))
    return paths


def _write_ledger(root: Path, count: int) -> Path:
    """Write the ledger of a run over many, of which one file is there; give that one."""
    root.mkdir(parents=True)
    key = f"trip/{count // 2:07}.jpg"
    path = root / f"{key}.npy"
    path.parent.mkdir()
    np.save(path, np.ones((10, 10), np.float32))
    data = path.read_bytes()
    placed = [len(data), xxhash.xxh3_128_hexdigest(data)]
    with (root / LEDGER_NAME).open("w") as file:
        print(json.dumps({"run": "1", "settings": {"model": "compact", "kind": "disparity"}}), file=file)
        for number in range(count):
            key = f"trip/{number:07}.jpg"
            done = {
                "key": key,
                "outcome": "done",
                "run": "1",
                "path": f"/photos/{key}",
                "source": [2**20, 2**60],
            }
            facts = {
                "outputs": {f"{key}.npy": placed},
                "height": 10,
                "width": 10,
                "kind": "disparity",
                "f_px": 9,
            }
            print(json.dumps({"key": key, "outcome": "begun", "outputs": [f"{key}.npy"]}), file=file)
            print(json.dumps({**done, **facts}), file=file)
    return path


# ---- in a process of its own -------------------------------------------------------------------------------


def _load(format: str, workers: int) -> Job:
    def run(maps: Sequence[Path], output: Path) -> None:
        report = convert(maps, output, format=format, about={"kind": "metric"}, workers=workers)
        assert report.failed == 0, report.failures[0]

    return run


def _read_one(path: Path) -> None:
    assert read_depth(path).f_px == 9


def _read_many(path: Path) -> None:
    reader = DepthReader()
    for _ in range(1000):
        assert reader.read(path).f_px == 9


def _time(job: Callable[[Path], None], path: Path) -> tuple[float, float]:
    """Return seconds, and MiB of memory that is the process's own: pages of the ledger's file are not."""
    started = time.perf_counter()
    job(path)
    seconds = time.perf_counter() - started
    own = next(line for line in Path("/proc/self/status").read_text().splitlines() if "RssAnon" in line)
    return seconds, int(own.split()[1]) / 1024


if __name__ == "__main__":
    app()
