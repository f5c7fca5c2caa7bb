"""Cameras and surfaces: intrinsics files, normals, depth edges, metric anchors, alignment. Pure numpy.

Doors: `alignment`, `anchors`, `camera_models`, `depth_edges`, `intrinsics`, `known_lengths`, `normals`,
`panorama`, `point_map`, `sparse_map`, `sphere`.
"""

from cortexia_video.geometry.alignment import align
from cortexia_video.geometry.anchors import anchor_depth
from cortexia_video.geometry.depth_edges import choose_max_gap, find_edges
from cortexia_video.geometry.intrinsics import Intrinsics, load_intrinsics
from cortexia_video.geometry.normals import depth_to_normals

__all__ = [
    "Intrinsics",
    "align",
    "anchor_depth",
    "choose_max_gap",
    "depth_to_normals",
    "find_edges",
    "load_intrinsics",
]


def __dir__() -> list[str]:
    return __all__
