"""Video Depth Anything: disparity, or metres, of a clip, 32 frames at a time.

Chen et al., Video Depth Anything: Consistent Depth Estimation for Super-Long Videos, CVPR 2025: Depth Anything V2
whose head sees each place in all frames of a window. Its parts have the names of the published weights. How windows
follow each other and are joined: `video.windows`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import gelu, relu, scaled_dot_product_attention

from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import ModelLoadError
from cortexia_video.models.catalog import find_published
from cortexia_video.models.onnx.session import Ports
from cortexia_video.models.preprocessing import IMAGENET, Preprocessing, read_preprocessing
from cortexia_video.models.protocol import InputSize, Window, as_model_path
from cortexia_video.models.torch.checkpoint import Checkpoint, hash_files, open_folder
from cortexia_video.models.torch.device import Placement, choose_placement
from cortexia_video.models.torch.dinov2 import PATCH, DinoV2, load_strictly
from cortexia_video.models.torch.dpt_head import DEPTH, TAKEN, DptHead, shape_network
from cortexia_video.models.torch.model import TorchModel, keep_in_float32, put_on, read_pickled

_OF_ROWS = {
    "video-depth-anything-small": "video_depth_anything_vits.pth",
    "video-depth-anything-metric-small": "metric_video_depth_anything_vits.pth",
}
_OF_PREFIXES: dict[str, DepthKind] = {"": "disparity", "metric_": "metric"}
_KINDS = {
    f"{prefix}video_depth_anything_vit{size}.pth": kind
    for prefix, kind in _OF_PREFIXES.items()
    for size in "sbl"
}
_PREPROCESSING = Preprocessing((518, 518), PATCH, "bicubic", *IMAGENET, scaling="short_side")
_WIDEST, _WIDE = 1.78, 1.777  # sides' ratio; of a larger one the long side is as long as of this
_HEADS, _GROUPS = 8, 32  # of the attention over frames; of the norm before it
_TOGETHER, _PLACES = 4, 2048  # frames in the transformer, and places in the attention over frames, at once


class VideoDepthAnything(TorchModel):
    """A `DepthModel` that sees the frames of a `window` together; an image is a clip of it alone."""

    window = Window(frames=32, carried=(0, 12, *range(24, 32)), fitted=2)

    def __init__(
        self, *, name: str, checkpoint: Checkpoint, placement: Placement, input_size: InputSize | None = None
    ) -> None:
        if placement.graph:
            raise ModelLoadError(
                f"{name} is run by torch alone, not by {placement.graph.backend} (`backend`)"
            )
        super().__init__(
            name=name,
            kind=_KINDS[checkpoint.config["file"]],
            checkpoint=checkpoint,
            preprocessing=read_preprocessing(_PREPROCESSING, {}, input_size),
            placement=placement,
            ports=Ports(("pixels",), ("depth",)),
            load=lambda placement: read_network(checkpoint, placement),
        )
        self.max_batch = 1  # of windows

    def processed_size(self, height: int, width: int) -> tuple[int, int]:
        """Return at what size the network sees an image, which is smaller for long ones, as the authors have it."""
        preprocessing, ratio = self._preprocessing, max(height, width) / min(height, width)
        if ratio > _WIDEST and preprocessing.scaling == "short_side" and preprocessing.size is not None:
            short = max(1, round(int(min(preprocessing.size) * _WIDE / ratio) / PATCH)) * PATCH
            preprocessing = replace(preprocessing, size=(short, short))
        return preprocessing.fit(height, width)

    def export(self, path: Path, about: Mapping[str, str]) -> tuple[int, int]:
        """Raise `ModelLoadError`: a graph sees images one by one."""
        raise ModelLoadError(
            f"{self.name} sees {self.window.frames} frames at once, and a graph one: it is not exported"
        )

    def _run(self, network: Any, placement: Placement, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Run on windows (B, frames, h, w, 3) or images (B, h, w, 3); return the frames one below the other."""
        run = super()._run
        maps = [run(network, placement, each.reshape(-1, *each.shape[-3:])) for each in batch]
        return np.stack([each.reshape(-1, each.shape[-1]) for each in maps])


def load_video_depth_anything(
    name: str, *, input_size: InputSize | None = None, **placing: Any
) -> VideoDepthAnything:
    """Load a checkpoint that `catalog` lists. input_size: the short side, or (height, width)."""
    placement = choose_placement(**placing)
    info = find_published(name)
    assert info.hub_id is not None
    checkpoint = open_video_depth_anything(info.hub_id, _OF_ROWS[name], info.revision)
    return VideoDepthAnything(name=name, checkpoint=checkpoint, placement=placement, input_size=input_size)


def find_file(source: str) -> str | None:
    """Return the file of weights in a folder, or in the hub's checkpoint of a row; None where none is in this form."""
    folder = as_model_path(source)
    if folder.is_dir():
        return next((name for name in _KINDS if (folder / name).is_file()), None)
    return next((file for row, file in _OF_ROWS.items() if find_published(row).hub_id == source), None)


def open_video_depth_anything(source: str, file: str, revision: str | None = None) -> Checkpoint:
    """Find a checkpoint as the authors publish it, a folder or hub id with this file; raises `ModelLoadError`."""
    folder, hub_id, revision = open_folder(source, revision, file)
    return Checkpoint(
        folder=folder,
        hub_id=hub_id,
        revision=revision,
        config={"file": file, "model_type": "video_depth_anything"},
        preprocessor={},
        weights_digest=hash_files([folder / file]),
        config_digest="",
    )


