"""Fields with plants in rows, vineyards and orchards, seen from low and from machines, along and across."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from cortexia_video.scenes import buildings, landscape, plants, trees, vehicles
from cortexia_video.scenes import outdoor_materials as materials
from cortexia_video.scenes.description import Aim, Camera, Material, Scene, rotation
from cortexia_video.scenes.landscape import Land, add
from cortexia_video.scenes.pieces import (
    Floats,
    Piece,
    ball,
    join,
    leaves,
    path,
    quads,
    scatter,
    tubes,
    vec,
)

_NEAR_M, _MIDDLE_M = 6.5, 22.0
"""How far from the middle plants have all their leaves, and how far they are single plants."""
_MOST_PLANTS = 2600
_FINE_M = 14.0
"""How far from the middle soil is finely meshed."""


def rows(rng: Generator) -> tuple[Scene, Aim]:
    """A field of plants in rows, a vineyard or an orchard; rows run along z."""
    scene = landscape.begin(rng)
    kind = rng.random()
    if kind < 0.76:
        land, spacing, tall = _crop_rows(scene)
    else:
        land, spacing, tall = _wood_rows(scene, vines=kind < 0.9)
    _add_surroundings(scene, land)
    landscape.add_far(scene, town=0.1)
    low = tall < 0.9

    def aim(rng: Generator) -> Camera:
        x = (
            int(rng.integers(-2, 2)) + 0.5 + rng.normal(0, 0.12)
        ) * spacing  # between rows, where plants are tall
        z = rng.uniform(-4, 4)
        if low and rng.random() < 0.5:
            x = rng.uniform(-3, 3)
        above = rng.uniform(0.35, 1.0) if rng.random() < 0.45 else rng.uniform(1.0, 2.6)
        if rng.random() < 0.3 and low:
            above = max(above, tall + 0.2)
        around = rng.random()
        yaw = rng.normal(0, 0.12) if around < 0.5 else rng.uniform(-3.2, 3.2)
        yaw += math.pi * (rng.random() < 0.4)
        down = rng.random()
        horizon = (0.25, 0.6) if down < 0.35 else (-0.5, 0.25) if down < 0.75 else (-2.2, -0.5)
        ground = land.at(x, z)
        position = np.array([x, ground + above, z])
        return landscape.look(rng, position, yaw, fov_deg=(40, 95), horizon=horizon, roll_deg=3)

    return scene, aim


class Crop(NamedTuple):
    """What a field grows: a plant of a height, metres; the spacing of rows, and of plants in a row."""

    grow: Callable[[Generator, float, int], Piece]
    tall: float
    spacing: float
    apart: float


def _crop_rows(scene: Scene) -> tuple[Land, float, float]:
    """Low plants in rows on soil: return the ground, the spacing and the height of the plants."""
    rng = scene.rng
    grow, span, _ = plants.CROPS[int(rng.choice(len(plants.CROPS), p=[each[2] for each in plants.CROPS]))]
    tall = math.exp(rng.uniform(*np.log(span)))
    spacing = max(rng.uniform(0.35, 0.9), 0.8 * tall)
    crop = Crop(grow, tall, spacing, tall * rng.uniform(0.5, 1.4) + 0.04)
    land, soil = _lay_soil(scene, spacing)
    leaf = materials.draw_green(scene)
    stem = scene.draw(("plain", "foliage"), tint=np.array([0.9, 1.1, 0.6]) * rng.uniform(0.4, 1.1))
    flower = materials.draw_bright(scene)
    _plant_rows(scene, land, crop, [stem, leaf, flower])
    if rng.random() < 0.5:  # weeds
        spot = rng.uniform(-7, 7, (int(rng.integers(20, 600)), 2))
        size = rng.uniform(0.04, 0.2)
        weeds = [plants.CROPS[int(rng.integers(2))][0](rng, size, 3) for _ in range(3)]
        grown = scatter(rng, weeds, land.stand(spot), scale=0.5)
        add(scene, grown, [stem, materials.draw_green(scene), flower])
    if rng.random() < 0.4:  # clods and stones
        spot = rng.uniform(-6, 6, (int(rng.integers(50, 500)), 2))
        stones = [ball((0, 0, 0), rng.uniform(0.015, 0.06, 3), 0, 5) for _ in range(4)]
        strewn = scatter(rng, stones, land.stand(spot, 0.0), scale=0.5)
        add(scene, strewn, [scene.either(soil, materials.draw_soil(scene))])
    return land, spacing, tall


def _lay_soil(scene: Scene, spacing: float) -> tuple[Land, Material]:
    """Lay soil, flat or in ridges along z, finely near the middle; return the ground and the soil."""
    rng = scene.rng
    ridge = rng.uniform(0, 0.14) * (rng.random() < 0.5) * spacing
    hills = landscape.draw_land(rng, rng.uniform(0, 0.35) ** 2, 25.0)

    def ridged(x: Floats, z: Floats) -> Floats:
        near = np.clip(1.6 - np.hypot(x, z) / 25, 0, 1)
        level: Floats = hills.height(x, z) + ridge * near * (np.cos(2 * np.pi * x / spacing) - 1)
        return level

    def below(x: Floats, z: Floats) -> Floats:
        return ridged(x, z) - 0.05 * (np.maximum(abs(x), abs(z)) < _FINE_M - 1)

    soil = materials.draw_soil(scene)
    axis_x = np.arange(-_FINE_M, _FINE_M + 0.01, spacing / 6 if ridge else 0.25)
    x, z = np.meshgrid(axis_x, np.arange(-_FINE_M, _FINE_M + 0.01, 0.25))
    points = np.stack([x, ridged(x, z) + rng.normal(0, rng.uniform(0.002, 0.02), x.shape), z], 2)
    cells = np.stack([points[:-1, :-1], points[:-1, 1:], points[1:, 1:], points[1:, :-1]], 2)
    fine = quads(cells.reshape(-1, 4, 3))
    add(scene, Piece(fine.corners, fine.corners[:, :, ::2].copy(), fine.material), [soil])
    add(scene, landscape.terrain(Land(below)), [soil])
    return Land(ridged), soil


def _plant_rows(scene: Scene, land: Land, crop: Crop, worn: list[Material]) -> None:
    """Plant rows: each leaf near the middle, coarser plants farther out, ridges beyond."""
    rng, missing = scene.rng, scene.rng.uniform(0, 0.15)
    lines = np.arange(-60, 61) * crop.spacing
    places = []
    for line in lines[np.abs(lines) < _MIDDLE_M]:
        at = np.arange(-_MIDDLE_M, _MIDDLE_M, crop.apart)
        at = at[rng.random(len(at)) > missing]
        x = line + rng.normal(0, 0.05 * crop.spacing, len(at))
        places.append(np.stack([x, at + rng.normal(0, 0.1 * crop.apart, len(at))], 1))
    spot = np.concatenate(places)
    away = np.hypot(*spot.T)
    near, middle = spot[away < _NEAR_M], spot[(away >= _NEAR_M) & (away < _MIDDLE_M)]
    near = near[rng.random(len(near)) < min(1.0, _MOST_PLANTS / max(1, len(near)))]
    swell = 1.0
    if len(middle) > 4 * _MOST_PLANTS:  # fewer, larger ones stand for all
        swell = (len(middle) / (4 * _MOST_PLANTS)) ** 0.5
        middle = middle[:: math.ceil(swell**2)]
    fine = [crop.grow(rng, crop.tall, 4) for _ in range(6)]
    coarse = [crop.grow(rng, crop.tall * swell**0.5, 2) for _ in range(6)]
    add(scene, scatter(rng, fine, land.stand(near), scale=0.2), worn)
    add(scene, scatter(rng, coarse, land.stand(middle), scale=0.2), worn)
    add(scene, _far_rows(rng, land, crop.spacing, crop.tall), [worn[1]])


def _far_rows(rng: Generator, land: Land, spacing: float, tall: float) -> Piece:
    """Rows from where plants are no longer single, as uneven ridges."""
    step = max(0.5, spacing)
    z = np.arange(-130, 130, step)
    parts = []
    for line in np.arange(-110, 110, max(spacing, 0.8)):
        top = tall * rng.uniform(0.6, 1.0, len(z))
        inside = np.hypot(line, z) < _MIDDLE_M
        here = np.stack([np.full_like(z, line), land.height(np.full_like(z, line), z), z], 1)
        half = np.minimum(0.3 * spacing, 0.5 * tall) * rng.uniform(0.7, 1.2, len(z))
        ring = np.stack(
            [
                here - half[:, None] * (1, 0, 0),
                here + top[:, None] * (0, 0.9, 0),
                here + half[:, None] * (1, 0, 0),
            ],
            1,
        )
        cells = np.stack([ring[:-1, :-1], ring[:-1, 1:], ring[1:, 1:], ring[1:, :-1]], 2)
        parts.append(quads(cells[~(inside[:-1] | inside[1:])].reshape(-1, 4, 3)))
    return join(parts)


def _wood_rows(scene: Scene, *, vines: bool) -> tuple[Land, float, float]:
    """Vines on wires between posts, or fruit trees: return the ground, the spacing and the height."""
    rng = scene.rng
    hills = landscape.draw_land(rng, rng.uniform(0, 0.5) ** 1.5, 8.0)
    ground = scene.either(materials.draw_green(scene), materials.draw_soil(scene))
    add(scene, landscape.terrain(hills, rough_m=0.015, rng=rng), [ground])
    spacing, tall = (
        (rng.uniform(1.6, 2.6), rng.uniform(1.2, 2.0))
        if vines
        else (rng.uniform(3.2, 6), rng.uniform(2.2, 4.5))
    )
    stuff = [materials.draw_bark(scene), materials.draw_green(scene)]
    z = np.arange(-40, 75, 0.9 if vines else spacing * rng.uniform(0.5, 1.0))
    lines = (np.arange(-12, 12) + 0.5) * spacing - 0.5 * spacing
    spot = np.stack([each.ravel() for each in np.meshgrid(lines, z)], 1)
    spot = spot[rng.random(len(spot)) > 0.06] + 0.0
    spot += rng.normal(0, 0.05 if vines else 0.2, spot.shape)
    away = np.hypot(*spot.T)
    for near, leaf_m, (low, high) in ((True, 0.11, (0, 12)), (False, 0.3, (12, 90))):
        if vines:
            parts = [_vine(rng, tall, leaf_m if near else 0.22) for _ in range(4)]
        else:
            parts = [
                trees.broadleaf(
                    rng, tall, leaf_m, bare_share=rng.uniform(0.12, 0.3), detail=0.4 if near else 0.07
                )
                for _ in range(3)
            ]
        chosen = spot[(away >= low) & (away < high)]
        yaw = rng.choice((0, math.pi), len(chosen)) if vines else None
        add(scene, scatter(rng, parts, hills.stand(chosen), scale=0.08, yaw=yaw), stuff)
    if vines:
        along = np.arange(-40, 75, 4.5)
        at = np.stack([each.ravel() for each in np.meshgrid(lines, along)], 1)
        foot = hills.stand(at, 0.1)
        posts = tubes(foot, foot + vec(0, tall + 0.15, 0), 0.035, 0.035, 0, 5)
        wires = []
        for line in lines:
            way = hills.stand(np.stack([np.full(len(along), line), along], 1))
            wires += [path(way + vec(0, level * tall, 0), 0.004, 0, 3) for level in (0.45, 0.8, 1.0)]
        add(scene, join([posts, *wires]), [scene.draw(("wood", "plain"), tint=rng.uniform(0.4, 1.2))])
    return hills, spacing, tall


def _vine(rng: Generator, tall: float, leaf_m: float) -> Piece:
    """A vine of a metre of a row along z: a stem, and a wall of leaves."""
    stem = path(
        [(0, 0, 0), (rng.normal(0, 0.05), 0.3 * tall, 0), (0, 0.5 * tall, rng.normal(0, 0.1))],
        [0.04, 0.03, 0.02],
    )
    count = int(np.clip(1.6 * tall / leaf_m**2, 40, 260))
    at = np.stack(
        [rng.normal(0, 0.12, count), tall * rng.uniform(0.38, 1.08, count), rng.uniform(-0.55, 0.55, count)],
        1,
    )
    return join([stem, leaves(rng, at, leaf_m * 1.2, width=0.9, material=1)])


def _add_surroundings(scene: Scene, land: Land) -> None:
    """A belt of trees, single trees, a farm, a machine, poles, at distances from 15 to 200 m."""
    rng = scene.rng
    if rng.random() < 0.6:
        parts = [trees.broadleaf(rng, rng.uniform(5, 13), 0.4, detail=0.25) for _ in range(3)]
        count, angle = int(rng.integers(1, 30)), rng.uniform(0, 6.28)
        bearing, away = (
            angle + rng.normal(0, rng.uniform(0.1, 1.2), count),
            np.exp(rng.uniform(3.3, 5.0, count)),
        )
        spot = land.stand(np.stack([away * np.sin(bearing), away * np.cos(bearing)], 1))
        add(
            scene,
            scatter(rng, parts, spot, scale=0.25),
            [materials.draw_bark(scene), materials.draw_green(scene)],
        )
    for _ in range(int(rng.integers(0, 3))):
        far, where = math.exp(rng.uniform(3.4, 5.1)), rng.uniform(0, 6.28)
        place = land.stand(far * np.array([[math.sin(where), math.cos(where)]]))[0]
        house = buildings.building(rng, rng.uniform(4, 12), rng.uniform(2.6, 6), rng.uniform(4, 7))
        stuff = [scene.draw(("plain", "bricks", "wood"), period_m=2) for _ in range(6)]
        add(scene, house.moved(place, rotation(rng.uniform(0, 6.28))), stuff)
    if rng.random() < 0.2:
        far, where = rng.uniform(9, 40), rng.uniform(0, 6.28)
        place = land.stand(far * np.array([[math.sin(where), math.cos(where)]]))[0]
        stuff = [scene.draw(("plain",), gloss=0.3, tint=rng.uniform(0.2, 1.8)) for _ in range(6)]
        machine = vehicles.truck(rng) if rng.random() < 0.4 else vehicles.car(rng)
        add(scene, machine.moved(place, rotation(rng.uniform(0, 6.28))), stuff)
    if rng.random() < 0.25:
        along = np.arange(-120, 200, 35.0)
        x = np.full(len(along), rng.choice((-1, 1)) * rng.uniform(9, 50))
        foot = land.stand(np.stack([x, along], 1))
        add(scene, tubes(foot, foot + vec(0, 8, 0), 0.13, 0.1, 0, 6), [materials.draw_bark(scene)])
