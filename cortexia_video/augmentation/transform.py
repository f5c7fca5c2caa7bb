"""`Transform`: what is done to a sample. `RandomTransform`: draws what is done.

Drawing and doing are two steps. `random.draw(View.of(sample), rng)` gives a `Transform` that says in its
fields what it does, and does the same to every sample it is called with. `random(sample, seed)` is both at
once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xxhash
from numpy.random import Generator
from numpy.typing import NDArray

from cortexia_video.augmentation.geometry import Motion, View
from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import InputError
from cortexia_video.frame import Frame
from cortexia_video.rgbd_sample import RGBDSample

Seed = int | Sequence[int] | Generator
"""Numbers from 0 up (a seed, an epoch), to which the sample's key is added, or a generator to draw from."""


class Transform(ABC):
    """Does the same to every sample. Its inputs are never changed."""

    @abstractmethod
    def __call__(self, sample: RGBDSample, seed: Seed | None = None) -> RGBDSample:
        """Transform a sample.

        Args:
            sample: Image, depth, mask and camera; it stays as it is.
            seed: Not used: all is in the fields.

        Returns:
            A new sample; its arrays may be views of the old ones.

        Raises:
            InputError: This cannot be done to the sample, such as a crop larger than the image.
        """

    def trace(self, view: View) -> Motion:
        """Return where pixels of a view go, and how the camera turns; by default all stays.

        Args:
            view: Size and camera of the image before.

        Returns:
            What the transform does to it.

        Raises:
            InputError: This cannot be done to such a view.
        """
        return Motion(view, view)

    def draw(self, view: View, rng: Generator) -> Transform:
        """Return itself: nothing is left to draw.

        Args:
            view: Not used.
            rng: Not used.

        Returns:
            The transform.
        """
        return self


class RandomTransform(ABC):
    """Does something else to every sample; what, depends on the seed, the sample's key and its view alone."""

    @abstractmethod
    def draw(self, view: View, rng: Generator) -> Transform:
        """Draw what to do to a view.

        Args:
            view: Size and camera of the image.
            rng: What to draw from.

        Returns:
            A transform that does the same to every sample.

        Raises:
            InputError: Nothing can be drawn for such a view.
        """

    def __call__(self, sample: RGBDSample, seed: Seed | None = None) -> RGBDSample:
        """Draw what to do, and do it.

        Args:
            sample: Image, depth, mask and camera; it stays as it is.
            seed: Numbers from 0 up, to which the sample's key is added, or a generator to draw from.

        Returns:
            A new sample; its arrays may be views of the old ones.

        Raises:
            InputError: There is no seed, or this cannot be done to the sample.
        """
        return self.draw(View.of(sample), make_rng(seed, sample.key))(sample)


@dataclass(frozen=True, slots=True)
class Chain(Transform):
    """Transforms one after another: what `Compose` drew."""

    steps: tuple[Transform, ...] = ()

    def __call__(self, sample: RGBDSample, seed: Seed | None = None) -> RGBDSample:
        for step in self.steps:
            sample = step(sample)
        return sample

    def trace(self, view: View) -> Motion:
        motion = Motion(view, view)
        for step in self.steps:
            motion = motion.then(step.trace(motion.target))
        return motion


@dataclass(frozen=True, slots=True)
class Compose(RandomTransform):
    """Transforms, random or not, one after another.

    Attributes:
        steps: The transforms.
    """

    steps: Sequence[Transform | RandomTransform]

    def draw(self, view: View, rng: Generator) -> Chain:
        drawn = []
        for step in self.steps:
            drawn.append(step.draw(view, rng))
            view = drawn[-1].trace(view).target
        return Chain(tuple(drawn))


@dataclass(frozen=True, slots=True)
class Sometimes(RandomTransform):
    """Do a step with a probability, else nothing.

    Attributes:
        step: A transform, random or not.
        p: The probability, 0 to 1.
    """

    step: Transform | RandomTransform
    p: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise InputError(f"{self.p} is no probability: use 0 to 1")

    def draw(self, view: View, rng: Generator) -> Transform:
        return self.step.draw(view, rng) if rng.random() < self.p else Chain()


def make_rng(seed: Seed | None, key: str) -> Generator:
    """Return the generator of a sample: its numbers depend on the seed and the key, on nothing else."""
    if isinstance(seed, Generator):
        return seed
    numbers = [seed] if isinstance(seed, int) else list(seed or ())
    if not numbers or min(numbers) < 0:
        raise InputError(
            f"a random transform cannot be seeded by {seed}: give numbers from 0 up: transform(sample, 0)"
        )
    return np.random.default_rng([*numbers, xxhash.xxh3_64_intdigest(key.encode("utf-8", "surrogateescape"))])


def rebuild(
    sample: RGBDSample,
    motion: Motion,
    image: NDArray[np.uint8],
    values: NDArray[np.float32],
    mask: NDArray[np.bool_] | None,
) -> RGBDSample:
    """Return the sample with other pixels, and its camera and focal lengths moved along."""
    frame, depth, camera = sample.frame, sample.depth, motion.target.camera
    f_px, depth_f_px = motion.scale_f_px(frame.f_px), motion.scale_f_px(depth.f_px)
    f_source, depth_f_source = frame.f_source if f_px else None, depth.f_source if depth_f_px else None
    return RGBDSample(  # by name, not by `replace`: that takes as long as a small crop
        Frame(frame.key, image, f_px, f_source, frame.timestamp_s),
        DepthMap(
            values,
            depth.kind,
            depth_f_px,
            depth_f_source,
            model=depth.model,
            weights_sha256=depth.weights_sha256,
        ),
        camera,
        mask,
        sample.origin,
        sample.sparse,
    )
