"""`DptHead`: DPT as Depth Anything has it, by the names that its authors' weights have.

Ranftl et al., Vision Transformers for Dense Prediction, ICCV 2021.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from cortexia_video.errors import ModelLoadError
from cortexia_video.models.torch.dinov2 import PATCH, DinoV2, shape_dinov2

DEPTH = "output_conv2"
TAKEN = {12: (2, 5, 8, 11), 24: (4, 11, 17, 23)}  # the layers that it takes, by how many there are


class DptHead(nn.Module):
    """Features of four layers -> a map for each of `outputs`.

    taken: channels of the features. levels: of each of the four levels. width: of what these are fused to.
    last: before the last layers. keeps_unused: the coarsest level has the weights, too, that nothing runs.
    """

    def __init__(
        self,
        taken: int,
        levels: Sequence[int],
        width: int,
        last: int,
        *,
        outputs: Sequence[str] = (DEPTH,),
        keeps_unused: bool = False,
    ) -> None:
        super().__init__()
        self.outputs = (*outputs,)
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
        self.scratch.update(
            {f"refinenet{n}": _Fusion(width, adds=keeps_unused or n < 4) for n in range(1, 5)}
        )
        self.scratch["output_conv1"] = nn.Conv2d(width, width // 2, 3, 1, 1)
        for name in self.outputs:
            layers = nn.Conv2d(width // 2, last, 3, 1, 1), nn.ReLU(), nn.Conv2d(last, 1, 1)
            self.scratch[name] = nn.Sequential(*layers)

    def forward(self, features: Sequence[Tensor], size: torch.Size) -> tuple[Tensor, ...]:
        """features: (B, taken, rows x columns) of the transformer. Returns maps (B, 1, *size)."""
        levels = self.spread(features, size)
        fused = self.fuse(4, None, levels)
        for n in (3, 2, 1):
            fused = self.fuse(n, fused, levels)
        return self.finish(fused, size)

    def spread(self, features: Sequence[Tensor], size: torch.Size) -> list[Tensor]:
        """Return the four levels, each half as fine as the one before."""
        grid = [side // PATCH for side in size]
        return [
            resize(project(feature.reshape(*feature.shape[:2], *grid)))
            for feature, project, resize in zip(features, self.projects, self.resize_layers, strict=True)
        ]

    def fuse(self, n: int, coarser: Tensor | None, levels: Sequence[Tensor]) -> Tensor:
        """Add level n, of 4 to 1, to what coarser levels gave; as large as the next finer one."""
        finer = levels[n - 2].shape[2:] if n > 1 else [2 * side for side in levels[0].shape[2:]]
        level = self.scratch[f"layer{n}_rn"](levels[n - 1])
        fused: Tensor = self.scratch[f"refinenet{n}"](coarser, level, finer)
        return fused

    def finish(self, fused: Tensor, size: Sequence[int]) -> tuple[Tensor, ...]:
        """Return the maps that the outputs make of all levels."""
        fused = _stretch(self.scratch["output_conv1"](fused), size)
        return tuple(self.scratch[name](fused) for name in self.outputs)


def shape_network(
    weights: Mapping[str, Tensor], prefix: str, source: Path, name: str, **head: Any
) -> tuple[DinoV2, DptHead]:
    """Return transformer and head, without memory for their weights, that weights of these names are of.

    prefix: what comes before the transformer's. name: of the network, for people. head: options of `DptHead`.
    Raises `ModelLoadError`.
    """
    try:
        levels = [len(weights[f"head.projects.{level}.bias"]) for level in range(4)]
        half, last = (len(weights[f"head.scratch.{each}.bias"]) for each in ("output_conv1", f"{DEPTH}.0"))
    except KeyError as error:
        raise ModelLoadError(f"{source} holds no {name}: it lacks {error}") from error
    backbone = shape_dinov2(weights, prefix, source)
    if len(backbone.blocks) not in TAKEN:
        raise ModelLoadError(
            f"{source} holds a network of {len(backbone.blocks)} layers: {name} has {' or '.join(map(str, TAKEN))}"
        )
    with torch.device("meta"):
        return backbone, DptHead(len(backbone.norm.weight), levels, 2 * half, last, **head)


class _Fusion(nn.Module):
    """What coarser levels gave, where there are any, and this one's features, at the next one's size."""

    def __init__(self, width: int, *, adds: bool) -> None:
        super().__init__()
        self.resConfUnit1 = _Residual(width) if adds else None
        self.resConfUnit2 = _Residual(width)
        self.out_conv = nn.Conv2d(width, width, 1)

    def forward(self, coarser: Tensor | None, level: Tensor, size: Sequence[int]) -> Tensor:
        if coarser is not None and self.resConfUnit1 is not None:
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
