"""Where a job stops getting faster with workers; what Ray costs; whether a bucket is read beside the model.

    pip install -e '.[test]'
    python benchmarks/scale.py simulate
    python benchmarks/scale.py ray [--images 500] [--work FOLDER]
    python benchmarks/scale.py s3 [--images 100] [--work FOLDER]
    python benchmarks/scale.py memory [--images 2000] [--work FOLDER]
    python benchmarks/scale.py listing [--count 100000]

`simulate` counts, in a second, with the figures of docs/scale.md. `ray` and `s3` are real runs of JPEGs of
12 megapixels with a model that sleeps a tenth of a second an image; `ray` takes two minutes. `listing` is what
`plan` and a run in which all is done cost for each key of a bucket that answers at once.
Tables go to stdout.
"""

from __future__ import annotations

import heapq
import io
import itertools
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import listed_store
import sleeping_model
from cyclopts import App
from photos import TWELVE_MEGAPIXELS, make_photos
from PIL import Image as PillowImage
from record import note_seconds
from sleeping_model import SleepingModel

import cortexia_video as cx
from cortexia_video.jobs.ray_cluster import RayExecutor
from cortexia_video.storage.paths import to_path

_SIMULATED_S = 60.0
_KEY_ID, _SECRET = "for-moto", "for-moto"

app = App(help=__doc__)


@dataclass(frozen=True)
class Store:
    """What workers share. gets, puts: requests per second to one prefix (AWS's). driver: inputs per second.

    bytes: per second, of the network of each worker: 10 Gbit.
    """

    gets: float = 5500
    puts: float = 3500
    bytes: float = 1.25e9
    driver: float = 6400  # a hundred blocks of 64 per second: assumed, Ray Data was not seen to be slower


@dataclass(frozen=True)
class Image:
    """What one image takes. core_seconds: decoding and writing, on a worker's cores."""

    model_seconds: float
    core_seconds: float
    bytes: float
    puts: float = 1 + 2 / 256


@app.command
def simulate() -> None:
    """Let 2 to 64 workers take images from one store, event by event."""
    jobs = {
        "100 images/s a GPU, full size, 8 cores": (Image(0.01, 0.13, 52e6), 8),
        "100 images/s a GPU, native, 8 cores": (Image(0.01, 0.06, 5e6), 8),
        "100 images/s a GPU, native, fast decoding, 8 cores": (Image(0.01, 0.025, 5e6), 8),
        "100 images/s a GPU, native, fast, packed": (Image(0.01, 0.025, 5e6, 3 / 256), 8),
    }
    counts = (2, 4, 8, 16, 32, 64)
    print("| images/s | " + " | ".join(f"{count} workers" for count in counts) + " | limit at 64 |")
    print("|---|" + "---:|" * len(counts) + "---|")
    for name, (image, cores) in jobs.items():
        rates = [run_simulation(image, cores, count, Store()) for count in counts]
        limit = find_limit(image, cores, 64, Store())
        print(f"| {name} | " + " | ".join(f"{rate:.0f}" for rate in rates) + f" | {limit} |")


def run_simulation(image: Image, cores: int, workers: int, store: Store) -> float:
    """Return images per second: each image passes driver, store, a core, its worker's model, and the store.

    Every server takes one at a time, in the order of arrival; a worker has 32 images under way.
    """
    stages = [
        ("driver", 1 / store.driver),
        ("gets", 1 / store.gets),
        ("core", image.core_seconds / cores),
        ("model", image.model_seconds),
        ("puts", image.puts / store.puts),
        ("bytes", image.bytes / store.bytes),
    ]
    free: dict[tuple[str, int], float] = {}
    order = itertools.count()
    waiting = [(0.0, next(order), worker, 0) for worker in range(workers) for _ in range(32)]
    heapq.heapify(waiting)
    done = 0
    while waiting:
        now, _, worker, stage = heapq.heappop(waiting)
        if now > _SIMULATED_S:
            break
        if stage == len(stages):
            done += 1
            stage = 0
        name, seconds = stages[stage]
        server = (name, worker if name in ("core", "model", "bytes") else -1)
        ends = max(now, free.get(server, 0.0)) + seconds
        free[server] = ends
        heapq.heappush(waiting, (ends, next(order), worker, stage + 1))
    return done / _SIMULATED_S


def find_limit(image: Image, cores: int, workers: int, store: Store) -> str:
    """Name what can do the fewest images per second, by arithmetic alone."""
    rates = {
        "GPU": workers / image.model_seconds,
        "decode cores": workers * cores / image.core_seconds,
        "network": workers * store.bytes / image.bytes,
        "GET requests": store.gets,
        "PUT requests": store.puts / image.puts,
        "driver": store.driver,
    }
    name = min(rates, key=lambda each: rates[each])
    return f"{name}, {rates[name]:.0f}"


