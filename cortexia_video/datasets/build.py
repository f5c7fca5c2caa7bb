"""A dataset as shards: streamed, whole or not there, and the second time only what is missing."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

import xxhash

from cortexia_video.datasets.build_items import BuildItem
from cortexia_video.datasets.build_log import (
    MARKS,
    RECORD,
    read_shards,
    refuse_other_files,
    require_same_set,
)
from cortexia_video.datasets.row_schema import Row, require_texts
from cortexia_video.datasets.sample_checks import OnProblem
from cortexia_video.datasets.shard_writers import WRITERS
from cortexia_video.errors import Failure, InputError, OutputError, output_lost
from cortexia_video.ledger.copied_log import open_log
from cortexia_video.ledger.ledger import AppendLog
from cortexia_video.runtime.bounded_map import map_bounded
from cortexia_video.runtime.input_boundary import attempt
from cortexia_video.runtime.workers import choose_workers
from cortexia_video.storage.atomic_file import remove_partials, write_atomic
from cortexia_video.storage.paths import AnyPath, to_path
from cortexia_video.storage.remote_path import RemotePath

_COLUMNS_VERSION = 3
_FAILURES_KEPT = 1000


@dataclass(slots=True)
class BuildReport:
    """The results of building a dataset.

    Attributes:
        rows: Samples in the shards.
        failed: Samples that cannot be used.
        shards_made: Shards that were written.
        shards_kept: Shards of an earlier call.
        left: How many images were no samples, by reason.
        failures: The first that cannot be used.
    """

    rows: int = 0
    failed: int = 0
    shards_made: int = 0
    shards_kept: int = 0
    left: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def __str__(self) -> str:
        left = "".join(f"; {count} left: {reason}" for reason, count in sorted(self.left.items()))
        shards = f"{self.shards_made} shards made, {self.shards_kept} kept"
        return f"{self.rows} samples in {shards}; {self.failed} failed{left}"


def write_shards(
    items: Iterable[BuildItem | Failure],
    output: str | os.PathLike[str] | RemotePath,
    *,
    format: str = "parquet",
    split: str = "train",
    shard_size: int = 256,
    on_problem: OnProblem | None = None,
    workers: int | None = None,
    source: Mapping[str, str] | None = None,
    report: BuildReport | None = None,
) -> BuildReport:
    """Write items to `output/<split>-00000.parquet` (or .tar) and so on, `shard_size` items each, in order.

    output: a folder, here or at a URL, where one process builds at a time.

    A shard that is there, made of the same items, is kept; what an earlier build left beyond the last is
    removed. on_problem: called with each item that cannot be used, which is then left out; it may raise.
    workers: threads that make rows; one a core by default. source: what the items are made of, in words as
    `images`; it is recorded, and a split of a folder is never of two.

    Raises `InputError` for no items, `OutputExistsError` for a folder with other files or another set,
    `OutputError` for an unknown format and where another process builds, `OutputLostError` when no more can
    be written; a later call goes on.
    """
    if format not in WRITERS:
        raise OutputError(f"unknown format {format!r}: use one of {', '.join(WRITERS)}")
    if shard_size < 1:
        raise InputError(f"a shard has at least one sample, not {shard_size}")
    report = report or BuildReport()
    items = _require_some(items)
    root = to_path(output)
    refuse_other_files(root)
    with open_log(root / RECORD, MARKS, "builds in") as record:
        require_same_set(root, record, {"split": split, "format": format, **(source or {})})
        build = _Build(root, record, f"{split}-", format, on_problem, choose_workers(workers), report)
        for number, part in enumerate(_batch(items, shard_size)):
            build.add(number, part)
        build.finish()
    return report


class _Build:
    """The shards of one split in one folder."""

    def __init__(
        self,
        root: AnyPath,
        record: AppendLog,
        prefix: str,
        format: str,
        on_problem: OnProblem | None,
        workers: int,
        report: BuildReport,
    ) -> None:
        self._record = record
        self._root = root
        self._prefix = prefix
        self._suffix, self._write = WRITERS[format]
        self._on_problem = on_problem
        self._workers = workers
        self._report = report
        self._before = read_shards(self._root)
        self._names: set[str] = set()
        self._numbered = rf"{re.escape(self._prefix)}\d+{re.escape(self._suffix)}"
        if isinstance(self._root, Path):
            remove_partials(self._root, self._numbered)

    def add(self, number: int, part: tuple[BuildItem | Failure, ...]) -> None:
        """Make the shard of some items, or keep it."""
        name = f"{self._prefix}{number:05d}{self._suffix}"
        self._names.add(name)
        fingerprint = _fingerprint(part)
        before = self._before.get(name)
        if before and before["fingerprint"] == fingerprint and _size(self._root / name) == before["size"]:
            self._report.shards_kept += 1
            self._count(before["rows"], [_recall(*each) for each in before["failed"]])
            return
        if before:  # a kill after the shard is replaced must not leave it under what it was made of before
            self._record.append({**before, "fingerprint": ""})
        failures: list[Failure] = []
        with closing(self._load(part, failures)) as loaded, write_atomic(self._root / name) as file:
            rows = self._write(file, loaded)
        entry = {"shard": name, "fingerprint": fingerprint, "size": _size(self._root / name), "rows": rows}
        self._record.append({**entry, "failed": [[each.key, each.reason] for each in failures]})
        self._report.shards_made += 1
        self._count(rows, failures)

    def finish(self) -> None:
        """Remove what an earlier, larger build of the split left."""
        for name in set(filter(re.compile(self._numbered).fullmatch, self._before)) - self._names:
            with output_lost(self._root / name):
                (self._root / name).unlink(missing_ok=True)

    def _load(self, part: Iterable[BuildItem | Failure], failures: list[Failure]) -> Generator[Row]:
        """Yield the rows in order, a few made ahead; add what is wrong with the others to `failures`."""
        for made in map_bounded(part, _try, workers=self._workers):
            if not isinstance(made, Failure):
                yield made
                continue
            failures.append(made)
            if self._on_problem:
                self._on_problem(made)

    def _count(self, rows: int, failures: list[Failure]) -> None:
        self._report.rows += rows
        self._report.failed += len(failures)
        self._report.failures += failures[: max(0, _FAILURES_KEPT - len(self._report.failures))]


def _require_some(items: Iterable[BuildItem | Failure]) -> Iterator[BuildItem | Failure]:
    """Return the items, the first of them made; `InputError` where there are none."""
    iterator = iter(items)
    for first in iterator:
        return chain([first], iterator)
    raise InputError("nothing to build: no image has depth; run cortexia estimate first")


def _batch(items: Iterable[BuildItem | Failure], size: int) -> Iterator[tuple[BuildItem | Failure, ...]]:
    iterator = iter(items)
    while part := tuple(islice(iterator, size)):
        yield part


def _try(item: BuildItem | Failure) -> Row | Failure:
    if isinstance(item, Failure):
        return item
    return attempt(item.key, "decode", lambda: _load(item))


def _load(item: BuildItem) -> Row | Failure:
    row = item.load()
    if not isinstance(row, Failure):
        require_texts(row)
    return row


def _fingerprint(part: Iterable[BuildItem | Failure]) -> str:
    facts = [[each.key, each.reason if isinstance(each, Failure) else each.fingerprint] for each in part]
    return xxhash.xxh3_128_hexdigest(json.dumps([_COLUMNS_VERSION, facts]).encode())


def _recall(key: str, reason: str) -> Failure:
    return Failure(key, "decode", InputError(reason))


def _size(path: AnyPath) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
