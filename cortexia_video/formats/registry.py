"""The table of formats, and how our own files are told from a person's images."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import InputError, LossError, MissingExtraError, not_known, say_install
from cortexia_video.formats import (
    colmap,
    exr,
    hdf5,
    jxl,
    maps,
    npy,
    npz,
    pfm,
    pgm,
    png8,
    png16,
    preview,
    tiff,
)
from cortexia_video.formats import quantization as steps
from cortexia_video.formats.integrity import checks
from cortexia_video.formats.metadata import MARK
from cortexia_video.formats.raw_depth import Chunks, Decode
from cortexia_video.storage.paths import open_named

FormatName = Literal["npy", "npz", "png", "png16", "tiff", "exr", "exr16", "pfm", "jxl"]


@dataclass(frozen=True, slots=True)
class Format:
    """A way to write depth.

    suffix: put behind the key. encode: gives the pieces of the file. check: given a file's bytes and its
    map's height and width, says what is wrong, if anything; raises whatever a reader of a broken file does.
    decode: the way back, or None: to look at only. Call it by `reading.decode_depth`, which says what the
    values mean and turns what it raises into one error.
    holds_metadata: the file says what its numbers mean. lost: says for people what a depth map's numbers lose
    beyond the bound that docs/formats.md states, or None; None in its place where they never do. extra: the extra
    of this package that it needs, and the module by which that is known to be there. holds_steps: its numbers are
    whole, and `encode` and `lost` take the scale and offset of them.
    """

    suffix: str
    encode: Callable[..., Chunks]
    check: Callable[[bytes, int, int], str | None]
    decode: Decode | None = None
    holds_metadata: bool = False
    lost: Callable[..., str | None] | None = None
    extra: tuple[str, str] | None = None
    holds_steps: bool = False

    def with_steps(self, scale: float, offset: float = 0.0) -> Format:
        """Return the format with steps that are given, where it holds whole numbers; else as it is."""
        if not self.holds_steps:
            return self
        given = {"scale": scale, "offset": offset}
        return replace(
            self, encode=partial(self.encode, **given), lost=self.lost and partial(self.lost, **given)
        )

    @property
    def is_installed(self) -> bool:
        """Return whether the package that it needs is installed; nothing is imported."""
        return self.extra is None or find_spec(self.extra[1]) is not None

    def require_kept(self, depth: DepthMap) -> None:
        """Raise `LossError` for depth that would lose something; a view is asked for by name."""
        lost = self.lost(depth) if self.lost and self.decode else None
        if lost:
            raise LossError(f"{lost}: another `format` keeps it")

    def require(self) -> None:
        """Raise `MissingExtraError` where the package that it needs is not installed."""
        if self.extra and not self.is_installed:
            line = say_install(f"'cortexia-video[{self.extra[0]}]'")
            raise MissingExtraError(f"files {self.suffix} need a package: {line}")


@dataclass(frozen=True, slots=True)
class Reader:
    """A type of file that depth is read from.

    magic, head: how its content may begin. suffixes: its usual names. picks: what `decode` takes by this name where
    a file holds several maps, one of `PICKS`.
    """

    magic: tuple[bytes, ...]
    suffixes: tuple[str, ...]
    decode: Decode
    picks: str | None = None
    head: re.Pattern[bytes] | None = None

    def reads(self, data: bytes) -> bool:
        """Return whether content is of this type."""
        return data.startswith(self.magic) or bool(self.head and self.head.match(data))


_EXR, _JXL = ("exr", "OpenEXR"), ("jxl", "imagecodecs")
FORMATS: dict[str, Format] = {
    "npy": Format(".npy", npy.encode, checks(npy.decode), npy.decode),
    "npz": Format(".npz", npz.encode, checks(npz.decode), npz.decode, True),
    "png": Format(".png", png8.encode, png8.check, lost=png8.lost),
    "png16": Format(
        ".16.png", png16.encode, checks(png16.decode), png16.decode, True, steps.lost, holds_steps=True
    ),
    "tiff": Format(".tiff", tiff.encode, checks(tiff.decode), tiff.decode, True),
    "exr": Format(".exr", exr.encode, checks(exr.decode), exr.decode, True, extra=_EXR),
    "exr16": Format(".16.exr", exr.encode_half, checks(exr.decode), exr.decode, True, exr.lost_in_half, _EXR),
    "pfm": Format(".pfm", pfm.encode, checks(pfm.decode), pfm.decode),
    "jxl": Format(".jxl", jxl.encode, checks(jxl.decode), jxl.decode, True, steps.lost, _JXL, True),
}
RELATIVE = Format(
    ".relative", lambda depth: npz.encode(depth.relative or depth), checks(npz.decode)
)  # beside aligned depth: the map before, as npz; not of that name, so that nobody takes it for metric
PREVIEW = Format(".preview.jpg", preview.encode, preview.check, lost=png8.lost)
MAPS: dict[str, Format] = {
    "normals": Format(".normals.png", maps.encode_normals, maps.check_normals),
    "mask": Format(".mask.png", maps.encode_mask, png8.check),
    "confidence": Format(".confidence.npy", maps.encode_confidence, checks(npy.decode)),
    "points": Format(".points.npy", maps.encode_points, maps.check_points),
}  # beside depth, each in a file of its own; no reader of depth takes their names
READERS = (
    Reader((npy.MAGIC,), (".npy",), npy.decode),
    Reader((npz.MAGIC,), (".npz",), npz.decode, "array"),
    Reader((png16.MAGIC,), (".png",), png16.decode),
    Reader(tiff.MAGIC, (".tiff", ".tif"), tiff.decode, "page"),
    Reader((exr.MAGIC,), (".exr",), exr.decode, "channel"),
    Reader(pfm.MAGIC, (".pfm",), pfm.decode),
    Reader(jxl.MAGIC, (".jxl",), jxl.decode),
    Reader((pgm.MAGIC,), (".pgm",), pgm.decode),
    Reader((hdf5.MAGIC,), (".hdf5", ".h5"), hdf5.decode, "array"),
    Reader((), (".geometric.bin", ".photometric.bin"), colmap.decode, head=colmap.HEAD),
)


def find_format(name: str) -> Format | None:
    """Return the format that a file's name ends in; of `.png` and `.16.png` the longer."""
    ends = [each for each in (*FORMATS.values(), PREVIEW, *MAPS.values()) if name.endswith(each.suffix)]
    return max(ends, key=lambda form: len(form.suffix), default=None)


