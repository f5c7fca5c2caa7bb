"""What the ledger says of files: an input as it was found, an output as it was written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

CLAIMED = 256  # inputs that are said to be begun at once, where that is not done one by one
OF_LINE = ("kind", "model", "weights_sha256")  # what converted depth says of itself


class WrittenFile(NamedTuple):
    """A file as it was written. size: bytes. digest: xxh3_128 in hex, against corruption, not forgery."""

    size: int
    digest: str


class Source(NamedTuple):
    """A file as it was when it was found. path: absolute, or a URL. size: bytes.

    mtime_ns: time of last change; of an object a number that follows from its ETag.
    """

    path: str
    size: int
    mtime_ns: int


class Outputs(Protocol):
    """What a ledger asks of the folder that its outputs lie in; every sink answers."""

    def size_of(self, name: str) -> int | None:
        """Return the bytes of a file, None where there is none."""

    def holds(self, name: str) -> bool:
        """Return whether anything of this name exists."""

    def output_names(self, key: str, *, is_clip: bool = False) -> list[str]:
        """Return the names of the files that are written of an input; none if they are packed."""


class ItemDone(NamedTuple):
    """An input whose files are in place. outputs: these files. facts: what else its line says."""

    outputs: Mapping[str, WrittenFile]
    facts: Mapping[str, object]
