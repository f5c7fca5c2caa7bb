"""Textures from images that a person supplies."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from cortexia_video.errors import DecodeError, InputError, describe
from cortexia_video.images.decode import decode
from cortexia_video.scenes.noise import SIDE
from cortexia_video.scenes.textures import FloatArray
from cortexia_video.storage.paths import read_named

PHOTO_SHARE = 0.4
"""Share of materials that wear an image where there are any."""
PHOTOS_PER_LIBRARY = 96
"""Images of a folder that one library of textures holds, drawn by its number."""

_MOST_NAMED = 8
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"})


def list_photos(folder: Path) -> tuple[Path, ...]:
    """List the images of a folder and those below it, sorted; raises `InputError` where there is none."""
    if not folder.is_dir():
        raise InputError(f"`textures`: {folder} is no folder: give one with images")
    paths = tuple(sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES))
    if not paths:
        raise InputError(f"`textures`: {folder} holds no image: put some .jpg or .png files there")
    return paths


def require_photos(folder: Path) -> None:
    """Read all images of a folder; raises `InputError` that counts those that cannot be, and names some."""
    broken: list[tuple[Path, Exception]] = []
    for photo in list_photos(folder):
        try:
            decode(read_named(photo), photo.name)
        except (OSError, DecodeError) as reason:
            broken.append((photo, reason))
    if broken:
        path, error = broken[0]
        others = [os.fspath(each.relative_to(folder)) for each, _ in broken[1:_MOST_NAMED]]
        also = f" (of {len(broken)}: also {', '.join(others)})" if others else ""
        raise InputError(f"`textures`: {path} cannot be read: {describe(error)}; remove it{also}")


def draw_photos(folder: Path, library: int) -> tuple[Path, ...]:
    """Draw the images that a library holds, all of them where they are few."""
    paths = list_photos(folder)
    order = np.random.default_rng([library, 3]).permutation(len(paths))[:PHOTOS_PER_LIBRARY]
    return tuple(paths[number] for number in sorted(order))


def load_photo(path: Path) -> FloatArray:
    """Cut the middle square out of an image: linear albedo, float32 (SIDE, SIDE, 3) in [0.01, 1].

    Raises `InputError` for a file that is no image we can read.
    """
    try:
        image = decode(read_named(path), path.name).image
    except (OSError, DecodeError) as error:
        raise InputError(
            f"`textures`: {path} cannot be read: {describe(error)}; replace or remove it"
        ) from error
    height, width = image.shape[:2]
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side)
    small = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BOX, box)
    return np.clip((np.asarray(small, np.float32) / 255) ** 2.2, 0.01, 1)
