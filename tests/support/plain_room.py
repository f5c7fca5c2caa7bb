"""An empty room for tests of what is seen in it."""

from __future__ import annotations

import math

import numpy as np

from cortexia_video.scenes.description import Camera, Lamp, Material, Scene, Shell

PLAIN = Material("plain", 0, 1.0, (0.0, 0.0), False, np.ones(3))


def make_scene(
    yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0, at: tuple[float, ...] = (0, 0, 0)
) -> Scene:
    """Make an empty room of 20 m, its middle at the origin, seen from `at` with a lens of 60 degrees."""
    shell = Shell(np.zeros(3), np.full(3, 10.0), (PLAIN,) * 6)
    camera = Camera(np.array(at, float), yaw, pitch, roll, math.radians(60))
    scene = Scene(np.random.default_rng(0), shell, camera)
    scene.lights.append(Lamp(np.array([1.0, 2.0, -1.0]), np.ones(3)))
    return scene