@app.command
def ray(images: int = 500, rate: float = 10.0, work: Path = Path("runs/scale")) -> None:
    """Run the threaded engine and Ray's worker on the same images; starting is measured and taken off."""
    import ray.cloudpickle

    ray.cloudpickle.register_pickle_by_value(sleeping_model)
    photos = make_images(work, images)
    seconds = {}
    for name, executor in (("threads", None), ("ray", RayExecutor(num_workers=1))):
        with executor or _nothing():
            start = _time(photos[:1], work, rate, executor)
            whole = _time(photos, work, rate, executor)
        seconds[name] = (whole - start) / (images - 1)
        print(f"{name}: {whole:.1f} s for {images}, {start:.1f} s for one", file=sys.stderr)
    print("| | images/s | of the model's rate |\n|---|---:|---:|")
    for name, each in seconds.items():
        print(f"| {name} | {1 / each:.2f} | {1 / each / rate:.2f} |")
    print(f"| Ray costs | {seconds['ray'] / seconds['threads'] - 1:+.1%} | |")
    print(f"\nPeak memory of this process: {_peak_mib():.0f} MiB")


@app.command
def s3(images: int = 100, rate: float = 10.0, work: Path = Path("runs/scale")) -> None:
    """Read from and write to an S3 server (moto) in another process of this machine."""
    photos = make_images(work, images)
    with _serve() as bucket:
        place = to_path(f"{bucket}/in")
        for path in photos:
            (place / path.name).write_bytes(path.read_bytes())
        estimator = cx.DepthEstimator(SleepingModel(1 / rate), size="native")
        started = time.perf_counter()
        report = cx.estimate(f"{bucket}/in", f"{bucket}/out", model=estimator)
        seconds = time.perf_counter() - started
    assert report.done == images, report
    print(report.speed, file=sys.stderr)
    print("| | images/s | of the model's rate |\n|---|---:|---:|")
    print(f"| S3 in and out | {images / seconds:.2f} | {images / seconds / rate:.2f} |")
    print(f"\nPeak memory of this process: {_peak_mib():.0f} MiB")


@app.command
def memory(images: int = 2000, work: Path = Path("runs/scale")) -> None:
    """Run Ray over links to one small image; say what this process, which keeps the ledger, had at most."""
    folder = make_photos(work / "small", images, (64, 48))
    shutil.rmtree(work / "depth", ignore_errors=True)
    with RayExecutor(num_workers=1) as executor:
        report = cx.estimate(folder, work / "depth", model="synthetic", size="native", executor=executor)
    assert report.done == images, report
    print(f"{report}\nPeak memory of this process: {_peak_mib():.0f} MiB")


@app.command
def listing(count: int = 100_000) -> None:
    """Plan over a bucket of `count` images, and estimate them where all are done: core-microseconds of each."""
    file = io.BytesIO()
    PillowImage.new("RGB", (64, 48)).save(file, "JPEG")
    listed_store.begin(1, file.getvalue())
    asked: dict[str, Any] = {"model": "synthetic", "size": "native"}
    cx.estimate("s3://bucket/in", "s3://bucket/out", **asked)
    jobs = {
        "plan": lambda: cx.plan("s3://bucket/in", **asked).found,
        "estimate, all done": lambda: cx.estimate("s3://bucket/in", "s3://bucket/out", **asked).skipped,
    }
    print("| a key | core-microseconds | MiB at most, so far |\n|---|---:|---:|")
    listed_store.finish(count)
    for name, job in jobs.items():
        started = time.process_time()
        assert job() == count, name
        seconds = time.process_time() - started
        note_seconds(f"{name}, a thousand keys", [1000 * seconds / count])
        print(f"| {name} | {1e6 * seconds / count:.1f} | {_peak_mib():.0f} |", flush=True)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def make_images(work: Path, count: int) -> list[Path]:
    return sorted(make_photos(work / "photos", count, TWELVE_MEGAPIXELS).iterdir())


def _time(photos: list[Path], work: Path, rate: float, executor: RayExecutor | None) -> float:
    output = work / "depth"
    shutil.rmtree(output, ignore_errors=True)
    estimator = cx.DepthEstimator(SleepingModel(1 / rate), size="native")
    listing = work / "list.txt"
    listing.write_text("".join(f"{path.absolute()}\n" for path in photos))
    started = time.perf_counter()
    report = cx.estimate(listing, output, model=estimator, executor=executor)
    seconds = time.perf_counter() - started
    assert report.done == len(photos), report
    return seconds


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _serve() -> Iterator[str]:
    """Yield a bucket of a moto server in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": _KEY_ID,
        "AWS_SECRET_ACCESS_KEY": _SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        import s3fs

        s3fs.S3FileSystem().mkdir("bucket")
        yield "s3://bucket"
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    app()
