"""The data sets of a recipe, opened, and the batches drawn from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.mixing import Mixture
from cortexia_video.datasets.table import open_dataset
from cortexia_video.errors import InputError
from cortexia_video.training.batches import BatchView, TrainingBatches
from cortexia_video.training.pool import PoolPlan, make_pool
from cortexia_video.training.recipe import DataPlan, Recipe
from cortexia_video.training.rgbd_loading import MixedBatches

SCENES = "scenes"
_POOL = PoolPlan(count=0, height=288, width=384)


def open_mix(recipe: Recipe) -> Mixture:
    """Open every data set of a recipe, rendering scenes that are missing, as one row of batches.

    Raises InputError where one is not there, is empty, or is a stream.
    """
    datasets: dict[str, RGBDDataset] = {}
    weights: dict[str, float] = {}
    for index, plan in enumerate(recipe.data):
        name = f"{index} {plan.dataset} {plan.root}"
        datasets[name], weights[name] = _open(plan), plan.weight
    return Mixture(datasets, weights, recipe.batch_size, recipe.seed)


def _open(plan: DataPlan) -> RGBDDataset:
    if plan.dataset == SCENES:
        return _open_scenes(plan)
    dataset = open_dataset(plan.dataset, plan.root, split=plan.split, **plan.options)
    if not isinstance(dataset, RGBDDataset):
        raise InputError(f"{plan.root} can be read in a row only: make it one that has numbers, by `dataset build`")
    return dataset


def _open_scenes(plan: DataPlan) -> RGBDDataset:
    known = {"count", "height", "width", "first_seed", "workers"}
    if unknown := set(plan.options) - known:
        raise InputError(f"scenes have no option {unknown.pop()!r}: they have {', '.join(sorted(known))}")
    options = {"count": 0, "height": _POOL.height, "width": _POOL.width, **plan.options}
    workers = int(options.pop("workers", 2))
    if options["count"] < 1:
        raise InputError(f"{plan.root}: say how many scenes, options = {{ count = 8000 }}")
    return make_pool(Path(plan.root), PoolPlan(**options), workers)


def load_batches(
    mix: Mixture, recipe: Recipe, *, multiple_of: int, done: int, share: tuple[int, int] = (0, 1)
) -> DataLoader[dict[str, Any]]:
    """Give the batches of a recipe from number `done` on, without end. share: (i, n) of n trainers."""
    sides = recipe.short_sides
    view = BatchView(sides, tuple(1 / len(sides) for _ in sides), multiple_of, recipe.smallest_window)
    batches = MixedBatches(mix, view, mix.position(done), share=share)
    context = "forkserver" if recipe.workers else None
    return DataLoader(
        TrainingBatches(batches, recipe.seed),
        batch_size=None,
        num_workers=recipe.workers,
        multiprocessing_context=context,
        prefetch_factor=4 if recipe.workers else None,
    )
