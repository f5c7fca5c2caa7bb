"""The training loop: a fixed number of steps, an average of the weights, and checkpoints that resume exactly.

Every step's data come from a generator seeded by the recipe and the step, so nothing but weights, optimiser
and step has to be saved. The result is the average after the last step; no checkpoint is picked by a score.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cortexia_video.errors import InputError
from cortexia_video.training.batches import Batch, draw_batch
from cortexia_video.training.losses import LossWeights, depth_loss
from cortexia_video.training.network import DepthNetwork
from cortexia_video.training.pool import Pool

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a training besides its data and its start.

    learning_rate: of the decoder, at its highest. encoder_rate: the encoder's share of it.
    """

    steps: int = 2800
    batch_size: int = 12
    learning_rate: float = 1e-3
    encoder_rate: float = 0.1
    weight_decay: float = 0.01
    warm_up_steps: int = 60
    average_decay: float = 0.995
    largest_gradient: float = 1.0
    bfloat16: bool = True
    seed: int = 0
    checkpoint_steps: int = 200
    loss: LossWeights = field(default_factory=LossWeights)

    def rate_at(self, step: int) -> float:
        """Share of the highest learning rate: a linear warm-up, then half a cosine down to nearly nothing."""
        warm = min(1.0, (step + 1) / max(1, self.warm_up_steps))
        return warm * (0.5 + 0.5 * math.cos(math.pi * step / self.steps)) + 2e-3


@dataclass(slots=True, eq=False)
class Training:
    """A network in training. losses: one number a step; average: running mean of the network's state."""

    network: DepthNetwork
    recipe: Recipe
    optimiser: torch.optim.Optimizer
    average: dict[str, Tensor]
    losses: list[float] = field(default_factory=list)

    @property
    def step(self) -> int:
        """Steps done."""
        return len(self.losses)


def start_training(network: DepthNetwork, recipe: Recipe) -> Training:
    """Prepare a network, which is trained in place, with AdamW (Loshchilov and Hutter, ICLR 2019)."""
    # nn.Module.to lacks this overload in its type
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    encoder = list(network.encoder.parameters())
    encoder_ids = {id(parameter) for parameter in encoder}
    decoder = [parameter for parameter in network.parameters() if id(parameter) not in encoder_ids]
    groups = [{"params": encoder, "share": recipe.encoder_rate}, {"params": decoder, "share": 1.0}]
    optimiser = torch.optim.AdamW(
        groups, lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=recipe.weight_decay
    )
    average = {name: value.clone() for name, value in network.state_dict().items()}
    return Training(network, recipe, optimiser, average)


def train(
    training: Training, pool: Pool, checkpoint: Path, should_stop: Callable[[], bool] = lambda: False
) -> DepthNetwork:
    """Train to the end, from `checkpoint` where there is one, and return the averaged network.

    should_stop: asked after each step; True ends early with a checkpoint, for tests and for interrupts.
    """
    if checkpoint.exists():
        restore(training, checkpoint)
    started, first = time.monotonic(), training.step
    while training.step < training.recipe.steps:
        training.losses.append(_take_step(training, _batch_of(training, pool)))
        done = training.step
        if done % 50 == 0:
            rate = (done - first) * training.recipe.batch_size / (time.monotonic() - started)
            _log.info("step %d loss %.4f, %.1f images/s", done, np.mean(training.losses[-50:]), rate)
        stops = should_stop()
        if stops or done % training.recipe.checkpoint_steps == 0 or done == training.recipe.steps:
            save(training, checkpoint)
        if stops:
            break
    return averaged(training)


def averaged(training: Training) -> DepthNetwork:
    """Give the network its running average, in evaluation mode."""
    network = training.network
    network.load_state_dict(training.average)
    return network.eval()


def _batch_of(training: Training, pool: Pool) -> Batch:
    recipe = training.recipe
    indices = indices_of_step(training.step, recipe.batch_size, len(pool), recipe.seed)
    return draw_batch(pool, indices, np.random.default_rng([recipe.seed, 1, training.step]))


def indices_of_step(step: int, batch_size: int, pool_size: int, seed: int) -> NDArray[np.int64]:
    """Say which scenes a step sees: shuffled anew each time the pool has been through."""
    positions = np.arange(step * batch_size, (step + 1) * batch_size)
    epochs = positions // pool_size
    orders = {
        int(epoch): np.random.default_rng([seed, 2, int(epoch)]).permutation(pool_size)
        for epoch in set(epochs)
    }
    chosen = [orders[int(epoch)][place] for epoch, place in zip(epochs, positions % pool_size, strict=True)]
    return np.array(chosen, np.int64)


def _take_step(training: Training, batch: Batch) -> float:
    """Change the weights once; return the loss before the change."""
    network, recipe, optimiser = training.network.train(), training.recipe, training.optimiser
    for group in optimiser.param_groups:
        group["lr"] = recipe.learning_rate * group["share"] * recipe.rate_at(training.step)
    image = batch.image.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
        disparity = network(image)
    loss = depth_loss(disparity.float(), batch.disparity, recipe.loss)
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


def save(training: Training, path: Path) -> None:
    """Write all that `restore` needs; the file appears whole or not at all."""
    state = {
        "network": training.network.state_dict(),
        "average": training.average,
        "optimiser": training.optimiser.state_dict(),
        "losses": training.losses,
        "recipe": asdict(training.recipe),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def restore(training: Training, path: Path) -> None:
    """Go on where `save` was; raise InputError where that was by another recipe."""
    state: dict[str, Any] = torch.load(path, weights_only=True)
    if state["recipe"] != asdict(training.recipe):
        raise InputError(
            f"{path} was written by {state['recipe']}, not by {asdict(training.recipe)}: "
            "train by that recipe or remove the file"
        )
    training.network.load_state_dict(state["network"])
    training.optimiser.load_state_dict(state["optimiser"])
    training.average = state["average"]
    training.losses = state["losses"]
    _log.info("resumed %s after step %d", path, training.step)
