"""Measure how many pairs of 640 x 480 per second are aligned and measured, and that memory stays flat.

    python benchmarks/evaluation.py --pairs 2000
    python benchmarks/evaluation.py small --images 20000

Interleaved rounds, medians with least and largest; on as many threads as cores, as `cortexia evaluate` does
it.
"""

from __future__ import annotations

import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from cyclopts import App
from record import note_seconds

from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.depth_map import DepthMap
from cortexia_video.evaluation.ground_truth import to_ground_truth
from cortexia_video.evaluation.image_score import score_image
from cortexia_video.evaluation.job import measure_predictors
from cortexia_video.evaluation.metrics.alignment import align
from cortexia_video.evaluation.metrics.edges import boundary_f1
from cortexia_video.evaluation.metrics.pixel_sums import PixelSums, add_sums, measure_pixels
from cortexia_video.evaluation.predictors import StoredPredictor
from cortexia_video.evaluation.protocol import load_protocol
from cortexia_video.evaluation.reference import Reference, find_reference
from cortexia_video.evaluation.score_file import ScoreFile
from cortexia_video.evaluation.summary import summarise
from cortexia_video.frame import Frame
from cortexia_video.rgbd_sample import RGBDSample

_HEIGHT, _WIDTH = 480, 640
_ROUNDS = 5

app = App(help="Pairs of 640 x 480 that are evaluated per second.")


def make_pair(seed: int = 0) -> tuple[DepthMap, Reference]:
    """Return disparity with noise and a reference with holes: a floor, boxes on it."""
    rng = np.random.default_rng(seed)
    rows = np.arange(_HEIGHT)[:, None] / _HEIGHT
    depth = np.repeat(1 / (0.12 + 0.9 * rows), _WIDTH, axis=1)
    for _ in range(20):
        top, left = rng.integers(0, _HEIGHT - 80), rng.integers(0, _WIDTH - 80)
        depth[top : top + 80, left : left + 80] = rng.uniform(1, 6)
    disparity = DepthMap((3 / depth + rng.normal(0, 0.05, depth.shape)).astype(np.float32), "disparity")
    known = np.where(rng.random(depth.shape) < 0.9, depth, 0).astype(np.float32)
    return disparity, find_reference("pair", known, load_protocol("real-frames"), set_max_m=10.0)


@app.default
def measure(*, pairs: int = 2000, threads: int = os.cpu_count() or 1) -> None:
    """Print a table of pairs per second, and the memory after `pairs` pairs.

    Parameters
    ----------
    pairs
        Pairs that are added up for the figure of memory.
    threads
        Threads that measure.
    """
    disparity, reference = make_pair()
    jobs = _make_jobs(disparity, reference)
    rates: dict[str, list[float]] = {name: [] for name in jobs}
    costs: dict[str, list[float]] = {name: [] for name in jobs}
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(_ROUNDS):
            for name, (count, work) in jobs.items():
                started, used = time.perf_counter(), time.process_time()
                list(pool.map(lambda _, work=work: work(), range(count)))
                rates[name].append(count / (time.perf_counter() - started))
                costs[name].append(1000 * (time.process_time() - used) / count)
        print(
            f"pairs of {_WIDTH} x {_HEIGHT} per second, {threads} threads, median of {_ROUNDS} (least, largest)"
        )
        for name, found in rates.items():
            cost = statistics.median(costs[name])
            note_seconds(name, [each / 1000 for each in costs[name]])
            print(
                f"| {name} | {statistics.median(found):.1f} | ({min(found):.1f}, {max(found):.1f}) | "
                f"{cost:.2f} core-ms each |"
            )
        _measure_memory(pool, pairs, disparity, reference)


