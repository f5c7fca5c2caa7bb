"""The middle line of a road that bends and climbs, and what is swept along it."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from cortexia_video.scenes.pieces import Floats, Piece, quads

_START_M, _END_M = -70.0, 420.0


class Way:
    """The middle line of a road: bends and climbs. Coordinates: s along it, t to its right, metres."""

    def __init__(self, rng: Generator) -> None:
        self.s = np.arange(_START_M, _END_M, 2.0)
        wave, bend = rng.uniform(60, 300, 2), rng.uniform(0, 1, 2) ** 2
        turn = sum(b * 0.35 * np.sin(self.s / w + rng.uniform(0, 6)) for b, w in zip(bend, wave, strict=True))
        self.yaw = turn - np.interp(0, self.s, turn)
        climb = rng.uniform(0, 0.08, 2) * (rng.random() < 0.6)
        length = rng.uniform(25, 120, 2)
        slope = sum(c * np.sin(self.s / w + rng.uniform(0, 6)) for c, w in zip(climb, length, strict=True))
        step = 2.0 * np.stack([np.sin(self.yaw), np.broadcast_to(slope, self.s.shape), np.cos(self.yaw)], 1)
        line = np.cumsum(step, 0)
        self.line = line - [np.interp(0, self.s, line[:, axis]) for axis in range(3)]

    def facing(self, s: Floats | float) -> Floats:
        """Return the yaw of the road at s."""
        return np.interp(s, self.s, self.yaw)

    def at(self, s: Floats | float, t: Floats | float, y: Floats | float = 0.0) -> Floats:
        """Return world points (..., 3) at s and t, y above the road."""
        s, t, y = np.broadcast_arrays(np.asarray(s, np.float64), t, y)
        middle = np.stack([np.interp(s, self.s, self.line[:, axis]) for axis in range(3)], -1)
        yaw = self.facing(s)
        aside = np.stack([np.cos(yaw), 0 * yaw, -np.sin(yaw)], -1)
        return middle + aside * t[..., None] + np.array([0, 1.0, 0]) * y[..., None]

    def ribbon(
        self, profile: Floats, first: float = _START_M, last: float = _END_M, step: float = 3.0
    ) -> Piece:
        """Sweep a profile (N, 2) of t and y along the road, a material for each of its pieces."""
        s = np.arange(first, last, step) if last - first > step else np.array([first, last])
        points = self.at(s[:, None], profile[:, 0], profile[:, 1])
        cells = np.stack([points[:-1, :-1], points[:-1, 1:], points[1:, 1:], points[1:, :-1]], 2)
        made = quads(cells.reshape(-1, 4, 3))
        across = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(profile, axis=0).T))])
        u, v = np.broadcast_arrays(across, s[:, None])
        uv = np.stack([u, v], 2)
        uv = np.stack([uv[:-1, :-1], uv[:-1, 1:], uv[1:, 1:], uv[1:, :-1]], 2).reshape(-1, 4, 2)
        material = np.tile(np.repeat(np.arange(len(profile) - 1), 2), len(s) - 1)
        return Piece(made.corners, uv[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3, 2), material)
