"""COLMAP's camera models: where points are seen through a lens that distorts, and the rays back.

Pixels are counted as in `pinhole`: the image's outer corner is (0, 0). Sources: colmap.github.io, "Camera
Models"; OpenCV, "Camera Calibration" and "Fisheye camera model"; Devernay and Faugeras, "Straight lines have to be
straight", 2001 (FOV); Weng et al., "Camera calibration with distortion models and accuracy evaluation", 1992 (thin
prism); Khomutenko, Garcia and Martinet, "An enhanced unified camera model", 2016 (EUCM); Project Aria, "Camera
Intrinsic Models", FisheyeRadTanThinPrism.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cortexia_video.errors import InputError

Floats = NDArray[np.float64]
Distort = Callable[[Floats, Floats, tuple[float, ...]], tuple[Floats, Floats]]

_STEPS = 50  # of a ray's fixed point
_CLOSE = 1e-10
_AHEAD = 1e-9  # depth from which a point is before the camera


def _spread(u: Floats, v: Floats, k: tuple[float, ...]) -> tuple[Floats, Floats]:
    """Scale by a polynomial of the squared radius: radial distortion."""
    square = u * u + v * v
    factor = 1 + square * np.polynomial.polynomial.polyval(square, k)
    return u * factor, v * factor


def _brown(u: Floats, v: Floats, k: tuple[float, ...]) -> tuple[Floats, Floats]:
    """Distort radially and tangentially: k1, k2, p1, p2, and of a rational model k3, k4, k5, k6."""
    k1, k2, p1, p2, k3, k4, k5, k6 = (*k, *(0.0,) * (8 - len(k)))
    square = u * u + v * v
    polynomial = np.polynomial.polynomial.polyval
    factor = polynomial(square, (1, k1, k2, k3)) / polynomial(square, (1, k4, k5, k6))
    across = u * factor + 2 * p1 * u * v + p2 * (square + 2 * u * u)
    return across, v * factor + 2 * p2 * u * v + p1 * (square + 2 * v * v)


def _thin_prism(u: Floats, v: Floats, k: tuple[float, ...]) -> tuple[Floats, Floats]:
    k1, k2, p1, p2, k3, k4, sx1, sy1 = k
    square = u * u + v * v
    across, down = _spread(u, v, (k1, k2, k3, k4))
    across = across + 2 * p1 * u * v + p2 * (square + 2 * u * u) + sx1 * square
    return across, down + 2 * p2 * u * v + p1 * (square + 2 * v * v) + sy1 * square


def _tangential_prism(u: Floats, v: Floats, k: tuple[float, ...]) -> tuple[Floats, Floats]:
    """Distort radially with six terms; then tangentially and by a thin prism with two terms a side (Project Aria)."""
    p1, p2, s1, s2, s3, s4 = k[6:]
    u, v = _spread(u, v, k[:6])
    square, along = u * u + v * v, 2 * (p1 * u + p2 * v)
    across = u * (1 + along) + square * (p1 + s1 + s2 * square)
    return across, v * (1 + along) + square * (p2 + s3 + s4 * square)


def _unify(u: Floats, v: Floats, k: tuple[float, ...]) -> tuple[Floats, Floats]:
    alpha, beta = k
    factor = 1 / (alpha * np.sqrt(1 + beta * (u * u + v * v)) + 1 - alpha)
    return u * factor, v * factor


def _field_of_view(u: Floats, v: Floats, k: tuple[float, ...]) -> tuple[Floats, Floats]:
    omega, radius = k[0], np.hypot(u, v)
    if abs(omega) < 1e-6:
        return u, v
    slope = 2 * math.tan(omega / 2)
    far = np.arctan(radius * slope) / omega
    factor = np.divide(far, radius, out=np.full_like(radius, slope / omega), where=radius > 1e-9)
    return u * factor, v * factor


def _division(u: Floats, v: Floats, k: tuple[float, ...]) -> tuple[Floats, Floats]:
    """Solve the division model, undistorted = distorted / (1 + k distorted^2), for the distorted radius."""
    square = u * u + v * v
    factor = 2 / (1 + np.sqrt(np.maximum(0, 1 - 4 * k[0] * square)))
    return u * factor, v * factor


def _keep(u: Floats, v: Floats, k: tuple[float, ...]) -> tuple[Floats, Floats]:
    return u, v


@dataclass(frozen=True, slots=True)
class _Lens:
    """number: in COLMAP's binary files. focal: how many focal lengths come first, then cx and cy. count: of all
    parameters. distort: of x / z and y / z. fisheye: it is of the ray's angle."""

    number: int
    focal: int
    count: int
    distort: Distort
    fisheye: bool = False


