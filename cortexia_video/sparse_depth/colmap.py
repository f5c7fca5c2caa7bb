"""COLMAP's sparse models, text or binary: cameras, poses, and the points that each image sees.

Source: colmap.github.io, "Output Format". Binary files are little endian. What an image sees is read when it is
asked for, so that memory does not grow with the observations of a model; tracks are only counted.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import os
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cortexia_video.errors import InputError, in_words, printable
from cortexia_video.geometry.camera_models import LENSES, LensCamera
from cortexia_video.sparse_depth.names import NameIndex
from cortexia_video.sparse_depth.visible import project_visible, to_axes
from cortexia_video.storage.paths import AnyPath, PathLike, open_named, to_path

Floats = NDArray[np.float64]
Data = mmap.mmap | bytes
FILES = ("cameras", "images", "points3D")
_POSE = struct.Struct("<I7dI")  # an image's id, its rotation and translation, its camera's id
_POINT = np.dtype([("id", "<i8"), ("xyz", "<f8", 3), ("rgb", "u1", 3), ("error", "<f8")])
_SEEN = np.dtype([("x", "<f8"), ("y", "<f8"), ("id", "<i8")])
_COUNT = struct.Struct("<Q")
_LONGEST_NAME = 4096
_AT_ONCE = 1 << 18  # points
_MOST_IDS = 2.0**62
_MOST_ERROR = 1e6  # pixels
_NO_ERROR = 1.0  # pixels: of a point whose error was never computed


@dataclass(frozen=True, slots=True)
class _Image:
    """rotation: quaternion w, x, y, z, and translation, from the world to the camera. begin, size: where its
    points stand in the file of images, in bytes."""

    name: str
    camera: int
    rotation: tuple[float, float, float, float]
    translation: tuple[float, float, float]
    begin: int
    size: int


@dataclass(frozen=True, slots=True)
class Observations:
    """What an image sees. pixels: (N, 2). points: (N, 3), in the camera's axes. weights: (N,), by track length and
    reprojection error."""

    pixels: Floats
    points: Floats
    weights: Floats


class ColmapModel:
    """A model's folder: `cameras`, `images` and `points3D`, .bin or .txt. Threads may share it.

    Args:
        folder: Holds the three files, or `0`, `sparse/0` or `sparse` with them.

    Raises:
        InputError: There is no model, or a file is damaged.

    Example:
        >>> model = cx.sparse_depth.ColmapModel("scene/sparse/0")  # doctest: +SKIP
        >>> model.find_image("trip/IMG_1.jpg")  # doctest: +SKIP
        'IMG_1.jpg'
    """

    def __init__(self, folder: PathLike) -> None:
        self.folder, self._suffix = _find_model(folder)
        with in_words(f"{printable(str(self.folder))}: not a whole model of COLMAP", "export it again"):
            binary = self._suffix == ".bin"
            self.cameras = dict(
                (_read_cameras_binary if binary else _read_cameras_text)(self._data("cameras"))
            )
            self._seen = self._data("images")
            images = (_read_images_binary if binary else _read_images_text)(self._seen)
            self._images = {each.name: each for each in images}
            points = (_read_points_binary if binary else _read_points_text)(self._data("points3D"))
        ids, places, errors, tracks = points
        order = np.argsort(ids, kind="stable")
        self._ids, self._points = ids[order], places[order]
        self._errors, self._tracks = errors[order], tracks[order]
        self._names = NameIndex(self._images)
        lost = next((each.camera for each in self._images.values() if each.camera not in self.cameras), None)
        if lost is not None:
            raise InputError(f"{printable(str(self.folder))}: it has no camera {lost}, which an image names")

    @property
    def names(self) -> list[str]:
        """The images' names, in the model's order."""
        return [*self._images]

    @property
    def digest(self) -> str:
        """Return what changes with the model: a digest of its files' sizes and times of change."""
        files = (self.folder / f"{name}{self._suffix}" for name in FILES)
        said = [(status.st_size, status.st_mtime_ns) for status in (each.stat() for each in files)]
        return hashlib.sha256(repr(said).encode()).hexdigest()

    def find_image(self, key: str) -> str | None:
        """Return the name of the image that a key means.

        Args:
            key: Path of an image, with `/`.

        Returns:
            Its name in the model; None where there is none.

        Raises:
            InputError: Several could be meant.
        """
        return self._names.find(key)

    def find_camera(self, name: str) -> LensCamera:
        """Return the camera of an image.

        Args:
            name: Of the image in the model.

        Returns:
            The camera, with its lens.
        """
        return self.cameras[self._images[name].camera]

    def find_pose(self, name: str) -> tuple[Floats, Floats]:
        """Return where an image was taken.

        Args:
            name: Of the image in the model.

        Returns:
            Rotation, float64 (3, 3), and translation, float64 (3,), in the model's unit, from the world's axes to
            those of the image's camera.
        """
        image = self._images[name]
        return to_matrix(np.array(image.rotation)), np.array(image.translation)

    def find_points(self, name: str) -> Observations:
        """Return the points that an image sees where it sees them; of a model without that, those it may see.

        These are projected through its lens, and only the nearest in each part of the image are kept.

        Args:
            name: Of the image in the model.

        Returns:
            Pixels (N, 2), points (N, 3) in the camera's axes and weights (N,).

        Raises:
            InputError: Its line in images.txt is damaged.
        """
        image = self._images[name]
        rotation, translation = self.find_pose(name)
        data = bytes(self._seen[image.begin : image.begin + image.size])
        if self._suffix == ".bin":
            seen = np.frombuffer(data, _SEEN)
            pixels, ids = np.column_stack([seen["x"], seen["y"]]), seen["id"]
        else:
            with in_words(f"{printable(name)}: its points in images.txt are not numbers", "export it again"):
                table = np.array(data.split(), np.float64).reshape(-1, 3)
            pixels, numbers = table[:, :2], table[:, 2]
            ids = np.where(np.abs(numbers) < _MOST_IDS, numbers, -1).astype(np.int64)
        linked = ids >= 0
        if not linked.any():
            points = to_axes(self._points, rotation, translation)
            pixels, kept = project_visible(points, self.find_camera(name))
            return Observations(pixels, points[kept], self._weigh(kept))
        rows = np.searchsorted(self._ids, ids[linked])
        rows[rows == len(self._ids)] = 0
        there = self._ids[rows] == ids[linked] if len(self._ids) else np.zeros(len(rows), bool)
        rows, pixels = rows[there], pixels[linked][there]
        points = to_axes(self._points[rows], rotation, translation)
        return Observations(pixels, points, self._weigh(rows))

    def _weigh(self, rows: NDArray[np.intp]) -> Floats:
        """Return how much points count: an error of triangulation falls with the views and the pixels' error."""
        errors = self._errors[rows].astype(np.float64)
        errors[~(errors >= 0)] = _NO_ERROR
        return np.clip(self._tracks[rows], 1, 16).astype(np.float64) / (0.25 + errors**2)

    def _data(self, name: str) -> Data:
        path = self.folder / f"{name}{self._suffix}"
        with open_named(path) as file:
            if isinstance(path, Path) and os.fstat(file.fileno()).st_size:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            return file.read()


