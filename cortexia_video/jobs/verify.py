"""`verify`: whether every output is still what the ledger says it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import xxhash

from cortexia_video.errors import Failure, attempt, format_count, printable
from cortexia_video.formats.exports import find_output_format
from cortexia_video.ledger.entries import WrittenFile
from cortexia_video.ledger.ledger import FORGOTTEN, append_to_ledger
from cortexia_video.ledger.state import DoneEntry, LedgerState, read_state, require_ledger
from cortexia_video.runtime.bounded_map import map_bounded
from cortexia_video.runtime.progress import stage
from cortexia_video.runtime.resources import MemoryBudget, choose_workers
from cortexia_video.storage.archive_member import SHARD_SUFFIXES
from cortexia_video.storage.paths import AnyPath, read_named, to_path

MEMORY = 1 << 30  # bytes of files in work at once, over all workers; a larger one is read alone

_Output = tuple[str, str, DoneEntry]  # a key, the name of one of its outputs, what is known of the key


class WrongOutput(NamedTuple):
    """An output that is not as the ledger says. output: its name in the folder. reason: for people."""

    key: str
    output: str
    reason: str

    def __str__(self) -> str:
        return f"wrong: {printable(self.key)}: {printable(self.output)}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Verification:
    """What checking a folder's outputs found.

    Attributes:
        checked: How many outputs.
        wrong: Those that are, and why.
        unfinished: Keys that a run began to write, or that were requeued, and are not done.
        forgotten: How many failures count no more, where that was asked for.
    """

    checked: int
    wrong: list[WrongOutput]
    unfinished: list[str]
    forgotten: int = 0

    def __repr__(self) -> str:
        return f"Verification({self})"

    def __str__(self) -> str:
        outputs = format_count(self.checked, "output")
        return f"{outputs} checked: {self.checked - len(self.wrong)} right, {len(self.wrong)} wrong"


def verify(
    output: str | os.PathLike[str],
    *,
    requeue: bool = False,
    forget_failed: bool = False,
    workers: int | None = None,
) -> Verification:
    """Check every output that the ledger of a folder calls done.

    It exists, has its size and digest, reads as what it is, as large as its map, and is nowhere infinite.
    Without `requeue` and `forget_failed` nothing is written, and a run may be going on.

    Args:
        output: The output folder, a path or a URL.
        requeue: Let the next run do again what is wrong.
        forget_failed: Count no failure of a run until now any more, as those of a run on a wrong folder. An
            input that is still given to the next run is tried again anyway.
        workers: Threads that read and check; one per core by default.

    Returns:
        How many were checked, and what is wrong.

    Raises:
        InputError: There is no ledger.
        OutputError: Another process writes there, and `requeue` or `forget_failed` ask to.

    Example:
        >>> cx.verify("depth").wrong  # doctest: +SKIP
        []
    """
    root, workers = to_path(output), choose_workers(workers)
    require_ledger(root)
    if not (requeue or forget_failed):
        return _verify(root, read_state(root), workers)
    with append_to_ledger(root) as ledger:
        state = read_state(root)
        found = _verify(root, state, workers)
        if requeue:
            for key, reason in {each.key: each.reason for each in found.wrong}.items():
                ledger.append({"key": key, "outcome": "requeued", "reason": reason})
        if forget_failed:
            for key in state.failed:
                ledger.append({"key": key, "outcome": FORGOTTEN, "reason": "asked for"})
            found = replace(found, forgotten=len(state.failed))
        ledger.sync()
    return found


def _verify(root: AnyPath, state: LedgerState, workers: int) -> Verification:
    budget = MemoryBudget(MEMORY)
    results: list[WrongOutput | None] = []

    def check(output: _Output) -> WrongOutput | None:
        key, name, entry = output
        placed, size = entry.outputs[name], (entry.height, entry.width)
        convention = (state.settings(entry.run) or {}).get("convention")
        with budget.hold(placed.size + entry.height * entry.width):
            fault = attempt(key, "decode", lambda: _find_fault(root, name, placed, size, convention))
        if isinstance(fault, Failure):
            gone = isinstance(fault.error, FileNotFoundError)
            fault = "it is missing" if gone else f"it cannot be read: {fault.reason}"
        return WrongOutput(key, name, fault) if fault else None

    outputs = sum(1 for _ in _list_outputs(state))
    with stage("checking", "outputs", outputs) as begun:
        for result in map_bounded(_list_outputs(state), check, workers=workers, ordered=False):
            results.append(result)
            begun.advance()
    # of a shard, each key that is in it
    shards = {each.output: each for each in results if each and each.output.endswith(SHARD_SUFFIXES)}
    wrong = [each for each in results if each and each.output not in shards]
    for key, entry in state.done() if shards else ():
        wrong += [shards[name]._replace(key=key) for name in entry.outputs if name in shards]
    wrong.sort()
    if wrong:  # a run that is going on may have begun to write them again
        now = read_state(root)
        wrong = [each for each in wrong if now.get(each.key) == state.get(each.key)]
    return Verification(len(results), wrong, sorted(state.unfinished))


def _list_outputs(state: LedgerState) -> Iterator[_Output]:
    """Yield each output; a shard, which is that of many keys, once."""
    shards: set[str] = set()
    for key, entry in state.done():
        for name in entry.outputs:
            if name not in shards:
                yield key, name, entry
            if name.endswith(SHARD_SUFFIXES):
                shards.add(name)


def _find_fault(
    root: AnyPath, name: str, placed: WrittenFile, size: tuple[int, int], convention: object
) -> str | None:
    if ".." in name.split("/") or name.startswith("/"):
        return "its name leads out of the folder"
    path = root / name
    length = path.stat().st_size
    if length != placed.size:
        return f"it has {length} bytes, not {placed.size}"
    data = read_named(path, limit=length)
    if xxhash.xxh3_128_hexdigest(data) != placed.digest:
        return "its content is not what was written"
    form = find_output_format(name, convention)
    fault = attempt(path.name, "decode", lambda: form.check(data, *size)) if form else None
    return f"it cannot be decoded: {fault.reason}" if isinstance(fault, Failure) else fault
