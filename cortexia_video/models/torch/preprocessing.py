"""`Preprocessing`: how a checkpoint wants its images, as its `preprocessor_config.json` says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from cortexia_video.errors import ModelLoadError
from cortexia_video.images.resampling import sample_image

Resampling = Literal["bicubic", "bilinear", "sampled", "sampled_corners"]
InputSize = int | tuple[int, int]
MeanStd = tuple[tuple[float, ...], tuple[float, ...]]

IMAGENET: MeanStd = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SIGNED: MeanStd = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

_BY_NUMBER: dict[int, Resampling] = {2: "bilinear", 3: "bicubic"}  # Pillow's, which the files use
_LONGEST = 8  # times the side asked for: a longer panorama shrinks on both sides


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What becomes of an image before the network sees it.

    size: (height, width) that the image is scaled towards; None leaves it as large as it is.
    multiple_of: both sides become multiples of this. keep_ratio: or exactly `size`, whatever the image's.
    resampling: `bicubic` and `bilinear` average where they shrink and give 8-bit images, by the filter of
    torchvision, which is torch's (Pillow's differs by one of 255 levels in some pixels, and takes eight times
    as long); `sampled` and `sampled_corners` average nothing and give floats, as `resampling.sample_image`.
    mean, std: of red, green and blue in 0..1; subtracted, and divided by.
    """

    size: tuple[int, int] | None
    multiple_of: int
    resampling: Resampling
    mean: tuple[float, ...]
    std: tuple[float, ...]
    keep_ratio: bool = True

    def fit(self, height: int, width: int) -> tuple[int, int]:
        """Return at what (height, width) the network sees an image of this height and width.

        The aspect ratio is kept by the one of the two factors that changes the image less: the short side
        of a larger image becomes the target's, the long side of a smaller one (as MiDaS's `Resize` does).
        """
        if self.size is None:
            return self._round(height), self._round(width)
        if not self.keep_ratio:
            return self.size
        scales = (self.size[0] / height, self.size[1] / width)
        scale = scales[1] if abs(1 - scales[1]) < abs(1 - scales[0]) else scales[0]
        scale = min(scale, _LONGEST * max(self.size) / max(height, width))
        return self._round(height * scale), self._round(width * scale)

    def resample(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[Any]:
        """Resample a uint8 (H, W, 3) image to (height, width): uint8, or float32 in 0..255."""
        if self.resampling == "sampled" or self.resampling == "sampled_corners":
            return sample_image(image, *size, corners=self.resampling == "sampled_corners")
        if image.shape[:2] == size:
            return image
        writable = image if image.flags.writeable else image.copy()  # torch warns of others
        planes = torch.from_numpy(writable).permute(2, 0, 1)[None]
        small = interpolate(planes, size, mode=self.resampling, antialias=True)
        return small[0].permute(1, 2, 0).contiguous().numpy()

    def scale_and_shift(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Turn (x / 255 - mean) / std into x * scale + shift, three numbers each."""
        mean, std = np.asarray(self.mean), np.asarray(self.std)
        return (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)

    def describe(self) -> dict[str, object]:
        """Return what depth depends on, as a model's `settings`."""
        size = "the image's" if self.size is None else f"{self.size[0]}x{self.size[1]}"
        return {
            "input_size": size if self.keep_ratio else f"{size} exactly",
            "multiple_of": self.multiple_of,
            "resampling": self.resampling,
            "normalize": f"mean {_join(self.mean)} std {_join(self.std)}",
        }

    def _round(self, side: float) -> int:
        return max(1, round(side / self.multiple_of)) * self.multiple_of


def read_preprocessing(
    published: Preprocessing, config: Mapping[str, Any], input_size: InputSize | None = None
) -> Preprocessing:
    """Take what a `preprocessor_config.json` says, else what the family's published checkpoints say.

    input_size: in the file's place; one number scales the size, (height, width) is taken exactly.
    A file that asks for squares of every image is not followed in that: the aspect ratio is kept.
    Raises `ModelLoadError` for a file that asks for what is not known here.
    """
    said = config.get("ensure_multiple_of") or 1
    multiple_of = int(said) if said > 1 else published.multiple_of
    mean, std = _read_mean_and_std(config, (published.mean, published.std))
    return Preprocessing(
        size=_choose_size(input_size, _read_size(config, published.size), multiple_of),
        multiple_of=multiple_of,
        resampling=_read_resampling(config, published.resampling),
        mean=mean,
        std=std,
        keep_ratio=published.keep_ratio and not isinstance(input_size, tuple),
    )


def _choose_size(
    given: InputSize | None, size: tuple[int, int] | None, multiple_of: int
) -> tuple[int, int] | None:
    if given is None:
        return size
    if isinstance(given, int):
        height, width = size or (1, 1)
        return given, round(given * width / height)
    if any(side % multiple_of for side in given):
        raise ModelLoadError(
            f"the network takes sides that are multiples of {multiple_of}, not {given[0]}x{given[1]}"
        )
    return given


def _read_size(config: Mapping[str, Any], published: tuple[int, int] | None) -> tuple[int, int] | None:
    size = config.get("size", published) if config.get("do_resize", True) else None
    if isinstance(size, Mapping):
        size = (size["height"], size["width"]) if "height" in size else size.get("shortest_edge")
    return (size, size) if isinstance(size, int) else size


def _read_mean_and_std(config: Mapping[str, Any], published: MeanStd) -> MeanStd:
    rescale = config.get("rescale_factor", 1 / 255)
    if config.get("do_rescale", True) is not True or abs(rescale * 255 - 1) > 1e-6:
        raise ModelLoadError(f"the checkpoint rescales pixels by {rescale}: 1/255 is what is known here")
    if not config.get("do_normalize", True):
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return tuple(config.get("image_mean") or published[0]), tuple(config.get("image_std") or published[1])


def _read_resampling(config: Mapping[str, Any], published: Resampling) -> Resampling:
    """Take the filter that the file names; a family that samples does so whatever its filter is called."""
    number = config.get("resample")
    if number is None or published in ("sampled", "sampled_corners"):
        return published
    if number not in _BY_NUMBER:
        raise ModelLoadError(
            f"the checkpoint resamples by filter {number}: bilinear (2) and bicubic (3) are known"
        )
    return _BY_NUMBER[number]


def _join(numbers: tuple[float, ...]) -> str:
    return " ".join(f"{number:g}" for number in numbers)
