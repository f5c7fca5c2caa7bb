"""Published architectures with random weights, as checkpoints: they take the time that trained ones take.

`tiny` gives the same shape of network small enough for a test.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForDepthEstimation,
    DepthAnythingConfig,
    DepthProConfig,
    PreTrainedConfig,
    PreTrainedModel,
)

Name = Literal["depth-pro", "depth-anything-v2-small", "depth-anything-v2-base", "depth-anything-v2-large"]
NAMES: tuple[Name, ...] = get_args(Name)

_PATCH = 14  # of Depth Anything


@dataclass(frozen=True, slots=True)
class _DepthAnything:
    """What differs between the sizes of Depth Anything V2."""

    width: int
    layers: int
    heads: int
    neck: tuple[int, int, int, int]
    fusion: int
    stages: tuple[int, int, int, int]
    side: int = 518


_SIZES = {
    "depth-anything-v2-small": _DepthAnything(384, 12, 6, (48, 96, 192, 384), 64, (3, 6, 9, 12)),
    "depth-anything-v2-base": _DepthAnything(768, 12, 12, (96, 192, 384, 768), 128, (3, 6, 9, 12)),
    "depth-anything-v2-large": _DepthAnything(1024, 24, 16, (256, 512, 1024, 1024), 256, (5, 12, 18, 24)),
}
_TINY = _DepthAnything(16, 4, 2, (8, 8, 16, 16), 8, (1, 2, 3, 4), side=70)


def make_config(name: Name, *, tiny: bool = False) -> PreTrainedConfig:
    """Make the configuration of a published network."""
    if name == "depth-pro":
        return _make_tiny_depth_pro() if tiny else _make_depth_pro()
    return _make_depth_anything(_TINY if tiny else _SIZES[name])


def make_on_meta(config: PreTrainedConfig) -> PreTrainedModel:
    """Make a network without memory for its weights: it has shapes alone."""
    with torch.device("meta"):
        return AutoModelForDepthEstimation.from_config(config, attn_implementation="eager").eval()


def count_flop(config: PreTrainedConfig, height: int, width: int) -> int:
    """Count the floating-point operations of the products and convolutions for one image."""
    network = make_on_meta(config)
    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(pixel_values=torch.empty(1, 3, height, width))
    return counter.get_total_flops()


def save_checkpoint(name: Name, folder: Path, *, tiny: bool = False) -> Path:
    """Write config, seeded random bfloat16 weights and image processor, unless they are there."""
    preprocessor = folder / "preprocessor_config.json"
    if preprocessor.exists():
        return folder
    config = make_config(name, tiny=tiny)
    network = make_on_meta(config).to(torch.bfloat16).to_empty(device="cpu")
    torch.manual_seed(0)
    _randomise(network)
    network.save_pretrained(folder)
    preprocessor.write_text(json.dumps(_describe_preprocessing(config)))  # last: it says that all is there
    return folder


@torch.no_grad()
def _randomise(network: PreTrainedModel) -> None:
    """Give weights under which numbers keep their size from layer to layer, and depth that is depth.

    The depth is above zero and not the same everywhere, the field of view 50 degrees: our job would refuse
    what is not.
    """
    for parameter in network.parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 16
        nn.init.normal_(parameter, std=fan_in**-0.5)
    for part, scale, bias in (("head", 0.1, 1.5), ("fov_model", 0.0, 50.0)):
        if hasattr(network, part):
            last = [each for each in getattr(network, part).modules() if isinstance(each, nn.Conv2d)][-1]
            last.weight.mul_(scale)
            last.bias.fill_(bias)


def _make_depth_pro() -> PreTrainedConfig:
    """Make what apple/DepthPro-hf is; transformers' default is smaller."""
    vit = _make_dinov2(side=384, patch=16, width=1024, layers=24, heads=16)
    return DepthProConfig(use_fov_model=True, **_three_encoders(vit))


def _make_tiny_depth_pro() -> PreTrainedConfig:
    vit = _make_dinov2(side=32, patch=8, width=16, layers=2, heads=2)
    return DepthProConfig(
        patch_size=32,
        fusion_hidden_size=16,
        intermediate_hook_ids=[1, 0],
        intermediate_feature_dims=[16, 16],
        scaled_images_feature_dims=[32, 32, 16],
        merge_padding_value=1,
        num_fov_head_layers=1,
        use_fov_model=True,
        **_three_encoders(vit),
    )


def _make_dinov2(*, side: int, patch: int, width: int, layers: int, heads: int) -> dict[str, object]:
    return {
        "model_type": "dinov2",
        "image_size": side,
        "patch_size": patch,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
    }


def _three_encoders(vit: dict[str, object]) -> dict[str, dict[str, object]]:
    return {f"{what}_model_config": dict(vit) for what in ("image", "patch", "fov")}


def _make_depth_anything(size: _DepthAnything) -> PreTrainedConfig:
    backbone = {
        **_make_dinov2(side=size.side, patch=_PATCH, width=size.width, layers=size.layers, heads=size.heads),
        "out_features": [f"stage{number}" for number in size.stages],
        "reshape_hidden_states": False,
    }
    return DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=_PATCH,
        reassemble_hidden_size=size.width,
        reassemble_factors=[4, 2, 1, 0.5],
        neck_hidden_sizes=[*size.neck],
        fusion_hidden_size=size.fusion,
        head_hidden_size=32,
    )


def _describe_preprocessing(config: PreTrainedConfig) -> dict[str, object]:
    """Return what the hub's preprocessor_config.json says, for the network's side."""
    if isinstance(config, DepthProConfig):
        side = round(config.patch_size / min(config.scaled_images_ratios))
        mean = std = [0.5, 0.5, 0.5]
        return {"image_mean": mean, "image_std": std, "resample": 2, "size": {"height": side, "width": side}}
    side = config.backbone_config.image_size
    return {
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "ensure_multiple_of": _PATCH,
        "keep_aspect_ratio": True,
        "resample": 3,
        "size": {"height": side, "width": side},
    }
