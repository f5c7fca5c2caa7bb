"""Tables of 256 colours under matplotlib's names: viridis, magma, turbo, Spectral, grey; `_r` reverses one.

viridis and magma are by N. Smith, S. van der Walt and E. Firing (CC0), turbo is by A. Mikhailov
(Google, Apache-2.0): here are the steps from colour to colour of each channel, compressed. Spectral is
eleven colours by C. Brewer, joined by straight lines. What the licences ask for is in NOTICE.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

_VIRIDIS = """
eNqFUokRhCAMTLC1K+H6L+VQshtYyehlv+AoyEw+5hcsBNPqaZ2k3ZoKjTRJbTPQ4Qcc8JB7CxGD9zqgoCCtkoYvZOsAT9PInkbP
2Nqt7P8Te1vb3tlyW0IY+wIwk0R857WbXHTeSA8qGy7J6JQZeqj+MGFzdjhMg1Nb/aBkII2kxiJe7xgzXrK1EyuPiAo=
"""
_MAGMA = """
eNp9UgESwyAIE9z/v+xuAUOwdhAD55lWgWFjAGZYMGfYcAdFssPetfSX5En3VHRwXMOtbCTghaTkP7Yu2X59uIJ/AS3qFmWiarrS
96B+pgU2wrUHWnqvcEnagReu9BMf9+m0mQQkTZ74XSOuFiOjzWg9sKPQSwoIJMEbsEiJEJxNq5mtyWXJ7DF0+vqIX8rJLbk=
"""
_TURBO = """
eNpdklsWwyAIRPGZfncl/e/+d2W0wgDSDCPnNDH2An5yiiI2J4I10UJarInYWlj7F3u/JXyRMkfh2KocVZaqVHm23+VjD7YJJzmc
hGkhlErRDp4QQjdb4pbFGrLGu5iy51wiVUQLIZwBtzCsEG9cMOdHXw0/Gb+X4PSOHuithFCEV/GneWPDQ3bgskFN7RTr+7pEvV+9
9e3WWt3GmLQlOguMQIH1DoTWmvHQEMfx0LZjH+8C0kIbVHLxTqLTrDPq6e3yYqZfAlLjUDedvyC/2OkHqdZpkQ==
"""
_SPECTRAL = "9e0142 d53e4f f46d43 fdae61 fee08b ffffbf e6f598 abdda4 66c2a5 3288bd 5e4fa2"
_GREY = "000000 ffffff"
_UNKNOWN, _UNKNOWN_AMONG_GREYS = (128, 128, 128), (144, 48, 208)


@cache
def find_color_table(name: str) -> NDArray[np.uint8]:
    """Return a table by its name, uint8 (256, 3) RGB, read-only; ValueError for a name that is not known."""
    base = name.removesuffix("_r")
    if base not in COLOR_TABLES:
        raise ValueError(f"unknown cmap {name!r}: use {', '.join(COLOR_TABLES)}, or one reversed: viridis_r")
    make, colors = COLOR_TABLES[base]
    table = make(colors)[:: 1 if name == base else -1]
    table.setflags(write=False)
    return table


def find_unknown_color(name: str) -> NDArray[np.uint8]:
    """Return the colour of unknown pixels beside a table, uint8 (3,) RGB: one that is not in it."""
    return np.array(_UNKNOWN_AMONG_GREYS if name.startswith("grey") else _UNKNOWN, np.uint8)


def _unpack(steps: str) -> NDArray[np.uint8]:
    """Add up the steps of each channel, which go round at 256."""
    channels = np.frombuffer(zlib.decompress(base64.b64decode(steps)), np.uint8).reshape(3, 256)
    return channels.cumsum(axis=1, dtype=np.uint8).T


def _join(colors: str) -> NDArray[np.uint8]:
    """Draw straight lines between evenly spaced colours."""
    anchors = np.array([[*bytes.fromhex(color)] for color in colors.split()])
    places = np.linspace(0, len(anchors) - 1, 256)
    channels = [np.interp(places, np.arange(len(anchors)), channel) for channel in anchors.T]
    return np.stack(channels, axis=1).round().astype(np.uint8)


COLOR_TABLES: dict[str, tuple[Callable[[str], NDArray[np.uint8]], str]] = {
    "viridis": (_unpack, _VIRIDIS),
    "magma": (_unpack, _MAGMA),
    "turbo": (_unpack, _TURBO),
    "Spectral": (_join, _SPECTRAL),
    "grey": (_join, _GREY),
}
