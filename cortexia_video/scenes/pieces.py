"""Surfaces of triangles, as the generators of trees, cars and people make them: corners, UV and material.

A generator is a function of a random generator alone; its result is placed any number of times. Axes are as
everywhere in scenes: y up, and what has a front faces +z.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Reals = NDArray[np.floating[Any]]

_FACES = np.array(  # of a box, corners as bits x y z: each face's corners in turn
    [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
)


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Piece, each with corners of its own.

    corners: floats (F, 3, 3), metres. uv: (F, 3, 2), metres along the surface. material: int64 (F,),
    a place in a list of materials that is given where they are placed.
    """

    corners: Reals
    uv: Reals
    material: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.corners)

    def moved(self, offset: ArrayLike, turn: Floats | None = None, scale: ArrayLike = 1.0) -> Piece:
        """Scale, turn by a matrix (3, 3), and shift."""
        corners = self.corners * np.asarray(scale, np.float64)
        if turn is not None:
            corners = corners @ turn.T
        return Piece(corners + np.asarray(offset, np.float64), self.uv, self.material)

    def wearing(self, first: int) -> Piece:
        """Count materials from `first` on."""
        return Piece(self.corners, self.uv, self.material + first)


def vec(x: float, y: float, z: float) -> Floats:
    """Build a vector (3,)."""
    return np.array([x, y, z], np.float64)


def join(parts: Iterable[Piece]) -> Piece:
    """Join parts; none gives no triangles."""
    listed = [part for part in parts if len(part)]
    if not listed:
        return surface(np.zeros((0, 3, 3)))
    return Piece(
        np.concatenate([part.corners for part in listed]),
        np.concatenate([part.uv for part in listed]),
        np.concatenate([part.material for part in listed]),
    )


def surface(corners: Reals, material: int | NDArray[np.int64] = 0, uv: Reals | None = None) -> Piece:
    """Make triangles of corners (F, 3, 3); UV by default along the two axes that a triangle faces least."""
    if uv is None:
        normal = np.abs(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
        axis = normal.argmax(1) if len(corners) else np.zeros(0, np.int64)
        u = np.where((axis == 0)[:, None], corners[:, :, 2], corners[:, :, 0])
        v = np.where((axis == 1)[:, None], corners[:, :, 2], corners[:, :, 1])
        uv = np.stack([u, v], 2)
    return Piece(corners, uv, np.broadcast_to(np.asarray(material, np.int64), len(corners)).copy())


def quads(corners: Reals, material: int = 0) -> Piece:
    """Make two triangles of each quad (Q, 4, 3), whose corners go round."""
    return surface(corners[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3, 3), material)


def boxes(middle: ArrayLike, half_size: ArrayLike, material: int = 0) -> Piece:
    """Make boxes along the axes: middles and half sizes (N, 3) or (3,)."""
    centre, half = np.broadcast_arrays(np.atleast_2d(middle), np.atleast_2d(half_size))
    bits = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)
    corners = centre[:, None] + bits * half[:, None]
    return quads(corners[:, _FACES].reshape(-1, 4, 3), material)


def loft(rings: Floats, material: int | NDArray[np.int64] = 0, *, capped: bool = True) -> Piece:
    """Join rings (R, S, 3) of as many points each by quads; capped: close both ends by fans.

    material: one, or int (R - 1, S) of each quad, the caps taking those of the first column.
    """
    count, sides = rings.shape[:2]
    after = np.roll(rings, -1, 1)
    wall = np.stack([rings[:-1], after[:-1], after[1:], rings[1:]], 2).reshape(-1, 4, 3)
    worn = np.broadcast_to(np.asarray(material, np.int64), (count - 1, sides))
    made = quads(wall)
    body = Piece(made.corners, made.uv, np.repeat(worn.ravel(), 2))
    if not capped:
        return body
    ends = []
    for ring, at in ((rings[0], 0), (rings[-1], -1)):
        middle = np.broadcast_to(ring.mean(0), ring.shape)
        ends.append(surface(np.stack([middle, ring, np.roll(ring, -1, 0)], 1), int(worn[at, 0])))
    return join([body, *ends])


def ellipse(centre: ArrayLike, half_x: float, half_z: float, sides: int = 8) -> Floats:
    """Points (sides, 3) of a level ring."""
    angle = np.arange(sides) * (2 * np.pi / sides)
    ring = np.stack([half_x * np.cos(angle), 0 * angle, half_z * np.sin(angle)], 1)
    return ring + np.asarray(centre, np.float64)


