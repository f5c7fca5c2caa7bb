"""Rooms of a person's furniture models, and the eight views of each: `furnished`, `desk`, `under`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from cortexia_video.scenes import architecture, things
from cortexia_video.scenes.description import (
    Aim,
    Camera,
    Lamp,
    Material,
    MeshModel,
    Placement,
    Scene,
    Shell,
    Vector,
    rotation,
)
from cortexia_video.scenes.furniture_models import Furniture, Library, load
from cortexia_video.scenes.indoor import Room
from cortexia_video.scenes.placed_models import put_model

Theme = Literal["furnished", "desk", "under"]

_FLOORS = (*("wood",) * 4, *("tiles",) * 2, "plain", "stained", "carpet", "carpet", "marble", "checker")
_MOST_TRIANGLES = 700_000  # of a room
_LARGEST_MODEL = 80_000  # triangles of one that is used
_BOUNCES = 4
_NO_GLASS = {"door": 0.5, "window": 0.6, "hung": 0.4, "small": 0.3}  # how often; nothing stands on those


@dataclass(slots=True, eq=False)
class Standing:
    """Something that stands in a room: where, its half sizes in its own frame, and its height."""

    place: Placement
    half: tuple[float, float]
    height: float
    furniture: Furniture | None = None

    @property
    def reach(self) -> tuple[float, float]:
        """Half sizes along x and z of the room."""
        c, s = abs(math.cos(self.place.yaw)), abs(math.sin(self.place.yaw))
        return c * self.half[0] + s * self.half[1], s * self.half[0] + c * self.half[1]


@dataclass(slots=True, eq=False)
class FurnishedRoom:
    """A room under construction: the scene, its size, the models that it draws from, and what stands in it.

    behind: depth of the second room, at +z; 0 is none.
    """

    scene: Scene
    room: Room
    library: Library
    behind: float
    standing: list[Standing] = field(default_factory=list)
    triangles: int = 0

    def is_free(self, thing: Standing) -> bool:
        """Return whether nothing stands there yet."""
        (x, _, z), (across, along) = thing.place.position, thing.reach
        return all(
            abs(x - other.place.position[0]) > 0.95 * (across + other.reach[0])
            or abs(z - other.place.position[2]) > 0.95 * (along + other.reach[1])
            for other in self.standing
        )

    def put(self, furniture: Furniture, place: Placement, turn: Vector | None = None) -> bool:
        """Add a model in its materials or others; return whether the room had triangles left for it."""
        if self.triangles + furniture.triangles > _MOST_TRIANGLES:
            return False
        turned = rotation(place.yaw) if turn is None else rotation(place.yaw) @ turn
        no_glass = _NO_GLASS.get(furniture.role, 0.0)
        self.triangles += put_model(self.scene, furniture, place.position, turned, no_glass=no_glass)
        return True

    def stand(self, furniture: Furniture, place: Placement) -> Standing | None:
        """Stand a model on the floor where it is free."""
        width, height, depth = furniture.size
        thing = Standing(place, (width / 2, depth / 2), height, furniture)
        if not self.is_free(thing) or not self.put(furniture, place):
            return None
        self.standing.append(thing)
        return thing

    def pick(self, models: Sequence[Furniture]) -> Furniture | None:
        """Draw one of models, of those that are not too fine."""
        usable = [each for each in models if each.triangles <= _LARGEST_MODEL]
        return usable[int(self.scene.rng.integers(len(usable)))] if usable else None


def build_room(rng: Generator, library: Library, theme: Theme) -> tuple[Scene, Aim]:
    """Build a room with a person's models: what stands on the floor and on that, hangs on walls, and light."""
    site = _build_shell(rng, library)
    for _ in range(int(rng.integers(1, 3 if theme == "furnished" else 4))):
        _add_table(site, theme)
    area = site.room.width * site.room.depth
    count = (
        int(np.clip(rng.normal(6 + 0.6 * area, 3), 4, 24)) if theme != "desk" else int(rng.integers(3, 11))
    )
    for _ in range(count):
        _add_along_walls(site)
    _hang_on_walls(site)
    if rng.random() < 0.25 and (person := site.pick(library.of("person"))):
        site.stand(person, Placement(site.room.floor_point(rng, 0.8), rng.uniform(0, 6.28)))
    _scatter(site, theme)
    _add_lamps(site)
    return site.scene, partial(draw_camera, site, theme=theme)


