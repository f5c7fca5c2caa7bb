"""Depth as images for people: beside the image, on a sheet, in a window; colours are `coloring`'s."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from cortexia_video.errors import explain_import
from cortexia_video.frame import Frame
from cortexia_video.images.decode import to_frame
from cortexia_video.images.resampling import resize_image
from cortexia_video.storage.paths import PathLike
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.viz.colormap import Coloring, Depth
from cortexia_video.viz.colormap import colored_depthmap as colored_depthmap

ImageLike = Frame | PathLike | Image.Image | ArrayLike

_GAP = 8  # pixels between the images of a sheet
_WIDEST = 8  # heights; a strip that is wider would make a sheet that nobody can open


def show_depthmap(depth: Depth, **coloring: Unpack[Coloring]) -> None:
    """Show coloured depth in a window of matplotlib's until that is closed.

    Args:
        depth: As `colored_depthmap` takes it.
        **coloring: As `colored_depthmap` takes it.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueError: The depth is none.

    Example:
        >>> cx.show_depthmap(depth, cmap="turbo")  # doctest: +SKIP
    """
    image = colored_depthmap(depth, **coloring)
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise explain_import(error, "showing a window needs", "'cortexia-video[plot]'") from error
    figure, axes = pyplot.subplots()
    try:
        axes.imshow(image)
        axes.axis("off")
        pyplot.show(block=True)  # else an interactive session would close it at once
    finally:
        pyplot.close(figure)


def merge_into_row(image: ImageLike, depth: Depth, **coloring: Unpack[Coloring]) -> NDArray[np.uint8]:
    """Put an image and its coloured depth side by side, as large as the image.

    Args:
        image: uint8 (H, W, 3) RGB, also (H, W) or with alpha, which is left out, an image of Pillow's, a `Frame`, or
            a path.
        depth: As `colored_depthmap` takes it. Depth of another size is sampled: no value is mixed.
        **coloring: As `colored_depthmap` takes it.

    Returns:
        uint8 (H, 2 W, 3) RGB.

    Raises:
        ValueError: Something is no image or no depth.

    Example:
        >>> cx.merge_into_row(np.zeros((48, 64, 3), np.uint8), np.ones((24, 32))).shape
        (48, 128, 3)
    """
    pixels = _to_pixels(image)
    height, width = pixels.shape[:2]
    return np.hstack([pixels, _sample(colored_depthmap(depth, **coloring), height, width)])


def collage(
    samples: Iterable[tuple[ImageLike, Depth]],
    *,
    columns: int = 2,
    height: int = 240,
    **coloring: Unpack[Coloring],
) -> NDArray[np.uint8]:
    """Lay out images beside their depth on one sheet, white between.

    Args:
        samples: Pairs of image and depth, as `merge_into_row` takes them, of any sizes; those over 8 times as
            wide as high are squeezed to that.
        columns: Pairs in a row.
        height: Of each pair, pixels.
        **coloring: As `colored_depthmap` takes it.

    Returns:
        The sheet: uint8 (H', W', 3) RGB.

    Raises:
        ValueError: Something is no image or no depth.

    Example:
        >>> image, depth = np.zeros((48, 64, 3), np.uint8), np.ones((48, 64))
        >>> cx.collage([(image, depth)] * 4, columns=2, height=48).shape[2]
        3
    """
    pairs = []
    for image, depth in samples:  # the image is averaged, its coloured depth is sampled
        pixels = _to_pixels(image)
        wide = max(1, round(height * min(pixels.shape[1] / pixels.shape[0], _WIDEST)))
        colors = _sample(colored_depthmap(depth, **coloring), height, wide)
        pairs.append(np.hstack([resize_image(pixels, height, wide), colors]))
    if not pairs:
        raise ValueError("collage needs at least one sample")
    lines = [pairs[start : start + columns] for start in range(0, len(pairs), columns)]
    width = max(sum(pair.shape[1] + _GAP for pair in line) for line in lines)
    sheet = np.full((len(lines) * (height + _GAP) + _GAP, width + _GAP, 3), 255, np.uint8)
    for number, line in enumerate(lines):
        top, left = _GAP + number * (height + _GAP), _GAP
        for pair in line:
            sheet[top : top + height, left : left + pair.shape[1]] = pair
            left += pair.shape[1] + _GAP
    return sheet


def _to_pixels(image: ImageLike) -> NDArray[np.uint8]:
    """Return uint8 (H, W, 3) of whatever stands for an image; what is a path is read."""
    if isinstance(image, Frame | str | os.PathLike | RemotePath):
        return to_frame(image).image
    pixels = np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else image)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
        raise ValueError(
            f"an image must be uint8 (H, W, 3) RGB, got {pixels.dtype} {pixels.shape}: convert it"
        )
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else np.ascontiguousarray(pixels[..., :3])


def _sample(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Return the pixels nearest to the centres of (height, width): no colours that were not there."""
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.NEAREST))
