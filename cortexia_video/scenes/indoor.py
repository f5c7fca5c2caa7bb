"""Indoor layouts: rooms, corridors, table tops, and heaps of blocks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from cortexia_video.scenes import architecture, furniture
from cortexia_video.scenes.description import Camera, Lamp, Material, Placement, Scene, Shell, Vector
from cortexia_video.scenes.outdoor_things import add_bicycle, add_person
from cortexia_video.scenes.things import add_pile, add_thing, add_things_on

_FLOORS = (
    "wood",
    "wood",
    "wood",
    "tiles",
    "tiles",
    "plain",
    "plain",
    "stained",
    "carpet",
    "marble",
    "asphalt",
    "checker",
)
_ODD_WALLS = ("plain", "stained", "bricks", "wood", "facade", "poster")


@dataclass(frozen=True, slots=True)
class Room:
    """Width along x, depth along z, height, in metres; the floor's middle is the origin."""

    width: float
    depth: float
    height: float

    def floor_point(self, rng: Generator, share: float) -> Vector:
        """Draw a point on the middle `share` of the floor."""
        x, z = rng.uniform(-0.5, 0.5, 2) * share
        return np.array([x * self.width, 0, z * self.depth])

    def against_wall(self, rng: Generator, half_depth: float, half_width: float) -> Placement:
        """Draw a place for something of this size with its back to a wall, facing the room."""
        wall, side = int(rng.integers(4)), (-1, 1)[int(rng.integers(2))]
        along_z = wall < 2
        length = (self.depth if along_z else self.width) / 2 - half_width
        shift = rng.uniform(-1, 1) * max(length, 0.05)
        if along_z:
            position = np.array([side * (self.width / 2 - half_depth), 0, shift])
            return Placement(position, -side * math.pi / 2)
        position = np.array([shift, 0, side * (self.depth / 2 - half_depth)])
        return Placement(position, math.pi if side > 0 else 0.0)


def furnished_room(rng: Generator) -> Scene:
    """A living room, office or hall with furniture along its walls and things about."""
    room = Room(rng.uniform(2.4, 7), rng.uniform(2.4, 8), rng.uniform(2.2, 3.4))
    if rng.random() < 0.12:
        room = Room(rng.uniform(6, 15), rng.uniform(6, 18), rng.uniform(2.6, 6))
    scene, wall = _start(rng, room, behind=rng.uniform(2, 7) if rng.random() < 0.3 else 0.0)
    _dress_walls(scene, room, wall, most=4)
    count = int(rng.integers(7, 26) * max(1, math.sqrt(room.width * room.depth / 25)))
    for _ in range(count):
        _furnish(scene, room)
    for _ in range(int(rng.integers(0, 16))):
        add_thing(scene, Placement(room.floor_point(rng, 0.9)), rng.uniform(0.03, 0.35))
    if scene.chance(0.15):
        architecture.add_pipes(scene, (room.width, room.depth, room.height))
    _add_rug(scene, room)
    scene.camera = _look_into(scene, room)
    return scene


def corridor(rng: Generator) -> Scene:
    """A long narrow room with doors, mostly seen along its length."""
    room = Room(rng.uniform(1.2, 3), rng.uniform(6, 22), rng.uniform(2.2, 3.4))
    scene, wall = _start(rng, room, behind=rng.uniform(2, 8) if rng.random() < 0.4 else 0.0)
    _dress_walls(scene, room, wall, most=7)
    for _ in range(int(rng.integers(0, 8))):
        _furnish(scene, room)
    camera = _look_into(scene, room)
    if scene.chance(0.75):
        position = camera.position.copy()
        position[2] = -room.depth / 2 + rng.uniform(0.2, 0.3 * room.depth)
        camera = Camera(position, rng.normal(0, 0.25), camera.pitch, camera.roll, camera.fov)
    scene.camera = camera
    return scene


