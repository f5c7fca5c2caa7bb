"""`Photometric`: another library's change of colours, applied to the image alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.random import Generator

from cortexia_video.augmentation.geometry import View
from cortexia_video.augmentation.transform import RandomTransform, Seed, Transform
from cortexia_video.errors import InputError
from cortexia_video.rgbd_sample import RGBDSample


@dataclass(frozen=True, slots=True)
class Photometric(RandomTransform):
    """Change the colours of the image; depth, mask and camera stay.

    Attributes:
        change: A transform of albumentations, which is seeded anew for every sample, or a function of the
            image, uint8 (H, W, 3) RGB, and a numpy generator, that gives an image of the same shape and
            dtype.
    """

    change: Callable[..., Any]

    def draw(self, view: View, rng: Generator) -> DrawnPhotometric:
        return DrawnPhotometric(self.change, int(rng.integers(1 << 32)))


@dataclass(frozen=True, slots=True)
class DrawnPhotometric(Transform):
    """A change of colours with its seed. Raises `InputError` where the image comes back in another shape."""

    change: Callable[..., Any]
    number: int

    def __call__(self, sample: RGBDSample, seed: Seed | None = None) -> RGBDSample:
        old = sample.frame.image
        if hasattr(self.change, "set_random_seed"):  # albumentations
            self.change.set_random_seed(self.number)
            image = self.change(image=old.copy())["image"]
        else:
            image = np.asarray(self.change(old.copy(), np.random.default_rng(self.number)))
        if image.shape != old.shape or image.dtype != old.dtype:
            raise InputError(
                f"{sample.key!r}: a photometric change made {image.dtype} {image.shape} of {old.dtype} "
                f"{old.shape}: use one that changes colours only"
            )
        return replace(sample, frame=replace(sample.frame, image=image))
