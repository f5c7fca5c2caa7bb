"""Reading a ledger: which files it is, what a line says, and what all of them come to: `LedgerState`.

For formats that hold numbers only `DIR/depth.json` says what the depth maps have in common, by the ledger alone:
    software       "cortexia_video depth": by this the file is known as ours
    format         a name of docs/formats.md
    kind, unit, larger_is, model, weights_sha256    in the words of `formats.metadata`
    unknown        "nan", where the files themselves do not say it
    view_of        instead of kind, unit, larger_is: the kind that 8-bit views were made from
    in_ledger      words that can differ from file to file: ledger.jsonl has them
    others         what else the numbers depend on, as the ledger's settings have it
A word that is not the same for all files is in `in_ledger` and nowhere else: no mean, no majority, no latest.
"""

from __future__ import annotations

import json
import logging
import os
import re
import struct
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from cortexia_video.depth_map import KINDS, MEANING
from cortexia_video.errors import InputError, describe, printable, put_in_words
from cortexia_video.formats.metadata import MARK
from cortexia_video.formats.raw_depth import Chunks
from cortexia_video.formats.registry import FORMATS
from cortexia_video.ledger.entries import OF_LINE, Outputs, Source, WrittenFile
from cortexia_video.ledger.object_log import LEDGER_NAME as LEDGER_NAME
from cortexia_video.ledger.object_log import list_segments
from cortexia_video.ledger.partition import Partition
from cortexia_video.ledger.schema import is_sound
from cortexia_video.storage.documents import parse_json, parse_object
from cortexia_video.storage.paths import AnyPath, open_named
from cortexia_video.storage.remote_path import RemotePath

_NUMBERS = struct.Struct("<QIQqII")  # place of the line; origin; the source's size, mtime_ns; height, width
_FILE = struct.Struct("<Q16s")  # size and digest of an output
_DIGEST = re.compile(r"[0-9a-f]{32}")
BEGINNING_OF_RUN = b'{"run": '
_OUTCOME = b', "outcome": "'
_OF_DONE = {"key", "outputs", "run", "path", "source"}  # words that a line of what is done has
_SHARD_NAME = re.compile(r"ledger\.([1-9]\d*)-of-([1-9]\d*)\.jsonl", re.ASCII)

DEPTH_JSON = "depth.json"
_MARK = {"software": MARK.decode()}
_BEGINNING = json.dumps(_MARK, indent=1)[:-2].encode()
_IN_LEDGER = "in_ledger"
_OF_EACH = ("f_px", "f_source", "full_size")  # of an image, not of a folder
_NOT_SAID = ("kind", "preview", "f_px", "intrinsics")  # of a run's settings
_LARGEST_JSON = 1 << 20  # bytes

Statement = dict[str, Any]  # what depth.json says
_log = logging.getLogger(__name__)


class DoneEntry(NamedTuple):
    """An input that is done. path, size, mtime_ns: its source as it was. height, width: of the depth map.

    beside: the digest of what it was made of beside its source, where its line says one.
    """

    run: str
    path: str
    size: int
    mtime_ns: int
    height: int
    width: int
    outputs: dict[str, WrittenFile]
    beside: str | None = None

    def made_of(self, source: Source) -> bool:
        """Return whether a file is, by its size and time of change, the one that this was made of."""
        return (self.size, self.mtime_ns) == source[1:]


@dataclass(slots=True)
class Run:
    """A run. started: ISO 8601. progress, end: its last lines of these; None where it wrote none."""

    name: str
    settings: dict[str, Any]
    version: str
    started: str
    progress: Mapping[str, Any] | None = None
    end: Mapping[str, Any] | None = None

    @property
    def speed(self) -> Mapping[str, Any] | None:
        """Return what its clock said, if anything."""
        return (self.end or {}).get("speed") or None


class Producer(NamedTuple):
    """The run that made a depth map, and what the map's line says itself that else the run's settings say."""

    run: str
    words: tuple[tuple[str, str | None], ...]


