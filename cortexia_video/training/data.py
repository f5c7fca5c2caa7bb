"""The datasets of a recipe, opened, and the batches drawn from them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.mixture import Mixture, Position, require_weights
from cortexia_video.datasets.registry import open_dataset
from cortexia_video.datasets.sample_checks import raise_problem
from cortexia_video.datasets.torch.datasets import MixedBatches
from cortexia_video.errors import CortexiaError, DecodeError, DepthFileError, Failure, InputError, redact
from cortexia_video.storage.paths import is_remote, to_path
from cortexia_video.training.batches import BatchView, TrainingBatches
from cortexia_video.training.distributed import Processes
from cortexia_video.training.objective import Objective
from cortexia_video.training.pseudo_labels import check_teacher, label_images
from cortexia_video.training.recipe import DataPlan, Recipe
from cortexia_video.training.scene_pool import PoolPlan, check_pool, make_pool

_log = logging.getLogger(__name__)

SCENES, IMAGES = "scenes", "images"
_SCENE_NUMBERS = {"count": 0, "height": 288, "width": 384, "first_seed": 0, "workers": 2}
_LEAST = {"count": 1, "height": 16, "width": 16}


Maker = Callable[[], RGBDDataset]


def plan_mix(
    recipe: Recipe, objective: Objective, output: Path, *, any_licence: bool = False
) -> dict[str, Maker]:
    """Return by name what makes each dataset of a recipe; all that can be wrong is found, nothing is made.

    output: labels will go into its folder `labels`. Raises `InputError` where a set does not exist, is empty,
    is a stream, or its depth is of a kind that the network cannot be trained for; errors of a teacher, and
    `OutputError` for scenes that cannot be written.
    """
    makers: dict[str, Maker] = {}
    for index, plan in enumerate(recipe.data):
        name = f"{index} {plan.dataset} {redact(plan.root)}"
        if plan.dataset == SCENES:
            makers[name] = _plan_scenes(plan)
        elif plan.dataset == IMAGES:
            if recipe.teacher is None:
                raise InputError(
                    f"{to_path(plan.root)} holds images without depth: name a teacher that labels them "
                    "(`teacher`)"
                )
            labels, allowed = output / "labels" / str(index), {"any_licence": any_licence}
            objective.require_labels(name, check_teacher(plan.root, labels, recipe.teacher, **allowed))
            makers[name] = partial(label_images, plan.root, labels, recipe.teacher, **allowed)
        else:
            dataset = open_dataset(plan.dataset, plan.root, split=plan.split, **plan.options)
            if not isinstance(dataset, RGBDDataset):
                raise InputError(
                    f"{plan.root} is a stream, whose samples have no numbers: "
                    "build the set as parquet (cortexia dataset build)"
                )
            objective.require_labels(name, dataset.kind)
            makers[name] = partial(replace, dataset)
    require_weights(makers, _weights(makers, recipe), recipe.batch_size)
    return makers


def make_mix(recipe: Recipe, objective: Objective, makers: Mapping[str, Maker]) -> Mixture:
    """Render scenes and label images where they lack, and give all as one row of batches."""
    datasets = {name: make() for name, make in makers.items()}
    for name, dataset in datasets.items():
        objective.require_labels(name, dataset.kind)  # labels may be of an earlier teacher
    return Mixture(datasets, _weights(makers, recipe), recipe.batch_size, recipe.seed)


def _weights(names: Iterable[str], recipe: Recipe) -> dict[str, float]:
    return {name: plan.weight for name, plan in zip(names, recipe.data, strict=True)}


def _plan_scenes(plan: DataPlan) -> Maker:
    if unknown := set(plan.options) - {*_SCENE_NUMBERS, "kinds", "furniture"}:
        raise InputError(
            f"scenes have no option {unknown.pop()!r}: they have {', '.join(_SCENE_NUMBERS)}, kinds, furniture"
        )
    options = {**_SCENE_NUMBERS, **plan.options}
    kinds, furniture = options.pop("kinds", []), options.pop("furniture", None)
    if not isinstance(kinds, list):
        raise InputError(f'scenes of {plan.root}: kinds is {kinds!r}; give a list, such as ["room", "table"]')
    if not isinstance(furniture, str | None):
        raise InputError(f"scenes of {plan.root}: furniture is {furniture!r}; give a folder of models")
    for name, value in options.items():
        if type(value) is not int or value < _LEAST.get(name, 0):
            raise InputError(
                f"scenes of {plan.root}: {name} is {value!r}; give whole numbers, such as "
                "options = { count = 8000, height = 288, width = 384 }"
            )
    workers = options.pop("workers")
    if is_remote(plan.root):
        raise InputError(
            f"scenes are rendered to a folder of this machine, not {to_path(plan.root)}: name one"
        )
    folder, pool = (
        Path(plan.root),
        PoolPlan(**options, kinds=tuple(kinds), furniture=None if furniture is None else Path(furniture)),
    )
    check_pool(folder, pool)
    return partial(make_pool, folder, pool, workers)


def leave_out_broken(failure: Failure) -> None:
    """Go on without a sample that is damaged or says nothing; end where a set is not what it says it is."""
    of_sample = isinstance(failure.error, DecodeError | DepthFileError)
    if isinstance(failure.error, CortexiaError) and not of_sample:
        raise_problem(failure)
    _log.warning("left out of its batch: %s", failure)


def load_batches(
    mix: Mixture, recipe: Recipe, position: Position | None, *, multiple_of: int, processes: Processes
) -> DataLoader[dict[str, Any]]:
    """Return this process's batches of a recipe from a position on, without end."""
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
