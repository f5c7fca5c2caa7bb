"""What a training goes on from, in one file, written atomically."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch

from cortexia_video.datasets.mixture import Position
from cortexia_video.errors import CortexiaError, InputError, OutputLostError
from cortexia_video.storage.atomic_file import write_atomic
from cortexia_video.training.backbone import describe_load_error
from cortexia_video.training.loop import Training
from cortexia_video.training.recipe import describe_recipe

_MAY_CHANGE = ("learning_rate", "largest_gradient")  # the way on from a loss that was no number
_log = logging.getLogger(__name__)


def save(training: Training, position: Position, path: Path) -> None:
    """Write all that `restore` needs.

    Raises `OutputLostError` where it cannot be written; the older file stays.
    """
    state = {
        "network": training.network.state_dict(),
        "average": training.average,
        "optimiser": training.optimiser.state_dict(),
        "losses": training.losses,
        "position": position,
        "processes": training.processes.count,
        "kind": training.trainable.kind,
        "recipe": describe_recipe(training.recipe),
    }
    try:
        with write_atomic(path) as partial, partial.open("wb") as file:
            torch.save(state, file)
    except RuntimeError as error:
        cause = error.__context__  # of torch's writer, which says it in words of its own
        raise OutputLostError(path, cause if isinstance(cause, OSError) else error) from error


def restore(training: Training, path: Path) -> Position | None:
    """Go on where `save` was; return its place among the batches. None where there is no such file.

    Raises `InputError` where the file is damaged, or was written by another recipe or with other processes.
    """
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, training.processes.device, weights_only=True)
        now = {"processes": training.processes.count, "kind of depth": training.trainable.kind}
        wanted = {**now, **describe_recipe(training.recipe)}
        found = {"processes": state["processes"], "kind of depth": state["kind"], **state["recipe"]}
        for name, value in wanted.items():
            if found.get(name) != value and name in _MAY_CHANGE:
                _log.info("it was trained with %s = %r, and goes on with %r", name, found.get(name), value)
            elif found.get(name) != value:
                raise InputError(
                    f"{path} was written with {name} = {found.get(name)!r}, now it is {value!r}: train as "
                    "before, or into another folder"
                )
        training.network.load_state_dict(state["network"])
        training.optimiser.load_state_dict(state["optimiser"])
        training.average, training.losses = state["average"], state["losses"]
        training.batch = state["position"]["batch"]
    except CortexiaError:
        raise
    except Exception as error:
        reason = describe_load_error(error)
        raise InputError(
            f"{path} is no checkpoint of this training ({reason}): remove it to begin anew, or train into "
            "another folder"
        ) from error
    _log.info("resumed %s after step %d", path, training.step)
    return state["position"]
