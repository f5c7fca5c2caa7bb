"""Depth Anything V2 Small with random weights: a checkpoint as the hub's.

Random weights take the same time as trained ones. The architecture and the preprocessing are those of
depth-anything/Depth-Anything-V2-Small-hf, with a short side of 252 pixels in place of 518.
"""

from __future__ import annotations

from pathlib import Path

import torch
from random_networks import make_config
from transformers import DepthAnythingForDepthEstimation, DPTImageProcessorPil

SHORT_SIDE = 252
PATCH = 14
_MEAN = (0.485, 0.456, 0.406)  # of ImageNet, as the hub's preprocessor_config.json has them
_STD = (0.229, 0.224, 0.225)


def save_checkpoint(folder: Path) -> Path:
    """Write config, seeded random weights and image processor, unless they are there."""
    if (folder / "preprocessor_config.json").exists():
        return folder
    torch.manual_seed(0)
    DepthAnythingForDepthEstimation(make_config("depth-anything-v2-small")).save_pretrained(folder)
    make_processor().save_pretrained(folder)
    return folder


def make_processor() -> DPTImageProcessorPil:
    """Make the image processor of the published checkpoint, at our short side."""
    return DPTImageProcessorPil(
        size={"height": SHORT_SIDE, "width": SHORT_SIDE},
        keep_aspect_ratio=True,
        ensure_multiple_of=PATCH,
        image_mean=_MEAN,
        image_std=_STD,
    )


def load_network(checkpoint: Path) -> DepthAnythingForDepthEstimation:
    """Load the network in float32, as everybody does."""
    return DepthAnythingForDepthEstimation.from_pretrained(checkpoint).eval()
