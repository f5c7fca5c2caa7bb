"""Standard streams that take everything: what cannot be printed never ends a job.

A reader that has gone (`| head`), a full disk under `> log`, a stream that is closed: the command goes on to
its end. What of stdout was lost is known then, and is a failure, but for a reader that wanted no more.
"""

from __future__ import annotations

import io
import os
import re
import select
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_CLOSED = {
    0: os.O_WRONLY,
    1: os.O_RDONLY,
    2: os.O_RDONLY,
}  # so opened, a use of it fails as if it were closed
_LABEL = re.compile(r"\s*\S+(?: \S+)*?\s{2,}")  # and its text behind it


def open_streams() -> None:
    """Let stdout and stderr, where they are those of the process, drop what cannot be written.

    A closed one gets its number back: the next file that is opened would get it, and be printed to.
    """
    for number, flags in _CLOSED.items():
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # the lowest number that is free: this one
    sys.stdout, sys.stderr = _replace(sys.stdout, 1), _replace(sys.stderr, 2)


def find_loss() -> OSError | None:
    """Flush what was printed; return the error that lost some of stdout, None for a reader that has gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    lost = raw.lost if isinstance(raw, _LossyFile) else None
    return None if isinstance(lost, BrokenPipeError) else lost


def open_text(number: int, like: TextIO | None) -> TextIO:
    """Return a text stream that writes to an open file's number, and drops what it does not take."""
    buffer = io.BufferedWriter(_LossyFile(number, "w", closefd=False))
    lines = os.isatty(number) or (number == 2 if like is None else bool(like.line_buffering))
    lines = lines or bool(
        getattr(like, "write_through", False)
    )  # PYTHONUNBUFFERED: no whole line is kept back
    encoding = None if like is None else like.encoding
    kind = Terminal if os.isatty(number) else io.TextIOWrapper
    # file names can hold what a terminal cannot
    return kind(buffer, encoding, "backslashreplace", line_buffering=lines)


class Terminal(io.TextIOWrapper):
    """Text for a terminal: lines that are wider than it go on in the next, between words, and indented."""

    _line = ""  # what was written of it so far

    def write(self, text: str, /) -> int:
        *lines, self._line = (self._line + text).split("\n")
        width = shutil.get_terminal_size().columns
        super().write("".join(wrap(line, width) + "\n" for line in lines))
        return len(text)

    def flush(self) -> None:
        line, self._line = self._line, ""
        if line:
            super().write(line)
        super().flush()


def find_width() -> int | None:
    """Return how many characters a line of stdout has room for, where that is a terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def wrap(line: str, width: int) -> str:
    """Break a line between words, where it is wider than that; what follows stands below its text.

    What stands in two columns, as `name  text`, keeps them. A word that is wider, as a path, stays whole.
    """
    if len(line) <= width or "\x1b" in line:
        return line
    label = _LABEL.match(line)
    indent = len(label[0]) if label and len(label[0]) <= width // 3 else len(line) - len(line.lstrip()) + 2
    return "\n".join(
        textwrap.wrap(
            line,
            width,
            subsequent_indent=" " * indent,
            expand_tabs=False,
            replace_whitespace=False,
            break_long_words=False,
            break_on_hyphens=False,
        )
    )


class _LossyFile(io.FileIO):
    """A file whose `write` never fails. lost: the first error; what came after it was dropped, too."""

    lost: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            while self.lost is None:
                written = super().write(data)
                if written is not None:
                    return written
                select.select((), (self,), ())  # it does not block by itself
        except OSError as error:
            self.lost = error
        return memoryview(data).nbytes


def _replace(stream: TextIO | None, number: int) -> TextIO:
    """Return a stream in the place of the process's own; a test's or a notebook's stays."""
    try:
        own = stream is None or stream.fileno() == number
    except (OSError, ValueError, AttributeError):
        own = False
    if own:
        return open_text(number, stream)
    assert stream is not None
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream
