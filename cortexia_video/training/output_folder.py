"""The folder of a training: whether it can be one is known before anything is rendered or trained."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cortexia_video.errors import OutputError, OutputExistsError, OutputLostError, redact
from cortexia_video.file_lock import try_lock
from cortexia_video.places.place import Place
from cortexia_video.places.work_folder import WorkFolder

CHECKPOINT, RECIPE, LOGS = "checkpoint.pt", "recipe.toml", "logs"


def require_writable(folder: Path) -> None:
    """Raise `OutputError` unless a folder can be made, or written to; nothing is made."""
    there = next(each for each in (folder, *folder.absolute().parents) if os.path.lexists(each))
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        fault = "may not be written to" if there.is_dir() else "is no folder"
        raise OutputError(f"cannot write into {folder}: {there} {fault}; choose another")


def open_output(place: Place, recipe: Path) -> WorkFolder:
    """Give the folder to train in; raises what `WorkFolder` raises, of a folder of this disk at once.

    An address is one process's: others would not see what the first writes.
    """
    if isinstance(place, Path):
        _require_free(place, recipe)
    elif int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise OutputError(f"several processes cannot train into {place}: give a folder that all see")
    return WorkFolder(place, (CHECKPOINT, RECIPE))


def _require_free(output: Path, recipe: Path) -> None:
    """Raise `OutputExistsError` for a folder with files of others, the recipe apart."""
    require_writable(output)
    if not output.is_dir() or any((output / name).exists() for name in (CHECKPOINT, RECIPE)):
        return
    for each in sorted(output.iterdir()):
        if not each.name.startswith(".") and each.resolve() != recipe.resolve():
            raise OutputExistsError(
                f"{output} holds {each.name}, which is of no training: choose a new or empty folder"
            )


@contextmanager
def claim(recipe: Path, output: Path) -> Iterator[None]:
    """Make the folder, record the recipe in it, and keep other trainings off, before hours are spent."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        record = (output / RECIPE).open("ab")
    except OSError as error:
        raise OutputError(f"cannot write into {output}: {error.strerror}") from error
    with record:
        if not try_lock(record.fileno()):
            raise OutputError(f"another training writes into {output}: wait for it, or choose another folder")
        if recipe.resolve() != (output / RECIPE).resolve():
            try:
                (output / RECIPE).write_text(redact(recipe.read_text(encoding="utf-8")), encoding="utf-8")
            except OSError as error:
                raise OutputLostError(output / RECIPE, error) from error
        yield