def _build_shell(rng: Generator, library: Library) -> FurnishedRoom:
    """Build walls, floor and ceiling, and in half of the rooms an opening to a second one."""
    room = Room(rng.uniform(2.4, 6.5), rng.uniform(2.4, 7.5), rng.uniform(2.2, 3.2))
    behind = rng.uniform(2, 6) if rng.random() < 0.5 else 0.0
    middle = np.array([0, room.height / 2, behind / 2])
    half = np.array([room.width / 2, room.height / 2, (room.depth + behind) / 2])
    scene = Scene(rng, Shell(middle, half, (None,) * 6), bounces=_BOUNCES)
    wall = architecture.draw_wall(scene)
    sides = [wall if scene.chance(0.75) else architecture.draw_wall(scene) for _ in range(4)]
    floor = scene.draw(_FLOORS, period_m=rng.uniform(0.4, 2.5), tint=rng.uniform(0.6, 1.3))
    ceiling = scene.draw(("plain",) * 4 + ("wood",), tint=rng.uniform(0.9, 1.6))
    scene.shell = Shell(middle, half, (sides[0], sides[1], floor, ceiling, sides[2], sides[3]))
    scene.ambient = rng.uniform(0.03, 0.2)
    site = FurnishedRoom(scene, room, library, behind)
    if behind > 0:
        _add_opening(site, wall)
    if rug := site.pick(library.of("rug")) if scene.chance(0.4) else None:
        site.put(rug, Placement(room.floor_point(rng, 0.6), rng.normal(0, 0.3)))
    return site


def box_model(half_size: Sequence[float]) -> MeshModel:
    """A box as triangles, its middle at the origin: so light that bounces meets it, too."""
    sign = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
    sides = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
    faces = [[a, b, c] for a, b, c, _ in sides] + [[a, c, d] for a, _, c, d in sides]
    corners = (sign * np.asarray(half_size, np.float32))[faces]
    return MeshModel(corners, np.zeros(len(faces), np.int64))


def _add_opening(site: FurnishedRoom, wall: Material) -> None:
    """Part the second room off by a wall with a doorway, or a window without glass."""
    scene, rng, room = site.scene, site.scene.rng, site.room
    half = rng.uniform(0.4, min(1.3, 0.4 * room.width))
    middle = rng.uniform(-1, 1) * (room.width / 2 - half - 0.1)
    low, high = 0.0, min(rng.uniform(1.95, 2.4), room.height - 0.1)
    if scene.chance(0.25):
        low, high = rng.uniform(0.7, 1.1), min(rng.uniform(1.6, 2.3), room.height - 0.1)
    thick, z = rng.uniform(0.04, 0.15), room.depth / 2
    left, right = middle - half, middle + half
    pieces = [
        (-room.width / 2, left, 0.0, room.height),
        (right, room.width / 2, 0.0, room.height),
        (left, right, high, room.height),
        (left, right, 0.0, low),
    ]
    for x0, x1, y0, y1 in pieces:
        if x1 - x0 > 0.005 and y1 - y0 > 0.005:
            at = Placement(np.array([(x0 + x1) / 2, (y0 + y1) / 2, z + thick]))
            scene.add_mesh(at, box_model(((x1 - x0) / 2, (y1 - y0) / 2, thick)), [wall])
    frame = scene.either(wall, scene.draw(("plain", "wood")))
    for side in (-1, 1):
        at = Placement(np.array([middle + side * half, (low + high) / 2, z]))
        scene.add_mesh(at, box_model((0.04, (high - low) / 2, 0.02)), [frame])
    if low == 0.0:  # the way through stays free
        site.standing.append(Standing(Placement(np.array([middle, 0, z])), (half, 0.8), 0.0))
    for _ in range(int(rng.integers(3, 9))):
        thing = site.pick(site.library.of("big", "table", "chair"))
        if thing is not None:
            width, _, depth = thing.size
            beyond = Room(room.width, site.behind - 0.3, room.height)
            place = beyond.against_wall(rng, depth / 2, width / 2)
            offset = np.array([0, 0, room.depth / 2 + site.behind / 2 + 0.3])
            site.stand(thing, Placement(place.position + offset, place.yaw))


