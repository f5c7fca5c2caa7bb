"""`cortexia train`: a network from a recipe."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cortexia_video.errors import MissingExtraError


def train_command(
    recipe: Annotated[Path, Parameter(name="RECIPE")],
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
) -> None:
    """Train or fine-tune a depth network; the same command goes on where it was stopped.

    Parameters
    ----------
    recipe
        A TOML file: network, data, steps (docs/training.md).
    output
        Folder for checkpoint, weights, logs and pictures.
    """
    try:
        from cortexia_video.training.job import train_recipe
        from cortexia_video.training.recipe import load_recipe
    except ImportError as error:
        raise MissingExtraError(f"training needs {error.name}: pip install 'cortexia-video[train]'") from error
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("cortexia_video").setLevel(logging.INFO)
    train_recipe(load_recipe(recipe), output)