class _Origin(NamedTuple):
    """What many entries have in common.

    run, words: as `Producer` has them. around: what is before and behind the key in their paths; None where each
    has a path without its key, which then is behind all else. suffixes: what follows the key in the names of
    their outputs; a name without the key stands whole, behind a zero byte. beside: bytes of
    `DoneEntry.beside`, before those of outputs.
    """

    run: str
    words: tuple[tuple[str, str | None], ...]
    around: tuple[str, str] | None
    suffixes: tuple[str, ...]
    beside: int


class LedgerState:
    """What a ledger comes to, by one pass over its lines, oldest first.

    runs: by name, oldest first. unfinished: keys whose outputs a run began to place, or that were requeued,
    and nothing came after; requeued: of these the latter. failed: of each key whose last word that is, the
    place of the line, as the count of bytes before it. A key can be done and failed: another input then has
    the place of its outputs.
    counts_only: nobody asks what is done, only how much: of a million inputs 150 MB less. Keys are then told
    apart by 60 bits of their hashes: of a million one is taken for another once in two million times.
    """

    def __init__(self, lines: Iterable[bytes] = (), *, counts_only: bool = False) -> None:
        self._counted: set[str | int] | None = set() if counts_only else None  # in the place of `_done`
        self.runs: dict[str, Run] = {}
        self.unfinished: set[str] = set()
        self.requeued: set[str] = set()
        self.failed: dict[str, int] = {}
        self.files: list[tuple[AnyPath, int]] = []  # with their bytes, where `read_state` read them
        self._done: dict[str, bytes] = {}  # about 280 bytes per input with its key: a million is no trouble
        self._owned: set[str] = set()  # outputs that no entry of `_done` names
        self._origins: list[_Origin] = []
        self._numbers: dict[tuple[object, ...], int] = {}
        self._add(lines)

    def get(self, key: str) -> DoneEntry | None:
        """Return what is known of a key that is done."""
        packed = self._done.get(key)
        return self._unpack(key, packed) if packed else None

    def done(self) -> Iterator[tuple[str, DoneEntry]]:
        """Yield the keys that are done, in the order in which they first were."""
        return ((key, self._unpack(key, packed)) for key, packed in self._done.items())

    def places(self) -> array[int]:
        """Return where the line of each key that is done is: how many bytes of the ledger are before it."""
        return array("Q", sorted(_NUMBERS.unpack_from(packed)[0] for packed in self._done.values()))

    def made_by(self) -> set[Producer]:
        """Return what made all that is done."""
        numbers = {_NUMBERS.unpack_from(packed)[1] for packed in self._done.values()}
        return {Producer(*self._origins[number][:2]) for number in numbers}

    def place(self, key: str) -> int:
        """Return where the line of a key that is done is, as `places` has it."""
        place: int = _NUMBERS.unpack_from(self._done[key])[0]
        return place

    def read_line(self, place: int) -> dict[str, Any]:
        """Read the line at a place of the files that `read_state` read; nothing where it is gone."""
        for path, size in self.files:
            if place < size:
                with suppress(OSError), open_named(path) as file:
                    file.seek(place)
                    return parse_line(file.readline())
                return {}
            place -= size
        return {}

    def settings(self, run: str) -> dict[str, Any] | None:
        """Return the settings of a run; None where the ledger has lost them."""
        return self.runs[run].settings if run in self.runs else None

    def counts(self) -> dict[str, int]:
        """Return of how many keys which outcome is the last word."""
        keys = self._done.keys() if self._counted is None else self._counted
        done = len(keys) - sum(self._count_as(key) in keys for key in self.failed)
        begun = len(self.unfinished - self.requeued - self.failed.keys())
        return {"done": done, "failed": len(self.failed), "begun": begun, "requeued": len(self.requeued)}

    def leftovers(self) -> Iterator[str]:
        """Yield the outputs that runs wrote, or were about to write, and that nothing done names any more."""
        return iter(self._owned)

    def owns(self, key: str, name: str) -> bool:
        """Return whether a run wrote, or was about to write, the output `name` of `key`."""
        entry = self.get(key)
        return name in self._owned or (entry is not None and name in entry.outputs)

    def _add(self, lines: Iterable[bytes]) -> None:
        """Add lines; a torn or damaged one is left out.

        Most that say `begun` are soon followed by one that says `done`: they are dropped unread.
        """
        begun: dict[bytes, bytes] = {}
        place = 0
        for line in lines:
            key, _, outcome = line.partition(_OUTCOME)
            before = begun.pop(key, b"")
            if outcome.startswith(b'begun"'):
                if before:
                    self._take(parse_line(before), 0)
                begun[key] = line
            else:
                entry = parse_line(line)
                is_done = entry.get("outcome") == "done" and self._finish(entry, place)
                if not is_done and before and not entry.get("unplaced"):
                    self._take(parse_line(before), 0)
                if not is_done:
                    self._take(entry, place)
            place += len(line)
        for line in begun.values():
            self._take(parse_line(line), 0)

    def add(self, entry: dict[str, Any]) -> None:
        """Add what a line says that was appended; where it lies is not known."""
        if not (entry.get("outcome") == "done" and self._finish(entry, 0)):
            self._take(entry, 0)

    def _take(self, entry: dict[str, Any], place: int) -> None:
        """Add what a line says, unless it is `done`."""
        match entry:
            case {"outcome": "begun", "key": str(key), "outputs": list(names)}:
                self._begin(key, names)
            case {"outcome": "requeued", "key": str(key)}:
                self._begin(key, ())
                self.requeued.add(key)
            case {"outcome": "forgotten", "key": str(key)}:
                self.failed.pop(key, None)
            case {"outcome": "failed", "key": str(key)}:
                if not entry.get("kept"):  # else what stood in the way is still what it was
                    self._forget(key)
                    self.unfinished.discard(key)
                self.requeued.discard(key)
                self.failed[key] = place
            case {"outcome": _}:
                pass  # damaged
            case {"run": str(name), "settings": dict(settings)}:
                self.runs[name] = Run(name, settings, str(entry.get("version")), str(entry.get("started")))
            case {"progress": str(name)} if name in self.runs:
                self.runs[name].progress = entry
            case {"end": str(name)} if name in self.runs:
                self.runs[name].end = entry

    def _begin(self, key: str, names: Iterable[object]) -> None:
        self._forget(key)
        self._owned.update(name for name in names if isinstance(name, str))
        self.unfinished.add(key)
        self.requeued.discard(key)
        self.failed.pop(key, None)

    def _finish(self, entry: dict[str, Any], place: int) -> bool:
        """Count a key as done; return False where its line is damaged."""
        if not entry.keys() >= _OF_DONE:
            return False
        key, outputs = entry["key"], entry["outputs"]
        if self._counted is not None:
            self._counted.add(self._count_as(key))
        else:
            try:
                packed = self._pack(key, entry, place)
            except (KeyError, TypeError, ValueError, AttributeError, struct.error):
                return False
            if before := self.get(key):
                self._owned.update(before.outputs)  # a file of another format stays, and stays ours
            self._done[key] = packed
        if self._owned:
            self._owned.difference_update(outputs)
        if key in self.unfinished:
            self.unfinished.remove(key)
            self.requeued.discard(key)
        self.failed.pop(key, None)
        return True

    def _forget(self, key: str) -> None:
        """Count `key` as not done; what it left stays ours."""
        if entry := self.get(key):
            self._owned.update(entry.outputs)
        self._done.pop(key, None)
        if self._counted is not None:
            self._counted.discard(self._count_as(key))

    def _count_as(self, key: str) -> str | int:
        return key if self._counted is None else hash(key) >> 4  # an int of 32 bytes

    def _pack(self, key: str, entry: Mapping[str, Any], place: int) -> bytes:
        """Return an entry as bytes, without what it shares with others; raises what a damaged one leads to."""
        (size, mtime_ns), path, said = entry["source"], entry["path"], entry.get("beside")
        beside = bytes.fromhex(said) if said and _DIGEST.fullmatch(said) else b""
        files, suffixes = beside, []
        for name, (output_size, digest) in entry["outputs"].items():
            suffixes.append(name[len(key) :] if name.startswith(key) else "\0" + name)
            files += _FILE.pack(output_size, bytes.fromhex(digest))
        before, shared, behind = path.rpartition(key)
        words = [(name, entry[name]) for name in OF_LINE if name in entry]
        around = (before, behind) if shared else None
        origin = (entry["run"], tuple(words), around, tuple(suffixes), len(beside))
        number = self._numbers.get(origin)
        if number is None:
            number = self._numbers[origin] = len(self._origins)
            self._origins.append(_Origin(*origin))
        shape = entry.get("height", 0), entry.get("width", 0)
        own = b"" if shared else path.encode(errors="surrogatepass")
        return _NUMBERS.pack(place, number, size, mtime_ns, *shape) + files + own

    def _unpack(self, key: str, packed: bytes) -> DoneEntry:
        _, number, size, mtime_ns, height, width = _NUMBERS.unpack_from(packed)
        run, _, around, suffixes, length = self._origins[number]
        begin = _NUMBERS.size + length
        end = begin + len(suffixes) * _FILE.size
        path = key.join(around) if around else packed[end:].decode(errors="surrogatepass")
        outputs = {}
        files = _FILE.iter_unpack(packed[begin:end])
        for suffix, (output_size, digest) in zip(suffixes, files, strict=True):
            name = suffix[1:] if suffix.startswith("\0") else key + suffix
            outputs[name] = WrittenFile(output_size, digest.hex())
        beside = packed[_NUMBERS.size : begin].hex() or None
        return DoneEntry(run, path, size, mtime_ns, height, width, outputs, beside)


