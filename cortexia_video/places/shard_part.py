"""One piece of a shard, read without the others: a member of a tar, a row of a parquet file."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cortexia_video.arrow import import_arrow
from cortexia_video.places.named_file import open_named
from cortexia_video.places.place import Place
from cortexia_video.places.remote_path import RemotePath

_GROUPS_KEPT = 4
_DEPTH = re.compile(r"depth-[0-9a-f]{16}\.(tar|parquet)")
_INSIDE = re.compile(r"(?P<shard>.+(?:\.tar|\.parquet))#(?P<where>\d+[+.]\d+)", re.DOTALL)
IMAGES = ("image", "jpg", "jpeg", "png", "bytes")
"""Columns of pictures; the first that is there."""


def is_depth_shard(name: str) -> bool:
    """Say whether a file may be, by its name, one that a run packed depth into."""
    return _DEPTH.fullmatch(name) is not None


def split_inside(path: str) -> tuple[str, str] | None:
    """Divide `a.tar#512+30211` into its shard and the place there; None of a path of another sort."""
    match = _INSIDE.fullmatch(path)
    return (match["shard"], match["where"]) if match else None


def read_part(shard: Place, where: str, columns: Sequence[str]) -> bytes:
    """Read a piece of a shard.

    where: `512+30211` of a tar, offset and bytes; `3.17` of parquet, row group and row. columns: of parquet,
    the first that is there. Raises `OSError`, `ValueError`, `IndexError`, `MissingExtraError`.
    """
    if shard.suffix == ".parquet":
        group, row = map(int, where.split("."))
        return _ROWS.read(shard, group, row, columns)
    offset, size = map(int, where.split("+"))
    if isinstance(shard, RemotePath):
        return shard.read_bytes(offset, offset + size)
    with open_named(shard) as file:
        file.seek(offset)
        return file.read(size)


class _Rows:
    """Reads rows of parquet files; the row groups that were read last stay, for all threads."""

    def __init__(self) -> None:
        self._reading = threading.Lock()
        self._groups: dict[tuple[str, int, str, int], list[Any]] = {}

    def read(self, shard: Place, group: int, row: int, columns: Sequence[str]) -> bytes:
        written = shard.stat().st_mtime_ns if isinstance(shard, Path) else 0  # one behind an address stays
        place = (name_absolute(shard), written, ",".join(columns), group)
        with self._reading:
            found = self._groups.get(place)
            if found is None:
                found = _read_group(shard, group, columns)
                self._groups = dict([*self._groups.items(), (place, found)][-_GROUPS_KEPT:])
        value = found[row]
        data = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(data, bytes):
            raise ValueError("the row has no such bytes")
        return data


_ROWS = _Rows()


def _read_group(shard: Place, group: int, columns: Sequence[str]) -> list[Any]:
    with open_named(shard) as opened:
        file = import_arrow().parquet.ParquetFile(opened)
        column = choose_column(file.schema_arrow.names, columns)
        rows: list[Any] = file.read_row_group(group, columns=[column], use_threads=False)[column].to_pylist()
        return rows


def choose_column(names: Sequence[str], columns: Sequence[str]) -> str:
    """Give the first column that is there; `ValueError` where none is."""
    column = next((name for name in columns if name in names), None)
    if column is None:
        raise ValueError(f"no such column: one of {', '.join(columns)} is needed, there are {[*names]}")
    return column


def name_absolute(shard: Place) -> str:
    """Give the name of a shard that is the same from everywhere."""
    return str(shard) if isinstance(shard, RemotePath) else str(shard.absolute())
