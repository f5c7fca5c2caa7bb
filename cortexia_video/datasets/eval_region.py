"""`Region`: which pixels of a dataset are compared, by depth and by place."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cortexia_video.rgbd_sample import RGBDSample

_ROUNDING = 1e-6  # 41 / 640 * 640 is not quite 41


class Crop(NamedTuple):
    """A rectangle as shares of height and width; pixels are cut off as by int()."""

    top: float
    bottom: float
    left: float
    right: float

    def find_slices(self, height: int, width: int) -> tuple[slice, slice]:
        """Return rows and columns of an image of (height, width)."""
        top, bottom = (math.floor(share * height + _ROUNDING) for share in self[:2])
        left, right = (math.floor(share * width + _ROUNDING) for share in self[2:])
        return slice(top, bottom), slice(left, right)


@dataclass(frozen=True, slots=True)
class Region:
    """What an evaluation looks at. range_m: least and largest depth. crop: by place. None: all of it."""

    range_m: tuple[float, float] | None = None
    crop: Crop | None = None

    def find_mask(self, depth_m: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which pixels of depth (H, W) are inside; unknown ones are, too: they are unknown anyway."""
        mask = np.ones(depth_m.shape, bool)
        if self.crop:
            mask[:] = False
            mask[self.crop.find_slices(*depth_m.shape)] = True
        if self.range_m:
            low, high = self.range_m
            with np.errstate(invalid="ignore"):
                mask &= ~((depth_m < low) | (depth_m > high))
        return mask

    def restrict(self, sample: RGBDSample) -> RGBDSample:
        """Return the sample with a mask that leaves out what is outside."""
        mask = self.find_mask(sample.depth.values)
        if sample.mask is not None:
            mask &= sample.mask
        return sample if mask.all() else replace(sample, mask=mask)


EVERYWHERE = Region()
# Rows 45 to 471, columns 41 to 601 of 640 x 480: Eigen, Puhrsch and Fergus 2014, as later work counts them.
EIGEN_CROP = Crop(45 / 480, 471 / 480, 41 / 640, 601 / 640)
# Garg et al., "Unsupervised CNN for Single View Depth Estimation", ECCV 2016.
GARG_CROP = Crop(0.40810811, 0.99189189, 0.03594771, 0.96405229)
