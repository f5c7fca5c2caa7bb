"""What a camera and its software do to colours, and more: so that a network trained on renderings believes
photos.

Images are float32 (B, 3, H, W) in [0, 1]; each is changed by chances of its own.
"""

from __future__ import annotations

import io

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

_MOST_SENSOR_NOISE = 0.06
_GREY_SHARE = 0.06
_SOFT_SHARE = 0.25
_FILTERED_SHARE = 0.3
_JPEG_SHARE = 0.4
_ERASED_SHARE = 0.15
_DIM_SHARE = 0.12
_SHAKEN_SHARE = 0.12
_LONGEST_SHAKE = 0.04  # of the short side
_EXPOSED_SHARE = 0.7
_CRISP_SHARE = 0.4
_BORDER_SHARE = 0.25
_BORDERS = (0.005, 0.05)  # of the side


def jitter_color(image: Tensor, rng: Generator) -> Tensor:
    """Filter, change light and colours, expose, blur or sharpen, erase, add noise, compress: (B, 3, H, W)."""
    image = filter_randomly(image, rng)
    image = change_light(image, rng)
    image = change_colours(image, rng)
    image = expose(image, rng)
    image = dim(image, rng)
    image = shake(image, rng)
    image = soften(image, rng)
    image = erase(image, rng)
    image = sharpen_edges(image, rng)
    grain = torch.from_numpy(rng.standard_normal(tuple(image.shape), np.float32))
    image = image + grain * _column(_MOST_SENSOR_NOISE * rng.random(len(image)) ** 3)
    return compress(image.clamp(0, 1), rng)


def filter_randomly(image: Tensor, rng: Generator) -> Tensor:
    """Mix some images with a random 3 x 3 filter of themselves: other textures, the same contours.

    Source: Xu et al., "Robust and generalizable visual representation learning via random convolutions",
    ICLR 2021, section 3.
    """
    count = len(image)
    kernels = torch.from_numpy(rng.standard_normal((count * 3, 3, 3, 3), np.float32)) / 27**0.5
    share = _column(rng.uniform(0, 0.7, count) * (rng.random(count) < _FILTERED_SHARE))
    chosen = share.flatten() > 0
    if not chosen.any():
        return image
    kernels = kernels.view(count, 3, 3, 3, 3)[chosen].flatten(0, 1)
    flat = (image[chosen] - 0.5).flatten(0, 1)[None]
    filtered = F.conv2d(F.pad(flat, (1, 1, 1, 1), "reflect"), kernels, groups=int(chosen.sum()))
    image = image.clone()
    image[chosen] += share[chosen] * (filtered.view_as(image[chosen]) + 0.5 - image[chosen])
    return image.clamp(0, 1)


def change_light(image: Tensor, rng: Generator) -> Tensor:
    """Change gamma, exposure, white balance, and the light from place to place."""
    count = len(image)
    image = image.clamp(1e-3, 1) ** _factors(rng.normal(0, 0.22, count))
    image = image * _factors(rng.normal(0, 0.18, count)) * _factors(rng.normal(0, 0.06, (count, 3)))
    uneven = rng.standard_normal((count, 1, 4, 5), np.float32) * rng.uniform(0, 0.25, (count, 1, 1, 1))
    field = torch.from_numpy(uneven.astype(np.float32))
    return image * F.interpolate(field, image.shape[2:], mode="bicubic").exp()


def change_colours(image: Tensor, rng: Generator) -> Tensor:
    """Change contrast and saturation, and make a few images grey."""
    count = len(image)
    mean = image.mean((2, 3), keepdim=True)
    image = mean + (image - mean) * _factors(rng.normal(0, 0.18, count))
    grey = image.mean(1, keepdim=True)
    coloured = (rng.random(count) > _GREY_SHARE).astype(np.float64)
    return grey + (image - grey) * _factors(rng.normal(-0.35, 0.4, count)) * _column(coloured)


def expose(image: Tensor, rng: Generator) -> Tensor:
    """Let a camera choose white, black and contrast of most images: bright parts lose their tint and burn out."""
    exposed = []
    for each in image:
        chance, white_at, black_at, neutral, floor, contrast = rng.random(6).tolist()
        if chance < _EXPOSED_SHARE:
            small = each[:, ::4, ::4]
            light = small.mean(0)
            tint = small[:, light >= light.quantile(0.8)].mean(1).clamp_min(0.02)
            each = each * ((tint.mean() / tint) ** (0.5 + 0.5 * neutral))[:, None, None]
            black, white = light.quantile(0.06 * black_at), light.quantile(0.8 + 0.19 * white_at)
            each = (0.06 * floor + (each - black) / (white - black).clamp_min(0.1)).clamp(0, 1)
            each = each + contrast * (each**2 * (3 - 2 * each) - each)
        exposed.append(each)
    return torch.stack(exposed)


