"""`write_depth`: one depth map as one file."""

from __future__ import annotations

from cortexia_video.depth_map import DepthMap, require_depth
from cortexia_video.errors import OutputError
from cortexia_video.formats.registry import FORMATS, FormatName, find_format
from cortexia_video.storage.atomic_file import write_atomic
from cortexia_video.storage.paths import PathLike, require_free, to_path


def write_depth(
    depth: DepthMap, path: PathLike, *, format: FormatName | None = None, overwrite: bool = False
) -> None:
    """Write a depth map to a file, atomically, with what its values mean; `read_depth` reads it back.

    npz, png16, tiff, exr, exr16 and jxl hold the metadata: kind, unit, focal length, model. npy and pfm hold
    the values alone: whoever reads them must say the kind. What each format keeps: `docs/formats.md`.

    Args:
        depth: float32 (H, W), NaN where unknown, in metres where its kind is metric.
        path: The file, a path or a URL. Its folder is made where it is missing.
        format: npy, npz, png16, tiff, exr, exr16, pfm or jxl, or png, an 8-bit image to look at. By default
            by the end of the name: .npy, .npz, .16.png, .tiff, .exr, .16.exr, .pfm or .jxl.
        overwrite: Replace a file that exists.

    Raises:
        OutputError: The name says no format, or no file can be written there.
        OutputExistsError: The file exists.
        LossError: The depth would lose more than the format's bound.
        MissingExtraError: The format needs a package that is not installed.
        OutputLostError: The disk is full.

    Example:
        >>> depth = cx.DepthMap(np.full((4, 6), 2.5, np.float32), "metric", f_px=500.0)
        >>> cx.write_depth(depth, "room.npz")
        >>> cx.read_depth("room.npz").f_px
        500.0
    """
    require_depth(depth)
    place = to_path(path)
    chosen = find_format(place.name.lower()) if format is None else FORMATS.get(format)
    if chosen is None or (format is None and chosen.decode is None):  # a view is asked for by name
        raise OutputError(
            f"{place} says no format that keeps depth: end it in .npz, .16.png, .tiff or another of "
            f"docs/formats.md, or give `format`, one of {', '.join(FORMATS)}"
        )
    chosen.require()
    chosen.require_kept(depth)
    if not overwrite:
        require_free(place, "give `overwrite=True`")
    with write_atomic(place) as partial, partial.open("wb") as file:
        file.writelines(chosen.encode(depth))
