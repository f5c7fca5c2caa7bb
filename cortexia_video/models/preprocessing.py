"""`Preprocessing`: how an image is made a network's input; the same for every backend."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cortexia_video.errors import ModelLoadError, not_known
from cortexia_video.images.resampling import (
    Filter,
    average_image,
    cover_image,
    fit_short_side,
    resize_image,
    sample_image,
)
from cortexia_video.models.protocol import InputSize

Resampling = Literal["reduced", "bilinear", "bicubic", "area", "sampled", "sampled_corners"]
MeanStd = tuple[tuple[float, ...], tuple[float, ...]]
Average = Callable[[NDArray[np.uint8], int, int, Filter], NDArray[np.uint8]]

IMAGENET: MeanStd = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # Krizhevsky et al.; torchvision's
SIGNED: MeanStd = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
UNIT: MeanStd = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
NORMALIZATIONS: Mapping[str, MeanStd] = {
    "imagenet": IMAGENET,
    "unit": UNIT,
    "signed": SIGNED,
    "bytes": ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
}

_BY_NUMBER: dict[int, Resampling] = {2: "bilinear", 3: "bicubic"}  # Pillow's, which the files use
_LONGEST = 8  # times the side asked for: a longer panorama shrinks on both sides


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How an image is made a network's input.

    Attributes:
        size: (height, width) that the image is scaled towards; None leaves it as large as it is.
        multiple_of: Both sides become multiples of this.
        resampling: `bilinear` and `bicubic` average where they shrink and give 8-bit images, by
            `resampling.average_image`; `reduced` does so in two steps, faster and less exact, by
            `resampling.resize_image`; `area` is `resampling.cover_image`, once to the size before its sides become
            multiples, and again to that; `sampled` and `sampled_corners` average nothing and give floats, by
            `resampling.sample_image`.
        mean: Of red, green and blue in 0..1; subtracted.
        std: Divided by.
        scaling: `least`: the aspect ratio is kept, by the one of the two factors that changes the image less:
            the short side of a larger image becomes the target's, the long side of a smaller one (as MiDaS's
            `Resize` does). `short_side`, `long_side`: it is kept, and that side becomes the target's. `exact`:
            every image gets `size`.
        floors: Sides become the multiple below, not the nearest.
        pad_to: What the network sees has a border of the mean colour, up to multiples of this, which its
            output loses again.
    """

    size: tuple[int, int] | None
    multiple_of: int
    resampling: Resampling
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scaling: Literal["least", "short_side", "long_side", "exact"] = "least"
    floors: bool = False
    pad_to: int = 1

    @property
    def step(self) -> int:
        """What both sides of an exact size must be multiples of."""
        return math.lcm(self.multiple_of, self.pad_to)

    def fit(self, height: int, width: int) -> tuple[int, int]:
        """Return at what (height, width) the network sees an image of this height and width."""
        if self.size is None:
            return self._round(height), self._round(width)
        if self.scaling == "exact":
            return self.size
        if self.scaling == "short_side":
            return fit_short_side(height, width, short_side=min(self.size), multiple_of=self.multiple_of)
        if self.scaling == "long_side":  # the nearest multiple, up where two are
            step = self.multiple_of
            tall, wide = (max(1, (side + step // 2) // step) for side in self._scale_long_side(height, width))
            return tall * step, wide * step
        scales = (self.size[0] / height, self.size[1] / width)
        scale = scales[1] if abs(1 - scales[1]) < abs(1 - scales[0]) else scales[0]
        scale = min(scale, _LONGEST * max(self.size) / max(height, width))
        return self._round(height * scale), self._round(width * scale)

    def resample(
        self, image: NDArray[np.uint8], size: tuple[int, int], average: Average = average_image
    ) -> NDArray[Any]:
        """Resample a uint8 (H, W, 3) image to (height, width): uint8, or float32 in 0..255.

        average: `average_image`, or what gives the same faster.
        """
        if self.resampling == "sampled" or self.resampling == "sampled_corners":
            return sample_image(image, *size, corners=self.resampling == "sampled_corners")
        if self.resampling == "area":
            if self.scaling == "long_side":
                image = cover_image(image, *self._scale_long_side(*image.shape[:2]))
            return cover_image(image, *size)
        if self.resampling == "reduced":
            return resize_image(image, *size)
        return image if image.shape[:2] == size else average(image, *size, self.resampling)

    def apply(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float32]:
        """Resample and normalise a uint8 (H, W, 3) image to float32 (3, h, w)."""
        return self.normalize(np.ascontiguousarray(self.resample(image, size).transpose(2, 0, 1)))

    def normalize(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Turn (3, h, w) in 0..255 into float32 with mean and deviation taken out; may write into `pixels`."""
        scale, shift = (each[:, None, None] for each in self.scale_and_shift())
        pixels = pixels.astype(np.float32, copy=False)
        pixels *= scale
        pixels += shift
        return pixels

    def scale_and_shift(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Turn (x / 255 - mean) / std into x * scale + shift, three numbers each."""
        mean, std = np.asarray(self.mean), np.asarray(self.std)
        return (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)

    def pad(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return the border around (height, width): left, right, top, bottom."""
        across, down = (-side % self.pad_to for side in (width, height))
        return across // 2, across - across // 2, down // 2, down - down // 2

    def describe(self) -> dict[str, object]:
        """Return what depth depends on, as a model's `settings`."""
        size = "the image's" if self.size is None else f"{self.size[0]}x{self.size[1]}"
        mean, std = (
            " ".join(repr(float(number)).removesuffix(".0") for number in each)
            for each in (self.mean, self.std)
        )
        return {
            "input_size": size + {"exact": " exactly", "long_side": " at most"}.get(self.scaling, ""),
            "multiple_of": self.multiple_of,
            "resampling": self.resampling,
            "normalize": f"mean {mean} std {std}",
            **({"pad_to": self.pad_to} if self.pad_to > 1 else {}),
        }

    def _scale_long_side(self, height: int, width: int) -> tuple[int, int]:
        """Return the size in whole pixels at which an image's long side is the target's."""
        assert self.size is not None
        scale = max(self.size) / max(height, width)
        return max(1, round(height * scale)), max(1, round(width * scale))

    def _round(self, side: float) -> int:
        parts = side // self.multiple_of if self.floors else side / self.multiple_of
        return max(1, round(parts)) * self.multiple_of


def read_normalization(text: str) -> MeanStd:
    """Return mean and deviation of a name of `NORMALIZATIONS`, or of `mean R G B std R G B`.

    Raises `ModelLoadError`.
    """
    if text in NORMALIZATIONS:
        return NORMALIZATIONS[text]
    match = re.fullmatch(r"mean (\S+) (\S+) (\S+) std (\S+) (\S+) (\S+)", text)
    try:
        numbers = [float(each) for each in match.groups()] if match else []
    except ValueError:
        numbers = []
    if len(numbers) != 6 or not np.isfinite(numbers).all() or not min(numbers[3:]) > 0:
        raise ModelLoadError(
            f"{not_known('normalize', text, NORMALIZATIONS)} (0..255), or six numbers, "
            "like 'mean 0.5 0.5 0.5 std 0.5 0.5 0.5', of colours in 0..1"
        )
    return tuple(numbers[:3]), tuple(numbers[3:])


def read_preprocessing(
    published: Preprocessing, config: Mapping[str, Any], input_size: InputSize | None = None
) -> Preprocessing:
    """Return what a `preprocessor_config.json` says, else what the family's published checkpoints say.

    input_size: in the file's place; one number scales the size, (height, width) is taken exactly.
    A file that asks for squares of every image is not followed in that: the aspect ratio is kept.
    Raises `ModelLoadError` for a file that asks for what is not known here.
    """
    for key, what in (("do_center_crop", "crops images"), ("pad_size", "pads images to one size")):
        if config.get(key) and published.scaling != "exact":
            raise ModelLoadError(f"the checkpoint {what} ({key}): that is not known here")
    divisor = int(config.get("size_divisor") or 1)
    multiple_of = divisor if published.floors else int(config.get("ensure_multiple_of") or 1)
    pad_to = divisor if config.get("do_pad") and not published.floors else 1
    if multiple_of <= 1 and pad_to == 1:
        multiple_of = published.multiple_of
    size = config.get("size", published.size) if config.get("do_resize", True) else None
    if isinstance(size, Mapping):
        size = (size["height"], size["width"]) if "height" in size else size.get("shortest_edge")
    size = (size, size) if isinstance(size, int) else size
    if published.floors:  # towards no size
        size = None
    if isinstance(input_size, int):
        height, width = size or (1, 1)
        size = (input_size, round(input_size * width / height))
    elif input_size:
        step = math.lcm(multiple_of, pad_to)
        if any(side % step for side in input_size):
            raise ModelLoadError(
                f"the network takes sides that are multiples of {step}, not {input_size[0]}x{input_size[1]}"
            )
        size = input_size
    resampling, number = published.resampling, config.get("resample")
    if number is not None and not resampling.startswith("sampled"):  # those do so whatever the file calls it
        if number not in _BY_NUMBER:
            raise ModelLoadError(
                f"the checkpoint resamples by filter {number}: bilinear (2) and bicubic (3) are known"
            )
        resampling = _BY_NUMBER[number]
    rescale = config.get("rescale_factor", 1 / 255)
    if config.get("do_rescale", True) is not True or abs(rescale * 255 - 1) > 1e-6:
        raise ModelLoadError(f"the checkpoint rescales pixels by {rescale}: 1/255 is what is known here")
    mean, std = UNIT
    if config.get("do_normalize", True):
        mean, std = config.get("image_mean") or published.mean, config.get("image_std") or published.std
    return Preprocessing(
        size=size,
        multiple_of=multiple_of,
        resampling=resampling,
        mean=tuple(mean),
        std=tuple(std),
        scaling="exact" if isinstance(input_size, tuple) else published.scaling,
        floors=published.floors and input_size is None,
        pad_to=pad_to,
    )


def choose_fixed_size(path: object, fixed: tuple[int, int], given: InputSize | None) -> tuple[int, int]:
    """Return (height, width) of a file that takes that size alone; `ModelLoadError` where another is given."""
    if given not in (None, fixed, fixed[0] if fixed[0] == fixed[1] else None):
        asked = "x".join(map(str, given)) if isinstance(given, tuple) else given
        raise ModelLoadError(f"{path} takes {fixed[0]}x{fixed[1]} only, not {asked}: leave `input_size` out")
    return fixed
