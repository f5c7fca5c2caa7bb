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
                with _Follower(training, mix, references, work) as follow:
                    train(training, read_batches(loader), follow)
            if processes.is_first:
                _save_model(training, output)
        return training.losses


def _save_model(training: Training, output: Path) -> None:
    try:
        model = training.trainable.save(training.average, output)
    except (OSError, SafetensorError) as error:  # the latter of a full disk
        raise OutputLostError(output, error) from error
    _log.info("step %d loss %.4f: wrote %s", training.step, training.losses[-1], model)


class _Follower:
    """Follows a training step by step: logs, measures and saves; of several processes only the first does."""

    def __init__(self, training: Training, mix: Mixture, references: References, work: StagingFolder) -> None:
        self._training, self._mix, self._output, self._put = training, mix, work.path, work.put
        self._references = references

    def __enter__(self) -> Callable[[Training], None]:
        if not self._training.processes.is_first:
            return lambda training: None
        with self._writing_logs():
            make_folder(self._output / LOGS)
            self._writer = SummaryWriter(str(self._output / LOGS), purge_step=self._training.step)
        self._validation = Validation(self._training, self._references, self._output, self._writer)
        if self._training.step == 0:
            self._save()  # a folder that cannot hold a checkpoint is found now
        return self._follow

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._training.processes.is_first:
            with suppress(OutputLostError) if kind else nullcontext(), self._writing_logs():
                self._writer.close()

    def _follow(self, training: Training) -> None:
        recipe = training.recipe
        with self._writing_logs():
            self._writer.add_scalar("loss", training.losses[-1], training.step)
        if training.step % recipe.checkpoint_steps == 0 or training.step == recipe.steps:
            self._save()
        if self._validation.is_due():
            self._validation.run()

    @contextmanager
    def _writing_logs(self) -> Iterator[None]:
        """Raise `OutputLostError` for what TensorBoard could not write: its next call raises that."""
        with output_lost(self._output / LOGS):
            yield

    def _save(self) -> None:
        save(self._training, self._mix.position(self._training.batch), self._output / CHECKPOINT)
        self._put()
