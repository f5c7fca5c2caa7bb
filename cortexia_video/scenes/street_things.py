"""Small things of streets and gardens, on y = 0, their front towards +z."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from cortexia_video.scenes.pieces import Piece, boxes, join, path, quads, tubes


def bench() -> Piece:
    """A bench with a back. Materials: 0 boards, 1 legs."""
    return join(
        [
            boxes([(0, 0.43, z) for z in (-0.18, 0, 0.18)], (0.8, 0.02, 0.07)),
            boxes([(0, y, -0.3) for y in (0.6, 0.75)], (0.8, 0.05, 0.02)),
            boxes([(x, 0.35, z) for x in (-0.7, 0.7) for z in (-0.25, 0.2)], (0.03, 0.35, 0.03), 1),
        ]
    )


def washing_line(rng: Generator) -> Piece:
    """A line between two posts with washing on it. Materials: 0 posts, 1 to 3 cloth."""
    ends = np.array([[-2.5, 1.8, 0], [2.5, 1.8, 0]])
    parts = [tubes(ends * (1, 0, 1), ends, 0.035, 0.035), path(ends, 0.006, 0, 3)]
    for x in np.arange(-2.2, 2.2, 0.6):
        wide, low = rng.uniform(0.15, 0.3), 1.78 - rng.uniform(0.3, 1.2)
        cloth = [(x - wide, 1.78, 0), (x + wide, 1.78, 0), (x + wide, low, 0.1), (x - wide, low, 0.08)]
        parts.append(quads(np.array([cloth], np.float64), int(rng.integers(1, 4))))
    return join(parts)
