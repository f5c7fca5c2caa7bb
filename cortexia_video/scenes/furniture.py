"""What stands in rooms: tables, seats, beds, shelves, cabinets, screens.

Every `add_*` stands one piece at a placement: its middle on the floor, its back towards -z.
"""

from __future__ import annotations

import math
from itertools import product

from cortexia_video.scenes.description import Material, Placement, Scene
from cortexia_video.scenes.things import add_thing, add_things_on

_TABLE_TOPS = ("wood", "wood", "plain", "plain", "marble", "stained")
_FABRICS = ("plain", "plain", "stained", "carpet", "stripes")


def add_table(scene: Scene, place: Placement, half_width: float, half_depth: float, height: float) -> None:
    """A table without anything on it, on four legs, two sides or one block."""
    rng = scene.rng
    top = scene.draw(_TABLE_TOPS)
    under = scene.either(top, scene.surface())
    thickness = rng.uniform(0.01, 0.03)
    scene.box(place, (0, height - thickness, 0), (half_width, thickness, half_depth), top)
    kind, half_height = rng.random(), height / 2 - thickness
    if kind < 0.65:
        _add_legs(scene, place, (half_width, half_height, half_depth), rng.uniform(0.012, 0.04), under)
    elif kind < 0.88:
        inset, thick = 0.2 * half_width * rng.random(), rng.uniform(0.015, 0.06)
        for side in (-1, 1):
            centre = (side * (half_width - thick - inset), half_height, 0)
            scene.box(place, centre, (thick, half_height, half_depth * 0.95), under)
    else:
        scene.box(place, (0, half_height, 0), (half_width * 0.97, half_height, half_depth * 0.97), under)


def _add_legs(
    scene: Scene,
    place: Placement,
    half_size: tuple[float, float, float],
    thickness: float,
    material: Material,
) -> None:
    """Four legs under a board of half width and half depth, from the floor to twice the half height."""
    half_width, half_height, half_depth = half_size
    add = scene.cylinder if scene.chance(0.4) else scene.box
    for x in (-1, 1):
        for z in (-1, 1):
            centre = (x * (half_width - thickness), half_height, z * (half_depth - thickness))
            add(place, centre, (thickness, half_height, thickness), material)


def add_laid_table(scene: Scene, place: Placement) -> None:
    """A table with things on it, now and then a screen, and a chair in front."""
    rng = scene.rng
    half_width, half_depth, height = rng.uniform(0.3, 0.9), rng.uniform(0.25, 0.45), rng.uniform(0.4, 0.8)
    add_table(scene, place, half_width, half_depth, height)
    add_things_on(scene, place, (half_width, half_depth), height, int(rng.integers(0, 7)))
    if scene.chance(0.4):
        add_screen(scene, place.moved(rng.uniform(-0.4, 0.4) * half_width, height, -0.3 * half_depth))
    if scene.chance(0.7):
        add_chair(scene, place.moved(rng.uniform(-0.3, 0.3), 0, half_depth + rng.uniform(0, 0.4), math.pi))


def add_screen(scene: Scene, place: Placement) -> None:
    """A monitor or television on a foot."""
    rng = scene.rng
    half_width = rng.uniform(0.2, 0.32)
    half_height, foot = half_width * rng.uniform(0.55, 0.7), rng.uniform(0.03, 0.08)
    case = scene.draw(("plain",), tint=rng.uniform(0.05, 0.4))
    kinds = ("poster", "text", "clutter", "plain")
    image = scene.draw(kinds, period_m=2 * half_width, emission=rng.uniform(0, 0.8))
    middle = 2 * foot + half_height
    scene.box(place, (0, middle, 0), (half_width, half_height, 0.015), case)
    scene.box(place, (0, middle, 0.012), (half_width * 0.94, half_height * 0.93, 0.006), image)
    scene.box(place, (0, foot, -0.02), (0.03, foot, 0.02), case)
    scene.box(place, (0, 0.008, 0), (0.12, 0.008, 0.09), case)


def add_chair(scene: Scene, place: Placement) -> None:
    """A chair on four thin legs or on one column."""
    rng = scene.rng
    half, height, back = rng.uniform(0.2, 0.27), rng.uniform(0.4, 0.5), rng.uniform(0.35, 0.55)
    place = Placement(place.position, place.yaw + rng.normal(0, 0.4))
    seat = scene.surface()
    legs = scene.either(seat, scene.surface())
    scene.box(place, (0, height, 0), (half, 0.025, half), seat)
    scene.box(place, (0, height + back * 0.6, -half), (half, back * 0.45, 0.02), seat)
    if scene.chance(0.7):
        _add_legs(scene, place, (half, height / 2, half), rng.uniform(0.01, 0.025), legs)
        return
    scene.cylinder(place, (0, height / 2, 0), (0.025, height / 2, 0.025), legs)
    scene.box(place, (0, 0.03, 0), (0.25, 0.02, 0.03), legs)
    scene.box(place, (0, 0.03, 0), (0.03, 0.02, 0.25), legs)


