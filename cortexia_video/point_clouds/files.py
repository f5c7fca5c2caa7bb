"""Point clouds as files: told by the end of their name, each written atomically."""

from __future__ import annotations

from collections.abc import Callable

from cortexia_video.errors import OutputError, not_known
from cortexia_video.formats.raw_depth import Chunks
from cortexia_video.point_clouds.cloud import PointCloud
from cortexia_video.point_clouds.glb import encode_glb
from cortexia_video.point_clouds.ply import encode_ply
from cortexia_video.storage.atomic_file import write_atomic
from cortexia_video.storage.paths import PathLike, require_free, to_path

OVERWRITE = "`overwrite=True`"
CLOUD_FORMATS: dict[str, Callable[[PointCloud], Chunks]] = {"ply": encode_ply, "glb": encode_glb}


def save_point_cloud(cloud: PointCloud, path: PathLike, *, overwrite: bool = False) -> None:
    """Write a point cloud to a file, atomically.

    PLY has the point cloud's axes and colours; GLB has those of glTF 2.0: y up, z backward, linear colours.

    Args:
        cloud: What `point_cloud` returned.
        path: A path or a URL whose name ends in .ply or .glb.
        overwrite: Replace a file that exists.

    Raises:
        OutputExistsError: The file exists.
        OutputError: The ending is another, or no file can be written there.

    Example:
        >>> cloud = cx.point_clouds.PointCloud(
        ...     np.zeros((1, 3), np.float32), np.zeros((1, 3), np.uint8), None, "metre"
        ... )
        >>> cx.save_point_cloud(cloud, "one.ply")
    """
    place = to_path(path)
    encode = find_encoder(place.suffix.removeprefix("."))
    if not overwrite:
        require_free(place, OVERWRITE)
    with write_atomic(place) as partial, partial.open("wb") as file:
        file.writelines(encode(cloud))


def find_encoder(format: str) -> Callable[[PointCloud], Chunks]:
    """Return what makes a file of this format; raises `OutputError` for one that is not known."""
    if format.lower() not in CLOUD_FORMATS:
        raise OutputError(not_known("format of point clouds", format, CLOUD_FORMATS))
    return CLOUD_FORMATS[format.lower()]
