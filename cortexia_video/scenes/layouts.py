"""Which kinds of scene there are, how often each comes, and one scene from one seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from cortexia_video.scenes import indoor, outdoor
from cortexia_video.scenes.description import Scene
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
LAYOUTS: tuple[str, ...] = tuple(_LAYOUTS)
"""Names of the kinds of scene."""

_MOST_ATTEMPTS = 12
_PLANES_KEPT = 0.12  # of views of a bare floor or wall: they exist, and teach little
_PREVIEW = (24, 32)  # rows and columns that decide whether a view is worth rendering


def build_scene(seed: int, layouts: Sequence[str] | None = None) -> tuple[str, Scene]:
    """Build the scene of a seed, of a layout drawn from all or from some of LAYOUTS; say which it is.

    Views that show next to nothing (one wall, something before the lens) are drawn again, from the same seed.
    """
    names = LAYOUTS if layouts is None else tuple(layouts)
    weights = np.array([_LAYOUTS[name][1] for name in names])
    number = int(np.random.default_rng([seed, 0]).choice(len(names), p=weights / weights.sum()))
    name = names[number]
    rng = np.random.default_rng([seed, 1 + LAYOUTS.index(name)])
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
