"""One piece of a shard, read without the others: a member of a tar, a row of a parquet file."""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from cortexia_video.storage.paths import LARGEST_FILE, AnyPath, open_named, require_size
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.storage.row_groups import RecentGroups, open_parquet, read_row_group

SHARD_SUFFIXES = (".tar", ".parquet")


_DEPTH = re.compile(r"depth-[0-9a-f]{16}\.(tar|parquet)")
IMAGES = ("image", "jpg", "jpeg", "png", "bytes")
"""Columns of images; the first that exists."""


_LARGEST_HEADER = 1 << 20  # bytes of names and other words; a path has some thousand
_OF_WORDS = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)


class SmallHeaders(tarfile.TarInfo):
    """A header that is refused where it announces more words than anybody writes; for `tarfile.open`."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a header; raises `tarfile.ReadError`, which ends the reading."""
        header = super().frombuf(buf, encoding, errors)
        if header.type in _OF_WORDS and header.size > _LARGEST_HEADER:
            raise tarfile.ReadError(
                f"a header in it says it has {header.size} bytes, the limit is {_LARGEST_HEADER}"
            )
        return header


def is_depth_shard(name: str) -> bool:
    """Return whether a file may be, by its name, one that a run packed depth into."""
    return _DEPTH.fullmatch(name) is not None


def read_part(shard: AnyPath, where: str, columns: Sequence[str], limit: float | None = None) -> bytes:
    """Read a piece of a shard, of parquet by its row group, of at most `limit` bytes, if given.

    where: `512+30211` of a tar, offset and bytes; `3.17` of parquet, row group and row. columns: of parquet,
    the first that exists. Raises `OSError`, `ValueError`, `IndexError`, `MissingExtraError`.
    """
    if shard.suffix == ".parquet":
        group, row = map(int, where.split("."))
        written = shard.stat().st_mtime_ns if isinstance(shard, Path) else 0  # a remote one stays
        place = (name_absolute(shard), written, ",".join(columns), group)
        rows = _GROUPS.get(place, lambda: _read_group(shard, group, columns, limit))
        value = rows.column(0)[row].as_py()
        data = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(data, bytes):
            raise ValueError("the row has no such bytes")
        return data
    offset, size = map(int, where.split("+"))
    if isinstance(shard, RemotePath):
        require_size(size, limit or LARGEST_FILE, "the file in it")
        return shard.read_bytes(offset, offset + size)
    with open_named(shard) as file:
        left = os.fstat(file.fileno()).st_size - file.seek(offset)
        return file.read(max(0, min(size, left)))  # no memory for what a header only claims


_GROUPS = RecentGroups()


def _read_group(shard: AnyPath, group: int, columns: Sequence[str], limit: float | None) -> Any:
    with open_named(shard) as opened:
        file = open_parquet(opened)
        return read_row_group(file, group, [choose_column(file.schema_arrow.names, columns)], limit)


def choose_column(names: Sequence[str], columns: Sequence[str]) -> str:
    """Return the first column that exists; `ValueError` where none is."""
    column = next((name for name in columns if name in names), None)
    if column is None:
        raise ValueError(f"no such column: one of {', '.join(columns)} is needed, there are {[*names]}")
    return column


def name_absolute(shard: AnyPath) -> str:
    """Return the name of a shard that is the same from everywhere."""
    return str(shard) if isinstance(shard, RemotePath) else str(shard.absolute())
