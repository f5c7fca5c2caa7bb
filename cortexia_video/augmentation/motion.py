"""`Motion`: where a transform took every pixel, and how it turned the camera.

Pixels are counted as in `projection`: the centre of the first is at (0.5, 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cortexia_video.projection import Pinhole
from cortexia_video.rgbd_sample import RGBDSample

_SQUARE = 0.01  # fx and fy that differ by more are not told in one number; as for files of intrinsics


@dataclass(frozen=True, slots=True)
class View:
    """What a transform must know of a picture: its size in pixels and its camera, None where unknown."""

    height: int
    width: int
    camera: Pinhole | None = None

    @classmethod
    def of(cls, sample: RGBDSample) -> Self:
        return cls(*sample.size, sample.camera)

    def __str__(self) -> str:
        return f"{self.width} x {self.height}"


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """What a transform does to a view.

    source, target: the view before and after.
    pixels: float64 (3, 3), takes homogeneous pixels of the source to those of the target.
    turn: float64 (3, 3), orthogonal, takes points in the source camera's axes to the target's; for a mirrored
      picture it mirrors them.
    """

    source: View
    target: View
    pixels: NDArray[np.float64]
    turn: NDArray[np.float64] = field(default_factory=lambda: np.eye(3))

    def move(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Take points (..., 2), pixels across and down, to the target: float64, NaN for those behind it."""
        x, y, w = np.moveaxis(points @ self.pixels[:, :2].T + self.pixels[:, 2], -1, 0)
        w = np.where(w > 0, w, np.nan)
        return np.stack([x / w, y / w], axis=-1)

    def inverse(self) -> Motion:
        return Motion(self.target, self.source, np.linalg.inv(self.pixels).astype(np.float64), self.turn.T)

    def then(self, after: Motion) -> Motion:
        """Give the motion of this one and, after it, another."""
        return Motion(self.source, after.target, after.pixels @ self.pixels, after.turn @ self.turn)

    def scale_f_px(self, f_px: float | None) -> float | None:
        """Give what becomes of a focal length in pixels; None where pixels are no longer square."""
        across, down = self._find_zoom()
        if f_px is None or abs(across / down - 1) > _SQUARE:
            return None
        return f_px * (across + down) / 2

    def _find_zoom(self) -> tuple[float, float]:
        before, after = self.source.camera, self.target.camera
        if before and after:
            return after.fx / before.fx, after.fy / before.fy
        (a, b, _), (c, d, _) = self.pixels[:2].tolist()
        return float(np.hypot(a, c)), float(np.hypot(b, d))
