"""`ClipParts`: what of a clip is done before all of it is, so that a killed run goes on from there.

`.cortexia-parts/HASH/000000.mkv` and so on hold some frames each, as they will be in the whole file;
`000000.npz`, written after it, all that the next part depends on, and the digests of the parts until there.
What is there of another source or of other settings is left out, and so is what a digest does not fit.
"""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from cortexia_video.errors import format_count, printable
from cortexia_video.html.wording import format_seconds
from cortexia_video.ledger.entries import WrittenFile
from cortexia_video.sinks.sink import Sink
from cortexia_video.storage.documents import parse_object
from cortexia_video.storage.paths import LARGEST_FILE, AnyPath, open_named, read_named, require_size

FOLDER = ".cortexia-parts"
_PIECE = 1 << 20  # bytes
_DAMAGED = (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile)
_KEPT = 2  # states: should the last part be damaged, that before it is good


@dataclass(slots=True)
class ClipState:
    """What the next part of a clip depends on.

    parts: those that are done, in order. facts: numbers and texts, for JSON. arrays: of the filter.
    """

    parts: list[WrittenFile] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


class ClipParts:
    """The parts of one clip in an output. made_of: what they depend on; of anything else nothing is used."""

    def __init__(self, sink: Sink, key: str, made_of: Mapping[str, Any]) -> None:
        self._sink = sink
        self._made_of = parse_object(json.dumps({"key": key, **made_of}, default=str).encode())
        self._folder = f"{FOLDER}/{xxhash.xxh3_64_hexdigest(key.encode('utf-8', 'surrogatepass'))}"
        self._written = False

    def load(self) -> ClipState:
        """Return the state after the last part that is whole; a new one where there is none."""
        place = self._sink.root / self._folder
        names = sorted((each.name for each in place.glob("*.npz")), reverse=True)
        self._written = bool(names)
        for name in names:
            state = self._read(name)
            if state and all(self._is_whole(number, part) for number, part in enumerate(state.parts)):
                return state
        return ClipState()

    def keep(self, state: ClipState, part: Sequence[bytes]) -> None:
        """Keep a part that is whole, and then the state after it, which is told of it."""
        self._written = True
        number = len(state.parts)
        (placed,) = self._sink.place({self._name(number): part}).values()
        state.parts.append(placed)
        text = json.dumps({"of": self._made_of, "facts": state.facts, "parts": state.parts})
        packed = io.BytesIO()
        arrays: dict[str, Any] = {**state.arrays, "text": np.frombuffer(text.encode(), np.uint8)}
        np.savez(packed, **arrays)
        self._sink.place({self._name(number, ".npz"): [packed.getvalue()]})
        if number >= _KEPT:
            (self._sink.root / self._name(number - _KEPT, ".npz")).unlink(missing_ok=True)

    @contextlib.contextmanager
    def open(self, state: ClipState) -> Iterator[Iterator[IO[bytes]]]:
        """Yield the parts of a state as open files, one after the other."""

        def each() -> Generator[IO[bytes], None, None]:
            for number in range(len(state.parts)):
                with open_named(self._sink.root / self._name(number)) as file:
                    yield file

        parts = each()
        with contextlib.closing(parts):
            yield parts

    def remove(self) -> None:
        """Remove all parts: the clip is done, or its outcome is another."""
        if self._written:
            remove_parts(self._sink, self._folder)

    def _read(self, name: str) -> ClipState | None:
        try:
            said, arrays = _load_state(self._sink.root / self._folder / name)
            if said["of"] != self._made_of:
                return None
            return ClipState([WrittenFile(*each) for each in said["parts"]], said["facts"], arrays)
        except _DAMAGED:
            return None

    def _is_whole(self, number: int, part: WrittenFile) -> bool:
        digest, size = xxhash.xxh3_128(), 0
        try:
            with open_named(self._sink.root / self._name(number)) as file:
                while piece := file.read(_PIECE):
                    digest.update(piece)
                    size += len(piece)
        except OSError:
            return False
        return WrittenFile(size, digest.hexdigest()) == part

    def _name(self, number: int, suffix: str = ".mkv") -> str:
        return f"{self._folder}/{number:06}{suffix}"


def remove_parts(sink: Sink, folder: str = FOLDER) -> None:
    """Remove what `ClipParts` keeps: files by our names, and folders that are then empty."""
    place = sink.root / folder
    for each in place.glob("*"):
        if isinstance(each, Path) and each.is_dir() and not each.is_symlink():
            remove_parts(sink, f"{folder}/{each.name}")
        elif each.suffix in (".mkv", ".npz"):
            each.unlink(missing_ok=True)
    if isinstance(place, Path):
        for above in (place, place.parent):
            if above != sink.root:
                with contextlib.suppress(OSError):
                    above.rmdir()


class UnfinishedClip(NamedTuple):
    """A clip that is not done. frames: that are kept, of so many in all. per_second: of the last parts, or 0.

    undrawn: that are still to be drawn in its preview; they count as frames in `per_second`.
    """

    key: str
    frames: int
    total: int
    per_second: float
    undrawn: int = 0

    def __str__(self) -> str:
        left = (self.total - self.frames + self.undrawn) / self.per_second if self.per_second else None
        time = f", {self.per_second:.1f} per second, {format_seconds(left)} left" if left is not None else ""
        drawn = (
            f", {self.total - self.undrawn} in its preview"
            if self.undrawn and self.frames == self.total
            else ""
        )
        return f"{printable(self.key)}: {self.frames} of {format_count(self.total, 'frame')}{drawn}{time}"


def list_unfinished(root: AnyPath) -> list[UnfinishedClip]:
    """Return the clips of which parts are kept in an output folder, by key."""
    newest: dict[str, list[AnyPath]] = {}
    places: list[AnyPath] = [*(root / FOLDER).glob("*/*.npz")]
    for place in sorted(places, key=str):
        newest.setdefault(str(place.parent), []).append(place)
    found = []
    for places in newest.values():
        try:
            states = [(_load_state(place), place.stat().st_mtime_ns / 1e9) for place in places[-2:]]
            counts = [(state["facts"]["following"], when) for (state, _), when in states]
            rate = 0.0
            if len(counts) == 2 and isinstance(root, Path) and counts[1][1] > counts[0][1]:
                rate = (counts[1][0] - counts[0][0]) / (counts[1][1] - counts[0][1])
            last = states[-1][0][0]
            found.append(UnfinishedClip(last["of"]["key"], counts[-1][0], last["facts"]["total"], rate))
        except _DAMAGED:
            continue
    return sorted(found)


def _load_state(place: AnyPath) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return what a state says, and its arrays."""
    data = io.BytesIO(read_named(place))
    with zipfile.ZipFile(data) as archive:
        require_size(sum(each.file_size for each in archive.infolist()), LARGEST_FILE, str(place))
    with np.load(data) as packed:
        arrays = dict(packed)
    return parse_object(arrays.pop("text").tobytes()), arrays


class FilePieces(Sequence[bytes]):
    """A file as the pieces that a sink takes, none of them in memory for long."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._size = file.seek(0, io.SEEK_END)

    def __len__(self) -> int:
        return (self._size + _PIECE - 1) // _PIECE

    def __getitem__(self, number: Any) -> Any:
        if not 0 <= number < len(self):
            raise IndexError(number)
        self._file.seek(number * _PIECE)
        return self._file.read(_PIECE)
