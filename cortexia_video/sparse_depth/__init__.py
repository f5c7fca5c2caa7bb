"""What is known of images' depth at some pixels: points of a person, COLMAP, nerfstudio, sensors.

Doors: `colmap`, `colmap_points`, `nerfstudio`, `open`, `source`.
"""

from cortexia_video.sparse_depth.colmap import ColmapModel

__all__ = ["ColmapModel"]


def __dir__() -> list[str]:
    return __all__
