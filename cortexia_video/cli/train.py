"""`cortexia train`: a network from a recipe."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from cortexia_video.cli.options import OPTIONS, Output, take_options
from cortexia_video.training.start import train


@take_options(train, (OPTIONS, ("teacher", "any_licence")))
def train_command(
    recipe: Annotated[Path, Parameter(name="RECIPE")],
    /,
    *,
    output: Output,
    **options: Any,
) -> None:
    """Train or fine-tune a depth network.

    The same command continues where it was stopped.

        cortexia train recipe.toml --output trained
        torchrun --nproc-per-node 2 -m cortexia_video train recipe.toml -o trained

    Exit code: 0 done, 1 the disk is full, 2 wrong usage, 130 interrupted.

    Args:
        recipe: A TOML file: network, data, steps (docs/training.md).
        output: Folder for checkpoint, weights, logs and images.
    """
    log = logging.getLogger("cortexia_video")
    for handler in log.handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    before, threading.excepthook = threading.excepthook, _pass_over_disks
    try:
        train(recipe, output, **options)
    finally:
        threading.excepthook = before


def _pass_over_disks(ended: threading.ExceptHookArgs) -> None:
    """Print why a thread ended, but for TensorBoard's on a full disk: its next call raises that."""
    if not isinstance(ended.exc_value, OSError):
        threading.__excepthook__(ended)
