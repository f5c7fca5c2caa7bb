"""The table of formats, and how our own files are told from a person's pictures."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cortexia_video.depth_map import DepthMap
from cortexia_video.formats import npy, png8, preview
from cortexia_video.formats.stored import Chunks, Stored


def _lose_nothing(depth: DepthMap) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Format:
    """A way to write depth.

    suffix: put behind the key. encode: gives the pieces of the file. check: given a file's bytes and its
    map's height and width, says what is wrong, if anything; raises whatever a reader of a broken file does.
    decode: the way back, given the bytes and the most pixels there may be, or None: to look at only. Call it
    by `reading.decode_depth`, which says what the values mean and turns what it raises into one error.
    holds_metadata: the file says what its numbers mean. lost: says for people what a depth map's numbers lose
    beyond the bound that docs/formats.md states, or None.
    """

    suffix: str
    encode: Callable[[DepthMap], Chunks]
    check: Callable[[bytes, int, int], str | None]
    decode: Callable[[bytes, float], Stored] | None = None
    holds_metadata: bool = False
    lost: Callable[[DepthMap], str | None] = _lose_nothing


@dataclass(frozen=True, slots=True)
class Reader:
    """A type of file that depth is read from. magic: how its content may begin. suffixes: its usual names."""

    magic: tuple[bytes, ...]
    suffixes: tuple[str, ...]
    decode: Callable[[bytes, float], Stored]


FORMATS: dict[str, Format] = {
    "npy": Format(".npy", npy.encode, npy.check, npy.decode),
    "png": Format(".png", png8.encode, png8.check, lost=png8.lost),
}
PREVIEW = Format(".preview.jpg", preview.encode, preview.check, lost=png8.lost)
READERS = (Reader((npy.MAGIC,), (".npy",), npy.decode),)


def find_format(name: str) -> Format | None:
    """Give the format that a file's name ends in."""
    return next((each for each in (*FORMATS.values(), PREVIEW) if name.endswith(each.suffix)), None)


REPORT_MARK = b"cortexia_video depth report"
_OWN_NAME = re.compile(rb"\.png$|\.preview\.jpg$|\.npy$|\.html$")
_HEAD_BYTES = 128


def is_own_output(path: str | os.PathLike[str]) -> bool:
    """Say whether a file is one that this package may have written, so that no run takes it for a picture.

    Only names that we may have given (`.png`, `.preview.jpg`, `.npy`, `.html`) are opened; the mark inside
    decides. A `.npy` has none: any NumPy file counts.
    """
    name = os.fsencode(os.path.basename(path))  # noqa: PTH119 - bytes, for names that are not UTF-8
    if not _OWN_NAME.search(name):
        return False
    try:
        with Path(path).open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except (OSError, ValueError):  # ValueError: a name with a zero byte
        return False
    return head.startswith(npy.MAGIC) or any(mark in head for mark in (png8.MARK, preview.MARK, REPORT_MARK))
