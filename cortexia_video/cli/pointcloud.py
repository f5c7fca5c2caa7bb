"""`cortexia pointcloud`: points in space from depth."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from cortexia_video.cli import DONE, SOME_FAILED
from cortexia_video.cli.failures import FailureGroups
from cortexia_video.cli.job import run_job
from cortexia_video.cli.options import CAMERA, MEANING, OPTIONS, POINTS, RUN, Output, take_options
from cortexia_video.errors import InputError, format_count
from cortexia_video.jobs.fuse import fuse_point_clouds
from cortexia_video.jobs.point_clouds import CloudOptions, make_point_cloud, make_point_clouds
from cortexia_video.storage.paths import is_folder, require_object, to_path
from cortexia_video.storage.remote_path import RemotePath

_OF_DISTANCES = ("near_m", "far_m")
_OF_CAMERAS = ("f_px", "fov_deg", "intrinsics")
_OF_POINTS = ("max_gap", "normals")


@take_options(CloudOptions, (MEANING, _OF_DISTANCES), (CAMERA, _OF_CAMERAS), (POINTS, _OF_POINTS))
@take_options(make_point_clouds, (OPTIONS, ("format", "images", "overwrite")), (RUN, ("workers",)))
@take_options(make_point_cloud, (OPTIONS, ("frame",)), (MEANING, ("kind", "convention")))
def pointcloud_command(
    image: Annotated[str, Parameter(name="IMAGE")],
    /,
    *,
    output: Output,
    depth: Annotated[str | None, Parameter(metavar="PATH")] = None,
    colmap: Annotated[str | None, Parameter(group=POINTS, metavar="PATH")] = None,
    fuse: Annotated[bool, Parameter(group=POINTS)] = False,
    voxel: Annotated[float | None, Parameter(group=POINTS)] = None,
    **options: Any,
) -> int:
    """Make point clouds from depth and images.

    From IMAGE and its --depth, or from every image in the output folder of a run. Points are in metres: x right,
    y down, z forward in PLY; y up, z backward in GLB. Flying pixels at edges are left out. What is done and
    unchanged is skipped.

        cortexia pointcloud a.jpg --depth a.npy --kind metric --f-px 900 -o a.glb
        cortexia pointcloud a.mp4 --depth depth/a.mp4.mkv --frame 123 -o 123.ply
        cortexia pointcloud depth --output clouds
        cortexia pointcloud aligned --colmap scene/sparse/0 --fuse -o scene.ply

    Exit code: 0 all done or skipped, 1 some failed, 2 wrong usage, 130 interrupted.

    Args:
        image: An image; or, without --depth, the --output of a run.
        output: The .ply or .glb file; for a run, a folder.
        depth: The depth file of the image.
        colmap: The model with the poses, best the one that the depth of the run was aligned to (`cortexia align
            --colmap`), for --fuse.
        fuse: Make one .ply of all images of the run, in the model's axes; points of a voxel become their mean.
        voxel: Side of a voxel, in the model's unit; by default what a pixel of the first map covers.
    """
    if fuse or colmap is not None:
        return _fuse(image, output, colmap if fuse and depth is None else None, voxel, options)
    wanted = CloudOptions(**{name: options[name] for name in (*_OF_DISTANCES, *_OF_CAMERAS, *_OF_POINTS)})
    if depth is None:
        place = to_path(image)
        if isinstance(place, RemotePath):
            require_object(place)
        if not is_folder(place):
            raise InputError(f"{place} is no output folder of a run: for an image give its --depth, too")
        return run_job(
            lambda on_outcome, stop: make_point_clouds(
                image,
                output,
                format=options["format"],
                options=wanted,
                images=options["images"],
                frame=options["frame"],
                overwrite=options["overwrite"],
                workers=options["workers"],
                on_outcome=on_outcome,
                stop=stop,
            ),
            to_path(output),
            made="point cloud",
        )
    if options["images"]:
        raise InputError("`images` says where those of a run are: IMAGE is given by its name")
    cloud = make_point_cloud(
        image,
        depth,
        output,
        kind=options["kind"],
        convention=options["convention"],
        options=wanted,
        frame=options["frame"],
        overwrite=options["overwrite"],
    )
    unit = "metres" if cloud.unit == "metre" else "true up to a factor"
    print(f"{to_path(output)}: {format_count(len(cloud.points), 'point')}, {unit}")
    return DONE


def _fuse(run: str, output: str, colmap: str | None, voxel: float | None, options: dict[str, Any]) -> int:
    """Write one point cloud of a run, and say of how many images."""
    if colmap is None:
        raise InputError(
            "`fuse` and `colmap` belong together, with the output folder of a run and no `depth`"
        )
    useless = (*_OF_CAMERAS, *_OF_DISTANCES, "normals", "frame", "kind", "convention")
    if given := next((name for name in useless if options[name]), None):
        raise InputError(f"`{given}` says nothing to `fuse`: the model has the cameras, the run the depth")
    taken = {name: options[name] for name in ("max_gap", "images", "overwrite", "workers")}
    fused = fuse_point_clouds(run, output, colmap, voxel=voxel, **taken)
    FailureGroups(fused.failures).print()
    failed = f", {len(fused.failures)} failed" if fused.failures else ""
    what = f"{format_count(fused.points, 'point')} of {format_count(fused.images, 'image')}"
    print(f"{to_path(output)}: {what}{failed}; voxels of {fused.voxel:.4g}")
    return SOME_FAILED if fused.failures else DONE
