"""Where each millisecond of a 12-megapixel JPEG goes with `compact`, one stage after the other on one thread.

    python benchmarks/stages.py [--rounds 9] [--work FOLDER]

Milliseconds of a core for an image, all stages in turns: the least of the rounds, which others on the machine disturb
least, and the median. `fast`: with `--decode fast`. The network in batches of several sizes: what choosing one brings.
Then the network alone at three sizes, one thread on each core.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import xxhash
from cyclopts import App
from photos import TWELVE_MEGAPIXELS, make_photos

from cortexia_video import DepthEstimator, Failure, Frame, load_estimator
from cortexia_video.errors import ModelError
from cortexia_video.images.decode import decode
from cortexia_video.models.onnx.session_openvino import choose_precision
from cortexia_video.runtime.resources import BufferPool, count_cores

_BATCHES = (1, 2, 4, 8)
_SIZES = ((192, 256), (224, 320), (288, 384))
_ENOUGH = 8  # images of each size and core

app = App(help=__doc__)


@app.default
def measure(rounds: int = 9, work: Path = Path("runs/stages")) -> None:
    """Measure and print.

    Parameters
    ----------
    rounds
        Times that each stage is measured.
    work
        Folder for photos.
    """
    photo = next(make_photos(work / "photos", 1, TWELVE_MEGAPIXELS).iterdir())
    estimator = load_estimator("compact", size="native")
    half = choose_precision("auto", "cpu")
    ways = {"ONNX Runtime float32": estimator, "OpenVINO float32": _load_openvino("float32")}
    if half != "float32":
        ways[f"OpenVINO {half}"] = _load_openvino(half)
    stages = _make_stages(photo, estimator, ways)
    found: dict[str, list[float]] = {name: [] for name in stages}
    for _ in range(rounds + 1):
        for name, job in stages.items():
            started = time.process_time()
            job()
            found[name].append(1e3 * (time.process_time() - started))
    print("| | ms of a core | median |\n|---|---:|---:|")
    for name, times in found.items():
        images = int(name.rpartition(" ")[2]) if name.startswith("network") else 1
        each = [ms / images for ms in times[1:]]
        print(f"| {name} | {min(each):.1f} | {median(each):.1f} |", flush=True)
    _print_rates(estimator, rounds)


def _load_openvino(precision: str) -> DepthEstimator:
    return load_estimator("compact", size="native", backend="openvino", precision=precision)


def _make_stages(
    photo: Path, estimator: DepthEstimator, ways: Mapping[str, DepthEstimator]
) -> dict[str, Callable[[], object]]:
    """Return the stages by name; what each takes is made here, and not timed."""
    data, pool = photo.read_bytes(), BufferPool()
    frame = _decode(data, pool)
    fast = _decode(data, pool, fast=estimator)
    prepared = estimator.prepare(frame)
    assert not isinstance(prepared, Failure)
    (output,) = estimator.run(estimator.stack([prepared]))
    assert not isinstance(output, ModelError)
    values = np.ascontiguousarray(estimator.finish(prepared.origin, output).values)
    stages: dict[str, Callable[[], object]] = {
        "read": photo.read_bytes,
        "decode": lambda: _decode(data, pool),
        "preprocess": lambda: estimator.prepare(frame),
        "decode, fast": lambda: _decode(data, pool, fast=estimator),
        "preprocess, fast": lambda: estimator.prepare(fast),
        "finish": lambda: estimator.finish(prepared.origin, output),
        "digest": lambda: xxhash.xxh3_128_hexdigest(values),
    }
    for name, each in ways.items():
        for count in _BATCHES:
            stages[f"network, {name}, batches of {count}"] = _bind(each, estimator.stack([prepared] * count))
    return stages


def _bind(estimator: DepthEstimator, batch: Any) -> Callable[[], object]:
    return lambda: estimator.run(batch)


def _decode(data: bytes, pool: BufferPool, fast: DepthEstimator | None = None) -> Frame:
    return decode(data, "a", scratch=pool, enough=None if fast is None else fast.enough)


def _print_rates(estimator: DepthEstimator, rounds: int) -> None:
    """Print images per second of the network alone, one thread on each core, by the clock."""
    cores = count_cores()
    print("\n| the network alone | images/s |\n|---|---|")
    with ThreadPoolExecutor(cores) as pool:
        for height, width in _SIZES:
            batch = np.random.default_rng(0).random((1, 3, height, width), np.float32)
            rates = []
            for _ in range(rounds + 1):
                started = time.perf_counter()
                list(pool.map(estimator.model.infer, [batch] * (_ENOUGH * cores)))
                rates.append(_ENOUGH * cores / (time.perf_counter() - started))
            middle = median(rates[1:])
            print(f"| {height} x {width} | {middle:.0f} ({min(rates[1:]):.0f} to {max(rates[1:]):.0f}) |")


if __name__ == "__main__":
    app()