def is_model(folder: PathLike) -> bool:
    """Return whether a folder holds a model of COLMAP."""
    try:
        _find_model(folder)
    except InputError:
        return False
    return True


def to_matrix(quaternion: Floats) -> Floats:
    """Return the rotation (3, 3) of a quaternion w, x, y, z of any length above 0."""
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _find_model(folder: PathLike) -> tuple[AnyPath, str]:
    place = to_path(folder)
    for inside in (place, place / "0", place / "sparse" / "0", place / "sparse"):
        for suffix in (".bin", ".txt"):
            if all((inside / f"{name}{suffix}").is_file() for name in FILES):
                return inside, suffix
    raise InputError(
        f"{printable(str(place))} is no model of COLMAP: it needs cameras, images and points3D, all .bin or all "
        ".txt; give the folder that holds them (sparse/0)"
    )


def _read_cameras_binary(data: Data) -> Iterator[tuple[int, LensCamera]]:
    names = {lens.number: name for name, lens in LENSES.items()}
    count, at = _read_count(data), _COUNT.size
    for _ in range(count):
        number, model, width, height = struct.unpack_from("<IiQQ", data, at)
        if model not in names:
            raise InputError(
                f"camera {number} is of a model that is not known here ({model}): undistort images"
            )
        length = LENSES[names[model]].count
        params = struct.unpack_from(f"<{length}d", data, at + 24)
        at += 24 + 8 * length
        yield number, LensCamera(names[model], width, height, params)


