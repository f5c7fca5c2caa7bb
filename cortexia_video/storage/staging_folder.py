"""`StagingFolder`: a folder of this disk that stands for one at a URL, for work that needs files."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path
from typing import Self

from cortexia_video.errors import OutputError, OutputExistsError, OutputLostError, in_words, output_lost
from cortexia_video.storage.paths import AnyPath, find_problem

_log = logging.getLogger(__name__)


class StagingFolder:
    """What is at a URL is fetched on entering; what changed is put by `put`, and on leaving.

    Of a folder of this disk it is the folder itself. A context manager. Raises `OutputExistsError` for an
    URL where something has a name that no file can have, `OutputError` where it cannot be listed or read,
    `OutputLostError` where it is full or unwritable: what is there then stays, and every object is whole.
    """

    def __init__(self, place: AnyPath) -> None:
        self._place = place
        self._known: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> Self:
        if isinstance(self._place, Path):
            self.path = self._place
            return self
        self.path, place = Path(tempfile.mkdtemp(prefix="cortexia-")), self._place
        try:
            with in_words(f"cannot read {place}", kind=OutputError):
                names = [name for name, _ in place.list_files()]
                strange = next((name for name in names if find_problem(name)), None)
                if strange is not None:
                    raise OutputExistsError(
                        f"{place} holds {strange!r}, which {find_problem(strange)}: choose a new prefix"
                    )
                for name in names:
                    path = self.path / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    (place / name).get_file(path)
                    self._known[name] = _look(path)
        except BaseException:
            shutil.rmtree(self.path)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write what changed; where that cannot be the folder of this disk stays, and the error says where."""
        if isinstance(self._place, Path):
            return
        try:
            self.put()
        except OutputLostError as error:
            if kind is None:
                raise OutputLostError(self._place, OSError(0, f"it is kept in {self.path}")) from error
            _log.warning("%s; what was to be put there is kept in %s", error, self.path)
        else:
            shutil.rmtree(self.path)

    def put(self) -> None:
        """Write the files that changed, each atomically."""
        if isinstance(self._place, Path):
            return
        for path in sorted(self.path.rglob("*")):
            name = path.relative_to(self.path).as_posix()
            if path.is_file() and self._known.get(name) != (now := _look(path)):
                with output_lost(self._place / name):
                    (self._place / name).put_file(path)
                self._known[name] = now


def _look(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns
