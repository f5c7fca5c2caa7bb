"""Shards as files, written row by row: parquet, and WebDataset's tar. The same rows give the same bytes."""

from __future__ import annotations

import json
import math
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

from cortexia_video.datasets.row_schema import COUNTS, FLAGS, NUMBERS, TEXTS, Row, make_schema
from cortexia_video.depth_map import DepthMap
from cortexia_video.formats import npy
from cortexia_video.formats.decode_depth import decode_stored
from cortexia_video.images.sniff import sniff
from cortexia_video.storage import archive_writers
from cortexia_video.storage.archive_writers import add_member

_GROUP_BYTES = 1 << 22  # of a row group, which is read whole for one row
_COMPRESSION = {"depth_map.bytes": "lz4"}  # depth takes half the place; images would take what they take
_ENDS = {"JPEG": "jpg", "PNG": "png", "TIFF": "tiff"}


def write_parquet(path: Path, rows: Iterable[Row]) -> int:
    """Write rows to a file, in groups of 4 MiB or one row; return their number."""
    places = archive_writers.write_parquet(
        path,
        make_schema(),
        rows,
        size_of=lambda row: sum(len(row[name]["bytes"]) for name in ("image", "depth_map")),
        group_bytes=_GROUP_BYTES,
        compression=_COMPRESSION,
        use_dictionary=False,
        write_page_checksum=True,
    )
    return len(places)


def write_webdataset(path: Path, rows: Iterable[Row]) -> int:
    """Write rows to a tar file, each as NAME.jpg or .tiff, NAME.depth.npy and NAME.json.

    Depth as TIFF would be made 8-bit RGB by webdataset's own `.decode("pil")`.
    """
    count = 0
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for row in rows:
            name = f"{count:06d}"
            image = row["image"]["bytes"]
            add_member(archive, f"{name}.{_ENDS[sniff(image[:64]) or 'JPEG']}", image)
            depth = decode_stored(row["depth_map"]["bytes"], name, max_megapixels=math.inf).values
            add_member(archive, f"{name}.depth.npy", b"".join(npy.encode(DepthMap(depth, row["kind"]))))
            if row["mask"]:
                add_member(archive, f"{name}.mask.png", row["mask"]["bytes"])
            words = {each: row[each] for each in (*TEXTS, *COUNTS, *NUMBERS, *FLAGS)}
            add_member(archive, f"{name}.json", json.dumps(words).encode())
            count += 1
    return count


Writer = Callable[[Path, Iterable[Row]], int]
WRITERS: dict[str, tuple[str, Writer]] = {
    "parquet": (".parquet", write_parquet),
    "webdataset": (".tar", write_webdataset),
}