def table_top(rng: Generator) -> Scene:
    """Things on a table seen from near, the room behind."""
    room = Room(rng.uniform(2.4, 7), rng.uniform(2.4, 8), rng.uniform(2.2, 3.4))
    scene, wall = _start(rng, room, behind=0.0)
    _dress_walls(scene, room, wall, most=4)
    place = Placement(room.floor_point(rng, 0.45), rng.uniform(0, 6.28))
    half_width, half_depth, height = rng.uniform(0.35, 1.1), rng.uniform(0.3, 0.7), rng.uniform(0.4, 0.95)
    furniture.add_table(scene, place, half_width, half_depth, height)
    focus = rng.uniform(-0.5, 0.5, 2) * (half_width, half_depth)
    spread, size = rng.uniform(0.15, 0.6), rng.uniform(0.04, 0.17)
    for _ in range(int(rng.integers(1, 18))):
        x, z = np.clip(focus + rng.normal(0, spread, 2), (-half_width, -half_depth), (half_width, half_depth))
        add_thing(scene, place.moved(float(x), height, float(z)), size * rng.uniform(0.4, 1.6))
    if scene.chance(0.4):
        furniture.add_screen(
            scene, place.moved(rng.uniform(-0.6, 0.6) * half_width, height, -0.6 * half_depth)
        )
    for _ in range(int(rng.integers(0, 4))):
        side = (-1, 1)[int(rng.integers(2))]
        stand = place.moved(
            rng.uniform(-1.4, 1.4) * half_width, 0, side * (half_depth + rng.uniform(0.1, 0.6))
        )
        furniture.add_chair(scene, Placement(stand.position, rng.uniform(0, 6.28)))
    for _ in range(int(rng.integers(0, 5))):
        _furnish(scene, room)
    if scene.chance(0.4):
        add_things_on(scene, place, (half_width, half_depth), height, int(rng.integers(2, 9)))
    target = place.point(float(focus[0]), height, float(focus[1]))
    scene.camera = _look_down_at(scene, room, target, place.yaw)
    return scene


def store_room(rng: Generator) -> Scene:
    """A cellar, garage or store: dim, with shelves, piles, pipes and cables, things everywhere."""
    room = Room(rng.uniform(2.4, 8), rng.uniform(2.4, 10), rng.uniform(2.1, 3.2))
    scene, wall = _start(rng, room, behind=rng.uniform(2, 6) if rng.random() < 0.4 else 0.0)
    scene.ambient = rng.uniform(0.03, 0.25)
    _dress_walls(scene, room, wall, most=2)
    for _ in range(int(rng.integers(5, 16))):
        place = room.against_wall(rng, 0.3, 0.5)
        kind = rng.random()
        if kind < 0.35:
            furniture.add_shelf(scene, place)
        elif kind < 0.7:
            add_pile(
                scene, place.moved(0, 0, rng.uniform(0, 0.6)), rng.uniform(0.15, 0.45), rng.uniform(0.2, 2)
            )
        else:
            _furnish(scene, room)
    for _ in range(int(rng.integers(2, 20))):
        add_thing(scene, Placement(room.floor_point(rng, 0.95)), rng.uniform(0.05, 0.45))
    architecture.add_pipes(scene, (room.width, room.depth, room.height))
    scene.camera = _look_into(scene, room)
    return scene


def low_floor(rng: Generator) -> Scene:
    """A floor with little on it, from near it as a robot sees it: legs, skirting, a few things."""
    room = Room(rng.uniform(2, 8), rng.uniform(2, 9), rng.uniform(2.2, 3.2))
    scene, wall = _start(rng, room, behind=rng.uniform(2, 6) if rng.random() < 0.3 else 0.0)
    _dress_walls(scene, room, wall, most=1)
    for _ in range(int(rng.integers(1, 11))):
        _furnish(scene, room)
    for _ in range(int(rng.integers(0, 8))):
        add_thing(scene, Placement(room.floor_point(rng, 0.8)), rng.uniform(0.03, 0.3))
    if scene.chance(0.5):
        _add_rug(scene, room)
    position = room.floor_point(rng, 0.9)
    position[1] = rng.uniform(0.12, 0.9)
    aim = math.atan2(-position[0], -position[2]) + rng.normal(0, 0.6)
    scene.camera = _camera(scene, position, aim, rng.uniform(-40, 2))
    return scene


def close_up(rng: Generator) -> Scene:
    """One to a few things on a ground, 0.2 to 0.8 m away, with whatever the room has behind them."""
    room = Room(rng.uniform(2, 6), rng.uniform(2, 6), rng.uniform(2.2, 3.2))
    scene, wall = _start(rng, room, behind=0.0)
    _dress_walls(scene, room, wall, most=3)
    for _ in range(int(rng.integers(0, 8))):
        _furnish(scene, room)
    height = 0.0 if scene.chance(0.3) else rng.uniform(0.3, 1.0)
    place = Placement(room.floor_point(rng, 0.6), rng.uniform(0, 6.28))
    if height > 0:
        furniture.add_table(scene, place, rng.uniform(0.25, 0.8), rng.uniform(0.2, 0.5), height)
    for _ in range(int(rng.integers(1, 8))):
        x, z = rng.normal(0, 0.15, 2)
        add_thing(scene, place.moved(float(x), height, float(z)), rng.uniform(0.03, 0.16))
    target = place.point(0, height + rng.uniform(0, 0.15), 0)
    scene.camera = _look_down_at(scene, room, target, place.yaw, nearest_m=0.2, farthest_m=0.8)
    return scene