def read_state(root: AnyPath, names: Sequence[AnyPath] | None = None) -> LedgerState:
    """Read all files of a folder's ledger, or those that are named; `InputError` for one that cannot be read."""
    files: list[tuple[AnyPath, int]] = []

    def list_lines() -> Iterator[bytes]:
        for path in list_files(root) if names is None else names:
            size = 0
            for line in read_lines(path):
                size += len(line)
                yield line
            files.append((path, size))

    state = LedgerState(list_lines())
    state.files = files
    return state


def name_partition(partition: Partition) -> str:
    """Return the name of the file of a partition."""
    return f"ledger.{partition.index}-of-{partition.count}.jsonl"


def is_ledger(name: str) -> bool:
    """Return whether a file's name is that of a ledger."""
    return name == LEDGER_NAME or _SHARD_NAME.fullmatch(name) is not None


def list_partitions(root: AnyPath) -> dict[Path, Partition]:
    """List the files of partitions in a folder, in order; `InputError` where it cannot be listed."""
    if isinstance(root, RemotePath):
        return {}
    return _pick_partitions(root, _list_names(root))


def list_files(root: AnyPath) -> Sequence[AnyPath]:
    """List the files of a ledger: `ledger.jsonl`, then those of partitions, whose lines are all newer.

    Raises `InputError` where the folder cannot be listed.
    """
    if isinstance(root, RemotePath):
        return list_segments(root)
    names = _list_names(root)
    return [*([root / LEDGER_NAME] if LEDGER_NAME in names else []), *_pick_partitions(root, names)]


