"""Small things that stand on a table, a shelf or a floor."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from cortexia_video.scenes.description import Placement, Scene, Shape, rotation

_PRINTED = ("poster", "text", "plain", "clutter", "wood", "stripes")


def _parcel(scene: Scene, place: Placement, size: float) -> None:
    """A box, now and then tipped over."""
    rng = scene.rng
    half = size * rng.uniform(0.2, 1, 3)
    turn = rotation(place.yaw)
    if scene.chance(0.15):
        turn = rotation(place.yaw, rng.normal(0, 0.4), rng.normal(0, 0.4))
    scene.add(Shape.BOX, place.point(0, half[1], 0), half, scene.draw(_PRINTED, period_m=2 * max(half)), turn)


def _sheet(scene: Scene, place: Placement, size: float) -> None:
    """Paper, a book, a tray: flat."""
    rng = scene.rng
    thickness = rng.uniform(0.003, 0.03)
    half = (size * rng.uniform(0.3, 1.2), thickness, size * rng.uniform(0.3, 1.2))
    scene.box(
        place, (0, thickness, 0), half, scene.draw(("text", "poster", "plain", "books"), period_m=2 * size)
    )


def _can(scene: Scene, place: Placement, size: float) -> None:
    """A cup, can or bottle with a neck."""
    rng = scene.rng
    radius, half = size * rng.uniform(0.2, 0.6), size * rng.uniform(0.3, 1.0)
    scene.cylinder(place, (0, half, 0), (radius, half, radius), scene.surface())
    if scene.chance(0.4):
        neck = 0.25 * half
        scene.cylinder(place, (0, 2 * half + neck, 0), (radius * 0.4, neck, radius * 0.4), scene.surface())


def _roll(scene: Scene, place: Placement, size: float) -> None:
    """A cylinder that lies."""
    rng = scene.rng
    radius = size * rng.uniform(0.15, 0.5)
    half = (radius, size * rng.uniform(0.4, 1.2), radius)
    scene.add(
        Shape.CYLINDER, place.point(0, radius, 0), half, scene.surface(), rotation(place.yaw, math.pi / 2)
    )


def _ball(scene: Scene, place: Placement, size: float) -> None:
    """A ball, a cushion, a bag."""
    half = size * scene.rng.uniform(0.4, 0.8, 3)
    if scene.chance(0.5):
        half = np.full(3, half[0])
    scene.ellipsoid(place, (0, half[1], 0), half, scene.surface())


def _desk_lamp(scene: Scene, place: Placement, size: float) -> None:
    shade = scene.draw(("plain",), emission=scene.rng.uniform(0, 1.5))
    scene.cylinder(place, (0, size, 0), (0.012, size, 0.012), scene.surface())
    scene.cylinder(place, (0, 2 * size, 0), (size * 0.5, size * 0.35, size * 0.5), shade)


def _plant(scene: Scene, place: Placement, size: float) -> None:
    rng = scene.rng
    pot = size * 0.4
    scene.cylinder(place, (0, pot, 0), (pot, pot, pot), scene.surface())
    for _ in range(int(rng.integers(3, 7))):
        x, y, z = rng.normal(0, pot, 3)
        leaf = scene.draw(("foliage",), period_m=0.3)
        thin = pot * rng.uniform(0.2, 1.4, 3)
        turn = rotation(rng.uniform(0, 6.28), rng.normal(0, 0.6))
        scene.add(Shape.ELLIPSOID, place.point(x, 2.6 * pot + abs(y), z), thin, leaf, turn)


def _stack(scene: Scene, place: Placement, size: float) -> None:
    """Books or boxes on top of each other, each a little turned."""
    height = 0.0
    for _ in range(int(scene.rng.integers(2, 6))):
        half = size * scene.rng.uniform((0.4, 0.05, 0.3), (0.9, 0.25, 0.7))
        here = place.moved(0, height, 0, scene.rng.normal(0, 0.15))
        scene.box(here, (0, half[1], 0), half, scene.draw(_PRINTED, period_m=2 * max(half)))
        height += 2 * half[1]


def _frame_of_rods(scene: Scene, place: Placement, size: float) -> None:
    """Thin upright rods with a bar across: a rack, a tripod, a rail."""
    rng = scene.rng
    radius, height = rng.uniform(0.004, 0.015), size * rng.uniform(0.8, 2)
    metal = scene.draw(("plain",), gloss=0.4, tint=rng.uniform(0.2, 1.3))
    for x in np.linspace(-size, size, int(rng.integers(2, 6))):
        scene.cylinder(place, (float(x), height, 0), (radius, height, radius), metal)
    scene.box(place, (0, 2 * height, 0), (size, radius, radius), metal)


_THINGS: tuple[tuple[Callable[[Scene, Placement, float], None], float], ...] = (
    (_parcel, 0.31),
    (_sheet, 0.08),
    (_can, 0.20),
    (_roll, 0.06),
    (_ball, 0.13),
    (_desk_lamp, 0.05),
    (_plant, 0.06),
    (_stack, 0.07),
    (_frame_of_rods, 0.04),
)


def add_thing(scene: Scene, place: Placement, size: float) -> None:
    """Stand one thing at `place`; size: about half its width, in metres."""
    weights = [weight for _, weight in _THINGS]
    build = _THINGS[int(scene.rng.choice(len(_THINGS), p=weights))][0]
    turned = Placement(place.position, scene.rng.uniform(0, 6.28)) if scene.chance(0.6) else place
    build(scene, turned, size)


def add_things_on(
    scene: Scene, place: Placement, half_size: tuple[float, float], height: float, count: int
) -> None:
    """Scatter things over a surface of half width and half depth at a height above `place`."""
    rng = scene.rng
    for _ in range(count):
        x, z = rng.uniform(-0.85, 0.85, 2) * half_size
        add_thing(scene, place.moved(x, height, z), rng.uniform(0.04, 0.2))
