"""What torch compiles is kept for this process only, where nobody says where to keep it."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

_CACHE = "TORCHINDUCTOR_CACHE_DIR"


def use_temporary_cache() -> None:
    """Give torch a folder that is gone when the process ends; to be called before it compiles or exports.

    Its own would stay in the folder for temporary files, and is made even by an optimiser's first step.
    """
    if _CACHE in os.environ:
        return
    try:
        os.environ[_CACHE] = tempfile.mkdtemp(prefix="cortexia-")
    except OSError:  # there is no folder for temporary files: torch says so where it needs one
        return
    atexit.register(shutil.rmtree, os.environ[_CACHE], ignore_errors=True)
