"""Small checkpoints of MoGe-2 in the authors' form, with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from cortexia_video.models.torch.dinov2 import DinoV2
from cortexia_video.models.torch.moge import FILE, _Network

TOKENS = 48
_WIDTHS = [32, 16, 16, 8, 8]
_WIDTH, _LAYERS, _HIDDEN, _SIDE = 64, 3, 128, 4  # of the transformer
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def save_moge(folder: Path, *, row: str = "moge-2-vits", seed: int = 0) -> Path:
    """Save a checkpoint that says it is what a row of the table names, whatever its weights' shapes."""
    folder.mkdir(parents=True, exist_ok=True)
    size, _, normals = row.removeprefix("moge-2-").partition("-")
    made = make_moge(size=size, normals=bool(normals) or size != "vitl", seed=seed)
    torch.save(made, folder / FILE)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A test's checkpoint\n")
    return folder


def make_moge(*, size: str = "vits", normals: bool = True, seed: int = 0) -> dict[str, Any]:
    """Return what such a file holds."""
    config = _make_config(size, normals)
    with torch.device("meta"):
        backbone = DinoV2(_WIDTH, _LAYERS, _HIDDEN, _SIDE).state_dict()
        known = {f"encoder.backbone.{name}": each for name, each in backbone.items()}
        shapes = {
            name: tuple(each.shape) for name, each in _Network(config, known, Path(FILE)).state_dict().items()
        }
    numbers = {name: _draw(seed + place, name, shapes[name]) for place, name in enumerate(sorted(shapes))}
    _look_like_a_camera(numbers)
    weights = {name: torch.from_numpy(each.astype(np.float32)) for name, each in numbers.items()}
    return {"model_config": config, "model": weights}


def _make_config(size: str, normals: bool) -> dict[str, Any]:
    def stack(dim_in: list[int], dim_out: list[int | None] | None, blocks: list[int]) -> dict[str, Any]:
        return {
            "dim_in": dim_in,
            "dim_out": dim_out,
            "dim_res_blocks": _WIDTHS,
            "num_res_blocks": blocks,
            "res_block_in_norm": "none",
            "res_block_hidden_norm": "none",
            "resamplers": ["conv_transpose", "conv_transpose", "conv_transpose", "bilinear"],
        }

    def head(channels: int) -> dict[str, Any]:
        return stack(_WIDTHS, [None, None, None, None, channels], [0, 1, 1, 1, 0])

    return {
        "encoder": {"backbone": f"dinov2_{size}14", "intermediate_layers": [0, 2], "dim_out": _WIDTHS[0]},
        "neck": stack([_WIDTHS[0] + 2, 2, 2, 2, 2], None, [0, 2, 2, 2, 0]),
        "points_head": head(3),
        "mask_head": head(1),
        "scale_head": {"dims": [_WIDTH, _WIDTH, 1]},
        "remap_output": "exp",
        "num_tokens_range": [12, TOKENS],
        **({"normal_head": head(3)} if normals else {}),
    }


def _draw(seed: int, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return weights under which signals keep their size."""
    if name.endswith(("image_mean", "image_std")):
        return np.reshape(_MEAN if name.endswith("mean") else _STD, shape)
    drawn = 2 * np.random.default_rng(seed).random(shape) - 1
    if name.endswith("gamma"):
        return 0.3 + 0.1 * drawn
    if ".norm" in name:
        return 0.1 * drawn + name.endswith("weight")
    fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 64
    return drawn * (2.4 / fan_in) ** 0.5


def _look_like_a_camera(numbers: dict[str, np.ndarray]) -> None:
    """Let x and y of the points be mostly where their pixels are: a field of view of some 70 degrees."""
    last = len(_WIDTHS) - 1
    for stack in ("neck", "points_head"):
        enter = numbers[f"{stack}.input_blocks.{last}.weight"]
        enter[:2] = np.eye(2, enter.shape[1])[:, :, None, None]
        for name in ("input_blocks.4.bias", "resamplers.3.1.weight", "resamplers.3.1.bias"):
            numbers[f"{stack}.{name}"][:2] = 0
    weight, bias = (numbers[f"points_head.output_blocks.4.{each}"] for each in ("weight", "bias"))
    weight *= 0.1
    weight[0, 0], weight[1, 1] = 0.8, 0.8
    bias[:] = 0, 0, 1
    for name, level in (("mask_head.output_blocks.4", 1.2), ("scale_head.2", 0.2)):
        numbers[f"{name}.bias"][:] = level
