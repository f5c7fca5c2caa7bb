"""`train_recipe`: from a recipe to weights in a folder, resumed where it was stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError
from torch.utils.tensorboard import SummaryWriter

from cortexia_video.datasets.mixture import Mixture
from cortexia_video.errors import OutputLostError, output_lost
from cortexia_video.storage.atomic_file import make_folder
from cortexia_video.storage.paths import PathLike, to_path
from cortexia_video.storage.staging_folder import StagingFolder
from cortexia_video.training.batches import read_batches
from cortexia_video.training.checkpoint import restore, save
from cortexia_video.training.data import load_batches, make_mix, plan_mix
from cortexia_video.training.distributed import join_processes
from cortexia_video.training.loop import Training, start_training, train
from cortexia_video.training.network import parameter_count
from cortexia_video.training.output_folder import CHECKPOINT, LOGS, claim, open_output
from cortexia_video.training.recipe import load_recipe
from cortexia_video.training.trainable import load_trainable
from cortexia_video.training.validation import References, Validation, open_references

_log = logging.getLogger(__name__)


def train_recipe(
    path: Path, output: PathLike, *, teacher: str | None = None, any_licence: bool = False
) -> list[float]:
    """Train by the recipe in a file; return the losses of all steps.

    A second call with the same folder goes on, to the same weights. output: a folder, or a URL, to which
    a folder of this disk is copied after each checkpoint; gets checkpoint.pt, recipe.toml,
    logs for TensorBoard, sheets of images, and at the end the weights. teacher: in the recipe's place.
    any_licence: also a teacher whose licence may bind what it teaches.
    Raises `InputError`, `ModelLoadError` and `OutputError` before anything is rendered or written,
    `TrainingError` and `OutputLostError` later: the last checkpoint then is kept.
    """
    recipe = load_recipe(path)
    if teacher is not None:
        recipe = replace(recipe, teacher=teacher)
    references = open_references(recipe.validation)
    with open_output(to_path(output), path) as work, join_processes() as processes:
        output = work.path
        training = start_training(load_trainable(recipe), recipe, processes)
        _log.info("%s: %d parameters", recipe.network.architecture, parameter_count(training.network))
        position = restore(training, output / CHECKPOINT)
        plans = plan_mix(recipe, training.objective, output, any_licence=any_licence)
        with claim(path, output) if processes.is_first else nullcontext():
            with processes.first_alone():
                mix = make_mix(recipe, training.objective, plans)
            loader = load_batches(
                mix, recipe, position, multiple_of=training.trainable.multiple_of, processes=processes
            )
            if training.step < recipe.steps:
                with follow(training, mix, references, work) as after_step:
                    train(training, read_batches(loader), after_step)
            if processes.is_first:
                try:
                    model = training.trainable.save(training.average, output)
                except (OSError, SafetensorError) as error:  # the latter of a full disk
                    raise OutputLostError(output, error) from error
                _log.info("step %d loss %.4f: wrote %s", training.step, training.losses[-1], model)
        return training.losses


@contextmanager
def follow(
    training: Training, mix: Mixture, references: References, work: StagingFolder
) -> Iterator[Callable[[Training], None]]:
    """Return what is to be called after each step: it logs, measures and saves.

    Of several processes only the first does. What TensorBoard could not write is raised by its next call, as
    `OutputLostError`.
    """
    if not training.processes.is_first:
        yield lambda training: None
        return
    logs = work.path / LOGS
    with output_lost(logs):
        make_folder(logs)
        writer = SummaryWriter(str(logs), purge_step=training.step)
    validation = Validation(training, references, work.path, writer)

    def save_checkpoint() -> None:
        save(training, mix.position(training.batch), work.path / CHECKPOINT)
        work.put()

    def after_step(training: Training) -> None:
        with output_lost(logs):
            writer.add_scalar("loss", training.losses[-1], training.step)
        if training.step % training.recipe.checkpoint_steps == 0 or training.step == training.recipe.steps:
            save_checkpoint()
        if validation.is_due():
            validation.run()

    if training.step == 0:
        save_checkpoint()  # a folder that cannot hold a checkpoint is found now
    try:
        yield after_step
    except BaseException:
        with suppress(OutputLostError), output_lost(logs):
            writer.close()
        raise
    with output_lost(logs):
        writer.close()