def _add_table(site: FurnishedRoom, theme: Theme) -> None:
    """Stand a table, some against a wall, with chairs round it and things on it."""
    rng = site.scene.rng
    table = site.pick(site.library.of("table") or site.library.of("big"))
    if table is None:
        return
    width, _, depth = table.size
    thing = None
    for _ in range(8):
        place = Placement(site.room.floor_point(rng, 0.6), rng.uniform(0, 6.28))
        if rng.random() < 0.4:
            place = site.room.against_wall(rng, depth / 2, width / 2)
        if thing := site.stand(table, place):
            break
    if thing is None:
        return
    chair = site.pick(site.library.of("chair"))
    for _ in range(int(rng.integers(0, 5)) if chair else 0):
        along_x = rng.random() < 0.5 * width / (width + depth) + 0.35
        side = (-1, 1)[int(rng.integers(2))]
        away = rng.uniform(-0.15, 0.45)
        if along_x:
            x, z, turn = (
                rng.uniform(-0.35, 0.35) * width,
                side * (depth / 2 + away),
                0.0 if side < 0 else math.pi,
            )
        else:
            x, z, turn = side * (width / 2 + away), rng.uniform(-0.3, 0.3) * depth, -side * math.pi / 2
        seat = thing.place.moved(x, 0, z, turn + rng.normal(0, 0.35))
        inside = np.abs(seat.position[[0, 2]]) < (site.room.width / 2 - 0.25, site.room.depth / 2 - 0.25)
        assert chair is not None
        pushed_in = Standing(seat, (0.15, 0.15), chair.size[1], chair)
        others = [each for each in site.standing if each is not thing]
        around = FurnishedRoom(site.scene, site.room, site.library, 0.0, others)
        if inside.all() and around.is_free(pushed_in) and site.put(chair, seat):
            site.standing.append(pushed_in)
    few, many = {"desk": (6, 45), "furnished": (1, 14), "under": (1, 8)}[theme]
    put_things_on(site, thing, int(rng.integers(few, many)))


def surfaces_at(model: MeshModel, x: float, z: float) -> NDArray[np.float64]:
    """Return the heights, upwards, at which a vertical line through (x, z) of a model's frame meets it."""
    a, b, c = (model.corners[:, k][:, [0, 2]].astype(np.float64) - (x, z) for k in range(3))
    u, v, w = (_cross(b, c), _cross(c, a), _cross(a, b))
    total = u + v + w
    total[total == 0] = 1e-15
    inside = (np.minimum(np.minimum(u / total, v / total), w / total) >= 0) & (np.abs(total) > 1e-12)
    y = model.corners[inside][:, :, 1].astype(np.float64)
    weights = np.stack([u, v, w], 1)[inside] / total[inside][:, None]
    return np.sort((y * weights).sum(1))


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])


def put_things_on(site: FurnishedRoom, under: Standing, count: int) -> None:
    """Scatter small things on what stands there: on its top, or on a board inside where there is room above it."""
    rng = site.scene.rng
    if under.furniture is None:
        return
    model = load(under.furniture).model
    small = site.library.of("small")
    held: list[tuple[float, float, float]] = []
    for _ in range(count):
        thing = site.pick(small)
        if thing is None:
            return
        x, z = rng.uniform(-0.88, 0.88, 2) * under.half
        reach = max(thing.size[0], thing.size[2]) / 2
        if any(math.hypot(x - a, z - b) < 0.8 * (reach + c) for a, b, c in held):
            continue
        levels = surfaces_at(model, x, z)
        levels = levels[levels > 0.12]
        room_above = np.append(levels[1:] - levels[:-1], np.inf) if len(levels) else levels
        fits = levels[room_above > thing.size[1] * 1.02]
        if not len(fits):
            continue
        y = float(fits[-1] if rng.random() < 0.75 else fits[int(rng.integers(len(fits)))])
        if site.put(thing, under.place.moved(x, y, z, rng.uniform(0, 6.28))):
            held.append((x, z, reach))


def _add_along_walls(site: FurnishedRoom) -> None:
    """Stand one piece, most with their back to a wall, and things on it now and then."""
    rng = site.scene.rng
    thing = site.pick(site.library.of("big", "big", "chair") or site.library.models)
    if thing is None or thing.size[1] > site.room.height:
        return
    width, _, depth = thing.size
    for _ in range(8):
        place = site.room.against_wall(rng, depth / 2 + 0.01, width / 2)
        if rng.random() < 0.3:
            place = Placement(site.room.floor_point(rng, 0.85), rng.uniform(0, 6.28))
        reach = Standing(place, (width / 2, depth / 2), 0.0).reach
        half = (site.room.width / 2 + 0.02, site.room.depth / 2 + 0.02)
        outside = any(abs(place.position[2 * k]) + reach[k] > half[k] for k in (0, 1))
        standing = None if outside else site.stand(thing, place)
        if standing is not None:
            if rng.random() < 0.5:
                put_things_on(site, standing, int(rng.integers(1, 6)))
            return


