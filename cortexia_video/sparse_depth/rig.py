"""`Rig`: where a sensor of its own lens and place is beside the camera; and what its depth says of the image.

    {"sensor": {"fx": 380, "fy": 380, "cx": 320, "cy": 240, "width": 640, "height": 480},
     "image": {"model": "OPENCV", "width": 1920, "height": 1080, "params": [1380, 1380, 960, 540, 0.1, -0.2, 0, 0]},
     "to_image": [[1, 0, 0, 0.015], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]}

A camera is a pinhole or one of COLMAP's models; pixels are counted as in `pinhole`. `to_image` takes a point of the
sensor's axes (x right, y down, z forward), in metres, to those of the image's camera.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import InputError, in_words, printable
from cortexia_video.geometry.alignment import require_metric
from cortexia_video.geometry.camera_models import LensCamera
from cortexia_video.pinhole import has_same_shape
from cortexia_video.sparse_depth.visible import project_visible, to_axes
from cortexia_video.storage.documents import parse_json
from cortexia_video.storage.paths import LARGEST_TEXT, AnyPath, read_named

Floats = NDArray[np.float64]
RIG = "rig.json"
_PINHOLE = ("fx", "fy", "cx", "cy")
_MOST = 400_000  # points that are projected
_KEPT = 20_000  # of those that are seen
_TURNED = 1e-3  # how far a rotation's rows may be from right angles and a length of 1


class Rig:
    """A sensor and a camera that are fixed to each other; `place` is their file. Raises `InputError`."""

    def __init__(self, place: AnyPath) -> None:
        name = printable(str(place))
        with in_words(f"cannot read {name}"):
            self.data = read_named(place, limit=LARGEST_TEXT)
        said: Any = parse_json(self.data, name)
        if not isinstance(said, dict) or {*said} != {"sensor", "image", "to_image"}:
            raise InputError(f"{name}: it must have sensor, image and to_image, and nothing else")
        self._sensor = _read_camera(said["sensor"], f"{name}: sensor")
        self._image = _read_camera(said["image"], f"{name}: image")
        self._rotation, self._translation = _read_pose(said["to_image"], f"{name}: to_image")

    def find(self, known: DepthMap, width: int, height: int) -> Floats:
        """Return what the sensor's map says of an image of width x height: (N, 3), as `align` takes samples.

        A point that the image's camera does not see, because a nearer one hides it, has no part in it. Raises
        `InputError` for a map that is not metric, and for sizes that are not those of the cameras.
        """
        require_metric(known)
        lines, columns = known.values.shape
        full = known.full_size or known.values.shape
        for what, camera, size in (
            ("sensor's map", self._sensor, (full[1], full[0])),
            ("depth", self._image, (width, height)),
        ):
            if not has_same_shape(size, (camera.width, camera.height)):
                raise InputError(
                    f"the {what} has {size[0]} x {size[1]}, its camera in {RIG} {camera.width} x {camera.height}"
                )
        with np.errstate(invalid="ignore"):
            there = np.flatnonzero(np.isfinite(known.values) & (known.values > 0))
        row, column = np.divmod(there[:: max(1, math.ceil(len(there) / _MOST))], columns)
        pixels = np.column_stack([(column + 0.5) / columns, (row + 0.5) / lines])
        rays = self._sensor.find_rays(pixels * (self._sensor.width, self._sensor.height))
        depth = known.values[row, column].astype(np.float64)
        points = to_axes(np.column_stack([rays * depth[:, None], depth]), self._rotation, self._translation)
        seen, kept = project_visible(points, self._image)
        part = slice(None, None, max(1, math.ceil(len(kept) / _KEPT)))
        scale = width / self._image.width, height / self._image.height
        return np.column_stack([seen[part] * scale, points[kept[part], 2]])


def _read_camera(said: object, place: str) -> LensCamera:
    fields = said if isinstance(said, dict) else {}
    is_lens = "model" in fields
    names = {"width", "height", *(("model", "params") if is_lens else _PINHOLE)}
    if {*fields} != names:
        raise InputError(
            f"{place} must be a camera: fx, fy, cx, cy, width and height; or model, params, width and height"
        )
    params = fields["params"] if is_lens else [fields[name] for name in _PINHOLE]
    sizes = fields["width"], fields["height"]
    numbers = params if isinstance(params, list) else [None]
    if not all(_is_number(each) for each in numbers) or not all(type(each) is int for each in sizes):
        raise InputError(f"{place}: its parameters must be numbers, width and height whole ones")
    model = fields["model"] if is_lens else "PINHOLE"
    try:
        return LensCamera(str(model), *sizes, tuple(map(float, numbers)))
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


def _read_pose(said: object, place: str) -> tuple[Floats, Floats]:
    rows = said if isinstance(said, list) else []
    flat = [each for row in rows for each in (row if isinstance(row, list) else [row])]
    if len(flat) not in (12, 16) or not all(_is_number(each) for each in flat):
        raise InputError(f"{place} must be 4 x 4 numbers: a rotation and a translation in metres")
    matrix = np.array(flat, np.float64).reshape(-1, 4)[:3]
    rotation = matrix[:, :3]
    is_rotation = np.abs(rotation @ rotation.T - np.eye(3)).max() < _TURNED and np.linalg.det(rotation) > 0
    if not is_rotation:
        raise InputError(f"{place}: its first three rows and columns are no rotation")
    return rotation, matrix[:, 3]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
