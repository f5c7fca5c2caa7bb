"""What is in a folder, small enough that pytest can print the difference of two."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path


def file_digests(root: Path, counts: Callable[[str], bool] = lambda name: True) -> dict[str, str]:
    """Return the SHA-256 of each file below `root` whose name `counts`, by its path there."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file() and counts(path.name)
    }
