"""`Ledger`: what became of every input, so that a second run does only what is missing.

`DIR/ledger.jsonl` holds a JSON object a line (the last one of a key counts):
  {"run": id, "settings": {...}, "version": ..., "started": ...}         a run begins
  {"key": ..., "outcome": "begun", "outputs": [name, ...]}               its files are about to be placed
  {"key": ..., "outcome": "done", "run": id, "path": ..., "source": [size, mtime_ns], "outputs": {name: size}}
  {"key": ..., "outcome": "failed", "run": id, "path": ..., "stage": ..., "reason": ...}
  {"end": id, "found": n, "done": n, "skipped": n, "failed": n, ...}     a run ends
Done lines also give height, width, kind and focal length. Keys that are not UTF-8 are written as JSON's
escapes of Python's surrogates and read back the same. A line that cannot be read is left out: its input is
done again.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import secrets
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from cortexia_video.errors import Failure, OutputError, OutputExistsError, OutputLostError
from cortexia_video.file_lock import try_lock

LEDGER_NAME = "ledger.jsonl"


class Source(NamedTuple):
    """A file as it was when it was found. path: absolute. size: bytes. mtime_ns: time of last change."""

    path: str
    size: int
    mtime_ns: int


class _Done(NamedTuple):
    """What is kept in memory of an input that is done. place: its path without the key, where it ends so."""

    run: str
    place: str
    size: int
    mtime_ns: int
    outputs: tuple[tuple[str, int], ...]


class Ledger:
    """The record of one output folder. Use as a context manager; one process at a time.

    settings: what the outputs depend on (model, weights, format...). Outputs made with others are redone.
    Raises `OutputError` where the file cannot be written or another process has it.
    """

    def __init__(self, root: Path, settings: Mapping[str, object]) -> None:
        self.root = root
        self.settings = json.loads(json.dumps(dict(settings), default=str))  # as they are read back
        self.run = secrets.token_hex(4)
        self._done: dict[str, _Done] = {}
        self._owned: set[str] = set()  # outputs that no entry of `_done` names
        self._settings_of: dict[str, dict[str, object]] = {}
        self._lock = threading.Lock()
        self._descriptor = -1

    def __enter__(self) -> Self:
        path = self.root / LEDGER_NAME
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}; choose another --output") from error
        try:
            if not try_lock(self._descriptor):
                raise OutputError(
                    f"another process is writing to {self.root}: wait for it, or choose another --output"
                )
            self._begin(self._read(path))
        except BaseException:
            os.close(self._descriptor)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            os.fsync(self._descriptor)
        os.close(self._descriptor)

    def is_done(self, key: str, source: Source) -> bool:
        """Say whether `key` was made from this source with these settings and its files are all there."""
        entry = self._done.get(key)
        if entry is None or (entry.size, entry.mtime_ns) != (source.size, source.mtime_ns):
            return False
        if self._settings_of.get(entry.run) != self.settings:
            return False
        return all(_has_size(self.root / name, size) for name, size in entry.outputs)

    def other_source(self, key: str, source: Source) -> str | None:
        """Give the path of another file, still there, that the outputs of `key` were made from."""
        entry = self._done.get(key)
        if entry is None or entry.place == _place_of(source.path, key):
            return None
        other = entry.place + key if entry.place.endswith(os.sep) else entry.place
        try:
            return None if Path(other).samefile(source.path) else other
        except OSError:
            return None  # the other is gone: moved, say

    def owns(self, key: str, name: str) -> bool:
        """Say whether a run of ours wrote, or was about to write, the output `name` of `key`."""
        entry = self._done.get(key)
        return name in self._owned or (entry is not None and name in dict(entry.outputs))

    def record_begun(self, key: str, names: Sequence[str]) -> None:
        """Append that the outputs of `key` are about to be placed: from here on they are ours."""
        self._append({"key": key, "outcome": "begun", "outputs": list(names)})

    def record_done(self, key: str, source: Source, outputs: Mapping[str, int], **facts: object) -> None:
        """Append that `key` is done; call it after its files are in place."""
        entry = {"key": key, "outcome": "done", "run": self.run, "path": source.path}
        self._append({**entry, "source": source[1:], "outputs": dict(outputs), **facts})

    def record_failure(self, failure: Failure, path: str | None = None) -> None:
        """Append that an input failed, where and why."""
        entry = {"key": failure.key, "outcome": "failed", "run": self.run, "path": path}
        kept = {"kept": True} if isinstance(failure.error, OutputExistsError) else {}
        self._append({**entry, "stage": failure.stage, "reason": failure.reason, **kept})

    def record_end(self, **counts: object) -> None:
        """Append the counts of the run."""
        self._append({"end": self.run, **counts})

    def _begin(self, torn: bool) -> None:
        """End a line that a killed run left torn, and say that a run begins, on the disk before all else."""
        if torn:
            self._append_bytes(b"\n")
        started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        entry = {"run": self.run, "settings": self.settings, "version": version("cortexia-video")}
        self._append({**entry, "started": started})
        with contextlib.suppress(OSError):  # some file systems cannot
            os.fsync(self._descriptor)

    def _read(self, path: Path) -> bool:
        """Read what earlier runs did; say whether the last line is torn."""
        torn = False
        with path.open("rb") as file:
            for line in file:
                torn = not line.endswith(b"\n")
                self._take(_parse(line))
        return torn

    def _take(self, entry: dict[str, Any]) -> None:
        match entry:
            case {"outcome": "begun", "key": str(key), "outputs": list(names)}:
                self._forget(key)
                self._owned.update(name for name in names if isinstance(name, str))
            case {
                "outcome": "done",
                "key": str(key),
                "run": str(run),
                "path": str(path),
                "source": [int(size), int(mtime_ns)],
                "outputs": dict(outputs),
            }:
                self._owned.difference_update(outputs)
                place = sys.intern(_place_of(path, key))
                self._done[key] = _Done(sys.intern(run), place, size, mtime_ns, tuple(outputs.items()))
            case {"outcome": "failed", "kept": True}:
                pass  # what stood in the way is still what it was
            case {"outcome": "failed", "key": str(key)}:
                self._forget(key)
            case {"run": str(run), "settings": dict(settings)}:
                self._settings_of[run] = settings

    def _forget(self, key: str) -> None:
        """Take `key` for not done; what it left stays ours."""
        entry = self._done.pop(key, None)
        if entry:
            self._owned.update(name for name, _ in entry.outputs)

    def _append(self, entry: Mapping[str, object]) -> None:
        self._append_bytes(json.dumps(entry).encode() + b"\n")

    def _append_bytes(self, data: bytes) -> None:
        line = memoryview(data)
        try:
            with self._lock:
                while line:
                    line = line[os.write(self._descriptor, line) :]
        except OSError as error:
            raise OutputLostError(self.root / LEDGER_NAME, error) from error


def read_ledger(root: Path) -> Iterator[dict[str, Any]]:
    """Yield every line of a folder's ledger as written, oldest first; a torn line is left out."""
    with (root / LEDGER_NAME).open("rb") as file:
        yield from (entry for entry in map(_parse, file) if entry)


def _parse(line: bytes) -> dict[str, Any]:
    """Read one line; a torn or damaged one gives nothing."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


def _place_of(path: str, key: str) -> str:
    """Give a path without the key at its end: one text for all files of a folder."""
    return path.removesuffix(key) if path.endswith(os.sep + key) else path


def _has_size(path: Path, size: object) -> bool:
    try:
        return path.stat().st_size == size
    except (OSError, ValueError):
        return False
