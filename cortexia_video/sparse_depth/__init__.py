"""What is known of images' depth at some pixels: points of a person, COLMAP, nerfstudio, sensors.

Doors: `colmap`, `colmap_points`, `depth_folder`, `nerfstudio`, `open`, `source`.
"""

from typing import TYPE_CHECKING

from cortexia_video.runtime.lazy_names import load_lazily

if TYPE_CHECKING:
    from cortexia_video.sparse_depth.colmap import ColmapModel

__all__ = ["ColmapModel"]

__getattr__, __dir__ = load_lazily(__name__, {"sparse_depth.colmap": __all__})
