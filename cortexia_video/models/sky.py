"""What a network says of the sky beside depth, as the authors of Depth Anything 3 use it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SKY_FROM = 0.3  # and above a pixel is sky, by what that network gives for it

_FAR = 0.99  # quantile of the depth of what is no sky
_FEWEST = 10  # pixels of either that count


def find_sky(values: NDArray[np.float32], score: NDArray[np.float32], sky_from: float) -> NDArray[np.bool_]:
    """Return where there is sky, bool (B, h, w), and give it a depth there: far, as the image's other pixels go.

    values: depth, float32 (B, h, w), changed in place; an image of a few pixels of sky, or else, keeps its own.
    score: float32 (B, h, w). The authors take the quantile of the whole batch, and of 100,000 pixels drawn of
    it; here it is each image's own, of all.
    """
    sky: NDArray[np.bool_] = score >= sky_from
    for depth, is_sky in zip(values, sky, strict=True):
        if _FEWEST < np.count_nonzero(is_sky) < is_sky.size - _FEWEST:
            depth[is_sky] = np.quantile(depth[~is_sky], _FAR)
    return sky
