"""An 8-bit grey PNG to look at: per image, nearer darker, farther lighter. Not for measuring."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, PngImagePlugin

from cortexia_video.depth_map import DepthMap

MARK = b"cortexia_video depth view"
_ROWS_AT_ONCE = 64  # a large map must not be in memory twice as float


def encode(depth: DepthMap, ends: tuple[float, float] | None = None) -> list[bytes | memoryview]:
    """Return an 8-bit PNG, as large as the depth map: 0 nearest, 255 farthest; 0 also for unknown pixels, and
    for all of a constant map. ends: the lowest and the highest value, by default those of the map.
    """
    text = PngImagePlugin.PngInfo()
    text.add_text("Software", MARK.decode())
    file = io.BytesIO()
    values = depth.values
    lowest, highest = ends or tuple(float(each.reduce(values, axis=None)) for each in (np.fmin, np.fmax))
    start, factor = (highest, -1.0) if depth.larger_is_nearer else (lowest, 1.0)
    grey = np.zeros(values.shape, np.uint8)
    for top in range(0, len(values) if highest > lowest else 0, _ROWS_AT_ONCE):
        part = values[top : top + _ROWS_AT_ONCE].astype(np.float64) - start
        part *= factor * 255 / (highest - lowest)
        grey[top : top + _ROWS_AT_ONCE] = np.nan_to_num(np.rint(part, out=part), copy=False).clip(0, 255)
    Image.fromarray(grey).save(file, "PNG", pnginfo=text, compress_level=1)
    return [file.getbuffer()]


def lost(depth: DepthMap) -> str:
    """Return what this format loses of a depth map."""
    return (
        f"{depth.kind} depth becomes an 8-bit view of 256 steps, scaled for this image: it cannot be undone"
    )


def check(data: bytes, height: int, width: int) -> str | None:
    """Return what is wrong with a file of (height, width) pixels, if anything is."""
    with PngImagePlugin.PngImageFile(io.BytesIO(data)) as image:  # Image.open refuses large ones
        image.load()
    if image.size != (width, height):
        return f"it is {image.height}x{image.width}, not {height}x{width}"
    return None if image.mode == "L" else f"its mode is {image.mode}, not L"
