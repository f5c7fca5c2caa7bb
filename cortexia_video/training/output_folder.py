"""The folder of a training: whether it can be one is known before anything is rendered or trained."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cortexia_video.errors import OutputError, in_words, output_lost, redact
from cortexia_video.storage.own_folder import require_own_folder
from cortexia_video.storage.paths import AnyPath
from cortexia_video.storage.staging_folder import StagingFolder
from cortexia_video.storage.system import flush_to_disk, open_plain, require_lock

CHECKPOINT, RECIPE, LOGS = "checkpoint.pt", "recipe.toml", "logs"


def require_writable(folder: Path) -> None:
    """Raise `OutputError` unless a folder can be made, or written to; nothing is made."""
    there = next(each for each in (folder, *folder.absolute().parents) if os.path.lexists(each))
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        fault = "may not be written to" if there.is_dir() else "is no folder"
        raise OutputError(f"cannot write into {folder}: {there} {fault}; choose another")


def open_output(place: AnyPath, recipe: Path) -> StagingFolder:
    """Return the folder to train in; `OutputExistsError` where it has files of others, or another recipe.

    Raises also what `StagingFolder` raises. A remote folder is one process's: others would not see what
    the first writes.
    """
    if isinstance(place, Path):
        require_writable(place)
    elif int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise OutputError(f"several processes cannot train into {place}: give a folder that all see")
    words = _read_words(recipe)
    is_own = {
        CHECKPOINT: lambda _: True,
        RECIPE: lambda head: words.startswith(head) or (place / CHECKPOINT).is_file(),
    }
    is_inside = isinstance(place, Path) and recipe.resolve().parent == place.resolve()
    require_own_folder(place, "this training", is_own, besides=[recipe.name] if is_inside else [])
    return StagingFolder(place)


@contextmanager
def claim(recipe: Path, output: Path) -> Iterator[None]:
    """Make the folder, record the recipe in it, and keep other trainings off, before hours are spent.

    The recipe is written in its place, by the descriptor that is locked: torn by a kill, it is written again.
    """
    words = _read_words(recipe)
    with in_words(f"cannot write into {output}", kind=OutputError):
        output.mkdir(parents=True, exist_ok=True)
        record = os.fdopen(open_plain(output / RECIPE, os.O_RDWR | os.O_CREAT), "rb+")
    with record:
        require_lock(record.fileno(), output, "trains into")
        if recipe.resolve() != (output / RECIPE).resolve() and record.read() != words:
            with output_lost(output / RECIPE):
                record.seek(0)
                record.truncate()
                record.write(words)
                record.flush()
                flush_to_disk(record.fileno())
        yield


def _read_words(recipe: Path) -> bytes:
    """Return a recipe as it is recorded: without the secrets of its URLs."""
    return redact(recipe.read_bytes().decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
