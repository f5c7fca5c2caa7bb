"""One point cloud of many aligned maps: their points in the world of a COLMAP model, averaged in voxels."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthMap, require_perspective
from cortexia_video.errors import Failure, InputError, OutputError, attempt, printable
from cortexia_video.geometry.alignment import fit_samples, take_samples
from cortexia_video.geometry.depth_edges import choose_max_gap, find_edges, keep_known
from cortexia_video.images.decode import decode
from cortexia_video.images.resampling import resize_image
from cortexia_video.ledger.artifacts import Line, read_run_depth, read_run_image
from cortexia_video.ledger.lines import read_done
from cortexia_video.point_clouds.cloud import PointCloud
from cortexia_video.point_clouds.files import OVERWRITE
from cortexia_video.point_clouds.ply import encode_ply
from cortexia_video.runtime.bounded_map import map_bounded
from cortexia_video.runtime.progress import track
from cortexia_video.runtime.resources import choose_workers
from cortexia_video.sparse_depth.colmap import ColmapModel
from cortexia_video.sparse_depth.colmap_points import ColmapPoints
from cortexia_video.storage.atomic_file import write_atomic
from cortexia_video.storage.paths import AnyPath, require_free, to_path

Floats = NDArray[np.float64]
MOST_VOXELS = 1 << 23  # of some 60 bytes; for more the voxels are made twice as large
_WAITING = 1 << 22  # points in voxels of single images, before they are joined
_BITS = 21  # of a voxel's place along an axis
_TELLING = 10  # points of a model that tell its scale
_NEAR = 1.25  # factor between depth and a model's points within which they are of one scale
_LOWEST = -(1 << (_BITS - 1))
_COLUMNS = 7  # of a voxel: the sums of x, y, z, red, green and blue, and how many points they are of
_GONE = np.empty(0)
_Voxels = tuple[NDArray[np.int64], list[Floats]]  # keys, ascending, and columns


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
    images: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    workers: int | None = None,
) -> FusedCloud:
    """Write one PLY of every image of a model whose depth is metric, in the model's axes and unit.

    Depth that was aligned to something else, or was metric from the start, counts where it agrees with the model's
    points of its image within a quarter, or where there are none: it is for models that are in metres.

    Points that share a voxel become their mean, in place and colour. Memory does not grow with the images: where the
    scene fills more than eight million voxels, these are made twice as large.

    Args:
        run: The output folder of `cortexia align`, or of another run with metric depth.
        output: The .ply file to write.
        colmap: The model with the images' poses, best the one that the depth was aligned to.
        voxel: Side of a voxel, in the model's unit; by default what a pixel of the first map covers at its median
            depth.
        max_gap: As of `point_cloud`: pixels at a larger gap in depth are left out.
        images: The folder that the images of the run are in now, by their keys, if they were moved.
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
    known, failures, count = ColmapPoints(colmap), list[Failure](), 0
    placer = _Placer(root, known, max_gap, to_path(images) if images else None)
    grid: VoxelGrid | None = None

    def take(line: Line) -> tuple[Floats, NDArray[np.uint8], float] | Failure:
        return attempt(line["key"], "decode", partial(placer.place, line))

    placed = map_bounded(read_done(root), take, workers=choose_workers(workers))
    for found in track(placed, "fusing"):
        if isinstance(found, Failure):
            failures.append(found)
            continue
        points, colors, pixel = found
        grid = grid or VoxelGrid(voxel or pixel)
        grid.add(points, colors)
        count += 1
    if grid is None:
        said = f": {failures[0].reason}" if failures else ""
        raise InputError(f"no image of {printable(str(root))} can be fused{said}")
    cloud = grid.to_cloud()
    with write_atomic(place) as partial_file, partial_file.open("wb") as file:
        file.writelines(encode_ply(cloud, axes="those of the COLMAP model"))
    return FusedCloud(len(cloud.points), count, grid.voxel, failures)


