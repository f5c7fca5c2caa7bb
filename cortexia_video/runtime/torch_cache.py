"""What torch compiles is kept for this process only, where nobody says where to keep it."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

_CACHE = "TORCHINDUCTOR_CACHE_DIR"


def use_temporary_cache() -> None:
    """Name torch a folder that is gone when the process ends; to be called before torch is imported.

    Its own would stay in the folder for temporary files. torch makes it even where nothing is compiled, when
    transformers is imported or an optimiser takes its first step.
    """
    if _CACHE in os.environ:
        return
    with suppress(OSError):  # there may be no folder for temporary files: torch says so where it needs one
        folder = Path(tempfile.gettempdir()) / f"cortexia-{secrets.token_hex(8)}"
        os.environ[_CACHE] = str(folder)
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
