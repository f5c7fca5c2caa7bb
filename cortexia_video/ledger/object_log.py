"""`ObjectStoreLog`: what a run appends to a ledger in an object store, where nothing can be appended to.

A ledger at a URL is `ROOT/ledger.jsonl`, if `cortexia merge` made one, and then the objects of
`ROOT/ledger/` in the order of their names, `GENERATION.RUN.NUMBER.jsonl`. Each is put once, whole, by one
writer. A run's generation is one more than the highest that it found, so that what it says comes after all
that it has read, whatever clocks say; runs of one generation are partitions, which share no key.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Self

from cortexia_video.errors import OutputError, OutputLostError, in_words
from cortexia_video.storage.remote_path import RemotePath

LEDGER_NAME = "ledger.jsonl"
SEGMENTS = "ledger"
_LARGEST = 1 << 22  # bytes of a segment, about
_LONGEST_S = 10.0  # for which lines may wait


class ObjectStoreLog:
    """Append lines; they are put a few at a time. A context manager; threads may share it.

    writer: what tells this writer from others. Raises `OutputError` where the ledger cannot be listed.
    """

    def __init__(self, root: RemotePath, writer: str) -> None:
        self.path = root / SEGMENTS
        with in_words(f"cannot write to {root}", "choose another `output`", OutputError, OSError):
            numbers = [name.partition(".")[0] for name in _list_names(root)]
        generation = 1 + max((int(each) for each in numbers if each.isdecimal()), default=0)
        self._prefix = f"{generation:08d}.{writer}"
        self._number = 0
        self._lines: list[bytes] = []
        self._size = 0
        self._put_at = time.monotonic()
        self._writing = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with contextlib.suppress(OutputLostError) if kind else contextlib.nullcontext():
            self.close()

    def close(self) -> None:
        """Write what waits."""
        self.sync()

    def append(self, entry: Mapping[str, object]) -> None:
        """Append one line, soon; `OutputLostError` where that cannot be."""
        self.append_lines([json.dumps(entry).encode() + b"\n"])

    def append_lines(self, lines: Iterable[bytes]) -> None:
        """Append lines as they are."""
        with self._writing:
            for line in lines:
                self._lines.append(line)
                self._size += len(line)
            if self._size >= _LARGEST or time.monotonic() - self._put_at > _LONGEST_S:
                self._put()

    def sync(self) -> None:
        """Write what waits now; `OutputLostError` where that cannot be."""
        with self._writing:
            self._put()

    def _put(self) -> None:
        if not self._lines:
            return
        path = self.path / f"{self._prefix}.{self._number:06d}.jsonl"
        try:
            path.write_bytes(b"".join(self._lines))
        except OSError as error:
            raise OutputLostError(path, error) from error
        self._number += 1
        self._lines, self._size, self._put_at = [], 0, time.monotonic()


def list_segments(root: RemotePath) -> list[RemotePath]:
    """List the objects of a ledger, oldest first; `InputError` where that cannot be."""
    main = root / LEDGER_NAME
    with in_words(f"cannot list {root}", of=OSError):
        return [*([main] if main.is_file() else []), *(root / SEGMENTS / name for name in _list_names(root))]


def merge_segments(root: RemotePath) -> int:
    """Join all that runs left to `ledger.jsonl`; return the number of objects joined.

    After a kill in the middle it is done again: lines can then be there twice, saying the same. Raises
    `OutputError` where something cannot be read, `OutputLostError` where the whole cannot be put.
    """
    files = list_segments(root)
    segments = [path for path in files if path.name != LEDGER_NAME]
    if not segments:
        return 0
    try:
        (root / LEDGER_NAME).put_chunks(path.read_bytes() for path in files)
        for path in segments:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputLostError(root / LEDGER_NAME, error) from error
    return len(segments)


def _list_names(root: RemotePath) -> list[str]:
    """Return the names of the segments in order; of a web server, which lists nothing, none."""
    if not root.can_list:
        return []
    listed = (root / SEGMENTS).list_files(recursive=False)
    return sorted(name for name, _ in listed if name.endswith(".jsonl"))
