"""A folder of frames as a clip: its images in natural order, frame2 before frame10."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from cortexia_video.errors import DecodeError, Failure, attempt, printable
from cortexia_video.formats.registry import HEAD_BYTES, is_own_head, is_own_output, may_be_own
from cortexia_video.frame import Frame
from cortexia_video.images.decode import decode, read_image_bytes
from cortexia_video.images.sniff import IMAGE_SUFFIXES
from cortexia_video.runtime.bounded_map import map_bounded
from cortexia_video.storage.paths import AnyPath
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.video.clip_index import ClipIndex, guess_frames, read_index
from cortexia_video.video.container import is_video_name

FOLDER = "images"  # in place of a codec
_FETCHED = 8  # objects at once
_LARGEST_TIME = 1 << 62


def list_images(folder: AnyPath) -> dict[AnyPath, tuple[int, int]]:
    """Return the images in a folder, in natural order, with the bytes and the time of change of each, ns.

    Hidden ones and depth of ours are left out; of an object the time is a number that follows from its ETag.
    """
    found: dict[AnyPath, tuple[int, int]] = {}
    if isinstance(folder, RemotePath):
        listed = [(folder / name, stat) for name, stat in folder.list_files(recursive=False)]
        found = {each: (stat.st_size, stat.st_mtime_ns) for each, stat in listed if _is_remote_frame(each)}
    else:
        for each in folder.iterdir():
            if is_frame_name(each.name) and each.is_file() and not is_own_output(each):
                stat = each.stat()
                found[each] = stat.st_size, stat.st_mtime_ns
    return {each: found[each] for each in sorted(found, key=lambda path: in_natural_order(path.name))}


def is_frame_name(name: str) -> bool:
    """Return whether a file may be a frame, by its name."""
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith(".")


def describe_images(images: Mapping[AnyPath, tuple[int, int]]) -> tuple[int, int]:
    """Return what changes when one of the images does: their bytes, and a number of their times of change."""
    return sum(size for size, _ in images.values()), sum(time for _, time in images.values()) % _LARGEST_TIME


def read_any_index(place: AnyPath, *, fps: float = 24.0, max_megapixels: float = 200.0) -> ClipIndex:
    """Return the index of a video, or of a folder of frames; `DecodeError` where there is none."""
    if is_sequence(place):
        return index_images(place, fps, max_megapixels=max_megapixels)
    return read_index(place, max_megapixels=max_megapixels)


def guess_any_frames(place: AnyPath) -> int:
    """Return how many frames a clip has, or a folder of them, without reading one; as `guess_frames` knows it."""
    return sum(1 for _ in list_images(place)) if is_sequence(place) else guess_frames(place)


def is_sequence(place: AnyPath) -> bool:
    """Return whether a clip is a folder of frames."""
    return not (isinstance(place, RemotePath) and is_video_name(place.name)) and place.is_dir()


def index_images(folder: AnyPath, fps: float, *, max_megapixels: float = 200.0) -> ClipIndex:
    """Return the index of a folder of frames, all as the first that can be read; `DecodeError` where there is none."""
    images = [*list_images(folder)]
    if not images:
        raise DecodeError(
            f"there are no images in {printable(str(folder))}: give the folder that holds the frames"
        )

    def read(path: AnyPath) -> Frame:
        return decode(read_image_bytes(path), path.name, max_megapixels=max_megapixels)

    failure: Failure | None = None
    for path in images:
        first = attempt(path.name, "decode", partial(read, path))
        if isinstance(first, Frame):
            break
        failure = failure or first
    else:
        reason = f"{failure.key}: {failure.reason}" if failure else ""
        raise DecodeError(f"none of its {len(images)} images can be read: {printable(reason)}")
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
        f_px=first.f_px,
    )


def read_images(
    folder: AnyPath, index: ClipIndex, numbers: Sequence[int]
) -> Iterator[tuple[int, NDArray[np.uint8] | None]]:
    """Yield frames with their numbers, as `read_frames` does."""
    images = [*list_images(folder)]
    if len(images) != index.frames:
        raise DecodeError(f"{printable(str(folder))} has {len(images)} images, and had {index.frames}")
    wanted = [images[number] for number in numbers]
    fetched = map_bounded(
        wanted,
        lambda path: attempt(path.name, "decode", partial(read_image_bytes, path)),
        workers=_FETCHED if isinstance(folder, RemotePath) else 1,
    )
    for number, path, data in zip(numbers, wanted, fetched, strict=True):
        frame = (
            data
            if isinstance(data, Failure)
            else attempt(path.name, "decode", partial(decode, data, path.name))
        )
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


def name_frames(place: AnyPath, index: ClipIndex, key: str) -> Callable[[int], Sequence[str]]:
    """Return a function that gives the keys that may mean a frame of a clip: `clip.mp4#12`, `clip.mp4/000012`.

    Of a folder of frames also the image's own, `take/f12.png`, which comes first.
    """
    images = [*list_images(place)] if index.codec == FOLDER else []

    def name(number: int) -> Sequence[str]:
        own = [f"{key}/{images[number].name}"] if images else []
        return [*own, f"{key}#{number}", f"{key}/{number:06}"]

    return name


def _is_remote_frame(place: RemotePath) -> bool:
    """Return whether an object is a frame; one that is called as depth of ours is, such as a.jpg.png, is looked at."""
    if not is_frame_name(place.name):
        return False
    if not (may_be_own(place.name) and is_frame_name(place.stem)):
        return True
    return not is_own_head(place.read_bytes(0, HEAD_BYTES))


def in_natural_order(name: str) -> list[tuple[int, str]]:
    """Return by what to sort names so that frame2 comes before frame10."""
    parts = re.split(r"(\d+)", name)
    return [(int(each), "") if each.isascii() and each.isdecimal() else (0, each) for each in parts]
