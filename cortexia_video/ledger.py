"""`Ledger`: what became of every input, so that a second run does only what is missing.

`DIR/ledger.jsonl` holds a JSON object a line (the last one of a key counts):
  {"run": id, "settings": {...}, "version": ..., "started": ...}                  a run begins
  {"key": ..., "outcome": "done", "run": id, "source": [size, mtime_ns], "outputs": {name: size}, ...}
  {"key": ..., "outcome": "failed", "run": id, "source": ..., "stage": ..., "reason": ...}
  {"end": id, "found": n, "done": n, "skipped": n, "failed": n, ...}              a run ends
Keys that are not UTF-8 are written as JSON's escapes of Python's surrogates and read back the same.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import threading
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from cortexia_video.errors import Failure, OutputError, OutputExistsError, OutputLostError

LEDGER_NAME = "ledger.jsonl"
Fingerprint = tuple[int, int]  # size in bytes, time of last change in ns


class Done(NamedTuple):
    """What the ledger keeps in memory of an input that is done."""

    run: str
    source: Fingerprint | None
    outputs: tuple[tuple[str, int], ...]


class Ledger:
    """The record of one output folder. Use as a context manager; one process at a time.

    settings: what the outputs depend on (model, weights, format...). Outputs made with others are redone.
    Raises `OutputError` where the file cannot be written or another process has it.
    """

    def __init__(self, root: Path, settings: Mapping[str, object]) -> None:
        self.root = root
        self.settings = dict(settings)
        self._done: dict[str, Done] = {}
        self._foreign: set[str] = set()
        self._runs: dict[str, dict[str, object]] = {}
        self._lock = threading.Lock()
        self._descriptor = -1
        self.run = ""

    def __enter__(self) -> Self:
        path = self.root / LEDGER_NAME
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}; choose another --output") from error
        try:
            _lock_exclusively(self._descriptor, self.root)
            self._read(path)
            self._begin()
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

    def is_done(self, key: str, source: Fingerprint | None) -> bool:
        """Say whether `key` was made from this source with these settings and its files are all there."""
        entry = self._done.get(key)
        if entry is None or source is None or entry.source != source:
            return False
        if self._runs.get(entry.run) != self.settings:
            return False
        return all(_has_size(self.root / name, size) for name, size in entry.outputs)

    def may_be_foreign(self, key: str) -> bool:
        """Say whether a file already in the place of an output may be somebody else's.

        It may in the folder's first run, or where an earlier run found it so. Otherwise a file without an
        entry is what a killed run wrote last.
        """
        return len(self._runs) == 1 or key in self._foreign

    def record_done(
        self, key: str, source: Fingerprint | None, outputs: Mapping[str, int], **facts: object
    ) -> None:
        """Append that `key` is done; call it after its files are in place."""
        self._append(
            {
                "key": key,
                "outcome": "done",
                "run": self.run,
                "source": source,
                "outputs": dict(outputs),
                **facts,
            }
        )

    def record_failure(self, failure: Failure, source: Fingerprint | None) -> None:
        """Append that an input failed, where and why."""
        entry = {"key": failure.key, "outcome": "failed", "run": self.run, "source": source}
        exists = {"exists": True} if isinstance(failure.error, OutputExistsError) else {}
        self._append({**entry, "stage": failure.stage, "reason": failure.reason, **exists})

    def record_end(self, **counts: object) -> None:
        """Append the counts of the run."""
        self._append({"end": self.run, **counts})

    def _begin(self) -> None:
        self.run = f"{len(self._runs) + 1}"
        self._runs[self.run] = self.settings
        started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._append(
            {
                "run": self.run,
                "settings": self.settings,
                "version": version("cortexia-video"),
                "started": started,
            }
        )

    def _read(self, path: Path) -> None:
        """Read what earlier runs did, and end a line that a killed run left torn."""
        torn = False
        with path.open("rb") as file:
            for line in file:
                torn = not line.endswith(b"\n")
                self._take(line)
        if torn:
            os.write(self._descriptor, b"\n")

    def _take(self, line: bytes) -> None:
        entry = _parse(line)
        if entry.get("outcome") == "done":
            source, outputs = entry.get("source"), entry.get("outputs", {})
            fingerprint = (source[0], source[1]) if source else None
            self._foreign.discard(entry["key"])
            self._done[entry["key"]] = Done(str(entry.get("run")), fingerprint, tuple(outputs.items()))
        elif entry.get("outcome") == "failed":
            self._done.pop(entry["key"], None)
            if entry.get("exists"):
                self._foreign.add(entry["key"])
        elif "settings" in entry:
            self._runs[str(entry["run"])] = entry["settings"]

    def _append(self, entry: Mapping[str, object]) -> None:
        line = memoryview(json.dumps(entry, separators=(", ", ": ")).encode() + b"\n")
        try:
            with self._lock:
                while line:
                    line = line[os.write(self._descriptor, line) :]
        except OSError as error:
            raise OutputLostError(
                f"cannot write {self.root / LEDGER_NAME}: {error.strerror}; what is done is kept: "
                "make room and run the same command again"
            ) from error


def read_ledger(root: Path) -> Iterator[dict[str, Any]]:
    """Yield every line of a folder's ledger as written, oldest first; a torn line is left out."""
    with (root / LEDGER_NAME).open("rb") as file:
        yield from (entry for entry in map(_parse, file) if entry)


def _parse(line: bytes) -> dict[str, Any]:
    """Read one line; a torn one gives nothing."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _lock_exclusively(descriptor: int, root: Path) -> None:
    """Keep a second process off the folder. The system lets go when this process ends, however it ends."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise OutputError(
            f"another process is writing to {root}: wait for it, or choose another --output"
        ) from error