def _make_jobs(disparity: DepthMap, reference: Reference) -> dict[str, tuple[int, Callable[[], object]]]:
    """Return what is timed, and how often in a round."""
    depth_m, mask, most = reference.depth_m, reference.mask, reference.max_m
    protocol, plain = load_protocol("real-frames"), load_protocol("moge-disparity")

    def fit(alignment: str) -> Callable[[], object]:
        return lambda: align(disparity.values, "disparity", depth_m, mask, alignment, max_depth_m=most)

    aligned = align(disparity.values, "disparity", depth_m, mask, "disparity", max_depth_m=most)
    return {
        "align by least squares and all pixel metrics": (
            40,
            lambda: _align_and_measure(disparity, reference),
        ),
        "boundary F1": (20, lambda: boundary_f1(aligned, depth_m, mask)),
        "a whole image by moge-disparity": (40, lambda: score_image(disparity, reference, plain)),
        "a whole image by real-frames, with boundary F1": (
            20,
            lambda: score_image(disparity, reference, protocol, ("boundary",)),
        ),
        "align by L1": (4, fit("disparity_l1")),
        "align trimmed": (8, fit("disparity_trimmed")),
    }


def _align_and_measure(disparity: DepthMap, reference: Reference) -> PixelSums:
    depth_m, mask = reference.depth_m, reference.mask
    aligned = align(disparity.values, "disparity", depth_m, mask, "disparity", max_depth_m=reference.max_m)
    return measure_pixels(aligned, depth_m, mask)


def _measure_memory(pool: ThreadPoolExecutor, pairs: int, disparity: DepthMap, reference: Reference) -> None:
    """Add up pairs as they come, and print the largest memory after a tenth of them and after all."""
    for count in (pairs // 10, pairs):
        add_sums(
            sums
            for start in range(0, count, 8)
            for sums in pool.map(
                lambda _: _align_and_measure(disparity, reference), range(min(8, count - start))
            )
        )
        print(f"largest memory after {count} pairs of {_WIDTH} x {_HEIGHT}: {_find_largest():.0f} MiB")


@app.command
def small(*, images: int = 20_000, threads: int = os.cpu_count() or 1) -> None:
    """Evaluate many images of 16 x 12 to the end, scores kept in a file: what an image costs in memory.

    Parameters
    ----------
    images
        How many; a tenth of them comes first.
    threads
        Threads that measure.
    """
    protocol = load_protocol("moge-metric")
    for count in (images // 10, images):
        keys = [Key(f"folder/{index:07d}") for index in range(count)]
        truth = to_ground_truth(RGBDDataset("small", keys, make_small_sample))
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            with ScoreFile(Path(folder)) as scores:
                found = measure_predictors(truth, [Wavering()], protocol, kept=scores, workers=threads)
            measured = time.perf_counter() - started
            grown = _find_largest()
            summarise(found)
            kept = (Path(folder) / "scores.jsonl").stat().st_size
        print(
            f"{count} images, one predictor and three baselines: {measured:.0f} s to measure, "
            f"{time.perf_counter() - started - measured:.0f} s to sum up; largest memory {grown:.0f} MiB, "
            f"then {_find_largest():.0f} MiB; scores.jsonl {kept / count:.0f} bytes an image",
            flush=True,
        )


class Key(NamedTuple):
    """An image that is made when it is asked for."""

    key: str


class Wavering(StoredPredictor):
    """Depth that is made when it is asked for: the reference's, and a little more or less."""

    name = "wavering"

    def identify(self, key: str) -> bytes:
        return key.encode()

    def read(self, key: str) -> DepthMap:
        factor = 0.8 + 0.4 * (int(key[-3:]) / 1000)
        return DepthMap((factor * make_small_depth(key)).astype(np.float32), "metric")


def make_small_depth(key: str) -> np.ndarray:
    rows = np.arange(12.0)[:, None] + np.arange(16.0) / 16
    return 2 + (rows + int(key[-2:])) % 12


def make_small_sample(entry: Key) -> RGBDSample:
    depth = make_small_depth(entry.key).astype(np.float32)
    image = np.zeros((*depth.shape, 3), np.uint8)
    return RGBDSample(Frame(entry.key, image), DepthMap(depth, "metric"))


def _find_largest() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    app()