def require_ledger(root: AnyPath) -> Sequence[AnyPath]:
    """List the files of a ledger; raise `InputError` for a folder that no run wrote to."""
    files = list_files(root)
    if not files:
        raise InputError(f"no ledger in {root}: give the output folder of a run")
    return files


def _pick_partitions(root: Path, names: Iterable[str]) -> dict[Path, Partition]:
    matches = [match for name in names if (match := _SHARD_NAME.fullmatch(name))]
    partitions = sorted(Partition(int(match[1]), int(match[2])) for match in matches)
    return {root / name_partition(each): each for each in partitions}


def _list_names(root: Path) -> list[str]:
    try:
        return os.listdir(root)  # noqa: PTH208 - names, not paths, are matched
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise put_in_words(error, f"cannot list {root}") from error


def read_lines(path: AnyPath) -> Iterator[bytes]:
    """Yield the lines of a file; `InputError` where it cannot be read."""
    try:
        with open_named(path) as file:
            yield from file
    except OSError as error:
        raise put_in_words(error, f"cannot read {path}") from error


def parse_line(line: bytes) -> dict[str, Any]:
    """Read one line of a run's ledger; a torn or damaged one gives nothing."""
    entry = parse_object(line)
    return entry if is_sound(entry) else {}


# ---- depth.json --------------------------------------------------------------------------------------------


