"""`LedgerLines`: the lines of a ledger by one pass, and then those that count, by their places."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Self

from cortexia_video.errors import in_words, printable
from cortexia_video.ledger.state import LEDGER_NAME, LedgerState, require_ledger
from cortexia_video.storage.documents import parse_object
from cortexia_video.storage.paths import AnyPath, open_named

_IN_MEMORY = 1 << 26  # bytes


class LedgerLines:
    """Iterate over the lines of a folder's ledger once, oldest first; then ask for some again.

    A context manager: `ledger.jsonl` stays open. What is in other files, of partitions or in an object
    store, which may be thousands, is kept in a temporary file, so that nothing is fetched twice.
    """

    def __init__(self, root: AnyPath) -> None:
        self._root = root
        self._open = ExitStack()
        self._main: IO[bytes] = io.BytesIO()
        self._main_size = 0

    def __enter__(self) -> Self:
        self._others = self._open.enter_context(tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def __iter__(self) -> Iterator[bytes]:
        """Yield every line; raises `InputError` where there is no ledger, or it cannot be read."""
        for path in require_ledger(self._root):
            with in_words(f"cannot read {printable(str(path))}"):
                if isinstance(path, Path) and path.name == LEDGER_NAME:
                    self._main = self._open.enter_context(open_named(path))
                    yield from self._main
                    self._main_size = self._main.tell()
                else:
                    with open_named(path) as file:
                        for line in file:
                            whole = line if line.endswith(b"\n") else line + b"\n"
                            self._others.write(whole)
                            yield whole

    def at(self, places: Iterable[int]) -> Iterator[dict[str, Any]]:
        """Yield the lines at places that `LedgerState` gave, best in the order of the ledger."""
        for place in places:
            in_main = place < self._main_size
            file = self._main if in_main else self._others
            file.seek(place if in_main else place - self._main_size)
            if line := parse_object(file.readline()):  # the state found it sound
                yield line


def read_done(root: AnyPath) -> Iterator[dict[str, Any]]:
    """Yield the line that counts of every key that is done, in the order of the ledger.

    What is appended meanwhile is not among them. Raises `InputError` where there is no ledger, or it cannot
    be read.
    """
    with LedgerLines(root) as lines:
        yield from lines.at(LedgerState(lines).places())
