"""What the commands have in common that take inputs to outcomes: signals, failures, what is said at the end."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from cortexia_video.cli import DONE, INTERRUPTED, SOME_FAILED
from cortexia_video.cli.failures import FailureGroups
from cortexia_video.cli.quiet import is_quiet, is_verbose
from cortexia_video.errors import Failure, printable
from cortexia_video.html.wording import format_bytes, format_inputs
from cortexia_video.jobs.outcomes import Listener, Report
from cortexia_video.ledger.state import LEDGER_NAME
from cortexia_video.sources.inputs import list_passed_over
from cortexia_video.storage.paths import AnyPath

_MEANINGS = {
    "metric": "in metres",
    "scale_invariant": "relative, not metres (scale_invariant: up to a factor)",
    "affine_invariant": "relative, not metres (affine_invariant: up to a factor and a shift)",
    "disparity": "relative, not metres (disparity: larger is nearer)",
}


def run_job(
    job: Callable[[Listener, threading.Event], Report], output: AnyPath, made: str = "depth map"
) -> int:
    """Run a job until a signal stops it, print its result and return the exit code. made: what it writes."""
    stop, failures = threading.Event(), FailureGroups()

    def handle(number: int, frame: FrameType | None) -> None:
        """Stop at the first Ctrl-C or SIGTERM; the second ends the process at once."""
        if stop.is_set():
            if sys.stderr.isatty():
                os.write(sys.stderr.fileno(), b"\x1b[?25h\n")  # the bar hides the cursor
            os._exit(INTERRUPTED)
        stop.set()

    def note(report: Report, failure: Failure | None) -> None:
        if failure:
            failures.add(failure)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        report = job(note, stop)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        failures.print()
    if not is_quiet() or report.failed or report.interrupted:
        _describe(report, output, made)
    return INTERRUPTED if report.interrupted else SOME_FAILED if report.failed else DONE


def _describe(report: Report, output: AnyPath, made: str) -> None:
    """Print what was done, where it is, how much, what it means, and what to do next."""
    if report.interrupted:
        print("interrupted: what was being written is finished; the same command goes on from here. So far:")
    print(report)
    if report.passed_over:
        print(f"passed over: {list_passed_over(report.passed_over)}")
    if report.speed and report.done and is_verbose():
        print(f"speed: {report.speed}")
    place, there = printable(str(output)), report.done + report.skipped
    if report.failed:
        print(f"  why each failed: {printable(str(output / LEDGER_NAME))}")
    if there:
        shown = f"{place}{os.sep}" if isinstance(output, Path) else place
        kinds = "; ".join(_MEANINGS.get(kind, kind) for kind in sorted(report.kinds))
        meaning = f"; {kinds}" if kinds else ""
        counted = format_inputs(there - report.clips, report.clips, report.frames, made)
        print(f"in {shown}: {counted}, {format_bytes(report.bytes)}{meaning}")
        if made == "depth map":
            print(f"next: cortexia view {place}")
