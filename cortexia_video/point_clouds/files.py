"""Point clouds as files: told by the end of their name, each there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from cortexia_video.errors import OutputError, OutputExistsError, OutputLostError
from cortexia_video.formats.stored import Chunks
from cortexia_video.places.place import Given, Place, as_place
from cortexia_video.point_clouds.cloud import PointCloud
from cortexia_video.point_clouds.glb import encode_glb
from cortexia_video.point_clouds.ply import encode_ply
from cortexia_video.sinks.table import open_sink

CLOUD_FORMATS: dict[str, Callable[[PointCloud], Chunks]] = {"ply": encode_ply, "glb": encode_glb}


def save_point_cloud(cloud: PointCloud, path: Given, *, overwrite: bool = False) -> None:
    """Write a cloud to a file whose name ends in .ply or .glb.

    PLY has the cloud's axes and colours; GLB has those of glTF: y up, z backward, linear colours.
    Raises `OutputExistsError` where a file is there, without `overwrite`; `OutputError` where none can be.
    """
    place = as_place(path)
    encode = find_encoder(place.suffix.removeprefix("."))
    require_free(place, overwrite=overwrite)
    try:
        with open_sink(place.parent) as sink:
            sink.place({place.name: encode(cloud)})
    except OutputLostError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write {place}: {error.strerror}; choose another --output") from error


def find_encoder(format: str) -> Callable[[PointCloud], Chunks]:
    """Give what makes a file of this format; raises `OutputError` for one that is not known."""
    if format.lower() not in CLOUD_FORMATS:
        raise OutputError(f"unknown format of point clouds {format!r}: use one of {', '.join(CLOUD_FORMATS)}")
    return CLOUD_FORMATS[format.lower()]


def require_free(place: Place, *, overwrite: bool) -> None:
    """Raise `OutputExistsError` where something is in the way, `OutputError` where nobody can tell."""
    if overwrite:
        return
    try:
        there = os.path.lexists(place) if isinstance(place, Path) else place.exists()
    except OSError as error:
        raise OutputError(f"cannot write {place}: {error.strerror}; choose another --output") from error
    if there:
        raise OutputExistsError(f"{place} is there: choose another --output, or --overwrite")
