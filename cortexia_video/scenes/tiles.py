"""Which solids the rays of a tile of the image may meet: the only pairs that are then computed.

A tile is TILE x TILE neighbouring pixels. Tiles of a batch are numbered scene by scene, row by row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

TILE = 16

_NEAREST_M = 1e-3


@dataclass(frozen=True, slots=True)
class Grid:
    """Tiles that cover images of height x width pixels."""

    height: int
    width: int

    @property
    def rows(self) -> int:
        """Rows of tiles; the last may reach beyond the image."""
        return -(-self.height // TILE)

    @property
    def columns(self) -> int:
        """Columns of tiles."""
        return -(-self.width // TILE)

    @property
    def count(self) -> int:
        """Tiles of one image."""
        return self.rows * self.columns

    def cut(self, images: Tensor) -> Tensor:
        """Cut (B, C, H, W) into tiles (B * count, C, TILE * TILE); beyond the image its border repeats."""
        batch, channels = images.shape[:2]
        beyond = (0, self.columns * TILE - self.width, 0, self.rows * TILE - self.height)
        whole = F.pad(images, beyond, mode="replicate")
        split = whole.reshape(batch, channels, self.rows, TILE, self.columns, TILE)
        return split.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, TILE * TILE)

    def join(self, tiles: Tensor) -> Tensor:
        """Lay tiles (B * count, TILE * TILE) out as images (B, H, W)."""
        split = tiles.view(-1, self.rows, self.columns, TILE, TILE).transpose(2, 3)
        whole = split.reshape(-1, self.rows * TILE, self.columns * TILE)
        return whole[:, : self.height, : self.width].contiguous()


def project_boxes(corners: Tensor, f_px: Tensor, grid: Grid) -> Tensor:
    """Return which tiles of its own image each solid can be seen in: bool (P, rows, columns).

    corners: (P, 8, 3) of a solid's box in camera axes. f_px: (P,) of the camera that looks at it.
    """
    x, y, z = corners.unbind(-1)
    safe_z, f_px = z.clamp_min(_NEAREST_M), f_px[:, None]
    columns = x / safe_z * f_px + grid.width / 2
    rows = -y / safe_z * f_px + grid.height / 2
    crosses, ahead = z.amin(1) < _NEAREST_M, z.amax(1) > _NEAREST_M
    down = _overlaps(rows, grid.rows) | crosses[:, None]
    across = _overlaps(columns, grid.columns) | crosses[:, None]
    return down[:, :, None] & across[:, None] & ahead[:, None, None]


def _overlaps(positions: Tensor, tiles: int) -> Tensor:
    """Return which tiles of a row, (P, tiles), the span of positions (P, 8) in pixels meets."""
    edges = torch.arange(tiles, device=positions.device) * TILE
    low, high = positions.amin(1) - 1, positions.amax(1) + 1
    return (low[:, None] < edges + TILE) & (high[:, None] >= edges)
