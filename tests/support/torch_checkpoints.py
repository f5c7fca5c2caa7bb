"""Small checkpoints with random weights, saved as the hub's are, for tests of what loads and runs those."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from moge_checkpoints import save_moge
from safetensors.torch import save_file
from torch import nn
from transformers import (
    CHMv2Config,
    CHMv2ForDepthEstimation,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    DepthProConfig,
    DepthProForDepthEstimation,
    DPTConfig,
    DPTForDepthEstimation,
    GLPNConfig,
    GLPNForDepthEstimation,
    PromptDepthAnythingConfig,
    PromptDepthAnythingForDepthEstimation,
    Tipsv2DptConfig,
    Tipsv2DptForDepthEstimation,
    ZoeDepthConfig,
    ZoeDepthForDepthEstimation,
)

from cortexia_video.models.torch.depth_anything_3 import DepthAndSky
from cortexia_video.models.torch.dinov2 import DinoV2
from cortexia_video.models.torch.dpt_head import DptHead
from cortexia_video.models.torch.video_depth_anything import DepthOfFrames

torch.set_num_threads(1)  # networks as small as these lose more than they gain by a second

COMMIT = "0123456789abcdef0123456789abcdef01234567"

_VIT = {"hidden_size": 16, "num_attention_heads": 2}
_DPT = {
    **_VIT,
    "num_hidden_layers": 4,
    "intermediate_size": 32,
    "image_size": 64,
    "patch_size": 16,
    "backbone_out_indices": [0, 1, 2, 3],
    "neck_hidden_sizes": [8, 16, 16, 16],
    "fusion_hidden_size": 8,
}


_SIGNED = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
# As the hub's checkpoints have them, with smaller sizes; DPT's is from before sizes had two sides.
_PREPROCESSORS: dict[str, dict[str, Any]] = {
    "depth_pro": {**_SIGNED, "resample": 2, "size": {"height": 128, "width": 128}},
    "depth_anything": {
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "ensure_multiple_of": 14,
        "keep_aspect_ratio": True,
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"height": 70, "width": 70},
    },
    "dpt": {**_SIGNED, "ensure_multiple_of": 1, "keep_aspect_ratio": False, "resample": 2, "size": 64},
    "glpn": {"resample": 2, "size_divisor": 32},
    "prompt_depth_anything": {
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "ensure_multiple_of": 14,
        "keep_aspect_ratio": True,
        "prompt_scale_to_meter": 0.001,
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"height": 70, "width": 70},
    },
    "tipsv2_dpt": {"do_normalize": False, "resample": 2, "size": {"height": 56, "width": 56}},
    "chmv2": {"do_resize": False, "do_pad": True, "size_divisor": 16},
    "zoedepth": {
        **_SIGNED,
        "do_pad": True,
        "ensure_multiple_of": 32,
        "keep_aspect_ratio": True,
        "resample": 2,
        "size": {"height": 64, "width": 96},
    },
}


def save_checkpoint(family: str, folder: Path, seed: int = 0) -> Path:
    """Save a network of a family in `folder`, with the files that the hub's checkpoints have."""
    if family in _DEPTH_ANYTHING_3:
        return _save_depth_anything_3(family, folder)
    if family.endswith("video_depth_anything_vits.pth"):
        return _save_video_depth_anything(family, folder)
    if family.startswith("moge-2-"):
        return save_moge(folder, row=family, seed=seed)
    torch.manual_seed(seed)
    network = FAMILIES[family]()
    randomise(network)
    network.eval().save_pretrained(folder)
    preprocessor = {"do_resize": True, "do_rescale": True, **_PREPROCESSORS[network.config.model_type]}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    (folder / "README.md").write_text(
        "---\nlicense: apache-2.0\ntags:\n- depth\n---\n# A test's checkpoint\n"
    )
    return folder


def name_family(published: str) -> str:
    """Name the family of small checkpoints that stands for a published model."""
    if published.startswith("da3-"):
        return _DA3_NAMES[published]
    if published.startswith("video-depth-anything"):
        return f"{'metric_' if 'metric' in published else ''}video_depth_anything_vits.pth"
    if published.startswith("prompt-"):
        return "prompt-depth-anything"
    if published.startswith("depth-anything"):
        return "depth-anything-metric" if "metric" in published else "depth-anything"
    return {"dpt-large": "dpt", "dpt-hybrid-midas": "dpt-hybrid"}.get(published, published)


def put_in_cache(folder: Path, hub_id: str, revision: str, home: Path) -> None:
    """Lay a checkpoint out as the hub's cache under `home` (HF_HOME) has it after a download."""
    cached = home / "hub" / f"models--{hub_id.replace('/', '--')}"
    commit = revision if len(revision) == len(COMMIT) else COMMIT
    shutil.copytree(folder, cached / "snapshots" / commit)
    reference = cached / "refs" / revision
    reference.parent.mkdir(parents=True, exist_ok=True)
    reference.write_text(commit)


