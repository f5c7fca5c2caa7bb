"""`find_cache`: this package's folder in the user's cache, for what can be found out again."""

from __future__ import annotations

import os
from pathlib import Path


def find_cache() -> Path:
    """Return `$XDG_CACHE_HOME/cortexia_video`, by default `~/.cache/cortexia_video`; it may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cortexia_video"
