"""Depth networks of the transformers library: the published ones by name, and any checkpoint as `hf:`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers.models.auto.modeling_auto import MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES

from cortexia_video.depth_map import KINDS, DepthKind
from cortexia_video.errors import ModelLoadError, not_known, printable, redact
from cortexia_video.models.catalog import find_published
from cortexia_video.models.onnx.session import Ports
from cortexia_video.models.preprocessing import (
    IMAGENET,
    SIGNED,
    UNIT,
    Preprocessing,
    read_preprocessing,
)
from cortexia_video.models.protocol import InputSize
from cortexia_video.models.torch.checkpoint import Checkpoint, open_checkpoint
from cortexia_video.models.torch.depth_anything_3 import KINDS as DEPTH_ANYTHING_3
from cortexia_video.models.torch.depth_anything_3 import open_depth_anything_3
from cortexia_video.models.torch.depth_pro import DepthPro
from cortexia_video.models.torch.device import Placement, choose_placement
from cortexia_video.models.torch.dpt import AnyShape
from cortexia_video.models.torch.model import TorchModel, keep_in_float32
from cortexia_video.models.torch.moge import MoGe, holds_moge, open_moge
from cortexia_video.models.torch.prompt_depth_anything import PromptDepthAnything
from cortexia_video.models.torch.transformers_loader import load_network, save_network
from cortexia_video.models.torch.video_depth_anything import (
    VideoDepthAnything,
    find_file,
    open_video_depth_anything,
)
from cortexia_video.models.torch.zoedepth import OneByOne

_COMPLETES = "prompt_depth_anything"

# What the published checkpoints of each family do, for folders that do not say it.
_PUBLISHED = {
    "depth_anything": Preprocessing((518, 518), 14, "bicubic", *IMAGENET),
    "dpt": Preprocessing((384, 384), 32, "bicubic", *SIGNED),
    _COMPLETES: Preprocessing((756, 756), 14, "bicubic", *IMAGENET),
    "glpn": Preprocessing(None, 32, "bilinear", *UNIT, floors=True),
    "tipsv2_dpt": Preprocessing((448, 448), 14, "bilinear", *UNIT),
    "zoedepth": Preprocessing((384, 512), 32, "sampled_corners", *SIGNED),
}
_METRIC = ("depth_pro", "glpn", _COMPLETES, "tipsv2_dpt", "zoedepth")  # what no file says, but the authors do
_REFUSED = {  # types of network that transformers counts among those of depth
    "chmv2": "gives the height of trees seen from above, which is no depth",
}


_TYPES = {  # in the words of config.json, by the beginning of a name
    "depth-pro": "depth_pro",
    "depth-anything-v2": "depth_anything",
    "prompt-depth-anything": "prompt_depth_anything",
    "zoedepth": "zoedepth",
    "dpt": "dpt",
}


def load_published(name: str, *, input_size: InputSize | None = None, **placing: Any) -> TorchModel:
    """Load a checkpoint that `published` lists; options are those of `load_hf`, without `kind`."""
    placement = choose_placement(**placing)
    info = find_published(name)
    assert info.hub_id is not None
    checkpoint = open_checkpoint(info.hub_id, info.revision)
    _require_depth_network(checkpoint)
    wanted = next(of_type for family, of_type in _TYPES.items() if name.startswith(family))
    if checkpoint.model_type != wanted:
        raise ModelLoadError(
            f"{checkpoint.folder} holds a network of type {printable(str(checkpoint.model_type))}, and {name} is "
            f"{wanted}: another checkpoint lies in its place; download it again"
        )
    return _load(name, checkpoint, info.kind, placement, input_size)


def load_hf(
    name: str, *, kind: str | None = None, input_size: InputSize | None = None, **placing: Any
) -> TorchModel:
    """Load `hf:` and a folder, a hub id, or a hub id with `@revision`.

    kind: what its numbers mean, for checkpoints of a type that does not tell. input_size: the short side, or
    (height, width). placing: device, precision, backend and compile, as `choose_placement` takes them.
    """
    source = name.removeprefix("hf:")
    placement = choose_placement(**placing)
    is_moge, of_clips = holds_moge(source), find_file(source)
    if of_clips:
        checkpoint = open_video_depth_anything(source, of_clips)
    else:
        checkpoint = open_moge(source) if is_moge else open_checkpoint(source)
    shown = redact(f"hf:{source if checkpoint.hub_id else Path(source).expanduser().resolve().name}")
    if is_moge:
        if kind not in (None, "metric"):
            raise ModelLoadError(f"{checkpoint.folder} gives metric, not {kind}: leave `kind` out")
        return MoGe(name=shown, checkpoint=checkpoint, placement=placement, input_size=input_size)
    if of_clips:
        model = VideoDepthAnything(
            name=shown, checkpoint=checkpoint, placement=placement, input_size=input_size
        )
        if kind not in (None, model.kind):
            raise ModelLoadError(f"{checkpoint.folder} gives {model.kind}, not {kind}: leave `kind` out")
        return model
    if checkpoint.model_type in DEPTH_ANYTHING_3:
        return open_depth_anything_3(shown, checkpoint, placement, input_size, kind)
    _require_depth_network(checkpoint)
    return _load(shown, checkpoint, _choose_kind(checkpoint, kind), placement, input_size)


class OpenNetwork(NamedTuple):
    """A network in float32 that may be trained.

    network: pixels (B, 3, H, W), normalised as `preprocessing` says, -> depth (B, h, w).
    """

    network: nn.Module
    checkpoint: Checkpoint
    kind: DepthKind
    preprocessing: Preprocessing

    def save(self, folder: Path) -> None:
        """Write a checkpoint that `load_hf` loads, with what the first one says of images and licence."""
        inner: Any = self.network.network
        inner = inner.network if isinstance(inner, AnyShape) else inner
        wrapped = getattr(inner, "metric_head", None)
        if isinstance(wrapped, OneByOne):
            inner.metric_head = wrapped.head
        save_network(inner, folder)
        if isinstance(wrapped, OneByOne):
            inner.metric_head = wrapped
        for name in ("preprocessor_config.json", "README.md"):
            if (self.checkpoint.folder / name).is_file():
                shutil.copyfile(self.checkpoint.folder / name, folder / name)


def open_network(name: str, *, kind: str | None = None) -> OpenNetwork:
    """Open `hf:` and a folder or hub id, to be trained. Raises `ModelLoadError`."""
    checkpoint = open_checkpoint(name.removeprefix("hf:"))
    _require_depth_network(checkpoint)
    if checkpoint.model_type == "depth_pro":
        raise ModelLoadError(
            f"{name}: Depth Pro gives depth only with a camera, at one size: it cannot be trained here"
        )
    if checkpoint.model_type == _COMPLETES:
        raise ModelLoadError(f"{name} completes a sensor's depth: it cannot be trained here")
    placement = Placement(torch.device("cpu"), torch.float32)
    network = _DepthAlone(_load_family(checkpoint, placement)).requires_grad_(True)
    return OpenNetwork(
        network, checkpoint, _choose_kind(checkpoint, kind), _choose_preprocessing(checkpoint, None)
    )


def _load(
    name: str,
    checkpoint: Checkpoint,
    kind: DepthKind | None,
    placement: Placement,
    input_size: InputSize | None,
) -> TorchModel:
    if checkpoint.model_type == "depth_pro":
        if input_size is not None:
            raise ModelLoadError(f"{name} takes one size only: leave `input_size` out")
        return DepthPro(name=name, checkpoint=checkpoint, placement=placement)
    if checkpoint.model_type == _COMPLETES:
        return PromptDepthAnything(
            name=name,
            checkpoint=checkpoint,
            preprocessing=_choose_preprocessing(checkpoint, input_size),
            placement=placement,
            load=lambda placement: _load_family(checkpoint, placement),
        )
    kind = kind or _choose_kind(checkpoint, None)

    def load(placement: Placement) -> nn.Module:
        return _DepthAlone(_load_family(checkpoint, placement))

    return TorchModel(
        name=name,
        kind=kind,
        checkpoint=checkpoint,
        preprocessing=_choose_preprocessing(checkpoint, input_size),
        placement=placement,
        # ZoeDepth's images each choose a head of their own, in a loop over as many as there are.
        ports=Ports(("pixels",), ("depth",), one_by_one=checkpoint.model_type == "zoedepth"),
        load=load,
    )


class _DepthAlone(nn.Module):
    """Pixels (B, 3, H, W) -> depth (B, h, w), of what a transformers network gives."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        depth: Tensor = self.network(pixel_values=pixels).predicted_depth
        return depth


