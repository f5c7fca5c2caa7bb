"""Batches for training: cropped, resized, mirrored and recoloured scenes, from one generator each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from cortexia_video.training.pool import Pool

SHORT_SIDE = 192
"""Short side of every batch, in pixels: what the network is made for."""

# height, width, how often
_SIZES = (
    (192, 256, 0.5),
    (192, 288, 0.14),
    (192, 192, 0.12),
    (256, 192, 0.1),
    (192, 352, 0.09),
    (288, 192, 0.05),
)
_SMALLEST_CROP = 0.62
_MOST_SENSOR_NOISE = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """image: float32 (B, 3, H, W) in [0, 1]. disparity: float32 (B, H, W), 1 / metres, 0 = sky."""

    image: Tensor
    disparity: Tensor


def draw_batch(pool: Pool, indices: NDArray[np.int64], rng: Generator) -> Batch:
    """Cut one window of a common size out of each scene, mirror half of them, and change light and colour."""
    weights = [weight for _, _, weight in _SIZES]
    height, width, _ = _SIZES[int(rng.choice(len(_SIZES), p=weights))]
    parts = [_draw_window(pool, int(index), (height, width), rng) for index in indices]
    image = torch.cat([image for image, _ in parts])
    disparity = torch.cat([disparity for _, disparity in parts])
    return Batch(recolour(image, rng), disparity[:, 0])


def _draw_window(pool: Pool, index: int, size: tuple[int, int], rng: Generator) -> tuple[Tensor, Tensor]:
    """Cut a window of nearly the wanted aspect: image (1, 3, h, w) in [0, 1] and disparity (1, 1, h, w)."""
    rows, columns = _draw_slices(pool.images.shape[1:3], size, rng)
    image = torch.from_numpy(pool.images[index, rows, columns]).permute(2, 0, 1)[None].float() / 255
    disparity = torch.from_numpy(pool.disparities[index, rows, columns]).float()[None, None]
    if rng.random() < 0.2:  # a picture that was enlarged
        image = F.interpolate(image, scale_factor=float(rng.uniform(0.4, 0.9)), mode="area")
    image = F.interpolate(image, size=size, mode="bilinear", antialias=True)
    disparity = F.interpolate(disparity, size=size, mode="nearest")
    if rng.random() < 0.5:
        image, disparity = image.flip(3), disparity.flip(3)
    return image, disparity


def _draw_slices(full: tuple[int, ...], size: tuple[int, int], rng: Generator) -> tuple[slice, slice]:
    """Draw a window inside `full` of the aspect of `size`, stretched by a few per cent."""
    share = min(full[0] / size[0], full[1] / size[1]) * rng.uniform(_SMALLEST_CROP, 1)
    height = min(full[0], max(8, round(size[0] * share * float(np.exp(rng.normal(0, 0.06))))))
    width = min(full[1], max(8, round(size[1] * share)))
    top, left = int(rng.integers(0, full[0] - height + 1)), int(rng.integers(0, full[1] - width + 1))
    return slice(top, top + height), slice(left, left + width)


def recolour(image: Tensor, rng: Generator) -> Tensor:
    """Change gamma, brightness, white balance, contrast, saturation and noise: (B, 3, H, W) in [0, 1]."""
    count = len(image)
    image = image.clamp(1e-3, 1) ** _factors(rng.normal(0, 0.22, count))
    image = image * _factors(rng.normal(0, 0.18, count)) * _factors(rng.normal(0, 0.06, (count, 3)))
    mean = image.mean((2, 3), keepdim=True)
    image = mean + (image - mean) * _factors(rng.normal(0, 0.18, count))
    grey = image.mean(1, keepdim=True)
    saturation = _factors(rng.normal(0, 0.3, count)) * _column((rng.random(count) > 0.06).astype(np.float64))
    image = grey + (image - grey) * saturation
    grain = torch.from_numpy(rng.standard_normal(tuple(image.shape), np.float32))
    image = image + grain * _column(_MOST_SENSOR_NOISE * rng.random(count) ** 3)
    return image.clamp(0, 1)


def _factors(exponents: NDArray[np.float64]) -> Tensor:
    return _column(np.exp(exponents))


def _column(values: NDArray[np.float64]) -> Tensor:
    """Shape (B,) or (B, 3) for broadcasting over pictures."""
    return torch.from_numpy(values.astype(np.float32)).view(len(values), -1, 1, 1)
