"""A folder of frames as a clip: its images in natural order, frame2 before frame10."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cortexia_video.errors import DecodeError, Failure, attempt, printable
from cortexia_video.formats.registry import is_own_output
from cortexia_video.frame import Frame
from cortexia_video.images.decode import decode, read_image_bytes
from cortexia_video.images.sniff import IMAGE_SUFFIXES
from cortexia_video.storage.paths import AnyPath
from cortexia_video.video.clip_index import ClipIndex, read_index

FOLDER = "images"  # in place of a codec


def list_images(folder: Path) -> list[Path]:
    """Return the images in a folder by name, in natural order; hidden ones and depth of ours are left out."""
    found = [
        each
        for each in folder.iterdir()
        if each.suffix.lower() in IMAGE_SUFFIXES
        and not each.name.startswith(".")
        and each.is_file()
        and not is_own_output(each)
    ]
    return sorted(found, key=lambda path: in_natural_order(path.name))


def stat_images(images: Sequence[Path]) -> tuple[int, int]:
    """Return what changes when one of the images does: their bytes, and the time of the last change, ns."""
    stats = [each.stat() for each in images]
    return sum(each.st_size for each in stats), max((each.st_mtime_ns for each in stats), default=0)


def read_any_index(place: AnyPath, *, fps: float = 24.0, max_megapixels: float = 200.0) -> ClipIndex:
    """Return the index of a video, or of a folder of frames; `DecodeError` where there is none."""
    if isinstance(place, Path) and place.is_dir():
        return index_images(place, fps, max_megapixels=max_megapixels)
    return read_index(place, max_megapixels=max_megapixels)


def index_images(folder: Path, fps: float, *, max_megapixels: float = 200.0) -> ClipIndex:
    """Return the index of a folder of frames; `DecodeError` where there are none, or the first cannot be read."""
    images = list_images(folder)
    if not images:
        raise DecodeError(f"there are no images in {printable(str(folder))}")
    first = decode(read_image_bytes(str(images[0])), images[0].name, max_megapixels=max_megapixels)
    rate = Fraction(fps).limit_denominator(100_000)
    return ClipIndex(
        pts=np.arange(len(images), dtype=np.int64),
        frames=len(images),
        keyframes=np.arange(len(images), dtype=np.int64),
        time_base=1 / rate,
        rate=rate,
        height=first.height,
        width=first.width,
        stored=(first.height, first.width),
        rotation=0,
        aspect=Fraction(1),
        interlaced=False,
        hdr=None,
        codec=FOLDER,
        has_sound=False,
    )


def read_images(
    folder: Path, index: ClipIndex, numbers: Sequence[int]
) -> Iterator[tuple[int, NDArray[np.uint8] | None]]:
    """Yield frames with their numbers, as `read_frames` does."""
    images = list_images(folder)
    if len(images) != index.frames:
        raise DecodeError(f"{printable(str(folder))} has {len(images)} images, and had {index.frames}")
    for number in numbers:
        path = images[number]
        frame = attempt(path.name, "decode", partial(_decode, path))
        if isinstance(frame, Failure):
            yield number, None
            continue
        if frame.image.shape[:2] != index.stored:
            height, width = index.stored
            raise DecodeError(
                f"{printable(path.name)} has {frame.width} x {frame.height} pixels, the first image "
                f"{width} x {height}: frames of one clip are alike"
            )
        yield number, frame.image


def _decode(path: Path) -> Frame:
    return decode(read_image_bytes(str(path)), path.name)


def in_natural_order(name: str) -> list[tuple[int, str]]:
    """Return by what to sort names so that frame2 comes before frame10."""
    parts = re.split(r"(\d+)", name)
    return [(int(each), "") if each.isascii() and each.isdecimal() else (0, each) for each in parts]
