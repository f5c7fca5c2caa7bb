"""Pixels flipped, cut out, resampled and warped: by OpenCV where it gives the same, else by Pillow and numpy.

What comes out depends on what is asked, not on what is installed: OpenCV is compared with the others first.
It flips and resizes if every bit is the same, and warps if no pixel of an image is off by more than a level:
Pillow cuts off what OpenCV rounds.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cortexia_video.augmentation.geometry import Matrix
from cortexia_video.images.resampling import resize_image

Pixels = TypeVar("Pixels", bound=np.generic)

_ONE = 2048  # a weight of 1 in the integers that images are mixed with
_MOST_SHRINKING = 2  # up to this, four neighbours are all of the pixels that a new one covers
_LARGEST_WARP = 16383  # of a side, pixels: OpenCV warps less than twice as many, and edges are added
_TRIED_WARPS: tuple[Matrix, ...] = (
    ((0.9397, -0.342, 15.317), (0.342, 0.9397, -9.723), (0.0, 0.0, 1.0)),
    ((1.3, 0.2, -20.133), (-0.1, 1.1, 3.471), (1e-3, -2e-3, 1.0)),
)
_FROM_CENTRES = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
_TO_CENTRES = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
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


def warp_linear(image: NDArray[np.uint8], pixels: Matrix, height: int, width: int) -> NDArray[np.uint8]:
    """Move a uint8 (H, W, 3) image by a homography of pixels, mixing the four around each point.

    Edges are held: black are just the pixels whose centre comes from outside of the image.
    """
    opencv = _load_warps()
    if opencv is None or max(height, width, *image.shape) > _LARGEST_WARP:
        return _warp_by_pillow(image, pixels, height, width, Image.Resampling.BILINEAR, (0, 0, 0))
    warped = _warp_by_opencv(opencv, image, pixels, height, width)
    _blacken_outside(warped, pixels, *image.shape[:2])
    return warped


def warp_nearest(
    array: NDArray[Pixels], pixels: Matrix, height: int, width: int, fill: float
) -> NDArray[Pixels]:
    """Move float32 or bool (H, W) by a homography: each new pixel takes the one that its centre lies in.

    `fill` comes from outside. Where a centre is on a border, to float32's precision, either side is taken.
    """
    numbers = array.view(np.uint8) if array.dtype == np.bool_ else array
    opencv = _load_warps()
    if opencv is None or max(height, width, *array.shape) > _LARGEST_WARP:
        taken = _warp_by_pillow(numbers, pixels, height, width, Image.Resampling.NEAREST, fill)
    else:
        back = _TO_CENTRES @ np.linalg.inv(pixels) @ _FROM_CENTRES
        flags = opencv.INTER_NEAREST | opencv.WARP_INVERSE_MAP
        taken = opencv.warpPerspective(numbers, back, (width, height), flags=flags, borderValue=fill)
    return taken.view(array.dtype)


def _warp_by_pillow(
    array: NDArray[Pixels], pixels: Matrix, height: int, width: int, how: Image.Resampling, fill: Any
) -> NDArray[Pixels]:
    back = np.linalg.inv(pixels)
    numbers = (back / back[2, 2]).ravel()[:8].tolist()
    kind = Image.Transform.PERSPECTIVE
    return np.array(Image.fromarray(array).transform((width, height), kind, numbers, how, fillcolor=fill))


def _warp_by_opencv(
    opencv: ModuleType, image: NDArray[np.uint8], pixels: Matrix, height: int, width: int
) -> NDArray[np.uint8]:
    """Mix four pixels, edges held. OpenCV is twice as fast with four channels, and where it meets no border."""
    back = np.linalg.inv(pixels)
    x, y, w = back @ [[0, width, width, 0], [0, 0, height, height], [1, 1, 1, 1]]
    most = max(image.shape) // 2
    beyond = (-y / w, y / w - len(image), -x / w, x / w - image.shape[1])
    top, bottom, left, right = (int(np.clip(np.ceil(each.max()) + 1, 0, most)) for each in beyond)
    coloured = opencv.cvtColor(image, opencv.COLOR_RGB2RGBA)
    padded = opencv.copyMakeBorder(coloured, top, bottom, left, right, opencv.BORDER_REPLICATE)
    moved = np.array([[1, 0, left], [0, 1, top], [0, 0, 1]]) @ _TO_CENTRES @ back @ _FROM_CENTRES
    flags = opencv.INTER_LINEAR | opencv.WARP_INVERSE_MAP
    how = {"flags": flags, "borderMode": opencv.BORDER_REPLICATE}
    warped = opencv.warpPerspective(padded, moved, (width, height), **how)
    return opencv.cvtColor(warped, opencv.COLOR_RGBA2RGB)


def _blacken_outside(image: NDArray[np.uint8], pixels: Matrix, height: int, width: int) -> None:
    """Make black, in each row, what is left and right of the pixels that come from inside (height, width).

    Each side of the inside is a straight line here, too.
    """
    across, down, scale = np.linalg.inv(pixels)
    first, end = np.zeros(len(image)), np.full(len(image), float(image.shape[1]))
    rows = np.arange(len(image)) + 0.5
    for slope, by_row, offset in (across, width * scale - across, down, height * scale - down):
        rest = by_row * rows + offset  # inside where slope * column + rest is above 0
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # lines along the rows
            edge = np.ceil(-rest / slope - 0.5)
        if slope > 0:
            np.maximum(first, edge, out=first)
        elif slope < 0:
            np.minimum(end, edge, out=end)
        else:
            end[rest < 0] = 0
    lefts, rights = (np.clip(each, 0, image.shape[1]).astype(np.intp) for each in (first, end))
    for row in np.flatnonzero(lefts).tolist():
        image[row, : lefts[row]] = 0
    for row in np.flatnonzero(rights < image.shape[1]).tolist():
        image[row, rights[row] :] = 0


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


@cache
def _load_warps() -> ModuleType | None:
    """Return OpenCV where it warps noise as Pillow does, to a level: other builds of it may not."""
    opencv = _load_opencv()
    if opencv is None:
        return None
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    for pixels in _TRIED_WARPS:
        warped = _warp_by_opencv(opencv, noise, pixels, 60, 80)
        _blacken_outside(warped, pixels, 60, 80)
        other = _warp_by_pillow(noise, pixels, 60, 80, Image.Resampling.BILINEAR, (0, 0, 0))
        if np.abs(warped.astype(int) - other).max() > 1:
            return None
    return opencv
