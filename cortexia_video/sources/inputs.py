"""`InputFile`: one input of a job, as it was found; `Rule`: which files and objects are inputs, such as `IMAGES`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from cortexia_video.errors import Failure, say_install
from cortexia_video.formats.registry import HEAD_BYTES, is_own_head, is_own_output, may_be_own
from cortexia_video.images.sniff import HEIF_REMEDY, HEIF_SUFFIXES, IMAGE_SUFFIXES, SNIFF_BYTES, sniff
from cortexia_video.ledger.entries import Source
from cortexia_video.ledger.partition import Partition
from cortexia_video.storage.archive_member import is_depth_shard
from cortexia_video.storage.paths import AnyPath, open_named
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.video.container import (
    NEEDS,
    VIDEO_SUFFIXES,
    is_transport_stream,
    is_video_content,
    is_video_name,
)

_ENDINGS = tuple(IMAGE_SUFFIXES)
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_BEGINNING = 26  # bytes: its size in pixels, then bits and sort of its channels
GREY_16 = b"\x10\0"
OWN = "written by cortexia"  # in a count of what was passed over
_WHEN_NAMED = (".gif", ".tga", ".ppm", ".pgm", ".pbm", ".pnm", ".ico", ".qoi", ".jp2", ".j2k")
_NEVER = (".jxl", ".psd", ".svg", ".eps", ".hdr", ".exr", ".xcf", ".ai", ".pdf")
_OF_CAMERAS = (".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw")
DEPTH = "16-bit grey PNG beside other images (depth, not photos: give the files to estimate them)"


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file to work on. key: unique, relative; it names the output. source: where it is, as it was found.

    place: the path or URL to read, which can hold what must not be written down: a signed query.
    is_clip: it is a video, whose frames get depth.
    """

    key: str
    source: Source
    place: str = field(repr=False)
    is_clip: bool = field(default=False, kw_only=True)


Found = InputFile | Failure


def list_passed_over(counts: Mapping[str, int]) -> str:
    """Return for people what was passed over, each type once with what to do about it."""
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))


@dataclass(frozen=True, slots=True)
class Rule:
    """Which files and objects are inputs.

    accepts: says whether a file in a folder is one; it may look inside. takes_own: what we wrote is one, too,
    where a person names it.
    may_be: says whether an object may be one, by the last part of its name. looks_inside: whether that takes
    a look at the object, which is a request; accepts_object then looks.
    name_keys: given the names in a folder, gives those that may be inputs, each with its last part of a key; None
    where that is the name, whatever else is in the folder.
    opens_shards: tar and parquet files stand for the images inside.
    takes_clips: videos are inputs, too.
    is_depth: says of a file's path whether it is depth, by its looks: no input where images lie beside it.
    find_packed: gives what the shards of a run stand for, by the folder that they are in and the name of one.
    noun: what the inputs are called. other_types: endings of what folders may hold and is no input, though a
    person might think so, each with what to call it.
    """

    accepts: Callable[[os.DirEntry[str]], bool]
    may_be: Callable[[str], bool]
    looks_inside: Callable[[str], bool]
    accepts_object: Callable[[RemotePath], bool]
    name_keys: Callable[[Sequence[str]], Mapping[str, str]] | None = None
    takes_own: bool = False
    opens_shards: bool = False
    takes_clips: bool = False
    is_depth: Callable[[str], bool] = lambda path: False
    noun: str = "images"
    other_types: Mapping[str, str] = field(default_factory=dict)
    find_packed: Callable[[AnyPath, str], Iterator[Found]] | None = None

    def note(self, name: str, passed_over: Counter[str]) -> None:
        """Count a file in a folder that is no input, if a person might think it is one."""
        kind = self.other_types.get(PurePath(name).suffix.lower())
        if kind and not may_be_own(name):
            passed_over[kind] += 1

    def list_packed(
        self, folder: AnyPath, names: Iterable[str], prefix: str, partition: Partition
    ) -> Iterator[Found]:
        """Yield what is packed in a folder where there are files of these names; prefix: before the keys."""
        if self.find_packed is None:
            return
        first = next(filter(is_depth_shard, names), None)
        if first:
            found = (replace(each, key=prefix + each.key) for each in self.find_packed(folder, first))
            yield from (each for each in found if partition.holds(each.key))


