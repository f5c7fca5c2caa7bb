"""Flip, crop, resize, zoom: what keeps rows rows and columns columns, and the camera's axis where it was.

Metric depth stays as it is under all of them: a zoom is another focal length, not another distance.
"""

from __future__ import annotations

import math
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
from cortexia_video.augmentation.geometry import Matrix, Motion, View
from cortexia_video.augmentation.opencv_ops import flip_image, pad_pixels, resize_linear, resize_nearest
from cortexia_video.augmentation.transform import RandomTransform, Seed, Transform, rebuild
from cortexia_video.errors import InputError
from cortexia_video.pinhole import Pinhole
from cortexia_video.rgbd_sample import RGBDSample

Outside = Literal["refuse", "pad"]
Arrays = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.bool_] | None]  # image, depth, mask

_MOST_KEPT = 1 << 20  # bytes of an image that a view of it may keep from being freed, beyond those it shows


@dataclass(frozen=True, slots=True)
class Flip(Transform):
    """Mirror the image; space is mirrored with it.

    Depth and mask become views with negative strides, which numpy reads as fast as it would copy them.

    Attributes:
        axis: "horizontal" mirrors left and right, "vertical" above and below.
    """

    axis: Literal["horizontal", "vertical"] = "horizontal"

    def __post_init__(self) -> None:
        if self.axis not in ("horizontal", "vertical"):
            raise InputError(f"unknown axis {self.axis!r}: use horizontal or vertical")

    def __call__(self, sample: RGBDSample, seed: Seed | None = None) -> RGBDSample:
        axis = 1 if self.axis == "horizontal" else 0
        return rebuild(
            sample,
            self.trace(View.of(sample)),
            flip_image(sample.frame.image, axis),
            np.flip(sample.depth.values, axis),
            None if sample.mask is None else np.flip(sample.mask, axis),
        )

    def trace(self, view: View) -> Motion:
        camera = view.camera
        if self.axis == "horizontal":
            camera = camera and replace(camera, cx=view.width - camera.cx)
            pixels: Matrix = ((-1, 0, view.width), (0, 1, 0), (0, 0, 1))
            turn: Matrix = ((-1, 0, 0), (0, 1, 0), (0, 0, 1))
        else:
            camera = camera and replace(camera, cy=view.height - camera.cy)
            pixels, turn = ((1, 0, 0), (0, -1, view.height), (0, 0, 1)), ((1, 0, 0), (0, -1, 0), (0, 0, 1))
        return Motion(view, View(view.height, view.width, camera), pixels, turn)


