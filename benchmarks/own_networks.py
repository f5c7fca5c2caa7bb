"""MoGe-2 and Depth Anything 3 in their published sizes with random weights, which transformers does not have.

The sizes are those of microsoft/MoGe's `configs/train/v2.json` and of `da3metric-large`; the networks are our own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cortexia_video.models.torch.depth_anything_3 import DepthAndSky, DptHead
from cortexia_video.models.torch.dinov2 import DinoV2
from cortexia_video.models.torch.moge import FILE, _build

OwnName = Literal["moge-2-vitl-normal", "da3metric-large"]
OWN: tuple[OwnName, ...] = get_args(OwnName)
_LARGE, _SMALL = (1024, 24, 4096, 37), (64, 12, 128, 37)  # width, layers, perceptron, side of the positions
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CAMERA = 0.8  # by which x and y of a point follow its pixel


def save_own(name: OwnName, folder: Path, *, tiny: bool) -> Path:
    """Write a checkpoint in its authors' form, unless it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "README.md"
    if done.exists():
        return folder
    torch.manual_seed(0)
    network, config = make_own(name, tiny=tiny)
    weights = {
        key: torch.empty(each.shape).normal_(0, _find_scale(each))
        for key, each in network.state_dict().items()
    }
    if name == "da3metric-large":
        for key in weights:
            weights[key] += key.endswith("gamma") or ("norm" in key and key.endswith("weight"))
        weights["head.scratch.output_conv2.2.weight"] *= 0.1
        weights["head.scratch.sky_output_conv2.2.bias"] -= 1
        save_file({f"model.{key}": each for key, each in weights.items()}, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps({"model_name": name}))
    else:
        _look_like_a_camera(weights)
        torch.save({"model_config": config, "model": weights}, folder / FILE)
    done.write_text("Random weights.\n")  # last: it says that all is there
    return folder


def count_own_flop(name: OwnName, height: int, width: int, *, tiny: bool) -> int:
    """Count the floating-point operations of the products and convolutions for one image."""
    network, _ = make_own(name, tiny=tiny)
    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        pixels = torch.empty(1, 3, height, width)
        network(*((pixels, torch.ones(1), False) if name.startswith("moge") else (pixels,)))
    return counter.get_total_flops()


def make_own(name: OwnName, *, tiny: bool = False) -> tuple[nn.Module, dict[str, Any]]:
    """Make a network without memory for its weights; and what its checkpoint says of it."""
    sizes = _SMALL if tiny else _LARGE
    with torch.device("meta"):
        backbone = DinoV2(*sizes)
        if name == "da3metric-large":
            levels, width, last = ((8, 8, 16, 16), 16, 8) if tiny else ((256, 512, 1024, 1024), 256, 32)
            return DepthAndSky(backbone, DptHead(sizes[0], levels, width, last)).eval(), {}
        config = _describe_moge(sizes, (32, 16, 16, 8, 8) if tiny else (1024, 256, 128, 64, 32), tiny=tiny)
        known = {f"encoder.backbone.{key}": each for key, each in backbone.state_dict().items()}
        return _build(config, known, Path(FILE)).eval(), config


def _describe_moge(sizes: tuple[int, ...], widths: tuple[int, ...], *, tiny: bool) -> dict[str, Any]:
    def stack(enter: list[int], leave: int | None, blocks: list[int]) -> dict[str, Any]:
        return {
            "dim_in": enter,
            "dim_out": [None] * 4 + [leave] if leave else None,
            "dim_res_blocks": [*widths],
            "num_res_blocks": blocks,
            "res_block_in_norm": "none",
            "res_block_hidden_norm": "none",
            "resamplers": ["conv_transpose"] * 3 + ["bilinear"],
        }

    width, layers = sizes[0], sizes[1]
    taken = [layers * part // 4 - 1 for part in (1, 2, 3, 4)]
    heads = {"points_head": 3, "normal_head": 3, "mask_head": 1}
    return {
        "encoder": {"backbone": "dinov2_vitl14", "intermediate_layers": taken, "dim_out": widths[0]},
        "neck": stack([widths[0] + 2, 2, 2, 2, 2], None, [0, 2, 2, 2, 0]),
        **{name: stack([*widths], channels, [0, 1, 1, 1, 0]) for name, channels in heads.items()},
        "scale_head": {"dims": [width, width, width, 1]},
        "remap_output": "exp",
        "num_tokens_range": [12, 48] if tiny else [1200, 3600],
    }


def _find_scale(weight: Tensor) -> float:
    """Return the spread under which numbers keep their size from layer to layer."""
    return (weight[0].numel() if weight.ndim > 1 else 64) ** -0.5


def _look_like_a_camera(weights: dict[str, Tensor]) -> None:
    """Let points be mostly where their pixels are and in front: our job refuses what no camera can have seen."""
    for key, each in weights.items():
        if key.endswith(("image_mean", "image_std")):
            each.copy_(torch.tensor(_MEAN if key.endswith("mean") else _STD).reshape(each.shape))
        elif key.endswith("gamma"):
            each.mul_(0.1).add_(0.3)
        elif ".norm" in key:
            each.mul_(0.1).add_(key.endswith("weight"))
    last = 4
    for part in ("neck", "points_head"):
        enter = weights[f"{part}.input_blocks.{last}.weight"]
        enter[:2] = torch.eye(2, enter.shape[1])[:, :, None, None]
        for key in (f"input_blocks.{last}.bias", "resamplers.3.1.weight", "resamplers.3.1.bias"):
            weights[f"{part}.{key}"][:2] = 0
    weight, bias = (weights[f"points_head.output_blocks.{last}.{each}"] for each in ("weight", "bias"))
    weight *= 0.1
    weight[0, 0], weight[1, 1] = _CAMERA, _CAMERA
    bias.copy_(torch.tensor([0.0, 0.0, 1.0]))
    weights[f"mask_head.output_blocks.{last}.bias"].fill_(1.2)
    scale = max(key for key in weights if key.startswith("scale_head.") and key.endswith("bias"))
    weights[scale].fill_(0.2)
