"""A pool of rendered scenes on disk: made once, in parallel, resumed where it stopped, and read as a dataset.

A folder holds `pool.json` and files `seed_000000.npy` of as many consecutive seeds as it says. They are written
atomically, so one that exists need not be rendered again; it is read through the page cache, a scene at a time.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import InputError, format_count, in_words, output_lost
from cortexia_video.frame import Frame
from cortexia_video.rgbd_sample import RGBDSample
from cortexia_video.runtime.process_pool import render_in_processes
from cortexia_video.runtime.progress import track
from cortexia_video.scenes import ScenePlan, render_scenes
from cortexia_video.scenes.folder import check_plan, count_views, describe_plan
from cortexia_video.storage.atomic_file import write_atomic
from cortexia_video.storage.documents import parse_json
from cortexia_video.storage.own_folder import require_own_folder
from cortexia_video.storage.paths import LARGEST_TEXT, open_named, read_named
from cortexia_video.training.losses import SKY_M
from cortexia_video.training.output_folder import require_writable

SHARD_SIZE = 100
PLACES_SHARD_SIZE = 80
"""Of kinds of which eight neighbouring seeds see one place: all views of a place are in one file."""
_ABOUT = "pool.json"
_SEEDS, _RENDERER = "seeds_per_file", "renderer"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What to render: seeds from `first_seed` on, whole shards of them, at one size in pixels.

    kinds: names of `LAYOUTS`; the usual ones if empty. furniture: folder of models of kinds that need them.
    """

    count: int
    height: int
    width: int
    first_seed: int = 0
    kinds: tuple[str, ...] = ()
    furniture: Path | None = None

    def look(self) -> dict[str, Any]:
        """Return what all scenes of a folder share, and how many a file has; usual kinds go unsaid."""
        kinds = {"kinds": list(self.kinds)} if self.kinds else {}
        told = describe_plan(self.scenes())
        models = {"furniture": told["furniture"]} if "furniture" in told else {}
        size = PLACES_SHARD_SIZE if count_views(self.kinds) > 1 else SHARD_SIZE
        versions = {_RENDERER: told["renderer"], _SEEDS: size}
        return {"height": self.height, "width": self.width, **kinds, **models, **versions}

    def scenes(self) -> ScenePlan:
        """Return the plan as that of a folder of scenes."""
        return ScenePlan(self.first_seed, self.height, self.width, self.kinds, furniture=self.furniture)

    def shards(self, size: int) -> list[range]:
        """Return the seeds of each shard of `size`, the last one whole, too."""
        first = range(self.first_seed, self.first_seed + self.count, size)
        return [range(seed, seed + size) for seed in first]


class PooledScene(NamedTuple):
    """Where a scene of a pool is: its shard, and its place in it."""

    key: str
    shard: Path
    place: int


def make_pool(folder: Path, plan: PoolPlan, workers: int) -> RGBDDataset:
    """Render what `folder` still lacks of `plan` in `workers` processes; return all of it as a dataset.

    Depth is metric; the sky is SKY_M away, as losses know. Raises InputError where the folder holds scenes of
    another size, `OutputLostError` where it is full or unwritable.
    """
    check_pool(folder, plan)
    shards = plan.shards(_find_shard_size(folder, plan))
    missing = [seeds for seeds in shards if not _shard_path(folder, seeds).exists()]
    _log.info("pool %s: %d of %s to render", folder, len(missing), format_count(len(shards), "shard"))
    with output_lost(folder):
        if not (folder / _ABOUT).exists():
            with write_atomic(folder / _ABOUT) as half:
                half.write_text(json.dumps(plan.look()))
        render = partial(_render_shard, folder, plan)  # one thread a process: scenes are too small to share
        rendered = map(render, missing) if workers <= 1 else render_in_processes(render, missing, workers)
        for _ in track(rendered, "rendering the pool", "shards", len(missing)):
            pass
    return open_pool(folder, plan)


def check_pool(folder: Path, plan: PoolPlan) -> None:
    """Raise `InputError` for scenes that cannot be, or a folder of others, `OutputError` where none can be."""
    check_plan(plan.scenes())
    require_writable(folder)
    require_own_folder(folder, "a pool of scenes", {_ABOUT: lambda _: True})
    if (found := _read_about(folder)) is None:
        return
    asked = plan.look() | {_SEEDS: found.get(_SEEDS, SHARD_SIZE)}
    if {_RENDERER: asked[_RENDERER], _SEEDS: asked[_SEEDS]} | found != asked:  # pools of before lack both
        raise InputError(f"{folder} holds a pool of {found}, not of {asked}: use another folder or remove it")


def _read_about(folder: Path) -> dict[str, Any] | None:
    path = folder / _ABOUT
    if not path.exists():
        return None
    with in_words(f"{path} says nothing of a pool", "remove it"):
        found = parse_json(read_named(path, limit=LARGEST_TEXT), path)
        if not isinstance(found, dict) or found.get(_SEEDS, SHARD_SIZE) < 1:
            raise ValueError(f"it is {found!r}")
    return found


def _find_shard_size(folder: Path, plan: PoolPlan) -> int:
    """Return how many seeds a file of a pool has: as it was begun, 100 before that was written down."""
    about = _read_about(folder)
    return int(plan.look()[_SEEDS] if about is None else about.get(_SEEDS, SHARD_SIZE))


def open_pool(folder: Path, plan: PoolPlan) -> RGBDDataset:
    """Return the scenes of `plan`, whose shards are all in `folder`, as a dataset."""
    scenes = [
        PooledScene(f"seed_{seed:06d}", _shard_path(folder, seeds), place)
        for seeds in plan.shards(_find_shard_size(folder, plan))
        for place, seed in enumerate(seeds)
    ]
    return RGBDDataset("scenes", scenes, read_scene)


def read_scene(scene: PooledScene) -> RGBDSample:
    """Read one scene of a pool."""
    row = _open_shard(scene.shard)[scene.place]
    with np.errstate(divide="ignore"):
        depth_m = np.minimum(1 / row["disparity"].astype(np.float32), np.float32(SKY_M))
    return RGBDSample(Frame(scene.key, np.array(row["image"])), DepthMap(depth_m, "metric"), origin="scenes")


@lru_cache(maxsize=4096)
def _open_shard(path: Path) -> NDArray[Any]:
    with in_words(f"cannot read the scenes of {path}", "remove it to render it again"):
        open_named(path).close()
        return np.lib.format.open_memmap(path, mode="r")


def _render_shard(folder: Path, plan: PoolPlan, seeds: range) -> range:
    size = plan.height, plan.width
    shard = np.empty(len(seeds), [("image", np.uint8, (*size, 3)), ("disparity", np.float16, size)])
    scenes = render_scenes(seeds, *size, plan.kinds or None, furniture=plan.furniture)
    for row, scene in zip(shard, scenes, strict=True):
        row["image"] = scene.image
        row["disparity"] = np.nan_to_num(1 / scene.depth_m, nan=0.0)
    with write_atomic(_shard_path(folder, seeds)) as partial, partial.open("wb") as file:
        np.save(file, shard)
    return seeds


def _shard_path(folder: Path, seeds: range) -> Path:
    return folder / f"seed_{seeds.start:06d}.npy"
