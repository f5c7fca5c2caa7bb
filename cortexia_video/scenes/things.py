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
    scene.cylinder(
        place, (0, 2 * size, 0), (size * 0.5, size * 0.35, size * 0.5), shade, scene.rng.uniform(0.3, 1)
    )


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


def _papers(scene: Scene, place: Placement, size: float) -> None:
    """Sheets of paper that lie over each other, mostly white."""
    rng = scene.rng
    for level in range(int(rng.integers(1, 7))):
        paper = scene.draw(("plain", "text", "text"), period_m=0.3, tint=rng.uniform(1, 1.8))
        x, z = rng.normal(0, 0.5 * size, 2)
        here = place.moved(float(x), 0.002 * level, float(z), rng.normal(0, 0.5))
        scene.box(here, (0, 0.002, 0), (0.105, 0.002, 0.148), paper)


def _keyboard(scene: Scene, place: Placement, size: float) -> None:
    """Rows of keys on a board."""
    rng = scene.rng
    half = (0.22 * rng.uniform(0.7, 1.1), 0.01, 0.08)
    shade = rng.uniform(0.1, 1.4)
    scene.box(place, (0, 0.01, 0), half, scene.draw(("plain",), tint=shade))
    keys = scene.draw(("tiles", "checker", "plain"), period_m=0.08, tint=shade * rng.uniform(0.5, 1.5))
    scene.box(place, (0, 0.018, 0), (half[0] * 0.95, 0.006, half[2] * 0.85), keys)


def _cable(scene: Scene, place: Placement, size: float) -> None:
    """A cable that lies about in bends."""
    rng = scene.rng
    steps = np.cumsum(rng.normal(0, 0.5, (int(rng.integers(5, 12)), 2)), 0)
    steps = np.cumsum(0.3 * size * np.stack([np.cos(steps[:, 0]), np.sin(steps[:, 0])], 1), 0)
    radius = rng.uniform(0.003, 0.01)
    points = [place.point(float(x), radius, float(z)) for x, z in steps]
    scene.cable(points, radius, scene.draw(("plain",), tint=rng.uniform(0.05, 1.3)))


def _thin_plant(scene: Scene, place: Placement, size: float) -> None:
    """Long thin stems with narrow leaves out of a pot, or out of the ground."""
    rng = scene.rng
    pot = size * rng.uniform(0.2, 0.4)
    scene.cylinder(place, (0, pot, 0), (pot, pot, pot), scene.surface(), rng.uniform(0.8, 1.4))
    green = scene.draw(("foliage", "foliage", "plain"), period_m=0.3)
    root = place.point(0, 2 * pot, 0)
    for _ in range(int(rng.integers(4, 12))):
        tip = root + rng.normal(0, (0.7, 0.3, 0.7)) * size + (0, rng.uniform(0.5, 2) * size, 0)
        scene.rod(root, tip, 0.02 * size + 0.002, green, 0.4)
        turn = rotation(rng.uniform(0, 6.28), rng.normal(0, 0.8))
        half = size * rng.uniform((0.05, 0.01, 0.15), (0.15, 0.03, 0.5))
        scene.add(Shape.ELLIPSOID, tip, half, green, turn)


def _cone(scene: Scene, place: Placement, size: float) -> None:
    """A cone, a bucket, a bowl, a vase: round and narrower at one end."""
    rng = scene.rng
    radius, half = size * rng.uniform(0.2, 0.7), size * rng.uniform(0.2, 1.0)
    scene.cylinder(place, (0, half, 0), (radius, half, radius), scene.surface(), rng.uniform(0, 1.8))


def _bottle(scene: Scene, place: Placement, size: float) -> None:
    """A bottle with shoulders and a neck."""
    rng = scene.rng
    radius, half = size * rng.uniform(0.15, 0.3), size * rng.uniform(0.4, 0.8)
    glass = scene.draw(("plain", "plain", "stained"), gloss=rng.uniform(0, 0.5))
    scene.cylinder(place, (0, half, 0), (radius, half, radius), glass)
    scene.cylinder(place, (0, 2.2 * half, 0), (radius, 0.2 * half, radius), glass, 0.35)
    scene.cylinder(place, (0, 2.6 * half, 0), (radius * 0.35, 0.25 * half, radius * 0.35), glass)
    label = scene.draw(_PRINTED, period_m=2 * radius)
    scene.cylinder(place, (0, half, 0), (radius * 1.02, half * 0.5, radius * 1.02), label)


def _tripod(scene: Scene, place: Placement, size: float) -> None:
    """Three slanted legs with something on top."""
    rng = scene.rng
    metal = scene.draw(("plain",), gloss=0.3, tint=rng.uniform(0.1, 1.2))
    top = place.point(0, 2 * size, 0)
    for turn in (0.0, 2.09, 4.19):
        foot = place.point(0.7 * size * math.sin(turn), 0, 0.7 * size * math.cos(turn))
        scene.rod(foot, top, rng.uniform(0.005, 0.02), metal)
    half = size * rng.uniform(0.1, 0.5, 3)
    add = (scene.box, scene.ellipsoid, scene.cylinder)[int(rng.integers(3))]
    add(place, (0, 2 * size + half[1], 0), half, scene.surface())


def _figure(scene: Scene, place: Placement, size: float) -> None:
    """Ellipsoids and rods grown on each other: a toy, an animal, a bag, a heap of clothes."""
    rng = scene.rng
    stuff = [scene.surface() for _ in range(3)]
    at = np.array([0.0, 0.4 * size, 0.0])
    for _ in range(int(rng.integers(3, 10))):
        half = size * rng.uniform(0.12, 0.5, 3)
        turn = rotation(*rng.uniform(0, 6.28, 3))
        scene.add(Shape.ELLIPSOID, place.point(*at), half, stuff[int(rng.integers(3))], turn)
        further = at + rng.normal(0, 0.35 * size, 3)
        further[1] = abs(further[1])
        scene.rod(place.point(*at), place.point(*further), 0.08 * size, stuff[0])
        at = further


_THINGS: tuple[tuple[Callable[[Scene, Placement, float], None], float], ...] = (
    (_parcel, 0.22),
    (_sheet, 0.07),
    (_papers, 0.05),
    (_can, 0.13),
    (_bottle, 0.05),
    (_cone, 0.06),
    (_roll, 0.05),
    (_ball, 0.08),
    (_figure, 0.06),
    (_desk_lamp, 0.03),
    (_plant, 0.03),
    (_thin_plant, 0.03),
    (_stack, 0.05),
    (_frame_of_rods, 0.03),
    (_tripod, 0.02),
    (_cable, 0.03),
    (_keyboard, 0.01),
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


def add_pile(scene: Scene, place: Placement, half_width: float, height: float) -> None:
    """Boxes and bags heaped up to about a height, as in a store room."""
    rng = scene.rng
    top = 0.0
    while top < height:
        half = half_width * rng.uniform((0.5, 0.2, 0.5), (1.0, 0.6, 1.0))
        here = place.moved(rng.normal(0, 0.15) * half_width, top, rng.normal(0, 0.1), rng.normal(0, 0.15))
        add = scene.box if scene.chance(0.85) else scene.ellipsoid
        add(here, (0, half[1], 0), half, scene.draw((*_PRINTED, "plain", "plain"), period_m=2 * max(half)))
        top += 2 * half[1]
