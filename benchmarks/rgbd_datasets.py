"""Pairs per second from shards of 640 x 480, as `cortexia dataset build` writes them; memory over an epoch.

    python benchmarks/rgbd_datasets.py [--pairs 600] [--rounds 5] [--epoch 20000]

Interleaved rounds, each way in a process of its own; medians with least and most, ratios of core time, which
others on the machine disturb less than the clock. The images are noise over soft colours: JPEG (kept as it
came) and lossless. "By datasets" is Hugging Face's own reading of the same files, made arrays; "by webdataset"
that of `webdataset`, decoded as `rgb8`. Two workers of a `DataLoader` against one are by the clock: they need
two quiet cores.
"""

from __future__ import annotations

import argparse
import io
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image
from record import note

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

    def read(number: int) -> tuple[RGBDSample, bytes | None]:
        pair = pairs[number % MADE]
        return replace(pair, frame=replace(pair.frame, key=f"{number:06d}")), files[number % MADE]

    items = (BuildItem(f"{number:06d}", str(number), partial(read, number)) for number in range(count))
    write_shards(items, folder, format=form)
    return folder


def encode_jpeg(pair: RGBDSample) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pair.frame.image).save(file, "JPEG", quality=92)
    return file.getvalue()


def read_ours(form: str, folder: Path) -> Iterator[object]:
    return usable_samples(open_dataset(form, folder))


def read_by_datasets(folder: Path) -> Iterator[object]:
    import datasets

    files = sorted(map(str, folder.glob("*.parquet")))
    table = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True)
    return ((np.asarray(row["image"]), np.asarray(row["depth_map"])) for row in table)


def read_by_webdataset(folder: Path) -> Iterator[object]:
    import webdataset

    files = sorted(map(str, folder.glob("*.tar")))
    return iter(webdataset.WebDataset(files, shardshuffle=False).decode("rgb8"))


def read_shuffled(folder: Path) -> Iterator[object]:
    dataset = open_dataset("parquet", folder)
    return (dataset[index] for index in np.random.default_rng(0).permutation(len(dataset)))


def load(workers: int, folder: Path) -> Iterator[object]:
    """Read by a DataLoader: tensors in batches of 8."""
    from torch.utils.data import DataLoader

    from cortexia_video.datasets.torch.datasets import SampleDataset

    data = SampleDataset(open_dataset("parquet", folder))
    batches = DataLoader(data, batch_size=8, num_workers=workers, multiprocessing_context="spawn")
    return (key for batch in batches for key in batch["key"])


WAYS: dict[str, tuple[str, Callable[[Path], Iterator[object]]]] = {
    "parquet, JPEG": ("jpeg", partial(read_ours, "parquet")),
    "parquet, JPEG, by datasets": ("jpeg", read_by_datasets),
    "parquet, lossless": ("lossless", partial(read_ours, "parquet")),
    "parquet, lossless, by datasets": ("lossless", read_by_datasets),
    "parquet, JPEG, any order, 1 thread": ("jpeg", read_shuffled),
    "webdataset, JPEG": ("tar", partial(read_ours, "webdataset")),
    "webdataset, JPEG, by webdataset": ("tar", read_by_webdataset),
}
PAIRED = {
    "parquet, JPEG": "parquet, JPEG, by datasets",
    "parquet, lossless": "parquet, lossless, by datasets",
    "webdataset, JPEG": "webdataset, JPEG, by webdataset",
}


def read_all(name: str, root: Path) -> tuple[float, float]:
    """Return seconds, and core-seconds of this process, for each pair; pixels are asked for and let go."""
    folder, way = WAYS[name]
    started, used = time.perf_counter(), time.process_time()
    count = sum(1 for _ in way(root / folder))
    return (time.perf_counter() - started) / count, (time.process_time() - used) / count


def measure(root: Path, rounds: int) -> None:
    """Print core milliseconds and pairs per second; each way in a process of its own, in turns."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    with ExitStack() as stack:
        spawn = get_context("spawn")
        pools = {name: stack.enter_context(ProcessPoolExecutor(1, spawn)) for name in WAYS}
        for _ in range(rounds + 1):
            for name, pool in pools.items():
                found[name].append(pool.submit(read_all, name, root).result())
    core = {
        name: [1e3 * used for _, used in each[1:]] for name, each in found.items()
    }  # the first: warming up
    for name, values in core.items():
        rate = statistics.median(1 / seconds for seconds, _ in found[name][1:])
        print(f"{name:36} {show(values)} core ms a pair, {rate:.0f} pairs/s")
    for ours, theirs in PAIRED.items():
        ratios = [their / our for our, their in zip(core[ours], core[theirs], strict=True)]
        note(ours, ratios)
        print(f"{ours}: {show(ratios)} times as fast as {theirs.rpartition('by ')[2]}")


def show(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def measure_workers(root: Path, rounds: int) -> None:
    """Print pairs per second of a `DataLoader` of one worker and of two; the first batch does not count."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for workers, each in rates.items():
            keys = load(workers, root / "jpeg")
            for _ in range(8 * workers):
                next(keys)
            started = time.perf_counter()
            count = sum(1 for _ in keys)
            each.append(count / (time.perf_counter() - started))
    ratios = [two / one for one, two in zip(*rates.values(), strict=True)]
    print(f"two workers against one: {show(ratios)} (pairs/s: {show(rates[1])}, {show(rates[2])})")


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
        build(root / "lossless", "parquet", pairs, arguments.pairs, jpeg=False)
        build(root / "tar", "webdataset", pairs, arguments.pairs, jpeg=True)
        if arguments.epoch:
            walk(jpeg, arguments.epoch)
            return
        measure(root, arguments.rounds)
        measure_workers(root, arguments.rounds)


if __name__ == "__main__":
    main()
