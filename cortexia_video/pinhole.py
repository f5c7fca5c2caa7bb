"""`Pinhole`: from pixels with depth to points in space, and back.

Points are in the camera's axes, as OpenCV has them: x to the right, y down, z forward along the optical axis,
in the unit of the depth. Pixels are counted from the outer corner of the first one: the centre of pixel
(row v, column u) is at (u + 0.5, v + 0.5), the middle of the image at (width / 2, height / 2). Where a
calibration puts the centre of the first pixel at (0, 0), as OpenCV's does, add 0.5 to its cx and cy.

    x = (u + 0.5 - cx) / fx * z        y = (v + 0.5 - cy) / fy * z

Source: Hartley and Zisserman, Multiple View Geometry, 2nd edition, section 6.1, without skew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cortexia_video.errors import InputError

# Wider than the widest rectilinear lens (8 mm: 140 deg), narrower than the longest zoom (3000 mm: 0.83 deg).
MAX_DIAGONAL_FOV_DEG = 170.0
MIN_DIAGONAL_FOV_DEG = 0.5
# Of the ratio of sides. Cameras align them to 8 or 16 pixels; 35 mm equivalents, whole mm, are no better.
_SAME_SHAPE = 0.01


@dataclass(frozen=True, slots=True)
class Pinhole:
    """A camera without distortion: the middle of pixel (0, 0) is at (0.5, 0.5).

    Attributes:
        fx: Focal length across, pixels.
        fy: Focal length down, pixels.
        cx: Where the optical axis meets the image, pixels from the left.
        cy: The same, pixels from the top.
        width: Of the image, pixels.
        height: Of the image, pixels.

    Raises:
        InputError: The numbers are no camera.

    Example:
        >>> cx.Pinhole.centred(500, width=640, height=480).cx
        320.0
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    def __post_init__(self) -> None:
        numbers = (self.fx, self.fy, self.cx, self.cy)
        if not all(map(math.isfinite, numbers)) or min(self.fx, self.fy, self.width, self.height) <= 0:
            raise InputError(f"{self} is no camera: focal lengths and sizes are in pixels, above 0")

    @classmethod
    def centred(cls, f_px: float, width: int, height: int) -> Self:
        """Return the camera with square pixels whose axis meets the middle of the image.

        Args:
            f_px: Focal length, pixels.
            width: Of the image, pixels.
            height: Of the image, pixels.

        Returns:
            The camera.
        """
        return cls(f_px, f_px, width / 2, height / 2, width, height)

    def resized(self, width: int, height: int) -> Self:
        """Return the camera of the same image, resampled to another size, in any shape.

        Args:
            width: Of the resampled image, pixels.
            height: Of the resampled image, pixels.

        Returns:
            The camera.
        """
        across, down = width / self.width, height / self.height
        return type(self)(self.fx * across, self.fy * down, self.cx * across, self.cy * down, width, height)

    def find_rays(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return x / z of every column, float32 (width,), and y / z of every row, float32 (height, 1)."""
        across = (np.arange(self.width) + (0.5 - self.cx)) / self.fx
        down = (np.arange(self.height) + (0.5 - self.cy)) / self.fy
        return across.astype(np.float32), down.astype(np.float32)[:, None]


def unproject(depth: NDArray[np.float32], camera: Pinhole) -> NDArray[np.float32]:
    """Return the points of depth, float32 (H, W) along the axis, as float32 (H, W, 3): x, y, z; unknown is NaN.

    Raises `InputError` where the camera is for an image of another size.
    """
    require_size(depth, camera)
    across, down = camera.find_rays()
    points = np.empty((*depth.shape, 3), np.float32)
    np.multiply(depth, across, out=points[..., 0])
    np.multiply(depth, down, out=points[..., 1])
    points[..., 2] = depth
    return points


def project(points: NDArray[np.floating], camera: Pinhole) -> NDArray[np.float64]:
    """Return where points (..., 3) before the camera are seen: float64 (..., 2), pixels across and down."""
    x, y, z = np.moveaxis(points.astype(np.float64), -1, 0)
    return np.stack([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy], axis=-1)


def require_size(depth: NDArray[np.float32], camera: Pinhole) -> None:
    """Raise `InputError` where depth (H, W) is not as large as the camera's image."""
    if depth.shape != (camera.height, camera.width):
        raise InputError(
            f"depth of {depth.shape[1]} x {depth.shape[0]} pixels and a camera for {camera.width} x "
            f"{camera.height}: use camera.resized({depth.shape[1]}, {depth.shape[0]})"
        )


def to_fov_deg(f_px: float, width: int) -> float:
    """Return the horizontal field of view, degrees, of an image this wide with this focal length in pixels."""
    return math.degrees(2.0 * math.atan2(width, 2.0 * f_px))


def to_f_px(fov_deg: float, width: int) -> float:
    """Return the focal length in pixels of an image this wide with this horizontal field of view, degrees."""
    return width / (2.0 * math.tan(math.radians(fov_deg) / 2.0))


def find_resize_factor(size: tuple[int, int], original: tuple[float, float]) -> float | None:
    """Return long side of `size` over long side of `original`; None where their shapes differ: after a crop.

    Both are (width, height); turned by 90 degrees is the same shape. Sides are whole, so each may be off by
    a pixel, and the ratio of sides by 1 %.
    """
    short, long = sorted(size)
    original_short, original_long = sorted(original)
    same = has_same_shape((short, long), (original_short, original_long))
    return long / original_long if same else None


def has_same_shape(size: tuple[int, int], original: tuple[float, float]) -> bool:
    """Return whether an image may be another, resized and not turned: sides may be a pixel off, or 1 %."""
    difference = abs(size[1] * original[0] - size[0] * original[1])
    return difference <= max(sum(original), _SAME_SHAPE * size[0] * original[1])


def is_plausible(f_px: float, width: int, height: int) -> bool:
    """Return whether a lens with this focal length can exist: a diagonal field of view of 0.5 to 170 degrees."""
    fov_deg = math.degrees(2.0 * math.atan2(math.hypot(width, height), 2.0 * f_px))
    return MIN_DIAGONAL_FOV_DEG <= fov_deg <= MAX_DIAGONAL_FOV_DEG
