"""`render_scene`: a picture, its depth and its camera from one seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cortexia_video.scenes.description import Scene
from cortexia_video.scenes.layouts import build_scene
from cortexia_video.scenes.photograph import take_photograph
from cortexia_video.scenes.ray_casting import cast_view, solids_of, view_of
from cortexia_video.scenes.shading import shade, sky_mask

SEEDS_PER_LIBRARY = 400
"""Neighbouring seeds share painted textures, which take longer to make than a scene."""


@dataclass(frozen=True, slots=True, eq=False)
class RGBDScene:
    """A rendered scene.

    image: uint8 (H, W, 3) sRGB. depth_m: float32 (H, W), z-depth in metres, NaN = sky.
    f_px: focal length in pixels; the principal point is the middle of the picture, (W / 2, H / 2).
    seed, layout: which scene it is.
    """

    image: NDArray[np.uint8]
    depth_m: NDArray[np.float32]
    f_px: float
    seed: int
    layout: str

    @property
    def intrinsics(self) -> NDArray[np.float64]:
        """Camera matrix (3, 3) in pixels; pixel (0, 0) has its middle at (0.5, 0.5)."""
        height, width = self.depth_m.shape
        return np.array([[self.f_px, 0, width / 2], [0, self.f_px, height / 2], [0, 0, 1]])


def render_scene(seed: int, height: int, width: int, layout: str | None = None) -> RGBDScene:
    """Render the scene of `seed` with height x width pixels.

    layout: one of LAYOUTS, drawn from the seed if None.
    The same arguments give the same bytes on every run on one machine, whatever was rendered before.
    """
    if height < 2 or width < 2:
        raise ValueError(f"a scene of {height} x {width} pixels is too small: use at least 2 x 2")
    name, scene = build_scene(seed, layout)
    return photograph_scene(scene, seed, name, height, width)


def render_scenes(seeds: Iterable[int], height: int, width: int) -> Iterator[RGBDScene]:
    """Render one scene per seed, lazily and in order."""
    for seed in seeds:
        yield render_scene(seed, height, width)


def photograph_scene(scene: Scene, seed: int, layout: str, height: int, width: int) -> RGBDScene:
    """Render a scene that is already built; seed: of shadows, noise and the textures its materials name."""
    with torch.inference_mode():
        view = view_of(scene.camera, height, width)
        solids = solids_of(scene)
        hits = cast_view(scene, solids, view)
        noise = torch.Generator().manual_seed(seed)
        light = shade(scene, solids, view, hits, noise, seed // SEEDS_PER_LIBRARY)
        image = take_photograph(light, np.random.default_rng([seed, 1000]))
        depth_m = hits.distance.masked_fill(sky_mask(scene, hits), float("nan")).view(height, width)
    return RGBDScene(image, depth_m.numpy(), view.f_px, seed, layout)
