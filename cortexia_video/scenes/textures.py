"""Sixteen kinds of procedural texture, each image drawn from its own seed.

A texture is linear albedo, float32 (SIDE, SIDE, 3) in [0.01, 1], and tiles where its kind does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from cortexia_video.scenes.noise import SIDE, periodic_noise

FloatArray = NDArray[np.float32]
Painter = Callable[[Generator], FloatArray]

VARIANTS = 12
"""Images of each kind in one library."""

_ROWS, _COLUMNS = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / np.float32(SIDE)
_WOOD = np.array([0.52, 0.34, 0.19])


def draw_colour(rng: Generator, saturation: float | None = None) -> NDArray[np.float64]:
    """Draw a linear albedo (3,): mostly greyish, often earth or wood, unless a saturation is given."""
    hue = rng.random()
    strength = rng.beta(1.0, 4.0) if saturation is None else saturation * rng.random()
    value = rng.beta(1.6, 1.6) * 0.85 + 0.05
    phase = (np.array([5.0, 3.0, 1.0]) + hue * 6) % 6
    colour = value - value * strength * np.clip(np.minimum(phase, 4 - phase), 0, 1)
    if saturation is None and rng.random() < 0.3:  # whites and light greys, as most rooms are painted
        colour = rng.uniform(0.45, 0.9) * (1 + rng.normal(0, 0.03, 3))
    elif rng.random() < 0.35:
        share = rng.random()
        colour = colour * (1 - share) + _WOOD * rng.uniform(0.4, 1.6) * share
    return np.clip(colour, 0.02, 0.95)


def _mix(first: NDArray[np.float64], second: NDArray[np.float64], weight: FloatArray) -> FloatArray:
    share = np.clip(weight, 0, 1)[..., None]
    return (first * (1 - share) + second * share).astype(np.float32)


def _shade(image: FloatArray, noise: FloatArray, strength: float) -> FloatArray:
    return image * (1 + np.float32(strength) * noise)[..., None]


def _flat(colour: NDArray[np.float64]) -> FloatArray:
    return np.broadcast_to(colour.astype(np.float32), (SIDE, SIDE, 3)).copy()


def _cells_of(rows: FloatArray, columns: FloatArray, rng: Generator) -> FloatArray:
    """Return every cell of a grid, numbered by whole parts, its own random value."""
    row, column = rows.astype(np.int64), columns.astype(np.int64)
    return rng.random((row.max() + 1, column.max() + 1), np.float32)[row, column]


def _plain(rng: Generator) -> FloatArray:
    """One colour, now and then a little uneven."""
    fine, coarse = rng.uniform(0, 0.12, 2) * (rng.random(2) < 0.5)
    image = _shade(_flat(draw_colour(rng)), periodic_noise(rng, 2 ** int(rng.integers(0, 5)), 5), fine)
    return _shade(image, periodic_noise(rng, 1, 2), coarse)


def _stained(rng: Generator) -> FloatArray:
    noise = periodic_noise(rng, 2 ** int(rng.integers(1, 5)), 6, rng.uniform(0.4, 0.8))
    return _mix(draw_colour(rng), draw_colour(rng), 0.5 + np.float32(rng.uniform(0.2, 1.2)) * noise)


def _wood(rng: Generator) -> FloatArray:
    waves = rng.integers(4, 16) * _COLUMNS + np.float32(rng.uniform(0.1, 0.7)) * periodic_noise(rng, 2, 5)
    grain = 0.5 + 0.3 * np.sin(2 * np.pi * waves) + 0.2 * periodic_noise(rng, 4, 6, 0.8)
    base = _WOOD * rng.uniform(0.5, 1.7)
    image = _mix(base * rng.uniform(0.8, 1.1, 3), base * rng.uniform(0.5, 0.9), grain)
    planks = int(rng.integers(1, 7))
    tone = _cells_of(_ROWS * 2, _COLUMNS * planks, rng) - 0.5
    gap = (_COLUMNS * planks) % 1 < 0.012 * planks
    dark = 0.5 if rng.random() < 0.7 else 0.0
    return _shade(image, tone, rng.uniform(0, 0.4)) * (1 - dark * gap[..., None]).astype(np.float32)


def _grid(rng: Generator, rows: FloatArray, columns: FloatArray, joint: tuple[float, float]) -> FloatArray:
    """Paint cells of varying tone between joints; rows and columns count cells."""
    tone = _cells_of(rows, columns, rng) - 0.5
    image = _shade(_flat(draw_colour(rng)), tone, rng.uniform(0, 0.5))
    image = _shade(image, periodic_noise(rng, 8, 5), 0.15)
    line = (rows % 1 < joint[0]) | (columns % 1 < joint[1])
    return np.where(line[..., None], draw_colour(rng).astype(np.float32), image)


def _tiles(rng: Generator) -> FloatArray:
    count = 2 ** int(rng.integers(1, 4))
    joint = rng.uniform(0.02, 0.09)
    return _grid(rng, _ROWS * count, _COLUMNS * count, (joint, joint))


def _bricks(rng: Generator) -> FloatArray:
    count = 2 ** int(rng.integers(1, 4))
    rows = _ROWS * 2 * count
    columns = (_COLUMNS * count + 0.5 * (rows.astype(np.int64) % 2)).astype(np.float32)
    joint = rng.uniform(0.02, 0.09)
    return _grid(rng, rows, columns, (2 * joint, joint))


def _stripes(rng: Generator) -> FloatArray:
    band = ((_COLUMNS * rng.integers(2, 24)) % 1 < rng.uniform(0.1, 0.9)).astype(np.float32)
    return _mix(draw_colour(rng), draw_colour(rng), band)


def _patches(rng: Generator, count: int, largest: float) -> FloatArray:
    """Paint rectangles and ellipses of strong colour over a stained ground."""
    image = _shade(_flat(draw_colour(rng)), periodic_noise(rng, 2, 4), 0.6)
    for _ in range(count):
        x, y = rng.random(2)
        width, height = rng.uniform(0.03, largest, 2)
        across, down = (_COLUMNS - x) / width, (_ROWS - y) / height
        round_one = rng.random() < 0.4
        inside = across**2 + down**2 < 1 if round_one else np.maximum(abs(across), abs(down)) < 1
        shade = 1 + rng.uniform(-0.4, 0.4) * down[inside]
        image[inside] = draw_colour(rng, 0.9) * shade[:, None]
    return image


def _facade(rng: Generator) -> FloatArray:
    rows, columns = _ROWS * rng.integers(2, 8), _COLUMNS * rng.integers(2, 8)
    half_width, half_height = rng.uniform(0.15, 0.4, 2)
    across, down = np.abs(columns % 1 - 0.5), np.abs(rows % 1 - 0.5)
    glass = (across < half_width) & (down < half_height)
    frame = (across < half_width + 0.05) & (down < half_height + 0.05) & ~glass
    wall = _shade(_flat(draw_colour(rng)), periodic_noise(rng, 4, 5), 0.2)
    wall = np.where(frame[..., None], draw_colour(rng).astype(np.float32), wall)
    pane = (0.05 + 0.25 * _cells_of(rows, columns, rng)[..., None]) * np.array([0.8, 0.9, 1.0], np.float32)
    return np.where(glass[..., None], pane, wall).astype(np.float32)


def _books(rng: Generator) -> FloatArray:
    image = np.zeros((SIDE, SIDE, 3), np.float32)
    left = 0
    while left < SIDE:
        right = left + int(rng.integers(4, 22))
        image[:, left:right] = draw_colour(rng, 0.9)
        image[:, left] *= 0.3
        if rng.random() < 0.5:
            top = int(rng.integers(0, SIDE))
            image[top : top + 20, left + 1 : right - 1] = draw_colour(rng)
        image[: int(SIDE * rng.uniform(0, 0.3)), left:right] *= 0.15
        left = right
    return image


def _text(rng: Generator) -> FloatArray:
    rows = _ROWS * rng.integers(8, 28)
    word = _cells_of(rows, _COLUMNS * 64, rng) < 0.7
    ink = (rows % 1 < 0.55) & word
    paper = np.clip(draw_colour(rng) + 0.4, 0, 0.95)
    return _mix(paper, draw_colour(rng) * 0.4, ink.astype(np.float32))


def _carpet(rng: Generator) -> FloatArray:
    count = int(rng.integers(2, 8))
    wave = np.sin(2 * np.pi * count * _COLUMNS) * np.sin(2 * np.pi * count * _ROWS)
    weight = 0.5 + 0.5 * np.sign(wave) * np.float32(rng.uniform(0.1, 1))
    return _shade(_mix(draw_colour(rng), draw_colour(rng), weight), periodic_noise(rng, 64, 2), 0.3)


def _foliage(rng: Generator) -> FloatArray:
    dark = np.array([0.05, 0.09, 0.03]) * rng.uniform(0.5, 1.5)
    light = np.array([0.28, 0.38, 0.12]) * rng.uniform(0.5, 1.6, 3)
    return _mix(dark, light, 0.5 + np.float32(rng.uniform(0.7, 1.6)) * periodic_noise(rng, 8, 5, 0.95))


def _asphalt(rng: Generator) -> FloatArray:
    grey = _flat(rng.uniform(0.08, 0.4) * rng.uniform(0.92, 1.08, 3))
    return _shade(_shade(grey, periodic_noise(rng, 64, 3), 0.25), periodic_noise(rng, 2, 4), 0.25)


def _marble(rng: Generator) -> FloatArray:
    veins = np.abs(periodic_noise(rng, 3, 6, 0.6)) * np.float32(rng.uniform(1, 3))
    return _mix(draw_colour(rng), draw_colour(rng), veins)


def _checker(rng: Generator) -> FloatArray:
    count = 2 * int(rng.integers(1, 6))
    odd = ((_COLUMNS * count).astype(np.int64) + (_ROWS * count).astype(np.int64)) % 2
    return _mix(draw_colour(rng), draw_colour(rng), odd.astype(np.float32))


PAINTERS: dict[str, Painter] = {
    "plain": _plain,
    "stained": _stained,
    "wood": _wood,
    "tiles": _tiles,
    "bricks": _bricks,
    "stripes": _stripes,
    "poster": lambda rng: _patches(rng, int(rng.integers(3, 14)), 0.4),
    "clutter": lambda rng: _patches(rng, int(rng.integers(20, 70)), 0.2),
    "facade": _facade,
    "books": _books,
    "text": _text,
    "carpet": _carpet,
    "foliage": _foliage,
    "asphalt": _asphalt,
    "marble": _marble,
    "checker": _checker,
}


def paint_texture(kind: str, seed: tuple[int, ...]) -> FloatArray:
    """Paint one texture of `kind` from `seed`; half of them are turned by a quarter."""
    rng = np.random.default_rng(seed)
    image = np.clip(PAINTERS[kind](rng), 0.01, 1).astype(np.float32)
    upright = kind in ("books", "text", "facade", "bricks")
    return image if upright or rng.random() < 0.5 else np.ascontiguousarray(image.transpose(1, 0, 2))
