"""Pairs per second from shards of 640 x 480, as `cortexia dataset build` writes them; memory over an epoch.

    python benchmarks/rgbd_datasets.py [--pairs 600] [--rounds 5] [--epoch 20000]

Interleaved rounds, medians with least and most. The images are noise over soft colours: JPEG (kept as it
came) and lossless. `datasets` is Hugging Face's own reading of the same files, made arrays.
"""

from __future__ import annotations

import argparse
import io
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from cortexia_video import DepthMap, Frame, Pinhole, RGBDSample, open_dataset
from cortexia_video.datasets import usable_samples
from cortexia_video.datasets.build import write_shards
from cortexia_video.datasets.build_items import BuildItem

HEIGHT, WIDTH = 480, 640
MADE = 32  # different pairs, repeated


def make_pairs() -> list[RGBDSample]:
    return [make_pair(number) for number in range(MADE)]


def make_pair(seed: int) -> RGBDSample:
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (15, 20, 3), dtype=np.uint8))
    soft = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)).astype(np.int16)
    image = (soft + random.integers(-6, 7, soft.shape)).clip(0, 255).astype(np.uint8)
    far = Image.fromarray(random.uniform(1, 8, (6, 8)).astype(np.float32)).resize((WIDTH, HEIGHT))
    depth = np.rint(np.asarray(far) * 1000).astype(np.float32) / 1000
    depth[random.random(depth.shape) < 0.1] = np.nan
    camera = Pinhole.centred(525.0, WIDTH, HEIGHT)
    return RGBDSample(Frame(str(seed), image), DepthMap(depth, "metric", 525.0, "given"), camera)


def build(folder: Path, form: str, pairs: list[RGBDSample], count: int, *, jpeg: bool) -> Path:
    files = [encode_jpeg(pair) if jpeg else None for pair in pairs]

    def load(number: int) -> tuple[RGBDSample, bytes | None]:
        pair = pairs[number % MADE]
        return replace(pair, frame=replace(pair.frame, key=f"{number:06d}")), files[number % MADE]

    items = (BuildItem(f"{number:06d}", str(number), partial(load, number)) for number in range(count))
    write_shards(items, folder, format=form)
    return folder


def encode_jpeg(pair: RGBDSample) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pair.frame.image).save(file, "JPEG", quality=92)
    return file.getvalue()


def read_ours(form: str, folder: Path) -> Iterator[object]:
    return usable_samples(open_dataset(form, folder))


def read_theirs(folder: Path) -> Iterator[object]:
    import datasets

    files = sorted(map(str, folder.glob("*.parquet")))
    table = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True)
    return ((np.asarray(row["image"]), np.asarray(row["depth_map"])) for row in table)


def read_shuffled(folder: Path) -> Iterator[object]:
    dataset = open_dataset("parquet", folder)
    return (dataset[index] for index in np.random.default_rng(0).permutation(len(dataset)))


def measure(ways: dict[str, Callable[[], Iterator[object]]], rounds: int) -> None:
    """Print pairs per second, and the milliseconds of a core that a pair takes, which others disturb less."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started, used = time.perf_counter(), time.process_time()
            count = sum(1 for _ in way())
            seconds, core_seconds = time.perf_counter() - started, time.process_time() - used
            found[name].append((count / seconds, 1e3 * core_seconds / count))
    for name, each in found.items():
        speeds, core_ms = zip(*each, strict=True)
        spread = f"({min(speeds):.0f} to {max(speeds):.0f})"
        print(
            f"{name:36} {statistics.median(speeds):5.0f} pairs/s {spread:14} {min(core_ms):.1f} core ms each"
        )


def walk(folder: Path, epoch: int) -> None:
    """Print how the most memory grows over an epoch."""
    seen, marks = 0, {epoch * part // 4 for part in range(1, 5)}
    while seen < epoch:
        for _ in read_ours("parquet", folder):
            seen += 1
            if seen in marks:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                print(f"after {seen} samples: {peak:.0f} MiB at most")
            if seen >= epoch:
                return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epoch", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root, pairs = Path(name), make_pairs()
        jpeg = build(root / "jpeg", "parquet", pairs, arguments.pairs, jpeg=True)
        lossless = build(root / "lossless", "parquet", pairs, arguments.pairs, jpeg=False)
        tar = build(root / "tar", "webdataset", pairs, arguments.pairs, jpeg=True)
        if arguments.epoch:
            walk(jpeg, arguments.epoch)
            return
        ways: dict[str, Callable[[], Iterator[object]]] = {
            "parquet, JPEG": partial(read_ours, "parquet", jpeg),
            "parquet, JPEG, by datasets": partial(read_theirs, jpeg),
            "parquet, lossless": partial(read_ours, "parquet", lossless),
            "parquet, lossless, by datasets": partial(read_theirs, lossless),
            "parquet, JPEG, any order, 1 thread": partial(read_shuffled, jpeg),
            "webdataset, JPEG": partial(read_ours, "webdataset", tar),
        }
        measure(ways, arguments.rounds)


if __name__ == "__main__":
    main()
