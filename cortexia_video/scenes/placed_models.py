"""A person's models set into scenes, in the materials of their files or in others."""

from __future__ import annotations

import math

import numpy as np

from cortexia_video.scenes.description import Material, Mesh, MeshModel, Scene, Vector
from cortexia_video.scenes.furniture_models import Furniture, LoadedPart, load
from cortexia_video.scenes.noise import SIDE
from cortexia_video.scenes.textures import draw_colour

_WHITE = np.full((SIDE, SIDE, 3), 255, np.uint8)


def put_model(
    scene: Scene,
    furniture: Furniture,
    position: Vector,
    turn: Vector,
    *,
    scale: float = 1.0,
    no_glass: float = 0.0,
    kept: float = 0.0,
) -> int:
    """Add a model, turned by a matrix (3, 3); return its triangles.

    no_glass: how often a part of glass is left out; else it is opaque. kept: how often a part keeps its material.
    """
    loaded = load(furniture)
    model = loaded.model
    absent = [n for n, part in enumerate(loaded.parts) if part.clear and scene.chance(no_glass)]
    shown = ~np.isin(model.part, absent)
    if absent and shown.any():
        fields = (model.corners, model.part, model.uv_m, model.normals)
        model = MeshModel(*(None if each is None else each[shown] for each in fields))  # type: ignore[arg-type]
    materials = tuple(_recolour(scene, part, kept) for part in loaded.parts)
    scene.meshes.append(Mesh(model, position, turn, materials, np.full(3, scale)))
    scene.triangles = None
    return len(model.corners)


def _recolour(scene: Scene, part: LoadedPart, kept: float) -> Material:
    """Draw a material for a part: but for those kept, 35 % of plain colours anew, and 25 % become a texture."""
    rng, kind = scene.rng, scene.rng.random()
    if kept > 0 and rng.random() < kept:
        kind = 0.5
    shade = math.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.06, 3))
    gloss = max(part.gloss * 0.5, float(rng.random() ** 4 * 0.5))
    grain = float(rng.random() ** 2 * 0.2)
    if part.image is not None and kind < 0.85:
        return Material(
            "image", 0, part.period_m, (0.0, 0.0), False, shade, part.emission, gloss, grain, part.image
        )
    if kind >= 0.75 and part.emission == 0:
        return scene.surface()
    colour = draw_colour(rng) if kind < 0.35 else np.clip(part.colour, 0.02, 0.9)
    return Material("image", 0, 1.0, (0.0, 0.0), False, colour * shade, part.emission, gloss, grain, _WHITE)
