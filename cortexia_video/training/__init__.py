"""How depth networks are trained, the built-in `compact` among them (extra `train`): `cortexia train`.

Doors: `start`.
"""

from typing import TYPE_CHECKING

from cortexia_video.runtime.lazy_names import load_lazily

if TYPE_CHECKING:
    from cortexia_video.training.recipe import Recipe, load_recipe
    from cortexia_video.training.start import train

__all__ = [
    "Recipe",
    "load_recipe",
    "train",
]

_HOMES = {
    "training.recipe": (
        "Recipe",
        "load_recipe",
    ),
    "training.start": ("train",),
}
__getattr__, __dir__ = load_lazily(__name__, _HOMES)
