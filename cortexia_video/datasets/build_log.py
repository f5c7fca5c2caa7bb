"""`build.jsonl` of a folder of shards: what they are made of, and which exist.

{"made_of": {"split": of the shards, "format": theirs, "images": path, "depth": path}}
{"shard": name, "fingerprint": of its items, "size": bytes, "rows": n, "failed": [[key, reason], ...]}

The last line of a split counts, and the last of a shard. At a URL, where nothing can be appended to
and nobody kept off, it is put whole again with each line: one process builds there at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cortexia_video.errors import OutputError, OutputExistsError, in_words
from cortexia_video.ledger.ledger import AppendLog, has_line
from cortexia_video.storage.documents import parse_object
from cortexia_video.storage.own_folder import require_own_folder
from cortexia_video.storage.paths import AnyPath, read_named

RECORD = "build.jsonl"
MARKS = (b'{"made_of": ', b'{"shard": ')
_OF_SHARD = {"shard", "fingerprint", "size", "rows", "failed"}


def refuse_other_files(root: AnyPath) -> None:
    """Raise `OutputExistsError` for a folder with files in it, but hidden ones, that no build began."""
    require_own_folder(root, "a dataset built here", {RECORD: lambda head: has_line(head, MARKS)})


def require_same_set(root: AnyPath, record: AppendLog, made_of: Mapping[str, str]) -> None:
    """Write down what the shards of a split are made of, or compare it with what they were made of.

    Raises `OutputExistsError` where shards exist that are made of something else, or nobody knows of what,
    and where another split's shards are of another format.
    """
    split, sets = made_of["split"], dict[str, dict[str, str]]()
    for entry in _read(root):
        if isinstance(entry.get("made_of"), dict) and isinstance(entry["made_of"].get("split"), str):
            sets[entry["made_of"]["split"]] = entry["made_of"]
    for there in {name.rpartition("-")[0] for name in read_shards(root)}:
        if there not in sets:
            raise OutputExistsError(
                f"{root / RECORD} does not say what its {there} shards are made of: choose another `output`"
            )
        words = {*made_of, *sets[there]} if there == split else {"format"}
        differs = sorted(word for word in words if sets[there].get(word) != made_of.get(word))
        if differs:
            theirs = ", ".join(f"{word} {sets[there].get(word, 'none')}" for word in differs)
            raise OutputExistsError(
                f"{root} holds a dataset of another {', '.join(differs)} ({theirs}): choose another `output`"
            )
    if sets.get(split) != made_of:
        record.append({"made_of": made_of})


def read_shards(root: AnyPath) -> dict[str, dict[str, Any]]:
    """Return the last line of each shard that a build wrote in a folder; a damaged line is left out."""
    whole = (entry for entry in _read(root) if entry.keys() >= _OF_SHARD)
    return {entry["shard"]: entry for entry in whole if isinstance(entry["shard"], str)}


def _read(root: AnyPath) -> list[dict[str, Any]]:
    with in_words(f"cannot read {root / RECORD}", kind=OutputError, of=OSError):
        try:
            return [parse_object(line) for line in read_named(root / RECORD).splitlines()]
        except FileNotFoundError:
            return []
