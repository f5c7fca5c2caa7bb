"""Small things of streets and gardens, on y = 0, their front towards +z."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from cortexia_video.scenes.pieces import Piece, ball, boxes, ellipse, join, loft, path, quads, tubes, vec


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


def stairs(rng: Generator) -> Piece:
    """Steps up from z = 0 towards -z between cheeks, with or without a rail. Materials: 0 steps, 1 sides and rail."""
    count, half = int(rng.integers(3, 16)), rng.uniform(0.6, 3.5)
    rise, tread = rng.uniform(0.13, 0.19), rng.uniform(0.26, 0.4)
    level = np.arange(count) + 1.0
    steps = boxes(
        np.stack([0 * level, level * rise / 2, -(level - 0.5) * tread], 1),
        np.stack([0 * level + half, level * rise / 2, 0 * level + tread / 2], 1),
    )
    high, long = count * rise, count * tread
    parts = [steps, boxes((0, high / 2, -long - 1.0), (half, high / 2, 1.0))]
    for side in (-1, 1):
        x = side * (half + 0.12)
        if rng.random() < 0.5:
            wall = [(x, 0, 0.2), (x, 0.25, 0.2), (x, high + 0.25, -long), (x, 0, -long)]
            flat = np.array([wall, wall]) + np.array([[[-0.12, 0, 0]], [[0.12, 0, 0]]])
            parts.append(loft(flat, 1))
        if rng.random() < 0.6:
            foot = np.array([[x, share * high, -share * long] for share in np.linspace(0, 1, 4)])
            parts += [
                tubes(foot, foot + vec(0, 0.95, 0), 0.02, 0.02, 1, 5),
                path(foot + vec(0, 0.95, 0), 0.025, 1, 5),
            ]
    return join(parts)


def colonnade(rng: Generator) -> Piece:
    """A row of columns along x under a beam. Materials: 0 all."""
    count, gap, high = int(rng.integers(2, 9)), rng.uniform(1.6, 3.5), rng.uniform(2.4, 5)
    radius = high * rng.uniform(0.04, 0.08)
    x = (np.arange(count) - (count - 1) / 2) * gap
    shaft = loft(
        np.stack([ellipse((0, y * high, 0), radius * w, radius * w, 10) for y, w in ((0, 1.0), (1, 0.82))])
    )
    parts = [shaft.moved((each, 0, 0)) for each in x]
    for y, wide in ((0.06, 1.5), (high - 0.06, 1.4)):
        parts.append(boxes(np.stack([x, 0 * x + y, 0 * x], 1), (wide * radius, 0.08, wide * radius)))
    parts.append(boxes((0, high + 0.25, 0), ((count - 1) * gap / 2 + 0.4, 0.25, 1.6 * radius)))
    return join(parts)


def fountain(rng: Generator) -> Piece:
    """A round basin with a pillar, or a figure on a pedestal. Materials: 0 stone, 1 water or bronze."""
    if rng.random() < 0.5:
        wide = rng.uniform(1, 2.6)
        rim = [
            ellipse((0, y, 0), wide * w, wide * w, 14)
            for y, w in ((0, 1), (0.55, 1), (0.55, 0.88), (0.3, 0.86))
        ]
        bowl = [ellipse((0, y, 0), r, r, 10) for y, r in ((0.3, 0.2), (1.2, 0.15), (1.35, 0.6), (1.45, 0.62))]
        water = loft(np.stack([ellipse((0, y, 0), 0.87 * wide, 0.87 * wide, 14) for y in (0.3, 0.38)]), 1)
        return join([loft(np.stack(rim), capped=False), loft(np.stack(bowl)), water])
    high = rng.uniform(0.8, 2.2)
    figure = [
        ball((0, high + 0.55, 0), (0.22, 0.55, 0.18), 1),
        ball((0, high + 1.25, 0.03), (0.13, 0.16, 0.14), 1),
    ]
    return join(
        [boxes((0, high / 2, 0), (0.45, high / 2, 0.45)), boxes((0, 0.15, 0), (0.7, 0.15, 0.7)), *figure]
    )


def cone() -> Piece:
    """A traffic cone. Materials: 0 orange, 1 white."""
    rings = [ellipse((0, y, 0), r, r, 8) for y, r in ((0.03, 0.15), (0.28, 0.11), (0.42, 0.085), (0.7, 0.03))]
    worn = np.array([[0] * 8, [1] * 8, [0] * 8])
    return join([loft(np.stack(rings), worn), boxes((0, 0.015, 0), (0.19, 0.015, 0.19))])


def bridge(rng: Generator, half_span: float) -> Piece:
    """A bridge along x over what passes along z, on walls or pillars. Materials: 0 concrete, 1 rail."""
    clear, deep, thick = rng.uniform(4.3, 6.5), rng.uniform(2, 8), rng.uniform(0.5, 1.2)
    ends = np.array([[side * half_span, clear / 2, 0] for side in (-1, 1)])
    far = half_span + 25
    parts = [
        boxes((0, clear + thick / 2, 0), (far, thick / 2, deep)),
        boxes(ends + ends * (10 / half_span, 0, 0), (10, clear / 2, 0.92 * deep)),
    ]
    for z in (-deep, deep):
        parts.append(boxes((0, clear + thick + 0.55, z), (far, 0.04, 0.04), 1))
        x = np.arange(-far, far, 1.5)
        parts.append(boxes(np.stack([x, 0 * x + clear + thick + 0.28, 0 * x + z], 1), (0.03, 0.28, 0.03), 1))
    return join(parts)


def gantry(rng: Generator, half_span: float) -> Piece:
    """A frame over a road with signs or lights. Materials: 0 frame, 1 sign, 2 light."""
    high = rng.uniform(4.8, 6.2)
    way = np.array([(-half_span, 0, 0), (-half_span, high, 0), (half_span, high, 0), (half_span, 0, 0)])
    reach = 3 if rng.random() < 0.5 else 4  # an arm, or over all of it
    if reach == 3:
        way[2, 0] = rng.uniform(-0.3, 0.6) * half_span
    parts = [path(way[:reach], 0.1, 0, 6)]
    for x in np.linspace(-0.3, 0.3, int(rng.integers(1, 4))) * half_span:
        if rng.random() < 0.5:
            half = rng.uniform((0.6, 0.4), (1.6, 0.9))
            parts.append(boxes((x, high, 0.12), (*half, 0.04), 1))
        else:
            parts += [
                boxes((x, high - 0.5, 0), (0.17, 0.5, 0.15)),
                boxes((x, high - 0.3, 0.16), (0.1, 0.1, 0.02), 2),
            ]
    return join(parts)
