"""Which kinds of scene there are, how often each comes, and one scene from one seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from cortexia_video.scenes import furnished, indoor, outdoor
from cortexia_video.scenes.description import Camera, Scene
from cortexia_video.scenes.furniture_models import find_folder, open_library
from cortexia_video.scenes.meshes import triangles_of
from cortexia_video.scenes.ray_casting import cast_views, solids_of, views_of
from cortexia_video.scenes.shading import mask_sky

Layout = Callable[[Generator], Scene]

# what, how often
_LAYOUTS: dict[str, tuple[Layout, float]] = {
    "room": (indoor.furnished_room, 0.25),
    "store": (indoor.store_room, 0.12),
    "floor": (indoor.low_floor, 0.1),
    "table": (indoor.table_top, 0.15),
    "close": (indoor.close_up, 0.06),
    "corridor": (indoor.corridor, 0.05),
    "blocks": (indoor.block_heap, 0.06),
    "street": (outdoor.street, 0.11),
    "open": (outdoor.open_ground, 0.06),
    "facade": (outdoor.near_facade, 0.04),
}

Aim = Callable[[Generator], Camera]
Build = Callable[[Generator, Path | None], tuple[Scene, Aim]]


def _build_furnished(rng: Generator, furniture: Path | None, theme: furnished.Theme) -> tuple[Scene, Aim]:
    site = furnished.build_room(rng, open_library(find_folder(furniture)), theme)
    return site.scene, partial(furnished.draw_camera, site, theme=theme)


# kinds of which VIEWS neighbouring seeds are views of one place: only where they are named
_PLACES: dict[str, Build] = {
    "furnished": partial(_build_furnished, theme="furnished"),
    "desk": partial(_build_furnished, theme="desk"),
    "under": partial(_build_furnished, theme="under"),
}
NEED_MODELS = frozenset({"furnished", "desk", "under"})
"""Kinds that are made of a person's models."""
USUAL = tuple(_LAYOUTS)
"""Names of the kinds that are drawn where none is named."""
LAYOUTS: tuple[str, ...] = (*USUAL, *_PLACES)
"""Names of the kinds of scene."""
VIEWS = 8
"""Neighbouring seeds, from a multiple of it on, that are views of one place, of kinds that have several."""

_MOST_ATTEMPTS = 12
_PLANES_KEPT = 0.12  # of views of a bare floor or wall: they exist, and teach little
_MOST_VIEWS = 25
_LEAST_SEEN = 6  # surfaces
_LEAST_SPREAD = 0.3  # of disparity: standard deviation by mean
_WEIGHT_OF_PLACE = 0.25  # beside the shares of the others
_PREVIEW = (24, 32)  # rows and columns that decide whether a view is worth rendering


def build_scene(
    seed: int, layouts: Sequence[str] | None = None, furniture: Path | None = None
) -> tuple[str, Scene]:
    """Build the scene of a seed, of a layout drawn from USUAL or from some of LAYOUTS; say which it is.

    Views that show next to nothing (one wall, something before the lens) are drawn again, from the same seed.
    furniture: the folder of models of kinds that need them.
    """
    names = USUAL if layouts is None else tuple(layouts)
    weights = np.array([_LAYOUTS[name][1] if name in _LAYOUTS else _WEIGHT_OF_PLACE for name in names])
    number = int(np.random.default_rng([seed, 0]).choice(len(names), p=weights / weights.sum()))
    name = names[number]
    rng = np.random.default_rng([seed, 1 + LAYOUTS.index(name)])
    if name in _PLACES:
        return name, _look_around(rng, *_build_place(seed // VIEWS, name, furniture))
    for _ in range(_MOST_ATTEMPTS):
        scene = _LAYOUTS[name][0](rng)
        margin_m = 0.12 if scene.sky is None else 0.4
        scene.primitives = [  # without those that the camera is in or just before
            item
            for item in scene.primitives
            if item.half_size.max() >= 100
            or np.any(
                np.abs(item.rotation.T @ (scene.camera.position - item.centre)) >= item.half_size + margin_m
            )
        ]
        depth_m = preview_depth(scene)
        if is_worth_showing(depth_m) and (rng.random() < _PLANES_KEPT or not is_one_plane(depth_m)):
            break
    return name, scene


@lru_cache(maxsize=2)
def _build_place(number: int, name: str, furniture: Path | None) -> tuple[Scene, Aim]:
    return _PLACES[name](np.random.default_rng([number, 1 + LAYOUTS.index(name), VIEWS]), furniture)


def _look_around(rng: Generator, scene: Scene, aim: Aim) -> Scene:
    """Draw cameras until one sees several things at very different distances; the best of what was drawn."""
    triangles_of(scene)  # once, for all views
    best, most = scene, -1.0
    for _ in range(_MOST_VIEWS):
        candidate = replace(scene, camera=aim(rng))
        hits = cast_views(solids_of([candidate]), views_of([candidate.camera], *_PREVIEW))
        depth_m = hits.distance.masked_fill(mask_sky([candidate], hits), torch.nan)[0].numpy()
        disparity = 1 / depth_m[np.isfinite(depth_m)]
        if disparity.size < 0.2 * depth_m.size:
            continue
        spread = float(disparity.std() / disparity.mean())
        clear = disparity.max() < 1 / 0.12 and (disparity > 1 / 0.3).mean() < 0.03
        varied = len(np.unique(hits.surface.numpy())) >= _LEAST_SEEN and np.percentile(disparity, 15) < 1
        score = min(spread, _LEAST_SPREAD) + 2 * clear + varied
        if score > most:
            best, most = candidate, score
        if clear and varied and spread > _LEAST_SPREAD:
            break
    return best


def preview_depth(scene: Scene) -> NDArray[np.float32]:
    """Cast a few rays: z-depth in metres, float32 (rows, columns), NaN in the sky."""
    hits = cast_views(solids_of([scene]), views_of([scene.camera], *_PREVIEW))
    return hits.distance.masked_fill(mask_sky([scene], hits), torch.nan)[0].numpy()


def is_worth_showing(depth_m: NDArray[np.float32]) -> bool:
    """Return whether enough is known, little is right before the lens, and depth varies."""
    disparity = 1 / depth_m[np.isfinite(depth_m)]
    if disparity.size < 0.2 * depth_m.size:
        return False
    too_near = np.percentile(disparity, 99) > 10 or (disparity > 5).mean() > 0.5
    return bool(not too_near and disparity.std() / disparity.mean() > 0.1)


def is_one_plane(depth_m: NDArray[np.float32]) -> bool:
    """Return whether a plane explains nearly all of a view: disparity is then linear in row and column."""
    known = np.isfinite(depth_m)
    rows, columns = np.nonzero(known)
    disparity = 1 / depth_m[known]
    system = np.stack([rows, columns, np.ones(len(rows))], 1)
    rest = disparity - system @ np.linalg.lstsq(system, disparity, rcond=None)[0]
    return bool(np.std(rest) < 0.2 * np.std(disparity))
