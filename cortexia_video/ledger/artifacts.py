"""What a line of a run's ledger leads to: the image, and the depth that was made of it."""

from __future__ import annotations

import io
import logging
import math
import threading
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from PIL import Image

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import DepthFileError, InputError, in_words, printable
from cortexia_video.formats.decode_depth import decode_depth
from cortexia_video.formats.exports import find_output_format
from cortexia_video.formats.maps import add_maps
from cortexia_video.formats.registry import FORMATS, MAPS, PREVIEW, Format
from cortexia_video.ledger.entries import Source, WrittenFile
from cortexia_video.storage.archive_member import IMAGES, read_part
from cortexia_video.storage.paths import (
    LARGEST_FILE,
    AnyPath,
    read_named,
    read_named_text,
    read_whole,
    split_inside,
    to_path,
)
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.video.clip_index import ClipIndex
from cortexia_video.video.depth_clip import SUFFIX as CLIP
from cortexia_video.video.depth_clip import TIMES, DepthClip, list_numbers, parse_times, read_frame_file
from cortexia_video.video.frames import read_frame
from cortexia_video.video.image_sequence import describe_images, is_sequence, list_images, read_any_index

Line = Mapping[str, Any]
OF_FILE = (  # words of a line that say what its depth means
    *("kind", "f_px", "f_source", "full_size", "projection", "scale_from", "alignment"),
    *("convention", "baseline_m", "doffs_px"),  # by which the numbers of an export are read
)
_REMEDY = "`cortexia verify --requeue` lets the next run make it again"
_log = logging.getLogger(__name__)
_telling = threading.Lock()  # so that threads say once what is missing


def expand_clip(line: Line, count: int | None = None) -> Iterator[Line]:
    """Yield a line for each frame of a clip, `clip.mp4/000123`; of an image its own.

    count: so many frames, spread over the clip; by default all.
    """
    if "clip" not in line:
        yield line
        return
    frames, outputs, first = line["clip"]["frames"], line["outputs"], f"{line['key']}/000000"
    suffix = next((name.removeprefix(first) for name in outputs if name.startswith(f"{first}.")), None)
    numbers = range(frames) if count is None else {round(each) for each in np.linspace(0, frames - 1, count)}
    for number in sorted(numbers):
        key = f"{line['key']}/{number:06}"
        name = f"{key}{suffix}"  # of a file for each frame
        own = {"outputs": {name: outputs[name]} if name in outputs else {}} if suffix else {}
        yield {**line, **own, "key": key, "frame": number}


def read_time_s(root: AnyPath, line: Line) -> float:
    """Return when a frame of a clip is shown, in seconds of the clip that it is of.

    Raises `DepthFileError` where what says it cannot be read.
    """
    name = next((each for each in line["outputs"] if each.endswith(CLIP)), None)
    place = root / (name or f"{line['key'].rpartition('/')[0]}/{TIMES}")
    begin_s: float = line["clip"].get("begin_s", 0.0)
    return begin_s + _read_times(place, f"{line['run']} {line['source']}")[line["frame"]]


@lru_cache(maxsize=4)
def _read_times(place: AnyPath, made: str) -> list[float]:
    """Return the times of a clip's frames. made: what changes when they do."""
    with in_words(f"{place}: its times cannot be read", _REMEDY, DepthFileError):
        if place.name == TIMES:
            return parse_times(read_named_text(place))
        with DepthClip(place) as clip:
            return [float(each) for each in clip.times_s]


def find_depth(line: Line) -> tuple[str, Format] | None:
    """Return name and format of the output that depth can be read from, or None: there are only views.

    Of a clip that is for each frame to say (`expand_clip`): of one file it is read as if it were an npz of its own.
    """
    if "frame" in line and (clip := next((each for each in line["outputs"] if each.endswith(CLIP)), None)):
        return clip, FORMATS["npz"]
    formats = ((name, find_output_format(name, line.get("convention"))) for name in list_outputs(line))
    return next(((name, form) for name, form in formats if form and form.decode), None)


def about_depth(line: Line) -> dict[str, Any]:
    """Return what a line says of its depth, as `decode_depth` takes it."""
    return {word: line[word] for word in OF_FILE if line.get(word) is not None}


def list_outputs(line: Line) -> dict[str, WrittenFile]:
    """Return what was written of an image, also into a shard."""
    inside = {name: each[1:] for name, each in line.get("inside", {}).items()}
    return {name: WrittenFile(*placed) for name, placed in (inside or line["outputs"]).items()}


def list_maps(line: Line) -> dict[str, str]:
    """Return the outputs of a line that are maps beside its depth, by their names in `MAPS`."""
    outputs = list_outputs(line) if "outputs" in line else {}
    return {name: each for name, form in MAPS.items() for each in outputs if each.endswith(form.suffix)}


def find_missing(root: AnyPath, line: Line) -> list[str]:
    """Return the names of maps that a line says lie beside its depth and that do not exist any more."""
    if "inside" in line:
        return []
    return [name for name, each in list_maps(line).items() if not (root / each).is_file()]


def read_maps(root: AnyPath, line: Line, names: Collection[str] = tuple(MAPS)) -> dict[str, bytes]:
    """Read the files beside the depth of a line, by their names in `MAPS`.

    One that was removed is left out, and that is said once for its folder. Raises what `read_output` does for one
    that is not what was written.
    """
    read: dict[str, bytes] = {}
    for name, output in list_maps(line).items():
        if name in names:
            try:
                read[name] = read_output(root, output, line)
            except DepthFileError as error:
                if not isinstance(error.__cause__, FileNotFoundError):
                    raise
                with _telling:
                    _tell_missing(root, name)
    return read