@dataclass(frozen=True, slots=True)
class Crop(Transform):
    """Cut out a window of the image.

    The crop is a view of the image, unless that would keep more than 1 MiB of it from being freed.

    Attributes:
        height: Pixels.
        width: Pixels.
        top: Its first row.
        left: Its first column.
        outside: What is beyond the image is refused (`InputError`), or with "pad" black, of unknown depth.
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
        if sample.frame.image.nbytes - image.nbytes > _MOST_KEPT:
            image, values, mask = image.copy(), values.copy(), None if mask is None else mask.copy()
        return rebuild(sample, motion, image, values, mask)

    def cut(self, sample: RGBDSample) -> Arrays:
        """Return the windows of image, depth and mask.

        Args:
            sample: What to cut them out of.

        Returns:
            uint8 (h, w, 3), float32 (h, w) and bool (h, w) or None: views where nothing is padded.
        """
        mask = sample.mask
        if self._lies_in(*sample.size):
            part = slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)
            return sample.frame.image[part], sample.depth.values[part], None if mask is None else mask[part]
        at, size = (self.top, self.left), (self.height, self.width)
        return (
            pad_pixels(sample.frame.image, *at, size, 0),
            pad_pixels(sample.depth.values, *at, size, np.nan),
            None if mask is None else pad_pixels(mask, *at, size, False),
        )

    def trace(self, view: View) -> Motion:
        if self.outside == "refuse" and not self._lies_in(view.height, view.width):
            raise InputError(
                f"a crop of {self.width} x {self.height} pixels at column {self.left}, row {self.top} does "
                f'not lie inside an image of {view}: use a smaller one, or outside="pad"'
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
        return Motion(view, target, ((1, 0, -self.left), (0, 1, -self.top), (0, 0, 1)))

    def _lies_in(self, height: int, width: int) -> bool:
        bottom, right = self.top + self.height, self.left + self.width
        return self.top >= 0 and bottom <= height and self.left >= 0 and right <= width


@dataclass(frozen=True, slots=True)
class RandomCrop(RandomTransform):
    """Cut out a window anywhere in the image.

    Attributes:
        height: Pixels.
        width: Pixels.
        outside: Where the image is smaller, refuse it (`InputError`), or with "pad" place it anywhere in the
            crop.
    """

    height: int
    width: int
    outside: Outside = "refuse"

    def draw(self, view: View, rng: Generator) -> Crop:
        rows, columns = view.height - self.height, view.width - self.width
        if min(rows, columns) < 0 and self.outside == "refuse":
            raise InputError(
                f"a crop of {self.width} x {self.height} pixels is larger than an image of {view}: "
                'use a smaller one, resize first, or outside="pad"'
            )
        down, across = rng.random(2).tolist()
        return Crop(_place(down, rows), _place(across, columns), self.height, self.width, self.outside)


@dataclass(frozen=True, slots=True)
class Resize(Transform):
    """Resample image, depth and mask to another size.

    Attributes:
        height: Pixels.
        width: Pixels.
        depth: How depth is sampled: nearest or edge_aware.
    """

    height: int
    width: int
    depth: Sampling = "nearest"

    def __post_init__(self) -> None:
        require_pixels(self.height, self.width)
        require_sampling(self.depth)

    def __call__(self, sample: RGBDSample, seed: Seed | None = None) -> RGBDSample:
        pixels = sample.frame.image, sample.depth.values, sample.mask
        return _resample(sample, pixels, self.trace(View.of(sample)), self.depth)

    def trace(self, view: View) -> Motion:
        camera = view.camera and view.camera.resized(self.width, self.height)
        across, down = self.width / view.width, self.height / view.height
        return Motion(view, View(self.height, self.width, camera), ((across, 0, 0), (0, down, 0), (0, 0, 1)))


@dataclass(frozen=True, slots=True)
class Zoom(Transform):
    """Look closer: 1 / factor of each side (rounded to whole pixels) is enlarged to the size of the image.

    Attributes:
        factor: Times the focal length; below 1 the image shrinks, with black of unknown depth around.
        down: Where the window is, from 0 (top) to 1 (bottom).
        across: Where the window is, from 0 (left) to 1 (right).
        depth: How depth is sampled: nearest or edge_aware.
    """

    factor: float
    down: float = 0.5
    across: float = 0.5
    depth: Sampling = "nearest"

    def __post_init__(self) -> None:
        require_sampling(self.depth)
        if not (0 < self.factor < math.inf and 0 <= self.down <= 1 and 0 <= self.across <= 1):
            raise InputError(f"{self} is no zoom: the factor is above 0, down and across are 0 to 1")

    def __call__(self, sample: RGBDSample, seed: Seed | None = None) -> RGBDSample:
        view = View.of(sample)
        window = self._find_window(view)
        return _resample(sample, window.cut(sample), self._trace_window(view, window), self.depth)

    def trace(self, view: View) -> Motion:
        return self._trace_window(view, self._find_window(view))

    def _trace_window(self, view: View, window: Crop) -> Motion:
        camera = window.trace(view).target.camera
        across, down = view.width / window.width, view.height / window.height
        return Motion(
            view,
            View(view.height, view.width, camera and camera.resized(view.width, view.height)),
            ((across, 0, -across * window.left), (0, down, -down * window.top), (0, 0, 1)),
        )

    def _find_window(self, view: View) -> Crop:
        height, width = (max(1, round(side / self.factor)) for side in (view.height, view.width))
        top, left = round((view.height - height) * self.down), round((view.width - width) * self.across)
        return Crop(top, left, height, width, "pad")


@dataclass(frozen=True, slots=True)
class RandomZoom(RandomTransform):
    """Zoom by a factor between two, evenly on a logarithmic scale, to anywhere in the image.

    Attributes:
        factors: The least and the largest.
        depth: How depth is sampled: nearest or edge_aware.
    """

    factors: tuple[float, float]
    depth: Sampling = "nearest"

    def __post_init__(self) -> None:
        if not 0 < self.factors[0] <= self.factors[1] < math.inf:
            raise InputError(f"{self.factors} are no factors to zoom by: use two above 0, the smaller first")

    def draw(self, view: View, rng: Generator) -> Zoom:
        least, most = self.factors
        share, down, across = rng.random(3).tolist()
        return Zoom(least * (most / least) ** share, down, across, self.depth)


def _place(share: float, spare: int) -> int:
    """Return one of the whole numbers from 0 to `spare`, which may be negative, all for as much of 0 to 1."""
    return min(spare, 0) + int(share * (abs(spare) + 1))


def require_outside(outside: str) -> None:
    """Raise `InputError` for a word that says neither."""
    if outside not in ("refuse", "pad"):
        raise InputError(f'outside={outside!r}: use "refuse" or "pad"')


def require_pixels(height: int, width: int) -> None:
    """Raise `InputError` for sizes that no image has."""
    if min(height, width) < 1:
        raise InputError(f"an image of {width} x {height} pixels cannot be made: use sizes from 1 up")


def _resample(sample: RGBDSample, window: Arrays, motion: Motion, sampling: Sampling) -> RGBDSample:
    """Enlarge or shrink a window of the sample to the motion's target."""
    size = motion.target.height, motion.target.width
    image, values, mask = window
    image = resize_linear(image, *size)
    mask = None if mask is None else resize_nearest(mask, *size)
    if sample.sparse:
        values, mask = scatter(sample, motion, mask)
    else:
        values = resize_nearest(values, *size)
        if sampling == "edge_aware":
            values = interpolate_surfaces(values, sample.depth, motion)
    return rebuild(sample, motion, image, values, mask)
