"""Point clouds: what a depth map and its image show, as colored points in space, and their files.

Doors: `cloud`, `files`, `ply`.
"""

from cortexia_video.point_clouds.cloud import PointCloud, point_cloud
from cortexia_video.point_clouds.files import save_point_cloud

__all__ = [
    "PointCloud",
    "point_cloud",
    "save_point_cloud",
]


def __dir__() -> list[str]:
    return __all__
