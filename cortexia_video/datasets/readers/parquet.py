"""Parquet shards with the columns of `columns`, read by pyarrow: no copy in a cache, flat memory."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.dataset_info import DatasetInfo
from cortexia_video.datasets.readers._splits import list_split
from cortexia_video.datasets.row_schema import UNSAID, AssumedMeaning, from_row, require_columns
from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import DecodeError, Failure, InputError, attempt, in_words
from cortexia_video.rgbd_sample import RGBDSample
from cortexia_video.runtime.bounded_map import AT_ONCE, map_bounded
from cortexia_video.storage.paths import LARGEST_TEXT, AnyPath, open_named
from cortexia_video.storage.row_groups import (
    RecentGroups,
    list_row_groups,
    open_parquet,
    read_row_group,
    require_rows,
)

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


def _open(
    root: AnyPath,
    split: str | None,
    *,
    image: str = "image",
    depth: str = "depth_map",
    meaning: AssumedMeaning = UNSAID,
) -> RGBDDataset:
    """Open a file, or all of a folder. image, depth: the columns. meaning: of depth that does not say it."""
    rows: list[_Row] = []
    kinds: set[DepthKind | None] = set()
    list_rows = partial(_list_rows, columns=(image, depth))
    for found in map_bounded(list_split(root, ".parquet", split), list_rows, workers=AT_ONCE):
        kinds |= found.kinds
        rows += (
            row if row.key else row._replace(key=f"{number:08d}")
            for number, row in enumerate(found.rows, len(rows))
        )
    reader = _Reader(image, depth, meaning)
    found_kind = kinds.pop() if len(kinds) == 1 else None
    return RGBDDataset(
        "parquet",
        rows,
        reader,
        found_kind or ("metric" if meaning.convention else meaning.kind),
        scale_is_said=not meaning.is_assumed,
        read_file=reader.read_file,
    )


def _list_rows(path: AnyPath, columns: tuple[str, str]) -> _Rows:
    """Return the rows of a file, by its column of keys alone."""
    try:
        file = open_file(path)
    except InputError:  # of as many samples as nobody knows: one, and reading it says what is wrong
        return _Rows([_Row(path.name, path, 0, 0)], set())
    names = file.schema_arrow.names
    require_columns(names, str(path), columns)
    with in_words(f"{path} is no parquet file that can be read", "make or copy it again"):
        require_rows(file, path.stat().st_size)
    known = [name for name in ("key", "kind") if name in names]
    rows: list[_Row] = []
    kinds: set[DepthKind | None] = set()
    for group in range(len(list_row_groups(file))):
        listed = attempt(path.name, "find", partial(_list_group, file, path, group, known))
        if isinstance(listed, Failure):  # of as many samples as it says, whose reading says what is wrong
            listed = _Rows([_Row("", path, group, 0)], set())
        rows += listed.rows
        kinds |= listed.kinds
    return _Rows(rows, kinds)


def _list_group(file: Any, path: AnyPath, group: int, columns: list[str]) -> _Rows:
    known = read_row_group(file, group, columns, LARGEST_TEXT).to_pydict() if columns else {}
    keys = known.get("key") or [""] * list_row_groups(file)[group].rows
    rows = [_Row(str(key or ""), path, group, row) for row, key in enumerate(keys)]
    return _Rows(rows, {*known.get("kind", [None])})


def open_file(path: AnyPath) -> Any:
    """Open a parquet file, of which only what is asked for is read; `InputError` where it is broken or not
    there."""
    with in_words(f"{path} is no parquet file that can be read", "make or copy it again"):
        if isinstance(path, Path):
            open_named(path).close()  # Arrow would wait for the writer of a pipe
        source = path if isinstance(path, Path) else path.open("rb", 0)
        file = open_parquet(source, memory_map=True, page_checksum_verification=True)
        list_row_groups(file)  # raises where the footer is broken
        return file


class _Reader:
    """Reads rows; the row groups that were read last stay, for all threads."""

    def __init__(self, image: str, depth: str, meaning: AssumedMeaning) -> None:
        self._said = image, depth, meaning
        self._groups = RecentGroups()
        self._files: dict[AnyPath, Any] = {}

    def __call__(self, row: _Row) -> RGBDSample:
        image, depth, meaning = self._said
        values = self._find_row(row)
        return from_row({**values, "image": values[image], "depth_map": values[depth]}, row.key, meaning)

    def read_file(self, row: _Row) -> bytes | None:
        """Return the file in a row's cell of the image, or None."""
        cell = self._find_row(row)[self._said[0]]
        return cell.get("bytes") if isinstance(cell, dict) else cell

    def _find_row(self, row: _Row) -> dict[str, Any]:
        def read() -> Any:
            if row.path not in self._files:
                self._files = dict([*self._files.items(), (row.path, open_file(row.path))][-_FILES_KEPT:])
            file = self._files[row.path]
            return read_row_group(file, row.group, file.schema_arrow.names)

        with in_words(f"{row.path}: row group {row.group} is broken", "make or copy it again", DecodeError):
            group = self._groups.get((row.path, row.group), read)
        return group.slice(row.row, 1).to_pylist()[0]

    def __reduce__(self) -> tuple[Any, ...]:
        return _Reader, self._said


INFO = DatasetInfo(
    name="parquet",
    summary="parquet shards with the columns image and depth_map, as cortexia dataset build makes them",
    licence="that of its images",
    where="cortexia dataset build, or the files of a dataset of the hub",
    layout="*.parquet, of a split train-*.parquet; image= and depth= name other columns, convention= or kind= "
    "and scale= what depth means that does not say it",
    open=_open,
    splits=None,
    marks=("**/*.parquet",),
)
