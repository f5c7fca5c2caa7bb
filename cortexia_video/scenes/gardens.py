"""Gardens, playgrounds and terraces: what is near outdoors, with houses and trees behind."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from cortexia_video.scenes import buildings, landscape, people, plants, trees
from cortexia_video.scenes.description import Camera, Material, Placement, Scene, Vector
from cortexia_video.scenes.furniture import add_chair, add_table
from cortexia_video.scenes.landscape import Aim, Height, add
from cortexia_video.scenes.pieces import (
    Floats,
    Piece,
    boxes,
    ellipse,
    join,
    loft,
    path,
    quads,
    scatter,
    tubes,
    turn_about_y,
)
from cortexia_video.scenes.things import add_thing


def garden(rng: Generator) -> tuple[Scene, Aim]:
    """A garden: lawn, beds, hedges, fences, trees, a house, a shed, chairs, pots."""
    scene = landscape.begin(rng)
    height = landscape.land(rng, rng.uniform(0, 0.12), 4.0)
    add(scene, landscape.terrain(height, rough_m=0.01, rng=rng), [landscape.draw_green(scene)])
    half = rng.uniform(4, 12, 2)
    _add_lawn(scene, height, float(half.max()))
    _enclose(scene, half)
    _add_house(scene, half)
    _plant(scene, height, half)
    _add_paving(scene, height, half)
    _sit_and_play(scene, height, half)
    landscape.add_far(scene, town=0.3)

    def aim(rng: Generator) -> Camera:
        position = _stand(scene, rng, half * 0.85, height, low=0.35)
        horizon = (0.2, 0.7) if rng.random() < 0.7 else (-0.6, 1.0)
        return landscape.look(rng, position, rng.uniform(-3.2, 3.2), fov_deg=(38, 95), horizon=horizon, roll_deg=5)

    return scene, aim


def playground(rng: Generator) -> tuple[Scene, Aim]:
    """A playground: swings, slides, frames to climb, children, benches, a fence, trees round it."""
    scene = landscape.begin(rng)
    height = landscape.land(rng, rng.uniform(0, 0.08), 12.0)
    add(scene, landscape.terrain(height, rough_m=0.008, rng=rng), [scene.either(landscape.draw_green(scene), landscape.draw_soil(scene))])
    half = rng.uniform(6, 14, 2)
    for _ in range(int(rng.integers(1, 4))):  # areas of sand or rubber
        middle = rng.uniform(-0.6, 0.6, 2) * half
        at = Placement(np.array([middle[0], float(height(*(np.array(each) for each in middle))), middle[1]]))
        scene.cylinder(at, (0, 0, 0), (*rng.uniform((2.5, 0.03), (6, 0.06)), rng.uniform(2.5, 6)), scene.draw(("plain", "asphalt", "tiles"), period_m=rng.uniform(0.5, 2)))
    spots = _apart(rng, half, 2.6, int(rng.integers(5, 13)))
    build = (_swing, _slide, _climbing_frame, _seesaw, _tower, _spring_horse)
    for spot in spots:
        part = build[int(rng.choice(len(build), p=(0.22, 0.2, 0.2, 0.1, 0.2, 0.08)))](rng)
        place = landscape.stand_on(height, spot[:1], spot[1:], 0.0)[0]
        bright = [scene.draw(("plain",), tint=np.exp(rng.normal(0.2, 0.7, 3)), gloss=0.3) for _ in range(2)]
        metal = scene.draw(("plain", "wood"), gloss=0.3, tint=rng.uniform(0.3, 1.4))
        add(scene, part.moved(place, turn_about_y(rng.uniform(0, 6.28))), [metal, *bright])
    for _ in range(int(rng.integers(0, 9))):
        _add_person(scene, rng.uniform(-1, 1, 2) * half, height)
    for spot in rng.uniform(-1, 1, (int(rng.integers(1, 6)), 2)) * half * 1.1:
        _add_bench(scene, spot, height)
    if rng.random() < 0.7:
        _enclose(scene, half * 1.25)
    _plant(scene, height, half * 1.3)
    for _ in range(int(rng.integers(0, 4))):
        _add_house(scene, half * rng.uniform(1.3, 3))
    landscape.add_far(scene, town=0.6)

    def aim(rng: Generator) -> Camera:
        position = _stand(scene, rng, half, height, low=0.3)
        horizon = (0.25, 0.7) if rng.random() < 0.75 else (-0.3, 0.9)
        return landscape.look(rng, position, rng.uniform(-3.2, 3.2), fov_deg=(40, 95), horizon=horizon, roll_deg=4)

    return scene, aim


def terrace(rng: Generator) -> tuple[Scene, Aim]:
    """A terrace or balcony: paving, a railing, tables, plants in pots, a wall behind, the land below or level."""
    scene = landscape.begin(rng)
    half = rng.uniform((2.0, 1.4), (7, 4.5))
    drop = rng.uniform(2.5, 12) if rng.random() < 0.6 else rng.uniform(0.1, 0.5)
    hills = landscape.land(rng, rng.uniform(0, 0.3), 15.0)

    def height(x: Floats, z: Floats) -> Floats:
        return np.maximum(hills(x, z), -13 + drop) - drop

    add(scene, landscape.terrain(height), [scene.either(landscape.draw_green(scene), scene.draw(("asphalt", "stained", "foliage")))])
    paving = scene.draw(("tiles", "wood", "tiles", "bricks", "plain"), period_m=rng.uniform(0.5, 2))
    add(scene, boxes((0, -drop / 2 - 0.05, 0), (half[0], drop / 2 + 0.05, half[1])), [paving])
    front = half[1]
    house = buildings.building(rng, half[0] + rng.uniform(1, 6), rng.uniform(2.7, 9) + 0.01, 4.0)
    stuff = _house_materials(scene)
    add(scene, house.moved((rng.normal(0, 1), 0 if drop < 1 else -0.02, -front - 4.0)), stuff)
    _add_railing(scene, half)
    if rng.random() < 0.4:  # a roof on posts
        _add_pergola(scene, half)
    for spot in _apart(rng, half * 0.8, 1.7, int(rng.integers(1, 7))):
        _add_table_group(scene, spot)
    for _ in range(int(rng.integers(2, 14))):
        on_edge = rng.choice((-1, 1), 2) * half * 0.88
        spot = np.where(rng.random(2) < 0.5, on_edge, rng.uniform(-0.85, 0.85, 2) * half)
        _add_pot(scene, np.array([spot[0], 0.0, spot[1]]))
    for _ in range(int(rng.integers(0, 4))):
        _add_person(scene, rng.uniform(-0.8, 0.8, 2) * half, None)
    _plant(scene, height, half * 3.5, keep_out=half)
    for _ in range(int(rng.integers(0, 10))):
        away, angle = rng.uniform(14, 90), rng.uniform(-1.4, 1.4)
        x, z = away * math.sin(angle), away * math.cos(angle)
        part = buildings.building(rng, rng.uniform(4, 10), rng.uniform(3, 12), rng.uniform(4, 7))
        place = landscape.stand_on(height, np.array([x]), np.array([z]), 0.2)[0]
        add(scene, part.moved(place, turn_about_y(math.pi + rng.normal(0, 0.8))), _house_materials(scene))
    landscape.add_far(scene, town=0.7)

    def aim(rng: Generator) -> Camera:
        position = _stand(scene, rng, half * 0.85, None, low=0.45)
        yaw = rng.normal(0, 0.7) if rng.random() < 0.6 else rng.uniform(-3.2, 3.2)
        horizon = (0.15, 0.7) if rng.random() < 0.75 else (-0.6, 0.9)
        return landscape.look(rng, position, yaw, fov_deg=(40, 95), horizon=horizon, roll_deg=4)

    return scene, aim


def _stand(scene: Scene, rng: Generator, half: Floats, height: Height | None, *, low: float) -> Vector:
    """Draw where a camera is: in a rectangle of half sizes (2,), at the height of eyes or, a share `low`, below."""
    x, z = rng.uniform(-1, 1, 2) * half
    above = rng.uniform(0.3, 1.2) if rng.random() < low else rng.uniform(1.2, 1.8)
    ground = 0.0 if height is None else float(height(np.array(x), np.array(z)))
    return np.array([x, ground + above, z])


def _apart(rng: Generator, half: Floats, least_m: float, count: int) -> Floats:
    """Draw up to `count` spots (N, 2) that are so far from each other."""
    spots: list[Floats] = []
    for spot in rng.uniform(-1, 1, (count * 3, 2)) * half:
        if len(spots) < count and all(np.hypot(*(spot - other)) > least_m for other in spots):
            spots.append(spot)
    return np.array(spots).reshape(-1, 2)


def _add_lawn(scene: Scene, height: Height, far_m: float) -> None:
    rng = scene.rng
    spot = rng.normal(0, far_m * 0.5, (int(rng.integers(3000, 12000)), 2))
    high = rng.uniform(0.03, 0.3) if rng.random() < 0.7 else rng.uniform(0.03, 0.06)
    blades = plants.grass(rng, landscape.stand_on(height, *spot.T, 0.01), high, rng.uniform(0.05, 0.12))
    green = landscape.draw_green(scene)
    add(scene, blades, [green, green])


def _enclose(scene: Scene, half: Floats) -> None:
    """A hedge, fence or wall on each of four sides, or nothing."""
    rng = scene.rng
    stuff = [landscape.draw_bark(scene), landscape.draw_green(scene)]
    board = scene.draw(("wood", "plain", "stained"), tint=rng.uniform(0.3, 1.6))
    wall = scene.draw(("bricks", "plain", "stained", "tiles"), period_m=rng.uniform(0.8, 3))
    for side in range(4):
        along, out = half[side % 2], half[1 - side % 2]
        turn = turn_about_y(side * math.pi / 2)
        kind = rng.random()
        if kind < 0.3:
            high, thick = rng.uniform(0.4, 1.1), rng.uniform(0.25, 0.5)
            count = max(1, round(along / 2))
            part = trees.hedge(rng, np.array([thick, high, along / count]), 0.09)
            lay = turn_about_y(math.pi / 2)
            row = join(part.moved(((2 * n + 1 - count) * along / count, 0, out), lay) for n in range(count))
            add(scene, row.moved((0, 0, 0), turn), stuff)
        elif kind < 0.6:
            part = buildings.fence(rng, 2 * along, rng.uniform(0.8, 2.0)).moved((-along, 0, out))
            add(scene, part.moved((0, 0, 0), turn), [board, board])
        elif kind < 0.78:
            high = rng.uniform(0.3, 1.3)
            add(scene, boxes((0, high - 0.1, out), (along, high, rng.uniform(0.06, 0.2))).moved((0, 0, 0), turn), [wall])


def _house_materials(scene: Scene) -> list[Material]:
    rng = scene.rng
    return [
        scene.draw(("plain", "plain", "bricks", "stained"), period_m=rng.uniform(1, 3), tint=rng.uniform(0.7, 1.5)),
        scene.draw(("plain",), tint=rng.uniform(0.1, 0.5), gloss=0.6),
        scene.draw(("plain", "wood"), tint=rng.uniform(0.6, 1.8)),
        scene.draw(("tiles", "bricks", "stained"), period_m=rng.uniform(0.6, 2), tint=np.array([1.1, 0.8, 0.7]) * rng.uniform(0.3, 1.1)),
        scene.draw(("plain", "bricks", "wood"), period_m=rng.uniform(0.6, 2.5)),
        scene.draw(("plain", "wood"), tint=rng.uniform(0.15, 1.0)),
    ]  # fmt: skip


def _add_house(scene: Scene, half: Floats) -> None:
    """A house beyond one side, or a shed, its front towards the middle."""
    rng = scene.rng
    side, deep = int(rng.integers(4)), rng.uniform(3, 6)
    turn = turn_about_y(side * math.pi / 2)
    house = buildings.building(rng, rng.uniform(4, 10), rng.uniform(2.6, 8), deep)
    front = turn @ (rng.normal(0, 0.3) * half[side % 2], 0, -half[1 - side % 2] - deep - rng.uniform(-0.5, 3))
    add(scene, house.moved(front, turn @ turn_about_y(rng.normal(0, 0.1))), _house_materials(scene))
    if rng.random() < 0.4:
        shed = buildings.building(rng, rng.uniform(1, 2), rng.uniform(1.9, 2.5), rng.uniform(0.8, 1.8))
        at = turn_about_y(rng.integers(4) * math.pi / 2) @ (rng.uniform(-0.5, 0.5) * half[0], 0, -0.8 * half.min())
        add(scene, shed.moved(at, turn_about_y(rng.uniform(0, 6.28))), _house_materials(scene))


def _plant(scene: Scene, height: Height, half: Floats, keep_out: Floats | None = None) -> None:
    """Trees, bushes along the sides, beds of flowers and of vegetables."""
    rng = scene.rng

    def spots(count: int, border: float) -> Floats:
        spot = rng.uniform(-1, 1, (count, 2))
        pushed = np.maximum(np.abs(spot).max(1, keepdims=True), 1e-6) / border
        spot = np.where(rng.random((count, 1)) < 0.7, spot / np.minimum(pushed, 1.0), spot) * half
        if keep_out is not None:
            spot = spot[(np.abs(spot) > keep_out + 1.0).any(1)]
        return landscape.stand_on(height, *spot.T)

    for most, border, grow, scale in (
        (7, 0.95, lambda: trees.broadleaf(rng, rng.uniform(2.5, 9), rng.uniform(0.12, 0.25), leafy=rng.uniform(0, 1.2)), 0.2),
        (4, 1.0, lambda: trees.conifer(rng, rng.uniform(2, 10), 0.25), 0.25),
        (16, 0.9, lambda: trees.bush(rng, rng.uniform(0.2, 0.9, 3), rng.uniform(0.06, 0.12)), 0.3),
        (3, 0.8, lambda: trees.palm(rng, rng.uniform(2, 7)), 0.2),
    ):
        count = int(rng.integers(0, most)) if most > 3 or rng.random() < 0.15 else 0
        if count:
            parts = [grow() for _ in range(min(3, count))]
            add(scene, scatter(rng, parts, spots(count, border), scale=scale), [landscape.draw_bark(scene), landscape.draw_green(scene)])
    for _ in range(int(rng.integers(0, 5))):  # beds
        grow = plants.CROPS[int(rng.integers(len(plants.CROPS)))][0]
        parts = [grow(rng, rng.uniform(0.15, 0.9), 4) for _ in range(3)]
        middle, reach = spots(1, 0.8), rng.uniform((0.4, 0.3), (3, 0.8))
        if len(middle):
            spot = middle[0, ::2] + rng.uniform(-1, 1, (int(rng.integers(6, 80)), 2)) * reach[:: int(rng.choice((-1, 1)))]
            flower = scene.draw(("plain",), tint=np.exp(rng.normal(0.3, 0.9, 3)))
            green = landscape.draw_green(scene)
            add(scene, scatter(rng, parts, landscape.stand_on(height, *spot.T), scale=0.25), [green, green, flower])


def _add_paving(scene: Scene, height: Height, half: Floats) -> None:
    """A path of slabs, and a paved place."""
    rng = scene.rng
    stone = scene.draw(("tiles", "plain", "bricks", "stained"), period_m=rng.uniform(0.5, 2))
    if rng.random() < 0.7:
        bend, x0, reach = rng.uniform(0, 6), rng.uniform(-0.5, 0.5) * half[0], rng.uniform(0.35, 0.8)
        z = np.arange(-half[1], half[1], 0.7)
        x = x0 + np.sin(z / 3 + bend)
        slabs = landscape.stand_on(height, x, z, 0.0) + (0, 0.01, 0)
        add(scene, boxes(slabs, (reach, 0.02, 0.33 if rng.random() < 0.5 else 0.36)), [stone])
    if rng.random() < 0.6:
        middle = rng.uniform(-0.7, 0.7, 2) * half
        reach = rng.uniform(1.2, 3.5, 2)
        add(scene, boxes((middle[0], 0.0, middle[1]), (reach[0], 0.12, reach[1])), [stone])
        _add_table_group(scene, middle, 0.12)


def _sit_and_play(scene: Scene, height: Height, half: Floats) -> None:
    """Chairs, pots, toys, tools, people, a line with washing."""
    rng = scene.rng
    for _ in range(int(rng.integers(0, 8))):
        spot = rng.uniform(-0.9, 0.9, 2) * half
        _add_pot(scene, landscape.stand_on(height, spot[:1], spot[1:], 0.0)[0])
    for _ in range(int(rng.integers(0, 7))):
        x, z = rng.uniform(-0.8, 0.8, 2) * half
        add_thing(scene, Placement(np.array([x, float(height(np.array(x), np.array(z))), z])), rng.uniform(0.1, 0.5))
    for _ in range(int(rng.integers(0, 3))):
        _add_person(scene, rng.uniform(-0.8, 0.8, 2) * half, height)
    if rng.random() < 0.3:
        _add_bench(scene, rng.uniform(-0.8, 0.8, 2) * half, height)
    if rng.random() < 0.25:
        spot = rng.uniform(-0.6, 0.6, 2) * half
        bright = [scene.draw(("plain",), tint=np.exp(rng.normal(0.2, 0.6, 3))) for _ in range(3)]
        part = (_swing, _slide, _climbing_frame)[int(rng.integers(3))](rng)
        add(scene, part.moved(landscape.stand_on(height, spot[:1], spot[1:], 0.0)[0], turn_about_y(rng.uniform(0, 6.28))), bright)
    if rng.random() < 0.25:
        ends = np.array([[-2.5, 1.8, 0], [2.5, 1.8, 0]])
        posts = tubes(ends * (1, 0, 1), ends, 0.035, 0.035)
        hung = []
        for x in np.arange(-2.2, 2.2, 0.6):
            wide, long = rng.uniform((0.15, 0.3), (0.3, 1.2))
            hung.append(np.array([[x - wide, 1.78, 0.0], [x + wide, 1.78, 0], [x + wide, 1.78 - long, 0.1], [x - wide, 1.78 - long, 0.08]]))
        cloth = Piece(*(getattr(quads(np.array(hung)), name) for name in ("corners", "uv")), np.repeat(rng.integers(1, 4, len(hung)), 2))
        spot = rng.uniform(-0.7, 0.7, 2) * half
        line = join([posts, path(ends, 0.006, 0, 3), cloth]).moved((spot[0], 0, spot[1]), turn_about_y(rng.uniform(0, 6.28)))
        add(scene, line, [scene.surface() for _ in range(4)])


def _add_person(scene: Scene, spot: Floats, height: Height | None) -> None:
    rng = scene.rng
    y = 0.0 if height is None else float(height(*(np.array(each) for each in spot)))
    cloth = [
        scene.draw(("plain",), tint=np.array([1.2, 0.85, 0.7]) * rng.uniform(0.4, 1.2)), scene.surface(), scene.surface(),
        scene.draw(("plain",), tint=rng.uniform(0.05, 0.5)),
    ]  # fmt: skip
    size = rng.uniform(0.6, 0.85) if rng.random() < 0.4 else 1.0
    made = people.person(rng).moved((spot[0], y, spot[1]), turn_about_y(rng.uniform(0, 6.28)), 1.0)
    if size < 1:
        made = people.person(rng).moved((0, 0, 0), turn_about_y(rng.uniform(0, 6.28)), size).moved((spot[0], y, spot[1]))
    add(scene, made, cloth)


def _add_bench(scene: Scene, spot: Floats, height: Height) -> None:
    rng = scene.rng
    part = join(
        [boxes([(0, 0.43, z) for z in (-0.18, 0, 0.18)], (0.8, 0.02, 0.07)),
         boxes([(0, y, -0.3) for y in (0.6, 0.75)], (0.8, 0.05, 0.02)),
         boxes([(x, 0.35, z) for x in (-0.7, 0.7) for z in (-0.25, 0.2)], (0.03, 0.35, 0.03), 1)]
    )  # fmt: skip
    place = landscape.stand_on(height, spot[:1], spot[1:], 0.0)[0]
    add(scene, part.moved(place, turn_about_y(rng.uniform(0, 6.28))), [scene.draw(("wood", "plain")), scene.surface()])


def _add_table_group(scene: Scene, spot: Floats, lift: float = 0.0) -> None:
    """A table with chairs round it, things on it, now and then a parasol."""
    rng = scene.rng
    place = Placement(np.array([spot[0], lift, spot[1]]), rng.uniform(0, 6.28))
    half, tall = rng.uniform((0.3, 0.3), (0.9, 0.5)), rng.uniform(0.65, 0.78)
    add_table(scene, place, float(half[0]), float(half[1]), tall)
    for turn in (0.0, math.pi / 2, math.pi, -math.pi / 2):
        if rng.random() < 0.65:
            out = (half[1] if turn in (0.0, math.pi) else half[0]) + rng.uniform(0.25, 0.6)
            add_chair(scene, place.moved(out * math.sin(turn), 0, out * math.cos(turn), turn + math.pi + rng.normal(0, 0.2)))
    for _ in range(int(rng.integers(0, 6))):
        x, z = rng.uniform(-0.7, 0.7, 2) * half
        add_thing(scene, place.moved(x, tall, z), rng.uniform(0.04, 0.12))
    if rng.random() < 0.3:
        wide, high = rng.uniform(1.0, 1.9), rng.uniform(2.1, 2.6)
        rings = np.array([ellipse((0, high - 0.4, 0), wide, wide, 8), ellipse((0, high, 0), 0.04, 0.04, 8)])
        part = join([loft(rings, 1, capped=False), path([(0, 0, 0), (0, high, 0)], 0.025)])
        add(scene, part.moved(place.position), [scene.surface(), scene.draw(("plain", "stripes"), tint=rng.uniform(0.8, 1.6))])


def _add_pot(scene: Scene, place: Vector) -> None:
    """A pot or box with a plant in it."""
    rng = scene.rng
    high, wide = rng.uniform((0.15, 0.1), (0.6, 0.35))
    rings = np.array([ellipse((0, y * high, 0), wide * w, wide * w, 8) for y, w in ((0, 0.7), (1, 1.0))])
    kind = rng.random()
    if kind < 0.4:
        plant = trees.bush(rng, rng.uniform(0.15, 0.5, 3), 0.06)
    elif kind < 0.8:
        plant = plants.CROPS[int(rng.integers(len(plants.CROPS)))][0](rng, rng.uniform(0.2, 0.9), 4)
    else:
        plant = trees.broadleaf(rng, rng.uniform(0.8, 2.2), 0.08, bare_share=rng.uniform(0.2, 0.6))
    parts = [loft(rings), plant.moved((0, 0.9 * high, 0)).wearing(1)]
    green = landscape.draw_green(scene)
    bloom = scene.draw(("plain",), tint=np.exp(rng.normal(0.3, 0.9, 3)))
    add(scene, join(parts).moved(place), [scene.surface(), scene.either(green, landscape.draw_bark(scene)), green, bloom])


def _add_railing(scene: Scene, half: Floats) -> None:
    """A railing of bars, wires, glass posts or a wall, on three sides."""
    rng = scene.rng
    metal = scene.draw(("plain", "wood", "stained"), gloss=0.3, tint=rng.uniform(0.1, 1.6))
    high, kind = rng.uniform(0.85, 1.15), rng.random()
    x, z = half
    parts = []
    for a, b in (((-x, -z), (-x, z)), ((-x, z), (x, z)), ((x, z), (x, -z))):
        start, end = np.array([a[0], 0, a[1]]), np.array([b[0], 0, b[1]])
        long = float(np.linalg.norm(end - start))
        up = np.array([0, high, 0])
        if kind < 0.2:
            parts.append(boxes((start + end) / 2 + up * 0.4, np.abs(end - start) / 2 + (0.1, 0.4 * high, 0.1)))
            continue
        step = rng.uniform(0.09, 0.16) if kind < 0.65 else rng.uniform(0.8, 1.8)
        share = np.linspace(0, 1, max(2, int(long / step)))[:, None]
        foot = start + share * (end - start)
        parts += [tubes(foot, foot + up, 0.012 if kind < 0.65 else 0.03, 0.012 if kind < 0.65 else 0.03, 0, 4),
                  path([start + up, end + up], 0.03, 0, 5)]  # fmt: skip
        if kind >= 0.65:
            parts += [path([start + up * level, end + up * level], 0.008, 0, 3) for level in np.linspace(0.15, 0.85, int(rng.integers(2, 7)))]
    add(scene, join(parts), [metal])


def _add_pergola(scene: Scene, half: Floats) -> None:
    """Posts with beams over them."""
    rng = scene.rng
    high, (x, z) = rng.uniform(2.2, 2.8), half * 0.9
    foot = np.array([[a * x, 0, b * z] for a in (-1, 0, 1) for b in (-1, 1)])
    beams = np.linspace(-x, x, int(rng.integers(5, 18)))
    parts = [
        boxes(foot + (0, high / 2, 0), (0.05, high / 2, 0.05)),
        boxes([(0, high, b * z) for b in (-1, 1)], (x, 0.07, 0.04)),
        boxes(np.stack([beams, 0 * beams + high + 0.08, 0 * beams], 1), (0.03, 0.06, z * 1.1)),
    ]
    add(scene, join(parts), [scene.draw(("wood", "plain"), tint=rng.uniform(0.4, 1.5))])


def _swing(rng: Generator) -> Piece:
    """Two legs at each end, a beam, seats on chains. Materials here and below: 0 frame, 1 and 2 bright."""
    half, high, spread = rng.uniform(1.2, 2.4), rng.uniform(1.9, 2.5), rng.uniform(0.7, 1.1)
    top = np.array([[side * half, high, 0] for side in (-1, 1)])
    foot = np.array([[side * (half + 0.2), 0, z] for side in (-1, 1) for z in (-spread, spread)])
    parts = [tubes(foot, np.repeat(top, 2, 0), 0.05, 0.05), path(top, 0.05)]
    for x in np.linspace(-0.6, 0.6, int(rng.integers(1, 4))) * half:
        swing = rng.normal(0, 0.25)
        hang = np.array([0, -(high - 0.45) * math.cos(swing), (high - 0.45) * math.sin(swing)])
        start = np.array([[x + side * 0.22, high, 0] for side in (-1, 1)])
        parts += [tubes(start, start + hang, 0.012, 0.012, 0, 4), boxes((x, high, 0) + hang, (0.24, 0.02, 0.1), 1)]
    return join(parts)


def _slide(rng: Generator) -> Piece:
    """A ladder up to a chute that goes down with sides."""
    high, long, half = rng.uniform(1.1, 2.4), rng.uniform(1.8, 4), rng.uniform(0.22, 0.35)
    share = np.linspace(0, 1, 10)
    y = high * (1 - share) ** 1.15 + 0.18
    line = np.stack([0 * share, y, share * long], 1)
    profile = np.array([(-half, 0.16), (-half, 0), (half, 0), (half, 0.16)])
    points = line[:, None] + np.stack([profile[:, 0], profile[:, 1], 0 * profile[:, 0]], 1)
    cells = np.stack([points[:-1, :-1], points[:-1, 1:], points[1:, 1:], points[1:, :-1]], 2)
    rungs = np.arange(0.25, high, 0.28)
    back = -0.6 + 0.5 * rungs / high
    ladder = np.stack([0 * rungs, rungs, back], 1)
    rails = [path([(side * half, 0, -0.6), (side * half, high + 0.75, -0.1), (side * half, high + 0.3, 0.4)], 0.025) for side in (-1, 1)]
    legs = [path([(side * half, 0, 0.4), (side * half, high, 0.1)], 0.035) for side in (-1, 1)]
    return join([quads(cells.reshape(-1, 4, 3), 1), tubes(ladder - (half, 0, 0), ladder + (half, 0, 0), 0.02, 0.02), *rails, *legs])


def _climbing_frame(rng: Generator) -> Piece:
    """A lattice of bars, a dome or an arch."""
    if rng.random() < 0.4:
        radius = rng.uniform(1.1, 2)
        parts = []
        for turn in np.linspace(0, math.pi, int(rng.integers(3, 7)), endpoint=False):
            angle = np.linspace(0, math.pi, 9)
            arc = radius * np.stack([np.cos(angle) * math.cos(turn), np.sin(angle), np.cos(angle) * math.sin(turn)], 1)
            parts.append(path(arc, 0.022, int(rng.integers(0, 3)), 5))
        for level in (0.3, 0.6, 0.85):
            ring = ellipse((0, level * radius, 0), radius * math.sqrt(1 - level**2), radius * math.sqrt(1 - level**2), 14)
            parts.append(path(np.vstack([ring, ring[:1]]), 0.02, 0, 5))
        return join(parts)
    cells, step = rng.integers((1, 2, 1), (4, 5, 4)), rng.uniform(0.45, 0.7)
    x, y, z = (np.arange(n + 1) * step for n in cells)
    parts = []
    for axis, (a, b, c) in enumerate(((x, y, z), (y, x, z), (z, x, y))):
        grid = np.stack([each.ravel() for each in np.meshgrid(b, c)], 1)
        start = np.insert(grid, axis, 0.0, 1)
        end = np.insert(grid, axis, a[-1], 1)
        keep = np.ones(len(start), bool) if axis == 1 else start[:, 1] > 0.1
        parts.append(tubes(start[keep], end[keep], 0.02, 0.02, axis, 5))
    return join(parts).moved((-x[-1] / 2, 0, -z[-1] / 2))


def _seesaw(rng: Generator) -> Piece:
    """A board on a stand, with grips."""
    half, tilt, high = rng.uniform(1.2, 2.0), rng.uniform(-0.25, 0.25), rng.uniform(0.4, 0.65)
    turn = np.array([[1, 0, 0], [0, math.cos(tilt), -math.sin(tilt)], [0, math.sin(tilt), math.cos(tilt)]])
    board = join([boxes((0, 0, 0), (0.12, 0.04, half), 1)]
                 + [path([(-0.18, 0.0, z), (-0.18, 0.28, z), (0.18, 0.28, z), (0.18, 0, z)], 0.018, 0, 4) for z in (-0.75 * half, 0.75 * half)])  # fmt: skip
    return join([board.moved((0, high, 0), turn), boxes((0, high / 2, 0), (0.1, high / 2, 0.16))])


def _tower(rng: Generator) -> Piece:
    """A house on stilts with a roof, walls on some sides, and a slide."""
    half, floor, high = rng.uniform(0.6, 1.0), rng.uniform(0.9, 1.7), rng.uniform(1.7, 2.1)
    foot = np.array([[a * half, 0, b * half] for a in (-1, 1) for b in (-1, 1)])
    parts = [tubes(foot, foot + (0, floor + high, 0), 0.06, 0.06), boxes((0, floor, 0), (half, 0.05, half))]
    for side in range(3):
        if rng.random() < 0.7:
            out = turn_about_y((side + 1) * math.pi / 2)
            parts.append(boxes((0, floor + 0.4, half), (half, 0.35, 0.02), 1 + side % 2).moved((0, 0, 0), out))
    rise, eave = rng.uniform(0.4, 0.9), half * 1.2
    top = np.array([[0, floor + high + rise, 0]])
    rim = np.array([[-eave, floor + high, -eave], [eave, floor + high, -eave], [eave, floor + high, eave], [-eave, floor + high, eave]])
    parts.append(loft(np.stack([rim, np.repeat(top, 4, 0)]), 2, capped=False))
    chute = _slide(rng)
    reach = chute.corners[..., 1].max()
    return join([*parts, chute.moved((0, 0, half), scale=(1, min(1.0, (floor + 0.9) / reach), 1))])


def _spring_horse(rng: Generator) -> Piece:
    """A small seat shaped like an animal on a spring."""
    angle = np.linspace(0, 10 * math.pi, 40)
    spring = np.stack([0.1 * np.cos(angle), angle / angle[-1] * 0.35, 0.1 * np.sin(angle)], 1)
    side = np.array([(-0.35, 0.35), (0.3, 0.35), (0.45, 0.75), (0.3, 0.9), (0.1, 0.6), (-0.3, 0.6)])
    flat = [np.stack([np.full(6, x), side[:, 1], side[:, 0]], 1) for x in (-0.06, 0.06)]
    return join([path(spring, 0.015, 0, 4), loft(np.stack(flat), 1), path([(-0.2, 0.75, 0.2), (0.2, 0.75, 0.2)], 0.02, 2, 5)])
