"""Which kinds of scene there are, how often each comes, and one scene from one seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from cortexia_video.scenes import indoor, outdoor
from cortexia_video.scenes.description import Primitive, Scene
from cortexia_video.scenes.ray_casting import cast_view, solids_of, view_of
from cortexia_video.scenes.shading import sky_mask

Layout = Callable[[Generator], Scene]

# what, how often
_LAYOUTS: dict[str, tuple[Layout, float]] = {
    "room": (indoor.furnished_room, 0.42),
    "table": (indoor.table_top, 0.19),
    "corridor": (indoor.corridor, 0.06),
    "blocks": (indoor.block_heap, 0.07),
    "street": (outdoor.street, 0.13),
    "open": (outdoor.open_ground, 0.07),
    "facade": (outdoor.near_facade, 0.06),
}
LAYOUTS: tuple[str, ...] = tuple(_LAYOUTS)
"""Names of the kinds of scene."""

_MOST_ATTEMPTS = 12
_PREVIEW = (24, 32)  # rows and columns that decide whether a view is worth rendering


def build_scene(seed: int, layout: str | None = None) -> tuple[str, Scene]:
    """Build the scene of a seed, of a layout drawn from the seed or of the one asked for; say which it is.

    Views that show next to nothing (one wall, something before the lens) are drawn again, from the same seed.
    """
    rng = np.random.default_rng([seed, 0 if layout is None else 1 + LAYOUTS.index(layout)])
    weights = [weight for _, weight in _LAYOUTS.values()]
    name = layout or LAYOUTS[int(rng.choice(len(LAYOUTS), p=weights))]
    for _ in range(_MOST_ATTEMPTS):
        scene = _LAYOUTS[name][0](rng)
        scene.primitives = [item for item in scene.primitives if not _swallows(item, scene)]
        if is_worth_showing(preview_depth(scene)):
            break
    return name, scene


def preview_depth(scene: Scene) -> NDArray[np.float32]:
    """Cast a few rays: z-depth in metres, float32 (rows, columns), NaN in the sky."""
    view = view_of(scene.camera, *_PREVIEW)
    hits = cast_view(scene, solids_of(scene), view)
    hits.distance[sky_mask(scene, hits)] = float("nan")
    return hits.distance.view(_PREVIEW).numpy()


def is_worth_showing(depth_m: NDArray[np.float32]) -> bool:
    """Say whether enough is known, little is right before the lens, and depth varies."""
    disparity = 1 / depth_m[np.isfinite(depth_m)]
    if disparity.size < 0.2 * depth_m.size:
        return False
    too_near = np.percentile(disparity, 99) > 8 or (disparity > 4).mean() > 0.4
    return bool(not too_near and disparity.std() / disparity.mean() > 0.1)


def _swallows(item: Primitive, scene: Scene) -> bool:
    """Say whether the camera is inside a primitive or just before it."""
    local = np.abs(item.rotation.T @ (scene.camera.position - item.centre))
    margin_m = 0.12 if scene.sky is None else 0.4
    return bool(np.all(local < item.half_size + margin_m)) and item.half_size.max() < 100
