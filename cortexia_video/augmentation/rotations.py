"""Rotate, perspective crop: the camera turns about its centre, so each pixel's ray keeps its thing.

A turn by R takes the ray (x, y, 1) of a pixel to R (x, y, 1), and pixels by the homography K' R K^-1
(Hartley and Zisserman, 2nd edition, section 8.4). Depth is along the axis: where the axis turns, depth is
that of the same point along the new one, `depth_sampling.look_along`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from cortexia_video.augmentation.crops import Outside, require_outside, require_pixels
from cortexia_video.augmentation.depth_sampling import (
    Sampling,
    interpolate_surfaces,
    look_along,
    require_sampling,
    scatter,
)
from cortexia_video.augmentation.geometry import Matrix, Motion, View, make_matrix
from cortexia_video.augmentation.opencv_ops import warp_linear, warp_nearest
from cortexia_video.augmentation.transform import RandomTransform, Seed, Transform, rebuild
from cortexia_video.errors import InputError
from cortexia_video.images.resampling import resize_image
from cortexia_video.pinhole import Pinhole
from cortexia_video.rgbd_sample import RGBDSample

_TRIES = 64
_SLACK = 1e-6  # pixels by which a corner may lie outside: rounding
_MOST_SHRINKING = 2  # up to this, four neighbours are all of the pixels that a new one covers


@dataclass(frozen=True, slots=True)
class Rotate(Transform):
    """Turn the image about the optical axis, which is taken to be in its middle where no camera is known.

    Size and depth stay; what comes from outside is black, of unknown depth.

    Attributes:
        roll_deg: Degrees, anticlockwise.
        depth: How depth is sampled: nearest or edge_aware.
    """

    roll_deg: float
    depth: Sampling = "nearest"

    def __post_init__(self) -> None:
        require_sampling(self.depth)

    def __call__(self, sample: RGBDSample, seed: Seed | None = None) -> RGBDSample:
        return _warp(sample, self.trace(View.of(sample)), self.depth)

    def trace(self, view: View) -> Motion:
        camera = view.camera or Pinhole.centred(1, view.width, view.height)
        turn = _turn(roll_deg=self.roll_deg)
        return Motion(view, view, _find_homography(camera, turn, camera), make_matrix(turn))


@dataclass(frozen=True, slots=True)
class RandomRotate(RandomTransform):
    """Turn the image either way.

    Attributes:
        most_deg: The largest angle, degrees.
        depth: How depth is sampled: nearest or edge_aware.
    """

    most_deg: float
    depth: Sampling = "nearest"

    def draw(self, view: View, rng: Generator) -> Rotate:
        return Rotate(float(rng.uniform(-self.most_deg, self.most_deg)), self.depth)


@dataclass(frozen=True, slots=True)
class PerspectiveCrop(Transform):
    """What a camera at the same place would see that looks elsewhere: square pixels, its axis in the middle.

    Attributes:
        height: Of the new image, pixels.
        width: Of the new image, pixels.
        fov_deg: Its horizontal field of view.
        yaw_deg: Degrees to the right.
        pitch_deg: Then degrees upwards.
        roll_deg: Then degrees: the image's content turns anticlockwise.
        outside: What the image does not show is refused (`InputError`), or with "pad" black, of unknown
            depth.
        depth: How depth is sampled: nearest or edge_aware.

    Raises:
        InputError: No camera is known, or the kind of depth has an unknown shift: what it becomes along
            another axis is not known.
    """

    height: int
    width: int
    fov_deg: float
    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    outside: Outside = "refuse"
    depth: Sampling = "nearest"

    def __post_init__(self) -> None:
        require_outside(self.outside)
        require_sampling(self.depth)
        require_pixels(self.height, self.width)
        if not 0 < self.fov_deg < 180:
            raise InputError(f"no flat image has a field of view of {self.fov_deg} degrees: use 0 to 180")

    def __call__(self, sample: RGBDSample, seed: Seed | None = None) -> RGBDSample:
        if sample.depth.kind not in ("metric", "scale_invariant"):
            raise InputError(
                f"{sample.key!r}: depth of kind {sample.depth.kind} has an unknown shift: along another axis "
                "it is not known; leave the perspective crop out for this dataset"
            )
        return _warp(sample, self.trace(View.of(sample)), self.depth)

    def trace(self, view: View) -> Motion:
        if view.camera is None:
            raise InputError(
                "a perspective crop needs the sample's camera: give one, or where only the "
                "focal length is known Pinhole.centred(f_px, width, height)"
            )
        f_px = self.width / 2 / math.tan(math.radians(self.fov_deg) / 2)
        camera = Pinhole.centred(f_px, self.width, self.height)
        turn = _turn(yaw_deg=self.yaw_deg, pitch_deg=self.pitch_deg, roll_deg=self.roll_deg)
        target = View(self.height, self.width, camera)
        motion = Motion(view, target, _find_homography(view.camera, turn, camera), make_matrix(turn))
        corners = np.array([[0, 0], [self.width, 0], [self.width, self.height], [0, self.height]])
        seen = motion.inverse().move(corners)
        if np.isnan(seen).any():
            raise InputError(f"{self} looks behind the camera of an image of {view}: turn it less")
        least, most = seen.min(axis=0), seen.max(axis=0) - [view.width, view.height]
        if self.outside == "refuse" and max(*-least, *most) > _SLACK:
            raise InputError(
                f"{self} sees more than an image of {view} with {view.camera} shows: "
                'lower fov_deg or the angles, or use outside="pad"'
            )
        return motion


@dataclass(frozen=True, slots=True)
class RandomPerspectiveCrop(RandomTransform):
    """Look anywhere in the image with a horizontal field of view between two.

    Attributes:
        height: Of the new image, pixels.
        width: Of the new image, pixels.
        fov_deg: The least and the largest, degrees.
        most_roll_deg: Roll either way, degrees.
        outside: "refuse" draws until all that is seen is in the image, and raises `InputError` where even the
            smallest field of view, straight ahead, is not; with "pad" the axis alone is in the image, and
            what is around it is black and unknown.
        depth: How depth is sampled: nearest or edge_aware.
    """

    height: int
    width: int
    fov_deg: tuple[float, float]
    most_roll_deg: float = 0.0
    outside: Outside = "refuse"
    depth: Sampling = "nearest"

    def __post_init__(self) -> None:
        if not 0 < self.fov_deg[0] <= self.fov_deg[1] < 180:
            raise InputError(f"{self.fov_deg} is no range of fields of view: use two, the smaller first")

    def draw(self, view: View, rng: Generator) -> PerspectiveCrop:
        for _ in range(_TRIES):
            crop = self._aim(
                view, rng.random(2), float(rng.uniform(*self.fov_deg)), float(rng.uniform(-1, 1))
            )
            try:
                crop.trace(view)
            except InputError:
                continue
            return crop
        return self._aim(view, np.array([0.5, 0.5]), self.fov_deg[0], 0)

    def _aim(self, view: View, at: NDArray[np.float64], fov_deg: float, roll: float) -> PerspectiveCrop:
        """Look at a point of the image, given as shares of its width and height."""
        camera = view.camera or Pinhole.centred(
            1, view.width, view.height
        )  # the crop refuses it, in its words
        x = (at[0] * view.width - camera.cx) / camera.fx
        y = (at[1] * view.height - camera.cy) / camera.fy
        return PerspectiveCrop(
            self.height,
            self.width,
            fov_deg,
            yaw_deg=math.degrees(math.atan(x)),
            pitch_deg=-math.degrees(math.atan(y / math.hypot(1, x))),
            roll_deg=roll * self.most_roll_deg,
            outside=self.outside,
            depth=self.depth,
        )


def _turn(*, yaw_deg: float = 0.0, pitch_deg: float = 0.0, roll_deg: float = 0.0) -> NDArray[np.float64]:
    """Return the rotation (3, 3) to the right, then upwards, then of the content anticlockwise."""
    angles = [math.radians(each) for each in (yaw_deg, pitch_deg, roll_deg)]
    (cos_y, cos_p, cos_r), (sin_y, sin_p, sin_r) = map(math.cos, angles), map(math.sin, angles)
    yaw = np.array([[cos_y, 0, -sin_y], [0, 1, 0], [sin_y, 0, cos_y]])
    pitch = np.array([[1, 0, 0], [0, cos_p, sin_p], [0, -sin_p, cos_p]])
    roll = np.array([[cos_r, sin_r, 0], [-sin_r, cos_r, 0], [0, 0, 1]])
    return roll @ pitch @ yaw


def _find_homography(old: Pinhole, turn: NDArray[np.float64], new: Pinhole) -> Matrix:
    """Return new K turn old K^-1; its third row times (u, v, 1) is the new depth over the old."""
    return make_matrix(_project(new) @ turn @ np.linalg.inv(_project(old)))


def _project(camera: Pinhole) -> NDArray[np.float64]:
    return np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])


def _warp(sample: RGBDSample, motion: Motion, sampling: Sampling) -> RGBDSample:
    """Sample image, depth and mask where the motion's target comes from."""
    image, coarser = sample.frame.image, motion
    source, target = motion.source.camera, motion.target.camera
    shrinking = source.fx / target.fx if source and target else 1
    if shrinking > _MOST_SHRINKING:  # averaged first
        height, width = (max(1, round(side / shrinking)) for side in image.shape[:2])
        enlarge = np.diag([motion.source.width / width, motion.source.height / height, 1])
        coarser = Motion(View(height, width), motion.target, make_matrix(motion.pixels @ enlarge))
        image = resize_image(image, height, width)
    size = motion.target.height, motion.target.width
    image = warp_linear(image, coarser.pixels, *size)
    mask = None if sample.mask is None else warp_nearest(sample.mask, motion.pixels, *size, 0)
    if sample.sparse:
        return rebuild(sample, motion, image, *scatter(sample, motion, mask))
    seen = look_along(sample.depth.values, motion)
    values = warp_nearest(seen, motion.pixels, *size, math.nan)
    if sampling == "edge_aware":
        values = interpolate_surfaces(values, sample.depth, motion)
    return rebuild(sample, motion, image, values, mask)
