"""A loaded image of any mode as upright RGB; and grey of more than 8 bits: where black and white lie.

Pixels are converted in strips: memory holds the reader's buffers and the result, never a further whole copy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cortexia_video.errors import DecodeError
from cortexia_video.images.pillow_readers import BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT

_COPY_ROWS = 64
_COMPOSITED = {"LA", "PA", "RGBA"}
_PREMULTIPLIED = {"La", "RGBa"}
_KEYED = {"1", "L", "I;16", "RGB"}  # one sample value or triple may mean transparent
_STRIP_PIXELS = 1 << 20

# Orientation -> swap axes first, then step of rows and of columns. 1 and all invalid values turn nothing.
_TURNS: dict[int, tuple[bool, int, int]] = {
    2: (False, 1, -1),
    3: (False, -1, -1),
    4: (False, -1, 1),
    5: (True, 1, 1),
    6: (True, 1, -1),
    7: (True, -1, -1),
    8: (True, -1, 1),
}
_INVERSE = {6: 8, 8: 6}


def turn(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Return uint8 (H, W, 3) turned as EXIF says."""
    upright, stored = _canvas(image.shape[1], image.shape[0], orientation)
    _copy(image, stored)
    return upright


def _canvas(width: int, height: int, orientation: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a new upright uint8 (H, W, 3) for a stored width x height, and its view in stored order."""
    swap = _TURNS.get(orientation, (False, 1, 1))[0]
    upright = np.empty((width, height, 3) if swap else (height, width, 3), np.uint8)
    turned, rows, columns = _TURNS.get(_INVERSE.get(orientation, orientation), (False, 1, 1))
    return upright, (upright.swapaxes(0, 1) if turned else upright)[::rows, ::columns]


def _copy(rows: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
    """Copy (h, W, 3 or 1) into a view of (h, W, 3); by bands and channels: twice as fast for turned views."""
    if target.flags.c_contiguous:
        target[...] = rows
        return
    for y in range(0, len(rows), _COPY_ROWS):
        for channel in range(3):
            target[y : y + _COPY_ROWS, :, channel] = rows[y : y + _COPY_ROWS, :, channel % rows.shape[2]]


def to_rgb(pil_image: Image.Image, orientation: int) -> NDArray[np.uint8]:
    """Return upright uint8 (H, W, 3) RGB of a loaded image of any mode, turned as EXIF says."""
    upright, stored = _canvas(*pil_image.size, orientation)
    scale = _find_grey_scale(pil_image)
    for place, strip in _list_strips(pil_image):
        if scale is None:
            rows = _strip_rgb(strip)
        else:  # 0..white as 0..255, rounded
            samples = _grey_samples(strip, scale.dtype)
            grey = np.rint(np.multiply(samples, 255.0 / scale.white, dtype=np.float64))
            rows = grey.astype(np.uint8)[..., None]
            rows = ~rows if scale.inverted else rows
        if strip.mode in _KEYED and "transparency" in pil_image.info:
            keyed = (_samples(strip) == pil_image.info["transparency"]).all(axis=2, keepdims=True)
            rows = np.where(keyed, np.uint8(255), rows)
        _copy(rows, stored[place])
    return upright


def _strip_rgb(strip: Image.Image) -> NDArray[np.uint8]:
    """Return uint8 (h, W, 3) RGB, or (h, W, 1) grey, of an 8-bit mode; transparency over white."""
    if strip.mode in _PREMULTIPLIED:
        strip = strip.convert("LA" if strip.mode == "La" else "RGBA")
    if strip.mode in _COMPOSITED or (strip.mode == "P" and strip.has_transparency_data):
        strip = strip.convert("RGBA")
        white = Image.new("RGB", strip.size, "white")
        white.paste(strip, mask=strip.getchannel("A"))
        strip = white
    return _samples(strip if strip.mode in ("L", "RGB") else strip.convert("RGB"))


def _samples(strip: Image.Image) -> NDArray[np.uint8]:
    """(h, W, channels) as Pillow holds them, in the mode's own type."""
    samples: NDArray[np.uint8] = np.asarray(strip)
    return samples if samples.ndim == 3 else samples[..., None]


def _list_strips(pil_image: Image.Image) -> Iterator[tuple[tuple[slice, slice], Image.Image]]:
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


def _find_grey_scale(pil_image: Image.Image) -> _GreyScale | None:
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
        for values in (_grey_samples(s, dtype) for _, s in _list_strips(pil_image))
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
