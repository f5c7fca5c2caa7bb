"""What stands on playgrounds, on y = 0. Materials: 0 frame, 1 and 2 bright."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from cortexia_video.scenes.description import rotation
from cortexia_video.scenes.pieces import (
    Piece,
    boxes,
    ellipse,
    join,
    loft,
    path,
    quads,
    tubes,
    vec,
)


def swing(rng: Generator) -> Piece:
    """Two legs at each end, a beam, seats on chains."""
    half, high, spread = rng.uniform(1.2, 2.4), rng.uniform(1.9, 2.5), rng.uniform(0.7, 1.1)
    top = np.array([[side * half, high, 0] for side in (-1, 1)])
    foot = np.array([[side * (half + 0.2), 0, z] for side in (-1, 1) for z in (-spread, spread)])
    parts = [tubes(foot, np.repeat(top, 2, 0), 0.05, 0.05), path(top, 0.05)]
    for x in np.linspace(-0.6, 0.6, int(rng.integers(1, 4))) * half:
        swing = rng.normal(0, 0.25)
        hang = np.array([0, -(high - 0.45) * math.cos(swing), (high - 0.45) * math.sin(swing)])
        start = np.array([[x + side * 0.22, high, 0] for side in (-1, 1)])
        parts += [
            tubes(start, start + hang, 0.012, 0.012, 0, 4),
            boxes(hang + vec(x, high, 0), (0.24, 0.02, 0.1), 1),
        ]
    return join(parts)


def slide(rng: Generator) -> Piece:
    """A ladder up to a chute that goes down with sides."""
    high, long, half = rng.uniform(1.1, 2.4), rng.uniform(1.8, 4), rng.uniform(0.22, 0.35)
    share = np.linspace(0, 1, 10)
    y = high * (1 - share) ** 1.15 + 0.18
    line = np.stack([0 * share, y, share * long], 1)
    profile = np.array([(-half, 0.16), (-half, 0), (half, 0), (half, 0.16)])
    points = line[:, None] + np.stack([profile[:, 0], profile[:, 1], 0 * profile[:, 0]], 1)
    cells = np.stack([points[:-1, :-1], points[:-1, 1:], points[1:, 1:], points[1:, :-1]], 2)
    rungs = np.arange(0.25, high, 0.28)
    back = -0.6 + 0.5 * rungs / high
    ladder = np.stack([0 * rungs, rungs, back], 1)
    rails = [
        path(
            [(side * half, 0, -0.6), (side * half, high + 0.75, -0.1), (side * half, high + 0.3, 0.4)], 0.025
        )
        for side in (-1, 1)
    ]
    legs = [path([(side * half, 0, 0.4), (side * half, high, 0.1)], 0.035) for side in (-1, 1)]
    return join(
        [
            quads(cells.reshape(-1, 4, 3), 1),
            tubes(ladder - (half, 0, 0), ladder + vec(half, 0, 0), 0.02, 0.02),
            *rails,
            *legs,
        ]
    )


def climbing_frame(rng: Generator) -> Piece:
    """A lattice of bars, a dome or an arch."""
    if rng.random() < 0.4:
        radius = rng.uniform(1.1, 2)
        parts = []
        for turn in np.linspace(0, math.pi, int(rng.integers(3, 7)), endpoint=False):
            angle = np.linspace(0, math.pi, 9)
            arc = radius * np.stack(
                [np.cos(angle) * math.cos(turn), np.sin(angle), np.cos(angle) * math.sin(turn)], 1
            )
            parts.append(path(arc, 0.022, int(rng.integers(0, 3)), 5))
        for level in (0.3, 0.6, 0.85):
            ring = ellipse(
                (0, level * radius, 0), radius * math.sqrt(1 - level**2), radius * math.sqrt(1 - level**2), 14
            )
            parts.append(path(np.vstack([ring, ring[:1]]), 0.02, 0, 5))
        return join(parts)
    cells, step = rng.integers((1, 2, 1), (4, 5, 4)), rng.uniform(0.45, 0.7)
    x, y, z = (np.arange(n + 1) * step for n in cells)
    parts = []
    for axis, (a, b, c) in enumerate(((x, y, z), (y, x, z), (z, x, y))):
        grid = np.stack([each.ravel() for each in np.meshgrid(b, c)], 1)
        start = np.insert(grid, axis, 0.0, 1)
        end = np.insert(grid, axis, a[-1], 1)
        keep = np.ones(len(start), bool) if axis == 1 else start[:, 1] > 0.1
        parts.append(tubes(start[keep], end[keep], 0.02, 0.02, axis, 5))
    return join(parts).moved((-x[-1] / 2, 0, -z[-1] / 2))


def seesaw(rng: Generator) -> Piece:
    """A board on a stand, with grips."""
    half, tilt, high = rng.uniform(1.2, 2.0), rng.uniform(-0.25, 0.25), rng.uniform(0.4, 0.65)
    turn = np.array([[1, 0, 0], [0, math.cos(tilt), -math.sin(tilt)], [0, math.sin(tilt), math.cos(tilt)]])
    grip = np.array([(-0.18, 0, 0), (-0.18, 0.28, 0), (0.18, 0.28, 0), (0.18, 0, 0)])
    grips = [path(grip + vec(0, 0, side * 0.75 * half), 0.018, 0, 4) for side in (-1, 1)]
    board = join([boxes((0, 0, 0), (0.12, 0.04, half), 1), *grips])
    return join([board.moved((0, high, 0), turn), boxes((0, high / 2, 0), (0.1, high / 2, 0.16))])


def tower(rng: Generator) -> Piece:
    """A house on stilts with a roof, walls on some sides, and a slide."""
    half, floor, high = rng.uniform(0.6, 1.0), rng.uniform(0.9, 1.7), rng.uniform(1.7, 2.1)
    foot = np.array([[a * half, 0, b * half] for a in (-1, 1) for b in (-1, 1)])
    parts = [
        tubes(foot, foot + vec(0, floor + high, 0), 0.06, 0.06),
        boxes((0, floor, 0), (half, 0.05, half)),
    ]
    for side in range(3):
        if rng.random() < 0.7:
            out = rotation((side + 1) * math.pi / 2)
            parts.append(
                boxes((0, floor + 0.4, half), (half, 0.35, 0.02), 1 + side % 2).moved((0, 0, 0), out)
            )
    rise, eave = rng.uniform(0.4, 0.9), half * 1.2
    top = np.array([[0, floor + high + rise, 0]])
    rim = np.array(
        [
            [-eave, floor + high, -eave],
            [eave, floor + high, -eave],
            [eave, floor + high, eave],
            [-eave, floor + high, eave],
        ]
    )
    parts.append(loft(np.stack([rim, np.repeat(top, 4, 0)]), 2, capped=False))
    chute = slide(rng)
    reach = chute.corners[..., 1].max()
    return join([*parts, chute.moved((0, 0, half), scale=(1, min(1.0, (floor + 0.9) / reach), 1))])


def spring_horse(rng: Generator) -> Piece:
    """A small seat shaped like an animal on a spring."""
    angle = np.linspace(0, 10 * math.pi, 40)
    spring = np.stack([0.1 * np.cos(angle), angle / angle[-1] * 0.35, 0.1 * np.sin(angle)], 1)
    side = np.array([(-0.35, 0.35), (0.3, 0.35), (0.45, 0.75), (0.3, 0.9), (0.1, 0.6), (-0.3, 0.6)])
    flat = [np.stack([np.full(6, x), side[:, 1], side[:, 0]], 1) for x in (-0.06, 0.06)]
    return join(
        [
            path(spring, 0.015, 0, 4),
            loft(np.stack(flat), 1),
            path([(-0.2, 0.75, 0.2), (0.2, 0.75, 0.2)], 0.02, 2, 5),
        ]
    )


PLAYTHINGS: tuple[tuple[Callable[[Generator], Piece], float], ...] = (
    (swing, 0.22),
    (slide, 0.2),
    (climbing_frame, 0.2),
    (seesaw, 0.1),
    (tower, 0.2),
    (spring_horse, 0.08),
)
"""What stands on playgrounds, and how often."""
