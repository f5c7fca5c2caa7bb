"""Progress on stderr: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cortexia_video.cli.option_words import to_options
from cortexia_video.errors import CortexiaError, Failure
from cortexia_video.jobs.outcomes import Report

_SECONDS_BETWEEN_LINES = 10.0


class ProgressView(Protocol):
    """What shows how far a run is."""

    def count(self, find: Callable[[], Iterable[object]]) -> None:
        """Count the inputs on a thread of its own, so that the run does not wait for it."""

    def show(self, report: Report, failure: Failure | None) -> None:
        """Show the counts after an input, and its failure, if it failed."""


@contextmanager
def open_progress() -> Iterator[ProgressView]:
    """Yield the view that fits stderr."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        yield _Bar(bar)


class _Bar:
    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("depth", total=None, rate="")
        self._started = time.monotonic()

    def count(self, find: Callable[[], Iterable[object]]) -> None:
        def run() -> None:
            try:
                self._bar.update(self._task, total=sum(1 for _ in find()))
            except CortexiaError:
                return  # the run itself reports it

        threading.Thread(target=run, daemon=True).start()

    def show(self, report: Report, failure: Failure | None) -> None:
        if failure:
            self._bar.console.print(to_options(str(failure)), markup=False, highlight=False)
        rate = report.done / max(time.monotonic() - self._started, 1e-9)
        completed = report.done + report.skipped + report.failed
        self._bar.update(self._task, completed=completed, rate=f"{rate:.1f} images/s")


class _Lines:
    def __init__(self) -> None:
        self._started = self._last = time.monotonic()

    def count(self, find: Callable[[], Iterable[object]]) -> None:
        """Lines show no time left: nothing to count."""

    def show(self, report: Report, failure: Failure | None) -> None:
        now = time.monotonic()
        if failure:
            print(to_options(str(failure)), file=sys.stderr, flush=True)
        if now - self._last >= _SECONDS_BETWEEN_LINES:
            self._last = now
            rate = report.done / (now - self._started)
            counts = f"{report.done} done, {report.skipped} skipped, {report.failed} failed"
            print(f"{counts}, {rate:.2f} images/s", file=sys.stderr, flush=True)
