"""Depth Anything V2 Small with random weights: a checkpoint as the hub's, and our `DepthModel` around it.

Random weights take the same time as trained ones. The architecture and the preprocessing are those of
depth-anything/Depth-Anything-V2-Small-hf, with a short side of 252 pixels in place of 518.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTImageProcessorPil,
)

from cortexia_video.depth_map import Kind
from cortexia_video.resampling import fit_short_side, resize_image

SHORT_SIDE = 252
PATCH = 14
_MEAN = (0.485, 0.456, 0.406)  # of ImageNet, as the hub's preprocessor_config.json has them
_STD = (0.229, 0.224, 0.225)


def save_checkpoint(folder: Path) -> Path:
    """Write config, seeded random weights and image processor, unless they are there."""
    if (folder / "preprocessor_config.json").exists():
        return folder
    torch.manual_seed(0)
    backbone = Dinov2Config(
        hidden_size=384,
        num_hidden_layers=12,
        num_attention_heads=6,
        image_size=518,
        patch_size=PATCH,
        out_features=["stage3", "stage6", "stage9", "stage12"],
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=PATCH,
        reassemble_hidden_size=384,
        reassemble_factors=[4, 2, 1, 0.5],
        neck_hidden_sizes=[48, 96, 192, 384],
        fusion_hidden_size=64,
        head_hidden_size=32,
    )
    DepthAnythingForDepthEstimation(config).save_pretrained(folder)
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


class DepthAnything:
    """The network as a `DepthModel`."""

    name = "depth-anything-v2-small-random"
    kind: Kind = "disparity"
    device = "cpu"
    max_batch = None

    def __init__(self, checkpoint: Path) -> None:
        weights = (checkpoint / "model.safetensors").read_bytes()
        self.weights_digest = hashlib.sha256(weights).hexdigest()
        self.settings = {"short_side": SHORT_SIDE}
        self._network = load_network(checkpoint)
        self._scale = np.float32(1) / (np.float32(255) * np.array(_STD, np.float32))[:, None, None]
        self._shift = (np.array(_MEAN, np.float32) / np.array(_STD, np.float32))[:, None, None]

    def processed_size(self, height: int, width: int) -> tuple[int, int]:
        return fit_short_side(height, width, short_side=SHORT_SIDE, multiple_of=PATCH)

    def preprocess(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float32]:
        """Give float32 (3, h, w), normalised."""
        return resize_image(image, *size).transpose(2, 0, 1) * self._scale - self._shift

    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return self._network(pixel_values=torch.from_numpy(batch)).predicted_depth.numpy()
