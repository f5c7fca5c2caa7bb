"""A dataset as shards: streamed, each atomic, and the second time only what is missing."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count, islice
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
from cortexia_video.datasets.row_schema import Row, require_texts, to_row
from cortexia_video.datasets.sample_checks import OnProblem, find_problem
from cortexia_video.datasets.shard_writers import WRITERS, Writer
from cortexia_video.errors import (
    Failure,
    InputError,
    OutputError,
    attempt,
    format_count,
    not_known,
    output_lost,
    require_at_least_1,
)
from cortexia_video.ledger.copied_log import open_log
from cortexia_video.runtime.bounded_map import map_bounded
from cortexia_video.runtime.progress import Stage, stage
from cortexia_video.runtime.resources import choose_workers
from cortexia_video.storage.atomic_file import remove_partials, write_atomic
from cortexia_video.storage.paths import AnyPath, to_path
from cortexia_video.storage.remote_path import RemotePath

_COLUMNS_VERSION = 5
_FAILURES_KEPT = 1000
_WHILE_MADE = 40  # bytes of a pixel: image and depth as files, as read, and as they are written


@dataclass(slots=True)
class BuildReport:
    """The result of building a dataset.

    Attributes:
        rows: Samples in the shards.
        failed: Samples that cannot be used.
        shards_made: Shards that were written.
        shards_kept: Shards of an earlier call.
        skipped: How many images were no samples, by reason.
        passed_over: How many files in the folder of images were none, by type.
        failures: The first that cannot be used.
    """

    rows: int = 0
    failed: int = 0
    shards_made: int = 0
    shards_kept: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    passed_over: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def __str__(self) -> str:
        skipped = "".join(f"; {count} skipped: {reason}" for reason, count in sorted(self.skipped.items()))
        shards = f"{format_count(self.shards_made, 'shard')} made, {self.shards_kept} kept"
        none = ", ".join(f"{count} {kind}" for kind, count in sorted(self.passed_over.items()))
        passed = f"; no images, passed over: {none}" if none else ""
        return f"{format_count(self.rows, 'sample')} in {shards}; {self.failed} failed{skipped}{passed}"


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
    find_total: Callable[[], int] | None = None,
) -> BuildReport:
    """Write items to `output/<split>-00000.parquet` (or .tar) and so on, `shard_size` items each, in order.

    output: a folder, here or at a URL, where one process builds at a time.

    A shard that exists, made of the same items, is kept; what an earlier build left beyond the last is
    removed. on_problem: called with each item that cannot be used, which is then left out; it may raise.
    workers: threads that make rows; one a core by default. source: what the items are made of, in words as
    `images`; it is recorded, and a split of a folder is never of two. find_total: finds out how many items
    there are, for who wants to see how far it is.

    Raises `InputError` for no items, `OutputExistsError` for a folder with other files or another set,
    `OutputError` for an unknown format and where another process builds, `OutputLostError` where the output
    is full or unwritable; a later call goes on.
    """
    if format not in WRITERS:
        raise OutputError(not_known("format", format, WRITERS))
    require_at_least_1(shard_size=shard_size)
    report = report or BuildReport()
    suffix, write = WRITERS[format]
    following = iter(items)
    part = tuple(islice(following, shard_size))
    if not part:  # before the folder is made
        raise InputError("nothing to build: no image has depth; run cortexia estimate first")
    root = to_path(output)
    refuse_other_files(root)
    with (
        open_log(root / RECORD, MARKS, "builds in") as record,
        stage("building", "samples", count=find_total) as begun,
    ):
        require_same_set(root, record, {"split": split, "format": format, **(source or {})})
        before, names = read_shards(root), set[str]()
        numbered = re.compile(rf"{re.escape(split)}-\d+{re.escape(suffix)}")
        if isinstance(root, Path):
            remove_partials(root, numbered.pattern)
        for number in count():
            if not part:
                break
            path = root / f"{split}-{number:05d}{suffix}"
            names.add(path.name)
            facts = [
                [each.key, each.reason if isinstance(each, Failure) else each.fingerprint] for each in part
            ]
            fingerprint = xxhash.xxh3_128_hexdigest(json.dumps([_COLUMNS_VERSION, facts]).encode())
            entry = before.get(path.name)
            if entry and entry["fingerprint"] == fingerprint and _find_size(path) == entry["size"]:
                failures = [Failure(key, "decode", InputError(reason)) for key, reason in entry["failed"]]
                report.shards_kept += 1
                begun.skip(len(part))
            else:
                if entry:  # a kill once it is replaced must not leave it under what it was made of before
                    record.append({**entry, "fingerprint": ""})
                rows, failures = _write_shard(path, write, part, on_problem, choose_workers(workers), begun)
                failed = [[each.key, each.reason] for each in failures]
                entry = {
                    "shard": path.name,
                    "fingerprint": fingerprint,
                    "size": _find_size(path),
                    "rows": rows,
                }
                entry["failed"] = failed
                record.append(entry)
                report.shards_made += 1
            report.rows += entry["rows"]
            report.failed += len(failures)
            report.failures += failures[: max(0, _FAILURES_KEPT - len(report.failures))]
            part = tuple(islice(following, shard_size))
        for name in set(filter(numbered.fullmatch, before)) - names:  # left by an earlier, larger build
            with output_lost(root / name):
                (root / name).unlink(missing_ok=True)
    return report


def _write_shard(
    path: AnyPath,
    write: Writer,
    part: Iterable[BuildItem | Failure],
    on_problem: OnProblem | None,
    workers: int,
    begun: Stage,
) -> tuple[int, list[Failure]]:
    """Write the rows of some items, a few made ahead; return their number, and what is wrong with others."""
    failures: list[Failure] = []

    def load() -> Generator[Row]:
        for made in map_bounded(
            part,
            _make_row,
            workers=workers,  # of files, pixels and what was made of them
            size_of=lambda made: (
                0 if isinstance(made, Failure) else _WHILE_MADE * made["height"] * made["width"]
            ),
        ):
            begun.advance()
            if not isinstance(made, Failure):
                yield made
                continue
            failures.append(made)
            if on_problem:
                on_problem(made)

    with closing(load()) as rows, write_atomic(path) as file:
        return write(file, rows), failures


def _make_row(item: BuildItem | Failure) -> Row | Failure:
    if isinstance(item, Failure):
        return item

    def make() -> Row:
        sample, file = item.load()
        if problem := find_problem(sample, scale_is_said=item.scale_is_said):
            raise problem
        row = to_row(sample, file)
        require_texts(row)
        return row

    return attempt(item.key, "decode", make)


def _find_size(path: AnyPath) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
