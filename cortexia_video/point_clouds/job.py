"""Point clouds of pictures and depth that lie in files: of one picture, or of all that a run has done."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from cortexia_video.anchoring import anchor_depth
from cortexia_video.byte_budget import ByteBudget
from cortexia_video.decode import decode
from cortexia_video.depth_folder import read_depth
from cortexia_video.depth_map import DepthMap, Kind
from cortexia_video.errors import Failure, InputError, OutputLostError
from cortexia_video.frame import Frame
from cortexia_video.intrinsics import Intrinsics, load_intrinsics
from cortexia_video.ledger import read_last_done, require_ledger
from cortexia_video.look_ahead import run_ahead
from cortexia_video.point_clouds.cloud import UNITS, PointCloud, point_cloud
from cortexia_video.point_clouds.files import find_encoder, require_free, save_point_cloud
from cortexia_video.projection import Pinhole
from cortexia_video.run_files import Line, find_depth, read_run_depth, read_run_picture, read_whole
from cortexia_video.sinks.folder import FolderSink
from cortexia_video.speed import choose_workers

MEMORY = 1 << 30  # bytes of pictures and points in work at once, over all workers; a larger one is done alone
_PICTURE_BYTES, _DEPTH_BYTES = 10, 70  # for each pixel, at the worst moment
_FAILURES_KEPT = 1000  # in the report

THERE = "there already, --overwrite makes them again"
VIEW_ONLY = "there is only a view of the depth"
NO_SHAPE = "of a kind without a shape in space: use a model of metric depth, or --near-m and --far-m"
NO_FOCAL_LENGTH = "no focal length is known: give --f-px, --fov-deg or --intrinsics"


@dataclass(frozen=True, kw_only=True)
class CloudOptions:
    """What the clouds are to be.

    Parameters
    ----------
    f_px
        Focal length of every picture, in its pixels; else what was recorded with the depth, else EXIF.
    fov_deg
        Horizontal field of view of every picture, instead.
    intrinsics
        CSV or JSON file of cameras by key, as for `cortexia estimate`; cx and cy count here.
    near_m
        How far away the nearest thing is, for disparity and affine_invariant depth; with --far-m.
    far_m
        How far away the farthest thing is.
    max_gap
        Leave out pixels whose depth differs from a neighbour's by more than this share; inf keeps all. By
        default 0.05, less for focal lengths over 500 pixels.
    normals
        Also which way the surface faces.
    """

    f_px: float | None = None
    fov_deg: float | None = None
    intrinsics: Path | None = None
    near_m: float | None = None
    far_m: float | None = None
    max_gap: float | None = None
    normals: bool = False


@dataclass(slots=True)
class CloudReport:
    """What became of a run's done pictures. left: how many got no cloud, by reason."""

    made: int = 0
    failed: int = 0
    left: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Say that there is no cloud, neither made now nor before."""
        return not self.made and not self.left[THERE]

    def __str__(self) -> str:
        left = "".join(f"; {count} left: {reason}" for reason, count in sorted(self.left.items()))
        return f"{self.made} made, {self.failed} failed{left}"


def make_point_cloud(
    image: str | os.PathLike[str],
    depth: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    kind: Kind | None = None,
    dialect: str | None = None,
    options: CloudOptions = CloudOptions(),
    overwrite: bool = False,
) -> PointCloud:
    """Make a .ply or .glb of a picture and its depth file; give the cloud.

    kind, dialect: what the numbers mean, or whose file it is (`formats.dialects`), where it does not say so,
    as a .npy does not. Depth of another shape, whose file does not say of what size its picture was, is taken
    to be of all of this one, unless one of them is upright and the other is not.
    Raises what `read_depth`, `decode`, `point_cloud` and `save_point_cloud` raise.
    """
    find_encoder(Path(output).suffix.removeprefix("."))
    require_free(Path(output), overwrite=overwrite)
    maker = _Maker(options)
    frame = decode(read_whole(Path(image)), Path(image).name)
    depth_map = read_depth(depth, about={"kind": kind} if kind else {}, dialect=dialect)
    cloud = maker.make(_fit(depth_map, frame), frame)
    save_point_cloud(cloud, output, overwrite=overwrite)
    return cloud


def make_point_clouds(
    run: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    format: str = "ply",
    options: CloudOptions = CloudOptions(),
    overwrite: bool = False,
    workers: int | None = None,
) -> CloudReport:
    """Make `output/<key>.ply` of every picture that the ledger of the folder `run` calls done.

    Kind and focal length are those of the ledger, unless the options give others. workers: threads; one a
    core by default. Clouds that are there stay, without `overwrite`: so a second call goes on.

    Raises `InputError` where there is no ledger, `OutputError` for an unknown format and where nothing can be
    written, `OutputLostError` when no more can be. What is wrong with one picture is a failure in the report.
    """
    find_encoder(format)
    root, workers = Path(run), choose_workers(workers)
    require_ledger(root)
    maker = _Maker(options)
    with FolderSink(Path(output)) as sink:
        job = _Job(root, sink, maker, format, overwrite)
        run_ahead(job.find_work(), job.make, job.count, workers=workers)
    return job.report


class _Maker:
    """Makes clouds as the options say."""

    def __init__(self, options: CloudOptions) -> None:
        if (options.near_m is None) != (options.far_m is None):
            raise InputError("--near-m and --far-m belong together: give both or none")
        if options.fov_deg is not None and (options.f_px is not None or options.intrinsics is not None):
            raise InputError("the focal length is given twice: give one of --f-px, --fov-deg, --intrinsics")
        self._options = options
        self._given: Intrinsics = load_intrinsics(options.f_px, options.intrinsics)

    def find_obstacle(self, line: Line) -> str | None:
        """Say why a line of a ledger can give no cloud, if so; raises what `Intrinsics.find` does."""
        if find_depth(line) is None:
            return VIEW_ONLY
        if line.get("kind") not in UNITS and self._options.near_m is None:
            return NO_SHAPE
        height, width = _picture_size(line)
        known = self._options.fov_deg or line.get("f_px") or self._given.find(line["key"], width, height)
        return None if known else NO_FOCAL_LENGTH

    def make(self, depth: DepthMap, frame: Frame) -> PointCloud:
        """Give the cloud of one picture; raises what `point_cloud` does."""
        options = self._options
        if options.near_m is not None and options.far_m is not None:
            depth = anchor_depth(depth, near_m=options.near_m, far_m=options.far_m)
        camera = self._given.find_camera(frame.key, frame.width, frame.height)
        if camera is None and options.fov_deg is None and depth.f_px is None and frame.f_px is not None:
            camera = Pinhole.centred(frame.f_px, frame.width, frame.height)
        return point_cloud(
            depth,
            frame.image,
            fov_deg=options.fov_deg,
            camera=camera,
            max_gap=options.max_gap,
            normals=options.normals,
        )


class _Job:
    """The clouds of one run: what they need while they are made."""

    def __init__(self, root: Path, sink: FolderSink, maker: _Maker, format: str, overwrite: bool) -> None:
        self.report = CloudReport()
        self._root = root
        self._sink = sink
        self._maker = maker
        self._suffix = f".{format}"
        self._encode = find_encoder(format)
        self._overwrite = overwrite
        self._budget = ByteBudget(MEMORY)

    def find_work(self) -> Iterator[Line]:
        """Yield the lines of the pictures that are to have a cloud; count the others."""
        for line in read_last_done(self._root):
            try:
                reason = self._find_reason_to_leave(line)
            except InputError as error:
                self.count(Failure(line["key"], "decode", error))
                continue
            if reason:
                self.report.left[reason] += 1
            else:
                yield line

    def count(self, failure: Failure | None) -> None:
        if failure is None:
            self.report.made += 1
            return
        self.report.failed += 1
        if len(self.report.failures) < _FAILURES_KEPT:
            self.report.failures.append(failure)

    def _find_reason_to_leave(self, line: Line) -> str | None:
        self._sink.check_key(line["key"])
        if not self._overwrite and (self._sink.root / (line["key"] + self._suffix)).exists():
            return THERE
        return self._maker.find_obstacle(line)

    def make(self, line: Line) -> Failure | None:
        """On a worker: make one cloud."""
        key, pixels = line["key"], line.get("height", 0) * line.get("width", 0)
        try:
            with self._budget.hold(_DEPTH_BYTES * pixels + _PICTURE_BYTES * math.prod(_picture_size(line))):
                depth = read_run_depth(self._root, line)
                frame = decode(read_run_picture(line), key, max_megapixels=math.inf)  # once it was allowed
                cloud = self._maker.make(depth, frame)
                self._sink.place({key + self._suffix: self._encode(cloud)})
        except OutputLostError as error:
            error.report = self.report
            raise
        except Exception as error:  # noqa: BLE001 - readers raise anything on broken files, and the system
            return Failure(key, "write", error)
        return None


def _fit(depth: DepthMap, frame: Frame) -> DepthMap:
    """Take depth that does not say of which size its picture was to be of all of this one."""
    height, width = depth.values.shape
    turned = (height - width) * (frame.height - frame.width) < 0
    if depth.full_size or depth.f_px or turned or (height, width) == (frame.height, frame.width):
        return depth
    return replace(depth, full_size=(frame.height, frame.width))


def _picture_size(line: Line) -> tuple[int, int]:
    """Give height and width of the picture of a line."""
    height, width = line.get("full_size") or (line.get("height", 0), line.get("width", 0))
    return height, width
