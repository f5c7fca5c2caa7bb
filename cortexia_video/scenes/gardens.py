"""Gardens and playgrounds: what is near outdoors, with houses and trees behind."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from cortexia_video.scenes import (
    buildings,
    landscape,
    plants,
    playthings,
    street_things,
    trees,
    yards,
)
from cortexia_video.scenes import outdoor_materials as materials
from cortexia_video.scenes.description import Aim, Placement, Scene, rotation
from cortexia_video.scenes.landscape import Land, add
from cortexia_video.scenes.pieces import (
    Floats,
    boxes,
    join,
    vec,
)
from cortexia_video.scenes.things import add_thing


def garden(rng: Generator) -> tuple[Scene, Aim]:
    """A garden: lawn, beds, hedges, fences, trees, a house, a shed, chairs, pots."""
    scene = landscape.begin(rng)
    land = landscape.draw_land(rng, rng.uniform(0, 0.12), 4.0)
    add(scene, landscape.terrain(land, rough_m=0.01, rng=rng), [materials.draw_green(scene)])
    half = rng.uniform(4, 12, 2)
    spot = rng.normal(0, float(half.max()) * 0.5, (int(rng.integers(3000, 12000)), 2))  # the lawn
    high = rng.uniform(0.03, 0.3) if rng.random() < 0.7 else rng.uniform(0.03, 0.06)
    blades = plants.grass(rng, land.stand(spot, 0.01), high, rng.uniform(0.05, 0.12))
    green = materials.draw_green(scene)
    add(scene, blades, [green, green])
    _enclose(scene, half)
    _add_house(scene, half)
    yards.plant(scene, land, half)
    _add_paving(scene, land, half)
    _sit_and_play(scene, land, half)
    landscape.add_far(scene, town=0.3)
    horizons = ((0.2, 0.7), (-0.6, 1.0))
    return scene, yards.look_across(scene, half, land, horizons, low=0.35, roll_deg=5)


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
    spots = yards.apart(rng, half, 2.6, int(rng.integers(5, 13)))
    for spot in spots:
        build = playthings.PLAYTHINGS[int(rng.choice(len(shares), p=shares))][0]
        part = build(rng)
        place = land.stand(spot[None], 0.0)[0]
        bright = [materials.draw_bright(scene) for _ in range(2)]
        metal = scene.draw(("plain", "wood"), gloss=0.3, tint=rng.uniform(0.3, 1.4))
        add(scene, part.moved(place, rotation(rng.uniform(0, 6.28))), [metal, *bright])
    for _ in range(int(rng.integers(0, 9))):
        yards.add_person(scene, rng.uniform(-1, 1, 2) * half, land)
    for spot in rng.uniform(-1, 1, (int(rng.integers(1, 6)), 2)) * half * 1.1:
        yards.add_bench(scene, spot, land)
    if rng.random() < 0.7:
        _enclose(scene, half * 1.25)
    yards.plant(scene, land, half * 1.3)
    for _ in range(int(rng.integers(0, 4))):
        _add_house(scene, half * rng.uniform(1.3, 3))
    landscape.add_far(scene, town=0.6)
    horizons = ((0.25, 0.7), (-0.3, 0.9))
    return scene, yards.look_across(
        scene, half, land, horizons, low=0.3, reach=1.0, mostly=0.75, fov_deg=(40, 95), roll_deg=4
    )


def _enclose(scene: Scene, half: Floats) -> None:
    """A hedge, fence or wall on each of four sides, or nothing."""
    rng = scene.rng
    stuff = [materials.draw_bark(scene), materials.draw_green(scene)]
    board = scene.draw(("wood", "plain", "stained"), tint=rng.uniform(0.3, 1.6))
    wall = scene.draw(("bricks", "plain", "stained", "tiles"), period_m=rng.uniform(0.8, 3))
    for side in range(4):
        along, out = half[side % 2], half[1 - side % 2]
        turn = rotation(side * math.pi / 2)
        kind = rng.random()
        if kind < 0.3:
            high, thick = rng.uniform(0.4, 1.1), rng.uniform(0.25, 0.5)
            count = max(1, round(along / 2))
            part = trees.hedge(rng, np.array([thick, high, along / count]), 0.09)
            lay = rotation(math.pi / 2)
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
    turn = rotation(side * math.pi / 2)
    house = buildings.building(rng, rng.uniform(4, 10), rng.uniform(2.6, 8), deep)
    front = turn @ (rng.normal(0, 0.3) * half[side % 2], 0, -half[1 - side % 2] - deep - rng.uniform(-0.5, 3))
    add(scene, house.moved(front, turn @ rotation(rng.normal(0, 0.1))), materials.draw_house(scene))
    if rng.random() < 0.4:
        shed = buildings.building(rng, rng.uniform(1, 2), rng.uniform(1.9, 2.5), rng.uniform(0.8, 1.8))
        at = rotation(rng.integers(4) * math.pi / 2) @ (
            rng.uniform(-0.5, 0.5) * half[0],
            0,
            -0.8 * half.min(),
        )
        add(scene, shed.moved(at, rotation(rng.uniform(0, 6.28))), materials.draw_house(scene))


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
        yards.add_table_group(scene, middle, 0.12)


def _sit_and_play(scene: Scene, land: Land, half: Floats) -> None:
    """Chairs, pots, toys, tools, people, a line with washing."""
    rng = scene.rng
    for _ in range(int(rng.integers(0, 8))):
        spot = rng.uniform(-0.9, 0.9, 2) * half
        yards.add_pot(scene, land.stand(spot[None], 0.0)[0])
    for _ in range(int(rng.integers(0, 7))):
        x, z = rng.uniform(-0.8, 0.8, 2) * half
        add_thing(scene, Placement(np.array([x, land.at(x, z), z])), rng.uniform(0.1, 0.5))
    for _ in range(int(rng.integers(0, 3))):
        yards.add_person(scene, rng.uniform(-0.8, 0.8, 2) * half, land)
    if rng.random() < 0.3:
        yards.add_bench(scene, rng.uniform(-0.8, 0.8, 2) * half, land)
    if rng.random() < 0.25:
        spot = rng.uniform(-0.6, 0.6, 2) * half
        bright = [scene.draw(("plain",), tint=np.exp(rng.normal(0.2, 0.6, 3))) for _ in range(3)]
        part = (playthings.swing, playthings.slide, playthings.climbing_frame)[int(rng.integers(3))](rng)
        add(
            scene,
            part.moved(land.stand(spot[None], 0.0)[0], rotation(rng.uniform(0, 6.28))),
            bright,
        )
    if rng.random() < 0.25:
        line = street_things.washing_line(rng)
        spot = rng.uniform(-0.7, 0.7, 2) * half
        turn = rotation(rng.uniform(0, 6.28))
        add(scene, line.moved((spot[0], 0, spot[1]), turn), [scene.surface() for _ in range(4)])
