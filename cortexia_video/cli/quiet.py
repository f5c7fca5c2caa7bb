"""What libraries print is not for people, but what they raise, in a line of ours; `-v` shows all of it."""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from cortexia_video.cli.option_words import to_options
from cortexia_video.cli.streams import open_text

_log = logging.getLogger("cortexia_video")
_asked = {"verbose": False, "quiet": False}


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Let only Python write to stderr, and of its libraries only ours.

    libtiff, OpenEXR and Ray print from C what they also raise. A crash of theirs is still shown.
    """
    try:
        number = sys.stderr.fileno()
    except (OSError, ValueError, AttributeError):  # a test's, or a notebook's
        number = -1
    if number != 2:
        yield
        return
    sys.stderr.flush()
    before, real = sys.stderr, os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = open_text(real, before)  # it stays open: loggers that were set up meanwhile keep it
    faulthandler.enable(sys.stderr)
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("ignore")
            yield
    finally:
        faulthandler.disable()
        sys.stderr = before
        os.dup2(real, 2)


def open_log(*, verbose: bool, quiet: bool = False) -> None:
    """Print on stderr what this package logs; `verbose`: what its libraries log, too.

    Where logging was set up before, by a program that calls a command, that stays.
    """
    root = logging.getLogger()
    _asked.update(verbose=verbose, quiet=quiet)
    _log.setLevel(logging.WARNING if quiet else logging.INFO)
    if root.handlers:
        return
    handler = _Handler()
    handler.setFormatter(_Formatter("%(name)s: %(message)s" if verbose else "cortexia: %(message)s"))
    (root if verbose else _log).addHandler(handler)
    root.addHandler(logging.NullHandler())  # else logging prints what libraries say, as a last resort


def is_quiet() -> bool:
    """Return whether nothing but what went wrong is to be said."""
    return _asked["quiet"]


def is_verbose() -> bool:
    """Return whether each stage and its time is to be said."""
    return _asked["verbose"]


class _Handler(logging.StreamHandler[TextIO]):
    """Prints to what is stderr then: a bar takes its place for a while."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        """It is always `sys.stderr`."""


class _Formatter(logging.Formatter):
    """Names the options of the command line where the library names its parameters."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return to_options(super().formatMessage(record))
