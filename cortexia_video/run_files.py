"""What a line of a run's ledger leads to: the picture, and the depth that was made of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xxhash

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import DepthFileError, InputError, printable
from cortexia_video.formats.reading import decode_depth
from cortexia_video.formats.table import find_format

Line = Mapping[str, Any]


def find_depth(line: Line) -> str | None:
    """Give the name of the output that depth can be read from, or None: a view."""
    formats = {name: find_format(name) for name in line["outputs"]}
    return next((name for name, form in formats.items() if form and form.decode), None)


def read_run_depth(root: Path, line: Line) -> DepthMap:
    """Read the depth of a line, with what the ledger says of it; root: the run's output folder.

    Raises `DepthFileError` where it is not what was written, and what `decode_depth` raises.
    """
    name = str(find_depth(line))
    about = {word: line.get(word) for word in ("kind", "f_px", "f_source", "full_size")}
    data = read_whole(root / name)
    if [len(data), xxhash.xxh3_128_hexdigest(data)] != [*line["outputs"][name]]:
        raise DepthFileError(f"{printable(name)}: it is not what was written: `cortexia verify` tells more")
    return decode_depth(data, name, about=about, max_megapixels=math.inf)


def read_run_picture(line: Line, path: Path | None = None) -> bytes:
    """Read the picture of a line, if it is still the one that the depth was made of.

    path: where it is now, by default where it was. Raises `InputError`.
    """
    if line.get("made_of") == "depth":
        raise InputError("it was converted from a depth file: the picture is not known, give both by name")
    path = path or Path(line["path"])
    data = read_whole(path)
    now = path.stat()
    if [now.st_size, now.st_mtime_ns] != line["source"]:
        raise InputError("the picture changed after its depth was made: estimate it again")
    return data


def read_whole(path: Path) -> bytes:
    """Read a file; `InputError` where that cannot be."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
