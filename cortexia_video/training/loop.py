"""The training loop: a fixed number of steps, an average of the weights, and nothing that chance decides
unseen.

What is in a batch follows from the recipe's seed and the batch's number, and chance inside the network from
the step, so nothing but weights, optimiser and numbers has to be saved. The result is the average after the
last step; no checkpoint is picked by a score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cortexia_video.errors import TrainingError
from cortexia_video.runtime.progress import stage
from cortexia_video.training.distributed import Processes
from cortexia_video.training.objective import Objective
from cortexia_video.training.recipe import Recipe
from cortexia_video.training.trainable import Trainable

_MEAN_STEPS = 50  # of the loss that is shown
_SHOWN_KEYS = 3

Batch = dict[str, Any]
"""As `rgbd_loading` makes it."""


@dataclass(slots=True, eq=False)
class Training:
    """A network in training.

    shared: the network, or what makes several processes train it together. average: running mean of its
    state.
    losses: one number a step. batch: the number of the next one.
    """

    trainable: Trainable
    recipe: Recipe
    processes: Processes
    objective: Objective
    shared: nn.Module
    optimiser: torch.optim.Optimizer
    average: dict[str, Tensor]
    losses: list[float] = field(default_factory=list)
    batch: int = 0

    @property
    def network(self) -> nn.Module:
        return self.trainable.network

    @property
    def step(self) -> int:
        """Steps done."""
        return len(self.losses)


def start_training(trainable: Trainable, recipe: Recipe, processes: Processes) -> Training:
    """Prepare a network, which is trained in place, with AdamW (Loshchilov and Hutter, ICLR 2019)."""
    # nn.Module.to lacks this overload in its type
    network: nn.Module = trainable.network.to(processes.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    ids = {id(parameter) for parameter in trainable.pretrained}
    fresh = [parameter for parameter in network.parameters() if id(parameter) not in ids]
    groups = [
        {"params": trainable.pretrained, "share": recipe.pretrained_rate},
        {"params": fresh, "share": 1.0},
    ]
    optimiser = torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=recipe.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=recipe.weight_decay,
    )
    average = {name: value.clone() for name, value in network.state_dict().items()}
    objective = Objective(trainable.kind, recipe.loss)
    return Training(trainable, recipe, processes, objective, processes.share(network), optimiser, average)


def rate_at(recipe: Recipe, step: int) -> float:
    """Share of the highest learning rate: a linear warm-up, then half a cosine down to nearly nothing."""
    warm = min(1.0, (step + 1) / max(1, recipe.warm_up_steps))
    return warm * (0.5 + 0.5 * math.cos(math.pi * step / recipe.steps)) + 2e-3


def train(
    training: Training,
    batches: Iterator[Batch],
    after_step: Callable[[Training], None] = lambda training: None,
) -> None:
    """Train to the last step. after_step: called after each, to save and to measure."""
    with stage("training", "steps", training.recipe.steps) as begun:
        begun.skip(training.step)
        while training.step < training.recipe.steps:
            batch = next(batches)
            training.losses.append(take_step(training, batch))
            training.batch = (int(batch["batch"]) // training.processes.count + 1) * training.processes.count
            loss, rate = np.mean(training.losses[-_MEAN_STEPS:]), training.optimiser.param_groups[-1]["lr"]
            begun.advance(note=f"loss {loss:.4f}, learning rate {rate:.2g}")
            after_step(training)


def take_step(training: Training, batch: Batch) -> float:
    """Change the weights once; return the loss before the change.

    Raises `TrainingError` where loss or gradient is no number, before it could spoil the weights.
    """
    recipe, optimiser, device = training.recipe, training.optimiser, training.processes.device
    torch.manual_seed(recipe.seed * 1_000_003 + training.step)
    for group in optimiser.param_groups:
        group["lr"] = recipe.learning_rate * group["share"] * rate_at(recipe, training.step)
    on_device = {
        name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()
    }
    image = on_device["pixel_values"].contiguous(memory_format=torch.channels_last)
    with torch.autocast(device.type, torch.bfloat16, enabled=recipe.bfloat16):
        values = training.shared.train()(image)
    loss = training.objective.measure(values.float(), on_device)
    _require_number(loss.detach(), "loss", training, batch)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(training.network.parameters(), recipe.largest_gradient)
    _require_number(norm, "gradient", training, batch)
    optimiser.step()
    # move the average towards the weights, quickly while there are few steps to average
    decay = min(training.recipe.average_decay, (1 + training.step) / (10 + training.step))
    with torch.no_grad():
        for name, value in training.network.state_dict().items():
            if value.is_floating_point():
                training.average[name].lerp_(value, 1 - decay)
            else:
                training.average[name].copy_(value)
    return training.processes.mean(loss.detach())


def _require_number(value: Tensor, what: str, training: Training, batch: Batch) -> None:
    if not torch.isfinite(value):
        keys = ", ".join(map(str, batch["key"][:_SHOWN_KEYS]))
        raise TrainingError(
            f"the {what} of step {training.step} is {float(value)}: batch {int(batch['batch'])} "
            f"({keys}, ...); the checkpoint before it is kept; look at these images, or go on with a "
            "smaller learning_rate"
        )
