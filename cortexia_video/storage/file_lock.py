"""Keep other processes off a file. The system lets go when the process ends, however it ends."""

from __future__ import annotations

import errno
import functools
import logging
from pathlib import Path

from cortexia_video.errors import OutputError, describe

_log = logging.getLogger(__name__)


def try_lock(descriptor: int) -> bool:
    """Lock a file, open for writing, until it is closed; say False where another process has it.

    A shared lock of one's own becomes this one, and is lost where that fails. Where there are no such locks
    (Windows, some network mounts) it says True: nobody is kept off.
    """
    return _try("LOCK_EX", descriptor)


def try_lock_shared(descriptor: int) -> bool:
    """Lock an open file as `try_lock` does, beside others who do the same."""
    return _try("LOCK_SH", descriptor)


def require_lock(descriptor: int, folder: Path, doing: str, remedy: str = "choose another `output`") -> None:
    """Keep other processes off a folder by a lock on a file in it; `OutputError` where one is there.

    doing, remedy: for the error: what it does, as in `is writing to`, and what to do but wait for it.
    """
    if not try_lock(descriptor):
        raise OutputError(f"another process {doing} {folder}: wait for it, or {remedy}")


def _try(kind: str, descriptor: int) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(descriptor, getattr(fcntl, kind) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        _warn(describe(error))
    return True


@functools.cache
def _warn(reason: str) -> None:
    _log.warning("this place has no file locks (%s): run one process at a time", reason)
