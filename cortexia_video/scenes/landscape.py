"""What outdoor kinds share: ground to the horizon, weather and light, uneven land, hills and far towns."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from cortexia_video.scenes import outdoor_materials as materials
from cortexia_video.scenes import trees
from cortexia_video.scenes.description import (
    Camera,
    Lamp,
    Material,
    MeshModel,
    Placement,
    Scene,
    Shell,
    Sky,
    Sun,
    Vector,
)
from cortexia_video.scenes.pieces import Floats, Piece, boxes, join, quads, scatter

FARTHEST_M = 345.0
"""Half side of the box of sky around an outdoor scene."""
_LOWEST_M = 14.0  # under y = 0, so far down lies what is seen beyond the land


@dataclass(frozen=True, slots=True, eq=False)
class Land:
    """Uneven ground. height: of it over x and z, metres."""

    height: Callable[[Floats, Floats], Floats]

    def at(self, x: float, z: float) -> float:
        """Return the height at one place."""
        return float(self.height(np.array(x), np.array(z)))

    def stand(self, spots: Floats, sink_m: float = 0.03) -> Floats:
        """Return places (N, 3) on it at x and z (N, 2), let in a little."""
        x, z = spots.T
        return np.stack([x, self.height(x, z) - sink_m, z], 1)


def begin(rng: Generator) -> Scene:
    """Begin a scene: far ground under a sky, and one of the lights there are outdoors."""
    middle, half = np.array([0, FARTHEST_M - _LOWEST_M, 0]), np.full(3, FARTHEST_M)
    scene = Scene(rng, Shell(middle, half, (None,) * 6))
    far = scene.draw(("foliage", "stained", "asphalt"), period_m=rng.uniform(10, 40))
    scene.shell = Shell(middle, half, (None, None, far, None, None, None))
    weather = rng.random()
    elevation = math.radians(rng.uniform(25, 70) if weather < 0.42 else rng.uniform(4, 20))
    azimuth = rng.uniform(0, 6.28)
    towards = np.array(
        [
            math.sin(azimuth) * math.cos(elevation),
            math.sin(elevation),
            math.cos(azimuth) * math.cos(elevation),
        ]
    )
    blue = np.array([0.5, 0.7, 1.0])
    strength, fog_m = rng.uniform(0.02, 0.5), rng.uniform(250, 2000)
    warm, glow = np.ones(3), np.ones(3)
    if weather < 0.62:  # sun, high or low
        low = weather >= 0.42
        warm = np.array([1.0, 0.75, 0.5]) if low else np.array([1.0, 0.96, 0.88])
        glow = np.array([1.1, 0.95, 0.8]) if low else np.array([0.92, 0.97, 1.0])
        strength, scene.ambient = rng.uniform(1.2, 3.2), rng.uniform(0.35, 1.0)
        zenith, horizon = rng.uniform(0.3, 1.0) * blue ** rng.uniform(0.5, 1.8), rng.uniform(0.4, 1.3) * glow
    elif weather < 0.93:  # clouds, and now and then haze
        scene.ambient = rng.uniform(1.0, 2.2)
        zenith = rng.uniform(0.35, 1.1) * blue ** rng.uniform(0, 0.3)
        horizon = zenith * rng.uniform(0.8, 1.3)
        if rng.random() < 0.3:
            fog_m = rng.uniform(40, 250)
    else:  # dusk or night
        warm, strength, scene.ambient = (
            np.array([0.7, 0.8, 1.0]),
            rng.uniform(0, 0.06),
            rng.uniform(0.03, 0.15),
        )
        zenith = rng.uniform(0.003, 0.05) * blue
        horizon = zenith + rng.uniform(0, 0.08) * np.array([1.0, 0.7, 0.45])
    clouds = rng.uniform(0, 0.6)
    scene.sky = Sky(zenith, horizon, clouds, int(rng.integers(10**6)), fog_m)
    scene.lights.append(Sun(towards, strength * warm))
    return scene


def is_dark(scene: Scene) -> bool:
    """Return whether it is dusk or night: lamps burn."""
    return scene.ambient < 0.2


def add_lamps(scene: Scene, places: list[Vector]) -> None:
    """Let some lamps burn at night; of those, the nearest to the middle come first and cast shadows."""
    warm = np.array([1.0, scene.rng.uniform(0.6, 1.0), 0.5])
    for place in sorted(places, key=lambda each: float(np.linalg.norm(each)))[:4]:
        scene.lights.append(Lamp(place, warm * scene.rng.uniform(10, 40)))


def add(scene: Scene, piece: Piece, materials: list[Material]) -> None:
    """Add triangles in world coordinates."""
    if len(piece):
        model = MeshModel(piece.corners.astype(np.float32), piece.material, piece.uv.astype(np.float32))
        scene.add_mesh(Placement(np.zeros(3)), model, materials)


def draw_land(rng: Generator, strength: float, flat_m: float = 6.0) -> Land:
    """Draw uneven land: waves of 6 to 200 m, none near the middle. strength: height as a share of the length."""
    count = 7
    length = np.exp(rng.uniform(math.log(6), math.log(200), count))
    angle, phase = rng.uniform(0, 6.28, (2, count))
    swing = strength * length * rng.uniform(0, 1, count) / 6

    def height(x: Floats, z: Floats) -> Floats:
        along = np.cos(angle) * x[..., None] + np.sin(angle) * z[..., None]
        waves = (swing * np.sin(2 * np.pi * along / length + phase)).sum(-1)
        start = (swing * np.sin(phase)).sum()
        far = np.clip(np.hypot(x, z) / flat_m, 0, 1) ** 2
        result: Floats = (waves - start) * far
        return result

    return Land(height)


def terrain(land: Land, rough_m: float = 0.0, rng: Generator | None = None) -> Piece:
    """Mesh the land around the middle: finer near it. rough_m: bumps of its points, near."""
    radius = np.concatenate([[0.05], np.geomspace(0.35, 330, 110)])
    angle = np.linspace(0, 2 * np.pi, 151)
    x, z = radius[:, None] * np.sin(angle), radius[:, None] * np.cos(angle)
    y = land.height(x, z)
    if rng is not None and rough_m:
        bumps = rng.normal(0, rough_m, y.shape) * np.clip(radius / 3, 0, 1)[:, None]
        bumps[:, -1] = bumps[:, 0]
        y = y + bumps
    points = np.stack([x, y, z], 2)
    cells = np.stack([points[:-1, :-1], points[:-1, 1:], points[1:, 1:], points[1:, :-1]], 2)
    made = quads(cells.reshape(-1, 4, 3))
    return Piece(made.corners, made.corners[:, :, ::2].copy(), made.material)


def add_far(scene: Scene, *, town: float = 0.4) -> None:
    """Add what closes the view all round: hills, belts of trees, and with a chance `town` blocks of a town."""
    rng = scene.rng
    if rng.random() < 0.5:
        rings = []
        for _ in range(int(rng.integers(1, 3))):
            angle, radius = np.linspace(0, 2 * np.pi, 121), rng.uniform(200, 330)
            wave = sum(
                np.sin(k * angle + rng.uniform(0, 6)) * rng.uniform(0, 1) / k**0.5 for k in range(1, 8)
            )
            top = np.clip(rng.uniform(2, 14) * (wave + rng.uniform(-1, 2)), -_LOWEST_M, 60)
            rim = np.stack([radius * np.sin(angle), top, radius * np.cos(angle)], 1)
            foot = rim * (0.8, 0, 0.8) - (0, _LOWEST_M, 0)
            rings.append(quads(np.stack([foot[:-1], foot[1:], rim[1:], rim[:-1]], 1)))
        add(scene, join(rings), [materials.draw_green(scene)])
    if rng.random() < 0.7:
        tuft = [trees.bush(rng, np.array([5.0, rng.uniform(3, 7), 5.0]), 1.3) for _ in range(3)]
        count = int(rng.integers(20, 130))
        bearing = rng.uniform(0, 6.28) + rng.uniform(0.3, 3) * rng.random(count)
        away = rng.uniform(90, 300) + rng.normal(0, 12, count)
        x, z = away * np.sin(bearing), away * np.cos(bearing)
        add(
            scene,
            scatter(rng, tuft, np.stack([x, 0 * x - 0.5, z], 1), scale=0.3),
            [materials.draw_bark(scene), materials.draw_green(scene)],
        )
    if rng.random() < town:
        count = int(rng.integers(8, 50))
        bearing, away = (
            rng.uniform(0, 6.28) + rng.uniform(0.5, 6) * rng.random(count),
            rng.uniform(130, 320, count),
        )
        half = np.stack(
            [
                rng.uniform(5, 16, count),
                rng.uniform(3, 30, count) ** rng.uniform(0.7, 1.1),
                rng.uniform(5, 16, count),
            ],
            1,
        )
        middle = np.stack([away * np.sin(bearing), half[:, 1] - 1, away * np.cos(bearing)], 1)
        blocks = boxes(middle, half)
        worn = Piece(blocks.corners, blocks.uv, np.repeat(rng.integers(0, 3, count), 12))
        add(
            scene,
            worn,
            [scene.draw(("facade", "facade", "plain"), period_m=rng.uniform(10, 22)) for _ in range(3)],
        )


def look(
    rng: Generator,
    position: Vector,
    yaw: float,
    *,
    fov_deg: tuple[float, float],
    horizon: tuple[float, float],
    roll_deg: float = 1.5,
) -> Camera:
    """Aim level but for the horizon, drawn between two shares of the height of a 4:3 image from above."""  # fmt: skip
    fov = math.radians(math.exp(rng.uniform(*np.log(fov_deg))))
    below_middle = rng.uniform(*horizon) - 0.5
    pitch = math.atan(below_middle * 2 * 0.75 * math.tan(fov / 2))
    return Camera(position, yaw, pitch, math.radians(rng.normal(0, roll_deg)), fov)
