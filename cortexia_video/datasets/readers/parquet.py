"""Parquet shards with the columns of `columns`, read by pyarrow: no copy in a cache, flat memory."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.dataset_info import DatasetInfo
from cortexia_video.datasets.readers._splits import list_split
from cortexia_video.datasets.row_schema import from_row, require_columns
from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import DecodeError, Failure, InputError, in_words
from cortexia_video.rgbd_sample import RGBDSample
from cortexia_video.runtime.bounded_map import map_in_order
from cortexia_video.runtime.input_boundary import attempt
from cortexia_video.storage.arrow import import_arrow
from cortexia_video.storage.named_file import LARGEST_TEXT, open_named
from cortexia_video.storage.paths import AnyPath
from cortexia_video.storage.row_groups import RecentGroups, read_row_group

_FILES_KEPT = 64


class _Row(NamedTuple):
    """Where a row lies. group, row: the row group of the file, and the row in it. key: empty for none."""

    key: str
    path: AnyPath
    group: int
    row: int


class _Rows(NamedTuple):
    """The rows of a file, and the kinds of their depth."""

    rows: list[_Row]
    kinds: set[DepthKind | None]


def _open(root: AnyPath, split: str | None, *, convention: str | None = None) -> RGBDDataset:
    """Open a file, or all of a folder. convention: of depth that does not say what it means."""
    rows: list[_Row] = []
    kinds: set[DepthKind | None] = set()
    for found in map_in_order(_list_rows, list_split(root, ".parquet", split)):
        kinds |= found.kinds
        rows += (
            row if row.key else row._replace(key=f"{number:08d}")
            for number, row in enumerate(found.rows, len(rows))
        )
    kind = kinds.pop() if len(kinds) == 1 else None
    return RGBDDataset("parquet", rows, _Reader(convention), "metric" if convention else kind)


def _list_rows(path: AnyPath) -> _Rows:
    """Return the rows of a file, by its column of keys alone."""
    try:
        file = open_file(path)
    except InputError:  # of as many samples as nobody knows: one, and reading it says what is wrong
        return _Rows([_Row(path.name, path, 0, 0)], set())
    names = file.schema_arrow.names
    require_columns(names, str(path))
    count, size = file.metadata.num_rows, path.stat().st_size
    if count > size:  # nulls cost nothing to write: kilobytes can say that they are millions of rows
        raise InputError(f"{path} says it has {count} rows in {size} bytes: make or copy it again")
    columns = [name for name in ("key", "kind") if name in names]
    rows: list[_Row] = []
    kinds: set[DepthKind | None] = set()
    for group in range(file.num_row_groups):
        listed = attempt(path.name, "find", partial(_list_group, file, path, group, columns))
        if isinstance(listed, Failure):  # of as many samples as it says, whose reading says what is wrong
            listed = _Rows([_Row("", path, group, 0)], set())
        rows += listed.rows
        kinds |= listed.kinds
    return _Rows(rows, kinds)


def _list_group(file: Any, path: AnyPath, group: int, columns: list[str]) -> _Rows:
    known = read_row_group(file, group, columns, LARGEST_TEXT).to_pydict() if columns else {}
    keys = known.get("key") or [""] * file.metadata.row_group(group).num_rows
    rows = [_Row(str(key or ""), path, group, row) for row, key in enumerate(keys)]
    return _Rows(rows, {*known.get("kind", [None])})


def open_file(path: AnyPath) -> Any:
    """Open a parquet file, of which only what is asked for is read; `InputError` where it is broken or not
    there."""
    parquet = import_arrow().parquet
    with in_words(f"{path} is no parquet file that can be read", "make or copy it again"):
        if isinstance(path, Path):
            open_named(path).close()  # Arrow would wait for the writer of a pipe
        source = path if isinstance(path, Path) else path.open("rb", 0)
        return parquet.ParquetFile(source, memory_map=True, page_checksum_verification=True)


class _Reader:
    """Reads rows; the row groups that were read last stay, for all threads."""

    def __init__(self, convention: str | None) -> None:
        self._convention = convention
        self._groups = RecentGroups()
        self._files: dict[AnyPath, Any] = {}

    def __call__(self, row: _Row) -> RGBDSample:
        with in_words(f"{row.path}: row group {row.group} is broken", "make or copy it again", DecodeError):
            group = self._groups.get((row.path, row.group), lambda: self._read(row.path, row.group))
        return from_row(group.slice(row.row, 1).to_pylist()[0], row.key, convention=self._convention)

    def _read(self, path: AnyPath, group: int) -> Any:
        if path not in self._files:
            self._files = dict([*self._files.items(), (path, open_file(path))][-_FILES_KEPT:])
        file = self._files[path]
        return read_row_group(file, group, file.schema_arrow.names)

    def __getstate__(self) -> dict[str, Any]:
        return {"_convention": self._convention}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_convention"])  # type: ignore[misc]


INFO = DatasetInfo(
    name="parquet",
    summary="parquet shards with the columns image and depth_map, as cortexia dataset build makes them",
    licence="that of its images",
    where="cortexia dataset build, or the files of a dataset of the hub",
    layout="*.parquet, of a split train-*.parquet; convention='metres' where depth does not say what it is",
    open=_open,
    splits=None,
    marks=("**/*.parquet",),
)
