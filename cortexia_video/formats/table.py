"""The table of formats, and how our own files are told from a person's pictures."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cortexia_video.depth_map import DepthMap
from cortexia_video.formats import npy, png8, preview

Chunks = Sequence[bytes | memoryview]


@dataclass(frozen=True, slots=True)
class Format:
    """A way to write depth.

    suffix: put behind the key. encode: gives the pieces of the file. check: given a file's bytes and its
    map's height and width, says what is wrong, if anything; raises whatever a reader of a broken file does.
    """

    suffix: str
    encode: Callable[[DepthMap], Chunks]
    check: Callable[[bytes, int, int], str | None]


FORMATS: dict[str, Format] = {
    "npy": Format(".npy", npy.encode, npy.check),
    "png": Format(".png", png8.encode, png8.check),
}
PREVIEW = Format(".preview.jpg", preview.encode, preview.check)


def find_format(name: str) -> Format | None:
    """Give the format that a file's name ends in."""
    return next((each for each in (*FORMATS.values(), PREVIEW) if name.endswith(each.suffix)), None)


_OWN_NAME = re.compile(rb"\.png$|\.preview\.jpg$|\.npy$")
_HEAD_BYTES = 128


def is_own_output(path: str | os.PathLike[str]) -> bool:
    """Say whether a file is one that this package may have written, so that no run takes it for a picture.

    Only names that we may have given (`.png`, `.preview.jpg`, `.npy`) are opened; the mark inside decides. A
    `.npy` has none: any NumPy file counts.
    """
    name = os.fsencode(os.path.basename(path))  # noqa: PTH119 - bytes, for names that are not UTF-8
    if not _OWN_NAME.search(name):
        return False
    try:
        with Path(path).open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except (OSError, ValueError):  # ValueError: a name with a zero byte
        return False
    return head.startswith(npy.MAGIC) or png8.MARK in head or preview.MARK in head
