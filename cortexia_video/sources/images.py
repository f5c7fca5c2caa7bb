"""`IMAGES`: what is taken for an image among files and objects."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

from cortexia_video.formats.registry import HEAD_BYTES, is_own_head, is_own_output, may_be_own
from cortexia_video.images.sniff import IMAGE_SUFFIXES, SNIFF_BYTES, sniff
from cortexia_video.sources.input_rule import Rule
from cortexia_video.storage.named_file import open_named
from cortexia_video.storage.remote_path import RemotePath

_WHEN_NAMED = (".gif", ".tga", ".ppm", ".pgm", ".pbm", ".pnm", ".ico", ".qoi", ".jp2", ".j2k")
_NEVER = (
    *(".heic", ".heif", ".hif", ".jxl", ".psd", ".svg", ".eps", ".hdr", ".exr", ".xcf", ".ai", ".pdf"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw"),  # of cameras
)
_VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")


def _is_image(entry: os.DirEntry[str]) -> bool:
    """An image by name, even where it cannot be opened, or by content."""
    if PurePath(entry.name).suffix.lower() in IMAGE_SUFFIXES:
        return (entry.is_symlink() or entry.is_file()) and not is_own_output(entry.path)
    try:
        if not entry.is_file():
            return False
        with open_named(Path(entry.path)) as file:
            return sniff(file.read(SNIFF_BYTES)) is not None
    except OSError:
        return False


def _may_be_image(name: str) -> bool:
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES


def _may_be_output(name: str) -> bool:
    """Return whether it may be an output: one is named after an image, as `a.jpg.png`."""
    suffixes = {each.lower() for each in PurePath(name).suffixes[:-1]}
    return may_be_own(name) and bool(IMAGE_SUFFIXES & suffixes)


def _is_not_own(place: RemotePath) -> bool:
    try:
        return not is_own_head(place.read_bytes(0, HEAD_BYTES))
    except OSError:
        return True


IMAGES = Rule(
    accepts=_is_image,
    accepts_named=lambda path: not is_own_output(path),
    may_be=_may_be_image,
    looks_inside=_may_be_output,
    accepts_object=_is_not_own,
    opens_shards=True,
    other_types={
        **{end: f"{end[1:].upper()} (readable when named)" for end in _WHEN_NAMED},
        **{end: f"{end[1:].upper()} (not readable: convert to JPEG)" for end in _NEVER},
        **{end: f"{end[1:].upper()} (a video)" for end in _VIDEOS},
    },
)
