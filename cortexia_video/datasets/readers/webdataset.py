"""WebDataset shards: tar files in which a sample is some files of one name, read in a row."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from cortexia_video.datasets.dataset import Attempt, Load, RGBDStream, list_loads
from cortexia_video.datasets.dataset_info import DatasetInfo
from cortexia_video.datasets.readers._splits import list_split
from cortexia_video.datasets.row_schema import from_row
from cortexia_video.errors import Failure, InputError, in_words
from cortexia_video.rgbd_sample import RGBDSample
from cortexia_video.runtime.input_boundary import attempt
from cortexia_video.storage.documents import parse_json
from cortexia_video.storage.named_file import LARGEST_FILE, open_named
from cortexia_video.storage.paths import AnyPath

_COLUMNS = {
    "jpg": "image",
    "png": "image",
    "tiff": "image",
    "depth_map.tiff": "depth_map",
    "mask.png": "mask",
    "json": "json",
}


@dataclass(frozen=True, slots=True)
class _Shard:
    path: AnyPath
    convention: str | None

    def __call__(self) -> Iterator[Load]:
        return list_loads(self.path.name, self._list_loads())

    def _list_loads(self) -> Iterator[Load]:
        with in_words(f"{self.path} is broken", "make or copy it again"):
            for name, files, problem in _group_files(self.path):
                if problem:
                    yield partial(Failure, name, "decode", InputError(problem))
                else:
                    yield partial(_read_sample, name, files, self.convention)


def _read_sample(name: str, files: dict[str, bytes], convention: str | None) -> Attempt:
    row: dict[str, Any] = {_COLUMNS[end]: data for end, data in files.items() if end in _COLUMNS}

    def read() -> RGBDSample:
        words = parse_json(row.pop("json", b"{}"), f"{name}.json", finite=False)
        if not isinstance(words, dict):
            raise InputError(f"{name}.json is no object of JSON: it says what the depth means")
        return from_row({**words, **row}, name, convention=convention)

    return attempt(name, "decode", read)


def _group_files(path: AnyPath) -> Iterator[tuple[str, dict[str, bytes], str]]:
    """Yield the files that follow each other under one name, which ends at its first dot.

    With them comes what is wrong with one of them, which is not read: the size that it claims.
    """
    name, files, problem = "", dict[str, bytes](), ""
    with open_named(path) as shard, tarfile.open(fileobj=shard, mode="r|") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is None:
                continue
            folder, _, file = member.name.rpartition("/")
            stem, _, end = file.partition(".")
            prefix = f"{folder}/{stem}" if folder else stem
            if prefix != name and (files or problem):
                yield name, files, problem
                files, problem = {}, ""
            name = prefix
            problem = problem or _find_problem(member, sum(map(len, files.values())))
            if not problem:
                files[end] = content.read()
    if files or problem:
        yield name, files, problem


def _find_problem(member: tarfile.TarInfo, before: int) -> str:
    """Return why a file is not read, if that is so. before: bytes of the sample's other files."""
    if member.issparse():
        return f"{member.name} is stored as a sparse file: make the archive again without --sparse"
    if member.size + before > LARGEST_FILE:
        size = f"{(member.size + before) / 1e9:.1f} GB, the limit is {LARGEST_FILE / 1e9:g}"
        return f"{member.name} is too large: with the sample's other files it says {size}"
    return ""


def _open(root: AnyPath, split: str | None, *, convention: str | None = None) -> RGBDStream:
    paths = list_split(root, ".tar", split)
    if not paths:
        raise InputError(INFO.describe_missing(root))
    return RGBDStream("webdataset", [_Shard(path, convention) for path in paths], None)


INFO = DatasetInfo(
    name="webdataset",
    summary="WebDataset tar shards, as cortexia dataset build makes them; read in a row",
    licence="that of its images",
    where="cortexia dataset build --format webdataset",
    layout="train-00000.tar and others, with NAME.jpg, .png or .tiff, NAME.depth_map.tiff and NAME.json",
    open=_open,
    splits=None,
    marks=("**/*.tar",),
)
