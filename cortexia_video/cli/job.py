"""What the commands have in common that take inputs to outcomes: logging, signals, progress, the summary."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from types import FrameType

from cortexia_video.cli import DONE, INTERRUPTED, SOME_FAILED
from cortexia_video.cli.progress import open_progress
from cortexia_video.errors import printable
from cortexia_video.jobs.outcomes import Listener, Report
from cortexia_video.ledger.state import LEDGER_NAME
from cortexia_video.sources.inputs import list_passed_over
from cortexia_video.storage.paths import AnyPath


def run_job(
    job: Callable[[Listener, threading.Event], Report], find: Callable[[], Iterable[object]], output: AnyPath
) -> int:
    """Run a job with progress on stderr until a signal stops it, print its summary and return the exit code.

    find: finds the inputs once more, to count them.
    """
    logging.getLogger("cortexia_video").setLevel(logging.INFO)
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        """Stop at the first Ctrl-C or SIGTERM; the second ends the process at once."""
        if stop.is_set():
            if sys.stderr.isatty():
                os.write(sys.stderr.fileno(), b"\x1b[?25h\n")  # the bar hides the cursor
            os._exit(INTERRUPTED)
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with open_progress() as progress:
            progress.count(find)
            report = job(progress.show, stop)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if report.interrupted:
        print("interrupted: what was being written is finished; the same command goes on from here. So far:")
    print(report)
    if report.passed_over:
        print(f"passed over: {list_passed_over(report.passed_over)}")
    if report.speed and report.done:
        print(f"speed: {report.speed}")
    if report.failed:  # each was said when it happened
        print(f"  why each failed: {printable(str(output / LEDGER_NAME))}")
    return INTERRUPTED if report.interrupted else SOME_FAILED if report.failed else DONE
