"""Whose an output folder is: what is in it says so, and other people's files are nobody's to replace."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from cortexia_video.errors import OutputError, OutputExistsError, in_words, printable
from cortexia_video.storage.atomic_file import require_plain
from cortexia_video.storage.paths import AnyPath
from cortexia_video.storage.remote_path import RemotePath

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
        found = [name for name in marks if _is_there(root / name)]
        other = next((name for name in found if not marks[name](_read_head(root / name))), None)
        if not found:
            other = next((name for name in _list_visible(root) if name not in besides), None)
    if other is not None:
        raise OutputExistsError(
            f"{printable(str(root))} holds {printable(other)}, which is no part of {what}: "
            "choose a new or empty folder"
        )


def _is_there(place: AnyPath) -> bool:
    if isinstance(place, RemotePath):
        return place.is_file()
    require_plain(place)
    return place.exists()


def _read_head(place: AnyPath) -> bytes:
    with place.open("rb") as file:
        return file.read(LOOKED_AT)


def _list_visible(root: AnyPath) -> Iterator[str]:
    """Yield the names in a folder in order, but hidden ones; of objects those inside, too."""
    if isinstance(root, Path):
        names = iter(sorted(os.listdir(root)) if root.is_dir() else ())  # noqa: PTH208 - names are asked for
    else:
        names = (name for name, _ in root.list_files())
    return (name for name in names if not name.startswith("."))
