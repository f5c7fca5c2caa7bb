"""Depth as color for people; the only owner of matplotlib.

Doors: `color_tables`, `colormap`, `figures`.
"""

from cortexia_video.viz.colorbar import color_bar
from cortexia_video.viz.colormap import Coloring, Range, colored_depthmap, find_range
from cortexia_video.viz.figures import collage, merge_into_row, show_depthmap

__all__ = [
    "Coloring",
    "Range",
    "collage",
    "color_bar",
    "colored_depthmap",
    "find_range",
    "merge_into_row",
    "show_depthmap",
]


def __dir__() -> list[str]:
    return __all__
