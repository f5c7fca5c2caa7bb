"""Pixels flipped, cut out and resampled: by OpenCV where it gives the same bits, else by Pillow and numpy.

What comes out depends on what is asked, not on what is installed: OpenCV is compared with the others first,
and used if every bit is the same.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cortexia_video.images.resampling import resize_image

Pixels = TypeVar("Pixels", bound=np.generic)

_ONE = 2048  # a weight of 1 in the integers that images are mixed with
_MOST_SHRINKING = 2  # up to this, four neighbours are all of the pixels that a new one covers
_TRIED_SIZES = ((7, 9, 12, 31), (40, 33, 21, 25), (5, 80, 9, 40), (64, 50, 32, 25))


def flip_image(image: NDArray[np.uint8], axis: int) -> NDArray[np.uint8]:
    """Mirror a uint8 (H, W, 3) image along an axis, 0 (down) or 1 (across)."""
    if opencv := _load_opencv():
        return opencv.flip(image, axis)
    return np.ascontiguousarray(np.flip(image, axis))


def pad_pixels(
    array: NDArray[Pixels], top: int, left: int, size: tuple[int, int], fill: object
) -> NDArray[Pixels]:
    """Return a window of size (height, width) as an array of its own, `fill` where it is beyond the image."""
    height, width = size
    rows = slice(max(top, 0), max(min(top + height, array.shape[0]), 0))
    columns = slice(max(left, 0), max(min(left + width, array.shape[1]), 0))
    inside = array[rows, columns]
    window = np.full((height, width, *array.shape[2:]), fill, array.dtype)
    down, across = rows.start - top, columns.start - left
    window[down : down + inside.shape[0], across : across + inside.shape[1]] = inside
    return window


def resize_linear(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resample a uint8 (H, W, 3) image to (height, width) from the four pixels around each point.

    Where a side shrinks to less than half these would leave pixels out: `resize_image` averages there.
    """
    if max(image.shape[0] / height, image.shape[1] / width) > _MOST_SHRINKING:
        return resize_image(image, height, width)
    if opencv := _load_opencv():
        return opencv.resize(image, (width, height), interpolation=opencv.INTER_LINEAR)
    return _mix(image, height, width)


def resize_nearest(array: NDArray[Pixels], height: int, width: int) -> NDArray[Pixels]:
    """Take, for each pixel of (height, width), the one of array (H, W) that its centre lies in.

    array: float32, or bool. Where a centre is on a border, either side is taken: the one that Pillow takes.
    """
    # booleans as the bytes that they are: OpenCV knows no booleans
    numbers = array.view(np.uint8) if array.dtype == np.bool_ else array
    if opencv := _load_opencv():
        taken = opencv.resize(numbers, (width, height), interpolation=opencv.INTER_NEAREST_EXACT)
    else:
        taken = np.array(Image.fromarray(numbers).resize((width, height), Image.Resampling.NEAREST))
    return taken.view(array.dtype)


def _mix(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Do in numpy what OpenCV does with weights of 11 bits: mix columns, keep 7 bits, mix rows, round."""
    above, below, first, second = _find_weights(image.shape[0], height)
    left, right, one, other = _find_weights(image.shape[1], width)
    inside = (left != right)[:, None]  # the outermost half pixel is the outermost pixel
    one, other = np.where(inside, one, _ONE), np.where(inside, other, 0)
    columns = (image[:, left] * one + image[:, right] * other) >> 4
    mixed = (columns[above] * first[:, None] >> 16) + (columns[below] * second[:, None] >> 16)
    return ((mixed + 2) >> 2).astype(np.uint8)


def _find_weights(old: int, new: int) -> tuple[NDArray[np.int32], ...]:
    """Return for each of `new` points along `old` pixels two neighbours and their weights, int32 (new, 1)."""
    at = ((np.arange(new) + 0.5) * (old / new) - 0.5).astype(np.float32)
    before = np.floor(at).astype(np.int32)
    share = (at - before.astype(np.float32))[:, None]
    weights = (np.rint(each * _ONE).astype(np.int32) for each in (np.float32(1) - share, share))
    return np.clip(before, 0, old - 1), np.clip(before + 1, 0, old - 1), *weights


@cache
def _load_opencv() -> ModuleType | None:
    """Return OpenCV where it is installed and resamples noise to our bits: other builds of it may not."""
    if find_spec("cv2") is None:
        return None
    import cv2

    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    for rows, columns, height, width in _TRIED_SIZES:
        part, size = noise[:rows, :columns], (width, height)
        nearest = np.array(Image.fromarray(part[..., 0]).resize(size, Image.Resampling.NEAREST))
        if not (
            np.array_equal(cv2.resize(part, size, interpolation=cv2.INTER_LINEAR), _mix(part, height, width))
            and np.array_equal(cv2.resize(part[..., 0], size, interpolation=cv2.INTER_NEAREST_EXACT), nearest)
        ):
            return None
    return cv2