def _load_family(checkpoint: Checkpoint, placement: Placement) -> nn.Module:
    network: Any = load_network(checkpoint, placement)
    if checkpoint.model_type == "zoedepth":
        network.metric_head = OneByOne(network.metric_head)
    if placement.is_half:
        # half precision has three digits: depth would come in steps if the last layer had no more
        if hasattr(network, "metric_head"):  # of ZoeDepth: its logarithms and exponentials, throughout
            keep_in_float32(network.metric_head)
        else:
            layers = [each for each in network.modules() if isinstance(each, nn.Conv2d | nn.Linear)]
            keep_in_float32(layers[-1])
        if checkpoint.model_type == "tipsv2_dpt":  # the depths that its last layer weighs
            about = network.config
            bins = torch.linspace(about.min_depth, about.max_depth, about.num_depth_bins)
            network.bin_regressor.bin_centers = bins.to(placement.device)
    return AnyShape(network) if checkpoint.model_type == "dpt" else network


def _require_depth_network(checkpoint: Checkpoint) -> None:
    model_type = checkpoint.model_type
    if model_type in _REFUSED:
        raise ModelLoadError(f"{checkpoint.folder} ({model_type}) {_REFUSED[model_type]}")
    if model_type not in MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES:
        known = ", ".join(sorted({*MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES} - {*_REFUSED}))
        raise ModelLoadError(
            f"{checkpoint.folder} holds a network of type {model_type!r}, which is no depth network that "
            f"transformers knows: it knows {known}"
        )


