"""Shards as files, written row by row: parquet, and WebDataset's tar. The same rows give the same bytes."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

from cortexia_video.datasets.row_schema import COUNTS, FLAGS, NUMBERS, TEXTS, Row, make_schema
from cortexia_video.images.sniff import sniff
from cortexia_video.storage.arrow import import_arrow

_GROUP_BYTES = 1 << 22  # of a row group, which is read whole for one row
_COMPRESSION = {"depth_map.bytes": "lz4"}  # depth takes half the place; images would take what they take
_ENDS = {"JPEG": "jpg", "PNG": "png", "TIFF": "tiff"}


def write_parquet(path: Path, rows: Iterable[Row]) -> int:
    """Write rows to a file, in groups of 4 MiB or one row; give their number."""
    pa = import_arrow()
    schema, waiting, size, count = make_schema(), list[Row](), 0, 0
    with pa.parquet.ParquetWriter(
        path,
        schema,
        compression=_COMPRESSION,
        use_dictionary=False,
        write_statistics=False,
        write_page_checksum=True,
    ) as file:
        for row in rows:
            waiting.append(row)
            count += 1
            size += sum(len(row[name]["bytes"]) for name in ("image", "depth_map"))
            if size >= _GROUP_BYTES:
                file.write_table(pa.Table.from_pylist(waiting, schema=schema))
                waiting, size = [], 0
        if waiting:
            file.write_table(pa.Table.from_pylist(waiting, schema=schema))
    return count


def write_webdataset(path: Path, rows: Iterable[Row]) -> int:
    """Write rows to a tar file, each as NAME.jpg or .tiff, NAME.depth_map.tiff and NAME.json."""
    count = 0
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for row in rows:
            name = f"{count:06d}"
            image = row["image"]["bytes"]
            _add(archive, f"{name}.{_ENDS[sniff(image[:64]) or 'JPEG']}", image)
            _add(archive, f"{name}.depth_map.tiff", row["depth_map"]["bytes"])
            if row["mask"]:
                _add(archive, f"{name}.mask.png", row["mask"]["bytes"])
            words = {each: row[each] for each in (*TEXTS, *COUNTS, *NUMBERS, *FLAGS)}
            _add(archive, f"{name}.json", json.dumps(words).encode())
            count += 1
    return count


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file without time or owner, which would differ each time."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


WRITERS: dict[str, tuple[str, Callable[[Path, Iterable[Row]], int]]] = {
    "parquet": (".parquet", write_parquet),
    "webdataset": (".tar", write_webdataset),
}
