"""`train`: what `cortexia train` does; torch is imported when it is called."""

from __future__ import annotations

import os
from pathlib import Path

from cortexia_video.errors import explain_import
from cortexia_video.runtime.progress import stage
from cortexia_video.storage.paths import PathLike


def train(
    recipe: str | os.PathLike[str], output: PathLike, *, teacher: str | None = None, any_licence: bool = False
) -> list[float]:
    """Train or fine-tune a depth network by a recipe; a second call goes on where the first was stopped.

    Args:
        recipe: A TOML file: network, data, steps (`docs/training.md`).
        output: A folder, or a URL to which a folder of this disk is copied after each checkpoint. It gets
            checkpoint.pt, recipe.toml, logs for TensorBoard, sheets of images, and at the end the weights.
        teacher: A model that labels the images of the recipe's datasets called images, which have no depth;
            it replaces the recipe's.
        any_licence: Also accept a teacher whose licence is not known to be permissive: it may bind what is trained
            on its depth.

    Returns:
        The loss of every step, from the first.

    Raises:
        MissingExtraError: The extra `train` is not installed.
        InputError: The recipe, or what it names, cannot be used; nothing is written then.
        ModelLoadError: Weights that the recipe names cannot be loaded.
        OutputError: The output belongs to somebody else, or cannot be written.
        TrainingError: The loss is no number; the last checkpoint is kept.

    Example:
        >>> losses = cx.train("compact.toml", "trained")  # doctest: +SKIP
    """
    try:
        with stage("loading torch"):
            from cortexia_video.training.job import train_recipe
    except ImportError as error:
        raise explain_import(error, "training needs", "'cortexia-video[train]'") from error
    return train_recipe(Path(recipe), output, teacher=teacher, any_licence=any_licence)
