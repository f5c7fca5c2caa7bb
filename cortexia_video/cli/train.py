"""`cortexia train`: a network from a recipe."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cortexia_video.cli.options import take_options
from cortexia_video.training.start import train


@take_options()
def train_command(
    recipe: Annotated[Path, Parameter(name="RECIPE")],
    /,
    *,
    output: Annotated[str, Parameter(alias="-o")],
    teacher: str | None = None,
    any_licence: bool = False,
) -> None:
    """Train or fine-tune a depth network.

    The same command continues where it was stopped.

        cortexia train recipe.toml --output trained
        torchrun --nproc-per-node 2 -m cortexia_video train recipe.toml --output trained

    Exit code: 0 done, 1 the disk is full, 2 wrong usage, 130 interrupted.

    Args:
        recipe: A TOML file: network, data, steps (docs/training.md).
        output: Folder for checkpoint, weights, logs and images.
        teacher: A model that labels the images of the recipe's datasets called `images`, which have no depth.
        any_licence: Also a teacher whose licence is not known to be permissive: it may bind what is trained on
            its depth.
    """
    log = logging.getLogger("cortexia_video")
    log.setLevel(logging.INFO)
    for handler in log.handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    before, threading.excepthook = threading.excepthook, _pass_over_disks
    try:
        train(recipe, output, teacher=teacher, any_licence=any_licence)
    finally:
        threading.excepthook = before


def _pass_over_disks(ended: threading.ExceptHookArgs) -> None:
    """Print why a thread ended, but for TensorBoard's on a full disk: its next call raises that."""
    if not isinstance(ended.exc_value, OSError):
        threading.__excepthook__(ended)
