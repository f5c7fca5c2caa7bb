"""`ObjectSink`: one object or more per key at a URL, each there atomically."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Self

import numpy as np
import xxhash

from cortexia_video.errors import InputError, OutputError, OutputLostError, in_words
from cortexia_video.formats.raw_depth import Chunks
from cortexia_video.formats.registry import HEAD_BYTES, is_own_head, may_be_own
from cortexia_video.ledger.entries import WrittenFile
from cortexia_video.sinks.sink import Sink
from cortexia_video.storage.paths import find_problem
from cortexia_video.storage.remote_path import RemotePath, RemoteStat
from cortexia_video.storage.retries import RemoteError

_AT_ONCE = 1 << 27  # bytes of an object that is put in one request; a larger one, a shard, goes in parts


class ObjectSink(Sink):
    """Write depth maps to `root/<key><suffix>`: the store shows an object once all of it has arrived.

    What lies there is listed once, when that is first asked: 16 bytes per object are kept. So it is known as
    it was when the run began.
    """

    root: RemotePath

    def __init__(self, root: RemotePath, **options: Any) -> None:
        super().__init__(**options)
        if not root.can_list:
            raise OutputError(f"nothing can be written to {root}: choose another `output`")
        self.root = root

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def place(self, files: Mapping[str, Chunks]) -> dict[str, WrittenFile]:
        placed = {}
        for name, chunks in files.items():
            path, size, digest = self.root / name, sum(map(len, chunks)), xxhash.xxh3_128()
            for chunk in chunks:
                digest.update(chunk)
            try:
                if size > _AT_ONCE:
                    path.put_chunks(chunks)
                else:
                    path.write_bytes(b"".join(chunks))
            except RemoteError as error:  # after a few tries: the next object would fare no better
                raise OutputLostError(path, error) from error
            placed[name] = WrittenFile(size, digest.hexdigest())
        return placed

    def size_of(self, name: str) -> int | None:
        return self._listing.find(name)

    def holds(self, name: str) -> bool:
        return self._listing.find(name) is not None

    def holds_own(self, name: str) -> bool:
        return may_be_own(name) and is_own_head((self.root / name).read_bytes(0, HEAD_BYTES))

    def check_key(self, key: str) -> None:
        super().check_key(key)
        problem = find_problem(key)
        if problem:
            raise InputError(f"key {key!r} {problem}: an object cannot be called so")

    @cached_property
    def _listing(self) -> _Sizes:
        with in_words(f"cannot write to {self.root}", kind=OutputError, of=OSError):
            return _Sizes(self.root.list_files())


class _Sizes:
    """The sizes of many objects, found by a hash of their names."""

    def __init__(self, files: Iterator[tuple[str, RemoteStat]]) -> None:
        hashes, sizes = array("Q"), array("q")
        for name, stat in files:
            hashes.append(xxhash.xxh3_64_intdigest(name.encode("utf-8", "surrogatepass")))
            sizes.append(stat.st_size)
        order = np.argsort(hashes, kind="stable")
        self._hashes = array(
            "Q", np.array(hashes)[order].tobytes()
        )  # in which one is found faster than by numpy
        self._sizes = array("q", np.array(sizes)[order].tobytes())

    def find(self, name: str) -> int | None:
        """Return the size of an object, None where it did not exist."""
        wanted = xxhash.xxh3_64_intdigest(name.encode("utf-8", "surrogatepass"))
        at = bisect_left(self._hashes, wanted)
        return self._sizes[at] if at < len(self._hashes) and self._hashes[at] == wanted else None
