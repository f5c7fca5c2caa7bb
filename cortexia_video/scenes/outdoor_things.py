"""What stands outdoors: people, cars, trees, poles, fences, bicycles, houses with depth to their facade."""

from __future__ import annotations

import math
from itertools import product

import numpy as np

from cortexia_video.scenes.architecture import add_arch
from cortexia_video.scenes.description import Material, Placement, Scene, Shape, rotation

_BUILDINGS = ("facade", "facade", "bricks", "plain", "plain", "tiles", "stained")


def draw_building(scene: Scene) -> Material:
    """Draw what buildings are made of, laid large."""
    return scene.draw(_BUILDINGS, period_m=scene.rng.uniform(3, 14))


def add_person(scene: Scene, place: Placement) -> None:
    """A standing or walking person of 1.4 to 1.9 m."""
    rng = scene.rng
    height = rng.uniform(1.4, 1.9)
    top, trousers = scene.surface(), scene.surface()
    skin = scene.draw(("plain",), tint=np.array([0.9, 0.65, 0.5]) * rng.uniform(0.5, 1.3))
    for side in (-1, 1):
        leg = rotation(place.yaw, rng.normal(0, 0.15))
        arm = rotation(place.yaw, rng.normal(0, 0.3))
        hip = place.point(side * 0.1, 0.24 * height, rng.normal(0, 0.08))
        shoulder = place.point(side * 0.25, 0.62 * height, rng.normal(0, 0.05))
        scene.add(Shape.CYLINDER, hip, (0.075, 0.24 * height, 0.085), trousers, leg)
        scene.add(Shape.CYLINDER, shoulder, (0.05, 0.18 * height, 0.05), top, arm)
    scene.ellipsoid(place, (0, 0.64 * height, 0), (0.22, 0.22 * height, 0.14), top)
    scene.ellipsoid(place, (0, 0.92 * height, 0), (0.085, 0.08 * height, 0.1), skin)


def add_car(scene: Scene, place: Placement) -> None:
    """A car or van along z, with wheels, glass and lights."""
    rng = scene.rng
    paint = scene.draw(("plain",), gloss=0.4, tint=rng.uniform(0.4, 1.4))
    glass = scene.draw(("plain",), gloss=0.5, tint=0.15)
    tyre = scene.draw(("plain",), tint=0.1)
    half_length, half_width, half_body = (
        rng.uniform(1.8, 2.4),
        rng.uniform(0.8, 0.95),
        rng.uniform(0.28, 0.45),
    )
    half_cabin, share = (0.7, 0.8) if scene.chance(0.25) else (0.3, 0.5)
    shoulder = 0.3 + 2 * half_body
    scene.box(place, (0, 0.3 + half_body, 0), (half_width, half_body, half_length), paint)
    cabin = (half_width * 0.88, half_cabin, half_length * share)
    scene.box(place, (0, shoulder + half_cabin, -0.2), cabin, glass)
    scene.box(place, (0, shoulder + 2 * half_cabin, -0.2), (half_width * 0.85, 0.03, cabin[2] * 0.9), paint)
    for x in (-1, 1):
        for z in (-1, 1):
            centre = place.point(x * half_width * 0.92, 0.32, z * half_length * 0.62)
            turn = rotation(place.yaw, 0, math.pi / 2)
            scene.add(Shape.CYLINDER, centre, (0.32, 0.12, 0.32), tyre, turn)
            lamp = scene.draw(
                ("plain",), emission=1.0, tint=np.array([1.0, 0.3 + 0.6 * (z > 0), 0.3 + 0.5 * (z > 0)])
            )
            scene.box(
                place, (x * half_width * 0.75, shoulder - 0.2, z * half_length), (0.15, 0.07, 0.02), lamp
            )


