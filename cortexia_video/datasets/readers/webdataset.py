"""WebDataset shards: tar files in which a sample is the files of one name, which ends at its first dot.

A tar of this machine is read in any order, by its headers first; one at a URL in a row, where the files of a
sample must follow each other.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from cortexia_video.datasets.dataset import Attempt, Load, RGBDStream, list_loads
from cortexia_video.datasets.dataset_info import DatasetInfo
from cortexia_video.datasets.readers._splits import list_split
from cortexia_video.datasets.row_schema import UNSAID, AssumedMeaning, from_row
from cortexia_video.errors import Failure, InputError, attempt, in_words
from cortexia_video.images.sniff import IMAGE_SUFFIXES
from cortexia_video.rgbd_sample import RGBDSample
from cortexia_video.storage.archive_member import SmallHeaders
from cortexia_video.storage.documents import parse_json
from cortexia_video.storage.paths import LARGEST_FILE, AnyPath, open_named

_DEPTH = re.compile(r"depth(_map)?\.\w+")
_APART = "the files of a sample must follow each other: make the tar by tar --sort=name"


class _Part(NamedTuple):
    """A file of a sample. end: of its name, after the first dot. problem: why it is not read, or nothing."""

    end: str
    offset: int
    size: int
    problem: str


@dataclass(frozen=True, slots=True)
class _Reader:
    """What is read of a sample. image, depth: ends of names, where they are not the usual ones."""

    image: str | None
    depth: str | None
    meaning: AssumedMeaning
    in_a_row: bool = False

    def attempt(self, name: str, files: dict[str, bytes]) -> Attempt:
        return attempt(name, "decode", lambda: self._read(name, files))

    def _read(self, name: str, files: dict[str, bytes]) -> RGBDSample:
        images = [end for end in files if f".{end}" in IMAGE_SUFFIXES]
        depths = [end for end in files if _DEPTH.fullmatch(end)]
        image = self.image or (min(images, key=["jpg", "jpeg", "png", *images].index) if images else None)
        depth = self.depth or (depths[0] if len(depths) == 1 else None)
        if image not in files or depth not in files:
            there = ", ".join(f".{end}" for end in files) or "nothing"
            raise InputError(
                f"its files end in {there}: say which two are image and depth by `columns` (as jpg, depth.npy); "
                "a sample's name ends at its first dot, so that it has none itself"
            )
        if "json" not in files and self.in_a_row and not self.meaning.is_said:
            raise InputError(f"it has no JSON: {_APART}")
        words = parse_json(files.get("json", b"{}"), f"{name}.json", finite=False)
        if not isinstance(words, dict):
            raise InputError(f"{name}.json is no object of JSON: it says what the depth means")
        row = {**words, "image": files[image], "depth_map": files[depth], "mask": files.get("mask.png")}
        return from_row(row, name, self.meaning)


def _list_samples(path: AnyPath, reader: _Reader) -> Iterator[Load]:
    with in_words(f"{path} is broken", "make or copy it again"):
        listed = _index_samples(path) if isinstance(path, Path) else _stream_samples(path)
        for name, files, problem in listed:
            if problem:
                yield partial(Failure, name, "decode", InputError(problem))
            else:
                yield partial(reader.attempt, name, files)


def _index_samples(path: Path) -> Iterator[tuple[str, dict[str, bytes], str]]:
    """Yield the samples of a tar in the order of their first files, and what is wrong with one.

    Where the tar is cut off, the samples before are given, but the last: nobody knows whether it is whole.
    """
    samples: dict[str, list[_Part]] = {}
    broken = None
    with open_named(path) as shard:
        try:
            with tarfile.open(fileobj=shard, mode="r:", tarinfo=SmallHeaders) as archive:
                for member in filter(tarfile.TarInfo.isfile, archive):
                    name, end = _split_name(member.name)
                    parts = samples.setdefault(name, [])
                    problem = _find_problem(member, sum(part.size for part in parts))
                    parts.append(_Part(end, member.offset_data, member.size, problem))
                shard.seek(archive.offset)
                if len(shard.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE:  # tarfile takes that for its end
                    raise EOFError("it is cut short")
        except (tarfile.TarError, ValueError, OSError, EOFError) as error:
            broken = error
            if samples:
                samples.popitem()
        for name, parts in samples.items():
            problem, files = next((part.problem for part in parts if part.problem), ""), dict[str, bytes]()
            for part in () if problem else parts:
                shard.seek(part.offset)
                files[part.end] = shard.read(part.size)
                if len(files[part.end]) < part.size:
                    raise EOFError(f"{name}.{part.end} is cut short")
            yield name, files, problem
    if broken:
        raise broken


def _stream_samples(path: AnyPath) -> Iterator[tuple[str, dict[str, bytes], str]]:
    """Yield the samples as their files follow each other, and what is wrong with one."""
    name, files, problem, seen = "", dict[str, bytes](), "", set[str]()
    with open_named(path) as shard, tarfile.open(fileobj=shard, mode="r|", tarinfo=SmallHeaders) as archive:
        for member in filter(tarfile.TarInfo.isfile, archive):
            prefix, end = _split_name(member.name)
            if prefix != name and (files or problem):
                yield name, files, problem
                files, problem = {}, ""
            if prefix != name and prefix in seen:
                problem = _APART
            name = prefix
            seen.add(name)
            problem = problem or _find_problem(member, sum(map(len, files.values())))
            content = None if problem else archive.extractfile(member)
            if content is not None:
                files[end] = content.read()
    if files or problem:
        yield name, files, problem


def _split_name(path: str) -> tuple[str, str]:
    """Divide trip/a.depth.npy into trip/a and depth.npy."""
    folder, slash, file = path.removeprefix("./").rpartition("/")
    stem, _, end = file.partition(".")
    return folder + slash + stem, end.lower()


def _find_problem(member: tarfile.TarInfo, before: int) -> str:
    """Return why a file is not read, if that is so. before: bytes of the sample's other files."""
    if member.issparse():
        return f"{member.name} is stored as a sparse file: make the archive again by tar without --sparse"
    if member.size + before > LARGEST_FILE:
        size = f"{(member.size + before) / 1e9:.1f} GB, the limit is {LARGEST_FILE / 1e9:g}"
        return f"{member.name} is too large: with the sample's other files it says {size}"
    return ""


def _open(
    root: AnyPath,
    split: str | None,
    *,
    image: str | None = None,
    depth: str | None = None,
    meaning: AssumedMeaning = UNSAID,
) -> RGBDStream:
    """Open a tar, or all of a folder. image, depth: how their files' names end, as jpg and depth.npy.

    meaning: of depth that does not say it.
    """
    paths = list_split(root, ".tar", split)
    if not paths:
        raise InputError(INFO.describe_missing(root))
    shards = [
        partial(
            list_loads,
            path.name,
            partial(_list_samples, path, _Reader(image, depth, meaning, not isinstance(path, Path))),
        )
        for path in paths
    ]
    return RGBDStream("webdataset", shards, None, scale_is_said=not meaning.is_assumed)


INFO = DatasetInfo(
    name="webdataset",
    summary="WebDataset tar shards, as cortexia dataset build makes them; read in a row",
    licence="that of its images",
    where="cortexia dataset build --format webdataset",
    layout="train-00000.tar and others, with NAME.jpg, .png or .tiff, NAME.depth.npy (or .depth.png, "
    ".depth_map.tiff), perhaps NAME.mask.png, and NAME.json",
    open=_open,
    splits=None,
    marks=("**/*.tar",),
)