def read_png_kind(place: AnyPath) -> bytes:
    """Return the bits and the sort of a PNG's channels, as its header has them; of what is no PNG, nothing.

    Raises `OSError` where it cannot be read.
    """
    if isinstance(place, RemotePath):
        head = place.read_bytes(0, _PNG_BEGINNING)
    else:
        with open_named(place) as file:
            head = file.read(_PNG_BEGINNING)
    return head[-2:] if len(head) == _PNG_BEGINNING and head.startswith(_PNG) else b""


def _looks_like_depth(path: str) -> bool:
    try:
        return path.lower().endswith(".png") and read_png_kind(Path(path)) == GREY_16
    except OSError:
        return False


def _is_image(entry: os.DirEntry[str]) -> bool:
    """An image by name, even where it cannot be opened, or by content."""
    if _may_be_image(entry.name):
        return (entry.is_symlink() or entry.is_file()) and not is_own_output(entry.path)
    try:
        if not entry.is_file():
            return False
        with open_named(Path(entry.path)) as file:
            return sniff(file.read(SNIFF_BYTES)) is not None
    except OSError:
        return False


def _may_be_image(name: str) -> bool:
    return name.lower().endswith(_ENDINGS)


def _is_not_own(place: RemotePath) -> bool:
    try:
        return not is_own_head(place.read_bytes(0, HEAD_BYTES))
    except OSError:
        return True


IMAGES = Rule(
    accepts=_is_image,
    may_be=_may_be_image,
    looks_inside=lambda name: (  # one that may be an output, which is named after an image, as `a.jpg.png`
        may_be_own(name)
        and not (IMAGE_SUFFIXES | VIDEO_SUFFIXES).isdisjoint(map(str.lower, PurePath(name).suffixes[:-1]))
    ),
    accepts_object=_is_not_own,
    opens_shards=True,
    other_types={
        **{end: f"{end[1:].upper()} (read if named: give the files)" for end in _WHEN_NAMED},
        **{end: f"{end[1:].upper()} (not readable: convert to JPEG)" for end in _NEVER},
        **{end: f"{end[1:].upper()} (raw file of a camera: export as JPEG)" for end in _OF_CAMERAS},
        **{end: f"{end[1:].upper()} ({HEIF_REMEDY})" for end in HEIF_SUFFIXES - IMAGE_SUFFIXES},
    },
    is_depth=_looks_like_depth,
)


def is_video(path: str | os.PathLike[str]) -> bool:
    """Return whether a file of a video's name is one, as far as its name goes, and is not ours."""
    if is_own_output(path):
        return False
    try:
        with open_named(Path(path)) as file:
            return is_transport_stream(os.fspath(path), file.read(SNIFF_BYTES))
    except OSError:
        return True  # an input that cannot be read


def holds_video(path: str) -> bool:
    """Return whether a file that a person named is a video: by its name, or by content where that says nothing."""
    suffix = PurePath(path).suffix.lower()
    if suffix in VIDEO_SUFFIXES or suffix in IMAGE_SUFFIXES:
        return suffix in VIDEO_SUFFIXES
    try:
        with open_named(Path(path)) as file:
            return is_video_content(file.read(SNIFF_BYTES))
    except (OSError, ValueError):
        return False


IMAGES_AND_VIDEOS = replace(
    IMAGES,
    accepts=lambda entry: is_video(entry.path) if is_video_name(entry.name) else _is_image(entry),
    may_be=lambda name: _may_be_image(name) or is_video_name(name),
    takes_clips=True,
    noun="images or videos",
)


def list_images(can_read_videos: bool) -> Rule:
    """Return the rule for images alone; videos are counted, with why they are no inputs."""
    remedy = "archives take images only" if can_read_videos else say_install(NEEDS)
    return _note_videos(f"a video: {remedy}")


def _note_videos(what: str) -> Rule:
    ends = VIDEO_SUFFIXES - {".ts", ".mts"}  # of which the first is a programming language's, too
    videos = {end: f"{end[1:].upper()} ({what})" for end in ends}
    return replace(IMAGES, other_types={**IMAGES.other_types, **videos})


FRAMES = _note_videos("a video, not a folder of frames")
