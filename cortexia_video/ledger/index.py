"""`LedgerIndex`: the lines of a ledger about one output, without reading it whole for each."""

from __future__ import annotations

import contextlib
import json
import mmap
import threading
from array import array
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from cortexia_video.errors import in_words
from cortexia_video.formats.exports import EXPORTS
from cortexia_video.formats.registry import FORMATS, MAPS, PREVIEW
from cortexia_video.ledger.state import list_files, parse_line
from cortexia_video.storage.paths import AnyPath, open_named
from cortexia_video.storage.remote_path import RemotePath

_FEW = 4  # lookups that are worth no index
_OUTCOME = b', "outcome": "'
_OUTPUTS = b'"outputs": {'
_KEY = b'{"key": '
_EXPORTED = (form for export in EXPORTS.values() for form in export.formats)
_SUFFIXES = frozenset(form.suffix for form in (*FORMATS.values(), PREVIEW, *MAPS.values(), *_EXPORTED))


class LedgerIndex:
    """Look up outputs in the files of a folder's ledger, as they are now. Threads may share it.

    The first lookups search from the end: 0.1 s in the 500 MB of a million inputs. Then all lines are put in
    order once, by a hash of their key: 16 bytes per line; where names do not begin with the key, as those of the
    batch script, by a hash of each name, too. Nothing else is kept.
    """

    def __init__(self, root: AnyPath) -> None:
        self._files = [view for path in list_files(root) if (view := _map(path)) is not None]
        self._settings: dict[str, dict[str, Any]] = {}
        self._asked = 0
        self._last: tuple[bytes, dict[str, Any]] = b"", {}  # of the many outputs of a clip each has one line
        self._lock = threading.Lock()
        self._hashes = self._places = np.empty(0, np.int64)

    def find(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the lines about the output `name`, also in a shard, newest first."""
        with self._lock:
            self._asked += 1
            if self._asked == _FEW + 1:
                self._build()
        lines = self._search(name) if self._asked <= _FEW else self._look_up(name)
        entries = ((entry, entry.get("outputs")) for entry in map(self._parse, lines))
        return (
            entry
            for entry, outputs in entries
            if isinstance(outputs, dict | list) and (name in outputs or name in entry.get("inside", ()))
        )

    def settings(self, run: str) -> dict[str, Any]:
        """Return the settings of a run; none where the ledger has lost them."""
        if run not in self._settings:
            needle = f'{{"run": {json.dumps(run)}, '.encode()
            lines = (_line_at(view, at) for view in self._files if (at := view.rfind(needle, 0)) >= 0)
            found = [entry["settings"] for entry in map(parse_line, lines) if "settings" in entry]
            self._settings[run] = found[-1] if found and isinstance(found[-1], dict) else {}
        return self._settings[run]

    def last_end(self) -> dict[str, Any]:
        """Return the line of the last run that ended; none where none did."""
        places = ((view, view.rfind(b'{"end": ', 0)) for view in reversed(self._files))
        return next((parse_line(_line_at(view, at)) for view, at in places if at >= 0), {})

    def _parse(self, line: bytes) -> dict[str, Any]:
        last, entry = self._last
        if line != last:
            self._last = line, (entry := parse_line(line))
        return entry

    def _search(self, name: str) -> Iterator[bytes]:
        needle = json.dumps(name).encode()
        for view in reversed(self._files):
            at = view.rfind(needle, 0)
            while at >= 0:
                yield _line_at(view, at)
                at = view.rfind(needle, 0, view.rfind(b"\n", 0, at) + 1)

    def _build(self) -> None:
        """Sort the places of all lines that have a key in the order of its hash, then of time."""
        hashes, places, place = array("q"), array("q"), 0
        for view in self._files:
            view.seek(0)
            for line in iter(view.readline, b""):
                if line.startswith(_KEY):
                    key, _, rest = line[len(_KEY) :].partition(_OUTCOME)
                    found = [key]
                    names = rest.partition(_OUTPUTS)[2]
                    if names and not names.startswith(key[:-1]) and b', "inside": {' not in names:
                        found += [json.dumps(each).encode() for each in parse_line(line).get("outputs", ())]
                    hashes.extend(map(hash, found))
                    places.extend([place] * len(found))
                place += len(line)
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._places = np.array(hashes)[order], np.array(places)[order]

    def _look_up(self, name: str) -> Iterator[bytes]:
        places: list[int] = []
        for suffix in filter(name.endswith, ("", *_SUFFIXES, f"/{PurePosixPath(name).name}")):
            wanted = hash(json.dumps(name.removesuffix(suffix)).encode())
            begin, end = (int(np.searchsorted(self._hashes, wanted, side)) for side in ("left", "right"))
            places.extend(self._places[begin:end].tolist())
        for place in sorted(places, reverse=True):
            for view in self._files:
                if place < len(view):
                    yield _line_at(view, place)
                    break
                place -= len(view)


def _map(path: AnyPath) -> mmap.mmap | None:
    """Return the file's bytes without reading them; none of an empty one. Raises `InputError`."""
    with in_words(f"cannot read {path}", of=OSError):
        if isinstance(path, RemotePath):  # what an object held stays in memory
            data = path.read_bytes()
            view = mmap.mmap(-1, len(data)) if data else None
            if view:
                view.write(data)
            return view
        with open_named(path) as file, contextlib.suppress(ValueError):
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return None


def _line_at(view: mmap.mmap, place: int) -> bytes:
    """Return the line that a place is in."""
    end = view.find(b"\n", place)
    return view[view.rfind(b"\n", 0, place) + 1 : end if end >= 0 else len(view)]
