"""Inputs at URLs: the objects of a bucket, and lists of URLs; found page by page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from cortexia_video.errors import Failure, InputError, describe, in_words, printable
from cortexia_video.ledger.entries import Source
from cortexia_video.ledger.partition import Partition
from cortexia_video.ledger.state import is_ledger
from cortexia_video.runtime.bounded_map import AT_ONCE, map_bounded
from cortexia_video.sources.archives import find_in_shard
from cortexia_video.sources.inputs import Found, InputFile, Rule
from cortexia_video.storage.archive_member import SHARD_SUFFIXES, is_depth_shard
from cortexia_video.storage.paths import LARGEST_FILE, AnyPath, find_problem
from cortexia_video.storage.remote_path import RemotePath, RemoteStat
from cortexia_video.video.container import is_video_name

_LOOKED_AT = 256  # objects that a look decides over together


class _Candidate(NamedTuple):
    """An object that may be an input. name: below the folder that was given. key: as `Rule` has it."""

    name: str
    key: str
    stat: RemoteStat


def find_objects(
    folder: RemotePath,
    rule: Rule,
    *,
    prefix: str,
    recursive: bool,
    output: AnyPath | None,
    partition: Partition,
    passed_over: Counter[str],
) -> Iterator[Found]:
    """Yield the objects in a folder that are inputs by a rule, without reading them.

    prefix: what goes before the keys. output: a folder that is left out where it is inside. Raises
    `InputError` where nothing can be listed.
    """
    is_inside = isinstance(output, RemotePath) and output.url.startswith(f"{folder.url}/")
    apart = f"{output.url[len(folder.url) + 1 :]}/" if is_inside and isinstance(output, RemotePath) else None
    packed: dict[str, str] = {}  # folders with a shard of depth, and its name

    def list_names() -> Iterator[tuple[str, RemoteStat]]:
        for name, stat in folder.list_files(recursive=recursive):
            above, slash, last = name.rpartition("/")
            hidden = "/." in f"/{name}" and any(map(_is_hidden, name.split("/")))
            if hidden or (apart and name.startswith(apart)):
                continue
            if rule.find_packed and is_depth_shard(last):
                packed[above + slash] = last
            if rule.may_be(last) and not is_ledger(last):
                yield name, stat
            else:
                rule.note(last, passed_over)

    def name_keys() -> Iterator[_Candidate]:
        """Yield objects with their keys: as they are listed, or a folder at a time where others there count."""
        if rule.name_keys is None:
            for name, stat in list_names():
                if partition.holds(prefix + name):
                    yield _Candidate(name, name, stat)
            return
        for group in _group_by_folder(list_names()):
            keys = rule.name_keys([name.rpartition("/")[2] for name, _ in group])
            for name, stat in group:
                above, slash, last = name.rpartition("/")
                key = above + slash + keys.get(last, last)
                if last in keys and partition.holds(prefix + key):
                    yield _Candidate(name, key, stat)

    candidates = name_keys()
    with in_words(f"cannot list {folder}", of=OSError):
        while some := [*islice(candidates, _LOOKED_AT)]:
            doubtful = [each.name for each in some if rule.looks_inside(each.name)]
            looks = map_bounded([folder / name for name in doubtful], rule.accepts_object, workers=AT_ONCE)
            good = dict(zip(doubtful, looks, strict=True))
            for each in some:
                if good.get(each.name, True):
                    yield describe_object(prefix + each.key, folder / each.name, each.stat, rule)
    for inner, name in packed.items():
        yield from rule.list_packed(folder / inner, [name], prefix + inner, partition)


def find_named(key: str, place: RemotePath, rule: Rule) -> Iterator[Found]:
    """Find what a URL names: one object, or the images in a shard."""
    if rule.opens_shards and place.suffix in SHARD_SUFFIXES:
        return find_in_shard(key, place)
    return iter([find_object(key, place, rule)])


def find_object(key: str, place: RemotePath, rule: Rule | None = None) -> Found:
    """Look at one object that a person named."""
    try:
        return describe_object(key, place, RemoteStat(0, 0) if find_problem(key) else place.stat(), rule)
    except OSError as error:
        reason = f"cannot open {printable(str(place))}: {describe(error)}"
        return Failure(key, "find", InputError(reason))


def describe_object(key: str, place: RemotePath, stat: RemoteStat, rule: Rule | None = None) -> Found:
    """Return an object as an input; one whose key cannot name a file is a failure."""
    problem = find_problem(key)
    if problem:
        reason = f"the key {printable(key)!r} {problem}: rename the object, or give it in a list.txt"
        return Failure(key, "find", InputError(reason))
    is_clip = bool(rule and rule.takes_clips and is_video_name(key))
    if stat.st_size > LARGEST_FILE and not is_clip:
        size = f"{stat.st_size / 1e9:.1f} GB, the limit is {LARGEST_FILE / 1e9:g}"
        return Failure(key, "find", InputError(f"too large: the object has {size}"))
    return InputFile(key, Source(str(place), *stat), place.url, is_clip=is_clip)


def _is_hidden(part: str) -> bool:
    return part.startswith(".") and part not in (".", "..")


def _group_by_folder(listed: Iterator[tuple[str, RemoteStat]]) -> Iterator[list[tuple[str, RemoteStat]]]:
    """Yield the objects of a folder together, once the listing, which is in order, has left it."""
    waiting: dict[str, list[tuple[str, RemoteStat]]] = {}
    for name, stat in listed:
        folder = name[: name.rfind("/") + 1]
        for left in [each for each in waiting if not folder.startswith(each)]:
            yield waiting.pop(left)
        waiting.setdefault(folder, []).append((name, stat))
    yield from waiting.values()
