"""How long depth of 12 megapixels takes to become bytes and back in one thread, and what a second one brings.

Usage: python benchmarks/formats.py [--rounds 7] [--work FOLDER]

Interleaved: every round does each format once. Of a file's own writing, npy is measured beside the same bytes
written plainly. `--work` is where these files go: it should be a real disk.
"""

from __future__ import annotations

import io
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from cyclopts import run
from PIL import Image
from record import note_seconds

from cortexia_video import DepthMap
from cortexia_video.formats.decode_depth import decode_depth
from cortexia_video.formats.metadata import metadata_of
from cortexia_video.formats.registry import FORMATS
from cortexia_video.runtime.resources import BufferPool
from cortexia_video.sinks.sink import FolderSink

HEIGHT, WIDTH = 3000, 4000
GOALS = {"png16": 350, "jxl": 60, "tiff": 400}  # milliseconds
GIL_GOAL = 1.7
_BOTH = 3  # encodings a thread, for the second thread's worth

Job = Callable[[], object]


def make_depth(far_m: float) -> DepthMap:
    """Return metres that are smooth with edges and a little noise, from 2 to about `far_m`."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    smooth = 3 + 2 * np.sin(x / 900) + y / 1500
    edges = 2 * (np.sin(x / 130) > 0.6) + 1.5 * (np.cos(y / 210) > 0.7)
    noise = np.random.default_rng(0).normal(0, 0.003, smooth.shape)
    values = smooth + edges + noise
    scaled = 2 * (values / values.min()) ** (np.log(far_m / 2) / np.log(values.max() / values.min()))
    memory = BufferPool().take(4 * scaled.size)  # as in a run, where depth begins at a page
    values = np.frombuffer(memory, np.float32).reshape(scaled.shape)
    values[...] = scaled
    return DepthMap(values, "metric", 3050.5, "exif", None, "depth-pro", "0" * 64)


def benchmark(*, rounds: int = 7, work: Path | None = None) -> None:
    """Measure, and print a table in Markdown.

    Parameters
    ----------
    rounds
        Rounds, after one that does not count.
    work
        Folder for what is written.
    """
    metres = make_depth(13)
    maps = {
        "metres to 13 (millimetres)": metres,
        "metres to 200 (log steps)": make_depth(200),
        "disparity (linear steps)": DepthMap(1 / metres.values, "disparity"),
    }
    jobs = _encoders(maps) | _decoders(metres) | _peers(metres)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        jobs |= _writers(metres, Path(folder))
        took = _race(jobs, rounds)
    _print(took)
    print("\n| what | two threads against one (least to most) | wanted |\n|---|---|---|")
    for name in [*FORMATS][1:]:  # which has nothing to do but to give what it was given
        ratios = [_measure_second_thread(FORMATS[name].encode, metres) for _ in range(rounds)]
        print(f"| {name} | {_show(ratios, 'times')} | {GIL_GOAL} |")
    print("\n| format | megabytes |\n|---|---|")
    for name, form in FORMATS.items():
        print(f"| {name} | {sum(len(chunk) for chunk in form.encode(metres)) / 1e6:.1f} |")


def _encoders(maps: dict[str, DepthMap]) -> dict[str, Job]:
    first = next(iter(maps.values()))
    jobs: dict[str, Job] = {
        f"{name}: encode": lambda form=form: form.encode(first) for name, form in FORMATS.items()
    }
    for name in ("png16", "jxl"):
        for what, depth in [*maps.items()][1:]:
            jobs[f"{name}: encode {what}"] = lambda name=name, depth=depth: FORMATS[name].encode(depth)
    return jobs


def _decoders(depth: DepthMap) -> dict[str, Job]:
    jobs: dict[str, Job] = {}
    for name, form in FORMATS.items():
        if form.decode:
            data = b"".join(bytes(chunk) for chunk in form.encode(depth))
            jobs[f"{name}: decode"] = lambda data=data: decode_depth(data, "a", about=metadata_of(depth))
    return jobs


def _peers(depth: DepthMap) -> dict[str, Job]:
    """Return what people do instead, from the same float32 metres."""
    values = depth.values

    def millimetres() -> np.ndarray:
        return np.nan_to_num(np.rint(values * 1000)).clip(0, 65535).astype(np.uint16)

    def pillow() -> None:
        Image.fromarray(millimetres()).save(io.BytesIO(), "PNG", compress_level=1)

    def opencv() -> None:
        cv2.imencode(".png", millimetres(), [cv2.IMWRITE_PNG_COMPRESSION, 1])

    def savez() -> None:
        np.savez_compressed(io.BytesIO(), depth=values)

    return {
        "Pillow, 16-bit PNG, level 1": pillow,
        "OpenCV, 16-bit PNG, level 1": opencv,
        "numpy.savez_compressed": savez,
    }


def _writers(depth: DepthMap, folder: Path) -> dict[str, Job]:
    """Return npy and npz to the disk by our sink, and the same bytes by a plain write, all flushed."""
    data = bytes(memoryview(depth.values).cast("B"))

    def plain() -> None:
        with (folder / "plain").open("wb", buffering=0) as file:
            file.write(data)
            os.fsync(file.fileno())

    def write(name: str) -> None:
        with FolderSink(folder, format=name) as sink:
            sink.write("a", depth)

    return {
        "npy: encode and write to the disk": lambda: write("npy"),
        "npz: encode and write to the disk": lambda: write("npz"),
        "the same bytes, a plain write to the disk": plain,
    }


def _race(jobs: dict[str, Job], rounds: int) -> dict[str, list[float]]:
    """Return milliseconds of each job in each round; the first round does not count."""
    took: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(rounds + 1):
        for name, job in jobs.items():
            started = time.perf_counter()
            job()
            if number:
                took[name].append(1000 * (time.perf_counter() - started))
    return took


def _measure_second_thread(encode: Callable[[DepthMap], object], depth: DepthMap) -> float:
    """Return how many times as much two threads do as one, in the same time."""

    def repeat() -> None:
        for _ in range(_BOTH):
            encode(depth)

    took = []
    for count in (1, 2):
        threads = [threading.Thread(target=repeat) for _ in range(count)]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took.append((time.perf_counter() - started) / count)
    return took[0] / took[1]


def _print(took: dict[str, list[float]]) -> None:
    print("| what | median (least to most) | wanted |\n|---|---|---|")
    for name, each in took.items():
        note_seconds(name, [ms / 1000 for ms in each])
        goal = GOALS.get(name.removesuffix(": encode"))
        print(f"| {name} | {_show(each, 'ms')} | {f'under {goal} ms' if goal else ''} |")


def _show(values: list[float], unit: str) -> str:
    digits = 2 if unit == "times" else 1
    middle, least, most = (f"{each:.{digits}f}" for each in (median(values), min(values), max(values)))
    return f"{middle} {unit} ({least} to {most})"


if __name__ == "__main__":
    run(benchmark)
