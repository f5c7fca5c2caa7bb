"""Low plants: grass, and what grows in rows on fields. Materials: 0 stems, 1 leaves, 2 flowers or fruit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from cortexia_video.scenes.pieces import Floats, Piece, ball, join, leaves, path, surface

STEMS, LEAVES, FLOWERS = 0, 1, 2


def grass(rng: Generator, places: Floats, height: float, width: float = 0.05) -> Piece:
    """A blade at each of places (N, 3): one triangle that leans; width as a share of the height."""
    count = len(places)
    angle = rng.uniform(0, 2 * np.pi, count)
    tall = height * np.exp(rng.normal(0, 0.35, count))
    half = (tall * width)[:, None] * np.stack([np.cos(angle), 0 * angle, np.sin(angle)], 1)
    tip = places + np.stack([rng.normal(0, 0.35, count) * tall, tall, rng.normal(0, 0.35, count) * tall], 1)
    blades = surface(np.stack([places - half, places + half, tip], 1), LEAVES)
    return Piece(blades.corners, blades.uv + rng.uniform(0, 40, (count, 1, 2)), blades.material)


def arcs(
    rng: Generator, root: Floats, angle: Floats, length: Floats, rise: float, width: float, pieces: int
) -> Piece:
    """Long leaves that rise and hang over: from roots (N, 3), each to a side `angle` (N,), of a length (N,).

    rise: how steeply they begin. width: share of the length. pieces: quads of each, the last a point.
    """
    share = np.linspace(0, 1, pieces + 1)
    out = length[:, None] * share * 0.9
    up = length[:, None] * (rise * share - (0.35 + 0.75 * rise) * share**2)
    spine = np.stack([np.cos(angle)[:, None] * out, up, np.sin(angle)[:, None] * out], 2) + root[:, None]
    aside = np.stack([-np.sin(angle), 0 * angle, np.cos(angle)], 1)[:, None]
    wide = (0.5 * width * length[:, None] * np.sin(np.pi * (0.12 + 0.88 * share)))[..., None]
    left, right = spine - aside * wide, spine + aside * wide
    corners = np.stack([left[:, :-1], right[:, :-1], right[:, 1:], left[:, 1:]], 2).reshape(-1, 4, 3)
    made = surface(corners[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3, 3), LEAVES)
    shift = np.repeat(rng.uniform(0, 40, (len(root), 1, 2)), 2 * pieces, 0)
    return Piece(made.corners, made.uv + shift, made.material)


def rosette(rng: Generator, height: float, pieces: int) -> Piece:
    """Lettuce, cabbage, beet: leaves from one point, the inner ones steeper."""
    count = int(rng.integers(7, 15)) if pieces > 2 else 6
    angle = np.arange(count) * 2.4 + rng.normal(0, 0.2, count)
    length = height * rng.uniform(0.9, 1.5, count)
    root = np.stack([0 * angle, np.full(count, 0.02 * height), 0 * angle], 1)
    half = count // 2
    outer = arcs(rng, root[:half], angle[:half], length[:half], rng.uniform(0.5, 0.9), 0.55, pieces)
    inner = arcs(rng, root[half:], angle[half:], length[half:], rng.uniform(1.1, 1.7), 0.5, pieces)
    return join([outer, inner])


def stalk(rng: Generator, height: float, pieces: int) -> Piece:
    """Maize, sunflower: a stem with long leaves, now and then a flower on top."""
    count = int(rng.integers(6, 12)) if pieces > 2 else 5
    bend = rng.normal(0, 0.04, 2) * height
    level = np.linspace(0.1, 0.95, count)
    root = np.stack([bend[0] * level, height * level, bend[1] * level], 1)
    angle = np.arange(count) * np.pi + rng.normal(0, 0.5, count) + rng.uniform(0, 6)
    length = height * rng.uniform(0.3, 0.55, count)
    stem = path([(0, 0, 0), (bend[0], height, bend[1])], [0.012 * height, 0.006 * height], STEMS, 4)
    made = [stem, arcs(rng, root, angle, length, rng.uniform(0.7, 1.3), 0.12, pieces)]
    if rng.random() < 0.3:
        made.append(ball((bend[0], height, bend[1]), height * np.array([0.06, 0.05, 0.06]), FLOWERS, 6))
    return join(made)


def leafy(rng: Generator, height: float, pieces: int) -> Piece:
    """Potatoes, beans, tomatoes, cotton: some stems with many small leaves, and a few flowers or fruits."""
    stems = int(rng.integers(3, 7))
    angle, out = rng.uniform(0, 6.28, stems), rng.uniform(0.15, 0.5, stems) * height
    tips = np.stack([np.cos(angle) * out, height * rng.uniform(0.7, 1, stems), np.sin(angle) * out], 1)
    count = 60 if pieces > 2 else 14
    share = rng.uniform(0.25, 1.05, count)[:, None]
    at = tips[rng.integers(stems, size=count)] * share + rng.normal(0, 0.1 * height, (count, 3)) * share
    at[:, 1] = np.maximum(at[:, 1], 0.02)
    size = height * (0.2 if pieces > 2 else 0.4)
    made = [
        leaves(rng, at, size * np.exp(rng.normal(0, 0.3, count)), width=0.75, material=LEAVES),
        *(path([(0, 0, 0), tip], [0.02 * height, 0.008 * height], STEMS, 3) for tip in tips),
    ]
    if rng.random() < 0.35:
        dots = at[: count // 8]
        made += [ball(dot, np.full(3, 0.06 * height), FLOWERS, 4) for dot in dots]
    return join(made)


def tuft(rng: Generator, height: float, pieces: int) -> Piece:
    """Wheat, rice, leek, lavender: blades from one place."""
    count = 40 if pieces > 2 else 10
    places = np.stack([rng.normal(0, 0.08, count), np.zeros(count), rng.normal(0, 0.08, count)], 1) * height
    return grass(rng, places, height, 0.03 if pieces > 2 else 0.09)


CROPS: tuple[tuple[Callable[[Generator, float, int], Piece], tuple[float, float], float], ...] = (
    (rosette, (0.06, 0.4), 0.34),
    (leafy, (0.12, 0.8), 0.3),
    (stalk, (0.25, 2.2), 0.2),
    (tuft, (0.15, 0.9), 0.16),
)
"""What fields grow: a plant of a height with leaves of so many pieces; its heights, metres; how often."""
