"""`find_cache`: this package's folder in the user's cache, for what can be found out again."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def find_cache() -> Path:
    """Return `$XDG_CACHE_HOME/cortexia_video`, by default `~/.cache/cortexia_video`; it may not exist yet.

    A relative `XDG_CACHE_HOME` is ignored, as its specification says. Of a user without a home, as containers
    have, it is where nothing is and nothing can be kept.
    """
    with contextlib.suppress(RuntimeError):
        said = Path(os.environ.get("XDG_CACHE_HOME", ""))
        return (said if said.is_absolute() else Path.home() / ".cache") / "cortexia_video"
    return Path(os.devnull) / "cortexia_video"
