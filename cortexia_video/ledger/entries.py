"""What the ledger says of files: an input as it was found, an output as it was written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

CLAIMED = 256  # inputs that are said to be begun at once, where that is not done one by one


class Placed(NamedTuple):
    """A file as it was written. size: bytes. digest: xxh3_128 in hex, against corruption, not forgery."""

    size: int
    digest: str


class Source(NamedTuple):
    """A file as it was when it was found. path: absolute, or an address. size: bytes.

    mtime_ns: time of last change; of an object a number that follows from its ETag.
    """

    path: str
    size: int
    mtime_ns: int


class ItemDone(NamedTuple):
    """An input whose files are in place. outputs: these files. facts: what else its line says."""

    outputs: Mapping[str, Placed]
    facts: Mapping[str, object]
