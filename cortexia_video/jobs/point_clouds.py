"""Point clouds of images and depth that lie in files: of one image, or of all that a run has done."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import xxhash

from cortexia_video.depth_map import DepthKind, DepthMap
from cortexia_video.errors import (
    Failure,
    InputError,
    attempt,
    printable,
)
from cortexia_video.frame import Frame
from cortexia_video.geometry.anchors import anchor_depth, require_distances
from cortexia_video.geometry.intrinsics import Intrinsics, load_intrinsics
from cortexia_video.images.decode import decode, read_orientation
from cortexia_video.jobs.outcomes import Listener, Outcomes, Report, open_outcomes
from cortexia_video.ledger.artifacts import (
    Line,
    expand_clip,
    find_depth,
    list_outputs,
    read_output,
    read_run_depth,
    read_run_image,
)
from cortexia_video.ledger.depth_reader import read_depth
from cortexia_video.ledger.entries import Source
from cortexia_video.ledger.lines import LedgerLines
from cortexia_video.ledger.state import LedgerState, require_ledger
from cortexia_video.pinhole import Pinhole, to_f_px
from cortexia_video.point_clouds.cloud import NO_SHAPE, UNITS, PointCloud, point_cloud, require_angle
from cortexia_video.point_clouds.files import OVERWRITE, find_encoder, save_point_cloud
from cortexia_video.runtime.bounded_map import run_bounded
from cortexia_video.runtime.resources import MemoryBudget, choose_workers
from cortexia_video.sinks.sink import open_sink
from cortexia_video.sources.find import InputFile
from cortexia_video.storage.paths import (
    AnyPath,
    is_same_folder,
    read_whole,
    require_free,
    to_absolute,
    to_path,
)
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.video.frames import read_frame

MEMORY = 1 << 30  # bytes of images and points in work at once, over all workers; a larger one is done alone
_IMAGE_BYTES, _DEPTH_BYTES = 10, 70  # for each pixel, at the worst moment

VIEW_ONLY = "there is only a view of the depth"
NO_FOCAL_LENGTH = "no focal length is known: give `f_px`, `fov_deg` or `intrinsics`"


@dataclass(frozen=True, kw_only=True)
class CloudOptions:
    """What the point clouds are to be.

    Args:
        f_px: Focal length of every image, in its pixels; else what was recorded with the depth, else EXIF.
        fov_deg: Horizontal field of view of every image, instead.
        intrinsics: CSV or JSON file of cameras by key, as for `estimate`; cx and cy count here.
        near_m: Metres to the nearest thing, for disparity and affine_invariant depth.
        far_m: Metres to the farthest thing; both or none.
        max_gap: Leave out pixels whose depth differs from a neighbour's by more than this share; inf keeps
            all. By default 0.05, less for focal lengths over 500 pixels.
        normals: Also which way the surface faces: what the run wrote of it, else by the depth.
    """

    f_px: float | None = None
    fov_deg: float | None = None
    intrinsics: str | None = None
    near_m: float | None = None
    far_m: float | None = None
    max_gap: float | None = None
    normals: bool = False


@dataclass(frozen=True, slots=True)
class _Work(InputFile):
    """An image that is to have a point cloud. source: its depth file. line: of the run's ledger."""

    line: Line


