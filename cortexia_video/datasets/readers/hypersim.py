"""Hypersim: rendered rooms. Roberts et al., ICCV 2021.

Its files hold the distance along each pixel's ray. The rays are M_cam_from_uv (u, v, 1), with u from -1 to 1
to the right and v from -1 to 1 upward, at pixel centres (contrib/mikeroberts3000 of apple/ml-hypersim, whose
metadata_camera_parameters.csv has each scene's matrix). In 274 of 482 scenes the lens is shifted or tilted: the
image is not square to the axis that the scene calls z. M = Q T, Q a rotation and T upper triangular, is the
pinhole camera T that is square to its image, turned by Q (Hartley and Zisserman, Multiple View Geometry, section
6.2.4). Depth here is along its axis:

    z = distance * |T_33| / |T (u, v, 1)|
"""

from __future__ import annotations

import csv
import io
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.dataset_info import DatasetInfo
from cortexia_video.datasets.readers._pair import make_sample, read_image, read_image_file
from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import DepthFileError, InputError, in_words
from cortexia_video.formats.hdf5 import read_array
from cortexia_video.formats.quantization import split_rows
from cortexia_video.pinhole import Pinhole
from cortexia_video.rgbd_sample import RGBDSample
from cortexia_video.storage.paths import AnyPath, find_inside, name_inside, read_named_text

_CAMERAS, _SPLIT_LIST = "metadata_camera_parameters.csv", "metadata_images_split_scene_v1.csv"
_DISTANCES = "**/ai_*/images/scene_*_geometry_hdf5/frame.*.depth_meters.hdf5"
_SPLITS = ("train", "val", "test")
_FLAT = 1e-9  # of the largest value of a matrix: a side of the image that is so small is none
_SKEW = 1e-3  # of the focal length: half a pixel at the edge of an image


@dataclass(frozen=True, slots=True)
class _View:
    key: str
    image: AnyPath
    distance: AnyPath
    rays: tuple[float, ...] | None  # M_cam_from_uv, row by row


def _open(root: AnyPath, split: str | None) -> RGBDDataset:
    distances, wanted = find_inside(root, _DISTANCES), None
    rays = dict[str, tuple[float, ...]]()
    names = [f"M_cam_from_uv_{row}{column}" for row in range(3) for column in range(3)]
    for row in _read_table(root, _CAMERAS, {"scene_name", *names}) if distances else ():
        with suppress(TypeError, ValueError):  # a broken line costs its scene
            rays[row["scene_name"]] = tuple(float(row[name]) for name in names)
    if split is not None:
        columns = {
            "scene_name",
            "camera_name",
            "frame_id",
            "split_partition_name",
            "included_in_public_release",
        }
        wanted = {
            (row["scene_name"], row["camera_name"], row["frame_id"])
            for row in _read_table(root, _SPLIT_LIST, columns)
            if row["split_partition_name"] == split and row["included_in_public_release"] == "True"
        }
    views = []
    for distance in distances:
        scene, camera = distance.parts[-4], distance.parts[-2][len("scene_") : -len("_geometry_hdf5")]
        frame = distance.name.split(".")[1]
        if wanted is None or (scene, camera, str(int(frame))) in wanted:
            image = distance.parent.parent / f"scene_{camera}_final_preview" / f"frame.{frame}.tonemap.jpg"
            views.append(_View(name_inside(image, root), image, distance, rays.get(scene)))
    return RGBDDataset("hypersim", views, _read, read_file=read_image_file)


def _read(view: _View) -> RGBDSample:
    if view.rays is None:
        raise InputError(f"{_CAMERAS} does not say how {view.key} was seen: get the newest of it")
    distance = read_array(view.distance, "dataset")
    if distance.ndim != 2:
        raise DepthFileError(f"{view.distance}: its shape is {distance.shape}, not (height, width)")
    with np.errstate(all="ignore"):  # what comes of anybody's numbers is looked at next
        depth = distance.astype(np.float32) * _find_slant(view.rays, *distance.shape)
    depth[~(np.isfinite(depth) & (depth > 0))] = np.nan
    camera = _find_camera(view.rays, *distance.shape)
    image = read_image(view.image, view.key)
    return make_sample(view.key, image, DepthMap(depth, "metric"), origin="hypersim", camera=camera)


def _straighten(rays: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the rays (3, 3) of the camera that is square to its image, whose last one is (0, 0, 1).

    Raises `InputError` for a matrix that no lens has.
    """
    with np.errstate(all="ignore"):
        upper = np.linalg.qr(np.reshape(rays, (3, 3)))[1]
    sides = np.abs(np.diag(upper))
    if not np.isfinite(upper).all() or sides.min() <= _FLAT * np.abs(upper).max():
        raise InputError(f"its matrix in {_CAMERAS} is of no lens: get the newest of it")
    turned = upper * np.sign(np.diag(upper))[:, None]
    return np.asarray(turned / turned[2, 2])


@lru_cache(maxsize=2)
def _find_slant(rays: tuple[float, ...], height: int, width: int) -> NDArray[np.float32]:
    """Return depth along the axis for a distance of 1 along each ray, float32 (H, W)."""
    slant = np.empty((height, width), np.float32)
    straight = _straighten(rays)
    u = (2 * np.arange(width) + 1) / width - 1
    v = 1 - (2 * np.arange(height) + 1) / height
    for rows in split_rows(height, width):  # whole, the rays would take ten times as much memory
        grid = np.stack([*np.meshgrid(u, v[rows]), np.ones((rows.stop - rows.start, width))], axis=-1)
        slant[rows] = 1 / np.linalg.norm(grid @ straight.T, axis=-1)
    return slant


def _find_camera(rays: tuple[float, ...], height: int, width: int) -> Pinhole | None:
    """Return the pinhole camera of a matrix of rays; None for the few whose rows and columns are askew."""
    a, skew, left, _, b, top = _straighten(rays)[:2].ravel().tolist()
    if abs(skew) > _SKEW * a:
        return None
    fx, fy = width / 2 / a, height / 2 / b
    return Pinhole(fx, fy, width / 2 - fx * left, height / 2 + fy * top, width, height)


def _read_table(root: AnyPath, name: str, columns: set[str]) -> list[dict[str, str]]:
    with in_words(f"no {name} in {root}", "put it there, from github.com/apple/ml-hypersim"):
        table = csv.DictReader(io.StringIO(read_named_text(root / name), newline=""))
        rows = list(table)
    if lacking := columns - {*(table.fieldnames or ())}:
        raise InputError(f"{root / name} has no column {min(lacking)}: get the newest of it")
    return rows


INFO = DatasetInfo(
    name="hypersim",
    summary="Hypersim: rendered rooms, metres along the axis (converted)",
    licence="CC BY-SA 3.0",
    where="https://github.com/apple/ml-hypersim",
    layout=f"ai_001_001/images/ with scene_cam_00_final_preview/ and scene_cam_00_geometry_hdf5/, and "
    f"{_CAMERAS}; for splits {_SPLIT_LIST}",
    open=_open,
    splits=_SPLITS,
    marks=("**/scene_*_geometry_hdf5",),
)