class VoxelGrid:
    """Means of points and colours by voxel. voxel: the side of one, which doubles where there would be too many."""

    def __init__(self, voxel: float, *, most: int = MOST_VOXELS) -> None:
        self.voxel = voxel
        self._most = most
        self._settled: _Voxels = (np.empty(0, np.int64), [np.empty(0)] * _COLUMNS)
        self._waiting: list[_Voxels] = []

    def add(self, points: Floats, colors: NDArray[np.uint8]) -> None:
        """Add points (N, 3) with their colours (N, 3)."""
        columns = [*points.T, *colors.T.astype(np.float64), np.ones(len(points))]
        self._waiting.append(_join([(self._find_keys(points.T), columns)]))
        if sum(len(keys) for keys, _ in self._waiting) > _WAITING:
            self._settle()

    def to_cloud(self) -> PointCloud:
        """Return a point for each voxel, the mean of what fell into it."""
        self._settle()
        _, (*sums, counts) = self._settled
        points, colors = np.empty((len(counts), 3), np.float32), np.empty((len(counts), 3), np.uint8)
        for axis in range(3):
            points[:, axis] = sums[axis] / counts
            colors[:, axis] = np.rint(sums[3 + axis] / counts)
        return PointCloud(points, colors, None, "metre")

    def _settle(self) -> None:
        self._settled, self._waiting = _join([self._settled, *self._waiting]), []
        while len(self._settled[0]) > self._most:
            self.voxel *= 2
            sums = self._settled[1]
            keys = self._find_keys([each / sums[-1] for each in sums[:3]])
            self._settled = _join([(keys, sums)])

    def _find_keys(self, axes: Iterable[Floats]) -> NDArray[np.int64]:
        """Return the numbers of the voxels that x, y and z are in; what is too far away for one is at the rim."""
        x, y, z = (
            np.clip(np.floor(each / self.voxel), _LOWEST, -_LOWEST - 1).astype(np.int64) - _LOWEST
            for each in axes
        )
        return (x << 2 * _BITS) | (y << _BITS) | z


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


class _Placer:
    """Puts the pixels of a run's maps into the world of a model. images: as of `fuse_point_clouds`."""

    def __init__(
        self, root: AnyPath, known: ColmapPoints, max_gap: float | None, images: AnyPath | None
    ) -> None:
        self._root, self._known, self._model = root, known, known.model
        self._max_gap, self._images = max_gap, images
        self._rays = _Rays(known.model)

    def place(self, line: Line) -> tuple[Floats, NDArray[np.uint8], float]:
        """Return an image's points in the world, their colours, and what a pixel covers at the median depth."""
        key, depth = line["key"], read_run_depth(self._root, line)
        require_perspective(depth, "fused points")
        if depth.kind != "metric":
            raise InputError(
                f"its depth is {depth.kind}, in no scale of a model: `cortexia align` makes it so"
            )
        height, width = depth.full_size or depth.values.shape
        points = self._known.find(key, width, height)
        if line.get("aligned_by") != self._known.by:
            _require_scale(depth, points)
        name = self._known.find_name(key)
        camera = self._model.find_camera(name)
        values = keep_known(depth.values)
        shape = (values.shape[0], values.shape[1])
        focal = camera.focal[0] * shape[1] / camera.width
        gap = choose_max_gap(focal) if self._max_gap is None else self._max_gap
        direction = self._rays.find(name, shape)
        kept = ~(np.isnan(values) | find_edges(values, gap) | np.isnan(direction[..., 0]))
        if not kept.any():
            raise InputError("no point is left: each pixel is unknown or at a gap")
        z = values[kept].astype(np.float64)
        seen = np.column_stack([direction[kept] * z[:, None], z])
        rotation, translation = self._model.find_pose(name)
        image = decode(read_run_image(line, images=self._images), key, max_megapixels=math.inf).image
        colors = resize_image(image, *shape)[kept]
        return (seen - translation) @ rotation, colors, float(np.median(z)) / focal


def _require_scale(depth: DepthMap, points: Floats) -> None:
    """Raise `InputError` where depth is far from the model's points (N, 4) of its image, if there are any."""
    samples = take_samples(depth, points)
    if len(samples.values) < _TELLING:
        return
    factor = fit_samples(samples, "metric").scale
    if not 1 / _NEAR <= factor <= _NEAR:
        raise InputError(
            f"the model's points are {factor:.3g} times as far as its depth says: align it to the model "
            "(`cortexia align --colmap`)"
        )


def _join(parts: list[_Voxels]) -> _Voxels:
    """Add up what has the same key, column by column: each is gone from the parts before the next is made."""
    keys = np.concatenate([each for each, _ in parts])
    order = np.argsort(keys, kind="stable")  # which merges what is sorted already
    keys = keys[order]
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])[: len(keys)])
    sums = []
    for number in range(_COLUMNS):
        column = np.concatenate([columns[number] for _, columns in parts])[order]
        for _, columns in parts:
            columns[number] = _GONE
        sums.append(np.add.reduceat(column, first) if len(first) else column)
    return keys[first], sums
