"""How fast depth becomes an image, and a point cloud a file.

    python benchmarks/visualization.py [--rounds N]

In turns, on an otherwise idle machine, in half a minute. A Markdown table with medians, smallest and largest.
"Two threads" is how many times as much two do as one; that of numpy's sine says what the machine allows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from statistics import median

import numpy as np
from cyclopts import App
from record import note_seconds

from cortexia_video.depth_map import DepthMap
from cortexia_video.point_clouds.cloud import PointCloud, point_cloud
from cortexia_video.point_clouds.glb import encode_glb
from cortexia_video.point_clouds.ply import encode_ply
from cortexia_video.viz.colormap import colored_depthmap

_CALLS = 16  # of each of two threads, so that starting them does not count
_POINTS = (1000, 1000)
_THREE_MEGAPIXELS = (1500, 2000)

app = App(help=__doc__)


@app.default
def measure(rounds: int = 21) -> None:
    """Measure and print.

    Parameters
    ----------
    rounds
        Times that each is measured.
    """
    depth = _make_depth(*_THREE_MEGAPIXELS)
    holes = np.where(depth < 3, np.float32(np.nan), depth)
    square = DepthMap(_make_depth(*_POINTS), "metric")
    bare, full = _make_cloud(square, normals=False), _make_cloud(square, normals=True)
    jobs: dict[str, Callable[[], object]] = {
        "colour 3 MP": lambda: colored_depthmap(depth),
        "colour 3 MP, a range given": lambda: colored_depthmap(depth, 0, 10),
        "colour 3 MP, a quarter unknown": lambda: colored_depthmap(holes),
        "colour 3 MP, inverse spacing, a range given": lambda: colored_depthmap(
            depth, 1, 10, spacing="inverse"
        ),
        "encode PLY, a million points": lambda: encode_ply(bare),
        "encode PLY, with normals": lambda: encode_ply(full),
        "encode GLB, a million points": lambda: encode_glb(bare),
        "encode GLB, with normals": lambda: encode_glb(full),
        "make a million points": lambda: _make_cloud(square, normals=False),
        "make a million points, with normals": lambda: _make_cloud(square, normals=True),
    }
    numbers = np.linspace(0, 1, 1 << 20)
    pairs: dict[str, Callable[[], object]] = {
        "colour 3 MP": lambda: colored_depthmap(depth),
        "numpy's sine": lambda: np.sin(numbers),
    }
    print("| | median (smallest to largest) |\n|---|---|")
    for name, times in _take_turns({name: lambda job=job: _time(job) for name, job in jobs.items()}, rounds):
        note_seconds(name, times)
        print(f"| {name} | {_show([1e3 * each for each in times])} ms |")
    gains = {name: lambda job=job: _measure_gain(job) for name, job in pairs.items()}
    for name, values in _take_turns(gains, max(1, rounds // 3)):
        print(f"| two threads: {name} | {_show(values)} times |")


def _make_depth(height: int, width: int) -> np.ndarray:
    """Return float32 (height, width) from 1 to 10: a slope with waves and a little noise."""
    down, across = np.mgrid[:height, :width].astype(np.float32)
    waves = (
        np.sin(across / 97) + np.sin(down / 61) + np.random.default_rng(0).normal(0, 0.01, (height, width))
    )
    return np.clip(5 + 3 * down / height + waves, 1, 10).astype(np.float32)


def _make_cloud(depth: DepthMap, *, normals: bool) -> PointCloud:
    image = np.zeros((*_POINTS, 3), np.uint8)
    return point_cloud(depth, image, f_px=1000, normals=normals, max_gap=float("inf"))


def _take_turns(measures: Mapping[str, Callable[[], float]], rounds: int) -> list[tuple[str, list[float]]]:
    """Let each measure once a round, A B C A B C, after one that does not count."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(rounds + 1):
        for name, take in measures.items():
            value = take()
            if number:
                found[name].append(value)
    return list(found.items())


def _time(job: Callable[[], object], calls: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        job()
    return time.perf_counter() - start


def _measure_gain(job: Callable[[], object]) -> float:
    """Return how many times as much two threads do in the same time as one."""
    alone = _time(job, _CALLS)
    threads = [threading.Thread(target=_time, args=(job, _CALLS)) for _ in range(2)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 2 * alone / (time.perf_counter() - start)


def _show(values: list[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    app()
