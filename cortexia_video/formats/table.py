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
    """A way to write depth: the suffix put behind the key, and the encoder to pieces of the file."""

    suffix: str
    encode: Callable[[DepthMap], Chunks]


FORMATS: dict[str, Format] = {
    "npy": Format(".npy", npy.encode),
    "png": Format(".png", png8.encode),
}
PREVIEW = Format(".preview.jpg", preview.encode)

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
