"""A terminal for commands: a pseudo-terminal of some size, and what was written to it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def run_in_terminal(
    *words: object,
    columns: int = 80,
    cwd: Path | None = None,
    program: Path | None = None,
    stdout: Path | None = None,
) -> tuple[int, str]:
    """Run a command, or a program, on a terminal; return its exit code and all that was written to it.

    stdout: a file that stdout goes to.
    """
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    given = {
        name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")
    }
    out = child if stdout is None else os.open(stdout, os.O_WRONLY | os.O_CREAT)
    process = subprocess.Popen(
        [
            sys.executable,
            *(["-m", "cortexia_video"] if program is None else [str(program)]),
            *map(str, words),
        ],
        stdin=child,
        stdout=out,
        stderr=child,
        cwd=cwd,
        env={**given, "TERM": "xterm"},
    )
    for number in {child, out}:
        os.close(number)
    said = b""
    while True:
        try:
            said += os.read(parent, 1 << 16)
        except OSError:  # the other end is closed
            break
    os.close(parent)
    return process.wait(), said.decode(errors="replace").replace("\r\n", "\n")


def list_lines(said: str) -> list[str]:
    """Return the lines that were ever seen, without colours; each state of a bar is one."""
    pieces = re.split(r"\n|\r|\x1b\[2K", said)
    return [line for piece in pieces if (line := _CONTROLS.sub("", piece).rstrip())]
