"""Woods and their edges: trunks near and far, undergrowth, rocks, fallen trunks, a path, a meadow."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from cortexia_video.scenes import landscape, plants, trees
from cortexia_video.scenes import outdoor_materials as materials
from cortexia_video.scenes.description import Aim, Camera, Scene
from cortexia_video.scenes.landscape import Land, add
from cortexia_video.scenes.pieces import Floats, Piece, ball, join, path, quads, scatter, vec

Line = Callable[[Floats], Floats]
"""x of a path over z."""

_DEEP_M = 75.0
_CLEAR_M = 0.7  # about places where cameras may stand


def forest(rng: Generator) -> tuple[Scene, Aim]:
    """A wood, dense or open, or its edge on a meadow; on uneven ground, now and then with a path."""
    scene = landscape.begin(rng)
    land = landscape.draw_land(rng, rng.uniform(0.02, 0.5), 5.0)
    is_edge = rng.random() < 0.35
    bend = rng.uniform(0, 6.28)
    has_path = rng.random() < 0.4
    ground = [materials.draw_soil(scene), materials.draw_green(scene)][int(rng.random() < 0.5)]
    add(scene, landscape.terrain(land, rough_m=rng.uniform(0, 0.05), rng=rng), [ground])

    def middle(z: Floats) -> Floats:
        """x of the path at z, which cameras and gaps between trees follow."""
        way: Floats = 1.5 * np.sin(z / 9 + bend) + 3 * np.sin(z / 31 + bend) - 4.5 * np.sin(bend)
        return way

    if has_path:
        _add_path(scene, land, middle)
    _add_trees(scene, land, middle, is_edge, 0.9 if has_path else 0.0)
    _add_undergrowth(scene, land, middle, 0.6 if has_path else 0.0)
    landscape.add_far(scene, town=0.05)

    def aim(rng: Generator) -> Camera:
        z = rng.uniform(-9, 9)
        x = float(middle(np.array(z))) + rng.normal(0, 0.5)
        around = rng.normal(0, 0.35) if rng.random() < 0.45 else rng.uniform(-3.2, 3.2)
        above = rng.uniform(1.3, 1.8) if rng.random() < 0.6 else rng.uniform(0.2, 1.2)
        horizon = (0.25, 0.75) if rng.random() < 0.75 else (-0.3, 1.3)
        position = np.array([x, land.at(x, z) + above, z])
        yaw = around + math.pi * (rng.random() < 0.4)
        return landscape.look(rng, position, yaw, fov_deg=(38, 95), horizon=horizon, roll_deg=5)

    return scene, aim


def _add_path(scene: Scene, land: Land, middle: Line) -> None:
    rng = scene.rng
    z = np.arange(-60, 60, 0.5)
    half = rng.uniform(0.4, 1.5)
    edges = [middle(z) + side * half * (1 + 0.15 * np.sin(z * 1.7 + side)) for side in (-1, 0, 1)]
    points = np.stack([land.stand(np.stack([x, z], 1), -0.04) for x in edges], 1)
    cells = np.stack([points[:-1, :-1], points[:-1, 1:], points[1:, 1:], points[1:, :-1]], 2)
    made = quads(cells.reshape(-1, 4, 3))
    add(
        scene,
        Piece(made.corners, made.corners[:, :, ::2].copy(), made.material),
        [materials.draw_soil(scene)],
    )


def _add_trees(scene: Scene, land: Land, middle: Line, is_edge: bool, clear_m: float) -> None:
    """One to three kinds, each fine near the middle and coarse far off."""
    rng = scene.rng
    share = rng.uniform(0.02, 0.075)  # trees per square metre, near
    span = rng.uniform(5, 9) if rng.random() < 0.3 else rng.uniform(9, 19)
    count = int(share * 4 * 30**2)
    spot = rng.uniform(-30, 30, (count, 2))
    far = int(70 + 900 * share)
    angle, away = rng.uniform(0, 6.28, far), 30 + (_DEEP_M - 30) * rng.random(far)
    spot = np.concatenate([spot, np.stack([away * np.sin(angle), away * np.cos(angle)], 1)])
    off = np.abs(spot[:, 0] - middle(spot[:, 1]))
    keep = (off > clear_m + _CLEAR_M) | (np.abs(spot[:, 1]) > 12) & (off > clear_m)
    if is_edge:
        line, depth = rng.uniform(0, 6.28), rng.uniform(-4, 9)
        keep &= spot[:, 0] * math.cos(line) + spot[:, 1] * math.sin(line) > depth + 2 * np.sin(
            spot.sum(1) / 5
        )
    spot = spot[keep]
    kinds = int(rng.integers(1, 4))
    drawn = rng.integers(kinds, size=len(spot))
    away = np.hypot(*spot.T)
    for kind in range(kinds):
        grow = _draw_kind(rng)
        bark, green = materials.draw_bark(scene), materials.draw_green(scene)
        for low, high, detail, models in ((0, 11, 1.0, 3), (11, 32, 0.16, 2), (32, 200, 0.06, 2)):
            mine = spot[(drawn == kind) & (away >= low) & (away < high)]
            if len(mine):
                parts = [grow(span * rng.uniform(0.7, 1.2), detail) for _ in range(models)]
                add(
                    scene,
                    scatter(rng, parts, land.stand(mine, 0.1), scale=0.2),
                    [bark, green],
                )


def _draw_kind(rng: Generator) -> Callable[[float, float], Piece]:
    """Draw what grows to a height, in more or less detail."""
    kind, leaf_m = rng.random(), rng.uniform(0.1, 0.2)
    if kind < 0.3:
        return lambda tall, detail: trees.conifer(rng, tall, leaf_m, detail)
    leafy = 0.0 if kind > 0.88 else rng.uniform(0.4, 1.1)
    bare = rng.uniform(0.15, 0.65)
    return lambda tall, detail: trees.broadleaf(
        rng, tall, leaf_m, leafy=leafy, bare_share=bare, detail=detail
    )


def _add_undergrowth(scene: Scene, land: Land, middle: Line, clear_m: float) -> None:
    """Grass, ferns, bushes, saplings, rocks, fallen trunks and twigs."""
    rng = scene.rng
    stem = materials.draw_bark(scene)

    def spots(count: int, far_m: float) -> Floats:
        at = rng.normal(0, far_m / 2, (count, 2))
        at = at[np.abs(at[:, 0] - middle(at[:, 1])) > clear_m]
        return land.stand(at)

    if rng.random() < 0.7:
        count = int(rng.integers(1000, 14000))
        add(
            scene,
            plants.grass(
                rng, spots(count, rng.uniform(8, 18)), rng.uniform(0.08, 0.5), rng.uniform(0.03, 0.1)
            ),
            [stem, materials.draw_green(scene)],
        )
    if rng.random() < 0.6:
        parts = [plants.rosette(rng, rng.uniform(0.2, 0.8), 4) for _ in range(3)]
        add(
            scene,
            scatter(rng, parts, spots(int(rng.integers(10, 300)), 18), scale=0.3),
            [stem, materials.draw_green(scene)],
        )
    if rng.random() < 0.7:
        parts = [trees.bush(rng, rng.uniform(0.25, 1.2, 3), 0.1) for _ in range(3)]
        at = spots(int(rng.integers(3, 40)), 30)
        at = at[np.abs(at[:, 0] - middle(at[:, 2])) > clear_m + 1.4]
        add(scene, scatter(rng, parts, at, scale=0.3), [stem, materials.draw_green(scene)])
    if rng.random() < 0.5:
        parts = [
            trees.broadleaf(
                rng, rng.uniform(1, 3), 0.1, leafy=rng.uniform(0, 0.4), bare_share=0.2, detail=0.2
            )
            for _ in range(3)
        ]
        at = spots(int(rng.integers(3, 40)), 20)
        add(scene, scatter(rng, parts, at, scale=0.3), [stem, materials.draw_green(scene)])
    if rng.random() < 0.5:
        parts = [_rock(rng) for _ in range(3)]
        at = spots(int(rng.integers(2, 30)), 16)
        at = at[np.abs(at[:, 0] - middle(at[:, 2])) > clear_m + 1.0]
        stone = scene.draw(("stained", "asphalt", "marble"), period_m=rng.uniform(0.5, 2))
        add(scene, scatter(rng, parts, at, scale=0.5), [stone])
    fallen = []
    for _ in range(int(rng.integers(0, 12))):
        at, angle, half = rng.normal(0, 8, 2), rng.uniform(0, 6.28), rng.uniform(0.4, 4)
        radius = half * rng.uniform(0.02, 0.07)
        ends = np.stack([at, at]) + np.array([[-1], [1]]) * half * np.array(
            [math.sin(angle), math.cos(angle)]
        )
        line = land.stand(ends, -radius * 0.6) + vec(0, rng.uniform(0, 0.3), 0)
        fallen.append(path(line, [radius, 0.6 * radius], 0, 7))
    add(scene, join(fallen), [stem])


def _rock(rng: Generator) -> Piece:
    """A boulder: a ball with dents."""
    made = ball((0, 0, 0), (1, 1, 1), 0, 10)
    wave = rng.normal(0, 1.6, (6, 3))
    dents = 1 + 0.12 * np.sin(made.corners @ wave.T + rng.uniform(0, 6, 6)).sum(2, keepdims=True)
    size = math.exp(rng.uniform(math.log(0.12), math.log(1.1))) * rng.uniform(
        (0.7, 0.4, 0.7), (1.3, 0.9, 1.3)
    )
    return Piece(made.corners * dents * size, made.uv, made.material)
