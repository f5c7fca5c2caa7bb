"""`open_log`: a log that one process appends to, on this machine or in an object store."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path

from cortexia_video.errors import OutputError, OutputLostError, in_words, output_lost
from cortexia_video.ledger.ledger import AppendLog
from cortexia_video.storage.paths import AnyPath
from cortexia_video.storage.remote_path import RemotePath


class CopiedLog(AppendLog):
    """A log in an object store, where nothing can be appended to: a copy here, which is put as a whole.

    For one thread at a time; use `open_log`. Raises `OSError` where the object can neither be read nor made.
    """

    def __init__(self, place: RemotePath, copy: Path, marks: tuple[bytes, ...], longest_s: float) -> None:
        self._place = place
        self._longest_s = longest_s
        self._waits = False  # lines are here that the object has not
        self._put_at = time.monotonic()
        try:
            place.get_file(copy)
        except FileNotFoundError:
            copy.touch()
            place.put_file(copy)  # where nothing can be put, that is said before hours of work
        super().__init__(copy, marks)

    def __exit__(self, *error: object) -> None:
        try:
            with suppress(OutputLostError) if error[0] else nullcontext():
                self._put()
        finally:
            self.close()

    def append_lines(self, lines: Iterable[bytes]) -> None:
        """Append lines as they are; `OutputLostError` where they, or earlier ones, cannot be put."""
        super().append_lines(lines)
        self._waits = True
        if time.monotonic() - self._put_at >= self._longest_s:
            self._put()

    def _put(self) -> None:
        if not self._waits:
            return
        with output_lost(self._place):
            self._place.put_file(self.path)
        self._waits, self._put_at = False, time.monotonic()


@contextmanager
def open_log(
    place: AnyPath, marks: tuple[bytes, ...], claim: str, *, longest_s: float = 0.0
) -> Iterator[AppendLog]:
    """Open a log to append to, and keep other processes off, where they can be seen.

    Its `path` is a file of this machine, which holds every line.

    Args:
        place: The log; made where it does not exist.
        marks: How its lines can begin.
        claim: What is done here, for the error that others get, as "builds in".
        longest_s: Seconds for which lines may wait until they are put into an object store.

    Raises:
        OutputError: Nothing can be written, or another process is there.
        OutputExistsError: The file holds something else.
    """
    with ExitStack() as stack:
        with in_words(f"cannot write {place}", kind=OutputError):
            if isinstance(place, RemotePath):
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="cortexia-"))
                log: AppendLog = CopiedLog(place, Path(folder) / place.name, marks, longest_s)
            else:
                log = AppendLog(place, marks)
        stack.enter_context(log)
        log.lock(claim)
        yield log
