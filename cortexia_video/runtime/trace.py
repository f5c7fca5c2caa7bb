"""`ChromeTrace`: every span of a run's work, with its time and thread, in a file to look at."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from cortexia_video.errors import OutputError, OutputExistsError, describe, in_words
from cortexia_video.storage.system import open_plain

_EPOCH_S = time.time() - time.perf_counter()  # when `time.perf_counter` was 0: machines agree on time.time


class Trace(Protocol):
    """What a `StageClock` reports each span to. started: of `time.perf_counter`."""

    def add(self, name: str, started: float, seconds: float, what: str) -> None: ...


class Span(NamedTuple):
    """A stage's work on one thing, on one thread. started_s: since 1970."""

    name: str
    started_s: float
    seconds: float
    what: str
    process: int
    thread: int
    thread_name: str


class TraceBuffer:
    """The spans of a worker that cannot reach the run's trace, until they are taken there."""

    def __init__(self) -> None:
        self._process = secrets.randbits(31)  # the system's numbers repeat from machine to machine
        self._spans: list[Span] = []

    def add(self, name: str, started: float, seconds: float, what: str) -> None:
        """Keep one span."""
        self._spans.append(_describe_span(name, started, seconds, what, self._process))

    def take(self) -> list[Span]:
        """Return the spans since this was last asked."""
        taken, self._spans = self._spans, []
        return taken


def _describe_span(name: str, started: float, seconds: float, what: str, process: int) -> Span:
    thread = threading.current_thread()
    return Span(name, started + _EPOCH_S, seconds, what, process, threading.get_native_id(), thread.name)


_BEGIN = b'[\n{"name": "process_name", "ph": "M", "pid": 0, "args": {"name": "cortexia"}},\n'
_log = logging.getLogger(__name__)


class ChromeTrace:
    """A file of timed spans in Chrome's trace format: open it in ui.perfetto.dev or chrome://tracing.

    Written as the run goes, so that memory does not grow and a killed run leaves what it had.
    Source: "Trace Event Format", Google, JSON array form, complete events (`"ph": "X"`), microseconds.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with in_words(f"cannot write the trace {path}", "choose another `profile`", OutputError, OSError):
            self._file = os.fdopen(open_plain(path, os.O_RDWR | os.O_CREAT), "rb+")
            if self._file.read(len(_BEGIN)) not in (b"", _BEGIN):
                self._file.close()
                raise OutputExistsError(f"{path} exists already and is no trace: choose another `profile`")
            self._file.seek(0)
            self._file.truncate()
            self._file.write(_BEGIN)
        self._lock = threading.Lock()
        self._threads: set[tuple[int, int]] = set()
        self._full = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            place = {"pid": os.getpid(), "tid": 0, "args": {"name": "end"}}
            self._write({"name": "thread_name", "ph": "M", **place}, b"\n]\n")
            with contextlib.suppress(OSError):
                self._file.close()

    def add(self, name: str, started: float, seconds: float, what: str) -> None:
        """Write one span of this thread. started: of `time.perf_counter`."""
        self.write(_describe_span(name, started, seconds, what, os.getpid()))

    def write(self, span: Span) -> None:
        """Write one span."""
        place = {"pid": span.process, "tid": span.thread}
        times = {"ts": span.started_s * 1e6, "dur": span.seconds * 1e6}
        with self._lock:
            if (span.process, span.thread) not in self._threads:
                self._threads.add((span.process, span.thread))
                named = {"args": {"name": span.thread_name}}
                self._write({"name": "thread_name", "ph": "M", **place, **named})
            self._write({"name": span.name, "ph": "X", **times, "args": {"what": span.what}, **place})

    def _write(self, event: dict[str, object], ending: bytes = b",\n") -> None:
        """Write a line; the first that cannot be written ends the trace, not the run."""
        if self._full:
            return
        try:
            self._file.write(json.dumps(event).encode() + ending)
        except OSError as error:
            self._full = True
            _log.warning("the trace %s ends here: %s", self._path, describe(error))
