"""What a scene is made of, before it is rendered: primitives, meshes, lights, sky, a camera, and materials.

World axes: x right, y up, z forward; metres. Angles are radians. A local frame's front is +z.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from cortexia_video.scenes.textures import VARIANTS

if TYPE_CHECKING:
    from cortexia_video.scenes.meshes import Triangles

Vector = NDArray[np.float64]
Point = Sequence[float] | Vector


class Shape(IntEnum):
    """Forms a primitive can have, all inside the box of its half sizes; a cylinder stands along local y."""

    BOX = 0
    CYLINDER = 1
    ELLIPSOID = 2


def rotation(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> Vector:
    """Build the matrix (3, 3) local to world that rolls about z, then pitches about x, then yaws about y."""
    cy, sy = math.cos(yaw), math.sin(yaw)
    cp, sp = math.cos(pitch), math.sin(pitch)
    cr, sr = math.cos(roll), math.sin(roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    product: Vector = about_y @ about_x @ about_z
    return product


def turn_towards(axis: Vector) -> Vector:
    """Build a rotation (3, 3) that takes local y to the direction of `axis`."""
    y = axis / max(float(np.linalg.norm(axis)), 1e-9)
    aside = np.cross(y, (1.0, 0, 0) if abs(y[0]) < 0.9 else (0, 0, 1.0))
    z = aside / np.linalg.norm(aside)
    return np.stack([np.cross(y, z), y, z], 1)


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """A texture and how it is laid on.

    kind, variant: which texture. period_m: metres that one copy covers. offset: (2,) in copies.
    turned: u and v swapped. tint: (3,) factor on albedo. emission: light given off per albedo.
    gloss: strength of highlights. grain: strength of fine noise on it.
    image: what the kind `image` shows, sRGB uint8 (SIDE, SIDE, 3), the same object wherever it is the same.
    """

    kind: str
    variant: int
    period_m: float
    offset: tuple[float, float]
    turned: bool
    tint: Vector
    emission: float = 0.0
    gloss: float = 0.0
    grain: float = 0.0
    image: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Primitive:
    """One solid: shape, centre (3,), half sizes (3,), rotation (3, 3) local to world, material.

    taper: radius at the top of a cylinder as a share of that at its bottom; 0 makes a cone.
    """

    shape: Shape
    centre: Vector
    half_size: Vector
    rotation: Vector
    material: Material
    taper: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class MeshModel:
    """Triangles in a frame of their own, in metres: y up, front +z, on y = 0, the middle at x = z = 0.

    corners: float32 (T, 3, 3). part: int64 (T,), which of a mesh's materials. uv_m: float32 (T, 3, 2), metres
    along the surface, v up; None lays textures on from the sides, as on boxes. normals: float32 (T, 3, 3),
    unit length, of the corners of what is round; None is flat.
    """

    corners: NDArray[np.float32]
    part: NDArray[np.int64]
    uv_m: NDArray[np.float32] | None = None
    normals: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """A model in its place: position (3,), rotation (3, 3) local to world, a material for each part, scale (3,).

    Both sides of its triangles are seen.
    """

    model: MeshModel
    position: Vector
    rotation: Vector
    materials: tuple[Material, ...]
    scale: Vector


@dataclass(frozen=True, slots=True, eq=False)
class Lamp:
    """A light: position (3,), colour (3,), and how large it is, which softens shadows."""

    position: Vector
    colour: Vector
    radius_m: float = 0.06


@dataclass(frozen=True, slots=True, eq=False)
class Sun:
    """A light infinitely far away: unit direction towards it (3,), colour (3,)."""

    direction: Vector
    colour: Vector


@dataclass(frozen=True, slots=True, eq=False)
class Sky:
    """Colours (3,) at zenith and horizon, strength and seed of clouds, distance at which fog hides 63 %."""

    zenith: Vector
    horizon: Vector
    clouds: float
    seed: int
    fog_m: float


@dataclass(frozen=True, slots=True, eq=False)
class Shell:
    """The box around everything, seen from inside; faces -x, +x, floor, ceiling, -z, +z. None is sky."""

    centre: Vector
    half_size: Vector
    materials: tuple[Material | None, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """Position (3,), direction and horizontal field of view; positive pitch looks up."""

    position: Vector
    yaw: float
    pitch: float
    roll: float
    fov: float

    @property
    def rotation(self) -> Vector:
        """Matrix (3, 3) from camera axes (x right, y up, z forward) to world."""
        return rotation(self.yaw, -self.pitch, self.roll)


Aim = Callable[[Generator], Camera]
"""Draws one of the views of a place."""


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """A point (3,) that something stands on, and where it faces."""

    position: Vector
    yaw: float = 0.0

    def point(self, x: float, y: float, z: float) -> Vector:
        """Turn local into world coordinates."""
        world: Vector = self.position + rotation(self.yaw) @ np.array([x, y, z])
        return world

    def moved(self, x: float, y: float, z: float, turn: float = 0.0) -> Placement:
        """Step aside in local coordinates, and turn."""
        return Placement(self.point(x, y, z), self.yaw + turn)


@dataclass(slots=True, eq=False)
class Scene:
    """A scene under construction: layouts and furniture add to it, all drawing from one generator.

    bounces: rays per pixel of light that comes from what is lit. triangles: those of all meshes, once built.
    """

    rng: Generator
    shell: Shell
    camera: Camera = Camera(np.zeros(3), 0.0, 0.0, 0.0, math.radians(60))
    primitives: list[Primitive] = field(default_factory=list)
    lights: list[Lamp | Sun] = field(default_factory=list)
    ambient: float = 0.5
    sky: Sky | None = None
    meshes: list[Mesh] = field(default_factory=list)
    bounces: int = 0
    triangles: Triangles | None = None

    @property
    def materials(self) -> list[Material | None]:
        """Materials of all surfaces, in the order of their rows: shell, primitives, parts of meshes."""
        solid = [primitive.material for primitive in self.primitives]
        return [*self.shell.materials, *solid, *(part for mesh in self.meshes for part in mesh.materials)]

    def add_mesh(
        self, place: Placement, model: MeshModel, materials: Sequence[Material], scale: float | Point = 1.0
    ) -> None:
        """Stand a model at a place, with a material for each of its parts."""
        size = np.broadcast_to(np.asarray(scale, np.float64), 3)
        self.meshes.append(Mesh(model, place.position, rotation(place.yaw), tuple(materials), size))
        self.triangles = None

    def add(
        self,
        shape: Shape,
        centre: Point,
        half_size: Point,
        material: Material,
        turn: Vector | None = None,
        taper: float = 1.0,
    ) -> None:
        """Add a primitive in world coordinates; no half size is under 2 mm."""
        half = np.maximum(np.asarray(half_size, np.float64), 0.002)
        matrix = np.eye(3) if turn is None else turn
        self.primitives.append(
            Primitive(shape, np.asarray(centre, np.float64), half, matrix, material, taper)
        )

    def box(self, place: Placement, centre: Point, half_size: Point, material: Material) -> None:
        """Add a box in the local frame of `place`."""
        self.add(Shape.BOX, place.point(*centre), half_size, material, rotation(place.yaw))

    def cylinder(
        self, place: Placement, centre: Point, half_size: Point, material: Material, taper: float = 1.0
    ) -> None:
        """Add an upright cylinder, or a cone cut off, in the local frame of `place`."""
        self.add(Shape.CYLINDER, place.point(*centre), half_size, material, rotation(place.yaw), taper)

    def rod(self, start: Vector, end: Vector, radius: float, material: Material, taper: float = 1.0) -> None:
        """Add a thin cylinder from one point to another, in world coordinates."""
        half_length = max(float(np.linalg.norm(end - start)) / 2, 1e-3)
        half = (radius, half_length, radius)
        turn = turn_towards(end - start)
        self.add(Shape.CYLINDER, (start + end) / 2, half, material, turn, taper)

    def cable(self, points: Sequence[Vector], radius: float, material: Material) -> None:
        """Add rods along a curve that passes through points."""
        for start, end in pairwise(points):
            self.rod(start, end, radius, material)

    def ellipsoid(self, place: Placement, centre: Point, half_size: Point, material: Material) -> None:
        """Add an ellipsoid in the local frame of `place`."""
        self.add(Shape.ELLIPSOID, place.point(*centre), half_size, material, rotation(place.yaw))

    def draw(
        self,
        kinds: Sequence[str],
        *,
        period_m: float | None = None,
        tint: float | Vector = 1.0,
        emission: float = 0.0,
        gloss: float | None = None,
    ) -> Material:
        """Draw a material of one of `kinds`; a kind named twice comes twice as often."""
        rng = self.rng
        if period_m is None:
            period_m = math.exp(rng.uniform(math.log(0.15), math.log(2.5)))
        shade = np.ones(3) * tint * math.exp(rng.normal(0, 0.15)) * np.exp(rng.normal(0, 0.06, 3))
        return Material(
            kind=kinds[int(rng.integers(len(kinds)))],
            variant=int(rng.integers(VARIANTS)),
            period_m=period_m,
            offset=(float(rng.random()), float(rng.random())),
            turned=bool(rng.random() < 0.25),
            tint=shade,
            emission=emission,
            gloss=float(rng.random() ** 4 * 0.5) if gloss is None else gloss,
            grain=float(rng.random() ** 2 * 0.3),
        )

    def surface(self) -> Material:
        """Draw what furniture and things are made of."""
        return self.draw(_SURFACES)

    def chance(self, probability: float) -> bool:
        """Decide at random."""
        return bool(self.rng.random() < probability)

    def either(self, first: Material, second: Material) -> Material:
        """Pick one of two materials with equal chance."""
        return first if self.chance(0.5) else second


_SURFACES = (
    *("plain",) * 4,
    *("wood",) * 2,
    *("stained", "marble", "stripes", "carpet", "poster", "text", "clutter"),
)
