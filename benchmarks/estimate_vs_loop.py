"""How fast, how busy, how large: `cortexia_video.estimate` beside the loop that people write.

The loop: Pillow opens, the same estimator estimates, `np.save` saves. Both take the same files in turns; each
turn gives a ratio. Then the job over 50 and over 500 pictures, each in its own process, for its peak memory.

Usage: python benchmarks/estimate_vs_loop.py [--rounds 5] [--images 48] [--work FOLDER]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from cortexia_video import DepthEstimator, Frame, estimate, load_estimator

SIZE = (4000, 3000)  # 12 megapixels
DISTINCT = 6
PEAK = (
    "import resource, sys, cortexia_video as c;"
    "r = c.estimate(sys.argv[1], sys.argv[2]);"
    "print(r.done, r.seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
)


def make_photos(folder: Path, count: int) -> Path:
    """Write a few 12-megapixel JPEGs with detail and grain, and link them to `count` names."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for index in range(min(DISTINCT, count)):
        rng = np.random.default_rng(index)
        picture = np.zeros((SIZE[1], SIZE[0], 3), np.float32)
        for octave in range(2, 11):
            coarse = rng.normal(0, 40 / octave, (3 * 2**octave // 4, 2**octave, 3)).astype(np.float32)
            for channel in range(3):
                layer = Image.fromarray(coarse[..., channel]).resize(SIZE, Image.Resampling.BILINEAR)
                picture[..., channel] += np.asarray(layer)
        picture += rng.normal(128, 4, picture.shape)
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"{index:04}.jpg", quality=90)
    for index in range(DISTINCT, count):
        os.link(folder / f"{index % DISTINCT:04}.jpg", folder / f"{index:04}.jpg")
    return folder


def plain_loop(photos: Path, output: Path, estimator: DepthEstimator) -> None:
    """Do what people write around a research model."""
    output.mkdir(parents=True)
    for path in sorted(photos.iterdir()):
        image = np.asarray(Image.open(path).convert("RGB"))
        (depth,) = estimator.estimate([Frame(path.name, image)])
        np.save(output / f"{path.name}.npy", depth.values)


def our_job(photos: Path, output: Path, estimator: DepthEstimator) -> None:
    """Do the same by the job."""
    report = estimate(photos, output, model=estimator)
    assert report.failed == 0, report.failures


def measure(run: Callable[[], None], output: Path) -> tuple[float, float]:
    """Give seconds and the share of all cores that were busy, with the output removed afterwards."""
    os.sync()
    used, started = os.times(), time.perf_counter()
    run()
    seconds, now = time.perf_counter() - started, os.times()
    busy = (now.user + now.system - used.user - used.system) / (seconds * (os.cpu_count() or 1))
    shutil.rmtree(output)
    return seconds, busy


def compare(photos: Path, work: Path, rounds: int) -> None:
    """Run both in turns and print the ratio."""
    estimator = load_estimator("compact")
    count = len(list(photos.iterdir()))
    output = work / "out"
    ratios, busy, rates = [], [], []
    measure(lambda: our_job(photos, output, estimator), output)
    for _ in range(rounds):
        loop, loop_busy = measure(lambda: plain_loop(photos, output, estimator), output)
        job, job_busy = measure(lambda: our_job(photos, output, estimator), output)
        ratios.append(loop / job)
        busy.append(job_busy)
        rates.append(count / job)
        print(
            f"loop {loop / count * 1e3:.0f} ms/image ({loop_busy:.0%} of the cores busy), "
            f"job {job / count * 1e3:.0f} ms/image ({job_busy:.0%} busy), ratio {loop / job:.2f}",
            flush=True,
        )
    for name, values in (("times as fast", ratios), ("cores busy", busy), ("images/s", rates)):
        print(f"{name}: median {statistics.median(values):.2f}, {min(values):.2f} to {max(values):.2f}")


def memory(work: Path, counts: list[int]) -> None:
    """Print the peak memory of whole jobs of several lengths."""
    for count in counts:
        photos = make_photos(work / "many", count)
        command = [sys.executable, "-c", PEAK, photos, work / "out"]
        ran = subprocess.run([*map(str, command)], check=True, capture_output=True, text=True)
        done, seconds, peak = ran.stdout.split()
        print(
            f"{done} images: peak {float(peak):.0f} MiB, {int(done) / float(seconds):.1f} images/s",
            flush=True,
        )
        shutil.rmtree(work / "out")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--memory", type=int, nargs="*", default=[50, 500])
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark"))
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, {SIZE[0]} x {SIZE[1]} JPEGs, model compact")
    compare(make_photos(arguments.work / "photos", arguments.images), arguments.work, arguments.rounds)
    memory(arguments.work, arguments.memory)
    shutil.rmtree(arguments.work)


if __name__ == "__main__":
    main()