def _read_count(data: Data) -> int:
    """Return how many things a binary file holds, by its first bytes."""
    if len(data) < _COUNT.size:
        raise ValueError("a file is empty")
    return int(_COUNT.unpack_from(data)[0])


def _read_cameras_text(data: Data) -> Iterator[tuple[int, LensCamera]]:
    for _, line in _read_lines(data):
        number, model, width, height, *params = line.split()
        yield int(number), LensCamera(model.decode(), int(width), int(height), tuple(map(float, params)))


def _read_images_binary(data: Data) -> Iterator[_Image]:
    count, at = _read_count(data), _COUNT.size
    for _ in range(count):
        _, *pose, camera = _POSE.unpack_from(data, at)
        at += _POSE.size
        end = data.find(b"\0", at, at + _LONGEST_NAME)
        if end < 0:
            raise ValueError("an image's name has no end")
        (seen,) = _COUNT.unpack_from(data, end + 1)
        begin = end + 1 + _COUNT.size
        size = seen * _SEEN.itemsize
        if begin + size > len(data):
            raise ValueError("images.bin is cut short")
        yield _describe(data[at:end], camera, pose, begin, size)
        at = begin + size


def _read_images_text(data: Data) -> Iterator[_Image]:
    lines = _read_lines(data, keep_empty=True)
    for _, line in lines:
        if not line.strip():
            continue
        _, *pose, camera, name = line.split(None, 9)
        begin, seen = next(lines, (0, b""))
        yield _describe(name.strip(), int(camera), [*map(float, pose)], begin, len(seen))


def _describe(name: bytes, camera: int, pose: list[float], begin: int, size: int) -> _Image:
    w, x, y, z, *translation = pose
    if not (np.isfinite(pose).all() and 1e-6 < math.hypot(w, x, y, z) < 1e6):
        raise ValueError(f"the pose of {printable(name.decode('utf-8', 'surrogateescape'))} is no pose")
    a, b, c = translation
    return _Image(name.decode("utf-8", "surrogateescape"), camera, (w, x, y, z), (a, b, c), begin, size)


Columns = tuple[NDArray[np.int64], Floats, NDArray[np.float32], NDArray[np.int32]]


def _read_points_binary(data: Data) -> Columns:
    """Return ids, places, errors and lengths of tracks; each point's bytes are as many as its track is long."""
    count, at = _read_count(data), _COUNT.size
    head = _POINT.itemsize
    if at + count * (head + _COUNT.size) > len(data):
        raise ValueError("points3D.bin is cut short")
    begins, read, step = array("q"), _COUNT.unpack_from, head + _COUNT.size
    try:
        for _ in range(count):  # the one loop over points: of millions
            begins.append(at)
            at += step + 8 * read(data, at + head)[0]
    except (struct.error, OverflowError) as error:
        raise ValueError("points3D.bin is cut short") from error
    if at > len(data):
        raise ValueError("points3D.bin is cut short")
    lengths = (np.diff(begins, append=at) - step) // 8
    ids, places, errors = np.empty(count, np.int64), np.empty((count, 3)), np.empty(count, np.float32)
    whole = np.frombuffer(data, np.uint8)
    for first in range(0, count, _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        points = whole[np.asarray(begins[part])[:, None] + np.arange(head)].view(_POINT)[:, 0]
        ids[part], places[part] = points["id"], points["xyz"]
        errors[part] = np.clip(points["error"], -1, _MOST_ERROR)
    return ids, places, errors, lengths.astype(np.int32)


def _read_points_text(data: Data) -> Columns:
    ids, places, errors, lengths = array("q"), array("d"), array("f"), array("i")
    for _, line in _read_lines(data):
        number, x, y, z, _, _, _, error, *track = line.split(None, 8)
        ids.append(int(number))
        places.extend((float(x), float(y), float(z)))
        errors.append(float(error))
        lengths.append((track[0].count(b" ") + 2) // 2 if track else 0)
    return (
        np.array(ids, np.int64),
        np.array(places, np.float64).reshape(-1, 3),
        np.array(errors, np.float32),
        np.array(lengths, np.int32),
    )


def _read_lines(data: Data, *, keep_empty: bool = False) -> Iterator[tuple[int, bytes]]:
    """Yield each line that is no comment, with where it begins."""
    at = 0
    while at < len(data):
        end = data.find(b"\n", at)
        end = len(data) if end < 0 else end
        line = data[at:end]
        if not line.startswith(b"#") and (keep_empty or line.strip()):
            yield at, line
        at = end + 1
