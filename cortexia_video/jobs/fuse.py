"""One point cloud of many aligned maps: their points in the world of a COLMAP model, averaged in voxels."""

from __future__ import annotations

import math
import os
import threading
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cortexia_video.errors import Failure, InputError, OutputError, attempt, printable
from cortexia_video.geometry.depth_edges import choose_max_gap, find_edges, keep_known
from cortexia_video.images.decode import decode
from cortexia_video.images.resampling import resize_image
from cortexia_video.ledger.artifacts import Line, read_run_depth, read_run_image
from cortexia_video.ledger.lines import read_done
from cortexia_video.pinhole import has_same_shape
from cortexia_video.point_clouds.cloud import PointCloud
from cortexia_video.point_clouds.files import OVERWRITE
from cortexia_video.point_clouds.ply import encode_ply
from cortexia_video.runtime.bounded_map import map_bounded
from cortexia_video.runtime.progress import track
from cortexia_video.runtime.resources import choose_workers
from cortexia_video.sparse_depth.colmap import ColmapModel
from cortexia_video.storage.atomic_file import write_atomic
from cortexia_video.storage.paths import AnyPath, require_free, to_path

Floats = NDArray[np.float64]
MOST_VOXELS = 1 << 23  # of some 60 bytes; for more the voxels are made twice as large
_WAITING = 1 << 22  # points in voxels of single images, before they are joined
_BITS = 21  # of a voxel's place along an axis
_LOWEST = -(1 << (_BITS - 1))


@dataclass(frozen=True, slots=True)
class FusedCloud:
    """What was fused.

    Attributes:
        points: How many points were written.
        images: Of so many images.
        voxel: Side of a voxel, in the model's unit.
        failures: Images that have no part in it.
    """

    points: int
    images: int
    voxel: float
    failures: list[Failure] = field(default_factory=list)


def fuse_point_clouds(
    run: str | os.PathLike[str],
    output: str | os.PathLike[str],
    colmap: str | os.PathLike[str],
    *,
    voxel: float | None = None,
    max_gap: float | None = None,
    overwrite: bool = False,
    workers: int | None = None,
) -> FusedCloud:
    """Write one PLY of every image that `cortexia align` gave depth to, in the model's axes and unit.

    Points that share a voxel become their mean, in place and colour. Memory does not grow with the images: where the
    scene fills more than eight million voxels, these are made twice as large.

    Args:
        run: The output folder of `cortexia align`, aligned to the model.
        output: The .ply file to write.
        colmap: The model that the depth was aligned to.
        voxel: Side of a voxel, in the model's unit; by default what a pixel of the first map covers at its median
            depth.
        max_gap: As of `point_cloud`: pixels at a larger gap in depth are left out.
        overwrite: Replace an existing file.
        workers: Threads; one per core by default.

    Returns:
        How many points of how many images, and which images failed.

    Raises:
        InputError: There is no ledger or no model, or no image has a part in it.
        OutputError: The name does not end in .ply, or nothing can be written.
        OutputExistsError: The file exists.
    """
    root, place = to_path(run), to_path(output)
    if place.suffix.lower() != ".ply":
        raise OutputError(f"{printable(str(place))}: a fused point cloud is a .ply file")
    if voxel is not None and not 0 < voxel < math.inf:
        raise InputError(f"`voxel` must be a side above 0, got {voxel:g}")
    if not overwrite:
        require_free(place, OVERWRITE)
    model, failures, images = ColmapModel(colmap), [], 0
    rays = _Rays(model)
    grid: VoxelGrid | None = None

    def take(line: Line) -> tuple[Floats, NDArray[np.uint8], float] | Failure:
        return attempt(line["key"], "decode", partial(_place_points, root, line, model, rays, max_gap))

    placed = map_bounded(read_done(root), take, workers=choose_workers(workers))
    for found in track(placed, "fusing"):
        if isinstance(found, Failure):
            failures.append(found)
            continue
        points, colors, pixel = found
        grid = grid or VoxelGrid(voxel or pixel)
        grid.add(points, colors)
        images += 1
    if grid is None:
        said = f": {failures[0].reason}" if failures else ""
        raise InputError(f"no image of {printable(str(root))} can be fused{said}")
    cloud = grid.to_cloud()
    with write_atomic(place) as partial_file, partial_file.open("wb") as file:
        file.writelines(encode_ply(cloud, axes="those of the COLMAP model"))
    return FusedCloud(len(cloud.points), images, grid.voxel, failures)


