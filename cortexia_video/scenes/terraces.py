"""Terraces and balconies, with what is below or level; courtyards."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from cortexia_video.scenes import (
    buildings,
    landscape,
    street_things,
    vehicles,
    yards,
)
from cortexia_video.scenes import outdoor_materials as materials
from cortexia_video.scenes.description import Aim, Camera, Scene, rotation
from cortexia_video.scenes.landscape import Land, add
from cortexia_video.scenes.pieces import (
    Floats,
    boxes,
    join,
    path,
    tubes,
    vec,
)


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
    for spot in yards.apart(rng, half * 0.8, 1.7, int(rng.integers(1, 7))):
        yards.add_table_group(scene, spot)
    for _ in range(int(rng.integers(2, 14))):
        on_edge = rng.choice((-1, 1), 2) * half * 0.88
        spot = np.where(rng.random(2) < 0.5, on_edge, rng.uniform(-0.85, 0.85, 2) * half)
        yards.add_pot(scene, np.array([spot[0], 0.0, spot[1]]))
    for _ in range(int(rng.integers(0, 4))):
        yards.add_person(scene, rng.uniform(-0.8, 0.8, 2) * half, None)
    yards.plant(scene, land, half * 3.5, keep_out=half)
    for _ in range(int(rng.integers(0, 10))):
        away, angle = rng.uniform(14, 90), rng.uniform(-1.4, 1.4)
        x, z = away * math.sin(angle), away * math.cos(angle)
        part = buildings.building(rng, rng.uniform(4, 10), rng.uniform(3, 12), rng.uniform(4, 7))
        place = land.stand(np.array([[x, z]]), 0.2)[0]
        add(scene, part.moved(place, rotation(math.pi + rng.normal(0, 0.8))), materials.draw_house(scene))
    landscape.add_far(scene, town=0.7)

    def aim(rng: Generator) -> Camera:
        position = yards.stand(rng, half * 0.85, None, low=0.45)
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
    middles = yards.apart(rng, half * 0.8, 3.0, int(rng.integers(2, 9)))
    stone = scene.draw(("plain", "marble", "stained", "bricks"), period_m=rng.uniform(0.8, 2.5))
    dark = scene.draw(("plain", "stained"), tint=rng.uniform(0.2, 1.2), gloss=0.3)
    for x, z in middles:
        kind, turn = rng.random(), rotation(rng.integers(4) * math.pi / 2 + rng.normal(0, 0.1))
        if kind < 0.3:
            out = np.array([x, z]) / np.abs(np.array([x, z]) / half).max()
            face = math.atan2(-out[0] / half[0], -out[1] / half[1])
            where = vec(out[0] * 0.85, 0, out[1] * 0.85)
            add(scene, street_things.stairs(rng).moved(where, rotation(face)), [stone, dark])
        elif kind < 0.5:
            add(scene, street_things.colonnade(rng).moved((x, 0, z), turn), [stone])
        elif kind < 0.62:
            add(scene, street_things.fountain(rng).moved((x, 0, z), turn), [stone, dark])
        elif kind < 0.8:
            glass = [materials.draw_paint(scene), scene.draw(("plain",), tint=0.12, gloss=0.8)]
            add(scene, vehicles.car(rng).moved((x, 0, z), turn), [*glass, dark, dark, stone, dark])
        else:
            yards.add_table_group(scene, np.array([x, z]))
    for spot in rng.uniform(-0.95, 0.95, (int(rng.integers(3, 16)), 2)) * half:
        kind = rng.random()
        if kind < 0.3:
            yards.add_bench(scene, spot, level)
        elif kind < 0.6:
            yards.add_pot(scene, vec(spot[0], 0, spot[1]))
        elif kind < 0.8:
            yards.add_person(scene, spot, None)
        else:
            parts = [vehicles.bicycle(rng).moved((0.6 * n, 0, 0)) for n in range(int(rng.integers(1, 5)))]
            row = join(parts).moved((spot[0], 0, spot[1]), rotation(rng.uniform(0, 6.28)))
            add(scene, row, [materials.draw_paint(scene), dark, dark, dark])
    if rng.random() < 0.6:
        yards.plant(scene, level, half)
    landscape.add_far(scene, town=0.6)
    return scene, yards.look_across(scene, half, None, ((0.3, 0.8), (-0.2, 1.2)), low=0.3, roll_deg=4)


def _add_side(scene: Scene, half: Floats, side: int, tall: float) -> None:
    """Close one side of a yard by one or two houses."""
    rng = scene.rng
    along, out = half[side % 2], half[1 - side % 2]
    cut = rng.uniform(-0.5, 0.5) * along if rng.random() < 0.5 else along
    turn = rotation(side * math.pi / 2)
    for first, last in ((-along, cut), (cut, along)):
        if last - first > 3:
            deep = rng.uniform(3, 6)
            house = buildings.building(rng, (last - first) / 2, max(2.6, tall * rng.uniform(0.8, 1.2)), deep)
            middle = turn @ vec((first + last) / 2, 0, -out - deep - rng.uniform(0, 1.5))
            add(scene, house.moved(middle, turn), materials.draw_house(scene, lit=landscape.is_dark(scene)))


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
