"""Whose an output folder is: what is in it says so, and other people's files are nobody's to replace."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from cortexia_video.errors import OutputError, OutputExistsError, in_words, printable
from cortexia_video.storage.paths import AnyPath
from cortexia_video.storage.system import require_plain

LOOKED_AT = 1 << 20  # bytes of a file, to tell whose it is


def require_own_folder(
    root: AnyPath, what: str, marks: Mapping[str, Callable[[bytes], bool]], *, besides: Collection[str] = ()
) -> None:
    """Refuse a folder where files of others are, and none of ours; local or remote.

    what: that this work makes, for the error. marks: names that it writes, each with what tells by the first
    bytes whether a file of this name is ours. besides: names that may be there, as hidden ones may.
    Raises `OutputExistsError`, also for a link in a mark's place, and `OutputError` where nobody can look.
    """
    with in_words(f"cannot list {root}", "choose another `output`", OutputError, OSError):
        found, other = [], None
        for place in (root / name for name in marks):
            if isinstance(place, Path):
                require_plain(place)
            if place.exists() if isinstance(place, Path) else place.is_file():
                found.append(place)
        for place in found:
            with place.open("rb") as file:
                if other is None and not marks[place.name](file.read(LOOKED_AT)):
                    other = place.name
        if not found:  # of objects those inside count, too
            if isinstance(root, Path):
                names = sorted(os.listdir(root)) if root.is_dir() else []  # noqa: PTH208 - names are asked for
                listed = iter(names)
            else:
                listed = (name for name, _ in root.list_files())
            visible = (name for name in listed if not name.startswith("."))
            other = next((name for name in visible if name not in besides), None)
    if other is not None:
        raise OutputExistsError(
            f"{printable(str(root))} holds {printable(other)}, which is no part of {what}: "
            "choose a new or empty folder"
        )
