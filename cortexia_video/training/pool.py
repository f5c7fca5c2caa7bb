"""A pool of rendered scenes on disk: made once, in parallel, and resumed where it stopped.

A folder holds `pool.json` and shards `seed_000000.npz` of SHARD_SIZE consecutive seeds. A shard appears whole
or not at all, so one that is there need not be rendered again.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cortexia_video.errors import InputError
from cortexia_video.scenes import render_scenes

SHARD_SIZE = 100

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What to render: seeds from `first_seed` on, whole shards of them, at one size in pixels."""

    count: int
    height: int
    width: int
    first_seed: int = 0

    def shards(self) -> range:
        """First seeds of all shards."""
        return range(self.first_seed, self.first_seed + self.count, SHARD_SIZE)


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Rendered scenes. images: uint8 (N, H, W, 3). disparities: float16 (N, H, W), 1 / metres, 0 = sky."""

    images: NDArray[np.uint8]
    disparities: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.images)


def make_pool(folder: Path, plan: PoolPlan, workers: int) -> Pool:
    """Render what `folder` still lacks of `plan` in `workers` processes, and load all of it.

    Raises InputError where the folder holds a pool of another size.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, plan)
    missing = [seed for seed in plan.shards() if not _shard_path(folder, seed).exists()]
    _log.info("pool %s: %d of %d shards to render", folder, len(missing), len(plan.shards()))
    for done, seed in enumerate(_render_shards(folder, plan, missing, workers), start=1):
        _log.info("pool: %d of %d shards, seed %d", done, len(missing), seed)
    return load_pool(folder, plan)


def load_pool(folder: Path, plan: PoolPlan) -> Pool:
    """Read every shard of `plan` into memory."""
    size = (len(plan.shards()) * SHARD_SIZE, plan.height, plan.width)
    images, disparities = np.empty((*size, 3), np.uint8), np.empty(size, np.float16)
    for index, seed in enumerate(plan.shards()):
        part = slice(index * SHARD_SIZE, (index + 1) * SHARD_SIZE)
        with np.load(_shard_path(folder, seed)) as shard:
            images[part], disparities[part] = shard["images"], shard["disparities"]
    return Pool(images, disparities)


def _claim(folder: Path, plan: PoolPlan) -> None:
    """Write down what a folder's scenes look like, or check that they look as wanted."""
    path = folder / "pool.json"
    wanted = {
        name: value for name, value in asdict(plan).items() if name in ("height", "width", "first_seed")
    }
    if not path.exists():
        path.write_text(json.dumps(wanted))
    found = json.loads(path.read_text())
    if found != wanted:
        raise InputError(
            f"{folder} holds a pool of {found}, not of {wanted}: use another folder or remove it"
        )


def _render_shards(folder: Path, plan: PoolPlan, seeds: list[int], workers: int) -> Iterator[int]:
    """Render shards, one thread a process: scenes are too small to share; yield first seeds as they end."""
    if workers <= 1:
        for seed in seeds:
            yield _render_shard(folder, plan, seed)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, torch.set_num_threads, (1,)) as executor:
        jobs = [executor.submit(_render_shard, folder, plan, seed) for seed in seeds]
        for job in jobs:
            yield job.result()


def _render_shard(folder: Path, plan: PoolPlan, seed: int) -> int:
    scenes = list(render_scenes(range(seed, seed + SHARD_SIZE), plan.height, plan.width))
    disparities = [np.nan_to_num(1 / scene.depth_m, nan=0.0).astype(np.float16) for scene in scenes]
    path = _shard_path(folder, seed)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, images=np.stack([scene.image for scene in scenes]), disparities=np.stack(disparities))
    partial.replace(path)
    return seed


def _shard_path(folder: Path, seed: int) -> Path:
    return folder / f"seed_{seed:06d}.npz"
