"""Members of a tar and rows of a parquet file, written so that the same content gives the same bytes."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

from cortexia_video.storage.arrow import import_arrow


def add_member(archive: tarfile.TarFile, name: str, data: bytes) -> str:
    """Add a file without time or owner, which would differ each time; return where it is, `OFFSET+SIZE`."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))
    return f"{archive.offset - -(-len(data) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE}+{len(data)}"


def write_parquet(
    file: Path | IO[bytes],
    schema: Any,
    rows: Iterable[dict[str, Any]],
    *,
    size_of: Callable[[dict[str, Any]], int],
    group_bytes: int,
    **options: Any,
) -> list[str]:
    """Write rows in row groups of about `group_bytes`, or of one row; return where each is, `GROUP.ROW`.

    Args:
        file: Path, or a file that is open to be written.
        schema: Arrow's, of the rows.
        rows: Values by column.
        size_of: Gives the bytes that a row counts as.
        group_bytes: A group ends with the row that reaches it.
        options: Further ones of `pyarrow.parquet.ParquetWriter`.
    """
    pa = import_arrow()
    places: list[str] = []
    group: list[dict[str, Any]] = []
    size = number = 0
    with pa.parquet.ParquetWriter(file, schema, write_statistics=False, **options) as writer:
        for row in rows:
            places.append(f"{number}.{len(group)}")
            group.append(row)
            size += size_of(row)
            if size >= group_bytes:
                writer.write_table(pa.Table.from_pylist(group, schema=schema), len(group))
                group, size, number = [], 0, number + 1
        if group:
            writer.write_table(pa.Table.from_pylist(group, schema=schema), len(group))
    return places
