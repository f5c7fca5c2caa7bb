"""Periodic value noise: the grain, stains and clouds of everything in a scene."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

SIDE = 256
"""Side of a noise field, and of a texture, in texels; a power of two."""


def periodic_noise(rng: Generator, cells: int, octaves: int, decay: float = 0.55) -> NDArray[np.float32]:
    """Sum octaves of smoothly interpolated random lattices that wrap around.

    cells: lattice cells across the field in the first octave; each octave doubles them. decay: weight ratio.
    Returns float32 (SIDE, SIDE) in [-1, 1], largest magnitude 1.
    """
    total = np.zeros((SIDE, SIDE), np.float32)
    weight = 1.0
    for octave in range(octaves):
        count = cells * 2**octave
        if count > SIDE:
            break
        lattice = rng.random((count, count), np.float32) - np.float32(0.5)
        # the lattice on the full field, by smoothstep weights, first along rows, then columns
        position = np.arange(SIDE, dtype=np.float32) * (count / SIDE)
        low = position.astype(np.int64)
        high = (low + 1) % count
        fraction = position - low
        fraction = fraction * fraction * (3 - 2 * fraction)
        rows = lattice[low] * (1 - fraction)[:, None] + lattice[high] * fraction[:, None]
        total += np.float32(weight) * (rows[:, low] * (1 - fraction) + rows[:, high] * fraction).astype(
            np.float32
        )
        weight *= decay
    return total / (np.abs(total).max() + np.float32(1e-6))
