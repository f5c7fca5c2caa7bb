"""Outdoor layouts: streets, open ground, and facades seen from near."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from cortexia_video.scenes import outdoor_things
from cortexia_video.scenes.architecture import add_sagging_cable
from cortexia_video.scenes.description import (
    Camera,
    Placement,
    Scene,
    Shape,
    Shell,
    Sky,
    Sun,
    Vector,
    rotation,
)
from cortexia_video.scenes.things import add_thing

FARTHEST_M = 250.0
"""Half side of the box of sky around an outdoor scene."""

_GROUNDS = ("asphalt", "asphalt", "stained", "foliage", "tiles", "bricks", "plain")


def street(rng: Generator) -> Scene:
    """A road with pavements, houses, cars, trees, poles and people, seen along it from a car or on foot."""
    scene = _start(rng)
    half_road = rng.uniform(2.5, 7)
    surface = scene.draw(("asphalt", "asphalt", "plain", "bricks"), period_m=rng.uniform(1, 6))
    scene.add(Shape.BOX, (0, 0, 0), (half_road, 0.012, 240), surface)
    paint = scene.draw(("plain",), tint=1.8)
    for _ in range(int(rng.integers(0, 8))):
        x = (0, 0, -half_road / 2, half_road / 2)[int(rng.integers(4))]
        scene.add(Shape.BOX, (x, 0, rng.uniform(2, 40)), (0.07, 0.02, rng.uniform(1, 6)), paint)
    for side in (-1, 1):
        _line_road(scene, side, half_road)
    for side in (-1, 1):  # what streets repeat: rows of trees, walls, hedges, rails
        x = side * (half_road + rng.uniform(0.5, 6))
        if scene.chance(0.35):
            for z in np.arange(rng.uniform(3, 12), 90, rng.uniform(5, 14)):
                outdoor_things.add_tree(scene, Placement(np.array([x, 0, z + rng.normal(0, 0.5)])))
        if scene.chance(0.3):
            kinds = ("bricks", "foliage", "plain", "wood", "stained")
            stuff = scene.draw(kinds, period_m=rng.uniform(0.6, 3))
            half_height, start = rng.uniform(0.3, 1.4), rng.uniform(-5, 30)
            middle = (x + side * 1.5, half_height, start + 60)
            scene.add(Shape.BOX, middle, (rng.uniform(0.05, 0.8), half_height, 60), stuff)
        if scene.chance(0.15):
            outdoor_things.add_fence(scene, Placement(np.array([x, 0, 15]), math.pi / 2), 14)
    if scene.chance(0.12):
        metal = scene.draw(("plain", "stained"), gloss=0.5, tint=0.6)
        for x in (-0.72, 0.72):
            scene.add(Shape.BOX, (x + half_road * 0.5, 0.06, 100), (0.035, 0.08, 110), metal)
    for _ in range(int(rng.integers(0, 4))):
        y, z = rng.uniform(4, 8), _log_uniform(rng, 4, 60)
        ends = np.array([[-2 * half_road, y, z], [2 * half_road, y, z + rng.normal(0, 8)]])
        add_sagging_cable(scene, ends[0], ends[1], rng.uniform(0, 0.6), rng.uniform(0.01, 0.03))
    position = np.array([rng.uniform(-0.6, 0.6) * half_road, rng.uniform(1.0, 2.4), 0])
    scene.camera = _camera(scene, position, rng.normal(0, 0.15), rng.normal(-2, 4))
    return scene


def open_ground(rng: Generator) -> Scene:
    """A park, square or yard: scattered houses, trees, people and things, hills behind."""
    scene = _start(rng)
    for _ in range(int(rng.integers(0, 7))):
        half = (rng.uniform(1.5, 8), rng.uniform(1.5, 6), rng.uniform(1.5, 8))
        place = Placement(_scatter(rng, 8, 120), math.pi + rng.normal(0, 0.6))
        outdoor_things.add_house(scene, place, half)
    for build, most, near, far in (
        (outdoor_things.add_tree, 9, 3, 90),
        (outdoor_things.add_bush, 6, 2, 40),
        (outdoor_things.add_person, 5, 1.5, 30),
        (outdoor_things.add_pole, 4, 2, 40),
        (outdoor_things.add_car, 3, 4, 30),
        (outdoor_things.add_bicycle, 2, 1.5, 12),
    ):
        for _ in range(int(rng.integers(0, most))):
            build(scene, Placement(_scatter(rng, near, far), rng.uniform(0, 6.28)))
    for _ in range(int(rng.integers(0, 9))):
        add_thing(scene, Placement(_scatter(rng, 1.0, 25)), rng.uniform(0.08, 0.8))
    if scene.chance(0.4):
        outdoor_things.add_fence(
            scene, Placement(np.array([0, 0, rng.uniform(4, 40)]), rng.normal(0, 0.3)), 15
        )
    for _ in range(int(rng.integers(0, 3))):
        z = rng.uniform(60, 220)
        grass = scene.draw(("foliage", "stained"), period_m=rng.uniform(10, 40))
        half = (rng.uniform(20, 80), rng.uniform(3, 25), rng.uniform(20, 60))
        scene.add(Shape.ELLIPSOID, (rng.uniform(-1, 1) * z, 0, z), half, grass, rotation(rng.uniform(0, 3)))
    position = np.array([0, rng.uniform(0.3, 2.4), 0])
    scene.camera = _camera(scene, position, rng.normal(0, 0.2), rng.normal(-5, 9))
    return scene


def near_facade(rng: Generator) -> Scene:
    """A house front from a few metres away, straight or at a slant, with things before it."""
    scene = _start(rng)
    distance = rng.uniform(2.5, 14)
    half_depth = rng.uniform(3, 6)
    slant = rng.normal(0, 0.5)
    middle = np.array([0, 0, distance + half_depth])
    half = (rng.uniform(4, 14), rng.uniform(2, 7), half_depth)
    outdoor_things.add_house(scene, Placement(middle, math.pi + slant), half)
    if scene.chance(0.5):
        side = (-1, 1)[int(rng.integers(2))]
        wing = np.array([side * rng.uniform(4, 9), 0, distance * rng.uniform(0.5, 1.2)])
        outdoor_things.add_house(
            scene, Placement(wing, -side * math.pi / 2 + slant), (5, rng.uniform(2, 7), 2)
        )
    for build, most in (
        (outdoor_things.add_person, 4),
        (outdoor_things.add_bush, 4),
        (outdoor_things.add_pole, 3),
        (outdoor_things.add_bicycle, 3),
        (outdoor_things.add_tree, 2),
        (outdoor_things.add_car, 2),
    ):
        for _ in range(int(rng.integers(0, most))):
            build(scene, Placement(_scatter(rng, 0.3 * distance, distance), rng.uniform(0, 6.28)))
    for _ in range(int(rng.integers(0, 8))):
        add_thing(scene, Placement(_scatter(rng, 0.8, distance)), rng.uniform(0.08, 0.5))
    position = np.array([0, rng.uniform(0.4, 2.0), 0])
    scene.camera = _camera(scene, position, rng.normal(0, 0.3), rng.normal(1, 8))
    return scene


def _start(rng: Generator) -> Scene:
    """Build endless ground under a sky with a sun, high or low, clear or hidden."""
    middle, half = np.array([0, FARTHEST_M, 0]), np.full(3, FARTHEST_M)
    scene = Scene(rng, Shell(middle, half, (None,) * 6))
    ground = scene.draw(_GROUNDS, period_m=rng.uniform(0.8, 6))
    scene.shell = Shell(middle, half, (None, None, ground, None, None, None))
    scene.sky = Sky(
        zenith=rng.uniform(0.6, 2.2) * np.array([0.6, 0.75, 1.0]) ** rng.uniform(0, 1.6),
        horizon=rng.uniform(0.8, 2.5) * np.array([0.9, 0.95, 1.0]),
        clouds=rng.uniform(0, 0.6),
        seed=int(rng.integers(10**6)),
        fog_m=rng.uniform(60, 1500),
    )
    azimuth, elevation = rng.uniform(0, 6.28), math.radians(rng.uniform(12, 75))
    flat = math.cos(elevation)
    towards = np.array([math.sin(azimuth) * flat, math.sin(elevation), math.cos(azimuth) * flat])
    strength = rng.uniform(0.2, 2.4) if scene.chance(0.75) else 0.05
    scene.lights.append(Sun(towards, strength * np.array([1.0, 0.95, 0.85])))
    scene.ambient = rng.uniform(0.25, 1.0)
    return scene


def _log_uniform(rng: Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _scatter(rng: Generator, near: float, far: float) -> Vector:
    """Draw a point on the ground ahead, log-uniform in distance."""
    z = _log_uniform(rng, near, far)
    return np.array([rng.uniform(-0.75, 0.75) * z, 0, z])


def _line_road(scene: Scene, side: int, half_road: float) -> None:
    """Add to one side of a road houses that face it, a pavement, cars, trees, poles, bushes and people."""
    rng = scene.rng
    if not scene.chance(0.2):
        set_back, z = half_road + rng.uniform(0.7, 7), -5.0
        while z < 110:
            half_length, half_depth, half_height = (
                rng.uniform(1.5, 8),
                rng.uniform(1.5, 5),
                rng.uniform(0.8, 6),
            )
            if scene.chance(0.75):
                x = side * (set_back + rng.uniform(0, 2) + half_depth)
                yaw = -side * math.pi / 2 + rng.normal(0, 0.04)
                place = Placement(np.array([x, 0, z + half_length]), yaw)
                outdoor_things.add_house(scene, place, (half_length, half_height, half_depth))
            z += 2 * half_length + (rng.uniform(0, 12) if scene.chance(0.6) else 0)
    if scene.chance(0.7):
        kerb = scene.draw(("tiles", "asphalt", "foliage", "plain"), period_m=rng.uniform(0.5, 3))
        scene.add(Shape.BOX, (side * (half_road + 1.5), 0, 0), (1.5, rng.uniform(0.05, 0.16), 240), kerb)
    for build, most, low, high, far in (
        (outdoor_things.add_car, 6, 0.35 * half_road, half_road + 0.6, 70),
        (outdoor_things.add_tree, 5, half_road + 0.5, half_road + 8, 80),
        (outdoor_things.add_pole, 5, half_road + 0.2, half_road + 2, 60),
        (outdoor_things.add_bush, 4, half_road + 1, half_road + 6, 50),
        (outdoor_things.add_person, 4, 0.8 * half_road, half_road + 3, 40),
        (outdoor_things.add_bicycle, 2, 0.8 * half_road, half_road + 2, 25),
    ):
        for _ in range(int(rng.integers(0, most))):
            position = np.array([side * rng.uniform(low, high), 0, _log_uniform(rng, 4, far)])
            build(scene, Placement(position, rng.normal(0, 0.06)))


def _camera(scene: Scene, position: Vector, yaw: float, pitch_deg: float) -> Camera:
    rng = scene.rng
    pitch = math.radians(float(np.clip(pitch_deg, -35, 20)))
    return Camera(position, yaw, pitch, math.radians(rng.normal(0, 2.5)), math.radians(rng.uniform(40, 95)))
