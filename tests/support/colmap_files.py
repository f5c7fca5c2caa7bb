"""Models of COLMAP for tests, written by the documented format apart from our reader.

Source: colmap.github.io, "Output Format".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MODELS = {"SIMPLE_PINHOLE": 0, "PINHOLE": 1, "SIMPLE_RADIAL": 2, "OPENCV": 4, "OPENCV_FISHEYE": 5}


@dataclass
class View:
    """An image of a model. rotation: (3, 3), and translation: from the world to the camera. seen: pixels (N, 2) of
    points, by their ids; -1 for a feature without a point."""

    rotation: Floats
    translation: Floats
    pixels: Floats
    ids: NDArray[np.int64]
    camera: int = 1


@dataclass
class Model:
    """cameras: model, width, height, parameters, by id. points: (N, 3), whose ids are `first` + index."""

    cameras: Mapping[int, tuple[str, int, int, Sequence[float]]]
    views: dict[str, View]
    points: Floats
    first: int = 1
    errors: Floats | None = None
    tracks: dict[int, list[tuple[int, int]]] = field(default_factory=dict)

    def write(self, folder: Path, how: Literal["bin", "txt"]) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for number, view in enumerate(self.views.values(), 1):
            for index, point in enumerate(view.ids.tolist()):
                if point >= 0:
                    self.tracks.setdefault(point, []).append((number, index))
        _write_binary(self, folder) if how == "bin" else _write_text(self, folder)
        return folder

    def error(self, index: int) -> float:
        return 0.5 if self.errors is None else float(self.errors[index])


def to_quaternion(rotation: Floats) -> tuple[float, float, float, float]:
    """Return w, x, y, z of a rotation, by the eigenvector of Bar-Itzhack, 2000."""
    r = rotation
    k = np.array(
        [
            [r[0, 0] - r[1, 1] - r[2, 2], r[1, 0] + r[0, 1], r[2, 0] + r[0, 2], r[2, 1] - r[1, 2]],
            [r[1, 0] + r[0, 1], r[1, 1] - r[0, 0] - r[2, 2], r[2, 1] + r[1, 2], r[0, 2] - r[2, 0]],
            [r[2, 0] + r[0, 2], r[2, 1] + r[1, 2], r[2, 2] - r[0, 0] - r[1, 1], r[1, 0] - r[0, 1]],
            [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], r[0, 0] + r[1, 1] + r[2, 2]],
        ]
    )
    x, y, z, w = np.linalg.eigh(k / 3)[1][:, -1]
    return float(w), float(x), float(y), float(z)


def _write_binary(model: Model, folder: Path) -> None:
    data = struct.pack("<Q", len(model.cameras))
    for number, (name, width, height, params) in model.cameras.items():
        data += struct.pack(f"<IiQQ{len(params)}d", number, MODELS[name], width, height, *params)
    (folder / "cameras.bin").write_bytes(data)
    parts = [struct.pack("<Q", len(model.views))]
    for number, (name, view) in enumerate(model.views.items(), 1):
        pose = (*to_quaternion(view.rotation), *view.translation)
        parts += [struct.pack("<I7dI", number, *pose, view.camera), name.encode() + b"\0"]
        seen = np.empty(len(view.ids), [("xy", "<f8", 2), ("id", "<i8")])
        seen["xy"], seen["id"] = view.pixels, view.ids
        parts += [struct.pack("<Q", len(seen)), seen.tobytes()]
    (folder / "images.bin").write_bytes(b"".join(parts))
    parts = [struct.pack("<Q", len(model.points))]
    for index, point in enumerate(model.points):
        track = model.tracks.get(model.first + index, [])
        parts.append(struct.pack("<Q3d3Bd", model.first + index, *point, 10, 20, 30, model.error(index)))
        parts.append(
            struct.pack(f"<Q{2 * len(track)}I", len(track), *[each for pair in track for each in pair])
        )
    (folder / "points3D.bin").write_bytes(b"".join(parts))


def _write_text(model: Model, folder: Path) -> None:
    lines = ["# Camera list"]
    for number, (name, width, height, params) in model.cameras.items():
        lines.append(f"{number} {name} {width} {height} {' '.join(map(repr, map(float, params)))}")
    (folder / "cameras.txt").write_text("\n".join(lines) + "\n")
    lines = ["# Image list with two lines of data per image:", "#   POINTS2D[] as (X, Y, POINT3D_ID)"]
    for number, (name, view) in enumerate(model.views.items(), 1):
        pose = (*to_quaternion(view.rotation), *view.translation.tolist())
        lines.append(f"{number} {' '.join(map(repr, map(float, pose)))} {view.camera} {name}")
        seen = zip(view.pixels.tolist(), view.ids.tolist(), strict=True)
        lines.append(" ".join(f"{x!r} {y!r} {point}" for (x, y), point in seen))
    (folder / "images.txt").write_text("\n".join(lines) + "\n")
    lines = ["# 3D point list"]
    for index, point in enumerate(model.points.tolist()):
        track = " ".join(f"{image} {place}" for image, place in model.tracks.get(model.first + index, []))
        lines.append(
            f"{model.first + index} {' '.join(map(repr, point))} 10 20 30 {model.error(index)} {track}"
        )
    (folder / "points3D.txt").write_text("\n".join(lines) + "\n")


def look(yaw: float, place: Sequence[float]) -> tuple[Floats, Floats]:
    """Return rotation and translation of a camera at a place that looks `yaw` to the right of the z axis."""
    c, s = np.cos(yaw), np.sin(yaw)
    rotation = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    return rotation, -rotation @ np.asarray(place, np.float64)


def make_views(
    depths: Mapping[str, Floats], f_px: float, count: int, *, seed: int = 0, wrong: float = 0.0
) -> Model:
    """Return a model in which each image sees `count` points of its own of its depth, a share of them wrong."""
    random = np.random.default_rng(seed)
    views: dict[str, View] = {}
    points: list[Floats] = []
    first = 5
    for number, (name, metres) in enumerate(depths.items()):
        height, width = metres.shape
        lines, columns = np.divmod(random.choice(metres.size, count, replace=False), width)
        pixels = np.stack([columns + 0.5, lines + 0.5], axis=1)
        there = metres[lines, columns].copy()
        bad = round(wrong * count)
        there[:bad] *= np.exp(random.uniform(0.3, 1.2, bad))
        rays = np.column_stack([(pixels - (width / 2, height / 2)) / f_px, np.ones(count)])
        rotation, translation = look(0.3 * number, (number, 0.2, -0.5))
        ids = first + np.arange(count) + count * len(points)
        points.append((rays * there[:, None] - translation) @ rotation)
        blank = np.full(7, -1)  # features without a point, as most are
        pixels = np.concatenate([random.uniform(0, height, (7, 2)), pixels])
        views[name] = View(rotation, translation, pixels, np.concatenate([blank, ids]))
    camera = ("PINHOLE", width, height, (f_px, f_px, width / 2, height / 2))
    return Model({1: camera}, views, np.concatenate(points), first)
