"""Networks of the transformers library, loaded from a `Checkpoint`: whole, quietly, safely."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForDepthEstimation
from transformers.utils import logging

from cortexia_video.errors import ModelLoadError, format_count
from cortexia_video.models.torch.checkpoint import Checkpoint
from cortexia_video.models.torch.device import Placement

# Parts that published checkpoints leave out because nothing runs them: the first fusion has no residual.
_NEVER_RUN = re.compile(r"fusion_stage\.layers\.0\.residual_layer1\.|mask_token$|\.pooler\.")


def load_network(
    checkpoint: Checkpoint,
    placement: Placement,
    network_class: Any = AutoModelForDepthEstimation,
    **options: Any,
) -> Any:
    """Load a depth network on a placement, ready to run. Its attention is torch's own, where it can be.

    Raises `ModelLoadError` where the checkpoint does not hold all of its weights: transformers itself would
    go on with random ones.
    """
    try:
        with _quietly():
            network, found = network_class.from_pretrained(
                checkpoint.folder,
                dtype=placement.dtype,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                **options,
            )
    except ImportError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        broken = ": damaged or half written; download it again" if isinstance(error, SafetensorError) else ""
        raise ModelLoadError(
            f"{checkpoint.folder} cannot be loaded by transformers: {reason}{broken}"
        ) from error
    lacking = [name for name in found["missing_keys"] if not _NEVER_RUN.search(name)]
    lacking += [str(each[0]) for each in found.get("mismatched_keys", ())]
    if lacking:
        raise ModelLoadError(
            f"{checkpoint.folder} does not hold the whole network: {format_count(len(lacking), 'weight')} missing, or "
            f"of another shape, such as {sorted(lacking)[0]}"
        )
    network = network.eval().requires_grad_(False).to(placement.device)
    if placement.device.type == "mps":
        return network
    return network.to(memory_format=torch.channels_last)  # a quarter less time in bfloat16 on the processor


def save_network(network: Any, folder: Path) -> None:
    """Write a network as a checkpoint, without a bar for each file."""
    with _quietly():
        network.save_pretrained(folder)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep transformers from printing warnings and a bar for each file it reads."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
