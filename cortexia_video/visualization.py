"""Depth as pictures for people: colours and contact sheets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cortexia_video.resampling import resize_image

# Sixteen evenly spaced colours of matplotlib's viridis (CC0, van der Walt and Smith 2015).
_VIRIDIS = """440154 481a6c 472f7d 414487 39568c 31688e 2a788e 23888e
1f988b 22a884 35b779 54c568 7ad151 a5db36 d2e21b fde725"""
_UNKNOWN = (128, 128, 128)


def _make_palette() -> NDArray[np.uint8]:
    """Give uint8 (256, 3) RGB."""
    anchors = np.array([[*bytes.fromhex(colour)] for colour in _VIRIDIS.split()])
    positions = np.linspace(0, len(anchors) - 1, 256)
    channels = [np.interp(positions, np.arange(len(anchors)), anchors[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


_PALETTE = _make_palette()


def colored_depthmap(
    depth: NDArray[np.float32], d_min: float | None = None, d_max: float | None = None
) -> NDArray[np.uint8]:
    """Colour depth (H, W) from dark (`d_min`) to bright (`d_max`): uint8 (H, W, 3) RGB.

    The limits are the smallest and largest finite value where not given. Unknown pixels (NaN) are grey; a
    constant map is all dark.
    """
    depth = np.asarray(depth, np.float32)
    known = np.isfinite(depth)
    finite = depth[known]
    if not finite.size:
        return np.full((*depth.shape, 3), _UNKNOWN, np.uint8)
    low = float(finite.min()) if d_min is None else d_min
    high = float(finite.max()) if d_max is None else d_max
    scale = 255 / (high - low) if high > low else 0.0
    level = np.where(known, (depth - low) * scale, 0).clip(0, 255)
    image = _PALETTE[level.round().astype(np.uint8)]
    image[~known] = _UNKNOWN
    return image


def merge_into_row(image: NDArray[np.uint8], depth: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Put a picture uint8 (H, W, 3) and its coloured depth (H, W) side by side: uint8 (H, 2 W, 3)."""
    return np.hstack([image, colored_depthmap(depth)])


def collage(
    samples: Sequence[tuple[NDArray[np.uint8], NDArray[np.float32]]], *, columns: int = 2, height: int = 240
) -> NDArray[np.uint8]:
    """Lay out pictures beside their depth on one sheet, `columns` pairs a row, each `height` pixels high.

    samples: pairs of uint8 (H, W, 3) and float (H, W), of any sizes. Gives uint8 (H', W', 3), white between.
    """
    if not samples:
        raise ValueError("collage needs at least one sample")
    pairs = [merge_into_row(image, depth) for image, depth in samples]
    pairs = [
        resize_image(pair, height, max(1, round(pair.shape[1] * height / pair.shape[0]))) for pair in pairs
    ]
    lines = [pairs[start : start + columns] for start in range(0, len(pairs), columns)]
    gap = 8
    width = max(sum(pair.shape[1] + gap for pair in line) for line in lines)
    sheet = np.full((len(lines) * (height + gap) + gap, width + gap, 3), 255, np.uint8)
    for number, line in enumerate(lines):
        top, left = gap + number * (height + gap), gap
        for pair in line:
            sheet[top : top + height, left : left + pair.shape[1]] = pair
            left += pair.shape[1] + gap
    return sheet