def _hang_on_walls(site: FurnishedRoom) -> None:
    """Hang doors, windows with a bright view, shelves and images on walls, and lamps from the ceiling."""
    scene, rng, room = site.scene, site.scene.rng, site.room
    for _ in range(int(rng.integers(2, 8))):
        kind = rng.random()
        roles = ("door",) if kind < 0.25 else ("window",) if kind < 0.45 else ("hung",)
        thing = site.pick(site.library.of(*roles))  # type: ignore[arg-type]
        if kind > 0.8 or thing is None:
            architecture.add_image(scene, room.against_wall(rng, 0.02, 0.5))
            continue
        width, height, depth = thing.size
        place = room.against_wall(rng, depth / 2 + 0.015, width / 2)
        hangs = Standing(place, (width / 2, depth / 2), height)
        if thing.elevation_m + height > room.height or width > 0.9 * min(room.width, room.depth):
            continue
        if place.position[2] > 0 and abs(math.cos(place.yaw)) > 0.5 and site.behind > 0:
            continue  # the wall with the opening
        if thing.elevation_m < 1.0 and not site.is_free(hangs):
            continue
        if thing.elevation_m > 1.9:  # from the ceiling
            point = room.floor_point(rng, 0.7)
            place = Placement(np.array([point[0], room.height - height, point[2]]), rng.uniform(0, 6.28))
            site.put(thing, place)
            continue
        site.put(thing, place.moved(0, thing.elevation_m, 0))
        if roles == ("window",):
            _light_window(
                site, place.moved(0, thing.elevation_m + height / 2, -depth / 2 - 0.005), (width, height)
            )
        elif roles == ("door",):
            site.standing.append(Standing(place, (width / 2, 0.3), 0.0))
    if scene.chance(0.15):
        architecture.add_pipes(scene, (room.width, room.depth, room.height))


def _light_window(site: FurnishedRoom, place: Placement, size: tuple[float, float]) -> None:
    """Add a bright view behind a window, and the light that falls in."""
    scene, rng = site.scene, site.scene.rng
    bright = rng.uniform(0.5, 8)
    view = scene.draw(("poster", "facade", "plain", "foliage"), period_m=rng.uniform(1.5, 5), emission=bright)
    scene.add_mesh(place, box_model((size[0] / 2 * 0.96, size[1] / 2 * 0.96, 0.004)), [view])
    if len(scene.lights) < 2:
        colour = np.array([0.88, 0.95, 1.08]) * bright * size[0] * size[1] * 0.35
        scene.lights.append(Lamp(place.point(0, 0, 0.35), colour, 0.4 * min(size)))


def _scatter(site: FurnishedRoom, theme: Theme) -> None:
    """Lay small things on the floor, singly and in heaps, some of them lying; of ours, too."""
    scene, rng, room = site.scene, site.scene.rng, site.room
    small = site.library.of("small")
    for _ in range(int(rng.integers(0, 5 if theme != "under" else 9))):
        middle, spread = room.floor_point(rng, 0.9), rng.uniform(0.1, 0.45)
        for _ in range(1 if rng.random() < 0.6 else int(rng.integers(2, 8))):
            thing = site.pick(small)
            at = middle + np.array([1, 0, 1]) * rng.normal(0, spread, 3)
            if thing is None or (np.abs(at[[0, 2]]) > (room.width / 2 - 0.2, room.depth / 2 - 0.2)).any():
                continue
            if not site.is_free(Standing(Placement(at), (0.05, 0.05), 0.0)):
                continue
            if rng.random() < 0.3:  # lying on its back
                at = at + np.array([0, thing.size[2] / 2, 0])
                site.put(thing, Placement(at, rng.uniform(0, 6.28)), rotation(0, math.pi / 2))
            else:
                site.put(thing, Placement(at, rng.uniform(0, 6.28)))
    for _ in range(int(rng.integers(0, 4))):
        point = room.floor_point(rng, 0.9)
        if site.is_free(Standing(Placement(point), (0.2, 0.2), 0.0)):
            things.add_thing(scene, Placement(point), rng.uniform(0.06, 0.4))


def _add_lamps(site: FurnishedRoom) -> None:
    """Light the room by one to three lamps, most of them high, and the second room by another."""
    scene, rng, room = site.scene, site.scene.rng, site.room
    for _ in range(int(rng.integers(1, 4))):
        at = rng.uniform((-0.42, 0.0, -0.42), (0.42, 1.0, 0.42)) * (room.width, 1, room.depth)
        at[1] = room.height - 0.06 - 0.9 * rng.random() ** 3
        warm = np.clip([1, rng.uniform(0.75, 1), rng.uniform(0.5, 1.05)], 0, 1.05)
        scene.lights.append(Lamp(at, rng.uniform(0.4, 2.2) * warm, rng.uniform(0.03, 0.35)))
    if site.behind > 0:
        beyond = np.array([0, 0.85 * room.height, room.depth / 2 + site.behind / 2])
        scene.lights.append(Lamp(beyond, np.ones(3) * rng.uniform(0.1, 2.5), 0.2))


