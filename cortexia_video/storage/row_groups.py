"""Row groups of parquet files, bounded before they are read: kilobytes can unpack to gigabytes."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Hashable, Sequence
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from typing import IO, Any
from weakref import WeakKeyDictionary

from cortexia_video.storage.arrow import import_arrow
from cortexia_video.storage.parquet_footer import ColumnChunk, PageHeader, RowGroup, parse_footer, parse_page
from cortexia_video.storage.paths import LARGEST_FILE, FileTooLargeError, require_size

_SMALL = 1 << 28  # bytes of a row group
_PACKED = 8  # times smaller: more than images and depth are packed
_GROUPS_KEPT = 4
_BYTES_KEPT = 1 << 28


_LARGEST_FOOTER, _USUAL_HEADER, _LARGEST_HEADER = 1 << 26, 1 << 8, 1 << 16
_parse = lru_cache(maxsize=4)(parse_footer)  # an archive's images are read one by one, each time opened anew
_footers: WeakKeyDictionary[Any, list[RowGroup]] = WeakKeyDictionary()
_sources: WeakKeyDictionary[Any, Path | IO[bytes]] = WeakKeyDictionary()


def open_parquet(source: Path | IO[bytes], **options: Any) -> Any:
    """Return a `ParquetFile` of a path or an open file; of a local one pages are looked at before they are read."""
    file = import_arrow().parquet.ParquetFile(source, **options)
    if isinstance(source, Path) or isinstance(getattr(source, "raw", None), io.FileIO):
        _sources[file] = source  # at a URL each page would be a request
    return file


def list_row_groups(file: Any) -> list[RowGroup]:
    """Return what a `ParquetFile` says of its row groups; asking pyarrow ends the process over damaged words.

    Raises `FileTooLargeError` and `ValueError`.
    """
    if file not in _footers:
        require_size(file.metadata.serialized_size, _LARGEST_FOOTER, "its footer")
        copy = io.BytesIO()
        file.metadata.write_metadata_file(copy)  # as Arrow understood it, between two marks and its length
        _footers[file] = _parse(copy.getvalue()[4:-8])
    return _footers[file]


def require_rows(file: Any, size: int) -> None:
    """Raise `ValueError` for more rows than bytes: nulls cost nothing, kilobytes can say millions."""
    rows = max(file.metadata.num_rows, sum(max(0, group.rows) for group in list_row_groups(file)))
    if rows > size:
        raise ValueError(f"it says it has {rows} rows in {size} bytes")


def read_row_group(file: Any, group: int, columns: Sequence[str], limit: float | None = None) -> Any:
    """Read columns of a row group of a `ParquetFile` as an Arrow table.

    limit: bytes of the table; by default 268 MB or, up to a file's limit, eight times what is stored.
    What the file says is looked at before anything is read. As one stored value can stand in many rows (a
    dictionary's), no more rows are read at once than fit if all are as large as what is stored.
    Raises `FileTooLargeError`, `ValueError` and Arrow's errors.
    """
    about, names = list_row_groups(file)[group], tuple(f"{name}." for name in columns)
    chunks = [each for each in about.chunks if f"{each.column}.".startswith(names)]
    if any(each.unpacked < 0 or each.packed < 0 for each in chunks):
        raise ValueError("it says that columns have less than 0 bytes")
    unpacked = sum(each.unpacked for each in chunks)
    if limit is None:
        stored = sum(each.packed for each in chunks)
        limit = min(LARGEST_FILE, max(_SMALL, _PACKED * stored))
    what, batches, size = f"row group {group}, unpacked,", [], 0
    require_size(unpacked, limit, what)
    _require_pages(file, chunks, limit)
    at_once = max(1, int(limit / 4 / max(unpacked, 1)))
    if at_once >= about.rows:
        table = file.read_row_group(group, [*columns], use_threads=False)
        require_size(table.nbytes, limit, what)
        return table
    for batch in file.iter_batches(at_once, row_groups=[group], columns=[*columns], use_threads=False):
        size += batch.nbytes
        require_size(size, limit, what)
        batches.append(batch)
    if not batches:
        return file.schema_arrow.empty_table().select([*columns])
    return import_arrow().Table.from_batches(batches)


def _require_pages(file: Any, chunks: Sequence[ColumnChunk], limit: float) -> None:
    """Raise `FileTooLargeError` for pages that unpack to more, whatever the footer says; `ValueError` for none."""
    source = _sources.get(file)
    if source is None:
        return
    with source.open("rb") if isinstance(source, Path) else nullcontext(source) as opened:
        unpacked = 0
        for chunk in chunks:
            place, end = chunk.start, chunk.start + chunk.packed
            while place < end:
                page = _read_page(opened, place, end)
                if page.unpacked < 0 or page.packed < 0:
                    raise ValueError("it says that a page has less than 0 bytes")
                unpacked += page.unpacked
                require_size(unpacked, limit, "its pages, unpacked,")
                place += page.size + page.packed


def _read_page(opened: IO[bytes], place: int, end: int) -> PageHeader:
    """Return what a page says of itself at its place in a file."""
    for size in (_USUAL_HEADER, _LARGEST_HEADER):
        opened.seek(place)
        try:
            return parse_page(opened.read(min(size, end - place)))
        except IndexError:
            continue  # it is longer
    raise ValueError("a page of it does not say what it holds")


class RecentGroups:
    """Keeps the row groups that were read last, a few and not too large, for all threads."""

    def __init__(self) -> None:
        self._reading = threading.Lock()
        self._groups: dict[Hashable, Any] = {}

    def get(self, place: Hashable, read: Callable[[], Any]) -> Any:
        """Return the table of a place, which `read` gives where it is not kept."""
        with self._reading:
            if place not in self._groups:
                kept = {each: getattr(table, "nbytes", 0) for each, table in self._groups.items()}
                while kept and (len(kept) >= _GROUPS_KEPT or sum(kept.values()) >= _BYTES_KEPT):
                    oldest = next(iter(kept))
                    del kept[oldest], self._groups[oldest]
                try:
                    self._groups[place] = read()
                except FileTooLargeError as error:  # each of its rows is told so, and one of them tries
                    self._groups[place] = error
            found = self._groups[place]
        if isinstance(found, FileTooLargeError):
            raise found
        return found