def make_point_cloud(
    image: str | os.PathLike[str],
    depth: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    kind: DepthKind | None = None,
    convention: str | None = None,
    options: CloudOptions = CloudOptions(),
    frame: int | None = None,
    overwrite: bool = False,
) -> PointCloud:
    """Make a .ply or .glb of an image and its depth file.

    Depth of another shape, whose file does not say of what size its image was, is taken to be of all of this
    one, unless one of them is upright and the other is not.

    Args:
        image: An image file.
        depth: Its depth file.
        output: The .ply or .glb file to write.
        kind: What the values mean, if the file does not say so: metric or scale_invariant; others need
            the distances of the nearest and the farthest thing, too.
        convention: Whose files these are, which says what values mean: tum, kitti, nyu, scannet, sunrgbd, depth-pro,
            moge and so on.
        options: Camera and shape of the point cloud.
        frame: Which frame to take of a video, whose depth is a clip, or of the clips of a run; of a run by default
            all.
        overwrite: Replace an existing file.

    Returns:
        The point cloud that was written.

    Raises:
        InputError: What `read_depth`, `decode`, `read_frame` and `point_cloud` raise.
        OutputExistsError: The file exists already, and `overwrite` does not say that it may be replaced.
        OutputError: It cannot be written.
    """
    image_path, place = to_path(image), to_path(output)
    find_encoder(place.suffix.removeprefix("."))
    if not overwrite:
        require_free(place, OVERWRITE)
    maker = CloudMaker(options)
    orientation = 1
    if frame is None:
        data = read_whole(image_path)
        seen, orientation = decode(data, image_path.name), read_orientation(data)
    else:
        seen = Frame(image_path.name, read_frame(image_path, frame))
        depth = f"{os.fspath(depth)}#{frame}"
    depth_map = read_depth(
        depth, about={"kind": kind} if kind else {}, convention=convention, also=maker.maps
    )
    height, width = depth_map.values.shape
    is_upright = (height - width) * (seen.height - seen.width) > 0 and orientation >= 5
    if orientation != 1 and depth_map.model is None and depth_map.full_size is None and not is_upright:
        raise InputError(
            f"EXIF turns {image_path.name} (orientation {orientation}), and whether its depth is turned, too, is not "
            "known: turn the image's pixels, and remove the orientation"
        )
    turned = (height - width) * (seen.height - seen.width) < 0
    known = depth_map.full_size or depth_map.f_px or turned
    if not known and (height, width) != (seen.height, seen.width):  # then it is of all of the image
        depth_map = replace(depth_map, full_size=(seen.height, seen.width))
    cloud = maker.make(depth_map, seen)
    save_point_cloud(cloud, place, overwrite=overwrite)
    return cloud


def make_point_clouds(
    run: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    format: Literal["ply", "glb"] = "ply",
    options: CloudOptions = CloudOptions(),
    images: str | os.PathLike[str] | None = None,
    frame: int | None = None,
    overwrite: bool = False,
    workers: int | None = None,
    on_outcome: Listener | None = None,
    stop: threading.Event | None = None,
) -> Report:
    """Make `output/<key>.ply` of every image that the ledger of the folder `run` calls done.

    Kind and focal length are those of the ledger, unless the options give others. Outcomes, the ledger in
    `output` and what a second call does are those of `estimate`: point clouds made of the same depth with the
    same options are skipped, others are made again. An image that can have no point cloud, say for lack of a
    focal length, has failed.

    Args:
        run: The output folder of a run.
        output: Another folder, for the point clouds.
        format: Of the point clouds of a run.
        options: Camera and shape of the point clouds.
        images: The folder that the images of the run are in now, by their keys, if they were moved.
        frame: As `make_point_cloud` takes it.
        overwrite: Make all again, and replace files that the ledger does not know.
        workers: Threads for a run; one per core by default.
        on_outcome: Called after each image with the report so far and its failure, if it failed.
        stop: Set it to end early; what has been begun is finished.

    Returns:
        How many were found, done, skipped and failed, and the first failures.

    Raises:
        InputError: There is no ledger, or nothing is done.
        OutputError: An unknown format, or nothing can be written.
        OutputLostError: The output is full or unwritable; a second call goes on.
    """
    find_encoder(format)
    root, place = to_absolute(run), to_path(output)
    workers, stop = choose_workers(workers), stop or threading.Event()
    require_ledger(root)
    if is_same_folder(place, root):
        raise InputError(f"{printable(str(root))} is the run and the output: choose another `output`")
    maker, sink = CloudMaker(options), open_sink(place, suffixes=[f".{format}"])
    asked = {name: value for name, value in vars(options).items() if value not in (None, False)}
    asked |= {name: str(asked[name]) for name in ("max_gap",) if name in asked}  # JSON has no infinity
    asked.pop("intrinsics", None)  # `maker.given` has what the file holds
    settings = {"job": "pointcloud", "format": format, **asked, **maker.given.settings}
    more: dict[str, Any] = {"overwrite": overwrite, "on_outcome": on_outcome, "stop": stop}
    opened = open_outcomes(place, settings, sink, doing="making point clouds", **more)
    with opened as outcomes:
        moved_to = to_path(images) if images else None
        return PointCloudJob(root, outcomes, maker, format, frame, moved_to).run(workers)


