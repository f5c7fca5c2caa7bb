"""Row groups of parquet files, bounded before they are read: kilobytes can unpack to gigabytes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from cortexia_video.storage.arrow import import_arrow
from cortexia_video.storage.named_file import LARGEST_FILE, FileTooLargeError, require_size

_SMALL = 1 << 28  # bytes of a row group
_PACKED = 8  # times smaller: more than images and depth are packed
_GROUPS_KEPT = 4
_BYTES_KEPT = 1 << 28


def read_row_group(file: Any, group: int, columns: Sequence[str], limit: float | None = None) -> Any:
    """Read columns of a row group of a `ParquetFile` as an Arrow table.

    limit: bytes of the table; by default 268 MB or, up to a file's limit, eight times what is stored.
    What the file says is looked at before anything is read. As one stored value can stand in many rows (a
    dictionary's), no more rows are read at once than fit if all are as large as what is stored.
    Raises `FileTooLargeError` and Arrow's errors.
    """
    about, names = file.metadata.row_group(group), tuple(f"{name}." for name in columns)
    chunks = [about.column(number) for number in range(about.num_columns)]
    chunks = [each for each in chunks if f"{each.path_in_schema}.".startswith(names)]
    unpacked = sum(each.total_uncompressed_size for each in chunks)
    if limit is None:
        stored = sum(each.total_compressed_size for each in chunks)
        limit = min(LARGEST_FILE, max(_SMALL, _PACKED * stored))
    what, batches, size = f"row group {group}, unpacked,", [], 0
    require_size(unpacked, limit, what)
    at_once = max(1, min(int(limit / 4 / max(unpacked, 1)), about.num_rows))
    for batch in file.iter_batches(at_once, row_groups=[group], columns=[*columns], use_threads=False):
        size += batch.nbytes
        require_size(size, limit, what)
        batches.append(batch)
    if not batches:
        return file.schema_arrow.empty_table().select([*columns])
    return import_arrow().Table.from_batches(batches)


class RecentGroups:
    """Keeps the row groups that were read last, a few and not too large, for all threads."""

    def __init__(self) -> None:
        self._reading = threading.Lock()
        self._groups: dict[Hashable, Any] = {}

    def get(self, place: Hashable, read: Callable[[], Any]) -> Any:
        """Return the table of a place, which `read` gives where it is not kept."""
        with self._reading:
            if place not in self._groups:
                while self._groups and not self._has_room():
                    del self._groups[next(iter(self._groups))]
                try:
                    self._groups[place] = read()
                except FileTooLargeError as error:  # each of its rows is told so, and one of them tries
                    self._groups[place] = error
            found = self._groups[place]
        if isinstance(found, FileTooLargeError):
            raise found
        return found

    def _has_room(self) -> bool:
        kept = sum(getattr(each, "nbytes", 0) for each in self._groups.values())
        return len(self._groups) < _GROUPS_KEPT and kept < _BYTES_KEPT