@lru_cache(maxsize=256)
def _tell_missing(root: AnyPath, name: str) -> None:
    _log.warning(
        "%s: files of its %s are missing: done without them (`cortexia verify --requeue` lets the next run make them "
        "again)",
        printable(str(root)),
        name,
    )


def read_run_depth(root: AnyPath, line: Line, *, maps: Collection[str] = ()) -> DepthMap:
    """Read the depth of a line, with what the ledger says of it; root: the run's output folder.

    maps: what to read from beside it, where the run wrote it and it is still there: mask, normals, confidence.
    Raises what `read_output` and `decode_depth` raise; `DepthFileError` for a line that has views only.
    """
    found = find_depth(line)
    if found is None:
        raise DepthFileError(f"{printable(line['key'])}: there is only a view of its depth")
    name = found[0]
    data = read_output(root, name, line)
    depth = decode_depth(data, name, about=about_depth(line), max_megapixels=math.inf)
    return add_maps(depth, read_maps(root, line, maps)) if maps else depth


def read_output(root: AnyPath, name: str, line: Line) -> bytes:
    """Read the output `name` of a line; `DepthFileError` where it is not what was written."""
    _require_inside(name)
    if "frame" in line and name.endswith(CLIP):
        return read_frame_file(root / name, line["frame"], max_megapixels=math.inf)
    with in_words(f"{printable(name)}: it cannot be read", kind=DepthFileError):
        try:
            if "inside" not in line:
                data = read_named(root / name, limit=math.inf)
            else:
                (shard,) = line["outputs"]
                _require_inside(shard)
                where, size, _ = line["inside"][name]
                column = "preview" if name.endswith(PREVIEW.suffix) else "depth"
                data = read_part(root / shard, where, [column], max(LARGEST_FILE, 4 * size))
        except FileNotFoundError as error:
            raise DepthFileError(f"{printable(name)}: it is missing: {_REMEDY}") from error
    if WrittenFile(len(data), xxhash.xxh3_128_hexdigest(data)) != list_outputs(line)[name]:
        raise DepthFileError(f"{printable(name)}: it is not what was written: {_REMEDY}")
    return data


def _require_inside(name: str) -> None:
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise DepthFileError(f"{printable(name)}: its name leads out of the folder")


def find_image(line: Line) -> Source | None:
    """Return the image that the depth of a line is of; None where that is not known."""
    if line.get("made_of") == "depth":
        return Source(*line["image"]) if "image" in line else None
    return Source(line["path"], *line["source"]) if line.get("path") and "source" in line else None


def locate_image(line: Line, images: AnyPath | None = None) -> AnyPath:
    """Return where the image of a line is: where it was, or by its key in the folder that has `images` now.

    Raises `DepthFileError` for a key that leads out of that folder.
    """
    if images is None:
        return to_path(line["path"])
    key = line["key"].rpartition("/")[0] if "frame" in line else line["key"]
    _require_inside(key)
    return images / key


def read_run_image(line: Line, path: AnyPath | None = None, *, images: AnyPath | None = None) -> bytes:
    """Read the image of a line, if it is still the one that the depth was made of.

    path: where it is now, by default where it was. images: or the folder that has all of them now, perhaps
    as copies with times of their own: its bytes are counted then, no more. Raises `InputError`.
    """
    image = find_image(line)
    if image is None:
        raise InputError("it was converted from a depth file: the image is not known, give both by name")
    path = path or (locate_image(line, images) if images is not None else to_path(image.path))
    if "frame" in line:
        return _read_frame(path, image, line, is_copy=images is not None)
    inside = split_inside(path.url if isinstance(path, RemotePath) else str(path))
    file = to_path(inside[0]) if inside else path
    with in_words(f"cannot read {path}"):
        data = read_part(file, inside[1], IMAGES) if inside else read_whole(path)
        now = file.stat()
    is_older = images is None and now.st_mtime_ns != image.mtime_ns
    if is_older or (not inside and now.st_size != image.size):
        raise InputError("the image changed after its depth was made: estimate it again")
    return data


def _read_frame(path: AnyPath, clip: Source, line: Line, *, is_copy: bool) -> bytes:
    """Return a frame of a video as the bytes of an image (BMP: nothing is lost or packed)."""
    with in_words(f"cannot read {path}"):
        if is_sequence(path):
            size, mtime_ns = describe_images(list_images(path))
        else:
            now = path.stat()
            size, mtime_ns = now.st_size, now.st_mtime_ns
    if size != clip.size or (mtime_ns != clip.mtime_ns and not is_copy):
        raise InputError("the video changed after its depth was made: estimate it again")
    index = _index(path, mtime_ns, line["clip"]["rate"])
    number = list_numbers(line["clip"])[line["frame"]]
    packed = io.BytesIO()
    Image.fromarray(read_frame(path, number, index)).save(packed, "BMP")
    return packed.getvalue()


@lru_cache(maxsize=4)
def _index(path: AnyPath, mtime_ns: int, rate: float) -> ClipIndex:
    return read_any_index(path, fps=rate, max_megapixels=math.inf)
