"""Grey of more than 8 bits: where black and white lie."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cortexia_video.errors import DecodeError
from cortexia_video.images.pillow_readers import BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT

_STRIP_PIXELS = 1 << 20


def list_strips(pil_image: Image.Image) -> Iterator[tuple[tuple[slice, slice], Image.Image]]:
    """Place and pixels of each strip of at most a million pixels, so that temporaries stay small."""
    width, height = pil_image.size
    wide = min(width, _STRIP_PIXELS)
    tall = _STRIP_PIXELS // wide
    for y in range(0, height, tall):
        for x in range(0, width, wide):
            right, below = min(x + wide, width), min(y + tall, height)
            yield (slice(y, below), slice(x, right)), pil_image.crop((x, y, right, below))


class _GreyScale(NamedTuple):
    """How to read samples of more than 8 bits: their type, the largest value, and whether that is black."""

    dtype: str
    white: float
    inverted: bool = False


def find_grey_scale(pil_image: Image.Image) -> _GreyScale | None:
    """Return the scale of 16-bit, 32-bit and float grey, or None for 8-bit modes.

    16-bit modes end at the bits that the file names (12 in some TIFF). For 32 bits no file says: integers
    take the smallest usual white (8, 16 or 32 bits) that holds them all, floats 1 or 255.
    """
    tags = getattr(pil_image, "tag_v2", {})
    inverted = tags.get(PHOTOMETRIC) == 0
    if pil_image.mode.startswith("I;16"):
        bits = tags.get(BITS_PER_SAMPLE, (16,))[0]
        return _GreyScale("", 2.0**bits - 1.0, inverted)
    if pil_image.mode not in ("I", "F"):
        return None
    if pil_image.format == "PPM":
        return _GreyScale("i4", 65535.0)
    unsigned = pil_image.mode == "I" and tags.get(SAMPLE_FORMAT, (1,))[0] == 1
    dtype = "f4" if pil_image.mode == "F" else "u4" if unsigned else "i4"
    # the smallest usual white level that no sample exceeds; raises DecodeError where there is none
    extremes = [
        (values.min(), values.max())
        for values in (_grey_samples(s, dtype) for _, s in list_strips(pil_image))
    ]
    low = float(np.min([low for low, _ in extremes]))
    high = float(np.max([high for _, high in extremes]))
    levels = (
        (1.0, 255.0) if dtype == "f4" else (255.0, 65535.0, 4294967295.0 if dtype == "u4" else 2147483647.0)
    )
    white = next((level for level in levels if high <= level), None)
    if math.isnan(low):
        raise DecodeError("some of its values are no numbers (NaN): convert it to 8 or 16 bits")
    if white is None or not low >= 0.0:
        raise DecodeError(
            f"which values are black and white is unknown: they run from {low:g} to {high:g}; "
            "convert it to 8 or 16 bits, or floating point values to 0..1"
        )
    return _GreyScale(dtype, white, inverted)


def _grey_samples(strip: Image.Image, dtype: str) -> NDArray[np.generic]:
    """(h, W) in the type the file means; Pillow holds unsigned 32-bit integers as signed ones."""
    samples: NDArray[np.generic] = np.asarray(strip)
    return samples.view(dtype) if dtype else samples


def strip_grey(strip: Image.Image, scale: _GreyScale) -> NDArray[np.uint8]:
    """Return 0..white as 0..255, rounded: uint8 (h, W, 1)."""
    grey = np.rint(np.multiply(_grey_samples(strip, scale.dtype), 255.0 / scale.white, dtype=np.float64))
    values: NDArray[np.uint8] = grey.astype(np.uint8)[..., None]
    return ~values if scale.inverted else values
