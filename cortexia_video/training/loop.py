"""The training loop: a fixed number of steps, an average of the weights, and checkpoints that resume exactly.

What is in a batch follows from the recipe's seed and the batch's number, and chance inside the network from the
step, so nothing but weights, optimiser and numbers has to be saved. The result is the average after the last
step; no checkpoint is picked by a score.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cortexia_video.training.losses import disparity_loss
from cortexia_video.training.recipe import Recipe

_REPORT_STEPS = 50

_log = logging.getLogger(__name__)

Batch = dict[str, Any]
"""As `rgbd_loading` makes it."""


@dataclass(slots=True, eq=False)
class Training:
    """A network in training.

    average: running mean of the network's state. losses: one number a step. batch: the number of the next one.
    """

    network: nn.Module
    recipe: Recipe
    optimiser: torch.optim.Optimizer
    average: dict[str, Tensor]
    losses: list[float] = field(default_factory=list)
    batch: int = 0

    @property
    def step(self) -> int:
        """Steps done."""
        return len(self.losses)


def start_training(network: nn.Module, pretrained: list[nn.Parameter], recipe: Recipe) -> Training:
    """Prepare a network, which is trained in place, with AdamW (Loshchilov and Hutter, ICLR 2019)."""
    # nn.Module.to lacks this overload in its type
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    ids = {id(parameter) for parameter in pretrained}
    fresh = [parameter for parameter in network.parameters() if id(parameter) not in ids]
    groups = [{"params": pretrained, "share": recipe.pretrained_rate}, {"params": fresh, "share": 1.0}]
    optimiser = torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=recipe.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=recipe.weight_decay,
    )
    average = {name: value.clone() for name, value in network.state_dict().items()}
    return Training(network, recipe, optimiser, average)


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
    started, first, pictures = time.monotonic(), training.step, 0
    while training.step < training.recipe.steps:
        batch = next(batches)
        training.losses.append(take_step(training, batch))
        training.batch = int(batch["batch"]) + 1
        pictures += len(batch["pixel_values"])
        if training.step % _REPORT_STEPS == 0:
            rate = pictures / (time.monotonic() - started)
            _log.info(
                "step %d loss %.4f, %.1f images/s", training.step, np.mean(training.losses[-_REPORT_STEPS:]), rate
            )
        after_step(training)


def take_step(training: Training, batch: Batch) -> float:
    """Change the weights once; return the loss before the change."""
    network, recipe, optimiser = training.network.train(), training.recipe, training.optimiser
    torch.manual_seed(recipe.seed * 1_000_003 + training.step)
    for group in optimiser.param_groups:
        group["lr"] = recipe.learning_rate * group["share"] * rate_at(recipe, training.step)
    image = batch["pixel_values"].contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
        disparity = network(image)
    labels, valid = batch["labels"][:, 0], batch["valid"][:, 0]
    target = torch.where(valid, 1 / labels.clamp_min(1e-3), 0)
    loss = disparity_loss(disparity.float(), target, valid, recipe.loss)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), recipe.largest_gradient)
    optimiser.step()
    _update_average(training)
    return float(loss.detach())


def _update_average(training: Training) -> None:
    """Move the average towards the weights, quickly while there are few steps to average."""
    decay = min(training.recipe.average_decay, (1 + training.step) / (10 + training.step))
    with torch.no_grad():
        for name, value in training.network.state_dict().items():
            if value.is_floating_point():
                training.average[name].lerp_(value, 1 - decay)
            else:
                training.average[name].copy_(value)
