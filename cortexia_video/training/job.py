"""`train_recipe`: from a recipe to weights in a folder, resumed where it was stopped."""

from __future__ import annotations

import logging
from pathlib import Path

from cortexia_video.training.checkpoint import restore, save
from cortexia_video.training.loop import Training, start_training, train
from cortexia_video.training.mix import load_batches, open_mix
from cortexia_video.training.network import parameter_count
from cortexia_video.training.recipe import Recipe
from cortexia_video.training.trainable import load_trainable

_log = logging.getLogger(__name__)


def train_recipe(recipe: Recipe, output: Path) -> Training:
    """Train by a recipe; a second call with the same folder goes on from its checkpoint, to the same weights."""
    trainable = load_trainable(recipe)
    _log.info("%s: %d parameters", recipe.network.architecture, parameter_count(trainable.network))
    training = start_training(trainable.network, trainable.pretrained, recipe)
    checkpoint = output / "checkpoint.pt"
    if checkpoint.exists():
        restore(training, checkpoint)
    mix = open_mix(recipe)
    batches = load_batches(mix, recipe, multiple_of=trainable.multiple_of, done=training.batch)

    def after_step(training: Training) -> None:
        if training.step % recipe.checkpoint_steps == 0 or training.step == recipe.steps:
            save(training, checkpoint)

    if training.step < recipe.steps:
        train(training, iter(batches), after_step)
    name = trainable.save(training.average, output)
    _log.info("wrote %s", name)
    return training
