"""Depth Anything 3, `da3mono-large` and `da3metric-large`: relative depth, or metres, and where the sky is.

Lin et al., Depth Anything 3: Recovering the Visual Space from Any Views, 2025. One network: DINOv2 and DPT, as in
Depth Anything V2, with the exponential of depth's last layer and a second head for the sky. Its parts have the names
of the published weights. What the metric one gives is depth at a focal length of 300 pixels of the image as the
network sees it (`canonical_depth`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.functional import relu

from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import ModelLoadError
from cortexia_video.models.canonical_depth import AT_FOCAL_LENGTH, depth_to_metres
from cortexia_video.models.catalog import find_published
from cortexia_video.models.onnx.session import Ports
from cortexia_video.models.preprocessing import IMAGENET, Preprocessing, read_preprocessing
from cortexia_video.models.protocol import InputSize, Prediction
from cortexia_video.models.sky import SKY_FROM, find_sky
from cortexia_video.models.torch.checkpoint import Checkpoint, open_checkpoint
from cortexia_video.models.torch.device import Placement, choose_placement
from cortexia_video.models.torch.dinov2 import PATCH, DinoV2, load_strictly
from cortexia_video.models.torch.dpt_head import DEPTH, TAKEN, DptHead, shape_network
from cortexia_video.models.torch.model import TorchModel, keep_in_float32, put_on

KINDS: dict[str, DepthKind] = {"da3mono-large": "affine_invariant", "da3metric-large": "metric"}

_CANONICAL_F = 300
_PREPROCESSING = Preprocessing((504, 504), PATCH, "area", *IMAGENET, scaling="long_side")
_PORTS = Ports(("pixels",), ("depth", "sky"))
_SKY = "sky_output_conv2"
_LAST_EPS = 1e-5  # of the backbone's last norm


def load_depth_anything_3(name: str, *, input_size: InputSize | None = None, **placing: Any) -> TorchModel:
    """Load a checkpoint that `catalog` lists. input_size: the long side, or (height, width)."""
    placement = choose_placement(**placing)
    info = find_published(name)
    assert info.hub_id is not None
    checkpoint = open_checkpoint(info.hub_id, info.revision)
    return open_depth_anything_3(name, checkpoint, placement, input_size, info.kind)


def open_depth_anything_3(
    name: str,
    checkpoint: Checkpoint,
    placement: Placement,
    input_size: InputSize | None,
    kind: str | None = None,
) -> TorchModel:
    """Load a checkpoint, whose config.json says which of the two it is, and so its kind; else `ModelLoadError`."""
    if checkpoint.model_type not in KINDS:
        raise ModelLoadError(
            f"{checkpoint.folder} holds a network called {checkpoint.model_type!r} (model_name in config.json): of "
            f"Depth Anything 3, {' and '.join(KINDS)} are known here"
        )
    known = KINDS[checkpoint.model_type]
    if kind not in (None, known):
        raise ModelLoadError(f"{checkpoint.folder} ({checkpoint.model_type}) gives {known}, not {kind}")
    return DepthAnything3(name, known, checkpoint, placement, input_size)


class DepthAnything3(TorchModel):
    """Depth Anything 3 for one image; the metric one is a `CameraModel` that estimates no focal length."""

    estimates_fov = False
    maps = ("mask",)  # all but the sky
    export_facts: Mapping[str, object] = {"sky": SKY_FROM}

    def __init__(
        self,
        name: str,
        kind: DepthKind,
        checkpoint: Checkpoint,
        placement: Placement,
        input_size: InputSize | None,
    ) -> None:
        if kind == "metric":
            self.to_depth = depth_to_metres
        super().__init__(
            name=name,
            kind=kind,
            checkpoint=checkpoint,
            preprocessing=read_preprocessing(_PREPROCESSING, {}, input_size),
            placement=placement,
            ports=_PORTS,
            load=lambda placement: read_network(checkpoint, placement),
        )

    def infer(self, batch: NDArray[Any]) -> Prediction:  # type: ignore[override]
        """Run the network on images (B, h, w, 3); return depth, float32 (B, h, w), and where the sky is."""
        return self._predict(self._network, self._placement, batch)

    def _infer_float32(self, batch: NDArray[Any]) -> Prediction:  # type: ignore[override]
        return self._predict(self._get_in_float32(), self._placement.in_float32(), batch)

    def _predict(self, network: nn.Module, placement: Placement, batch: NDArray[Any]) -> Prediction:
        with placement.running():
            values, score = map(placement.to_host, network(self.to_input(batch, placement)))
        if self.kind == "metric":
            values *= np.float32(batch.shape[2] / _CANONICAL_F)
        return Prediction(values, sky=find_sky(values, score, SKY_FROM))

    def _make_exportable(self) -> tuple[nn.Module, Ports, str | None]:
        numbers = f"{AT_FOCAL_LENGTH}{_CANONICAL_F}" if self.kind == "metric" else None
        return self._network, self._ports, numbers


def read_network(checkpoint: Checkpoint, placement: Placement) -> nn.Module:
    """Read the network that a checkpoint holds, of the sizes of its weights. Raises `ModelLoadError`."""
    weights = _read_weights(checkpoint)
    backbone, head = shape_network(
        weights, "backbone.pretrained.", checkpoint.folder, "Depth Anything 3", outputs=(DEPTH, _SKY)
    )
    network: Any = DepthAndSky(backbone, head)
    load_strictly(network, weights, checkpoint.folder)
    put_on(placement, network)
    if placement.is_half:  # depth would come in steps
        for name in (DEPTH, _SKY):
            keep_in_float32(network.head.scratch[name][-1])
    return network


def _read_weights(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Read all weights by name, without what they have before it for the authors' class around the network."""
    weights: dict[str, Tensor] = {}
    for path in sorted(checkpoint.folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                weights |= {name.removeprefix("model."): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ModelLoadError(
                f"{path} cannot be read ({error}): damaged or half written; download it again"
            ) from error
    return weights


class DepthAndSky(nn.Module):
    """Pixels (B, 3, H, W) -> depth (B, H, W), above 0, and how much each pixel is sky, (B, H, W), 0 or more."""

    def __init__(self, backbone: DinoV2, head: DptHead) -> None:
        super().__init__()
        backbone.mask_token = None  # type: ignore[assignment]
        backbone.norm.eps = _LAST_EPS
        self.backbone = nn.ModuleDict({"pretrained": backbone})
        self.head = head

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        backbone: Any = self.backbone["pretrained"]
        tokens = backbone(pixels, TAKEN[len(backbone.blocks)])
        depth, sky = self.head([each[:, 1:].mT for each in tokens], pixels.shape[2:])
        return depth.exp()[:, 0], relu(sky)[:, 0]
