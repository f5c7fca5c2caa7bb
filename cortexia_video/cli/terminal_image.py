"""A small image of depth in a terminal: coloured half blocks, or letters where there is no colour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

from cortexia_video.images.resampling import pick_points
from cortexia_video.viz.colormap import colored_depthmap, find_range

_COLUMNS, _LINES = 64, 20
_HALF_BLOCK = "▀"  # its colour is that of the upper pixel, its background that of the lower
_LETTERS = ".:-=+*#%@"  # from far to near
_MIDDLE = (1.0, 99.0)  # percentiles


def draw_depth(console: Console, thumbnail: NDArray[np.float32], *, larger_is_nearer: bool) -> None:
    """Print depth float32 (H, W), brighter where nearer; what is unknown is grey, or a space."""
    nearness = thumbnail if larger_is_nearer else -thumbnail
    # a character is twice as high as wide
    height, width = thumbnail.shape
    columns = max(1, min(_COLUMNS, console.width, round(2 * _LINES * width / height)))
    lines = max(1, min(_LINES, round(columns * height / width / 2)))
    if console.is_terminal and console.color_system and console.encoding.startswith("utf"):
        image = colored_depthmap(pick_points(nearness, 2 * lines, columns), percentiles=_MIDDLE)
        for upper, lower in zip(image[::2], image[1::2], strict=True):
            text = Text(no_wrap=True)
            for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
                text.append(_HALF_BLOCK, Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
            console.print(text)
        return
    points = pick_points(nearness, lines, columns)
    low, high = find_range(points, percentiles=_MIDDLE)
    level = (points - low) / (high - low) if high > low else np.zeros_like(points)
    letters = np.nan_to_num((level.clip(0, 1) * (len(_LETTERS) - 1)).round(), nan=-1).astype(int)
    for line in letters:
        shown = "".join(_LETTERS[each] if each >= 0 else " " for each in line).rstrip()
        console.print(Text(shown, no_wrap=True))
