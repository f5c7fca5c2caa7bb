"""`LedgerState`: what the lines of a ledger come to, key by key, in little memory and time."""

from __future__ import annotations

import os
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from cortexia_video.ledger.entries import Placed
from cortexia_video.ledger.local_log import list_files, parse_line, read_lines
from cortexia_video.ledger.schema import read_usual
from cortexia_video.storage.paths import AnyPath

_NUMBERS = struct.Struct("<IQqII")  # origin, size and mtime_ns of the source, height, width
_FILE = struct.Struct("<Q16s")  # size and digest of an output
_OUTCOME = b', "outcome": "'


class DoneEntry(NamedTuple):
    """An input that is done. path, size, mtime_ns: its source as it was. height, width: of the depth map."""

    run: str
    path: str
    size: int
    mtime_ns: int
    height: int
    width: int
    outputs: dict[str, Placed]


# What the entries of one folder and run have in common: the run, their path without the key, and what follows
# the key in the names of their outputs (a name without the key stands whole, behind a zero byte).
_Origin = tuple[str, str, tuple[str, ...]]


class LedgerState:
    """The last word of a ledger on each key. settings: those of each run, oldest first.

    unfinished: keys whose outputs a run began to place, or that were requeued, and nothing came after.
    """

    def __init__(self) -> None:
        self.settings: dict[str, dict[str, object]] = {}
        self.unfinished: set[str] = set()
        self._done: dict[str, bytes] = {}  # about 280 bytes an input with its key: a million is no trouble
        self._owned: set[str] = set()  # outputs that no entry of `_done` names
        self._origins: list[_Origin] = []
        self._numbers: dict[_Origin, int] = {}

    def get(self, key: str) -> DoneEntry | None:
        """Return what is known of a key that is done."""
        packed = self._done.get(key)
        return self._unpack(key, packed) if packed is not None else None

    def done(self) -> Iterator[tuple[str, DoneEntry]]:
        """Yield the keys that are done, in the order in which they first were."""
        return ((key, self._unpack(key, packed)) for key, packed in self._done.items())

    def runs(self) -> set[str]:
        """Return the runs that made what is done."""
        numbers = {_NUMBERS.unpack_from(packed)[0] for packed in self._done.values()}
        return {self._origins[number][0] for number in numbers}

    def leftovers(self) -> Iterator[str]:
        """Yield the outputs that runs wrote, or were about to write, and that nothing done names any more."""
        return iter(self._owned)

    def owns(self, key: str, name: str) -> bool:
        """Return whether a run wrote, or was about to write, the output `name` of `key`."""
        entry = self.get(key)
        return name in self._owned or (entry is not None and name in entry.outputs)

    def add(self, lines: Iterable[bytes]) -> None:
        """Take in the lines of a ledger, oldest first; a torn or damaged one is left out.

        Most lines that say `begun` are soon followed by one that says `done`: they are dropped unread.
        """
        begun: dict[bytes, bytes] = {}
        for line in lines:
            key, _, outcome = line.partition(_OUTCOME)
            before = begun.pop(key, b"")
            if outcome.startswith(b'begun"'):
                self._take(before)
                begun[key] = line
            else:
                self._settle(before, line)
        for line in begun.values():
            self._take(line)

    def _settle(self, before: bytes, line: bytes) -> None:
        """Take in a line; the one before it, that said `begun`, only where this one is no good `done`."""
        entry = read_usual(line) or parse_line(line)
        if entry.get("outcome") != "done" or not self._finish(entry):
            if entry.get("outcome") != "failed" or not entry.get("unplaced"):
                self._take(before)
            self._take_entry(entry)

    def _take(self, line: bytes) -> None:
        if line:
            self._take_entry(parse_line(line))

    def _take_entry(self, entry: dict[str, Any]) -> None:
        match entry:
            case {"outcome": "begun", "key": str(key), "outputs": list(names)}:
                self._begin(key, names)
            case {"outcome": "done", "key": str(key), "outputs": dict(sizes)} if _are_sizes(sizes.values()):
                self._begin(key, sizes)  # without digests, by version 0.1
            case {"outcome": "requeued", "key": str(key)}:
                self._begin(key, ())
            case {"outcome": "failed", "kept": True}:
                pass  # what stood in the way is still what it was
            case {"outcome": "failed", "key": str(key)}:
                self._forget(key)
                self.unfinished.discard(key)
            case {"run": str(run), "settings": dict(settings)}:
                self.settings[run] = settings

    def _begin(self, key: str, names: Iterable[object]) -> None:
        self._forget(key)
        self._owned.update(name for name in names if isinstance(name, str))
        self.unfinished.add(key)

    def _finish(self, entry: dict[str, Any]) -> bool:
        """Take a key for done; say False where its line is damaged."""
        try:
            key, outputs = entry["key"], entry["outputs"]
            packed = self._pack(key, entry)
        except (KeyError, TypeError, ValueError, AttributeError, struct.error):
            return False
        before = self.get(key)
        if before:
            self._owned.update(before.outputs)  # a file of another format stays, and stays ours
        self._done[key] = packed
        self._owned.difference_update(outputs)
        self.unfinished.discard(key)
        return True

    def _forget(self, key: str) -> None:
        """Take `key` for not done; what it left stays ours."""
        entry = self.get(key)
        if entry:
            del self._done[key]
            self._owned.update(entry.outputs)

    def _pack(self, key: str, entry: Mapping[str, Any]) -> bytes:
        """Return an entry as bytes, without what it shares with others; raises what a damaged one leads to."""
        size, mtime_ns = entry["source"]
        suffixes: tuple[str, ...] = ()
        files = b""
        for name, (output_size, digest) in entry["outputs"].items():
            suffixes += (name[len(key) :] if name.startswith(key) else "\0" + name,)
            files += _FILE.pack(output_size, _read_digest(digest))
        number = self._number_of((entry["run"], _place_of(entry["path"], key), suffixes))
        return _NUMBERS.pack(number, size, mtime_ns, entry.get("height", 0), entry.get("width", 0)) + files

    def _number_of(self, origin: _Origin) -> int:
        number = self._numbers.get(origin)
        if number is None:
            number = self._numbers[origin] = len(self._origins)
            self._origins.append(origin)
        return number

    def _unpack(self, key: str, packed: bytes) -> DoneEntry:
        number, size, mtime_ns, height, width = _NUMBERS.unpack_from(packed)
        run, place, suffixes = self._origins[number]
        path = place + key if place.endswith(os.sep) else place
        files = [Placed(size, digest.hex()) for size, digest in _FILE.iter_unpack(packed[_NUMBERS.size :])]
        outputs = {_name_of(suffix, key): each for suffix, each in zip(suffixes, files, strict=True)}
        return DoneEntry(run, path, size, mtime_ns, height, width, outputs)


def read_state(root: AnyPath) -> LedgerState:
    """Read all files of a folder's ledger; `InputError` for one that cannot be read."""
    history = LedgerState()
    history.add(line for path in list_files(root) for line in read_lines(path))
    return history


def _read_digest(text: str) -> bytes:
    digest = bytes.fromhex(text)
    if len(digest) != 16:
        raise ValueError(text)
    return digest


def _are_sizes(values: Collection[object]) -> bool:
    return bool(values) and all(isinstance(each, int) for each in values)


def _place_of(path: str, key: str) -> str:
    """Return a path without the key at its end: one text for all files of a folder."""
    return path.removesuffix(key) if path.endswith(os.sep + key) else path


def _name_of(suffix: str, key: str) -> str:
    return suffix[1:] if suffix.startswith("\0") else key + suffix
