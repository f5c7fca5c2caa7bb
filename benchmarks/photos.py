"""Images to measure with: JPEGs with the detail and the grain of photographs, made from nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

TWELVE_MEGAPIXELS = (4000, 3000)
THREE_MEGAPIXELS = (2000, 1500)
TWO_MEGAPIXELS = (1632, 1224)
_DISTINCT = 6


def make_photos(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """Write a few JPEGs of (width, height) `size` and link them to `count` names in `folder`, made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for index in range(min(_DISTINCT, count)):
        _make_photo(index, size).save(_name(folder, index), quality=90)
    for index in range(_DISTINCT, count):
        os.link(_name(folder, index % _DISTINCT), _name(folder, index))
    return folder


def _name(folder: Path, index: int) -> Path:
    return folder / f"{index:04}.jpg"


def _make_photo(seed: int, size: tuple[int, int]) -> Image.Image:
    """Sum noise of growing fineness, as images of the world have it, and the grain of a sensor."""
    rng = np.random.default_rng(seed)
    width, height = size
    image = np.zeros((height, width, 3), np.float32)
    for octave in range(2, 11):
        coarse = rng.normal(0, 40 / octave, (3 * 2**octave // 4, 2**octave, 3)).astype(np.float32)
        for channel in range(3):
            layer = Image.fromarray(coarse[..., channel]).resize(size, Image.Resampling.BILINEAR)
            image[..., channel] += np.asarray(layer)
    image += rng.normal(128, 4, image.shape)
    return Image.fromarray(image.clip(0, 255).astype(np.uint8))
