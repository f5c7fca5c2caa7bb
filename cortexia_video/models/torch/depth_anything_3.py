"""Depth Anything 3, `da3mono-large` and `da3metric-large`: relative depth, or metres, and where the sky is.

Lin et al., Depth Anything 3: Recovering the Visual Space from Any Views, 2025. One network: DINOv2 and DPT, as in
Depth Anything V2, with the exponential of depth's last layer and a second head for the sky. Its parts have the names
of the published weights. What the metric one gives is depth at a focal length of 300 pixels of the image as the
network sees it (`canonical_depth`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

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
from cortexia_video.models.torch.dinov2 import PATCH, DinoV2, load_strictly, shape_dinov2
from cortexia_video.models.torch.model import TorchModel, keep_in_float32

KINDS: dict[str, DepthKind] = {"da3mono-large": "affine_invariant", "da3metric-large": "metric"}

_CANONICAL_F = 300
_PREPROCESSING = Preprocessing((504, 504), PATCH, "area", *IMAGENET, scaling="long_side")
_PORTS = Ports(("pixels",), ("depth", "sky"))
_TAKEN = {12: (2, 5, 8, 11), 24: (4, 11, 17, 23)}  # the layers that DPT takes, by how many there are
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
    try:
        levels = [len(weights[f"head.projects.{level}.bias"]) for level in range(4)]
        width, last = (
            len(weights[f"head.scratch.{name}.bias"]) for name in ("output_conv1", "output_conv2.0")
        )
    except KeyError as error:
        raise ModelLoadError(f"{checkpoint.folder} holds no Depth Anything 3: it lacks {error}") from error
    with torch.device("meta"):
        backbone = shape_dinov2(weights, "backbone.pretrained.", checkpoint.folder)
        if len(backbone.blocks) not in _TAKEN:
            raise ModelLoadError(
                f"{checkpoint.folder} holds a network of {len(backbone.blocks)} layers: Depth Anything 3 has "
                f"{' or '.join(map(str, _TAKEN))}"
            )
        network: Any = DepthAndSky(backbone, DptHead(len(backbone.norm.weight), levels, 2 * width, last))
    load_strictly(network, weights, checkpoint.folder)
    network.eval().requires_grad_(False).to(placement.device, placement.dtype)
    if placement.device.type != "mps":
        network.to(memory_format=torch.channels_last)
    if placement.is_half:  # depth would come in steps
        for name in ("output_conv2", "sky_output_conv2"):
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
        tokens = backbone(pixels, _TAKEN[len(backbone.blocks)])
        found: tuple[Tensor, Tensor] = self.head([each[:, 1:].mT for each in tokens], pixels.shape[2:])
        return found


class DptHead(nn.Module):
    """DPT: features of four layers -> depth and sky. Ranftl et al., Vision Transformers for Dense Prediction, 2021.

    taken: channels of the features. levels: of each of the four levels. width: of what these are fused to.
    last: before the last layers.
    """

    def __init__(self, taken: int, levels: Sequence[int], width: int, last: int) -> None:
        super().__init__()
        self.projects = nn.ModuleList(nn.Conv2d(taken, level, 1) for level in levels)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(levels[0], levels[0], 4, 4),
                nn.ConvTranspose2d(levels[1], levels[1], 2, 2),
                nn.Identity(),
                nn.Conv2d(levels[3], levels[3], 3, 2, 1),
            ]
        )
        self.scratch: Any = nn.ModuleDict(
            {
                f"layer{n}_rn": nn.Conv2d(level, width, 3, 1, 1, bias=False)
                for n, level in enumerate(levels, 1)
            }
        )
        self.scratch.update({f"refinenet{n}": _Fusion(width, is_last=n == 4) for n in range(1, 5)})
        self.scratch["output_conv1"] = nn.Conv2d(width, width // 2, 3, 1, 1)
        for name in ("output_conv2", "sky_output_conv2"):
            layers = nn.Conv2d(width // 2, last, 3, 1, 1), nn.ReLU(), nn.Conv2d(last, 1, 1)
            self.scratch[name] = nn.Sequential(*layers)

    def forward(self, features: Sequence[Tensor], size: torch.Size) -> tuple[Tensor, Tensor]:
        parts, grid = self.scratch, [side // PATCH for side in size]
        levels = []
        for n, (feature, project, resize) in enumerate(
            zip(features, self.projects, self.resize_layers, strict=True), 1
        ):
            feature = feature.reshape(*feature.shape[:2], *grid)
            levels.append(parts[f"layer{n}_rn"](resize(project(feature))))
        fused = levels[3]
        for n in (4, 3, 2, 1):
            finer = levels[n - 2].shape[2:] if n > 1 else [2 * side for side in levels[0].shape[2:]]
            fused = parts[f"refinenet{n}"](fused, levels[n - 1], finer)
        fused = _stretch(parts["output_conv1"](fused), size)
        return parts["output_conv2"](fused).exp()[:, 0], relu(parts["sky_output_conv2"](fused))[:, 0]


class _Fusion(nn.Module):
    """What coarser levels gave, and this one's features, at the next one's size. The last has no coarser one."""

    def __init__(self, width: int, *, is_last: bool) -> None:
        super().__init__()
        self.resConfUnit1 = None if is_last else _Residual(width)
        self.resConfUnit2 = _Residual(width)
        self.out_conv = nn.Conv2d(width, width, 1)

    def forward(self, coarser: Tensor, level: Tensor, size: Sequence[int]) -> Tensor:
        if self.resConfUnit1 is not None:
            level = coarser + self.resConfUnit1(level)
        fused: Tensor = self.out_conv(_stretch(self.resConfUnit2(level), size))
        return fused


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, 1, 1) for _ in range(2))

    def forward(self, values: Tensor) -> Tensor:
        found: Tensor = values + self.conv2(relu(self.conv1(relu(values))))
        return found


def _stretch(values: Tensor, size: Sequence[int]) -> Tensor:
    return interpolate(values, tuple(size), mode="bilinear", align_corners=True)
