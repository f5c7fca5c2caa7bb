"""`AppendLog`: JSON objects, one a line, that one process appends to; and which files make up a ledger."""

from __future__ import annotations

import errno
import json
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from cortexia_video.errors import InputError, OutputError, OutputExistsError, OutputLostError, printable
from cortexia_video.ledger.object_log import LEDGER_NAME as LEDGER_NAME
from cortexia_video.ledger.object_log import list_segments
from cortexia_video.ledger.partition import Partition
from cortexia_video.ledger.schema import is_sound
from cortexia_video.storage.atomic_file import flush_to_disk, open_plain
from cortexia_video.storage.documents import find_fault, may_be_odd, refuse_constant
from cortexia_video.storage.file_lock import require_lock, try_lock_shared
from cortexia_video.storage.named_file import open_named
from cortexia_video.storage.own_folder import LOOKED_AT, has_line
from cortexia_video.storage.paths import AnyPath
from cortexia_video.storage.remote_path import RemotePath

_SHARD_NAME = re.compile(r"ledger\.([1-9]\d*)-of-([1-9]\d*)\.jsonl", re.ASCII)
LEDGER_MARKS = (b'{"run": ', b'{"key": ')
_JOINED_AT_ONCE = 1 << 20  # bytes
_decoder = json.JSONDecoder(parse_constant=refuse_constant)


class AppendLog:
    """Open a file to append lines; it and its folder are made where they are missing. A context manager.

    marks: how lines of ours can begin. beside: a log that must stay in its place, too. Raises
    `OutputExistsError` for a link, and for a file without any line of ours; `OutputError` where nothing can be
    written.
    """

    def __init__(
        self, path: Path, marks: tuple[bytes, ...] = LEDGER_MARKS, *, beside: AppendLog | None = None
    ) -> None:
        self.path = path
        self._beside = beside
        self._writing = threading.Lock()
        self._torn = False  # the file ends in the middle of a line
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = open_plain(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}; choose another `output`") from error
        if not has_line(os.pread(self._descriptor, LOOKED_AT, 0), marks):
            self.close()
            raise OutputExistsError(f"{path} is not ours: move it away, or choose another `output`")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, and so unlock it."""
        os.close(self._descriptor)

    def lock(self, *words: str) -> None:
        """Keep other processes off, to append. words: of the error that `require_lock` raises."""
        require_lock(self._descriptor, self.path.parent, *words)
        size = os.fstat(self._descriptor).st_size
        self._torn = size > 0 and os.pread(self._descriptor, 1, size - 1) != b"\n"

    def lock_shared(self) -> bool:
        """Keep off those who `lock`, but not each other; say False where one is there."""
        return try_lock_shared(self._descriptor)

    def append(self, entry: Mapping[str, object]) -> None:
        """Append one line; `OutputLostError` where that cannot be, and where the file was taken away."""
        self.append_lines([json.dumps(entry).encode() + b"\n"])

    def append_lines(self, lines: Iterable[bytes]) -> None:
        """Append lines as they are; one that a kill or a full disk left torn is ended first."""
        data = memoryview(b"".join(lines))
        try:
            with self._writing:
                if self._torn:
                    data = memoryview(b"\n" + data)
                while data:
                    self._torn = True
                    written = os.write(self._descriptor, data)
                    self._torn = data[written - 1] != b"\n"[0]
                    data = data[written:]
        except OSError as error:
            raise OutputLostError(self.path, error) from error
        self.require_in_place()

    def sync(self) -> None:
        """Flush to the disk, where the file system can; `OutputLostError` where the disk cannot."""
        try:
            flush_to_disk(self._descriptor)
        except OSError as error:
            raise OutputLostError(self.path, error) from error

    def require_in_place(self) -> None:
        """Raise `OutputLostError` where the path leads to another file or none: nobody would find this."""
        try:
            is_there = os.path.samestat(os.lstat(self.path), os.fstat(self._descriptor))
        except OSError:
            is_there = False
        if not is_there:
            gone = FileNotFoundError(errno.ENOENT, "it was moved, removed or replaced meanwhile")
            raise OutputLostError(self.path, gone, "put it back")
        if self._beside:
            self._beside.require_in_place()


def name_partition(partition: Partition) -> str:
    """Return the name of the file of a partition."""
    return f"ledger.{partition.index}-of-{partition.count}.jsonl"


def is_ledger(name: str) -> bool:
    """Return whether a file's name is that of a ledger."""
    return name == LEDGER_NAME or _SHARD_NAME.fullmatch(name) is not None


def list_partitions(root: AnyPath) -> dict[Path, Partition]:
    """List the files of partitions in a folder, in order; `InputError` where it cannot be listed."""
    if isinstance(root, RemotePath):
        return {}
    matches = [match for name in _list_names(root) if (match := _SHARD_NAME.fullmatch(name))]
    partitions = sorted(Partition(int(match[1]), int(match[2])) for match in matches)
    return {root / name_partition(each): each for each in partitions}


def list_files(root: AnyPath) -> Sequence[AnyPath]:
    """List the files of a ledger: `ledger.jsonl`, then those of partitions, whose lines are all newer.

    Raises `InputError` where the folder cannot be listed.
    """
    if isinstance(root, RemotePath):
        return list_segments(root)
    main = [root / LEDGER_NAME] if LEDGER_NAME in _list_names(root) else []
    return [*main, *list_partitions(root)]


def require_ledger(root: AnyPath) -> Sequence[AnyPath]:
    """List the files of a ledger; raise `InputError` for a folder that no run wrote to."""
    files = list_files(root)
    if not files:
        raise InputError(f"no ledger in {root}: give the output folder of a run")
    return files


def _list_names(root: Path) -> list[str]:
    try:
        return os.listdir(root)  # noqa: PTH208 - names, not paths, are matched
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(f"cannot list {printable(str(root))}: {error.strerror}") from error


def join_partitions(main: AppendLog) -> int:
    """Move the lines of all partitions into `main`, which is locked; say how many files that were.

    After a kill in the middle it is done again: lines can then be there twice, saying the same.
    """
    partitions = list_partitions(main.path.parent)
    for path in partitions:
        with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
            while lines := file.readlines(_JOINED_AT_ONCE):
                main.append_lines(lines)
        main.sync()
        path.unlink()
    return len(partitions)


def read_lines(path: AnyPath) -> Iterator[bytes]:
    """Yield the lines of a file; `InputError` where it cannot be read."""
    try:
        with open_named(path) as file:
            yield from file
    except OSError as error:
        raise InputError(f"cannot read {printable(str(path))}: {error.strerror}") from error


def parse_line(line: bytes) -> dict[str, Any]:
    """Read one line of a run's ledger; a torn or damaged one gives nothing."""
    entry = parse_object(line)
    return entry if is_sound(entry) else {}


def parse_object(line: bytes) -> dict[str, Any]:
    """Read a JSON object on a line; nothing where there is none."""
    try:
        text = line.decode().strip()
        entry, end = _decoder.raw_decode(text)  # without what json.loads adds, half the time
    except (ValueError, RecursionError):
        return {}
    if end < len(text) or not isinstance(entry, dict) or (may_be_odd(text) and find_fault(entry)):
        return {}
    return entry