LENSES: dict[str, _Lens] = {
    "SIMPLE_PINHOLE": _Lens(0, 1, 3, _keep),
    "PINHOLE": _Lens(1, 2, 4, _keep),
    "SIMPLE_RADIAL": _Lens(2, 1, 4, _spread),
    "RADIAL": _Lens(3, 1, 5, _spread),
    "OPENCV": _Lens(4, 2, 8, _brown),
    "OPENCV_FISHEYE": _Lens(5, 2, 8, _spread, fisheye=True),
    "FULL_OPENCV": _Lens(6, 2, 12, _brown),
    "FOV": _Lens(7, 2, 5, _field_of_view),
    "SIMPLE_RADIAL_FISHEYE": _Lens(8, 1, 4, _spread, fisheye=True),
    "RADIAL_FISHEYE": _Lens(9, 1, 5, _spread, fisheye=True),
    "THIN_PRISM_FISHEYE": _Lens(10, 2, 12, _thin_prism, fisheye=True),
    "RAD_TAN_THIN_PRISM_FISHEYE": _Lens(11, 2, 16, _tangential_prism, fisheye=True),
    "SIMPLE_DIVISION": _Lens(12, 1, 4, _division),
    "DIVISION": _Lens(13, 2, 5, _division),
    "SIMPLE_FISHEYE": _Lens(14, 1, 3, _keep, fisheye=True),
    "FISHEYE": _Lens(15, 2, 4, _keep, fisheye=True),
    "EUCM": _Lens(16, 2, 6, _unify),
}


@dataclass(frozen=True, slots=True)
class LensCamera:
    """A camera with a lens of one of COLMAP's models.

    Attributes:
        model: A name of `LENSES`.
        width: Of the image, pixels.
        height: Of the image, pixels.
        params: Focal lengths, cx, cy, distortion, in COLMAP's order.

    Raises:
        InputError: There is no such model, or the numbers are no camera.
    """

    model: str
    width: int
    height: int
    params: tuple[float, ...]

    def __post_init__(self) -> None:
        lens = LENSES.get(self.model)
        if lens is None:
            raise InputError(f"unknown camera model {self.model!r}: undistort the images, for a PINHOLE")
        focal = self.params[: lens.focal]
        sound = len(self.params) == lens.count and all(map(math.isfinite, self.params)) and min(focal) > 0
        if not sound or min(self.width, self.height) < 1:
            raise InputError(f"{self.width} x {self.height} and {self.params} are no camera of {self.model}")

    @property
    def focal(self) -> tuple[float, float]:
        """Focal lengths across and down, pixels."""
        return self.params[0], self.params[LENSES[self.model].focal - 1]

    @property
    def centre(self) -> tuple[float, float]:
        """Where the optical axis meets the image, pixels."""
        first = LENSES[self.model].focal
        return self.params[first], self.params[first + 1]

    def project(self, points: Floats) -> Floats:
        """Return where points (N, 3) in the camera's axes are seen: (N, 2), pixels; NaN behind the camera."""
        x, y, z = points.T
        with np.errstate(all="ignore"):
            z = np.where(z > _AHEAD, z, np.nan)
            seen = np.stack(self._distort(x / z, y / z), axis=1)
            return seen * self.focal + self.centre

    def find_rays(self, pixels: Floats) -> Floats:
        """Return x / z and y / z of the rays through pixels (N, 2), NaN where none is found: (N, 2)."""
        lens = LENSES[self.model]
        with np.errstate(all="ignore"):
            seen = (pixels - self.centre) / self.focal
            ray = seen.copy()
            if lens.fisheye:
                angle = np.hypot(*seen.T)
                ray *= (np.tan(np.minimum(angle, 1.5)) / np.maximum(angle, _CLOSE))[:, None]
            for _ in range(_STEPS):  # Newton's method, with a numeric Jacobian
                error = np.stack(self._distort(*ray.T), axis=1) - seen
                if not np.nanmax(np.abs(error), initial=0) > _CLOSE:
                    break
                step = 1e-6
                right = (np.stack(self._distort(ray[:, 0] + step, ray[:, 1]), axis=1) - seen - error) / step
                below = (np.stack(self._distort(ray[:, 0], ray[:, 1] + step), axis=1) - seen - error) / step
                area = right[:, 0] * below[:, 1] - below[:, 0] * right[:, 1]
                ray[:, 0] -= (below[:, 1] * error[:, 0] - below[:, 0] * error[:, 1]) / area
                ray[:, 1] -= (right[:, 0] * error[:, 1] - right[:, 1] * error[:, 0]) / area
            ray[~(np.abs(np.stack(self._distort(*ray.T), axis=1) - seen) < 1e-6).all(axis=1)] = np.nan
        return ray

    def _distort(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        lens = LENSES[self.model]
        if lens.fisheye:
            radius = np.hypot(u, v)
            factor = np.divide(np.arctan(radius), radius, out=np.ones_like(radius), where=radius > _CLOSE)
            u, v = u * factor, v * factor
        return lens.distort(u, v, self.params[lens.focal + 2 :])
