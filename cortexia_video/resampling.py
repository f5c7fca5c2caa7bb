"""The size a network takes, a picture resampled to it, and depth resampled back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_LONGEST = 8  # times the short side: beyond this a panorama gets a smaller short side instead of more pixels


def fit_short_side(height: int, width: int, *, short_side: int, multiple_of: int) -> tuple[int, int]:
    """Give the (height, width) nearest to the picture's aspect ratio at a chosen short side.

    Both are multiples of `multiple_of`, so the ratio is kept to half a multiple. A side longer than eight
    times `short_side` is not made: the short side shrinks instead, so that no strip fills the memory.
    """
    scale = min(short_side / min(height, width), _LONGEST * short_side / max(height, width))

    def fit(side: int) -> int:
        return max(1, round(side * scale / multiple_of)) * multiple_of

    return fit(height), fit(width)


def resize_image(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resample a uint8 (H, W, 3) picture to (height, width), averaging where it shrinks (no aliasing)."""
    if image.shape[:2] == (height, width):
        return image
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(resized)


def resize_depth(values: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Interpolate float32 (h, w) values bilinearly to (height, width): half-pixel centres, edges held.

    Ours because Pillow's is three times slower on float pictures; equal to it within float rounding when
    enlarging. NaN spreads to the pixels that it would have been mixed into.
    """
    if values.shape == (height, width):
        return values
    left, weight = _taps(values.shape[1], width)
    right = np.minimum(left + 1, values.shape[1] - 1)
    rows = values[:, left] + (values[:, right] - values[:, left]) * weight
    slopes = np.diff(rows, axis=0, append=rows[-1:])
    upper, weight = _taps(values.shape[0], height)
    resized = np.empty((height, width), np.float32)
    starts = np.flatnonzero(np.diff(upper, prepend=-1))
    for start, end in zip(starts, [*starts[1:], height], strict=True):  # the rows between two of the source's
        part = resized[start:end]
        np.multiply(weight[start:end, None], slopes[upper[start]], out=part)
        part += rows[upper[start]]
    return resized


def _taps(source: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Give, for each of `target` samples, the source sample before it and the weight of the one after."""
    centres = np.clip((np.arange(target) + 0.5) * (source / target) - 0.5, 0, source - 1)
    before = centres.astype(np.intp)
    return before, (centres - before).astype(np.float32)
