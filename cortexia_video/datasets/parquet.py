"""Parquet shards with the columns of `columns`, read by pyarrow: no copy in a cache, flat memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from cortexia_video.arrow import import_arrow
from cortexia_video.datasets.columns import from_row, require_columns
from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.info import DatasetInfo
from cortexia_video.datasets.shard_splits import list_split
from cortexia_video.depth_map import Kind
from cortexia_video.errors import InputError
from cortexia_video.places.named_file import LARGEST_TEXT, open_named
from cortexia_video.places.place import Place
from cortexia_video.places.remote_errors import describe_error
from cortexia_video.places.row_groups import RecentGroups, read_row_group
from cortexia_video.rgbd_sample import RGBDSample
from cortexia_video.sources.objects import map_in_order

_FILES_KEPT = 64


class _Row(NamedTuple):
    """Where a row lies. group, row: the row group of the file, and the row in it. key: empty for none."""

    key: str
    path: Place
    group: int
    row: int


class _Rows(NamedTuple):
    """The rows of a file, and the kinds of their depth."""

    rows: list[_Row]
    kinds: set[Kind | None]


def _open(root: Place, split: str | None, *, dialect: str | None = None) -> RGBDDataset:
    """Open a file, or all of a folder. dialect: of depth that does not say what it means."""
    rows: list[_Row] = []
    kinds: set[Kind | None] = set()
    for found in map_in_order(_list_rows, list_split(root, ".parquet", split)):
        kinds |= found.kinds
        rows += (
            row if row.key else row._replace(key=f"{number:08d}")
            for number, row in enumerate(found.rows, len(rows))
        )
    kind = kinds.pop() if len(kinds) == 1 else None
    return RGBDDataset("parquet", rows, _Reader(dialect), "metric" if dialect else kind)


def _list_rows(path: Place) -> _Rows:
    """Give the rows of a file, by its column of keys alone."""
    try:
        file = open_file(path)
    except InputError:  # of as many samples as nobody knows: one, and reading it says what is wrong
        return _Rows([_Row(path.name, path, 0, 0)], set())
    names = file.schema_arrow.names
    require_columns(names, str(path))
    columns = [name for name in ("key", "kind") if name in names]
    rows: list[_Row] = []
    kinds: set[Kind | None] = set()
    for group in range(file.num_row_groups):
        with _naming(path, group):
            known = read_row_group(file, group, columns, LARGEST_TEXT).to_pydict() if columns else {}
        kinds.update(known.get("kind", [None]))
        keys = known.get("key") or [""] * file.metadata.row_group(group).num_rows
        rows += (_Row(str(key), path, group, row) for row, key in enumerate(keys))
    return _Rows(rows, kinds)


def open_file(path: Place) -> Any:
    """Open a parquet file, of which only what is asked for is read; `InputError` where it is broken or not
    there."""
    parquet = import_arrow().parquet
    try:
        if isinstance(path, Path):
            open_named(path).close()  # Arrow would wait for the writer of a pipe
        source = path if isinstance(path, Path) else path.open("rb", 0)
        return parquet.ParquetFile(source, memory_map=True, page_checksum_verification=True)
    except (OSError, ValueError) as error:  # pyarrow's errors are such
        reason = describe_error(error, "make or copy it again")
        raise InputError(f"{path} is no parquet file that can be read: {reason}") from error


@contextmanager
def _naming(path: Place, group: int) -> Iterator[None]:
    """Make one error of all that can be wrong with a row group."""
    try:
        yield
    except (OSError, ValueError, MemoryError) as error:  # pyarrow's errors are such
        reason = describe_error(error, "make it again")
        raise InputError(f"{path}: row group {group} is broken: {reason}") from error


class _Reader:
    """Reads rows; the row groups that were read last stay, for all threads."""

    def __init__(self, dialect: str | None) -> None:
        self._dialect = dialect
        self._groups = RecentGroups()
        self._files: dict[Place, Any] = {}

    def __call__(self, row: _Row) -> RGBDSample:
        with _naming(row.path, row.group):
            group = self._groups.get((row.path, row.group), lambda: self._read(row.path, row.group))
        return from_row(group.slice(row.row, 1).to_pylist()[0], row.key, dialect=self._dialect)

    def _read(self, path: Place, group: int) -> Any:
        if path not in self._files:
            self._files = dict([*self._files.items(), (path, open_file(path))][-_FILES_KEPT:])
        file = self._files[path]
        return read_row_group(file, group, file.schema_arrow.names)

    def __getstate__(self) -> dict[str, Any]:
        return {"_dialect": self._dialect}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_dialect"])  # type: ignore[misc]


INFO = DatasetInfo(
    name="parquet",
    summary="parquet shards with the columns image and depth_map, as cortexia dataset build makes them",
    licence="that of its pictures",
    where="cortexia dataset build, or the files of a data set of the hub",
    layout="*.parquet, of a split train-*.parquet; dialect='metres' where the depth does not say what it is",
    open=_open,
    splits=None,
    marks=("**/*.parquet",),
)
