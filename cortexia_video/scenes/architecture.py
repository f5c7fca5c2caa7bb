"""What walls carry and what divides rooms: windows, doors, images, pillars, partitions, arches."""

from __future__ import annotations

import itertools
import math

import numpy as np

from cortexia_video.scenes.description import Lamp, Material, Placement, Scene, Vector

_WALLS = ("plain", "plain", "plain", "plain", "stained", "bricks", "stripes", "tiles")


def draw_wall(scene: Scene) -> Material:
    """Draw what walls are made of, mostly bright."""
    return scene.draw(_WALLS, tint=scene.rng.uniform(0.7, 1.5))


def add_window(scene: Scene, place: Placement, brightness: float) -> None:
    """A window in a frame; brightness: how much light its view gives off, some of it into the room."""
    rng = scene.rng
    half_width, half_height, middle = rng.uniform(0.3, 1.2), rng.uniform(0.4, 0.9), rng.uniform(1.1, 1.6)
    view = scene.draw(("poster", "facade", "plain", "foliage"), period_m=4, emission=brightness)
    frame = scene.draw(("plain", "wood"))
    scene.box(place, (0, middle, 0), (half_width, half_height, 0.012), view)
    scene.box(place, (0, middle, 0), (0.03, half_height, 0.03), frame)
    for side in (-1, 1):
        scene.box(place, (0, middle + side * half_height, 0), (half_width, 0.04, 0.04), frame)
        scene.box(place, (side * half_width, middle, 0), (0.04, half_height, 0.04), frame)
    if len(scene.lights) < 3 and brightness > 1:
        colour = np.array([0.9, 0.95, 1.05]) * brightness * half_width * half_height * 0.6
        scene.lights.append(Lamp(place.point(0, middle, 0.3), colour))


def add_door(scene: Scene, place: Placement) -> None:
    """A closed door with a handle and a frame."""
    leaf = scene.surface()
    half_width = scene.rng.uniform(0.38, 0.5)
    frame = scene.either(leaf, scene.draw(("plain", "wood")))
    scene.box(place, (0, 1.02, 0), (half_width, 1.02, 0.02), leaf)
    scene.box(place, (0.3, 1.0, 0.03), (0.05, 0.015, 0.03), scene.draw(("plain",), gloss=0.5))
    for side in (-1, 1):
        scene.box(place, (side * (half_width + 0.04), 1.04, 0), (0.04, 1.04, 0.04), frame)
    scene.box(place, (0, 2.08, 0), (half_width + 0.08, 0.04, 0.04), frame)


def add_image(scene: Scene, place: Placement) -> None:
    """An image, poster or board on the wall."""
    rng = scene.rng
    half_width, half_height = rng.uniform(0.12, 0.6), rng.uniform(0.12, 0.5)
    kinds = ("poster", "poster", "text", "clutter", "marble", "plain")
    image = scene.draw(kinds, period_m=2 * max(half_width, half_height))
    scene.box(place, (0, rng.uniform(1.2, 1.8), 0), (half_width, half_height, 0.02), image)


def add_pillar(scene: Scene, place: Placement, height: float, wall: Material) -> None:
    """A pillar or ledge from floor to ceiling."""
    rng = scene.rng
    half = (rng.uniform(0.05, 0.4), height / 2, rng.uniform(0.02, 0.3))
    scene.box(place, (0, height / 2, 0), half, wall if scene.chance(0.6) else scene.surface())


def add_partition(scene: Scene, place: Placement, half_width: float, height: float, wall: Material) -> None:
    """A wall across x with one opening, square or arched, that shows what is behind."""
    rng = scene.rng
    opening = rng.uniform(0.4, min(1.4, 0.7 * half_width))
    middle = rng.uniform(-1, 1) * (half_width - opening - 0.05)
    top = min(rng.uniform(1.95, 2.5), height - 0.1)
    thickness = rng.uniform(0.04, 0.2)
    left, right = middle - opening + half_width, half_width - middle - opening
    scene.box(place, (-half_width + left / 2, height / 2, 0), (left / 2, height / 2, thickness), wall)
    scene.box(place, (half_width - right / 2, height / 2, 0), (right / 2, height / 2, thickness), wall)
    lintel = (height - top) / 2
    scene.box(place, (middle, height - lintel, 0), (opening, lintel, thickness), wall)
    if scene.chance(0.4):
        add_arch(scene, place.moved(middle, top, 0), opening, thickness, wall)


def add_arch(scene: Scene, place: Placement, half_width: float, half_depth: float, wall: Material) -> None:
    """Fill the upper corners of an opening, whose top middle is at `place`, to an arch of ten steps."""
    rise = half_width * scene.rng.uniform(0.4, 1.0)
    edges = np.linspace(-1, 1, 11)
    for low, high in itertools.pairwise(edges):
        x = float(low + high) / 2
        drop = rise * (1 - math.sqrt(1 - x * x))
        half = (half_width * float(high - low) / 2, drop / 2, half_depth)
        scene.box(place, (x * half_width, -drop / 2, 0), half, wall)


def add_pipes(scene: Scene, size: tuple[float, float, float]) -> None:
    """Pipes along a room's ceiling and up its walls, and cables that sag; size: width, depth, height."""
    rng, (width, depth, height) = scene.rng, size
    for _ in range(int(rng.integers(0, 6))):
        metal = scene.draw(("plain", "plain", "stained"), gloss=rng.uniform(0, 0.4))
        radius, x = rng.uniform(0.01, 0.12), rng.uniform(-0.5, 0.5) * width
        y, z = height - rng.uniform(0.05, 0.4), rng.uniform(-0.5, 0.5) * depth
        if scene.chance(0.4):
            scene.rod(np.array([x, y, -depth / 2]), np.array([x, y, depth / 2]), radius, metal)
        elif scene.chance(0.5):
            scene.rod(np.array([-width / 2, y, z]), np.array([width / 2, y, z]), radius, metal)
        else:
            scene.rod(np.array([x, 0, z]), np.array([x, height, z]), radius, metal)
    for _ in range(int(rng.integers(0, 4))):
        ends = rng.uniform(-0.5, 0.5, (2, 3)) * size + (0, height * 0.8, 0)
        add_sagging_cable(scene, ends[0], ends[1], rng.uniform(0.05, 0.5), rng.uniform(0.004, 0.012))


def add_sagging_cable(scene: Scene, start: Vector, end: Vector, sag_m: float, radius: float) -> None:
    """A cable between two points that hangs through by so much: eight rods along a parabola."""
    dark = scene.draw(("plain",), tint=scene.rng.uniform(0.05, 1.2))
    shares = np.linspace(0, 1, 9)
    drops = 4 * sag_m * shares * (1 - shares)
    line = start + shares[:, None] * (end - start) - np.stack([0 * drops, drops, 0 * drops], 1)
    scene.cable(list(line), radius, dark)
