"""nerfstudio's transforms.json: cameras, poses, and the PLY of sparse points that belongs to them.

Source: docs.nerf.studio, "Data conventions" (camera to world, in OpenGL's axes: x right, y up, z backward) and
nerfstudio/data/dataparsers/nerfstudio_dataparser.py.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cortexia_video.errors import InputError, in_words, printable
from cortexia_video.geometry.camera_models import LensCamera
from cortexia_video.pinhole import has_same_shape
from cortexia_video.point_clouds.ply import decode_points
from cortexia_video.sparse_depth.names import NameIndex
from cortexia_video.sparse_depth.visible import project_visible, to_axes
from cortexia_video.storage.documents import parse_json
from cortexia_video.storage.paths import LARGEST_TEXT, AnyPath, PathLike, is_folder, read_named, to_path

Floats = NDArray[np.float64]
TRANSFORMS = "transforms.json"
_PLY = "sparse_pc.ply"  # as ns-process-data calls it, where the file does not say
_LARGEST_PLY = 1 << 32
_TO_OPENCV = np.array([1.0, -1.0, -1.0])
_FISHEYES = ("OPENCV_FISHEYE", "FISHEYE", "KANNALA_BRANDT4")
_PERSPECTIVES = (None, "SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "PERSPECTIVE")
_DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")  # in the order of `distortion_params`


class Transforms:
    """A transforms.json: its frames by the names of their images.

    path: the file, or the folder that holds it. Raises `InputError` for what is none.
    """

    def __init__(self, path: PathLike) -> None:
        place = to_path(path)
        self.place: AnyPath = place / TRANSFORMS if is_folder(place) else place
        with in_words(f"cannot read {printable(str(self.place))}"):
            self.data = read_named(self.place, limit=LARGEST_TEXT)
        self.said: Any = parse_json(self.data, printable(str(self.place)))
        frames = self.said.get("frames") if isinstance(self.said, dict) else None
        if not isinstance(frames, list) or not all(isinstance(each, dict) for each in frames):
            raise InputError(
                f"{printable(str(self.place))}: it has no list of frames, as nerfstudio writes them"
            )
        named = [each for each in frames if isinstance(each.get("file_path"), str)]
        self.frames: dict[str, dict[str, Any]] = {
            str(PurePosixPath(each["file_path"])): each for each in named
        }
        self._names = NameIndex(self.frames)

    def find_frame(self, key: str) -> str | None:
        """Return the name of the image that a key means; None where there is none."""
        return self._names.find(key)

    def find_camera(self, name: str, width: int, height: int) -> LensCamera:
        """Return the camera of a frame; of an image of width x height where the file does not say its size."""
        said = {**self.said, **self.frames[name]}

        def number(*names: str, default: float | None = None) -> float:
            value = next((said[each] for each in names if said.get(each) is not None), default)
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise InputError(f"{printable(name)}: {names[0]} in {TRANSFORMS} is {value!r}, not a number")
            return float(value)

        width, height = int(number("w", default=width)), int(number("h", default=height))
        f_px = None
        if "fl_x" not in said and "camera_angle_x" in said:
            f_px = width / 2 / math.tan(number("camera_angle_x") / 2)
        fx = number("fl_x", default=f_px)
        params = [
            fx,
            number("fl_y", default=fx),
            number("cx", default=width / 2),
            number("cy", default=height / 2),
        ]
        listed = said.get("distortion_params")
        if isinstance(listed, list) and len(listed) == len(_DISTORTION):
            said |= dict(zip(_DISTORTION, listed, strict=True))
        k1, k2, k3, k4, p1, p2 = (number(each, default=0.0) for each in _DISTORTION)
        model = said.get("camera_model")
        if model not in (*_FISHEYES, *_PERSPECTIVES):
            raise InputError(
                f"{printable(name)}: a camera_model of {printable(str(model))[:40]} is not known here: undistort "
                "the images, for a PINHOLE"
            )
        if model in _FISHEYES:
            return LensCamera("OPENCV_FISHEYE", width, height, (*params, k1, k2, k3, k4))
        if k4:
            raise InputError(
                f"{printable(name)}: the distortion k4 of a camera without fisheye is not known here"
            )
        return LensCamera("FULL_OPENCV", width, height, (*params, k1, k2, p1, p2, k3, 0.0, 0.0, 0.0))

    def find_pose(self, name: str) -> tuple[Floats, Floats]:
        """Return rotation (3, 3) and place (3,) of a frame's camera in the world of the points, in OpenCV's axes."""
        try:
            matrix = np.array(self.frames[name]["transform_matrix"], np.float64)
        except (KeyError, TypeError, ValueError):
            matrix = np.empty(0)
        if matrix.shape not in ((4, 4), (3, 4)) or not np.isfinite(matrix).all():
            raise InputError(
                f"{printable(name)}: its transform_matrix in {TRANSFORMS} is no pose, (4, 4) numbers"
            )
        scale = self.said.get("applied_scale", 1.0)
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < math.inf:
            raise InputError(f"applied_scale in {TRANSFORMS} is {scale!r}: it must be a number above 0")
        return matrix[:3, :3] * _TO_OPENCV, matrix[:3, 3] / scale


class NerfstudioPoints:
    """A `SparseDepth`: the points of the PLY that each frame may see, in the unit of transforms.json."""

    by = "transforms"

    def __init__(self, path: PathLike) -> None:
        self.transforms = Transforms(path)
        said = self.transforms.said.get("ply_file_path", _PLY)
        place = self.transforms.place.parent / str(said)
        with in_words(f"cannot read the points of {TRANSFORMS}, {printable(str(place))}"):
            data = read_named(place, limit=_LARGEST_PLY, within=self.transforms.place.parent)
            self._points = decode_points(data)
        digest = hashlib.sha256(self.transforms.data + hashlib.sha256(data).digest())
        self.settings: Mapping[str, object] = {"transforms": digest.hexdigest()}

    def find(self, key: str, width: int, height: int) -> Floats:
        name = self.transforms.find_frame(key)
        if name is None:
            raise InputError(
                f"{TRANSFORMS} has no frame of its name, of {len(self.transforms.frames)}: its file_path must end "
                "in that"
            )
        camera = self.transforms.find_camera(name, width, height)
        if not has_same_shape((width, height), (camera.width, camera.height)):
            raise InputError(
                f"the frame {printable(name)} has {camera.width} x {camera.height}, the depth is of an image of "
                f"{width} x {height}: give depth of the frames"
            )
        rotation, place = self.transforms.find_pose(name)
        points = to_axes(self._points, rotation.T, -rotation.T @ place)
        pixels, kept = project_visible(points, camera)
        return np.column_stack([pixels * (width / camera.width, height / camera.height), points[kept, 2]])
