"""`cortexia pointcloud`: points in space from depth that is there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from cortexia_video.cli import DONE, SOME_FAILED
from cortexia_video.depth_map import Kind
from cortexia_video.errors import InputError
from cortexia_video.point_clouds.job import CloudOptions, CloudReport, make_point_cloud, make_point_clouds

_DEFAULTS = CloudOptions()
Switch = Annotated[bool, Parameter(negative=())]


def pointcloud_command(
    picture: Annotated[Path, Parameter(name="IMAGE")],
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    depth: Path | None = None,
    kind: Kind | None = None,
    dialect: Annotated[str | None, Parameter(name="--from")] = None,
    format: Literal["ply", "glb"] = "ply",
    overwrite: Switch = False,
    workers: int | None = None,
    options: Annotated[CloudOptions, Parameter(name="*", negative=())] = _DEFAULTS,
) -> int:
    """Make a point cloud of IMAGE and its --depth, or of every picture in the output folder of a run.

    cortexia pointcloud photo.jpg --depth photo.npy --kind metric --f-px 1500 --output photo.glb
    cortexia pointcloud DEPTH_FOLDER --output CLOUDS

    Points are in metres: x right, y down, z forward in PLY; y up, z backward in GLB. Flying pixels at edges
    are left out. Exit code: 0 all right, 1 some failed or none was made, 2 wrong usage.

    Parameters
    ----------
    picture
        A picture; or, without --depth, the --output of a run.
    output
        The .ply or .glb file; for a run, a folder.
    depth
        The depth file of the picture.
    kind
        What its numbers mean, if it does not say so: metric or scale_invariant; others with --near-m.
    dialect
        Or whose file it is: tum, kitti, nyu, scannet, sunrgbd, depth-pro, moge and so on.
    format
        Of the files in the folder.
    overwrite
        Replace clouds that are there.
    workers
        Threads, for a run; one a core by default.
    """
    if depth is None:
        if not picture.is_dir():
            raise InputError(f"{picture} is no folder of a run: give its --depth, too")
        report = make_point_clouds(
            picture, output, format=format, options=options, overwrite=overwrite, workers=workers
        )
        return _summarise(report)
    cloud = make_point_cloud(
        picture, depth, output, kind=kind, dialect=dialect, options=options, overwrite=overwrite
    )
    unit = "metres" if cloud.unit == "metre" else "true up to a factor"
    print(f"{output}: {len(cloud.points)} points, {unit}")
    return DONE


def _summarise(report: CloudReport) -> int:
    print(report)
    for failure in report.failures:
        print(f"  {failure}")
    if report.failed > len(report.failures):
        print(f"  and {report.failed - len(report.failures)} more")
    return SOME_FAILED if report.failed or report.is_empty else DONE
