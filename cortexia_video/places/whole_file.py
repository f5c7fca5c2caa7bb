"""`write_whole`: a file that is at its place when all of it is written, or is not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cortexia_video.errors import OutputLostError
from cortexia_video.places.place import Place
from cortexia_video.places.remote_path import RemotePath

PARTIAL = ".partial"  # what the name ends in, after a dot before it, until the file is whole


@contextmanager
def write_whole(place: Place) -> Iterator[Path]:
    """Give a name to write a file to; after the block it is put in its place.

    Until then it lies beside that, or in the system's folder for what is temporary where `place` is an
    address. Where the block raises, nothing changes. Raises `OutputLostError` for an `OSError`.
    """
    try:
        with _write_and_put(place) if isinstance(place, RemotePath) else _write_and_rename(place) as file:
            yield file
    except OSError as error:
        raise OutputLostError(place, error) from error


@contextmanager
def _write_and_rename(place: Path) -> Iterator[Path]:
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".{place.name}{PARTIAL}")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _write_and_put(place: RemotePath) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cortexia-") as folder:
        local = Path(folder) / "whole"
        yield local
        place.put_file(local)