def _choose_kind(checkpoint: Checkpoint, given: str | None) -> DepthKind:
    # what the numbers mean where the type of the network, or its name on the hub, tells
    known: DepthKind | None
    if checkpoint.model_type == "depth_anything":
        metric = checkpoint.config.get("depth_estimation_type") == "metric"
        known = "metric" if metric else "disparity"
    elif checkpoint.model_type == "dpt":  # MiDaS's, or fine-tuned to metres: the file does not tell
        known = "disparity" if (checkpoint.hub_id or "").startswith("Intel/dpt-") else None
    else:
        known = "metric" if checkpoint.model_type in _METRIC else None
    if given is not None and given not in KINDS:
        raise ModelLoadError(not_known("kind of depth", given, KINDS))
    if given and known and given != known:
        raise ModelLoadError(f"{checkpoint.folder} gives {known}, not {given}: leave `kind` out")
    kind = given or known
    if kind is None:
        raise ModelLoadError(
            f"{checkpoint.folder} does not say what its numbers mean: give it (`kind`, one of "
            f"{', '.join(KINDS)}; disparity for what is like MiDaS)"
        )
    return kind


def _choose_preprocessing(checkpoint: Checkpoint, input_size: InputSize | None) -> Preprocessing:
    config = checkpoint.config
    patch = config.get("patch_size") or (config.get("backbone_config") or {}).get("patch_size")
    published = _PUBLISHED.get(checkpoint.model_type)
    if published is None:
        if not checkpoint.preprocessor or not isinstance(patch, int):
            raise ModelLoadError(
                f"{checkpoint.folder} does not say how it wants images: it needs a preprocessor_config.json, "
                "and a patch_size in config.json"
            )
        published = Preprocessing((518, 518), patch, "bicubic", *IMAGENET)
    preprocessing = read_preprocessing(published, checkpoint.preprocessor, input_size)
    if isinstance(patch, int) and preprocessing.step % patch:  # what is beyond a patch would be left out
        raise ModelLoadError(
            f"{checkpoint.folder} asks for sides in multiples of {preprocessing.step}, where the network's "
            f"patches are of {patch}: mend ensure_multiple_of in its preprocessor_config.json"
        )
    return preprocessing
