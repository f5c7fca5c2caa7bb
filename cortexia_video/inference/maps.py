"""What networks tell beside depth: held to its promise, and brought to the size of the depth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cortexia_video.errors import ModelOutputError
from cortexia_video.geometry.normals import to_units
from cortexia_video.images.resampling import resize_depth, resize_mask
from cortexia_video.models.protocol import MAPS, DepthModel, Prediction

Maps = Mapping[str, NDArray[Any]]  # by the names of `Prediction`
_TYPES = (
    ("valid", bool, ()),
    ("sky", bool, ()),
    ("confidence", np.float32, ()),
    ("normals", np.float32, (3,)),
)


def find_maps(model: DepthModel) -> tuple[str, ...]:
    """Return which of `MAPS` a model gives beside depth."""
    return tuple(each for each in MAPS if each in getattr(model, "maps", ()))


def take_maps(answer: Prediction, shape: tuple[int, ...], name: str) -> dict[str, NDArray[Any]]:
    """Return the maps that the model `name` gave beside depth of this shape (B, h, w); `ModelOutputError`."""
    maps: dict[str, NDArray[Any]] = {}
    for each, dtype, more in _TYPES:
        if (given := getattr(answer, each)) is not None:
            maps[each] = np.asarray(given, dtype)
            if maps[each].shape != (*shape, *more):
                raise ModelOutputError(
                    f"{name} gives {each} of shape {maps[each].shape} beside depth of {shape}: it must be "
                    f"{(*shape, *more)}"
                )
    return maps


def find_known(maps: Maps) -> NDArray[np.bool_] | None:
    """Return bool (h, w), False where there is sky or no depth; None where the model says nothing of it."""
    valid, sky = maps.get("valid"), maps.get("sky")
    if sky is None:
        return valid
    return ~sky if valid is None else valid & ~sky


def find_wrong(maps: Maps) -> str | None:
    """Return which map is not finite; normals need not be where depth is unknown."""
    normals, known = maps.get("normals"), find_known(maps)
    if normals is not None and not np.isfinite(normals if known is None else normals[known]).all():
        return "normals"
    return None if np.isfinite(maps.get("confidence", 0)).all() else "confidence"


def resize_maps(maps: Maps, height: int, width: int, *, around: bool = False) -> dict[str, Any]:
    """Bring maps to (height, width): what a `DepthMap` takes of them, by its names.

    Normals are mixed of known ones alone, and made as long as 1 again. around: as of `resize_depth`.
    """
    resized: dict[str, Any] = {}
    known = find_known(maps)
    if known is not None:
        resized["valid"] = resize_mask(known, height, width, around=around)
    if "confidence" in maps:
        resized["confidence"] = resize_depth(maps["confidence"], height, width, around=around)
    if "normals" in maps:
        faces = np.isfinite(maps["normals"][..., 0]) & (True if known is None else known)
        planes = np.moveaxis(np.where(faces[..., None], maps["normals"], np.float32(0)), -1, 0)
        mixed = (resize_depth(np.ascontiguousarray(each), height, width, around=around) for each in planes)
        normals = np.stack([*mixed], -1)
        normals[~resize_mask(faces, height, width, around=around)] = 0
        resized["normals"] = to_units(normals)
    return resized
