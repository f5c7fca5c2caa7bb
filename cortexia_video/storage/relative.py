"""What lies inside a folder, local or remote."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from cortexia_video.storage.paths import AnyPath
from cortexia_video.storage.remote_path import RemotePath


def find_inside(root: AnyPath, pattern: str) -> list[AnyPath]:
    """Return what fits a pattern, in the order of paths; `**/` stands for any folders. Raises `OSError`."""
    return sorted(root.glob(pattern))


def name_inside(place: AnyPath, root: AnyPath) -> str:
    """Return the name of what lies below `root`, with slashes between its parts; `ValueError` of others."""
    if isinstance(place, RemotePath) and isinstance(root, RemotePath):
        return place.relative_to(root).as_posix()
    if isinstance(place, Path) and isinstance(root, Path):
        return place.relative_to(root).as_posix()
    raise ValueError(f"{place} is not in {root}")


def is_inside(place: AnyPath, root: AnyPath) -> bool:
    """Return whether a place is, by its name, `root` or below it."""
    try:
        name_inside(place, root)
    except ValueError:
        return False
    return True


def follow(root: AnyPath, name: str) -> AnyPath:
    """Return the place that a file in `root` calls `name`: there may be `.` and `..` in it."""
    if isinstance(root, Path):
        return root / name
    for part in PurePosixPath(name).parts:
        root = root.parent if part == ".." else root / part
    return root