def read_network(checkpoint: Checkpoint, placement: Placement) -> nn.Module:
    """Read the network that a checkpoint holds, of the sizes of its weights. Raises `ModelLoadError`."""
    path = checkpoint.folder / str(checkpoint.config["file"])
    weights = read_pickled(path)
    if not isinstance(weights, Mapping) or not all(isinstance(each, Tensor) for each in weights.values()):
        raise ModelLoadError(
            f"{path} is no checkpoint of Video Depth Anything: it holds something else than weights"
        )
    backbone, head = shape_network(weights, "pretrained.", path, "Video Depth Anything", keeps_unused=True)
    with torch.device("meta"):
        network: Any = DepthOfFrames(backbone, head)
    load_strictly(network, weights, path)
    put_on(placement, network)
    if placement.is_half:  # depth would come in steps
        keep_in_float32(head.scratch[DEPTH])
    return network


class DepthOfFrames(nn.Module):
    """Frames (T, 3, H, W) of a window, or one image for all -> depth of these (T, H, W), 0 or more."""

    def __init__(
        self, backbone: DinoV2, head: DptHead, frames: int = VideoDepthAnything.window.frames
    ) -> None:
        super().__init__()
        self.pretrained, self.head, self.frames = backbone, head, frames
        projects: Any = head.projects
        width = head.scratch["output_conv1"].in_channels
        channels = (projects[2].out_channels, projects[3].out_channels, width, width)
        head.motion_modules = nn.ModuleList(_Motion(each, frames) for each in channels)

    def forward(self, pixels: Tensor) -> Tensor:
        head, size, levels = self.head, pixels.shape[2:], self._spread(pixels)
        motions: Any = head.motion_modules
        for level in (2, 3):
            of_all = levels[level].expand(self.frames, -1, -1, -1)  # what is one image at first is 32 here
            levels[level] = motions[level - 2](of_all)
        coarse = motions[2](head.fuse(4, None, levels))
        coarse = motions[3](head.fuse(3, coarse, levels))
        depth = []
        for begin in range(0, len(pixels), _TOGETHER):
            some = [each[begin : begin + _TOGETHER] for each in (coarse[: len(pixels)], *levels[:2])]
            fused = head.fuse(2, some[0], [*some[1:], levels[2]])
            depth.append(relu(head.finish(head.fuse(1, fused, some[1:]), size)[0][:, 0]))
        return torch.cat(depth)

    def _spread(self, pixels: Tensor) -> list[Tensor]:
        """Return the levels of all frames, made a few at a time."""
        taken = TAKEN[len(self.pretrained.blocks)]
        spread = [
            self.head.spread([each[:, 1:].mT for each in self.pretrained(some, taken)], some.shape[2:])
            for some in torch.split(pixels, _TOGETHER)
        ]
        return [torch.cat(level) for level in zip(*spread, strict=True)]


class _Motion(nn.Module):
    """Attention of each place over all frames: features (T, C, h, w) -> the same, with what that adds."""

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        self.temporal_transformer = nn.ModuleDict(
            {
                "norm": nn.GroupNorm(_GROUPS, channels, eps=1e-6),
                "proj_in": nn.Linear(channels, channels),
                "transformer_blocks": nn.ModuleList([_OverFrames(channels, frames)]),
                "proj_out": nn.Linear(channels, channels),
            }
        )

    def forward(self, features: Tensor) -> Tensor:
        parts: Any = self.temporal_transformer
        places = parts["norm"](features).permute(2, 3, 0, 1).flatten(0, 1)  # (h w, T, C)
        added = [
            parts["proj_out"](parts["transformer_blocks"][0](parts["proj_in"](some)))
            for some in torch.split(places, _PLACES)
        ]
        found: Tensor = torch.cat(added).permute(1, 2, 0).reshape(features.shape) + features
        return found


class _OverFrames(nn.Module):
    """Two attentions and a perceptron, each added: (N, T, C) -> (N, T, C)."""

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        self.attention_blocks = nn.ModuleList(_Attention(channels, frames) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        gate = nn.ModuleDict({"proj": nn.Linear(channels, 8 * channels)})
        self.ff = nn.ModuleDict({"net": nn.ModuleDict({"0": gate, "2": nn.Linear(4 * channels, channels)})})
        self.ff_norm = nn.LayerNorm(channels)

    def forward(self, tokens: Tensor) -> Tensor:
        for attention, norm in zip(self.attention_blocks, self.norms, strict=True):
            tokens = tokens + attention(norm(tokens))
        net: Any = self.ff["net"]
        values, gate = net["0"]["proj"](self.ff_norm(tokens)).chunk(2, dim=-1)
        found: Tensor = tokens + net["2"](values * gelu(gate))
        return found


class _Attention(nn.Module):
    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        self.pos_encoder = nn.ParameterDict({"pe": nn.Parameter(torch.empty(1, frames, channels))})
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels, bias=False) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.pos_encoder["pe"]
        query, key, value = (
            each(tokens).unflatten(2, (_HEADS, -1)).transpose(1, 2)
            for each in (self.to_q, self.to_k, self.to_v)
        )
        found = scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        added: Tensor = self.to_out[0](found)
        return added
