"""Images inside shards: members of a tar (WebDataset), rows of a parquet file; here or at a URL.

An image's path is that of its shard with its place in it: `a.tar#512+30211` (offset and bytes) and
`a.parquet#3.17` (row group and row), so that one image is read without the others.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import PurePath

from cortexia_video.errors import Failure, InputError, attempt_all, in_words, printable
from cortexia_video.images.sniff import IMAGE_SUFFIXES
from cortexia_video.ledger.entries import Source
from cortexia_video.sources.inputs import Found, InputFile
from cortexia_video.storage.archive_member import IMAGES, SmallHeaders, choose_column, name_absolute
from cortexia_video.storage.paths import LARGEST_FILE, LARGEST_TEXT, AnyPath, find_problem, open_named
from cortexia_video.storage.row_groups import list_row_groups, open_parquet, read_row_group, require_rows

_KEYS = ("key", "__key__", "name")


def find_in_shard(key: str, place: AnyPath) -> Iterator[Found]:
    """Yield the images of a shard; their keys are the shard's without its suffix, and their own."""
    return attempt_all(key, "find", _list_inside(key, place))


def _list_inside(key: str, place: AnyPath) -> Iterator[Found]:
    with in_words(f"{printable(str(place))} is no shard that can be read", "make or copy it again"):
        stat = place.stat()
        inside = _list_rows(place) if place.suffix == ".parquet" else _list_members(place)
        for name, where, size in inside:
            inner = f"{key.removesuffix(place.suffix)}/{name}"
            problem = find_problem(inner)
            if problem:
                yield Failure(inner, "find", InputError(f"the name {printable(name)!r} {problem}: rename it"))
            elif size > LARGEST_FILE:
                said = f"too large: it says {size / 1e9:.1f} GB, the limit is {LARGEST_FILE / 1e9:g}"
                yield Failure(inner, "find", InputError(said))
            elif not where:
                said = "it is stored as a sparse file: make the archive again by tar without --sparse"
                yield Failure(inner, "find", InputError(said))
            else:
                source = Source(f"{name_absolute(place)}#{where}", size, stat.st_mtime_ns)
                yield InputFile(inner, source, source.path)


def _list_members(place: AnyPath) -> Iterator[tuple[str, str, int]]:
    with open_named(place) as file, tarfile.open(fileobj=file, mode="r:", tarinfo=SmallHeaders) as archive:
        for member in archive:
            if member.isfile() and PurePath(member.name).suffix.lower() in IMAGE_SUFFIXES:
                where = "" if member.issparse() else f"{member.offset_data}+{member.size}"
                yield member.name.removeprefix("./"), where, member.size


def _list_rows(place: AnyPath) -> Iterator[tuple[str, str, int]]:
    with open_named(place) as opened:
        file = open_parquet(opened)
        names = file.schema_arrow.names
        choose_column(names, IMAGES)
        keys = next((name for name in _KEYS if name in names), None)
        count = 0
        require_rows(file, place.stat().st_size)
        for group, about in enumerate(list_row_groups(file)):
            said = read_row_group(file, group, [keys], LARGEST_TEXT)[keys] if keys else [None] * about.rows
            for row, scalar in enumerate(said):
                key = None if scalar is None else scalar.as_py()
                yield str(key) if key is not None else f"{count:08d}", f"{group}.{row}", 0
                count += 1