def draw_camera(site: FurnishedRoom, rng: Generator, *, theme: Theme) -> Camera:
    """Hold a camera somewhere: 60 % so that a near thing is cut by the frame before the far end of the room."""
    room = site.room
    limit = np.array([room.width / 2 - 0.12, room.depth / 2 - 0.12])
    low, high = ((0.15, 0.6), (0.7, 1.3), (1.2, 1.8))[int(rng.choice(3, p=_HEIGHTS[theme]))]
    height = min(rng.uniform(low, high), room.height - 0.2)
    roles = {"furnished": (), "desk": ("table",), "under": ("table", "big")}[theme]
    things = [
        each for each in site.standing if each.furniture and abs(each.place.position[2]) < room.depth / 2
    ]
    aims = [each for each in things if each.furniture and each.furniture.role in roles] or things
    near = aims[int(rng.integers(len(aims)))] if aims else None
    kind = rng.random()
    if near is not None and theme == "desk" and kind < 0.75:
        position, target = _look_at_top(rng, near)
    elif near is not None and kind < (0.6 if theme == "furnished" else 0.9):
        position, target = _look_past(rng, near, limit, height, theme)
    else:
        position, target = rng.uniform(-1, 1, (2, 3)) * (limit[0], 0, limit[1])
        position[1], target[1] = height, rng.uniform(0, 1.6)
        if near is not None and rng.random() < 0.5:
            target = near.place.point(0, rng.uniform(0, 1.2) * near.height, 0)
    position = np.clip(position, (-limit[0], 0.12, -limit[1]), (limit[0], room.height - 0.15, limit[1]))
    x, y, z = target - position
    pitch = math.atan2(y, max(math.hypot(x, z), 0.3))
    return Camera(
        position,
        math.atan2(x, z) + rng.normal(0, 0.12),
        float(np.clip(pitch, math.radians(-65), math.radians(35))),
        math.radians(rng.normal(0, 10)),
        math.radians(rng.uniform(45, 85)),
    )


def _look_at_top(rng: Generator, table: Standing) -> tuple[Vector, Vector]:
    """Look from 0.3 to 1.1 m at what stands on a table, flat or steeply: position and target (3,)."""
    x, z = rng.uniform(-0.7, 0.7, 2) * table.half
    target = table.place.point(x, table.height + rng.uniform(0, 0.15), z)
    distance, elevation, azimuth = (
        rng.uniform(0.3, 1.1),
        math.radians(rng.uniform(5, 60)),
        rng.uniform(0, 6.28),
    )
    flat = distance * math.cos(elevation)
    way = np.array([flat * math.sin(azimuth), distance * math.sin(elevation), flat * math.cos(azimuth)])
    return target + way, target + rng.normal(0, 0.08, 3)


def _look_past(
    rng: Generator, near: Standing, limit: Vector, height: float, theme: Theme
) -> tuple[Vector, Vector]:
    """Look past a thing from 0.3 to 1.5 m before it to the far end of the room: position and target (3,)."""
    middle = near.place.position[[0, 2]]
    ends = rng.uniform(-1, 1, (8, 2)) * limit
    far = ends[np.argmax(np.hypot(*(ends - middle).T))]
    away = (middle - far) / max(float(np.hypot(*(middle - far))), 1e-6)
    distance = rng.uniform(0.3, 1.5) + (0.0 if theme == "under" else 0.6 * min(near.reach))
    x, z = middle + distance * away + rng.normal(0, 0.25, 2)
    if theme == "under":  # about level
        look = height + math.tan(math.radians(rng.normal(4, 10))) * float(np.hypot(*(far - (x, z))))
    else:
        look = height + (rng.uniform(0.3, 1.2) * near.height - height) * rng.uniform(0.2, 2.0)
    return np.array([x, height, z]), np.array([far[0], look, far[1]])


_HEIGHTS: dict[Theme, tuple[float, float, float]] = {
    "furnished": (0.25, 0.35, 0.4),
    "desk": (0.0, 0.55, 0.45),
    "under": (0.85, 0.15, 0.0),
}
