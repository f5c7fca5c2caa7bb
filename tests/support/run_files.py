"""Run test files, each in a process of its own that begins with what takes long to import.

Like `pytest FILE` for each, some at a time, but that pytest, numpy and, for files that speak of it, torch are there
when it begins: two processes import them once, and are forked for every file. A file that passes is two lines; what
fails is told whole, and at the end which tests took long.

    python tests/support/run_files.py -m "not slow" tests/models tests/test_types.py
"""

from __future__ import annotations

import argparse
import atexit
import importlib
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

LIGHT = ("pytest", "hypothesis", "numpy", "PIL.Image", "onnxruntime", "s3fs", "moto.server")
HEAVY = ("torch", "transformers.modeling_utils", "transformers.models.auto.modeling_auto", "onnxscript")
HEAVY_WORDS = ("torch", "transformers", "checkpoints")
LONG_S = 10
_FORK = multiprocessing.get_context("fork")


class Notes:
    """A plugin of pytest that counts outcomes, and the seconds of every test."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.when == "call" or not report.passed:
            self.outcomes[report.outcome] += 1

    def pytest_collectreport(self, report: Any) -> None:
        if not report.passed:
            self.outcomes[report.outcome] += 1


class FileRun:
    """Test files that are run by two processes, which take tokens from a pipe: so many at a time."""

    def __init__(self, marker: str, jobs: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()
        self._marker = marker
        self._free, self._give_back = os.pipe()
        os.write(self._give_back, b"." * jobs)
        self._notes = tempfile.TemporaryFile(mode="a+", buffering=1)  # noqa: SIM115

    def run_all(self, files: Iterable[Path]) -> None:
        heavy, light = [], []
        for file in files:
            (heavy if any(word in file.read_text() for word in HEAVY_WORDS) else light).append(file)
        _import_all(LIGHT)
        other = _start(self._run, heavy, HEAVY)
        self._run(light)
        other.join()
        self._notes.seek(0)
        for line in self._notes:
            outcomes, seconds = json.loads(line)
            self.outcomes.update(outcomes)
            self.seconds.update(seconds)

    def _run(self, files: list[Path], needed: Iterable[str] = ()) -> None:
        _import_all(needed if files else ())
        keepers = []
        for file in files:
            os.read(self._free, 1)
            keepers.append(_start(self._keep, file))
        for keeper in keepers:
            keeper.join()

    def _keep(self, file: Path) -> None:
        """Wait for the tests of a file, whatever their process dies of; then another may begin.

        Its folder is its own: what pytest removes of earlier runs, others may be removing, which is an error to it.
        """
        began = time.monotonic()
        with (
            tempfile.TemporaryFile() as said,
            tempfile.TemporaryFile() as counted,
            tempfile.TemporaryDirectory(prefix="pytest-", ignore_cleanup_errors=True) as folder,
        ):
            tests = _start(self._test, file, folder, said.fileno(), counted.fileno())
            tests.join()
            os.write(self._give_back, b".")
            said.seek(0), counted.seek(0)
            lines = said.read().decode(errors="replace").splitlines()
            notes = counted.read().decode()
        code = tests.exitcode
        if code < 0:
            lines.append(f"died by {signal.Signals(-code).name}")
        if not notes or (code and '"failed"' not in notes):
            notes = '[{"failed": 1}, {}]'
        self._notes.write(notes + "\n")
        shown = lines[-1:] if code == 0 else lines
        print(f"{file} ({time.monotonic() - began:.1f} s)", *shown, sep="\n", flush=True)

    def _test(self, file: Path, folder: str, said: int, counted: int) -> None:
        import pytest

        os.dup2(said, 1)
        os.dup2(said, 2)
        sys.argv = ["pytest", str(file)]
        notes = Notes()
        options = ["-m", self._marker, "--basetemp", f"{folder}/{file.stem}"]
        code = pytest.main([*options, str(file)], plugins=[notes])
        os.write(counted, json.dumps([notes.outcomes, notes.seconds]).encode())
        atexit._run_exitfuncs()
        sys.exit(int(code))


def _import_all(names: Iterable[str]) -> None:
    for name in names:
        with suppress(ImportError):  # then tests that need it say so
            importlib.import_module(name)


def _start(*call: Any) -> multiprocessing.Process:
    process = _FORK.Process(target=call[0], args=call[1:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # numpy's threads wait; they are begun anew
        process.start()
    return process


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("-m", "--marker", default="not slow", help="pytest's -m")
    parser.add_argument("--jobs", type=int, default=3, help="how many files at a time")
    parser.add_argument("paths", nargs="*", type=Path, default=[Path("tests")], help="files and folders")
    asked = parser.parse_args()
    sys.path[0] = ""  # as of `python -m pytest`
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background ignores it, and what tests start would
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    files = {file for path in asked.paths for file in ([path] if path.is_file() else path.rglob("test_*.py"))}
    run = FileRun(asked.marker, asked.jobs)
    run.run_all(sorted(files, reverse=True))
    for test, seconds in run.seconds.most_common():
        if seconds > LONG_S:
            print(f"{seconds:5.1f} s {test}")
    counts = run.outcomes
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return min(counts["failed"], 1)


if __name__ == "__main__":
    sys.exit(main())
