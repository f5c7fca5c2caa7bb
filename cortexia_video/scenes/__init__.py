"""Procedural RGB-D scenes: images with exact depth, each from one seed, for training and for tests.

Doors: `folder`.
"""

from typing import TYPE_CHECKING

from cortexia_video.runtime.lazy_names import load_lazily

if TYPE_CHECKING:
    from cortexia_video.scenes.folder import write_scenes
    from cortexia_video.scenes.layouts import LAYOUTS
    from cortexia_video.scenes.plan import ScenePlan
    from cortexia_video.scenes.rendering import RGBDScene, render_scene, render_scenes

__all__ = [
    "LAYOUTS",
    "RGBDScene",
    "ScenePlan",
    "render_scene",
    "render_scenes",
    "write_scenes",
]

_HOMES = {
    "scenes.folder": ("write_scenes",),
    "scenes.layouts": ("LAYOUTS",),
    "scenes.plan": ("ScenePlan",),
    "scenes.rendering": (
        "RGBDScene",
        "render_scene",
        "render_scenes",
    ),
}
__getattr__, __dir__ = load_lazily(__name__, _HOMES)