def block_heap(rng: Generator) -> Scene:
    """Abstract things of any size, standing and floating: no habit of rooms holds here."""
    room = Room(rng.uniform(2.4, 7), rng.uniform(2.4, 8), rng.uniform(2.2, 3.4))
    scene, _ = _start(rng, room, behind=0.0)
    for _ in range(int(rng.integers(8, 36))):
        position = room.floor_point(rng, 0.9)
        if scene.chance(0.3):
            position[1] = rng.uniform(0, room.height)
        add_thing(scene, Placement(position), rng.uniform(0.06, 0.7))
    for _ in range(int(rng.integers(0, 5))):
        start, end = room.floor_point(rng, 1.0), room.floor_point(rng, 1.0)
        start[1], end[1] = rng.uniform(0, room.height, 2)
        scene.rod(start, end, rng.uniform(0.004, 0.05), scene.surface())
    position = np.array(
        [
            rng.uniform(-0.45, 0.45) * room.width,
            rng.uniform(0.2, room.height - 0.3),
            -room.depth / 2 * rng.uniform(0.6, 0.98),
        ]
    )
    scene.camera = _camera(scene, position, rng.normal(0, 0.4), rng.normal(-12, 14), roll_deg=8)
    return scene


def _start(rng: Generator, room: Room, behind: float) -> tuple[Scene, Material]:
    """Build an empty lit room, and say what its walls are made of.

    behind: depth of a second room seen through an opening in the wall at +z; 0 is none.
    """
    middle = np.array([0, room.height / 2, behind / 2])
    half = np.array([room.width / 2, room.height / 2, (room.depth + behind) / 2])
    scene = Scene(rng, Shell(middle, half, (None,) * 6))
    wall = architecture.draw_wall(scene)
    sides = [wall if scene.chance(0.75) else scene.draw(_ODD_WALLS) for _ in range(4)]
    floor = scene.draw(_FLOORS, period_m=rng.uniform(0.4, 3), tint=rng.uniform(0.6, 1.3))
    ceiling = scene.draw(("plain", "plain", "plain", "tiles", "wood"), tint=rng.uniform(0.9, 1.6))
    scene.shell = Shell(middle, half, (sides[0], sides[1], floor, ceiling, sides[2], sides[3]))
    scene.ambient = rng.uniform(0.05, 0.25) if scene.chance(0.25) else rng.uniform(0.25, 0.7)
    for _ in range(int(rng.integers(1, 4))):
        position = rng.uniform((-0.45, 0.6, -0.45), (0.45, 0.97, 0.45)) * (
            room.width,
            room.height,
            room.depth,
        )
        scene.lights.append(Lamp(position, rng.uniform(0.3, 2.0) * np.exp(rng.normal(0, 0.12, 3))))
    if behind > 0:
        wall_place = Placement(np.array([0, 0, room.depth / 2 + 0.1]))
        architecture.add_partition(scene, wall_place, room.width / 2, room.height, wall)
        beyond = np.array([0, 0.8 * room.height, room.depth / 2 + behind / 2])
        scene.lights.append(Lamp(beyond, np.ones(3) * rng.uniform(0.2, 2.5)))
    return scene, wall


def _dress_walls(scene: Scene, room: Room, wall: Material, most: int) -> None:
    """Hang windows, doors and images; windows of one room are equally bright."""
    rng = scene.rng
    brightness = rng.uniform(3, 12) if scene.chance(0.25) else rng.uniform(0, 2.5)
    for _ in range(int(rng.integers(0, 3 * most))):
        place, kind = room.against_wall(rng, 0.0, 0.5), rng.random()
        if kind < 0.3:
            architecture.add_window(scene, place, brightness)
        elif kind < 0.5:
            architecture.add_door(scene, place)
        elif kind < 0.85:
            architecture.add_image(scene, place)
        else:
            architecture.add_pillar(scene, place, room.height, wall)


def _furnish(scene: Scene, room: Room) -> None:
    """Stand one piece of furniture, most against a wall."""
    rng = scene.rng
    build, half_depth, half_width = _FURNITURE[int(rng.choice(len(_FURNITURE), p=_FURNITURE_WEIGHTS))]
    place = room.against_wall(rng, half_depth, half_width)
    if scene.chance(0.2):
        place = place.moved(0, 0, rng.uniform(0, 1.2), rng.normal(0, 0.5))
    build(scene, Placement(place.position, place.yaw + rng.normal(0, 0.04)))


def _free_thing(scene: Scene, place: Placement) -> None:
    add_thing(scene, place.moved(0, 0, scene.rng.uniform(0, 1.5)), scene.rng.uniform(0.1, 0.5))


def _free_chair(scene: Scene, place: Placement) -> None:
    turn = scene.rng.uniform(0, 6.28)
    furniture.add_chair(scene, place.moved(0, 0, scene.rng.uniform(0, 1.5), turn))


