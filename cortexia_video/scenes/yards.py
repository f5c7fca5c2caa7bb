"""What gardens, playgrounds, terraces and courtyards share: people, seats, pots, plants, where cameras stand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from cortexia_video.scenes import outdoor_materials as materials
from cortexia_video.scenes import (
    people,
    plants,
    street_things,
    trees,
)
from cortexia_video.scenes.description import Aim, Camera, Placement, Scene, Vector, rotation
from cortexia_video.scenes.furniture import add_chair, add_table
from cortexia_video.scenes.landscape import Land, add, look
from cortexia_video.scenes.pieces import (
    Floats,
    Piece,
    ellipse,
    join,
    loft,
    path,
    scatter,
)
from cortexia_video.scenes.things import add_thing


def stand(rng: Generator, half: Floats, land: Land | None, *, low: float) -> Vector:
    """Draw where a camera is: in a rectangle of half sizes (2,), at the land of eyes or, a share `low`, below."""
    x, z = rng.uniform(-1, 1, 2) * half
    above = rng.uniform(0.3, 1.2) if rng.random() < low else rng.uniform(1.2, 1.8)
    ground = 0.0 if land is None else land.at(x, z)
    return np.array([x, ground + above, z])


def face(rng: Generator, position: Vector, half: Floats) -> float:
    """Draw where a camera looks: mostly across the rectangle that it is in."""
    x, z = rng.uniform(-0.9, 0.9, 2) * half
    return math.atan2(x - position[0], z - position[2]) if rng.random() < 0.7 else rng.uniform(-3.2, 3.2)


def look_across(
    scene: Scene,
    half: Floats,
    land: Land | None,
    horizons: tuple[tuple[float, float], tuple[float, float]],
    *,
    low: float,
    reach: float = 0.85,
    mostly: float = 0.7,
    fov_deg: tuple[float, float] = (38, 95),
    roll_deg: float,
) -> Aim:
    """Return what draws cameras that look across a rectangle.

    reach: share of it that they stand on. low: as of `stand`. horizons: as of `landscape.look`; the first `mostly`.
    """

    def aim(rng: Generator) -> Camera:
        position = stand(rng, half * reach, land, low=low)
        horizon = horizons[0] if rng.random() < mostly else horizons[1]
        yaw = face(rng, position, half)
        return look(rng, position, yaw, fov_deg=fov_deg, horizon=horizon, roll_deg=roll_deg)

    return aim


def apart(rng: Generator, half: Floats, least_m: float, count: int) -> Floats:
    """Draw up to `count` spots (N, 2) that are so far from each other."""
    spots: list[Floats] = []
    for spot in rng.uniform(-1, 1, (count * 3, 2)) * half:
        if len(spots) < count and all(np.hypot(*(spot - other)) > least_m for other in spots):
            spots.append(spot)
    return np.array(spots).reshape(-1, 2)


def plant(scene: Scene, land: Land, half: Floats, keep_out: Floats | None = None) -> None:
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


def add_person(scene: Scene, spot: Floats, land: Land | None) -> None:
    rng = scene.rng
    y = 0.0 if land is None else land.at(*spot)
    cloth = materials.draw_clothes(scene)
    size = rng.uniform(0.6, 0.85) if rng.random() < 0.4 else 1.0
    made = people.person(rng).moved((spot[0], y, spot[1]), rotation(rng.uniform(0, 6.28)), 1.0)
    if size < 1:
        made = (
            people.person(rng)
            .moved((0, 0, 0), rotation(rng.uniform(0, 6.28)), size)
            .moved((spot[0], y, spot[1]))
        )
    add(scene, made, cloth)


def add_bench(scene: Scene, spot: Floats, land: Land) -> None:
    rng = scene.rng
    part = street_things.bench()
    place = land.stand(spot[None], 0.0)[0]
    add(
        scene,
        part.moved(place, rotation(rng.uniform(0, 6.28))),
        [scene.draw(("wood", "plain")), scene.surface()],
    )


def add_table_group(scene: Scene, spot: Floats, lift: float = 0.0) -> None:
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


def add_pot(scene: Scene, place: Vector) -> None:
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
