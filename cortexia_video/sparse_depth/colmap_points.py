"""`ColmapPoints`: the depth of a COLMAP model's points in each of its images."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cortexia_video.errors import InputError, format_count, printable
from cortexia_video.pinhole import has_same_shape
from cortexia_video.sparse_depth.colmap import ColmapModel
from cortexia_video.storage.paths import PathLike


class ColmapPoints:
    """A `SparseDepth`: depth along the axis, in the model's unit, weighted by track length and error."""

    by = "colmap"

    def __init__(self, folder: PathLike) -> None:
        self.model = ColmapModel(folder)
        self.settings: Mapping[str, object] = {"colmap": self.model.digest}

    def find_name(self, key: str) -> str:
        """Return the name of an image in the model; raises `InputError` where there is none."""
        name = self.model.find_image(key)
        if name is None:
            raise InputError(
                f"the model of {format_count(len(self.model.names), 'image')} has none of its name: name images as "
                "they were for COLMAP"
            )
        return name

    def find(self, key: str, width: int, height: int) -> NDArray[np.float64]:
        name = self.find_name(key)
        camera = self.model.find_camera(name)
        if not has_same_shape((width, height), (camera.width, camera.height)):
            raise InputError(
                f"the model's image {printable(name)} has {camera.width} x {camera.height}, the depth is of one of "
                f"{width} x {height}: give depth of the images that COLMAP used"
            )
        seen = self.model.find_points(name)
        scale = width / camera.width, height / camera.height
        return np.column_stack([seen.pixels * scale, seen.points[:, 2], seen.weights])
