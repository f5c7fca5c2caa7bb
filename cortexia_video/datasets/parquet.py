"""Parquet shards with the columns of `columns`, read by pyarrow: no copy in a cache, flat memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cortexia_video.datasets.columns import from_row, import_pyarrow, require_columns
from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.info import DatasetInfo
from cortexia_video.datasets.shard_splits import list_split
from cortexia_video.depth_map import Kind
from cortexia_video.errors import InputError
from cortexia_video.rgbd_sample import RGBDSample

_GROUPS_KEPT, _FILES_KEPT = 4, 64


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a row lies. group, row: the row group of the file, and the row in it."""

    key: str
    path: Path
    group: int
    row: int


def _open(root: Path, split: str | None, *, dialect: str | None = None) -> RGBDDataset:
    """Open a file, or all of a folder. dialect: of depth that does not say what it means."""
    paths = list_split(root, ".parquet", split)
    places: list[_Place] = []
    kinds: set[Kind | None] = set()
    for path in paths:
        places += _list_places(path, kinds, count_before=len(places))
    kind = kinds.pop() if len(kinds) == 1 else None
    return RGBDDataset("parquet", places, _Reader(dialect), "metric" if dialect else kind)


def _list_places(path: Path, kinds: set[Kind | None], count_before: int) -> Iterator[_Place]:
    try:
        file = open_file(path)
    except InputError:  # of as many samples as nobody knows: one, and reading it says what is wrong
        yield _Place(path.name, path, 0, 0)
        return
    names = file.schema_arrow.names
    require_columns(names, str(path))
    columns = [name for name in ("key", "kind") if name in names]
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        known = file.read_row_group(group, columns=columns).to_pydict() if columns else {}
        kinds.update(known.get("kind", [None]))
        keys = known.get("key") or [f"{count_before + number:08d}" for number in range(rows)]
        count_before += rows
        yield from (_Place(str(key), path, group, row) for row, key in enumerate(keys))


def open_file(path: Path) -> Any:
    """Open a parquet file; `InputError` where it is broken or not there."""
    import_pyarrow()
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(path, memory_map=True, page_checksum_verification=True)
    except (OSError, ValueError) as error:  # pyarrow's errors are such
        raise InputError(
            f"{path} is no parquet file that can be read: {error}; make or copy it again"
        ) from error


class _Reader:
    """Reads rows; the row groups that were read last stay, for all threads."""

    def __init__(self, dialect: str | None) -> None:
        self._dialect = dialect
        self._reading = threading.Lock()
        self._groups: dict[tuple[Path, int], Any] = {}
        self._files: dict[Path, Any] = {}

    def __call__(self, place: _Place) -> RGBDSample:
        rows = self._read_group(place)
        return from_row(rows.slice(place.row, 1).to_pylist()[0], place.key, dialect=self._dialect)

    def _read_group(self, place: _Place) -> Any:
        number = (place.path, place.group)
        with self._reading:
            if number not in self._groups:
                group = self._open(place.path, place.group)
                self._groups = dict([*self._groups.items(), (number, group)][-_GROUPS_KEPT:])
            return self._groups[number]

    def _open(self, path: Path, group: int) -> Any:
        if path not in self._files:
            self._files = dict([*self._files.items(), (path, open_file(path))][-_FILES_KEPT:])
        try:
            return self._files[path].read_row_group(group, use_threads=False)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: row group {group} is broken: {error}; make it again") from error

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
