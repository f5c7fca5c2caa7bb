"""Which source of sparse depth a path is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cortexia_video.errors import InputError, printable
from cortexia_video.sparse_depth.colmap import is_model
from cortexia_video.sparse_depth.colmap_points import ColmapPoints
from cortexia_video.sparse_depth.depth_folder import DepthFolder
from cortexia_video.sparse_depth.nerfstudio import TRANSFORMS, NerfstudioPoints
from cortexia_video.sparse_depth.source import KnownPoints, PointsFile, SparseDepth
from cortexia_video.storage.paths import is_folder, to_path

_SOURCES: dict[str, Callable[[Any], SparseDepth]] = {
    "points": PointsFile,
    "known": KnownPoints,
    "colmap": ColmapPoints,
    "transforms": NerfstudioPoints,
}


def open_sparse_depth(name: str, value: str | Sequence[str], *, convention: str | None = None) -> SparseDepth:
    """Return the source of a name: points, known, colmap, transforms, sparse; `to` is told by what lies there.

    convention: of the files of `sparse`. Raises `InputError` for what cannot be read.
    """
    if name == "to":
        name = _tell(str(value))
    if name == "sparse":
        return DepthFolder(str(value), convention)
    if convention:
        raise InputError(f"`sparse_from` says whose depth files there are, `{name}` has none: leave it out")
    return _SOURCES[name](value)


def _tell(path: str) -> str:
    if path.lower().endswith(".csv"):
        return "points"
    if path.lower().endswith(".json"):
        return "transforms"
    if is_model(path):
        return "colmap"
    if is_folder(path) and (to_path(path) / TRANSFORMS).is_file():
        return "transforms"
    if is_folder(path):
        return "sparse"
    raise InputError(
        f"{printable(str(to_path(path)))} says no metres: give a .csv of points, a folder with a COLMAP model, a "
        "transforms.json, or a folder of depth maps"
    )
