"""`TrainedModel`: a network in training as a `DepthModel`, so that it is measured as any other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cortexia_video.depth_map import DepthKind
from cortexia_video.images.resampling import fit_short_side, resize_image


class TrainedModel:
    """A network as `Trainable` has it, in evaluation mode, at a short side of so many pixels."""

    max_batch: int | None = None

    def __init__(
        self, name: str, network: nn.Module, kind: DepthKind, short_side: int, multiple_of: int
    ) -> None:
        self.name = name
        self.kind: DepthKind = kind
        self.weights_digest = name
        self.device = str(next(network.parameters()).device)
        self.settings: Mapping[str, object] = {"input_size": str(short_side)}
        self._network = network
        self._sizes = {"short_side": short_side, "multiple_of": multiple_of}

    def processed_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the nearest size to the image's aspect ratio at the short side."""
        return fit_short_side(height, width, **self._sizes)

    def preprocess(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[Any]:
        """Resize a uint8 (H, W, 3) image to float32 (3, h, w) in [0, 1]."""
        pixels = resize_image(image, *size).astype(np.float32) / 255
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def infer(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Run the network in float32 on (B, 3, h, w); give float32 (B, h, w)."""
        with torch.no_grad():
            values: NDArray[np.float32] = (
                self._network(torch.from_numpy(batch).to(self.device)).float().cpu().numpy()
            )
        return values
