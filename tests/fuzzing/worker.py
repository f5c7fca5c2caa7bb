"""`Worker`: reads cases in another process, which may die of one; that is then what was found."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

_TESTS = Path(__file__).resolve().parents[1]
# Arenas of threads take URL space, which is bounded: a thread that gets none starts for ever (CPython).
_ENVIRONMENT = {"MALLOC_ARENA_MAX": "2", "PYTHONDONTWRITEBYTECODE": "1"}


class Worker:
    """A context manager; the process is started when it is first needed, and again after it died.

    command: what Python runs, `fuzzing.case` or what stands in for it. hangs_s: seconds without an answer
    after which it is taken for waiting for something that does not come.
    """

    def __init__(self, command: Sequence[str] = ("-m", "fuzzing.case"), hangs_s: float = 600) -> None:
        self._command = command
        self._hangs_s = hangs_s
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def read(self, target: str, case: str | int) -> Mapping[str, str]:
        """Return what came of a case: `outcome`, and `wrong`, empty where nothing is."""
        process = self._process = self._process or self._start()
        assert process.stdin
        process.stdin.write(json.dumps([target, case]) + "\n")
        process.stdin.flush()
        answer = self._hear(process)
        return json.loads(answer) if answer else {"outcome": "died", "wrong": self._bury(process)}

    def _start(self) -> subprocess.Popen[str]:
        search = os.pathsep.join(
            filter(None, [str(_TESTS), str(_TESTS.parent), os.environ.get("PYTHONPATH")])
        )
        process = subprocess.Popen(
            [sys.executable, *self._command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is not for it
            env={**os.environ, "PYTHONPATH": search, **_ENVIRONMENT},
        )
        self._hear(process)
        return process

    def _hear(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout
        ready, _, _ = select.select([process.stdout], [], [], self._hangs_s)
        return process.stdout.readline() if ready else ""

    def _bury(self, process: subprocess.Popen[str]) -> str:
        """Return what a process died of, or that it did not answer."""
        try:
            code = process.wait(1)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGUSR1)  # it says on stderr where it is
            with suppress(subprocess.TimeoutExpired):
                process.wait(1)
            self._stop()
            return f"no answer for {self._hangs_s:g} s"
        self._stop()
        if code == -signal.SIGPROF:
            return "takes too many seconds of the processor"
        return f"died of {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process:
            assert process.stdin and process.stdout
            process.kill()
            process.wait()
            process.stdout.close()
            process.stdin.close()