class CloudMaker:
    """Makes point clouds as the options say."""

    def __init__(self, options: CloudOptions) -> None:
        if (options.near_m is None) != (options.far_m is None):
            raise InputError("`near_m` and `far_m` belong together: give both or none")
        if options.fov_deg is not None and (options.f_px is not None or options.intrinsics is not None):
            raise InputError("the focal length is given twice: give one of `f_px`, `fov_deg`, `intrinsics`")
        if options.near_m is not None and options.far_m is not None:
            require_distances(options.near_m, options.far_m)
        if options.fov_deg is not None:
            require_angle(options.fov_deg)
        if options.max_gap is not None and not options.max_gap > 0:
            raise InputError(f"`max_gap` must be a share above 0 (0.05), or inf, got {options.max_gap:g}")
        self._options = options
        self.maps = ("mask", "normals") if options.normals else ("mask",)  # that its points are made by
        self.given: Intrinsics = load_intrinsics(options.f_px, options.intrinsics)

    def find_obstacle(self, line: Line) -> str | None:
        """Return why a line of a ledger can give no point cloud, if so; raises what `Intrinsics.find` does."""
        if line.get("kind") not in UNITS and self._options.near_m is None:
            return NO_SHAPE.format(line.get("kind"))
        if line.get("projection") == "equirectangular":
            given = self._options.fov_deg is not None or self.given.settings
            return (
                "a panorama has no focal length: leave out `f_px`, `fov_deg` and `intrinsics`"
                if given
                else None
            )
        height, width = _image_size(line)
        known = self._options.fov_deg or line.get("f_px") or self.given.find(line["key"], width, height)
        return None if known else self.given.describe_unused() or NO_FOCAL_LENGTH

    def make(self, depth: DepthMap, frame: Frame) -> PointCloud:
        """Return the point cloud of one image; raises what `point_cloud` does."""
        depth = self.anchor(depth)
        if depth.projection == "equirectangular":
            return self.make_points(depth, frame, None)
        try:
            camera = self.find_camera(depth, frame)
        except InputError as error:
            if depth.kind in UNITS:
                raise
            raise InputError(f"{error}; and, since its depth is relative, `near_m` and `far_m`") from error
        return self.make_points(depth, frame, camera)

    def anchor(self, depth: DepthMap) -> DepthMap:
        """Return depth in metres where the nearest and the farthest are given, else as it is."""
        options = self._options
        if options.near_m is None or options.far_m is None:
            return depth
        return anchor_depth(depth, near_m=options.near_m, far_m=options.far_m)

    def find_camera(self, depth: DepthMap, frame: Frame, known: Pinhole | None = None) -> Pinhole:
        """Return the camera of an image: what is given comes first, then `known`, then its depth's, then its own.

        Raises `InputError` where nobody knows a focal length, and what `Intrinsics.find_camera` does.
        """
        width, height = frame.width, frame.height
        if self._options.fov_deg is not None:
            return Pinhole.centred(to_f_px(self._options.fov_deg, width), width, height)
        camera = self.given.find_camera(frame.key, width, height) or known
        if camera:
            return camera
        if depth.f_px is not None:
            height, width = depth.full_size or depth.values.shape
        f_px = depth.f_px or frame.f_px
        if f_px is None:
            raise InputError(self.given.describe_unused() or NO_FOCAL_LENGTH)
        return Pinhole.centred(f_px, width, height)

    def make_points(self, depth: DepthMap, frame: Frame, camera: Pinhole | None) -> PointCloud:
        """Return the point cloud of depth in its unit; raises what `point_cloud` does."""
        max_gap, normals = self._options.max_gap, self._options.normals
        return point_cloud(depth, frame.image, camera=camera, max_gap=max_gap, normals=normals)