def dim(image: Tensor, rng: Generator) -> Tensor:
    """Make some images dark and reddish, as by one weak lamp."""
    count = len(image)
    chosen = (rng.random(count) < _DIM_SHARE)[:, None]
    lamp = rng.uniform(0, 1, (count, 1)) * np.array([0.0, 0.25, 0.7]) + rng.uniform(0.2, 1.4, (count, 1))
    return image * _factors(-lamp * chosen)


def shake(image: Tensor, rng: Generator) -> Tensor:
    """Move some images along a line while they are taken."""
    shaken = []
    for each in image[:, None]:
        chance, angle, share = rng.random(3)
        length = share * _LONGEST_SHAKE * min(each.shape[2:])
        if chance < _SHAKEN_SHARE and length >= 1:
            reach = int(np.ceil(length / 2))
            along = np.linspace(-length / 2, length / 2, 4 * reach + 1)
            rows, columns = (
                np.rint(along * way).astype(int) + reach
                for way in (np.sin(angle * np.pi), np.cos(angle * np.pi))
            )
            kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
            np.add.at(kernel, (rows, columns), np.float32(1 / len(along)))
            channels = F.pad(each.transpose(0, 1), (reach,) * 4, "replicate")
            each = F.conv2d(channels, torch.from_numpy(kernel)[None, None]).transpose(0, 1)
        shaken.append(each)
    return torch.cat(shaken)


def soften(image: Tensor, rng: Generator) -> Tensor:
    """Let some images look enlarged: of fewer pixels than they have."""
    height, width = image.shape[2:]
    softened = []
    for each, share in zip(image[:, None], rng.random(len(image)), strict=True):
        scale = float(rng.uniform(0.35, 0.9))
        if share < _SOFT_SHARE:
            small = F.interpolate(
                each, (max(8, int(height * scale)), max(8, int(width * scale))), mode="area"
            )
            each = F.interpolate(small, (height, width), mode="bilinear")
        softened.append(each)
    return torch.cat(softened)


def sharpen_edges(image: Tensor, rng: Generator) -> Tensor:
    """Sharpen some images as cameras do, by what a 3 x 3 mean takes from them."""
    strength = _column(rng.uniform(0, 1.5, len(image)) * (rng.random(len(image)) < _CRISP_SHARE))
    blurred = F.avg_pool2d(F.pad(image, (1,) * 4, "replicate"), 3, 1)
    return (image + strength * (image - blurred)).clamp(0, 1)


def erase(image: Tensor, rng: Generator) -> Tensor:
    """Cover a patch of some images with one colour and noise. Their depth is asked for all the same.

    Source: Zhong et al., "Random erasing data augmentation", AAAI 2020.
    """
    image = image.clone()
    height, width = image.shape[2:]
    for each in image:
        down, across, tall, wide, chance = rng.random(5)
        colour = torch.from_numpy(rng.random((3, 1, 1), np.float32))
        if chance < _ERASED_SHARE:
            rows = slice(int(down * height), int((down + 0.05 + 0.25 * tall) * height))
            columns = slice(int(across * width), int((across + 0.05 + 0.25 * wide) * width))
            each[:, rows, columns] = colour
    return image


def add_borders(image: Tensor, valid: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """Frame some images in white, black or grey, as files of scans and sensors are; there nothing is known.

    image: (B, 3, H, W) in [0, 1]. valid: bool (B, 1, H, W). Returns both anew.
    """
    image, valid = image.clone(), valid.clone()
    height, width = image.shape[2:]
    for pixels, known in zip(image, valid, strict=True):
        chance, grey = rng.random(2)
        sides = rng.uniform(*_BORDERS, 4) * (rng.random(4) < 0.9)
        colour = float(rng.choice([1.0, 0.0, grey], p=[0.5, 0.25, 0.25]))
        if chance >= _BORDER_SHARE:
            continue
        top, bottom, left, right = np.rint(sides * [height, height, width, width]).astype(int).tolist()
        inner = torch.zeros_like(known)
        inner[:, top : height - bottom, left : width - right] = True
        pixels.masked_fill_(~inner, colour)
        known &= inner
    return image, valid


def compress(image: Tensor, rng: Generator) -> Tensor:
    """Write some images as JPEG of quality 25 to 95, and read them again."""
    image = image.clone()
    for each in image:
        chance, quality = rng.random(), int(rng.integers(25, 96))
        if chance < _JPEG_SHARE:
            pixels = (each * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "JPEG", quality=quality)
            decoded = np.array(Image.open(file), np.float32)
            each.copy_(torch.from_numpy(decoded).permute(2, 0, 1) / 255)
    return image


def _factors(exponents: NDArray[np.float64]) -> Tensor:
    return _column(np.exp(exponents))


def _column(values: NDArray[np.float64]) -> Tensor:
    """Shape (B,) or (B, 3) for broadcasting over images."""
    return torch.from_numpy(np.asarray(values, np.float32)).view(len(values), -1, 1, 1)