def randomise(network: nn.Module) -> None:
    """Give weights that keep numbers of one size from layer to layer, so that every layer matters.

    The last layers get a bias: depth is then above zero, where a ReLU lets it through, and the field of view
    some 50 degrees.
    """
    for parameter in network.parameters():
        fan_in = max(1, parameter[0].numel()) if parameter.ndim > 1 else 16
        nn.init.normal_(parameter, std=fan_in**-0.5)
    if hasattr(network, "metric_head"):  # ZoeDepth averages over bins: depth would hardly differ in an image
        for parameter in network.metric_head.parameters():
            parameter.data *= 2
    for part, bias in (("head", 1.5), ("fov_model", 50.0)):
        modules = [] if getattr(network, part, None) is None else getattr(network, part).modules()
        layers = [each for each in modules if isinstance(each, nn.Conv2d)]
        if layers:
            nn.init.constant_(layers[-1].bias, bias)


def make_depth_pro(**options: Any) -> nn.Module:
    """Make a Depth Pro for images of 128 x 128."""
    vit = {
        **_VIT,
        "model_type": "dinov2",
        "image_size": 32,
        "patch_size": 8,
        "num_hidden_layers": 2,
        "mlp_ratio": 2,
    }
    config = {
        "patch_size": 32,
        "fusion_hidden_size": 16,
        "intermediate_hook_ids": [1, 0],
        "intermediate_feature_dims": [16, 16],
        "scaled_images_feature_dims": [32, 32, 16],
        "merge_padding_value": 1,
        "use_fov_model": True,
        "num_fov_head_layers": 1,
        "image_model_config": dict(vit),
        "patch_model_config": dict(vit),
        "fov_model_config": dict(vit),
    }
    return DepthProForDepthEstimation(DepthProConfig(**{**config, **options}))


def make_depth_anything(**options: Any) -> nn.Module:
    """Make a Depth Anything for sides that are multiples of 14."""
    backbone = {
        **_VIT,
        "model_type": "dinov2",
        "image_size": 70,
        "patch_size": 14,
        "num_hidden_layers": 4,
        "out_indices": [1, 2, 3, 4],
        "apply_layernorm": True,
        "reshape_hidden_states": False,
    }
    return DepthAnythingForDepthEstimation(
        DepthAnythingConfig(
            backbone_config=backbone,
            reassemble_hidden_size=16,
            neck_hidden_sizes=[8, 8, 16, 16],
            fusion_hidden_size=8,
            head_hidden_size=8,
            **options,
        )
    )


def make_hybrid() -> nn.Module:
    """Make a DPT whose patches come from a small convolutional network."""
    backbone = {
        "model_type": "bit",
        "global_padding": "same",
        "layer_type": "bottleneck",
        "depths": [1, 1, 1],
        "hidden_sizes": [8, 16, 32],
        "embedding_size": 8,
        "num_groups": 2,
        "out_features": ["stage1", "stage2", "stage3"],
        "embedding_dynamic_padding": True,
    }
    return DPTForDepthEstimation(
        DPTConfig(
            **_DPT,
            is_hybrid=True,
            backbone_featmap_shape=[1, 32, 4, 4],
            neck_ignore_stages=[0, 1],
            backbone_config=backbone,
        )
    )


def make_zoedepth(domains: int = 2) -> nn.Module:
    """Make a ZoeDepth with a head for each of the domains."""
    backbone = {
        **_VIT,
        "model_type": "beit",
        "image_size": 64,
        "patch_size": 16,
        "num_hidden_layers": 4,
        "intermediate_size": 32,
        "use_relative_position_bias": True,
        "reshape_hidden_states": False,
        "out_features": ["stage1", "stage2", "stage3", "stage4"],
    }
    bins = [{"name": name, "n_bins": 8, "min_depth": 1e-3, "max_depth": 10.0} for name in ("nyu", "kitti")]
    return ZoeDepthForDepthEstimation(
        ZoeDepthConfig(
            backbone_config=backbone,
            neck_hidden_sizes=[8, 8, 16, 16],
            fusion_hidden_size=8,
            bottleneck_features=8,
            num_relative_features=4,
            bin_embedding_dim=8,
            num_attractors=[4, 2, 2, 1],
            bin_configurations=bins[:domains],
            num_patch_transformer_layers=4,  # four of them, 128 wide: transformers counts on it
            patch_transformer_hidden_size=128,
            patch_transformer_intermediate_size=16,
            patch_transformer_num_attention_heads=2,
        )
    )


def make_tipsv2() -> nn.Module:
    """Make a TIPSv2 with a DPT head for depth, for sides that are multiples of 14."""
    backbone = {
        **_VIT,
        "model_type": "tipsv2_vision_model",
        "image_size": 56,
        "patch_size": 14,
        "num_hidden_layers": 4,
        "mlp_ratio": 2,
        "out_indices": [1, 2, 3, 4],
        "apply_layernorm": True,
        "reshape_hidden_states": False,
    }
    sizes = {"neck_hidden_sizes": [8, 8, 16, 16], "fusion_hidden_size": 8, "num_depth_bins": 32}
    return Tipsv2DptForDepthEstimation(Tipsv2DptConfig(backbone_config=backbone, **sizes))


