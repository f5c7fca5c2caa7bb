"""Depth Pro: metric depth from one image, with the focal length that is known or the one it estimates.

Bochkovskii et al., Depth Pro: Sharp Monocular Metric Depth in Less Than a Second, ICLR 2025. What the network
gives, and how it becomes metres: `canonical_depth`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import DepthProForDepthEstimation
from transformers.models.depth_pro.modeling_depth_pro import DepthProFovModel, DepthProPreTrainedModel

from cortexia_video.models.canonical_depth import CANONICAL_INVERSE_DEPTH, to_metres
from cortexia_video.models.onnx.session import Ports
from cortexia_video.models.preprocessing import SIGNED, Preprocessing, read_preprocessing
from cortexia_video.models.protocol import Prediction
from cortexia_video.models.torch.checkpoint import Checkpoint
from cortexia_video.models.torch.device import Placement
from cortexia_video.models.torch.model import TorchModel, keep_in_float32
from cortexia_video.models.torch.transformers_loader import load_network

# Its encoder cuts images into patches and joins them again by the number of images, as a constant.
_DEPTH_PORTS = Ports(("pixels",), ("inverse_depth", "features"), one_by_one=True)
_FOV_PORTS = Ports(("pixels", "features"), ("fov_deg",), one_by_one=True)


class DepthPro(TorchModel):
    """Depth Pro as a `CameraModel`.

    The encoder for the field of view, a third of the weights, is read when the first image without a focal
    length comes; where all have one it never is.
    """

    def __init__(self, *, name: str, checkpoint: Checkpoint, placement: Placement) -> None:
        self._fov_networks: dict[Placement, nn.Module] = {}
        # one square that the network was made for: its patches at the smallest of its scales
        side = round(checkpoint.config["patch_size"] / min(checkpoint.config["scaled_images_ratios"]))
        mean, std = SIGNED
        published = Preprocessing((side, side), side, "sampled", mean, std, scaling="exact")

        def load(placement: Placement) -> nn.Module:
            network = load_network(checkpoint, placement, DepthProForDepthEstimation, use_fov_model=False)
            if placement.is_half:
                keep_in_float32(network.head.layers[-2])
            return _DepthNetwork(network)

        super().__init__(
            name=name,
            kind="metric",
            checkpoint=checkpoint,
            preprocessing=read_preprocessing(published, checkpoint.preprocessor),
            placement=placement,
            ports=_DEPTH_PORTS,
            load=load,
        )

    def infer(  # type: ignore[override]
        self, batch: NDArray[Any], *, estimate_fov: bool = False
    ) -> NDArray[np.float32] | Prediction:
        """Run the network on images (B, s, s, 3); return canonical inverse depth, float32 (B, s, s)."""
        return self._predict(self._network, self._placement, batch, estimate_fov)

    def _infer_float32(  # type: ignore[override]
        self, batch: NDArray[Any], *, estimate_fov: bool = False
    ) -> NDArray[np.float32] | Prediction:
        return self._predict(self._get_in_float32(), self._placement.in_float32(), batch, estimate_fov)

    def to_depth(self, values: NDArray[np.float32], fov_deg: float) -> NDArray[np.float32]:
        """Turn canonical inverse depth, float32 (H, W), into metres, in its place; 0.1 mm to 10 km."""
        return to_metres(values, fov_deg)

    def _predict(
        self, network: nn.Module, placement: Placement, batch: NDArray[Any], estimate_fov: bool
    ) -> NDArray[np.float32] | Prediction:
        fov_network = self._get_fov_network(placement) if estimate_fov else None
        with placement.running():
            pixels = self.to_input(batch, placement)
            inverse_depth, features = network(pixels)
            if fov_network is None:
                return placement.to_host(inverse_depth)
            fov_deg = fov_network(pixels, features)
            return Prediction(placement.to_host(inverse_depth), placement.to_host(fov_deg))

    def _make_exportable(self) -> tuple[nn.Module, Ports, str | None]:
        """Join depth and field of view, where it is estimated, in one network."""
        outputs: tuple[str, ...] = ("inverse_depth",)
        network: nn.Module = _DepthAlone(self._network)
        if self.estimates_fov:
            outputs = ("inverse_depth", "fov_deg")
            network = _DepthAndFov(self._network, self._get_fov_network(self._placement))
        return network, Ports(("pixels",), outputs, one_by_one=True), CANONICAL_INVERSE_DEPTH

    @property
    def estimates_fov(self) -> bool:
        """Whether the checkpoint holds the part that does."""
        return bool(self._checkpoint.config.get("use_fov_model"))

    def _get_fov_network(self, placement: Placement) -> nn.Module:
        if placement not in self._fov_networks:
            network = load_network(self._checkpoint, placement, _FovNetwork)
            if placement.is_half:
                keep_in_float32(network.fov_model.head.layers[-1])
            self._fov_networks[placement] = placement.make_ready(network, _FOV_PORTS)
        return self._fov_networks[placement]


class _DepthNetwork(nn.Module):
    """Pixels (B, 3, s, s) -> canonical inverse depth (B, s, s), and features that the field of view needs."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.encoder, self.fusion, self.head = network.depth_pro, network.fusion_stage, network.head

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        features = self.encoder(pixel_values=pixels, return_dict=True).features
        inverse_depth: Tensor = self.head(self.fusion(features)[-1])
        return inverse_depth, features[0]


class _FovNetwork(DepthProPreTrainedModel):  # type: ignore[misc]
    """The part of Depth Pro that estimates the field of view, (B,) degrees, alone."""

    base_model_prefix = ""
    _keys_to_ignore_on_load_unexpected = [r"^depth_pro\.", r"^fusion_stage\.", r"^head\."]  # noqa: RUF012

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.fov_model = DepthProFovModel(config)
        self.post_init()

    def forward(self, pixels: Tensor, features: Tensor) -> Tensor:
        fov_deg: Tensor = self.fov_model(pixel_values=pixels, global_features=features)
        return fov_deg


class _DepthAlone(nn.Module):
    """Pixels (B, 3, s, s) -> canonical inverse depth (B, s, s)."""

    def __init__(self, depth: nn.Module) -> None:
        super().__init__()
        self.depth = depth

    def forward(self, pixels: Tensor) -> Tensor:
        inverse_depth: Tensor = self.depth(pixels)[0]
        return inverse_depth


class _DepthAndFov(nn.Module):
    """Pixels (B, 3, s, s) -> canonical inverse depth (B, s, s) and field of view (B,), degrees."""

    def __init__(self, depth: nn.Module, fov: nn.Module) -> None:
        super().__init__()
        self.depth, self.fov = depth, fov

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        inverse_depth, features = self.depth(pixels)
        return inverse_depth, self.fov(pixels, features)