def is_map(name: str) -> bool:
    """Return whether a name is that of a map beside depth: no depth file, whatever it ends in."""
    return name.endswith(tuple(each.suffix for each in MAPS.values()))


def choose_maps(also: str | Iterable[str], among: Iterable[str] = tuple(MAPS)) -> tuple[str, ...]:
    """Return names of maps in the order of `among`; a text may have commas. `InputError` for others."""
    asked = also.split(",") if isinstance(also, str) else [*also]
    names, known = {each.strip() for each in asked if each.strip()}, dict.fromkeys(among)
    if unknown := sorted(names - known.keys()):
        raise InputError(not_known("map in `also`", unknown[0], known))
    return tuple(each for each in known if each in names)


VIDEO_PREVIEW = b".preview.mp4"
REPORT_MARK = MARK + b" report"
OWN_NAMES = (
    *(os.fsencode(each.suffix) for each in (*FORMATS.values(), PREVIEW)),
    b".html",
    b".mkv",
    VIDEO_PREVIEW,
    b"depth.json",
)
HEAD_BYTES = 512
_UNMARKED = (npy.MAGIC, *pfm.MAGIC)


def is_own_output(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is one that this package may have written, so that no run takes it for an image.

    Only names that we may have given are opened; the mark inside decides. `.npy` and `.pfm` have none: any
    NumPy file and any float map counts; and so does any video called `.preview.mp4`.
    """
    name = os.path.basename(path)  # noqa: PTH119 - may not be UTF-8
    if not may_be_own(name):
        return False
    if os.fsencode(name).endswith(VIDEO_PREVIEW):
        return True
    try:
        with open_named(Path(path)) as file:
            return is_own_head(file.read(HEAD_BYTES))
    except (OSError, ValueError):  # ValueError: a name with a zero byte
        return False


def may_be_own(name: str) -> bool:
    """Return whether a name is one that we may have given."""
    return os.fsencode(name).endswith(OWN_NAMES)


def is_own_head(head: bytes) -> bool:
    """Return whether a file of such a name that begins like this, in `HEAD_BYTES`, is one of ours."""
    return head.startswith(_UNMARKED) or MARK in head or preview.MARK in head
