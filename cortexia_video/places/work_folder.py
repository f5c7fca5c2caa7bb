"""`WorkFolder`: a folder of this disk that stands for one behind an address, for work that needs files."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from cortexia_video.errors import OutputError, OutputExistsError, OutputLostError
from cortexia_video.places.place import Place
from cortexia_video.places.remote_path import RemotePath
from cortexia_video.places.whole_file import put_file

_PIECE = 1 << 23  # bytes


class WorkFolder:
    """What is behind an address is fetched on entering; what changed is put by `put`, and on leaving.

    Of a folder of this disk it is the folder itself. marks: names, of which one is in each folder that this
    work began. A context manager. Raises `OutputExistsError` for an address where other things are,
    `OutputError` where it cannot be listed or read, `OutputLostError` where it takes no more: what is there
    then stays, and every object is whole.
    """

    def __init__(self, place: Place, marks: Sequence[str]) -> None:
        self._place = place
        self._marks = marks
        self._known: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> Self:
        if isinstance(self._place, Path):
            self.path = self._place
            return self
        self._temporary = tempfile.TemporaryDirectory(prefix="cortexia-")
        self.path = Path(self._temporary.name)
        try:
            self._fetch(self._place)
        except BaseException:
            self._temporary.cleanup()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if isinstance(self._place, RemotePath):
            with self._temporary:
                self.put()

    def put(self) -> None:
        """Put the files that changed, each whole."""
        if isinstance(self._place, Path):
            return
        for path in sorted(self.path.rglob("*")):
            name = path.relative_to(self.path).as_posix()
            if path.is_file() and self._known.get(name) != (now := _look(path)):
                self._put_file(path, self._place / name)
                self._known[name] = now

    def _put_file(self, path: Path, place: RemotePath) -> None:
        try:
            put_file(path, place)
        except OSError as error:
            raise OutputLostError(place, error) from error

    def _fetch(self, place: RemotePath) -> None:
        try:
            first = next(place.list_files(), None)
            if first is None:
                return
            if not any((place / mark).is_file() for mark in self._marks):
                raise OutputExistsError(f"{place} holds {first[0]}, which is not ours: choose a new prefix")
            for name, _ in place.list_files():
                path = self.path / name
                path.parent.mkdir(parents=True, exist_ok=True)
                fetch_file(place / name, path)
                self._known[name] = _look(path)
        except FileNotFoundError as error:
            if "bucket:" in str(error.strerror):
                raise OutputError(f"cannot write to {place}: {error.strerror}") from error
        except OSError as error:
            raise OutputError(f"cannot read {place}: {error.strerror}") from error


def fetch_file(place: RemotePath, path: Path) -> None:
    """Fetch an object into a file, piece by piece."""
    with place.open("rb") as source, path.open("wb") as file:
        while piece := source.read(_PIECE):
            file.write(piece)


def _look(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns
