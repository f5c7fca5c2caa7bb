"""The data sets of a recipe, opened, and the batches drawn from them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.mixing import Mixture, Position
from cortexia_video.datasets.problems import raise_problem
from cortexia_video.datasets.table import open_dataset
from cortexia_video.errors import DecodeError, Failure, InputError
from cortexia_video.training.batches import BatchView, TrainingBatches
from cortexia_video.training.objective import Objective
from cortexia_video.training.pool import PoolPlan, make_pool
from cortexia_video.training.processes import Processes
from cortexia_video.training.recipe import DataPlan, Recipe
from cortexia_video.training.rgbd_loading import MixedBatches
from cortexia_video.training.teacher import label_pictures

_log = logging.getLogger(__name__)

SCENES, PICTURES = "scenes", "pictures"
_SCENE_OPTIONS = {"count": 0, "height": 288, "width": 384, "first_seed": 0, "workers": 2}


def open_mix(recipe: Recipe, objective: Objective, output: Path, *, any_licence: bool = False) -> Mixture:
    """Open every data set of a recipe as one row of batches; render scenes and label pictures where they
    lack.

    output: labels go into its folder `labels`. Raises `InputError` where a set is not there, is empty, is a
    stream, or its depth is of a kind that the network cannot be trained for.
    """
    datasets: dict[str, RGBDDataset] = {}
    for index, plan in enumerate(recipe.data):
        name = f"{index} {plan.dataset} {plan.root}"
        if plan.dataset == PICTURES:
            datasets[name] = _open_pictures(plan, recipe, output / "labels" / str(index), any_licence)
        else:
            datasets[name] = _open(plan)
        objective.require_labels(name, datasets[name].kind)
    weights = {name: plan.weight for name, plan in zip(datasets, recipe.data, strict=True)}
    return Mixture(datasets, weights, recipe.batch_size, recipe.seed)


def _open(plan: DataPlan) -> RGBDDataset:
    if plan.dataset == SCENES:
        return _open_scenes(plan)
    dataset = open_dataset(plan.dataset, plan.root, split=plan.split, **plan.options)
    if not isinstance(dataset, RGBDDataset):
        raise InputError(f"{plan.root} is a stream: make it one with numbers, `cortexia dataset build`")
    return dataset


def _open_scenes(plan: DataPlan) -> RGBDDataset:
    if unknown := set(plan.options) - set(_SCENE_OPTIONS):
        raise InputError(f"scenes have no option {unknown.pop()!r}: they have {', '.join(_SCENE_OPTIONS)}")
    options = {**_SCENE_OPTIONS, **plan.options}
    workers = options.pop("workers")
    if options["count"] < 1:
        raise InputError(f"{plan.root}: say how many scenes, options = {{ count = 8000 }}")
    return make_pool(Path(plan.root), PoolPlan(**options), workers)


def _open_pictures(plan: DataPlan, recipe: Recipe, labels: Path, any_licence: bool) -> RGBDDataset:
    if recipe.teacher is None:
        raise InputError(
            f"{plan.root} holds pictures without depth: name a teacher that labels them (--teacher)"
        )
    return label_pictures(Path(plan.root), labels, recipe.teacher, any_licence=any_licence)


def leave_out_broken(failure: Failure) -> None:
    """Go on without a file that is damaged, and say so; end where depth is not what its data set says."""
    if not isinstance(failure.error, DecodeError):
        raise_problem(failure)
    _log.warning("left out of its batch: %s", failure)


def load_batches(
    mix: Mixture, recipe: Recipe, position: Position | None, *, multiple_of: int, processes: Processes
) -> DataLoader[dict[str, Any]]:
    """Give this process's batches of a recipe from a position on, without end."""
    mix.find_start(position)  # what does not fit is said before anything is written
    sides = recipe.short_sides
    view = BatchView(sides, tuple(1 / len(sides) for _ in sides), multiple_of, recipe.smallest_window)
    batches = MixedBatches(
        mix, view, position, share=(processes.rank, processes.count), on_problem=leave_out_broken
    )
    return DataLoader(
        TrainingBatches(batches, recipe.seed),
        batch_size=None,
        num_workers=recipe.workers,
        # a fork would copy the threads' locks of torch, and their state
        multiprocessing_context="forkserver" if recipe.workers else None,
        prefetch_factor=4 if recipe.workers else None,
    )
