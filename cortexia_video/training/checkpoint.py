"""`Checkpoint` files: everything that a training goes on from, written whole or not at all."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch

from cortexia_video.errors import InputError, OutputError
from cortexia_video.training.loop import Training
from cortexia_video.training.recipe import describe_recipe

_log = logging.getLogger(__name__)


def save(training: Training, path: Path) -> None:
    """Write all that `restore` needs. Raises `OutputError` where it cannot be written; the older file stays."""
    state = {
        "network": training.network.state_dict(),
        "average": training.average,
        "optimiser": training.optimiser.state_dict(),
        "losses": training.losses,
        "batch": training.batch,
        "recipe": describe_recipe(training.recipe),
    }
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, partial)
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error}; what was saved there before is whole") from error


def restore(training: Training, path: Path) -> None:
    """Go on where `save` was; raise InputError where that was by another recipe."""
    state: dict[str, Any] = torch.load(path, weights_only=True)
    wanted, found = describe_recipe(training.recipe), state["recipe"]
    differing = [name for name in wanted if found.get(name) != wanted[name]]
    if differing:
        name = differing[0]
        raise InputError(
            f"{path} was written with {name} = {found.get(name)!r}, the recipe says {wanted[name]!r}: train by "
            "that recipe, or into another folder"
        )
    training.network.load_state_dict(state["network"])
    training.optimiser.load_state_dict(state["optimiser"])
    training.average, training.losses, training.batch = state["average"], state["losses"], state["batch"]
    _log.info("resumed %s after step %d", path, training.step)
