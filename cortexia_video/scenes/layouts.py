"""Which kinds of scene there are, how often each comes, and one scene from one seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from cortexia_video.scenes import fields, furnished, gardens, indoor, outdoor, roads, terraces, woods
from cortexia_video.scenes.description import Aim, Primitive, Scene
from cortexia_video.scenes.furniture_models import Library, find_folder, open_library
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
# places of meshes, seen from VIEWS sides; drawn where they are named only. Streets take a person's models, if given
_STREETS: dict[str, Callable[[Generator, Library | None], tuple[Scene, Aim]]] = {
    "driving": roads.driving,
    "pavement": roads.pavement,
    "houses": roads.houses,
}
_PLACES: dict[str, Callable[[Generator], tuple[Scene, Aim]]] = {
    "rows": fields.rows,
    "forest": woods.forest,
    "garden": gardens.garden,
    "playground": gardens.playground,
    "terrace": terraces.terrace,
}
NEED_MODELS: tuple[furnished.Theme, ...] = ("furnished", "desk", "under")
"""Places that are rooms of a person's models."""
TAKE_MODELS = (*NEED_MODELS, *_STREETS)
"""Places where a person's models may stand."""
NEED_EMBREE = (*_STREETS, *_PLACES, *NEED_MODELS)
"""Kinds that have meshes."""
LAYOUTS: tuple[str, ...] = (*_LAYOUTS, *NEED_EMBREE)
"""Names of the kinds of scene."""
VIEWS = 8
"""Neighbouring seeds, from a multiple of it on, that look at one place of meshes."""

_MOST_ATTEMPTS = 12
_PLACE_SHARE = 0.1  # how often a place comes beside other kinds
_PLANES_KEPT = 0.12  # of views of a bare floor or wall: they exist, and teach little
_MOST_VIEWS = 25  # drawn of a place, for one that shows what they rarely do by chance
_LEAST_SURFACES = 6
_LEAST_KNOWN = 0.25  # of a view, that is not sky
_INDOORS_M = 12.0  # everything above and around so near: a view from inside
_LEAST_SPREAD = 0.3  # of disparity: standard deviation by mean
_PREVIEW = (24, 32)  # rows and columns that decide whether a view is worth rendering


def build_scene(
    seed: int, layouts: Sequence[str] | None = None, furniture: Path | None = None
) -> tuple[str, Scene]:
    """Build the scene of a seed, of a layout drawn from some of LAYOUTS; say which it is.

    layouts: by default all but places. Where a place is among them, VIEWS neighbouring seeds have one layout.
    furniture: the folder of models of TAKE_MODELS; streets have none of them by default.

    Views that show next to nothing (one wall, something before the lens) are drawn again, from the same seed.
    """
    names = tuple(_LAYOUTS) if layouts is None else tuple(layouts)
    shares = {name: share for name, (_, share) in _LAYOUTS.items()}
    weights = np.array([shares.get(name, _PLACE_SHARE) for name in names])
    drawn = [seed, 0] if shares.keys() >= set(names) else [seed // VIEWS, 0, 0]
    name = names[int(np.random.default_rng(drawn).choice(len(names), p=weights / weights.sum()))]
    rng = np.random.default_rng([seed, 1 + LAYOUTS.index(name)])
    if name in NEED_EMBREE:
        folder = furniture if name in TAKE_MODELS else None
        return name, _look_around(rng, *_build_place(name, seed // VIEWS, folder))
    for _ in range(_MOST_ATTEMPTS):
        scene = _LAYOUTS[name][0](rng)
        scene.primitives = [item for item in scene.primitives if _is_clear_of(item, scene)]
        depth_m = preview_depth(scene)
        if is_worth_showing(depth_m) and (rng.random() < _PLANES_KEPT or not is_one_plane(depth_m)):
            break
    return name, scene


@lru_cache(maxsize=1)
def _build_place(name: str, number: int, furniture: Path | None) -> tuple[Scene, Aim]:
    """Build a place, and what Embree searches, once for its views."""
    rng = np.random.default_rng([number, 1 + LAYOUTS.index(name), VIEWS])
    if name in _PLACES:
        place, aim = _PLACES[name](rng)
    elif name in _STREETS:
        place, aim = _STREETS[name](rng, None if furniture is None else open_library(find_folder(furniture)))
    else:
        theme = NEED_MODELS[NEED_MODELS.index(name)]
        place, aim = furnished.build_room(rng, open_library(find_folder(furniture)), theme)
    triangles_of(place)
    return place, aim


def _look_around(rng: Generator, place: Scene, aim: Aim) -> Scene:
    """Draw cameras until one sees several things at very different distances; take the best of what was drawn.

    Outdoors, some views need not be varied: plain ones exist.
    """
    best, most = place, -math.inf
    enough = 2.0 if place.sky is not None and rng.random() < _PLANES_KEPT else 3 + _LEAST_SPREAD
    for _ in range(_MOST_VIEWS):
        scene = replace(place, camera=aim(rng))
        score = _rate(scene)
        if score > most:
            best, most = scene, score
        if score >= enough:
            break
    return best


def _rate(scene: Scene) -> float:
    """Rate a view: 2 where nothing is right before the lens, 1 for several things, and the spread of disparity."""
    hits = cast_views(solids_of([scene]), views_of([scene.camera], *_PREVIEW))
    known = ~mask_sky([scene], hits).numpy()
    if known.mean() < _LEAST_KNOWN:
        return float(known.mean()) - 1
    disparity = 1 / hits.distance.numpy()[known]
    spread = float(disparity.std() / disparity.mean())
    clear = disparity.max() < 1 / 0.12 and (disparity > 1 / 0.3).mean() < 0.03
    if scene.sky is not None:
        clear = clear and not is_inside(scene)
    varied = len(np.unique(hits.surface.numpy())) >= _LEAST_SURFACES and np.percentile(disparity, 15) < 1
    return min(spread, _LEAST_SPREAD) + 2 * bool(clear) + bool(varied)


def is_inside(scene: Scene) -> bool:
    """Return whether the camera is in a car or a house, as what is near it above and on all sides says."""
    triangles = triangles_of(scene)
    if triangles is None:
        return False
    around = torch.arange(24) * 2.4
    up = torch.linspace(0.05, 1, 24)
    ways = torch.stack([around.sin() * (1 - up * up).sqrt(), up, around.cos() * (1 - up * up).sqrt()])
    eye = torch.from_numpy(scene.camera.position).float()[:, None].expand_as(ways)
    return bool((triangles.hit(eye, ways)[0] < _INDOORS_M).all())


def _is_clear_of(item: Primitive, scene: Scene) -> bool:
    """Return whether the camera is neither in a primitive nor right before it."""
    margin_m = 0.12 if scene.sky is None else 0.4
    apart = np.abs(item.rotation.T @ (scene.camera.position - item.centre))
    return bool(item.half_size.max() >= 100 or np.any(apart >= item.half_size + margin_m))


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