def add_tree(scene: Scene, place: Placement) -> None:
    """A leafy tree, a conifer, a poplar or a bare one."""
    rng = scene.rng
    height, radius = rng.uniform(1.5, 5), rng.uniform(0.06, 0.25)
    bark = scene.draw(("wood", "asphalt", "stained"), period_m=0.6, tint=rng.uniform(0.4, 1.2))
    foot, top = place.point(0, 0, 0), place.point(rng.normal(0, 0.1), height, rng.normal(0, 0.1))
    scene.rod(foot, top, radius, bark, 0.7)
    leaves = scene.draw(("foliage",), period_m=rng.uniform(0.6, 3), tint=rng.uniform(0.5, 1.2))
    kind = rng.random()
    if kind < 0.5:
        # tufts of leaves about a middle, many small or few large
        spread = height * rng.uniform(0.25, 0.5)
        count = int(rng.integers(3, 18))
        for _ in range(count):
            at = top + rng.normal(0, (0.6, 0.4, 0.6)) * spread
            half = spread * rng.uniform(0.4, 1.1, 3) * (4 / count) ** 0.4
            scene.add(Shape.ELLIPSOID, at, half, leaves, rotation(*rng.uniform(0, 6.28, 2)))
    elif kind < 0.65:
        for level in np.linspace(0.4, 1.6, int(rng.integers(2, 6))):
            half = height * np.array([0.35, 0.25, 0.35]) * (1.8 - level) * rng.uniform(0.8, 1.1)
            scene.cylinder(place, (0, float(level) * height, 0), half, leaves, 0.05)
    elif kind < 0.8:
        width = height * rng.uniform(0.12, 0.25)
        for _ in range(int(rng.integers(2, 6))):
            x, z = rng.normal(0, 0.4, 2) * width
            half = (width, height * rng.uniform(0.5, 1.0), width)
            scene.ellipsoid(place, (x, height * rng.uniform(0.9, 1.3), z), half, leaves)
    else:
        # bare branches that leave the upper trunk, each with a twig
        length = float(top[1] - foot[1])
        for _ in range(int(rng.integers(5, 14))):
            start = foot + (top - foot) * rng.uniform(0.4, 1)
            end = start + rng.normal(0, (0.4, 0.15, 0.4)) * length + (0, 0.25 * length, 0)
            scene.rod(start, end, radius * 0.35, bark, 0.3)
            middle = (start + end) / 2
            scene.rod(middle, middle + rng.normal(0, 0.2, 3) * length, radius * 0.2, bark, 0.3)


def add_bush(scene: Scene, place: Placement) -> None:
    """A low heap of leaves, or a tuft of reeds."""
    rng = scene.rng
    leaves = scene.draw(("foliage",), period_m=rng.uniform(0.5, 2), tint=rng.uniform(0.5, 1.2))
    if scene.chance(0.3):
        for _ in range(int(rng.integers(5, 16))):
            x, z, across, along = rng.normal(0, 0.25, 4)
            tip = place.point(x + across, rng.uniform(0.3, 1.3), z + along)
            scene.rod(place.point(x, 0, z), tip, rng.uniform(0.005, 0.03), leaves, 0.1)
        return
    for _ in range(int(rng.integers(1, 8))):
        x, z = rng.normal(0, 0.5, 2)
        half = rng.uniform(0.15, 0.8, 3)
        scene.ellipsoid(place, (x, half[1] * 0.7, z), half, leaves)


def add_pole(scene: Scene, place: Placement) -> None:
    """A thin pole, alone or with a sign or a lamp's arm."""
    rng = scene.rng
    radius, half_height, kind = rng.uniform(0.03, 0.12), rng.uniform(1, 3.5), rng.random()
    metal = scene.draw(("plain", "stained", "wood"), gloss=0.2)
    scene.cylinder(place, (0, half_height, 0), (radius, half_height, radius), metal)
    if kind < 0.35:
        sign = scene.draw(("plain", "text", "poster"), period_m=0.8)
        scene.box(place, (0, 2 * half_height - 0.3, 0.05), (rng.uniform(0.2, 0.5), 0.3, 0.01), sign)
    elif kind < 0.6:
        scene.box(place, (0.6, 2 * half_height, 0), (0.6, 0.04, 0.06), metal)


