"""Gardens, playgrounds and terraces: what is near outdoors, with houses and trees behind."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from cortexia_video.scenes import (
    buildings,
    landscape,
    people,
    plants,
    playthings,
    street_things,
    trees,
    vehicles,
)
from cortexia_video.scenes import outdoor_materials as materials
from cortexia_video.scenes.description import Aim, Camera, Placement, Scene, Vector
from cortexia_video.scenes.furniture import add_chair, add_table
from cortexia_video.scenes.landscape import Land, add
from cortexia_video.scenes.pieces import (
    Floats,
    Piece,
    boxes,
    ellipse,
    join,
    loft,
    path,
    scatter,
    tubes,
    turn_about_y,
    vec,
)
from cortexia_video.scenes.things import add_thing


def garden(rng: Generator) -> tuple[Scene, Aim]:
    """A garden: lawn, beds, hedges, fences, trees, a house, a shed, chairs, pots."""
    scene = landscape.begin(rng)
    land = landscape.draw_land(rng, rng.uniform(0, 0.12), 4.0)
    add(scene, landscape.terrain(land, rough_m=0.01, rng=rng), [materials.draw_green(scene)])
    half = rng.uniform(4, 12, 2)
    _add_lawn(scene, land, float(half.max()))
    _enclose(scene, half)
    _add_house(scene, half)
    _plant(scene, land, half)
    _add_paving(scene, land, half)
    _sit_and_play(scene, land, half)
    landscape.add_far(scene, town=0.3)

    def aim(rng: Generator) -> Camera:
        position = _stand(scene, rng, half * 0.85, land, low=0.35)
        horizon = (0.2, 0.7) if rng.random() < 0.7 else (-0.6, 1.0)
        return landscape.look(
            rng, position, _face(rng, position, half), fov_deg=(38, 95), horizon=horizon, roll_deg=5
        )

    return scene, aim


def playground(rng: Generator) -> tuple[Scene, Aim]:
    """A playground: swings, slides, frames to climb, children, benches, a fence, trees round it."""
    scene = landscape.begin(rng)
    land = landscape.draw_land(rng, rng.uniform(0, 0.08), 12.0)
    add(
        scene,
        landscape.terrain(land, rough_m=0.008, rng=rng),
        [scene.either(materials.draw_green(scene), materials.draw_soil(scene))],
    )
    half = rng.uniform(6, 14, 2)
    for _ in range(int(rng.integers(1, 4))):  # areas of sand or rubber
        middle = rng.uniform(-0.6, 0.6, 2) * half
        at = Placement(np.array([middle[0], land.at(*middle), middle[1]]))
        scene.cylinder(
            at,
            (0, 0, 0),
            (*rng.uniform((2.5, 0.03), (6, 0.06)), rng.uniform(2.5, 6)),
            scene.draw(("plain", "asphalt", "tiles"), period_m=rng.uniform(0.5, 2)),
        )
    shares = [share for _, share in playthings.PLAYTHINGS]
    spots = _apart(rng, half, 2.6, int(rng.integers(5, 13)))
    for spot in spots:
        build = playthings.PLAYTHINGS[int(rng.choice(len(shares), p=shares))][0]
        part = build(rng)
        place = land.stand(spot[None], 0.0)[0]
        bright = [materials.draw_bright(scene) for _ in range(2)]
        metal = scene.draw(("plain", "wood"), gloss=0.3, tint=rng.uniform(0.3, 1.4))
        add(scene, part.moved(place, turn_about_y(rng.uniform(0, 6.28))), [metal, *bright])
    for _ in range(int(rng.integers(0, 9))):
        _add_person(scene, rng.uniform(-1, 1, 2) * half, land)
    for spot in rng.uniform(-1, 1, (int(rng.integers(1, 6)), 2)) * half * 1.1:
        _add_bench(scene, spot, land)
    if rng.random() < 0.7:
        _enclose(scene, half * 1.25)
    _plant(scene, land, half * 1.3)
    for _ in range(int(rng.integers(0, 4))):
        _add_house(scene, half * rng.uniform(1.3, 3))
    landscape.add_far(scene, town=0.6)

    def aim(rng: Generator) -> Camera:
        position = _stand(scene, rng, half, land, low=0.3)
        horizon = (0.25, 0.7) if rng.random() < 0.75 else (-0.3, 0.9)
        return landscape.look(
            rng, position, _face(rng, position, half), fov_deg=(40, 95), horizon=horizon, roll_deg=4
        )

    return scene, aim


def terrace(rng: Generator) -> tuple[Scene, Aim]:
    """A terrace or balcony: paving, a railing, tables, plants in pots, a wall behind, the land below or level.

    Or a courtyard.
    """
    if rng.random() < 0.5:
        return _courtyard(rng)
    scene = landscape.begin(rng)
    half = rng.uniform((2.0, 1.4), (7, 4.5))
    drop = rng.uniform(2.5, 12) if rng.random() < 0.6 else rng.uniform(0.1, 0.5)
    hills = landscape.draw_land(rng, rng.uniform(0, 0.3), 15.0)

    def lowered(x: Floats, z: Floats) -> Floats:
        return np.maximum(hills.height(x, z), drop - 13) - drop

    land = Land(lowered)

    add(
        scene,
        landscape.terrain(land),
        [scene.either(materials.draw_green(scene), scene.draw(("asphalt", "stained", "foliage")))],
    )
    paving = scene.draw(("tiles", "wood", "tiles", "bricks", "plain"), period_m=rng.uniform(0.5, 2))
    add(scene, boxes((0, -drop / 2 - 0.05, 0), (half[0], drop / 2 + 0.05, half[1])), [paving])
    front = half[1]
    house = buildings.building(rng, half[0] + rng.uniform(1, 6), rng.uniform(2.7, 9) + 0.01, 4.0)
    stuff = materials.draw_house(scene)
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
    _plant(scene, land, half * 3.5, keep_out=half)
    for _ in range(int(rng.integers(0, 10))):
        away, angle = rng.uniform(14, 90), rng.uniform(-1.4, 1.4)
        x, z = away * math.sin(angle), away * math.cos(angle)
        part = buildings.building(rng, rng.uniform(4, 10), rng.uniform(3, 12), rng.uniform(4, 7))
        place = land.stand(np.array([[x, z]]), 0.2)[0]
        add(scene, part.moved(place, turn_about_y(math.pi + rng.normal(0, 0.8))), materials.draw_house(scene))
    landscape.add_far(scene, town=0.7)

    def aim(rng: Generator) -> Camera:
        position = _stand(scene, rng, half * 0.85, None, low=0.45)
        yaw = rng.normal(0, 0.7) if rng.random() < 0.6 else rng.uniform(-3.2, 3.2)
        horizon = (0.15, 0.7) if rng.random() < 0.75 else (-0.6, 0.9)
        return landscape.look(rng, position, yaw, fov_deg=(40, 95), horizon=horizon, roll_deg=4)

    return scene, aim


def _courtyard(rng: Generator) -> tuple[Scene, Aim]:
    """A yard or square between houses: paving, stairs, columns, a fountain, benches, pots, cars, people."""
    scene = landscape.begin(rng)
    half = rng.uniform((5, 5), (16, 16))
    level = landscape.draw_land(rng, 0.0)
    ground = scene.draw(("tiles", "bricks", "asphalt", "plain", "stained"), period_m=rng.uniform(0.6, 4))
    add(scene, landscape.terrain(level), [ground])
    tall = rng.uniform(3, 15)
    for side in range(4):
        if rng.random() < 0.75:
            _add_side(scene, half, side, tall * rng.uniform(0.7, 1.3))
    middles = _apart(rng, half * 0.8, 3.0, int(rng.integers(2, 9)))
    stone = scene.draw(("plain", "marble", "stained", "bricks"), period_m=rng.uniform(0.8, 2.5))
    dark = scene.draw(("plain", "stained"), tint=rng.uniform(0.2, 1.2), gloss=0.3)
    for x, z in middles:
        kind, turn = rng.random(), turn_about_y(rng.integers(4) * math.pi / 2 + rng.normal(0, 0.1))
        if kind < 0.3:
            out = np.array([x, z]) / np.abs(np.array([x, z]) / half).max()
            face = math.atan2(-out[0] / half[0], -out[1] / half[1])
            where = vec(out[0] * 0.85, 0, out[1] * 0.85)
            add(scene, street_things.stairs(rng).moved(where, turn_about_y(face)), [stone, dark])
        elif kind < 0.5:
            add(scene, street_things.colonnade(rng).moved((x, 0, z), turn), [stone])
        elif kind < 0.62:
            add(scene, street_things.fountain(rng).moved((x, 0, z), turn), [stone, dark])
        elif kind < 0.8:
            worn = [
                materials.draw_paint(scene),
                scene.draw(("plain",), tint=0.12, gloss=0.8),
                dark,
                dark,
                stone,
                dark,
            ]
            add(scene, vehicles.car(rng).moved((x, 0, z), turn), worn)
        else:
            _add_table_group(scene, np.array([x, z]))
    for spot in rng.uniform(-0.95, 0.95, (int(rng.integers(3, 16)), 2)) * half:
        kind = rng.random()
        if kind < 0.3:
            _add_bench(scene, spot, level)
        elif kind < 0.6:
            _add_pot(scene, vec(spot[0], 0, spot[1]))
        elif kind < 0.8:
            _add_person(scene, spot, None)
        else:
            parts = [vehicles.bicycle(rng).moved((0.6 * n, 0, 0)) for n in range(int(rng.integers(1, 5)))]
            row = join(parts).moved((spot[0], 0, spot[1]), turn_about_y(rng.uniform(0, 6.28)))
            add(scene, row, [materials.draw_paint(scene), dark, dark, dark])
    if rng.random() < 0.6:
        _plant(scene, level, half)
    landscape.add_far(scene, town=0.6)

    def aim(rng: Generator) -> Camera:
        position = _stand(scene, rng, half * 0.85, None, low=0.3)
        horizon = (0.3, 0.8) if rng.random() < 0.7 else (-0.2, 1.2)
        return landscape.look(
            rng, position, _face(rng, position, half), fov_deg=(38, 95), horizon=horizon, roll_deg=4
        )

    return scene, aim


def _add_side(scene: Scene, half: Floats, side: int, tall: float) -> None:
    """Close one side of a yard by one or two houses."""
    rng = scene.rng
    along, out = half[side % 2], half[1 - side % 2]
    cut = rng.uniform(-0.5, 0.5) * along if rng.random() < 0.5 else along
    turn = turn_about_y(side * math.pi / 2)
    for first, last in ((-along, cut), (cut, along)):
        if last - first > 3:
            deep = rng.uniform(3, 6)
            house = buildings.building(rng, (last - first) / 2, max(2.6, tall * rng.uniform(0.8, 1.2)), deep)
            middle = turn @ vec((first + last) / 2, 0, -out - deep - rng.uniform(0, 1.5))
            add(scene, house.moved(middle, turn), materials.draw_house(scene, lit=landscape.is_dark(scene)))


def _stand(scene: Scene, rng: Generator, half: Floats, land: Land | None, *, low: float) -> Vector:
    """Draw where a camera is: in a rectangle of half sizes (2,), at the land of eyes or, a share `low`, below."""
    x, z = rng.uniform(-1, 1, 2) * half
    above = rng.uniform(0.3, 1.2) if rng.random() < low else rng.uniform(1.2, 1.8)
    ground = 0.0 if land is None else land.at(x, z)
    return np.array([x, ground + above, z])


def _face(rng: Generator, position: Vector, half: Floats) -> float:
    """Draw where a camera looks: mostly across the rectangle that it is in."""
    x, z = rng.uniform(-0.9, 0.9, 2) * half
    return math.atan2(x - position[0], z - position[2]) if rng.random() < 0.7 else rng.uniform(-3.2, 3.2)


def _apart(rng: Generator, half: Floats, least_m: float, count: int) -> Floats:
    """Draw up to `count` spots (N, 2) that are so far from each other."""
    spots: list[Floats] = []
    for spot in rng.uniform(-1, 1, (count * 3, 2)) * half:
        if len(spots) < count and all(np.hypot(*(spot - other)) > least_m for other in spots):
            spots.append(spot)
    return np.array(spots).reshape(-1, 2)


def _add_lawn(scene: Scene, land: Land, far_m: float) -> None:
    rng = scene.rng
    spot = rng.normal(0, far_m * 0.5, (int(rng.integers(3000, 12000)), 2))
    high = rng.uniform(0.03, 0.3) if rng.random() < 0.7 else rng.uniform(0.03, 0.06)
    blades = plants.grass(rng, land.stand(spot, 0.01), high, rng.uniform(0.05, 0.12))
    green = materials.draw_green(scene)
    add(scene, blades, [green, green])


def _enclose(scene: Scene, half: Floats) -> None:
    """A hedge, fence or wall on each of four sides, or nothing."""
    rng = scene.rng
    stuff = [materials.draw_bark(scene), materials.draw_green(scene)]
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
            add(
                scene,
                boxes((0, high - 0.1, out), (along, high, rng.uniform(0.06, 0.2))).moved((0, 0, 0), turn),
                [wall],
            )


def _add_house(scene: Scene, half: Floats) -> None:
    """A house beyond one side, or a shed, its front towards the middle."""
    rng = scene.rng
    side, deep = int(rng.integers(4)), rng.uniform(3, 6)
    turn = turn_about_y(side * math.pi / 2)
    house = buildings.building(rng, rng.uniform(4, 10), rng.uniform(2.6, 8), deep)
    front = turn @ (rng.normal(0, 0.3) * half[side % 2], 0, -half[1 - side % 2] - deep - rng.uniform(-0.5, 3))
    add(scene, house.moved(front, turn @ turn_about_y(rng.normal(0, 0.1))), materials.draw_house(scene))
    if rng.random() < 0.4:
        shed = buildings.building(rng, rng.uniform(1, 2), rng.uniform(1.9, 2.5), rng.uniform(0.8, 1.8))
        at = turn_about_y(rng.integers(4) * math.pi / 2) @ (
            rng.uniform(-0.5, 0.5) * half[0],
            0,
            -0.8 * half.min(),
        )
        add(scene, shed.moved(at, turn_about_y(rng.uniform(0, 6.28))), materials.draw_house(scene))


def _plant(scene: Scene, land: Land, half: Floats, keep_out: Floats | None = None) -> None:
    """Trees, bushes along the sides, beds of flowers and of vegetables."""
    rng = scene.rng

    def spots(count: int, border: float) -> Floats:
        spot = rng.uniform(-1, 1, (count, 2))
        pushed = np.maximum(np.abs(spot).max(1, keepdims=True), 1e-6) / border
        spot = np.where(rng.random((count, 1)) < 0.7, spot / np.minimum(pushed, 1.0), spot) * half
        if keep_out is not None:
            spot = spot[(np.abs(spot) > keep_out + 1.0).any(1)]
        return land.stand(spot)

    def broadleaf() -> Piece:
        return trees.broadleaf(
            rng, rng.uniform(2.5, 9), rng.uniform(0.1, 0.2), leafy=rng.uniform(0, 1.2), detail=0.8
        )

    def conifer() -> Piece:
        return trees.conifer(rng, rng.uniform(2, 10), 0.15, 0.7)

    def bush() -> Piece:
        return trees.bush(rng, rng.uniform(0.2, 0.9, 3), rng.uniform(0.06, 0.12))

    def palm() -> Piece:
        return trees.palm(rng, rng.uniform(2, 7))

    kinds: tuple[tuple[int, float, Callable[[], Piece]], ...] = (
        (int(rng.integers(0, 7)), 0.95, broadleaf),
        (int(rng.integers(0, 4)), 1.0, conifer),
        (int(rng.integers(0, 16)), 0.9, bush),
        (int(rng.integers(0, 3)) if rng.random() < 0.15 else 0, 0.8, palm),
    )
    for count, border, grow in kinds:
        if count:
            grown = scatter(rng, [grow() for _ in range(min(3, count))], spots(count, border), scale=0.25)
            add(scene, grown, [materials.draw_bark(scene), materials.draw_green(scene)])
    for _ in range(int(rng.integers(0, 5))):  # beds
        crop = plants.CROPS[int(rng.integers(len(plants.CROPS)))][0]
        parts = [crop(rng, rng.uniform(0.15, 0.9), 4) for _ in range(3)]
        middle, reach = spots(1, 0.8), rng.uniform((0.4, 0.3), (3, 0.8))
        if len(middle):
            size = reach[:: int(rng.choice((-1, 1)))]
            spot = middle[0, ::2] + rng.uniform(-1, 1, (int(rng.integers(6, 80)), 2)) * size
            flower = materials.draw_bright(scene)
            green = materials.draw_green(scene)
            add(
                scene,
                scatter(rng, parts, land.stand(spot), scale=0.25),
                [green, green, flower],
            )


def _add_paving(scene: Scene, land: Land, half: Floats) -> None:
    """A path of slabs, and a paved place."""
    rng = scene.rng
    stone = scene.draw(("tiles", "plain", "bricks", "stained"), period_m=rng.uniform(0.5, 2))
    if rng.random() < 0.7:
        bend, x0, wide = rng.uniform(0, 6), rng.uniform(-0.5, 0.5) * half[0], rng.uniform(0.35, 0.8)
        z = np.arange(-half[1], half[1], 0.7)
        x = x0 + np.sin(z / 3 + bend)
        slabs = land.stand(np.stack([x, z], 1), 0.0) + vec(0, 0.01, 0)
        add(scene, boxes(slabs, (wide, 0.02, 0.33 if rng.random() < 0.5 else 0.36)), [stone])
    if rng.random() < 0.6:
        middle = rng.uniform(-0.7, 0.7, 2) * half
        reach = rng.uniform(1.2, 3.5, 2)
        add(scene, boxes((middle[0], 0.0, middle[1]), (reach[0], 0.12, reach[1])), [stone])
        _add_table_group(scene, middle, 0.12)


def _sit_and_play(scene: Scene, land: Land, half: Floats) -> None:
    """Chairs, pots, toys, tools, people, a line with washing."""
    rng = scene.rng
    for _ in range(int(rng.integers(0, 8))):
        spot = rng.uniform(-0.9, 0.9, 2) * half
        _add_pot(scene, land.stand(spot[None], 0.0)[0])
    for _ in range(int(rng.integers(0, 7))):
        x, z = rng.uniform(-0.8, 0.8, 2) * half
        add_thing(scene, Placement(np.array([x, land.at(x, z), z])), rng.uniform(0.1, 0.5))
    for _ in range(int(rng.integers(0, 3))):
        _add_person(scene, rng.uniform(-0.8, 0.8, 2) * half, land)
    if rng.random() < 0.3:
        _add_bench(scene, rng.uniform(-0.8, 0.8, 2) * half, land)
    if rng.random() < 0.25:
        spot = rng.uniform(-0.6, 0.6, 2) * half
        bright = [scene.draw(("plain",), tint=np.exp(rng.normal(0.2, 0.6, 3))) for _ in range(3)]
        part = (playthings.swing, playthings.slide, playthings.climbing_frame)[int(rng.integers(3))](rng)
        add(
            scene,
            part.moved(land.stand(spot[None], 0.0)[0], turn_about_y(rng.uniform(0, 6.28))),
            bright,
        )
    if rng.random() < 0.25:
        line = street_things.washing_line(rng)
        spot = rng.uniform(-0.7, 0.7, 2) * half
        turn = turn_about_y(rng.uniform(0, 6.28))
        add(scene, line.moved((spot[0], 0, spot[1]), turn), [scene.surface() for _ in range(4)])


def _add_person(scene: Scene, spot: Floats, land: Land | None) -> None:
    rng = scene.rng
    y = 0.0 if land is None else land.at(*spot)
    cloth = materials.draw_clothes(scene)
    size = rng.uniform(0.6, 0.85) if rng.random() < 0.4 else 1.0
    made = people.person(rng).moved((spot[0], y, spot[1]), turn_about_y(rng.uniform(0, 6.28)), 1.0)
    if size < 1:
        made = (
            people.person(rng)
            .moved((0, 0, 0), turn_about_y(rng.uniform(0, 6.28)), size)
            .moved((spot[0], y, spot[1]))
        )
    add(scene, made, cloth)


def _add_bench(scene: Scene, spot: Floats, land: Land) -> None:
    rng = scene.rng
    part = street_things.bench()
    place = land.stand(spot[None], 0.0)[0]
    add(
        scene,
        part.moved(place, turn_about_y(rng.uniform(0, 6.28))),
        [scene.draw(("wood", "plain")), scene.surface()],
    )


def _add_table_group(scene: Scene, spot: Floats, lift: float = 0.0) -> None:
    """A table with chairs round it, things on it, now and then a parasol."""
    rng = scene.rng
    place = Placement(np.array([spot[0], lift, spot[1]]), rng.uniform(0, 6.28))
    half, tall = rng.uniform((0.3, 0.3), (0.9, 0.5)), rng.uniform(0.65, 0.78)
    add_table(scene, place, float(half[0]), float(half[1]), tall)
    for turn in (0.0, math.pi / 2, math.pi, -math.pi / 2):
        if rng.random() < 0.65:
            out = (half[1] if turn in (0.0, math.pi) else half[0]) + rng.uniform(0.25, 0.6)
            add_chair(
                scene,
                place.moved(
                    out * math.sin(turn), 0, out * math.cos(turn), turn + math.pi + rng.normal(0, 0.2)
                ),
            )
    for _ in range(int(rng.integers(0, 6))):
        x, z = rng.uniform(-0.7, 0.7, 2) * half
        add_thing(scene, place.moved(x, tall, z), rng.uniform(0.04, 0.12))
    if rng.random() < 0.3:
        wide, high = rng.uniform(1.0, 1.9), rng.uniform(2.1, 2.6)
        rings = np.array([ellipse((0, high - 0.4, 0), wide, wide, 8), ellipse((0, high, 0), 0.04, 0.04, 8)])
        part = join([loft(rings, 1, capped=False), path([(0, 0, 0), (0, high, 0)], 0.025)])
        add(
            scene,
            part.moved(place.position),
            [scene.surface(), scene.draw(("plain", "stripes"), tint=rng.uniform(0.8, 1.6))],
        )


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
        plant = trees.broadleaf(
            rng, rng.uniform(0.8, 2.2), 0.08, bare_share=rng.uniform(0.2, 0.6), detail=0.15
        )
    parts = [loft(rings), plant.moved((0, 0.9 * high, 0)).wearing(1)]
    green = materials.draw_green(scene)
    bloom = materials.draw_bright(scene)
    add(
        scene,
        join(parts).moved(place),
        [scene.surface(), scene.either(green, materials.draw_bark(scene)), green, bloom],
    )


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
            parts.append(
                boxes((start + end) / 2 + up * 0.4, np.abs(end - start) / 2 + (0.1, 0.4 * high, 0.1))
            )
            continue
        step = rng.uniform(0.09, 0.16) if kind < 0.65 else rng.uniform(0.8, 1.8)
        share = np.linspace(0, 1, max(2, int(long / step)))[:, None]
        foot = start + share * (end - start)
        parts += [tubes(foot, foot + up, 0.012 if kind < 0.65 else 0.03, 0.012 if kind < 0.65 else 0.03, 0, 4),
                  path([start + up, end + up], 0.03, 0, 5)]  # fmt: skip
        if kind >= 0.65:
            parts += [
                path([start + up * level, end + up * level], 0.008, 0, 3)
                for level in np.linspace(0.15, 0.85, int(rng.integers(2, 7)))
            ]
    add(scene, join(parts), [metal])


def _add_pergola(scene: Scene, half: Floats) -> None:
    """Posts with beams over them."""
    rng = scene.rng
    high, (x, z) = rng.uniform(2.2, 2.8), half * 0.9
    foot = np.array([[a * x, 0, b * z] for a in (-1, 0, 1) for b in (-1, 1)])
    beams = np.linspace(-x, x, int(rng.integers(5, 18)))
    parts = [
        boxes(foot + vec(0, high / 2, 0), (0.05, high / 2, 0.05)),
        boxes([(0, high, b * z) for b in (-1, 1)], (x, 0.07, 0.04)),
        boxes(np.stack([beams, 0 * beams + high + 0.08, 0 * beams], 1), (0.03, 0.06, z * 1.1)),
    ]
    add(scene, join(parts), [scene.draw(("wood", "plain"), tint=rng.uniform(0.4, 1.5))])