def ball(centre: ArrayLike, half_size: ArrayLike, material: int = 0, sides: int = 8) -> Piece:
    """Make a ball of `sides` meridians, pulled to its half sizes (3,)."""
    levels = np.linspace(-1, 1, max(4, sides // 2 + 1)) * (np.pi / 2) * 0.98
    rings = np.stack(
        [ellipse((0, np.sin(level), 0), np.cos(level), np.cos(level), sides) for level in levels]
    )
    return loft(rings * np.asarray(half_size, np.float64) + np.asarray(centre, np.float64), material)


def tubes(
    start: Floats, end: Floats, first: ArrayLike, last: ArrayLike, material: int = 0, sides: int = 5
) -> Piece:
    """Make open tubes from start to end (N, 3) with the radii (N,) there; a radius of 0 makes a point."""
    along = end - start
    along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    other = np.where(np.abs(along[:, :1]) < 0.8, [[1.0, 0, 0]], [[0, 0, 1.0]])
    aside = np.cross(along, other)
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    third = np.cross(along, aside)
    angle = np.arange(sides) * (2 * np.pi / sides)
    round_it = np.cos(angle)[:, None] * aside[:, None] + np.sin(angle)[:, None] * third[:, None]
    lower = start[:, None] + round_it * np.broadcast_to(first, len(start))[:, None, None]
    upper = end[:, None] + round_it * np.broadcast_to(last, len(start))[:, None, None]
    wall = np.stack([lower, np.roll(lower, -1, 1), np.roll(upper, -1, 1), upper], 2)
    return quads(wall.reshape(-1, 4, 3), material)


def path(points: ArrayLike, radii: ArrayLike, material: int = 0, sides: int = 6) -> Piece:
    """Make tubes along a way through points (N, 3) with radii (N,) or one."""
    way = np.asarray(points, np.float64)
    radius = np.broadcast_to(np.asarray(radii, np.float64), len(way))
    return tubes(way[:-1], way[1:], radius[:-1], radius[1:], material, sides)


def leaves(
    rng: Generator,
    middle: Floats,
    length: ArrayLike,
    *,
    width: float = 0.5,
    lean: ArrayLike = (0.0, 0.3, 0.0),
    material: int = 0,
) -> Piece:
    """Make a rhombus at each middle (N, 3): turned at random, its tip towards `lean` as far as that is long.

    length: metres, one or (N,). width: of a leaf as a share of its length. Each wears another part of the
    texture.
    """
    count = len(middle)
    tip = rng.normal(0, 0.5, (count, 3)) + np.asarray(lean, np.float64)
    tip /= np.maximum(np.linalg.norm(tip, axis=1, keepdims=True), 1e-9)
    aside = np.cross(tip, rng.normal(0, 1, (count, 3)))
    aside /= np.maximum(np.linalg.norm(aside, axis=1, keepdims=True), 1e-9)
    half = 0.5 * np.broadcast_to(np.asarray(length, np.float64), count)[:, None]
    corners = np.stack(
        [
            middle - tip * half,
            middle + aside * half * width,
            middle + tip * half,
            middle - aside * half * width,
        ],
        1,
    )
    blades = quads(corners, material)
    shift = np.repeat(rng.uniform(0, 40, (count, 1, 2)), 2, 0)
    return Piece(blades.corners, blades.uv + shift, blades.material)


def scatter(
    rng: Generator,
    parts: Sequence[Piece],
    places: Floats,
    *,
    scale: float = 0.15,
    yaw: ArrayLike | None = None,
) -> Piece:
    """Stand one of `parts`, drawn for each, on places (N, 3), larger or smaller by a share, turned at random.

    yaw: where each faces instead, radians.
    """
    drawn, size = rng.integers(len(parts), size=len(places)), np.exp(rng.normal(0, scale, len(places)))
    angle = rng.uniform(0, 2 * np.pi, len(places))
    if yaw is not None:
        angle = np.broadcast_to(np.asarray(yaw, np.float64), len(places))
    cos, sin, zero = size * np.cos(angle), size * np.sin(angle), 0 * size
    turn = (
        np.stack([cos, zero, sin, zero, size, zero, -sin, zero, cos], 1).reshape(-1, 3, 3).astype(np.float32)
    )
    made = []
    for number, part in enumerate(parts):
        mine = np.nonzero(drawn == number)[0]
        flat = part.corners.reshape(-1, 3).astype(np.float32)
        corners = flat @ turn[mine].transpose(0, 2, 1) + places[mine, None].astype(np.float32)
        uv = np.broadcast_to(part.uv.astype(np.float32), (len(mine), *part.uv.shape))
        made.append(Piece(corners.reshape(-1, 3, 3), uv.reshape(-1, 3, 2), np.tile(part.material, len(mine))))
    return join(made)