class Folder(Outputs, Protocol):
    """An output folder that a file can be written to; every sink is one."""

    @property
    def root(self) -> AnyPath: ...

    def place(self, files: Mapping[str, Chunks]) -> Mapping[str, WrittenFile]:
        """Write files, each atomically."""


def describe_settings(settings: Mapping[str, Any]) -> Statement:
    """Return what the outputs of a run with these settings have in common."""
    form, kind = FORMATS.get(str(settings.get("format"))), settings.get("kind")
    words = {name: value for name, value in settings.items() if name not in _NOT_SAID}
    if kind in KINDS:
        is_view = form is not None and form.decode is None
        words |= {"view_of": kind} if is_view else {"kind": kind, **MEANING[kind]}
    if form and form.decode and not form.holds_metadata:
        words["unknown"] = "nan"
    unsure = [name for name in OF_LINE if name not in settings]
    return {**words, _IN_LEDGER: [*_OF_EACH, *unsure]}


def join_statements(statements: Iterable[Statement]) -> Statement:
    """Keep what all statements say alike; name the rest in `in_ledger`."""
    every = [*statements]
    names = dict.fromkeys(name for each in every for name in each if name != _IN_LEDGER)
    missing = object()
    alike = {
        name: every[0][name]
        for name in names
        if all(each.get(name, missing) == every[0].get(name, missing) for each in every)
    }
    unsure = [name for each in every for name in each.get(_IN_LEDGER, ())]
    return {**alike, _IN_LEDGER: [*dict.fromkeys([*unsure, *(name for name in names if name not in alike)])]}


def complete_depth_json(folder: Folder, state: LedgerState) -> None:
    """Write what a folder's files have in common by the ledger's line of each, if every one has a line."""
    if any(folder.holds(name) for name in state.leftovers()):
        return
    said = [{**(state.settings(each.run) or {}), **dict(each.words)} for each in state.made_by()]
    different = {json.dumps(settings, sort_keys=True): settings for settings in said}
    if different:
        write_depth_json(
            folder, join_statements(describe_settings(different[text]) for text in sorted(different))
        )


def write_depth_json(folder: Folder, statement: Statement) -> None:
    """Write a statement, atomically, if it is another; a file of somebody else's stays."""
    path = folder.root / DEPTH_JSON
    before, data = _read_json(path), json.dumps({**_MARK, **statement}, indent=1).encode() + b"\n"
    if before is not None and not _is_our_json(before):
        _log.warning("%s is not ours and stays: what depth means is in the ledger", printable(str(path)))
    elif before != data:
        try:
            folder.place({DEPTH_JSON: [data]})
        except OSError as error:  # of this file alone
            _log.warning("cannot write %s: %s", printable(str(path)), describe(error))


def read_depth_json(root: AnyPath) -> Statement:
    """Read what a folder's depth.json says; nothing where there is none of ours, or a damaged one."""
    data = _read_json(root / DEPTH_JSON) or b""
    try:
        statement = parse_json(data, DEPTH_JSON) if _is_our_json(data) else None
    except InputError:
        return {}
    return statement if isinstance(statement, dict) else {}


def _is_our_json(data: bytes) -> bool:
    """Return whether it begins as ours do; an empty one is what a crash of the machine can leave."""
    return data.startswith(_BEGINNING) or not data


def _read_json(path: AnyPath) -> bytes | None:
    """Return what is there, if anything is; of what cannot be ours, something that is not."""
    try:
        with open_named(path) as file:
            return file.read(_LARGEST_JSON)
    except FileNotFoundError:
        return None
    except OSError:
        return b"?"