def make_glpn() -> nn.Module:
    """Make a GLPN for sides that are multiples of 32."""
    widths = {"hidden_sizes": [8, 8, 16, 16], "num_attention_heads": [1, 1, 2, 2], "decoder_hidden_size": 8}
    return GLPNForDepthEstimation(GLPNConfig(depths=[1, 1, 1, 1], mlp_ratios=[2, 2, 2, 2], **widths))


def make_chmv2() -> nn.Module:
    """Make a network of canopy heights."""
    backbone = {
        **_VIT,
        "model_type": "dinov3_vit",
        "image_size": 64,
        "patch_size": 16,
        "num_hidden_layers": 4,
        "intermediate_size": 32,
        "out_indices": [1, 2, 3, 4],
        "reshape_hidden_states": True,
        "return_class_token": True,
    }
    sizes = {"post_process_channels": [8, 8, 16, 16], "fusion_hidden_size": 8, "head_hidden_size": 8}
    return CHMv2ForDepthEstimation(CHMv2Config(backbone_config=backbone, number_output_channels=8, **sizes))


def make_prompt_depth_anything() -> nn.Module:
    """Make a Depth Anything that completes a sensor's depth."""
    config = make_depth_anything().config
    sizes = {"reassemble_hidden_size": 16, "neck_hidden_sizes": [8, 8, 16, 16], "fusion_hidden_size": 8}
    return PromptDepthAnythingForDepthEstimation(
        PromptDepthAnythingConfig(
            backbone_config=config.backbone_config,
            head_hidden_size=8,
            depth_estimation_type="metric",
            max_depth=None,
            **sizes,
        )
    )


def make_depth_anything_3() -> nn.Module:
    """Make a Depth Anything 3 for one image, as narrow as it can be, with weights that follow from their names."""
    backbone = DinoV2(width=64, layers=12, hidden=128, side=37)
    outputs = ("output_conv2", "sky_output_conv2")
    network = DepthAndSky(backbone, DptHead(64, (8, 8, 16, 16), width=16, last=8, outputs=outputs))
    for name, parameter in network.named_parameters():
        parameter.data = torch.from_numpy(weigh(f"model.{name}", tuple(parameter.shape)))
    return network.eval()


def make_video_depth_anything() -> nn.Module:
    """Make a Video Depth Anything, as narrow as it can be, with weights that follow from their names."""
    backbone = DinoV2(width=64, layers=12, hidden=128, side=37)
    head = DptHead(64, (8, 8, 32, 32), width=32, last=8, keeps_unused=True)
    network = DepthOfFrames(backbone, head)
    for name, parameter in network.named_parameters():
        shape = tuple(parameter.shape)
        weights = weigh(name, shape) * (np.prod(shape) ** 0.5 if name.endswith(".pe") else 1)  # its own size
        parameter.data = torch.from_numpy(weights.astype(np.float32))
    network.head.scratch["output_conv2"][-1].bias.data += 1  # above zero, most of it
    return network.eval()


def weigh(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return weights, float32, that follow from a name and a shape alone; norms and layers' factors are near 1."""
    fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 16
    weights = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape) / fan_in**0.5
    near_one = name.endswith("gamma") or ("norm" in name and name.endswith("weight"))
    return (weights + near_one - name.endswith("sky_output_conv2.2.bias")).astype(
        np.float32
    )  # some sky, not all


def _save_depth_anything_3(family: str, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    weights = {f"model.{name}": each for name, each in make_depth_anything_3().state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_name": family}))
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    return folder


def _save_video_depth_anything(family: str, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(make_video_depth_anything().state_dict(), folder / family)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    return folder


_DA3_NAMES = {"da3-mono-large": "da3mono-large", "da3-metric-large": "da3metric-large"}
_DEPTH_ANYTHING_3 = tuple(_DA3_NAMES.values())
FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "depth-pro": make_depth_pro,
    "depth-pro-without-fov": lambda: make_depth_pro(use_fov_model=False),
    "depth-anything": make_depth_anything,
    "depth-anything-metric": lambda: make_depth_anything(depth_estimation_type="metric", max_depth=20),
    "dpt": lambda: DPTForDepthEstimation(DPTConfig(**_DPT)),
    "dpt-hybrid": make_hybrid,
    "glpn": make_glpn,
    "tipsv2": make_tipsv2,
    "chmv2": make_chmv2,
    "prompt-depth-anything": make_prompt_depth_anything,
    "zoedepth": make_zoedepth,
    "zoedepth-one-domain": lambda: make_zoedepth(1),
}
