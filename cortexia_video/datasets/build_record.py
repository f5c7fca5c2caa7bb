"""`build.jsonl` of a folder of shards: what they are made of, and which are there.

{"made_of": {"split": of the shards, "format": theirs, "pictures": path, "depth": path}}
{"shard": name, "fingerprint": of its items, "size": bytes, "rows": n, "failed": [[key, reason], ...]}

The last line of a split counts, and the last of a shard.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cortexia_video.errors import OutputError, OutputExistsError
from cortexia_video.ledger_file import LedgerFile, parse_object

RECORD = "build.jsonl"
_OF_SHARD = {"shard", "fingerprint", "size", "rows", "failed"}


def refuse_other_files(root: Path) -> None:
    """Raise `OutputExistsError` for a folder with files in it, but hidden ones, that no build began."""
    if not root.is_dir():
        return
    try:
        names = sorted(os.listdir(root))  # noqa: PTH208 - names are asked for
    except OSError as error:
        raise OutputError(f"cannot list {root}: {error.strerror}; choose another --output") from error
    other = next((name for name in names if name != RECORD and not name.startswith(".")), None)
    if other is not None and not (read_shards(root) or _read_sets(root)):
        raise OutputExistsError(
            f"{root} holds {other}, which is no data set that was built here: choose a new or empty folder"
        )


def require_same_set(record: LedgerFile, made_of: Mapping[str, str]) -> None:
    """Write down what the shards of a split are made of, or compare it with what they were made of.

    Raises `OutputExistsError` where shards are there that are made of something else, or nobody knows of
    what, and where another split's shards are of another format.
    """
    root, split = record.path.parent, made_of["split"]
    sets = _read_sets(root)
    for there in {name.rpartition("-")[0] for name in read_shards(root)}:
        if there not in sets:
            raise OutputExistsError(
                f"{record.path} does not say what its {there} shards are made of: choose another --output"
            )
        words = {*made_of, *sets[there]} if there == split else {"format"}
        _require_same(root, sets[there], made_of, words)
    if sets.get(split) != made_of:
        record.append({"made_of": made_of})


def _require_same(root: Path, before: Mapping[str, str], now: Mapping[str, str], words: set[str]) -> None:
    differs = sorted(word for word in words if before.get(word) != now.get(word))
    if differs:
        theirs = ", ".join(f"{word} {before.get(word, 'none')}" for word in differs)
        raise OutputExistsError(
            f"{root} holds a data set of another {', '.join(differs)} ({theirs}): choose another --output"
        )


def read_shards(root: Path) -> dict[str, dict[str, Any]]:
    """Give the last line of each shard that a build wrote in a folder; a damaged line is left out."""
    return {entry["shard"]: entry for entry in _read(root) if entry.keys() >= _OF_SHARD}


def _read_sets(root: Path) -> dict[str, dict[str, str]]:
    """Give what the shards of each split are made of."""
    found = (entry["made_of"] for entry in _read(root) if isinstance(entry.get("made_of"), dict))
    return {made_of["split"]: made_of for made_of in found if "split" in made_of}


def _read(root: Path) -> list[dict[str, Any]]:
    try:
        return [parse_object(line) for line in (root / RECORD).read_bytes().splitlines()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise OutputError(f"cannot read {root / RECORD}: {error.strerror}") from error
