"""Flip, crop, resize, zoom: what keeps rows rows and columns columns, and the camera's axis where it was.

Metric depth stays as it is under all of them: a zoom is another focal length, not another distance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from cortexia_video.augmentation.depth_sampling import (
    Sampling,
    interpolate_surfaces,
    require_sampling,
    scatter,
)
from cortexia_video.augmentation.motion import Motion, View
from cortexia_video.augmentation.pixels import cut_pixels, flip_pixels, resize_linear, resize_nearest
from cortexia_video.augmentation.transform import RandomTransform, Seed, Transform, rebuild
from cortexia_video.errors import InputError
from cortexia_video.projection import Pinhole
from cortexia_video.rgbd_sample import RGBDSample

Outside = Literal["refuse", "pad"]


@dataclass(frozen=True, slots=True)
class Flip(Transform):
    """Mirror left and right, or with `axis` "vertical" above and below. Space is mirrored with it."""

    axis: Literal["horizontal", "vertical"] = "horizontal"

    def __post_init__(self) -> None:
        if self.axis not in ("horizontal", "vertical"):
            raise InputError(f"no flip is {self.axis!r}: use horizontal or vertical")

    def __call__(self, sample: RGBDSample, seed: Seed | None = None) -> RGBDSample:
        axis = 1 if self.axis == "horizontal" else 0
        return rebuild(
            sample,
            self.trace(View.of(sample)),
            flip_pixels(sample.frame.image, axis),
            flip_pixels(sample.depth.values, axis),
            None if sample.mask is None else flip_pixels(sample.mask, axis),
        )

    def trace(self, view: View) -> Motion:
        camera = view.camera
        if self.axis == "horizontal":
            pixels = np.array([[-1, 0, view.width], [0, 1, 0], [0, 0, 1.0]])
            camera = camera and replace(camera, cx=view.width - camera.cx)
            return Motion(view, replace(view, camera=camera), pixels, np.diag([-1.0, 1, 1]))
        pixels = np.array([[1, 0, 0], [0, -1, view.height], [0, 0, 1.0]])
        camera = camera and replace(camera, cy=view.height - camera.cy)
        return Motion(view, replace(view, camera=camera), pixels, np.diag([1.0, -1, 1]))


@dataclass(frozen=True, slots=True)
class Crop(Transform):
    """Cut out height x width pixels, the first of them at row `top` and column `left`.

    outside: what is beyond the picture is refused (`InputError`), or with "pad" black, of unknown depth.
    """

    top: int
    left: int
    height: int
    width: int
    outside: Outside = "refuse"

    def __post_init__(self) -> None:
        require_outside(self.outside)
        require_pixels(self.height, self.width)

    def __call__(self, sample: RGBDSample, seed: Seed | None = None) -> RGBDSample:
        motion = self.trace(View.of(sample))
        image, values, mask = self.cut(sample)
        owned = None if mask is None else np.ascontiguousarray(mask)
        return rebuild(sample, motion, np.ascontiguousarray(image), np.ascontiguousarray(values), owned)

    def cut(
        self, sample: RGBDSample
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.bool_] | None]:
        """Give the windows of image, depth and mask: views where nothing is padded."""
        at, size, mask = (self.top, self.left), (self.height, self.width), sample.mask
        return (
            cut_pixels(sample.frame.image, *at, size, 0),
            cut_pixels(sample.depth.values, *at, size, np.nan),
            None if mask is None else cut_pixels(mask, *at, size, False),
        )

    def trace(self, view: View) -> Motion:
        bottom, right = self.top + self.height, self.left + self.width
        outside = min(self.top, self.left) < 0 or bottom > view.height or right > view.width
        if outside and self.outside == "refuse":
            raise InputError(
                f"a crop of {self.width} x {self.height} pixels at column {self.left}, row {self.top} does "
                f'not lie inside a picture of {view}: use a smaller one, or outside="pad"'
            )
        camera = view.camera
        target = View(
            self.height,
            self.width,
            camera
            and Pinhole(
                camera.fx, camera.fy, camera.cx - self.left, camera.cy - self.top, self.width, self.height
            ),
        )
        return Motion(view, target, np.array([[1, 0, -self.left], [0, 1, -self.top], [0, 0, 1.0]]))


@dataclass(frozen=True, slots=True)
class RandomCrop(RandomTransform):
    """Cut out height x width pixels anywhere in the picture.

    outside: where the picture is smaller, refuse it (`InputError`), or with "pad" place it anywhere in the
    crop.
    """

    height: int
    width: int
    outside: Outside = "refuse"

    def draw(self, view: View, rng: Generator) -> Crop:
        rows, columns = view.height - self.height, view.width - self.width
        if min(rows, columns) < 0 and self.outside == "refuse":
            raise InputError(
                f"a crop of {self.width} x {self.height} pixels is larger than a picture of {view}: "
                'use a smaller one, resize first, or outside="pad"'
            )
        top, left = (int(rng.integers(min(spare, 0), max(spare, 0) + 1)) for spare in (rows, columns))
        return Crop(top, left, self.height, self.width, self.outside)


@dataclass(frozen=True, slots=True)
class Resize(Transform):
    """Resample to height x width pixels. depth: how depth is sampled, see `depth_sampling`."""

    height: int
    width: int
    depth: Sampling = "nearest"

    def __post_init__(self) -> None:
        require_pixels(self.height, self.width)
        require_sampling(self.depth)

    def __call__(self, sample: RGBDSample, seed: Seed | None = None) -> RGBDSample:
        whole = Crop(0, 0, *sample.size)
        return _resample(sample, self.trace(View.of(sample)), whole, self.depth)

    def trace(self, view: View) -> Motion:
        camera = view.camera and view.camera.resized(self.width, self.height)
        pixels = np.diag([self.width / view.width, self.height / view.height, 1])
        return Motion(view, View(self.height, self.width, camera), pixels)


@dataclass(frozen=True, slots=True)
class Zoom(Transform):
    """Look closer: 1 / factor of each side (rounded to whole pixels) is enlarged to the size of the picture.

    factor: times the focal length; below 1 the picture shrinks, with black of unknown depth around.
    down, across: where the window is, from 0 (top, left) to 1 (bottom, right).
    depth: how depth is sampled, see `depth_sampling`.
    """

    factor: float
    down: float = 0.5
    across: float = 0.5
    depth: Sampling = "nearest"

    def __post_init__(self) -> None:
        require_sampling(self.depth)
        if not (0 < self.factor < np.inf and 0 <= self.down <= 1 and 0 <= self.across <= 1):
            raise InputError(f"{self} is no zoom: the factor is above 0, down and across are 0 to 1")

    def __call__(self, sample: RGBDSample, seed: Seed | None = None) -> RGBDSample:
        view = View.of(sample)
        return _resample(sample, self.trace(view), self._find_window(view), self.depth)

    def trace(self, view: View) -> Motion:
        cut = self._find_window(view).trace(view)
        return cut.then(Resize(view.height, view.width).trace(cut.target))

    def _find_window(self, view: View) -> Crop:
        height, width = (max(1, round(side / self.factor)) for side in (view.height, view.width))
        top, left = round((view.height - height) * self.down), round((view.width - width) * self.across)
        return Crop(top, left, height, width, "pad")


@dataclass(frozen=True, slots=True)
class RandomZoom(RandomTransform):
    """Zoom by a factor between two, evenly on a logarithmic scale, to anywhere in the picture."""

    factors: tuple[float, float]
    depth: Sampling = "nearest"

    def __post_init__(self) -> None:
        if not 0 < self.factors[0] <= self.factors[1] < np.inf:
            raise InputError(f"{self.factors} are no factors to zoom by: use two above 0, the smaller first")

    def draw(self, view: View, rng: Generator) -> Zoom:
        least, most = np.log(self.factors)
        down, across = rng.random(2).tolist()
        return Zoom(float(np.exp(rng.uniform(least, most))), down, across, self.depth)


def require_outside(outside: str) -> None:
    """Raise `InputError` for a word that says neither."""
    if outside not in ("refuse", "pad"):
        raise InputError(f'outside={outside!r}: use "refuse" or "pad"')


def require_pixels(height: int, width: int) -> None:
    """Raise `InputError` for sizes that no picture has."""
    if min(height, width) < 1:
        raise InputError(f"a picture of {width} x {height} pixels cannot be made: use sizes from 1 up")


def _resample(sample: RGBDSample, motion: Motion, window: Crop, sampling: Sampling) -> RGBDSample:
    """Enlarge or shrink a window of the sample to the motion's target."""
    size = motion.target.height, motion.target.width
    image, values, mask = window.cut(sample)
    mask = None if mask is None else resize_nearest(mask, *size)
    if sample.sparse:
        values, mask = scatter(sample, motion, mask)
    else:
        values = resize_nearest(values, *size)
        if sampling == "edge_aware":
            values = interpolate_surfaces(values, sample.depth, motion)
    return rebuild(sample, motion, resize_linear(image, *size), values, mask)
