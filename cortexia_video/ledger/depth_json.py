"""`DIR/depth.json`: what the depth maps of a folder have in common, for formats that hold numbers only.

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
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from cortexia_video.depth_map import KINDS, MEANING
from cortexia_video.errors import InputError, printable
from cortexia_video.errors import describe as describe_error
from cortexia_video.formats.metadata import MARK
from cortexia_video.formats.raw_depth import Chunks
from cortexia_video.formats.registry import FORMATS
from cortexia_video.ledger.entries import OF_LINE, Outputs, Placed
from cortexia_video.ledger.ledger import Ledger
from cortexia_video.ledger.state import LedgerState
from cortexia_video.storage.documents import parse_json
from cortexia_video.storage.paths import AnyPath, open_named

DEPTH_JSON = "depth.json"
_MARK = {"software": MARK.decode()}
_BEGINNING = json.dumps(_MARK, indent=1)[:-2].encode()
_IN_LEDGER = "in_ledger"
_OF_EACH = ("f_px", "f_source", "full_size")  # of an image, not of a folder
_NOT_SAID = ("kind", "preview", "f_px", "intrinsics")  # of a run's settings
_LARGEST = 1 << 20  # bytes

Statement = dict[str, Any]
_log = logging.getLogger(__name__)


class Folder(Outputs, Protocol):
    """An output folder that a file can be written to; every sink is one."""

    @property
    def root(self) -> AnyPath: ...

    def place(self, files: Mapping[str, Chunks]) -> Mapping[str, Placed]:
        """Write files, each atomically."""


def describe(settings: Mapping[str, Any]) -> Statement:
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


def join(statements: Iterable[Statement]) -> Statement:
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


def keep_depth_json(folder: Folder, ledger: Ledger) -> None:
    """Write what the files of a folder have in common with those of the run that begins, before the first.

    It follows from the ledger alone, so that it heals itself. Of partitions that begin at the same time the
    last to write has seen the settings of all.
    """
    said = None
    while said != (said := join(map(describe, ledger.settings_in_use()))):
        write_depth_json(folder, said)
        if ledger.is_alone:
            return


def complete_depth_json(folder: Folder, state: LedgerState) -> None:
    """Write what a folder's files have in common by the ledger's line of each, if every one has a line."""
    if any(folder.holds(name) for name in state.leftovers()):
        return
    said = [{**(state.settings(each.run) or {}), **dict(each.words)} for each in state.made_by()]
    different = {json.dumps(settings, sort_keys=True): settings for settings in said}
    if different:
        write_depth_json(folder, join(describe(different[text]) for text in sorted(different)))


def write_depth_json(folder: Folder, statement: Statement) -> None:
    """Write a statement, atomically, if it is another; a file of somebody else's stays."""
    path = folder.root / DEPTH_JSON
    before, data = _read(path), json.dumps({**_MARK, **statement}, indent=1).encode() + b"\n"
    if before is not None and not _is_ours(before):
        _log.warning("%s is not ours and stays: what depth means is in the ledger", printable(str(path)))
    elif before != data:
        try:
            folder.place({DEPTH_JSON: [data]})
        except OSError as error:  # of this file alone
            _log.warning("cannot write %s: %s", printable(str(path)), describe_error(error))


def read_depth_json(root: AnyPath) -> Statement:
    """Read what a folder's depth.json says; nothing where there is none of ours, or a damaged one."""
    data = _read(root / DEPTH_JSON) or b""
    try:
        statement = parse_json(data, DEPTH_JSON) if _is_ours(data) else None
    except InputError:
        return {}
    return statement if isinstance(statement, dict) else {}


def _is_ours(data: bytes) -> bool:
    """Return whether it begins as ours do; an empty one is what a crash of the machine can leave."""
    return data.startswith(_BEGINNING) or not data


def _read(path: AnyPath) -> bytes | None:
    """Return what is there, if anything is; of what cannot be ours, something that is not."""
    try:
        with open_named(path) as file:
            return file.read(_LARGEST)
    except FileNotFoundError:
        return None
    except OSError:
        return b"?"
