"""Keep a second process off a file or folder. The system lets go when the process ends, however it ends."""

from __future__ import annotations

import errno
import logging

_log = logging.getLogger(__name__)


def try_lock(descriptor: int) -> bool:
    """Lock an open file or folder until it is closed; say False where another process has it.

    Where there are no such locks (Windows, some network mounts) it says True: nobody is kept off.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        _log.warning("this place has no file locks (%s): run one process at a time", error.strerror)
    return True
