"""What outdoors wears: leaves, bark, soil, houses, clothes, car paint."""

from __future__ import annotations

import numpy as np

from cortexia_video.scenes.description import Material, Scene


def draw_green(scene: Scene) -> Material:
    """Draw what leaves look like: mostly green, some autumn, some red or grey."""
    rng = scene.rng
    tint = rng.uniform(0.5, 1.3) * np.ones(3)
    if rng.random() < 0.22:
        tint *= np.array([rng.uniform(1.2, 2.2), rng.uniform(0.7, 1.1), rng.uniform(0.4, 1.0)])
    return scene.draw(
        ("foliage",), period_m=rng.uniform(0.7, 4), tint=tint, gloss=float(rng.random() ** 3 * 0.3)
    )


def draw_bark(scene: Scene) -> Material:
    """Draw bark."""
    return scene.draw(
        ("wood", "asphalt", "stained"), period_m=scene.rng.uniform(0.3, 1), tint=scene.rng.uniform(0.3, 1.1)
    )


def draw_soil(scene: Scene) -> Material:
    """Draw bare earth, from sand to nearly black."""
    brown = scene.rng.uniform(0.4, 1.3) * np.array([1.25, 1.0, 0.75]) ** scene.rng.uniform(0, 1.5)
    return scene.draw(
        ("asphalt", "asphalt", "stained"), period_m=scene.rng.uniform(0.5, 3), tint=brown, gloss=0.0
    )


def draw_house(scene: Scene, *, lit: bool = False) -> list[Material]:
    """Draw what `buildings.building` wears; lit: light is on behind its windows."""
    rng = scene.rng
    tiles = np.array([1.1, 0.8, 0.7]) * rng.uniform(0.3, 1.1)
    walls = ("plain", "plain", "plain", "bricks", "bricks", "stained", "tiles")
    return [
        scene.draw(walls, period_m=rng.uniform(1, 4), tint=rng.uniform(0.7, 1.5)),
        scene.draw(("plain",), tint=2.0 if lit else rng.uniform(0.08, 0.5), gloss=0.6, emission=float(lit)),
        scene.draw(("plain", "plain", "wood"), tint=rng.uniform(0.6, 1.8)),
        scene.draw(("tiles", "bricks", "stained", "plain"), period_m=rng.uniform(0.6, 2), tint=tiles),
        scene.draw(("plain", "bricks", "stained", "tiles"), period_m=rng.uniform(0.6, 2.5)),
        scene.draw(("plain", "wood", "stripes"), tint=rng.uniform(0.15, 1.0)),
    ]


def draw_clothes(scene: Scene) -> list[Material]:
    """Draw what `people.person` wears."""
    rng = scene.rng
    skin = np.array([1.2, 0.85, 0.7]) * rng.uniform(0.4, 1.2)
    return [
        scene.draw(("plain",), tint=skin),
        scene.surface(),
        scene.draw(("plain", "plain", "stained"), tint=rng.uniform(0.1, 1.2)),
        scene.draw(("plain",), tint=rng.uniform(0.05, 0.5)),
    ]


def draw_paint(scene: Scene) -> Material:
    """Draw car paint: mostly grey, some of strong colour."""
    rng = scene.rng
    tint = rng.uniform(0.1, 2.0) * np.ones(3)
    if rng.random() < 0.35:
        tint = tint * np.exp(rng.normal(0, 0.9, 3))
    return scene.draw(("plain",), gloss=rng.uniform(0.3, 1.0), tint=tint)


def draw_bright(scene: Scene) -> Material:
    """Draw a strong colour: flowers, toys, what stands on playgrounds."""
    return scene.draw(("plain",), tint=np.exp(scene.rng.normal(0.25, 0.8, 3)), gloss=0.2)
