"""`Rule`: which files of a folder, and which objects of a bucket, are inputs, and what their keys end in."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath

from cortexia_video.formats.registry import may_be_own
from cortexia_video.ledger.partition import Partition
from cortexia_video.sources.input_file import Found
from cortexia_video.storage.archive_member import is_depth_shard
from cortexia_video.storage.paths import AnyPath
from cortexia_video.storage.remote_path import RemotePath

OWN = "written by cortexia"  # in a count of what was passed over


def keep_names(names: Sequence[str]) -> Mapping[str, str]:
    """Name keys after files, whatever else is in the folder."""
    return {name: name for name in names}


@dataclass(frozen=True, slots=True)
class Rule:
    """Which files and objects are inputs.

    accepts: says whether a file in a folder is one; it may look inside. accepts_named: the same of a file
    that a person named.
    may_be: says whether an object may be one, by the last part of its name. looks_inside: whether that takes
    a look at the object, which is a request; accepts_object then looks.
    name_keys: given the names in a folder, gives those that may be inputs, each with its last part of a key.
    opens_shards: tar and parquet files stand for the images inside.
    find_packed: gives what the shards of a run stand for, by the folder that they are in and the name of one.
    noun: what the inputs are called. other_types: endings of what folders may hold and is no input, though a
    person might think so, each with what to call it.
    """

    accepts: Callable[[os.DirEntry[str]], bool]
    accepts_named: Callable[[str], bool]
    may_be: Callable[[str], bool]
    looks_inside: Callable[[str], bool]
    accepts_object: Callable[[RemotePath], bool]
    name_keys: Callable[[Sequence[str]], Mapping[str, str]] = keep_names
    opens_shards: bool = False
    noun: str = "images"
    other_types: Mapping[str, str] = field(default_factory=dict)
    find_packed: Callable[[AnyPath, str], Iterator[Found]] | None = None

    def note(self, name: str, passed_over: Counter[str]) -> None:
        """Count a file in a folder that is no input, if a person might think it is one."""
        kind = self.other_types.get(PurePath(name).suffix.lower())
        if kind and not may_be_own(name):
            passed_over[kind] += 1

    def name_key(self, name: str) -> str:
        """Return the last part of the key of a file that a person named."""
        return self.name_keys([name]).get(name, name)

    def list_packed(
        self, folder: AnyPath, names: Iterable[str], prefix: str, partition: Partition
    ) -> Iterator[Found]:
        """Yield what is packed in a folder where there are files of these names; prefix: before the keys."""
        if self.find_packed is None:
            return
        first = next(filter(is_depth_shard, names), None)
        if first:
            found = (replace(each, key=prefix + each.key) for each in self.find_packed(folder, first))
            yield from (each for each in found if partition.holds(each.key))