class PointCloudJob:
    """The point clouds of one run: what they need while they are made."""

    def __init__(
        self,
        root: AnyPath,
        outcomes: Outcomes,
        maker: CloudMaker,
        format: str,
        frame: int | None,
        images: AnyPath | None,
    ) -> None:
        self._root = root
        self._images = images
        self._frame = frame
        self._outcomes = outcomes
        self._maker = maker
        self._encode = find_encoder(format)
        self._budget = MemoryBudget(MEMORY)

    def run(self, workers: int) -> Report:
        """Work on every image until its outcome is recorded; the ledger then ends with the counts."""
        work = self._outcomes.claimed(self._find())
        with self._outcomes as outcomes:
            run_bounded(
                work,
                lambda item: (item, attempt(item.key, "decode", lambda: self._make(item))),
                lambda result: outcomes.record(*result),
                workers=workers,
            )
        outcomes.record_end()
        return outcomes.report

    def _find(self) -> Iterator[_Work | Failure]:
        """Yield the images that the run has done; those that can have no point cloud as failures."""
        with LedgerLines(self._root) as lines:
            places = LedgerState(lines).places()
            self._outcomes.stage.total = total = len(places)
            if not places:
                root = printable(str(self._root))
                raise InputError(f"no image is done in {root}: run cortexia estimate first")
            for each in lines.at(places):
                if "clip" in each:
                    self._outcomes.stage.total = total = total - 1 + sum(1 for _ in self._expand(each))
                for line in self._expand(each):
                    yield attempt(line["key"], "decode", partial(self._find_work, line))

    def _expand(self, line: Line) -> Iterator[Line]:
        """Yield the frames of a clip that are wanted; of an image its own line."""
        wanted = self._frame
        return (each for each in expand_clip(line) if wanted is None or each.get("frame", wanted) == wanted)

    def _find_work(self, line: Line) -> _Work:
        """Return a line with its depth file; raises `InputError` where no point cloud can be made of it."""
        self._outcomes.sink.check_key(line["key"])
        found = find_depth(line)
        obstacle = self._maker.find_obstacle(line) if found else VIEW_ONLY
        if obstacle or not found:
            raise InputError(obstacle or VIEW_ONLY)
        path = self._root / found[0]
        if isinstance(path, RemotePath) or "inside" in line or "frame" in line:  # its ledger says enough
            size, digest = list_outputs(line)[found[0]]
            source = Source(str(path), size, xxhash.xxh3_64_intdigest(digest.encode()) >> 1)
            return _Work(line["key"], source, source.path, line)
        status = attempt(line["key"], "decode", path.stat)
        if isinstance(status, Failure):
            read_output(self._root, found[0], line)  # says what is wrong
            raise status.error
        source = Source(str(path), status.st_size, status.st_mtime_ns)
        return _Work(line["key"], source, source.path, line)

    def _make(self, work: _Work) -> Failure | None:
        """On a worker: make one point cloud."""
        line, key = work.line, work.key

        def place(cloud: PointCloud) -> None:
            sink, ledger = self._outcomes.sink, self._outcomes.ledger
            (name,) = sink.output_names(key)
            ledger.record_begun(key, [name])
            outputs = sink.place({name: self._encode(cloud)})
            ledger.record_done(key, work.source, outputs, points=len(cloud.points), unit=cloud.unit)

        pixels = line.get("height", 0) * line.get("width", 0)
        with self._budget.hold(_DEPTH_BYTES * pixels + _IMAGE_BYTES * math.prod(_image_size(line))):
            depth = read_run_depth(self._root, line, maps=self._maker.maps)
            data = read_run_image(line, images=self._images)
            frame = decode(data, key, max_megapixels=math.inf)  # once it was allowed
            cloud = self._maker.make(depth, frame)
            return attempt(key, "write", lambda: place(cloud))


def _image_size(line: Line) -> tuple[int, int]:
    """Return height and width of the image of a line."""
    height, width = line.get("full_size") or (line.get("height", 0), line.get("width", 0))
    return height, width