def add_sofa(scene: Scene, place: Placement) -> None:
    """An armchair or sofa with cushions."""
    rng = scene.rng
    half_width, half_depth, height = rng.uniform(0.45, 1.1), 0.45, rng.uniform(0.35, 0.45)
    fabric = scene.draw(_FABRICS)
    scene.box(place, (0, height / 2, 0), (half_width, height / 2, half_depth), fabric)
    scene.box(place, (0, height + 0.18, -half_depth + 0.1), (half_width, 0.25, 0.1), fabric)
    for side in (-1, 1):
        scene.box(place, (side * half_width, height * 0.7, 0), (0.1, height * 0.75, half_depth), fabric)
    for _ in range(int(rng.integers(0, 4))):
        centre = (rng.uniform(-0.8, 0.8) * half_width, height + 0.15, -half_depth + 0.28)
        add = scene.ellipsoid if scene.chance(0.6) else scene.box
        add(place, centre, (0.2, 0.18, 0.1), scene.surface())


def add_bed(scene: Scene, place: Placement) -> None:
    """A bed with a head board and pillows."""
    rng = scene.rng
    half_width, height = rng.uniform(0.45, 0.9), rng.uniform(0.35, 0.6)
    scene.box(place, (0, height * 0.3, 0), (half_width, height * 0.3, 1.0), scene.surface())
    scene.box(place, (0, height * 0.75, 0.05), (half_width * 0.99, height * 0.25, 0.95), scene.draw(_FABRICS))
    scene.box(place, (0, 0.5, -1.0), (half_width, 0.5, 0.03), scene.surface())
    for side in (-0.5, 0.5):
        centre = (side * half_width, height + 0.05, -0.7)
        scene.ellipsoid(place, centre, (half_width * 0.4, 0.1, 0.22), scene.draw(("plain",)))


def add_shelf(scene: Scene, place: Placement) -> None:
    """An open shelf with rows of books, boxes and things."""
    rng = scene.rng
    half_width, height, half_depth = rng.uniform(0.3, 0.7), rng.uniform(0.8, 2.2), rng.uniform(0.12, 0.2)
    boards, thickness = scene.surface(), 0.012
    count = int(rng.integers(2, 6))
    for side in (-1, 1):
        scene.box(place, (side * half_width, height / 2, 0), (thickness, height / 2, half_depth), boards)
    if scene.chance(0.7):
        scene.box(place, (0, height / 2, -half_depth), (half_width, height / 2, 0.01), boards)
    for level in range(count + 1):
        y = max(thickness, height * level / count - thickness)
        scene.box(place, (0, y, 0), (half_width, thickness, half_depth), boards)
    for level in range(count):
        board, room = place.moved(0, height * level / count + thickness, 0), height / count
        if scene.chance(0.6):
            half_row, half_high = half_width * rng.uniform(0.3, 0.9), room * rng.uniform(0.25, 0.42)
            row = scene.draw(("books", "books", "books", "clutter", "plain"), period_m=2 * half_high)
            centre = (
                rng.uniform(-1, 1) * (half_width - half_row),
                half_high,
                -half_depth * rng.uniform(0, 0.5),
            )
            scene.box(board, centre, (half_row, half_high, half_depth * rng.uniform(0.4, 0.7)), row)
        for _ in range(int(rng.integers(0, 3))):
            stand = board.moved(rng.uniform(-0.8, 0.8) * half_width, 0, 0)
            add_thing(scene, stand, room * rng.uniform(0.15, 0.35))


def add_cabinet(scene: Scene, place: Placement) -> None:
    """A closed cabinet with doors or drawers, and things on top where it is low."""
    rng = scene.rng
    half_width, height, half_depth = rng.uniform(0.2, 0.9), rng.uniform(0.45, 2.2), rng.uniform(0.15, 0.32)
    body = scene.surface()
    scene.box(place, (0, height / 2, 0), (half_width, height / 2, half_depth), body)
    if scene.chance(0.65):
        front = place.moved(0, 0, half_depth)
        doors = scene.either(body, scene.surface())
        columns, rows = (int(count) for count in rng.integers(1, 4, 2))
        handle = scene.draw(("plain",), gloss=0.4)
        half = (half_width / columns * 0.95, height / rows / 2 * 0.95, 0.008)
        for column, row in product(range(columns), range(rows)):
            x = -half_width + 2 * half_width * (column + 0.5) / columns
            y = height * (row + 0.5) / rows
            scene.box(front, (x, y, 0.005), half, doors)
            if columns * rows < 5:
                scene.box(front, (x + half[0] * 0.75, y, 0.02), (0.01, 0.04, 0.012), handle)
    if height < 1.5:
        add_things_on(scene, place, (half_width, half_depth), height, int(rng.integers(0, 4)))


def add_floor_lamp(scene: Scene, place: Placement) -> None:
    """A thin pole with a shade."""
    rng = scene.rng
    height, radius = rng.uniform(0.6, 0.9), rng.uniform(0.12, 0.25)
    pole = scene.draw(("plain",), gloss=0.4, tint=rng.uniform(0.2, 1.2))
    scene.cylinder(place, (0, height, 0), (0.012, height, 0.012), pole)
    scene.cylinder(place, (0, 0.015, 0), (0.14, 0.015, 0.14), pole)
    shade = scene.draw(("plain",), emission=rng.uniform(0, 2))
    scene.cylinder(place, (0, 2 * height, 0), (radius, radius * 0.7, radius), shade, rng.uniform(0.4, 1))