def add_fence(scene: Scene, place: Placement, half_length: float) -> None:
    """Posts along x with two rails, now and then closed by boards."""
    rng = scene.rng
    half_height = rng.uniform(0.35, 0.8)
    stuff = scene.draw(("wood", "plain", "stained"), period_m=1.0)
    for x in np.linspace(-half_length, half_length, int(rng.integers(4, 10))):
        scene.box(place, (float(x), half_height, 0), (0.04, half_height, 0.04), stuff)
    for level in (0.7, 1.7):
        scene.box(place, (0, level * half_height, 0), (half_length, 0.03, 0.02), stuff)
    if scene.chance(0.3):
        scene.box(place, (0, half_height, -0.03), (half_length, half_height * 0.9, 0.01), stuff)


def add_bicycle(scene: Scene, place: Placement) -> None:
    """Two thin wheels along z and the bars between."""
    paint = scene.draw(("plain",), gloss=0.4)
    tyre = scene.draw(("plain",), tint=0.15)
    for z in (-0.52, 0.52):
        turn = rotation(place.yaw, 0, math.pi / 2)
        scene.add(Shape.CYLINDER, place.point(0, 0.33, z), (0.33, 0.015, 0.33), tyre, turn)
    for pitch, y, z in ((0.5, 0.6, 0.15), (-0.5, 0.6, -0.15), (math.pi / 2, 0.8, 0.0)):
        turn = rotation(place.yaw, pitch)
        scene.add(Shape.CYLINDER, place.point(0, y, z), (0.02, 0.32, 0.02), paint, turn)
    scene.box(place, (0, 1.0, 0.4), (0.28, 0.015, 0.015), paint)


def add_house(scene: Scene, place: Placement, half_size: tuple[float, float, float]) -> None:
    """A block whose front, towards +z, has windows set back in frames, a door or a row of arches."""
    rng, (half_width, half_height, half_depth) = scene.rng, half_size
    wall = draw_building(scene)
    scene.box(place, (0, half_height, 0), half_size, wall)
    front = place.moved(0, 0, half_depth)
    if scene.chance(0.3):
        # arches on pillars before the front
        count = max(1, min(3, int(half_width / 1.5)))
        half_opening, top = half_width / count * 0.8, rng.uniform(2.4, 3.6)
        for index in range(count + 1):
            x = half_width * (2 * index / count - 1)
            scene.box(front, (x, top / 2, 1.5), (half_width / count * 0.2, top / 2, 0.25), wall)
        scene.box(front, (0, top + 0.4, 0.9), (half_width, 0.4, 0.9), wall)
        for index in range(count):
            x = half_width * ((2 * index + 1) / count - 1)
            add_arch(scene, front.moved(x, top, 1.5), half_opening, 0.25, wall)
    elif wall.kind != "facade" and half_width < 9:
        glass = scene.draw(("plain",), tint=rng.uniform(0.1, 0.5), gloss=0.5)
        frame = scene.draw(("plain", "wood"))
        columns, rows = int(rng.integers(1, 5)), int(rng.integers(1, 4))
        half_x = half_width / columns * rng.uniform(0.25, 0.5)
        half_y = half_height / rows * rng.uniform(0.3, 0.6)
        for column, row in product(range(columns), range(rows)):
            x = half_width * (2 * (column + 0.5) / columns - 1)
            y = 2 * half_height * (row + 0.55) / rows
            scene.box(front, (x, y, 0.03), (half_x * 1.12, half_y * 1.1, 0.06), frame)
            scene.box(front, (x, y, 0.05), (half_x, half_y, 0.05), glass)
    if scene.chance(0.5):
        scene.box(
            place, (0, 2 * half_height, 0), (half_width * 1.03, 0.12, half_depth * 1.05), draw_building(scene)
        )
