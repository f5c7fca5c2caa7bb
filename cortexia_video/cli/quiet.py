"""`quiet_libraries`: what libraries in C print about broken files is not for people; our line says it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from cortexia_video.cli.streams import open_text


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Let only Python write to stderr: libtiff and OpenEXR print there what they also raise."""
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
    try:
        yield
    finally:
        sys.stderr = before
        os.dup2(real, 2)
