"""Trees with branches and leaves, grown by space colonisation; conifers, palms, bushes, hedges.

Runions, Lane, Prusinkiewicz: Modeling trees with a space colonization algorithm (NPH 2007): points fill the
crown, branches grow towards those near them, points that are reached go. Materials: 0 bark, 1 leaves.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from cortexia_video.scenes.pieces import Floats, Piece, ball, boxes, join, leaves, path, surface, tubes, vec

BARK, LEAVES = 0, 1

_PIPE = 2.3  # the power of radii that branches keep where they part
_TIPS = 220  # points that a crown's branches grow towards
_MOST_LEAVES = 9000  # of a tree seen from near


class Skeleton(NamedTuple):
    """Nodes (N, 3), the root first; parent: int (N,), before its children; radius: (N,), metres."""

    nodes: Floats
    parent: Floats
    radius: Floats


def grow(points: Floats, trunk: Floats, step: float, radius: float) -> Skeleton:
    """Grow branches from a trunk's nodes (T, 3) into points (P, 3), `step` metres at a time.

    radius: of the trunk at its foot, metres.
    """
    nodes, parent = list(trunk), [max(0, number - 1) for number in range(len(trunk))]
    apart = np.linalg.norm(points[:, None] - trunk, axis=2)
    nearest, distance = apart.argmin(1), apart.min(1)
    left = np.ones(len(points), bool)
    for _ in range(90):
        pulled = left & (distance < 12 * step)
        if not pulled.any():
            break
        grown, back = np.unique(nearest[pulled], return_inverse=True)
        here = np.array([nodes[number] for number in grown])
        pull = np.zeros_like(here)
        way = points[pulled] - here[back]
        np.add.at(pull, back, way / np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-9))
        pull /= np.maximum(np.linalg.norm(pull, axis=1, keepdims=True), 1e-9)
        new = here + step * (pull + vec(0, 0.05, 0))
        first = len(nodes)
        nodes += list(new)
        parent += grown.tolist()
        apart = np.linalg.norm(points[:, None] - new, axis=2)
        nearer = apart.min(1) < distance
        nearest = np.where(nearer, first + apart.argmin(1), nearest)
        distance = np.minimum(distance, apart.min(1))
        left &= distance > 1.8 * step
    return _thicken(np.array(nodes), np.array(parent), radius)


def _thicken(nodes: Floats, parent: Floats, radius: float) -> Skeleton:
    """Give each node its radius: what leaves a node carries what comes in (the pipe model)."""
    carried = np.zeros(len(nodes))
    for number in range(len(nodes) - 1, 0, -1):
        carried[number] = max(carried[number], 1.0)
        carried[parent[number]] += carried[number]
    width = carried ** (1 / _PIPE)
    return Skeleton(nodes, parent, radius * width / max(width[0], 1e-9))


def broadleaf(
    rng: Generator,
    height: float,
    leaf_m: float,
    *,
    leafy: float = 1.0,
    bare_share: float | None = None,
    detail: float = 1.0,
) -> Piece:
    """A broadleaf tree.

    height: metres. leaf_m: length of a leaf, or of what stands for some from afar. leafy: how dense; 0 is bare.
    bare_share: of the height, below the crown; drawn if None. detail: share of branches and leaves, which are
    larger then; for those far off.
    """
    low = rng.uniform(0.15, 0.45) if bare_share is None else bare_share
    half = height * np.array([rng.uniform(0.2, 0.5), (1 - low) / 2, rng.uniform(0.2, 0.5)])
    middle = np.array([0, height * (1 + low) / 2, 0]) + rng.normal(0, 0.04, 3) * height
    inside = rng.normal(0, 1, (max(16, int(_TIPS * detail)), 3))
    inside *= (rng.random((len(inside), 1)) ** 0.4) / np.linalg.norm(inside, axis=1, keepdims=True)
    squash = rng.uniform(-0.5, 0.5)  # wider below, or above
    inside[:, ::2] *= 1 + squash * inside[:, 1:2]
    points = middle + inside * half
    step = height * rng.uniform(0.028, 0.042) * detail**-0.3
    levels = np.linspace(0, 1, max(3, int(low * height / step)))
    bend = np.cumsum(rng.normal(0, 0.12 * step, (len(levels), 2)), 0)
    trunk = np.stack([bend[:, 0], levels * height * (low + 0.05), bend[:, 1]], 1)
    skeleton = grow(points, trunk, step, height * rng.uniform(0.011, 0.024))
    wood = _wood(skeleton)
    if leafy <= 0:
        return wood
    thin = np.nonzero(skeleton.radius <= np.quantile(skeleton.radius, 0.8))[0]
    cover = leafy * 22 * (half[0] * half[2] + half[1] * (half[0] + half[2]))
    count = int(np.clip(cover / leaf_m**2, 100, _MOST_LEAVES * detail))
    length = max(leaf_m, (cover / count) ** 0.5)
    at = skeleton.nodes[rng.choice(thin, count)] + rng.normal(0, 0.8 * step, (count, 3))
    foliage = leaves(rng, at, length * np.exp(rng.normal(0, 0.25, count)), material=LEAVES, width=0.6)
    return join([wood, foliage])


def _wood(skeleton: Skeleton) -> Piece:
    nodes, parent, radius = skeleton
    thick = np.nonzero(radius[1:] > 0.25 * radius[0])[0] + 1
    thin = np.nonzero(radius[1:] <= 0.25 * radius[0])[0] + 1
    return join(
        tubes(nodes[parent[rows]], nodes[rows], radius[parent[rows]] * narrow, radius[rows], BARK, sides)
        for rows, sides, narrow in ((thick, 7, 1.0), (thin, 3, 0.9))
        if len(rows)
    )


def conifer(rng: Generator, height: float, leaf_m: float, detail: float = 1.0) -> Piece:
    """A spruce or pine: whorls of branches that hang or rise, with sprays of needles along them.

    height, leaf_m, detail: as of `broadleaf`.
    """
    low, spread = rng.uniform(0.05, 0.5), rng.uniform(0.14, 0.3) * height
    trunk = path([(0, 0, 0), (0, height * 0.5, 0), (0, height, 0)], height * np.array([0.018, 0.011, 0.001]))
    count = max(24, int(rng.integers(100, 180) * detail**0.5))
    level = low + (1 - low) * rng.random(count) ** 1.3
    reach = spread * (1 - (level - low) / (1 - low)) ** rng.uniform(0.6, 1.1) * rng.uniform(0.7, 1.1, count)
    angle = rng.uniform(0, 2 * np.pi, count)
    outward = np.stack([np.cos(angle), np.full(count, rng.uniform(-0.5, 0.35)), np.sin(angle)], 1)
    start = np.stack([0 * level, level * height, 0 * level], 1)
    end = start + outward * reach[:, None]
    twigs = tubes(start, end, 0.006 * height * (1.1 - level), 0.002, BARK, 3)
    cover = 9 * height * spread
    needles = int(np.clip(cover / leaf_m**2, 100, _MOST_LEAVES * detail))
    length = max(leaf_m, (cover / needles) ** 0.5)
    row, along = rng.integers(count, size=needles), rng.random(needles) ** 0.7
    at = start[row] + (end - start)[row] * along[:, None]
    at += rng.normal(0, 0.1, (needles, 3)) * (reach[row] * (1.1 - along))[:, None]
    lean = outward[row] + vec(0, -0.3, 0)
    size = length * np.exp(rng.normal(0, 0.2, needles))
    return join([trunk, twigs, leaves(rng, at, size, width=0.35, lean=lean, material=LEAVES)])


def palm(rng: Generator, height: float) -> Piece:
    """A palm: a bent trunk with fronds that hang."""
    lean = rng.normal(0, 0.06, 2) * height
    rise = np.linspace(0, 1, 8)
    way = np.stack([lean[0] * rise**2, height * rise, lean[1] * rise**2], 1)
    parts = [path(way, height * 0.02 * (1.3 - 0.5 * rise), BARK, 7)]
    for _ in range(int(rng.integers(14, 26))):
        angle, length, up = rng.uniform(0, 6.28), rng.uniform(0.22, 0.34) * height, rng.uniform(-0.1, 0.9)
        along = np.linspace(0, 1, 9)
        flat = length * along
        y = up * flat - 1.1 * flat * along
        spine = way[-1] + np.stack([np.cos(angle) * flat, y, np.sin(angle) * flat], 1)
        aside = np.array([-np.sin(angle), 0, np.cos(angle)])
        for side in (-1, 1):
            root = spine[:-1] + (spine[1:] - spine[:-1]) * 0.2
            wide = 0.2 * length * np.sin(np.pi * (0.1 + 0.85 * along[:-1]))
            tip = root + side * aside * wide[:, None] + (0, -0.04 * length, 0)
            parts.append(surface(np.stack([root, spine[1:], tip], 1), LEAVES))
    return join(parts)


def bush(rng: Generator, half_size: Floats, leaf_m: float) -> Piece:
    """A heap of leaves over a dark middle that lets nothing through; half sizes (3,), its foot at y = 0."""
    lumps = int(rng.integers(1, 6))
    count = int(np.clip(14 * (half_size[0] + half_size[2]) * half_size[1] / leaf_m**2 / lumps, 100, 4000))
    parts = []
    for number in range(lumps):
        half = half_size * (1.0 if number == 0 else rng.uniform(0.4, 0.75))
        aside = rng.uniform(-0.6, 0.6, 2) * half_size[::2] * (number > 0)
        middle = np.array([aside[0], 0.8 * half[1], aside[1]])
        out = rng.normal(0, 1, (count, 3))
        out /= np.linalg.norm(out, axis=1, keepdims=True)
        at = middle + out * half * rng.uniform(0.72, 1.05, (count, 1))
        above = at[:, 1] > 0.01
        parts += [
            ball(middle, 0.7 * half, LEAVES),
            leaves(rng, at[above], leaf_m, width=0.6, lean=0.6 * out[above], material=LEAVES),
        ]
    return join(parts)


def hedge(rng: Generator, half_size: Floats, leaf_m: float) -> Piece:
    """A cut hedge along z: a dark box with leaves on its sides; half sizes (3,), its foot at y = 0."""
    x, y, z = half_size
    middle = np.array([0, y, 0])
    count = int(np.clip(4 * z * (2 * y + x) / leaf_m**2, 200, 9000))
    unit = rng.uniform(-1, 1, (count, 3))
    face = rng.choice(3, count, p=np.array([y * z, x * z, x * y]) / (y * z + x * z + x * y))
    unit[np.arange(count), face] = np.sign(unit[np.arange(count), face])
    uneven = 1 + 0.06 * np.sin(unit[:, 2] * rng.uniform(3, 20) + rng.uniform(0, 6))
    at = middle + unit * half_size * (rng.uniform(0.9, 1.05, count) * uneven)[:, None]
    block = boxes(middle, half_size * 0.9, LEAVES)
    return join([block, leaves(rng, at, leaf_m, width=0.6, material=LEAVES)])
