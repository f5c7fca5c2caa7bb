"""`render_scene`: an image, its depth, its normals and its camera from one seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cortexia_video.scenes.atlas import atlas_of
from cortexia_video.scenes.description import Scene
from cortexia_video.scenes.layouts import build_scene
from cortexia_video.scenes.photograph import take_photographs
from cortexia_video.scenes.ray_casting import cast_views, solids_of, views_of
from cortexia_video.scenes.shading import find_surfaces, mask_sky, shade

SEEDS_PER_LIBRARY = 2000
"""Neighbouring seeds share painted textures, which take longer to make than a scene."""


@dataclass(frozen=True, slots=True, eq=False)
class RGBDScene:
    """A rendered scene.

    Attributes:
        image: uint8 (H, W, 3) sRGB.
        depth_m: float32 (H, W), along the optical axis, metres, NaN = sky.
        normals: float32 (H, W, 3), unit length, camera axes x right, y down, z forward, NaN = sky.
        f_px: Focal length in pixels; the principal point is the middle of the image, (W / 2, H / 2).
        seed: Which scene it is.
        layout: Which kind of scene it is.
    """

    image: NDArray[np.uint8]
    depth_m: NDArray[np.float32]
    normals: NDArray[np.float32]
    f_px: float
    seed: int
    layout: str

    def __repr__(self) -> str:
        height, width = self.depth_m.shape
        return f"RGBDScene({self.layout}, seed {self.seed}, {height}x{width}, f_px={self.f_px:.6g})"

    @property
    def intrinsics(self) -> NDArray[np.float64]:
        """Camera matrix (3, 3) in pixels; pixel (0, 0) has its middle at (0.5, 0.5)."""
        height, width = self.depth_m.shape
        return np.array([[self.f_px, 0, width / 2], [0, self.f_px, height / 2], [0, 0, 1]])


@dataclass(frozen=True, slots=True, eq=False)
class BuiltScene:
    """A scene before it is rendered, with the seed and the layout it was built from.

    shot: of several images of it, each with sensor noise of its own.
    """

    scene: Scene
    seed: int
    layout: str
    shot: int = 0


def render_scene(
    seed: int,
    height: int,
    width: int,
    layout: str | None = None,
    device: str = "cpu",
    furniture: Path | None = None,
) -> RGBDScene:
    """Render the scene of a seed.

    The same arguments give the same bytes on every run on one machine, whatever was rendered before.

    Args:
        seed: Which scene.
        height: Pixels.
        width: Pixels.
        layout: One of LAYOUTS; drawn from the seed, of those that need no models, if None.
        device: Of torch.
        furniture: A folder of models, of which `furnished`, `desk` and `under` are made, and some of which
            `driving`, `pavement` and `houses` show.

    Returns:
        Image, exact depth in metres, normals and camera.
    """
    name, scene = build_scene(seed, None if layout is None else [layout], furniture)
    return render_built([BuiltScene(scene, seed, name)], height, width, device)[0]


def render_scenes(
    seeds: Iterable[int],
    height: int,
    width: int,
    layouts: Sequence[str] | None = None,
    device: str = "cpu",
    batch_size: int | None = None,
    textures: Path | None = None,
    furniture: Path | None = None,
) -> Iterator[RGBDScene]:
    """Render one scene per seed, lazily and in order.

    Args:
        seeds: Which scenes.
        height: Pixels.
        width: Pixels.
        layouts: The kinds to draw from; all that need no models if None.
        device: Of torch.
        batch_size: Scenes rendered at once; by default 1 on the processor, where more are no faster, and 32
            elsewhere.
        textures: A folder of images to wear.
        furniture: A folder of models, of which `furnished`, `desk` and `under` are made, and some of which
            `driving`, `pavement` and `houses` show.

    Yields:
        The scenes.
    """
    size = batch_size or (1 if torch.device(device).type == "cpu" else 32)
    for _, neighbours in groupby(seeds, lambda seed: seed // SEEDS_PER_LIBRARY):
        while batch := list(islice(neighbours, size)):
            built = [
                BuiltScene(scene, seed, name)
                for seed in batch
                for name, scene in [build_scene(seed, layouts, furniture)]
            ]
            yield from render_built(built, height, width, device, textures)


def render_built(
    built: Sequence[BuiltScene],
    height: int,
    width: int,
    device: str = "cpu",
    textures: Path | None = None,
) -> list[RGBDScene]:
    """Render scenes of one texture library together; their seeds also give shadows' noise and the camera."""
    if height < 2 or width < 2:
        raise ValueError(f"a scene of {height} x {width} pixels is too small: use at least 2 x 2")
    scenes, seeds = [each.scene for each in built], [each.seed for each in built]
    with torch.inference_mode():
        views = views_of([scene.camera for scene in scenes], height, width, device)
        solids = solids_of(scenes, device)
        hits = cast_views(solids, views)
        atlas = atlas_of(seeds[0] // SEEDS_PER_LIBRARY, torch.device(device), textures)
        surfaces = find_surfaces(solids, views, hits)
        light = shade(scenes, solids, views, hits, surfaces, seeds, atlas)
        images = take_photographs(light, hits, seeds, [each.shot for each in built])
        sky = mask_sky(scenes, hits)
        depth_m = hits.distance.masked_fill(sky, torch.nan).cpu().numpy()
        down = torch.tensor([1.0, -1.0, 1.0], device=sky.device)  # cameras of ours have y down
        facing = torch.einsum("bji,bjhw->bhwi", views.rotation, surfaces.normal) * down
        normals = facing.masked_fill(sky[..., None], torch.nan).cpu().numpy()
    f_px = views.f_px.tolist()
    return [
        RGBDScene(image, depth_m[at], normals[at], f_px[at], each.seed, each.layout)
        for at, (image, each) in enumerate(zip(images, built, strict=True))
    ]
