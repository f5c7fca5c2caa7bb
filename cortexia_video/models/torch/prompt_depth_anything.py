"""Prompt Depth Anything: a sensor's depth, coarse or with holes, completed by what an image shows.

Lin et al., Prompting Depth Anything for 4K Resolution Accurate Metric Depth Estimation, CVPR 2025. The network sees
the sensor's depth as shares of its range, 0 the nearest and 1 the farthest, and gives depth as such shares.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from cortexia_video.errors import ModelError, ModelLoadError
from cortexia_video.frame import Frame
from cortexia_video.geometry.sparse_map import fill_holes, shrink_sparse
from cortexia_video.images.resampling import pick_points
from cortexia_video.models.onnx.session import Ports
from cortexia_video.models.preprocessing import Preprocessing
from cortexia_video.models.torch.checkpoint import Checkpoint
from cortexia_video.models.torch.device import Placement
from cortexia_video.models.torch.model import TorchModel

_PATCH, _READ = 14, 4  # pixels of a patch, and how often the finest layer that takes a prompt reads it in one


class PromptDepthAnything(TorchModel):
    """Prompt Depth Anything as a `DepthModel` whose frames have sparse depth.

    A map without holes goes in as it is, as with the authors' code and transformers; one finer than the network's
    input by its pixels at even distances. One with holes is brought to what the network reads of it at most, and
    filled (`geometry.sparse_map`).
    """

    takes_sparse = True

    def __init__(
        self,
        *,
        name: str,
        checkpoint: Checkpoint,
        preprocessing: Preprocessing,
        placement: Placement,
        load: Callable[[Placement], nn.Module],
    ) -> None:
        if preprocessing.pad_to > 1:
            raise ModelLoadError(f"{checkpoint.folder} pads images (do_pad), and sparse depth has no padding")
        super().__init__(
            name=name,
            kind="metric",
            checkpoint=checkpoint,
            preprocessing=preprocessing,
            placement=placement,
            ports=Ports(("pixels", "prompt"), ("depth",)),
            load=lambda placement: _ByShares(load(placement)),
        )

    def preprocess(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[Any]:
        """Refuse an image alone."""
        raise ModelError(
            f"{self.name} completes a sensor's depth, and there is none of this image (`sparse`)"
        )

    def preprocess_frame(self, frame: Frame, size: tuple[int, int]) -> NDArray[Any]:
        """Resample a frame's image; put its sparse depth beside it, as shares of its range, which is in metres.

        One element with the fields `pixels` (h, w, 3); `prompt`, float32 (h', w') in 0..1; `nearest` and `farthest`.
        """
        if frame.sparse is None:
            return self.preprocess(frame.image, size)
        prompt = self._fit(frame.sparse, size)
        nearest, farthest = prompt.min(), prompt.max()
        if nearest == farthest:
            raise ModelError(
                f"its sparse depth has one distance, {nearest:g} m: this network needs a nearer and a farther one"
            )
        pixels = super().preprocess(frame.image, size)
        fields = [("pixels", pixels.dtype, pixels.shape), ("prompt", np.float32, prompt.shape)]
        packed = np.empty(1, np.dtype([*fields, ("nearest", np.float32), ("farthest", np.float32)]))
        packed["pixels"], packed["nearest"], packed["farthest"] = pixels, nearest, farthest
        packed["prompt"] = (prompt - nearest) / (farthest - nearest)
        return packed

    def _fit(self, sparse: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
        with np.errstate(invalid="ignore"):
            known = np.isfinite(sparse) & (sparse > 0)
        if known.all():
            return pick_points(sparse, *map(min, sparse.shape, size))
        if not known.any():
            raise ModelError("its sparse depth has no point in the image with a distance above 0")
        read = (side * _READ // _PATCH for side in size)
        return fill_holes(shrink_sparse(np.where(known, sparse, np.float32(np.nan)), *read))

    def _run(
        self, network: Callable[..., Tensor], placement: Placement, batch: NDArray[Any]
    ) -> NDArray[np.float32]:
        prompt = placement.to_device(batch["prompt"][:, 0])
        shares = super()._run(lambda pixels: network(pixels, prompt), placement, batch["pixels"][:, 0])
        nearest, farthest = (batch[name][:, :, None] for name in ("nearest", "farthest"))
        return shares * (farthest - nearest) + nearest

    def _make_exportable(self) -> tuple[nn.Module, Ports, str | None]:
        raise ModelLoadError(
            f"{self.name} takes sparse depth beside an image, and files of networks here take images alone: it "
            "cannot be exported"
        )


class _ByShares(nn.Module):
    """Pixels (B, 3, H, W) and a sensor's depth (B, h, w) in shares of its range -> depth (B, H, W) in such shares.

    The network itself takes the range out and puts it in again: of shares, which have 0 and 1 in them, it changes
    nothing, and metres need not pass through half precision.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor, prompt: Tensor) -> Tensor:
        given = prompt[:, None].to(pixels.dtype)
        depth: Tensor = self.network(pixel_values=pixels, prompt_depth=given).predicted_depth
        return depth
