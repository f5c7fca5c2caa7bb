"""Pictures inside shards: members of a tar (WebDataset), rows of a parquet file; here or behind an address.

A picture's path is that of its shard with its place in it: `a.tar#512+30211` (offset and bytes) and
`a.parquet#3.17` (row group and row), so that one picture is read without the others.
"""

from __future__ import annotations

import re
import tarfile
import threading
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from cortexia_video.decode import IMAGE_SUFFIXES
from cortexia_video.errors import DecodeError, Failure, InputError, MissingExtraError, printable
from cortexia_video.ledger import Source
from cortexia_video.places.keys import find_problem
from cortexia_video.places.place import Place, as_place
from cortexia_video.places.remote_path import RemotePath
from cortexia_video.sources.input_file import Found, InputFile

SHARD_SUFFIXES = (".tar", ".parquet")
_INSIDE = re.compile(r"(?P<shard>.+)(?P<suffix>\.tar|\.parquet)#(?P<first>\d+)[+.](?P<second>\d+)", re.DOTALL)
_IMAGES = ("image", "jpg", "jpeg", "png", "bytes")  # columns of pictures, the first that is there
_KEYS = ("key", "__key__", "name")
_GROUPS_KEPT = 4


def find_in_shard(key: str, place: Place) -> Iterator[Found]:
    """Yield the pictures of a shard; their keys are the shard's without its suffix, and their own."""
    try:
        stat = place.stat()
        inside = _list_rows(place) if place.suffix == ".parquet" else _list_members(place)
        for name, where, size in inside:
            inner = f"{key.removesuffix(place.suffix)}/{name}"
            problem = find_problem(inner)
            if problem:
                yield Failure(inner, "find", InputError(f"the name {printable(name)!r} {problem}: rename it"))
            else:
                yield InputFile(inner, Source(f"{_name(place)}#{where}", size, stat.st_mtime_ns))
    except MissingExtraError:
        raise
    except (OSError, tarfile.TarError, EOFError, ValueError, KeyError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        said = f"{printable(str(place))} is no shard that can be read: {reason}; make or copy it again"
        yield Failure(key, "find", InputError(said))


def is_inside_shard(path: str) -> bool:
    """Say whether a path is one of a picture in a shard."""
    return _INSIDE.fullmatch(path) is not None


def read_in_shard(path: str) -> bytes:
    """Read one picture of a shard; raise `DecodeError` with a reason for people where that cannot be."""
    match = _INSIDE.fullmatch(path)
    if match is None:
        raise DecodeError(f"{path} is no picture in a shard")
    place, first, second = (
        as_place(match["shard"] + match["suffix"]),
        int(match["first"]),
        int(match["second"]),
    )
    try:
        if match["suffix"] == ".parquet":
            return _ROWS.read(place, first, second)
        return _read_part(place, first, second)
    except (OSError, ValueError, KeyError, IndexError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DecodeError(f"its shard cannot be read: {reason}") from error


def _list_members(place: Place) -> Iterator[tuple[str, str, int]]:
    with place.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
        for member in archive:
            if member.isfile() and PurePath(member.name).suffix.lower() in IMAGE_SUFFIXES:
                yield member.name.removeprefix("./"), f"{member.offset_data}+{member.size}", member.size


def _list_rows(place: Place) -> Iterator[tuple[str, str, int]]:
    with place.open("rb") as opened:
        file = _open_parquet(opened)
        names = file.schema_arrow.names
        _choose_column(names)
        keys = next((name for name in _KEYS if name in names), None)
        count = 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            said = file.read_row_group(group, columns=[keys])[keys].to_pylist() if keys else [None] * rows
            for row, key in enumerate(said):
                yield str(key) if key is not None else f"{count:08d}", f"{group}.{row}", 0
                count += 1


def _read_part(place: Place, offset: int, size: int) -> bytes:
    if isinstance(place, RemotePath):
        return place.read_bytes(offset, offset + size)
    with place.open("rb") as file:
        file.seek(offset)
        return file.read(size)


class _Rows:
    """Reads pictures of parquet files; the row groups that were read last stay, for all threads."""

    def __init__(self) -> None:
        self._reading = threading.Lock()
        self._groups: dict[tuple[str, int], list[Any]] = {}

    def read(self, place: Place, group: int, row: int) -> bytes:
        with self._reading:
            found = self._groups.get((_name(place), group))
            if found is None:
                found = self._read_group(place, group)
                kept = [*self._groups.items(), ((_name(place), group), found)]
                self._groups = dict(kept[-_GROUPS_KEPT:])
        image = found[row]
        data = image.get("bytes") if isinstance(image, dict) else image
        if not isinstance(data, bytes):
            raise ValueError("the row has no bytes of a picture")
        return data

    def _read_group(self, place: Place, group: int) -> list[Any]:
        with place.open("rb") as opened:
            file = _open_parquet(opened)
            column = _choose_column(file.schema_arrow.names)
            rows: list[Any] = file.read_row_group(group, columns=[column], use_threads=False)[
                column
            ].to_pylist()
            return rows


_ROWS = _Rows()


def _open_parquet(file: Any) -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("parquet needs pyarrow: pip install 'cortexia-video[datasets]'") from error
    return parquet.ParquetFile(file)


def _choose_column(names: list[str]) -> str:
    column = next((name for name in _IMAGES if name in names), None)
    if column is None:
        raise ValueError(f"no column of pictures: one of {', '.join(_IMAGES)} is needed, there are {names}")
    return column


def _name(place: Place) -> str:
    return str(place) if isinstance(place, RemotePath) else str(place.absolute())
