"""DPT (MiDaS 3), from transformers, for images of any shape.

Ranftl et al., Vision Transformers for Dense Prediction, ICCV 2021. The authors' code keeps the aspect ratio,
with sides that are multiples of 32. In transformers the network without a backbone of its own takes squares
alone: its neck supposes them, and the hybrid's embeddings compare sizes. Nothing in the network needs that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


class AnyShape(nn.Module):
    """Tell a DPT network's neck how many patches are in a column and a row."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self._grid: tuple[int, int] = (0, 0)

        def give_grid(neck: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
            return (arguments[0], *self._grid)

        def let_positions_stretch(
            embeddings: nn.Module, arguments: tuple[Any, ...], options: Mapping[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            return arguments, {**options, "interpolate_pos_encoding": True}

        if network.config.backbone_config is None or network.config.is_hybrid:
            network.neck.register_forward_pre_hook(give_grid)
        if network.config.is_hybrid:
            network.dpt.embeddings.register_forward_pre_hook(let_positions_stretch, with_kwargs=True)

    def forward(self, pixel_values: Tensor) -> Any:
        patch = self.network.config.patch_size
        if patch is not None:
            self._grid = (pixel_values.shape[-2] // patch, pixel_values.shape[-1] // patch)
        return self.network(pixel_values=pixel_values)
