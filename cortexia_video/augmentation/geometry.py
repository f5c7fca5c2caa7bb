"""`Motion`: where a transform took every pixel, and how it turned the camera.

Pixels are counted as in `projection`: the centre of the first is at (0.5, 0.5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cortexia_video.pinhole import Pinhole
from cortexia_video.rgbd_sample import RGBDSample

_SQUARE = 0.01  # fx and fy that differ by more are not told in one number; as for files of intrinsics

Row = tuple[float, float, float]
Matrix = tuple[Row, Row, Row]
UNCHANGED: Matrix = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True, slots=True)
class View:
    """What a transform must know of an image.

    Attributes:
        height: Pixels.
        width: Pixels.
        camera: None where unknown.
    """

    height: int
    width: int
    camera: Pinhole | None = None

    @classmethod
    def of(cls, sample: RGBDSample) -> Self:
        """Return the view of a sample.

        Args:
            sample: Image, depth, mask and camera.

        Returns:
            Its size and camera.
        """
        return cls(*sample.size, sample.camera)

    def __str__(self) -> str:
        return f"{self.width} x {self.height}"


@dataclass(frozen=True, slots=True)
class Motion:
    """What a transform does to a view.

    Attributes:
        source: The view before.
        target: The view after.
        pixels: (3, 3), takes homogeneous pixels of the source to those of the target.
        turn: (3, 3), takes points in the source camera's axes to the target's: a rotation, or where the image
            is mirrored a mirror.
    """

    source: View
    target: View
    pixels: Matrix = UNCHANGED
    turn: Matrix = UNCHANGED

    def move(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Take points of the source to the target.

        Args:
            points: (..., 2), pixels across and down.

        Returns:
            float64 (..., 2), pixels across and down; NaN for what would be behind the camera.
        """
        pixels = np.array(self.pixels)
        x, y, w = np.moveaxis(points @ pixels[:, :2].T + pixels[:, 2], -1, 0)
        w = np.where(w > 0, w, np.nan)
        return np.stack([x / w, y / w], axis=-1)

    def inverse(self) -> Motion:
        """Return the way back."""
        return Motion(
            self.target,
            self.source,
            make_matrix(np.linalg.inv(self.pixels)),
            make_matrix(np.array(self.turn).T),
        )

    def then(self, after: Motion) -> Motion:
        """Return the motion of this one and, after it, another.

        Args:
            after: Its source is this one's target.

        Returns:
            From this source to that target.
        """
        pixels, turn = np.matmul([after.pixels, after.turn], [self.pixels, self.turn])
        return Motion(self.source, after.target, make_matrix(pixels), make_matrix(turn))

    def scale_f_px(self, f_px: float | None) -> float | None:
        """Return what becomes of a focal length.

        Args:
            f_px: In pixels of the source, or None.

        Returns:
            In pixels of the target; None where none was known, or pixels are no longer square.
        """
        if f_px is None:
            return None
        before, after = self.source.camera, self.target.camera
        if before and after:
            zoom = after.fx / before.fx, after.fy / before.fy
        else:
            (a, b, _), (c, d, _), _ = self.pixels
            zoom = math.hypot(a, c), math.hypot(b, d)
        across, down = zoom
        return f_px * (across + down) / 2 if abs(across / down - 1) <= _SQUARE else None


def make_matrix(rows: NDArray[np.floating]) -> Matrix:
    """Return a matrix (3, 3) as numbers that cannot be changed."""
    first, second, third = rows.tolist()
    return tuple(first), tuple(second), tuple(third)
