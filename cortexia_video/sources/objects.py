"""Inputs behind addresses: pictures in a bucket, and lists of addresses; found page by page."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import PurePath
from typing import TypeVar

from cortexia_video.decode import IMAGE_SUFFIXES
from cortexia_video.errors import DecodeError, Failure, InputError, printable
from cortexia_video.formats.table import HEAD_BYTES, is_own_head, may_be_own
from cortexia_video.ledger import Source
from cortexia_video.ledger_file import is_ledger
from cortexia_video.places.keys import find_problem
from cortexia_video.places.place import Place
from cortexia_video.places.remote_path import RemotePath, RemoteStat
from cortexia_video.shard import Shard
from cortexia_video.sources.input_file import LARGEST_FILE, Found, InputFile
from cortexia_video.sources.shards import SHARD_SUFFIXES, find_in_shard

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_AT_ONCE = 16  # addresses of a list that are looked at


def find_objects(
    folder: RemotePath, *, prefix: str, recursive: bool, output: Place | None, shard: Shard
) -> Iterator[Found]:
    """Yield the pictures, by name, in a folder of objects, without reading them.

    prefix: what goes before the keys. output: a folder that is left out where it is inside. What we wrote
    elsewhere is told by its content. Raises `InputError` where nothing can be listed.
    """
    apart = _find_inside(folder, output)
    try:
        for name, stat in folder.list_files(recursive=recursive):
            if (apart and name.startswith(apart)) or not _may_be_picture(name):
                continue
            key = prefix + name
            if shard.holds(key) and not _is_own(folder, name):
                yield describe_object(key, folder / name, stat)
    except OSError as error:
        raise InputError(f"cannot list {printable(str(folder))}: {error.strerror}") from error


def find_named(key: str, place: RemotePath) -> Iterator[Found]:
    """Find what an address names: one object, or the pictures in a shard."""
    return find_in_shard(key, place) if place.suffix in SHARD_SUFFIXES else iter([find_object(key, place)])


def find_object(key: str, place: RemotePath) -> Found:
    """Look at one object that a person named."""
    try:
        return describe_object(key, place, RemoteStat(0, 0) if find_problem(key) else place.stat())
    except OSError as error:
        reason = f"cannot open {printable(str(place))}: {error.strerror}"
        return Failure(key, "find", InputError(reason))


def describe_object(key: str, place: RemotePath, stat: RemoteStat) -> Found:
    """Give an object as an input; one whose key cannot name a file is a failure."""
    problem = find_problem(key)
    if problem:
        reason = f"the key {printable(key)!r} {problem}: rename the object, or give it in a list.txt"
        return Failure(key, "find", InputError(reason))
    if stat.st_size > LARGEST_FILE:
        size = f"{stat.st_size / 1e9:.1f} GB, the limit is {LARGEST_FILE / 1e9:g}"
        return Failure(key, "find", InputError(f"too large: the object has {size}"))
    address = place.address if place.address != str(place) else None
    return InputFile(key, Source(str(place), *stat), address=address)


def require_object(place: RemotePath) -> None:
    """Refuse an address where there is nothing, or nothing for us; `InputError`."""
    try:
        if "*" in place.name:
            next(place.parent.list_files(recursive=False), None)
        elif not place.exists():
            next(place.list_files(), None)  # says what is wrong: no bucket, no permission
            raise InputError(f"no such object or folder: {printable(str(place))}")
    except OSError as error:
        raise InputError(f"cannot open {printable(str(place))}: {error.strerror}") from error


def read_object(place: RemotePath) -> bytes:
    """Read a whole object; raise `DecodeError` with a reason for people where that cannot be."""
    try:
        return place.read_bytes()
    except FileNotFoundError as error:
        raise DecodeError("it is gone: it was there when the bucket was listed") from error
    except OSError as error:
        raise DecodeError(f"cannot be read: {error.strerror}") from error


def map_in_order(work: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """Yield `work` of each item, in order; a few are worked on ahead, on threads."""
    waiting: deque[Future[_Result]] = deque()
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="cortexia") as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= _AT_ONCE:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _find_inside(folder: RemotePath, output: Place | None) -> str | None:
    """Give the name of `output` in the folder, with a slash, if it lies inside."""
    inside = isinstance(output, RemotePath) and output.address.startswith(f"{folder.address}/")
    return f"{output.address[len(folder.address) + 1 :]}/" if inside and output else None  # type: ignore[union-attr]


def _may_be_picture(name: str) -> bool:
    parts = name.split("/")
    hidden = any(part.startswith(".") and part not in (".", "..") for part in parts)
    return not hidden and PurePath(name).suffix.lower() in IMAGE_SUFFIXES and not is_ledger(parts[-1])


def _is_own(folder: RemotePath, name: str) -> bool:
    """Say whether an object is an output: one is named after a picture, `a.jpg.png`, and marked inside."""
    suffixes = [each.lower() for each in PurePath(name).suffixes[:-1]]
    if not may_be_own(name) or not IMAGE_SUFFIXES & {*suffixes}:
        return False
    try:
        return is_own_head((folder / name).read_bytes(0, HEAD_BYTES))
    except OSError:
        return False