class VoxelGrid:
    """Means of points and colours by voxel. voxel: the side of one, which doubles where there would be too many."""

    def __init__(self, voxel: float, *, most: int = MOST_VOXELS) -> None:
        self.voxel = voxel
        self._most = most
        self._keys, self._sums = np.empty(0, np.int64), np.empty((0, 7))
        self._waiting: list[tuple[NDArray[np.int64], Floats]] = []

    def add(self, points: Floats, colors: NDArray[np.uint8]) -> None:
        """Take in points (N, 3) with their colours (N, 3)."""
        sums = np.column_stack([points, colors, np.ones(len(points))])
        self._waiting.append(_join(self._find_keys(points), sums))
        if sum(len(keys) for keys, _ in self._waiting) > _WAITING:
            self._settle()

    def to_cloud(self) -> PointCloud:
        """Return a point for each voxel, the mean of what fell into it."""
        self._settle()
        means = self._sums[:, :6] / self._sums[:, 6:]
        return PointCloud(
            means[:, :3].astype(np.float32), np.rint(means[:, 3:]).astype(np.uint8), None, "metre"
        )

    def _settle(self) -> None:
        keys = np.concatenate([self._keys, *(each for each, _ in self._waiting)])
        self._keys, self._sums = _join(
            keys, np.concatenate([self._sums, *(each for _, each in self._waiting)])
        )
        self._waiting = []
        while len(self._keys) > self._most:
            self.voxel *= 2
            means = self._sums[:, :3] / self._sums[:, 6:]
            self._keys, self._sums = _join(self._find_keys(means), self._sums)

    def _find_keys(self, points: Floats) -> NDArray[np.int64]:
        """Return the numbers of the voxels that points are in; what is too far away for one is at the rim."""
        cells = np.clip(np.floor(points / self.voxel), _LOWEST, -_LOWEST - 1).astype(np.int64) - _LOWEST
        return (cells[:, 0] << 2 * _BITS) | (cells[:, 1] << _BITS) | cells[:, 2]


class _Rays:
    """The rays of a model's cameras at the pixels of depth maps, remembered: most images share a camera."""

    def __init__(self, model: ColmapModel) -> None:
        self._model = model
        self._known: dict[tuple[int, int, int], Floats] = {}
        self._lock = threading.Lock()

    def find(self, name: str, shape: tuple[int, int]) -> Floats:
        """Return x / z and y / z of each pixel of a map of this shape, (H, W, 2)."""
        camera = self._model.find_camera(name)
        key = (hash(camera), *shape)
        with self._lock:
            if key not in self._known:
                if len(self._known) > 8:
                    self._known.clear()
                lines, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
                pixels = np.stack(
                    [columns * (camera.width / shape[1]), lines * (camera.height / shape[0])], axis=-1
                )
                self._known[key] = camera.find_rays(pixels.reshape(-1, 2)).reshape(*shape, 2)
            return self._known[key]


def _place_points(
    root: AnyPath, line: Line, model: ColmapModel, rays: _Rays, max_gap: float | None
) -> tuple[Floats, NDArray[np.uint8], float]:
    """Return an image's points in the world, their colours, and what a pixel covers at the median depth."""
    if line.get("aligned_by") != "colmap":
        raise InputError("its depth is not in the scale of a model: `cortexia align` makes it so")
    name = model.find_image(line["key"])
    if name is None:
        raise InputError(f"the model of {len(model.names)} images has none of its name")
    depth = read_run_depth(root, line)
    height, width = depth.full_size or depth.values.shape
    camera = model.find_camera(name)
    if not has_same_shape((width, height), (camera.width, camera.height)):
        raise InputError(
            f"the model's image has {camera.width} x {camera.height}, the depth's {width} x {height}"
        )
    values = keep_known(depth.values)
    shape = (values.shape[0], values.shape[1])
    focal = camera.focal[0] * shape[1] / camera.width
    gap = choose_max_gap(focal) if max_gap is None else max_gap
    direction = rays.find(name, shape)
    kept = ~(np.isnan(values) | find_edges(values, gap) | np.isnan(direction[..., 0]))
    if not kept.any():
        raise InputError("no point is left: each pixel is unknown or at a gap")
    z = values[kept].astype(np.float64)
    seen = np.column_stack([direction[kept] * z[:, None], z])
    rotation, translation = model.find_pose(name)
    image = decode(read_run_image(line), line["key"], max_megapixels=math.inf).image
    colors = resize_image(image, *shape)[kept]
    return (seen - translation) @ rotation, colors, float(np.median(z)) / focal


def _join(keys: NDArray[np.int64], sums: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Add up what has the same key."""
    if not len(keys):
        return keys, sums
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[first], np.add.reduceat(sums[order], first, axis=0)
