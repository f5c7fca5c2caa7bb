"""A bar that says which colour stands for which depth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cortexia_video.viz.color_tables import find_color_table
from cortexia_video.viz.colormap import Spacing

_INK, _PAPER = (0, 0, 0), (255, 255, 255)
_MARKS = 5
_LINES = 24  # of text, in the height of the bar
_SMALLEST, _LARGEST = 10, 48  # pixels of text


def color_bar(
    d_min: float,
    d_max: float,
    cmap: str = "viridis",
    *,
    height: int,
    unit: str = "",
    spacing: Spacing = "linear",
) -> NDArray[np.uint8]:
    """Draw the colours from `d_min`, below, to `d_max`, above, with numbers.

    Args:
        d_min: The range of an image, as `find_range` returns it.
        d_max: The other end of the range.
        cmap: That of the image.
        height: Pixels.
        unit: Written behind the numbers: `m` for metres, nothing for relative depth.
        spacing: That of the image.

    Returns:
        uint8 (height, W, 3) RGB.

    Example:
        >>> cx.viz.color_bar(0.5, 4, height=240, unit="m").shape[0]
        240
    """
    size = min(max(height // _LINES, _SMALLEST), _LARGEST)
    font = ImageFont.load_default(size)
    count = max(2, min(_MARKS, height // (2 * size)))
    shares = np.linspace(0, 1, count)
    start, end = (d_min, d_max) if spacing == "linear" else (1 / d_min, 1 / d_max)
    steps = [start + share * (end - start) for share in shares]
    values = [step if spacing == "linear" else 1 / step for step in steps]
    numbers = [f"{value:.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".") for value in values]
    labels = [f"{number} {unit}".rstrip() for number in numbers]
    width = round(max(font.getlength(label) for label in labels))
    sheet = Image.new("RGB", (3 * size + width, height), _PAPER)
    table = find_color_table(cmap)
    levels = (np.arange(height)[::-1] + 0.5) * (len(table) / height)
    sheet.paste(Image.fromarray(np.repeat(table[levels.astype(np.intp), None], size, axis=1)), (size // 2, 0))
    draw = ImageDraw.Draw(sheet)
    for share, label in zip(shares, labels, strict=True):
        down = (1 - share) * (height - 1)
        draw.line([(1.5 * size, down), (1.8 * size, down)], _INK)
        draw.text((2 * size, min(max(down, size / 2), height - size / 2)), label, _INK, font, anchor="lm")
    return np.asarray(sheet)