def _free_person(scene: Scene, place: Placement) -> None:
    add_person(scene, place.moved(0, 0, scene.rng.uniform(0, 1.0), scene.rng.uniform(0, 6.28)))


def _sideways_bicycle(scene: Scene, place: Placement) -> None:
    add_bicycle(scene, place.moved(0, 0, 0, math.pi / 2))


Build = Callable[[Scene, Placement], None]
# what, half its depth, half its width, how often
_FURNITURE_TABLE: tuple[tuple[Build, float, float, float], ...] = (
    (furniture.add_cabinet, 0.3, 0.6, 0.17),
    (furniture.add_shelf, 0.2, 0.6, 0.12),
    (furniture.add_laid_table, 0.45, 0.7, 0.20),
    (furniture.add_sofa, 0.5, 1.0, 0.10),
    (furniture.add_bed, 1.05, 0.9, 0.07),
    (furniture.add_floor_lamp, 0.3, 0.3, 0.04),
    (_free_chair, 0.3, 0.3, 0.12),
    (_free_person, 0.4, 0.3, 0.05),
    (_free_thing, 0.3, 0.3, 0.11),
    (_sideways_bicycle, 0.2, 0.9, 0.02),
)
_FURNITURE = tuple(row[:3] for row in _FURNITURE_TABLE)
_FURNITURE_WEIGHTS = [row[3] for row in _FURNITURE_TABLE]


def _add_rug(scene: Scene, room: Room) -> None:
    if scene.chance(0.3):
        rng = scene.rng
        place = Placement(room.floor_point(rng, 0.6), rng.normal(0, 0.3))
        rug = scene.draw(("carpet", "stained", "poster", "stripes"), period_m=rng.uniform(0.5, 3))
        scene.box(place, (0, 0.006, 0), (rng.uniform(0.4, 1.4), 0.006, rng.uniform(0.4, 1.4)), rug)


def _camera(scene: Scene, position: Vector, yaw: float, pitch_deg: float, roll_deg: float = 2.5) -> Camera:
    """Hold a camera about level, one in ten less so, with a lens of 40 to 100 degrees."""
    rng = scene.rng
    pitch = math.radians(float(np.clip(pitch_deg, -80, 25)))
    roll = rng.normal(0, 12 if scene.chance(0.12) else roll_deg)
    fov_deg = rng.uniform(40, 80) if scene.chance(0.7) else rng.uniform(65, 100)
    return Camera(position, yaw, pitch, math.radians(roll), math.radians(fov_deg))


def _look_into(scene: Scene, room: Room) -> Camera:
    """Look across the room: from eye height, from the floor as a robot does, or down at the floor."""
    rng = scene.rng
    kind = rng.random()
    height, pitch_deg = rng.normal(1.4, 0.25), rng.normal(-10, 12)
    if kind < 0.2:
        height, pitch_deg = rng.uniform(0.1, 0.6), rng.normal(-5, 8)
    elif kind < 0.4:
        height, pitch_deg = rng.uniform(0.5, 1.9), rng.uniform(-55, -15)
    height = float(np.clip(height, 0.1, room.height - 0.2))
    far_enough = 1.2 if scene.chance(0.75) else 0.2
    for _ in range(20):
        position, target = room.floor_point(rng, 0.94), room.floor_point(rng, 0.7)
        towards = target - position
        if math.hypot(towards[0], towards[2]) > far_enough:
            break
    position[1] = height
    return _camera(scene, position, math.atan2(towards[0], towards[2]) + rng.normal(0, 0.15), pitch_deg)


def _look_down_at(
    scene: Scene,
    room: Room,
    target: Vector,
    table_yaw: float,
    nearest_m: float = 0.4,
    farthest_m: float = 1.6,
) -> Camera:
    """Look at a point on a table from so many metres away, anything from along the table to steeply down."""
    rng = scene.rng
    distance, elevation = rng.uniform(nearest_m, farthest_m), math.radians(rng.uniform(8, 75))
    azimuth = rng.uniform(0, 6.28) if scene.chance(0.4) else table_yaw + rng.normal(0, 0.5)
    flat = math.cos(elevation)
    direction = np.array([math.sin(azimuth) * flat, math.sin(elevation), math.cos(azimuth) * flat])
    limit = np.array([0.48 * room.width, room.height - 0.1, 0.48 * room.depth])
    position = np.clip(target + distance * direction, (-limit[0], 0.1, -limit[2]), limit)
    towards = target + rng.normal(0, 0.1 * distance, 3) - position
    pitch_deg = math.degrees(math.atan2(towards[1], math.hypot(towards[0], towards[2])))
    return _camera(scene, position, math.atan2(towards[0], towards[2]), pitch_deg, roll_deg=7)
