"""`LedgerSummary`: what a folder's ledger says of its images and runs; memory grows by little with them."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import xxhash

from cortexia_video.ledger.ledger import read_last_done, read_ledger
from cortexia_video.ledger.state import read_state
from cortexia_video.reporting.failures import FailureGroups
from cortexia_video.reporting.focal_lengths import FocalLengths
from cortexia_video.storage.paths import AnyPath

Line = Mapping[str, Any]

_FAILURES_SAMPLED = 12


class Meaning(NamedTuple):
    """What the numbers of a depth map are: which model made them, of which weights, and of what kind."""

    model: str
    weights_sha256: str
    kind: str


@dataclass(slots=True)
class Run:
    """A run. started: ISO 8601. end: its last line; None where it was killed, or still goes on."""

    name: str
    settings: Line
    version: str
    started: str
    end: Line | None = None

    @property
    def speed(self) -> Line | None:
        """Return what its clock said, if anything."""
        speed = (self.end or {}).get("speed")
        return speed if isinstance(speed, dict) and speed else None


@dataclass(slots=True)
class LedgerSummary:
    """What became of the images, each counted by the last word on it.

    done: have depth. failed: do not (or another image has the place of theirs). requeued: were found wrong
    by `verify` and wait for the next run. unfinished: a run was about to write them when it ended.
    meanings: how many of the done mean what. sample: lines of done images, in the order of a hash of their
    keys. failed_sample: lines of a few that failed after they were decoded.
    """

    runs: list[Run]
    done: int = 0
    failed: int = 0
    requeued: int = 0
    unfinished: int = 0
    meanings: Counter[Meaning] = field(default_factory=Counter)
    failures: FailureGroups = field(default_factory=FailureGroups)
    focal_lengths: FocalLengths = field(default_factory=FocalLengths)
    sample: list[Line] = field(default_factory=list)
    failed_sample: list[Line] = field(default_factory=list)

    @property
    def images(self) -> int:
        return self.done + self.failed + self.requeued + self.unfinished

    def meaning(self, line: Line) -> Meaning:
        """Return what the numbers of a line's depth are."""
        return _find_meaning(line, {run.name: run for run in self.runs})


def summarise_ledger(root: AnyPath, *, sample: int) -> LedgerSummary:
    """Read the ledger of a folder, a line at a time. sample: the most lines of done images to keep.

    Of a million images, 15 bytes are kept of each focal length, and for a while what `LedgerState` keeps.
    """
    unfinished = read_state(root).unfinished
    words = _read_last_words(root)
    summary = LedgerSummary(words.runs)
    summary.requeued = len(unfinished & words.requeued)
    summary.unfinished = len(unfinished - words.requeued - words.failed.keys())
    _take_failures(summary, root, {*words.failed.values()})
    del unfinished, words
    _take_done(summary, root, sample)
    return summary


class _LastWords(NamedTuple):
    """failed: number of the line, by key, for keys whose last word is `failed`. requeued: keys."""

    runs: list[Run]
    failed: dict[str, int]
    requeued: set[str]


def _read_last_words(root: AnyPath) -> _LastWords:
    """Read what `LedgerState` does not keep."""
    runs: dict[str, Run] = {}
    words = _LastWords([], {}, set())
    for number, line in enumerate(read_ledger(root)):
        match line:
            case {"key": str(key), "outcome": outcome}:
                words.failed.pop(key, None)
                words.requeued.discard(key)
                if outcome == "failed":
                    words.failed[key] = number
                elif outcome == "requeued":
                    words.requeued.add(key)
            case {"run": str(name), "settings": dict(settings)}:
                runs[name] = Run(name, settings, str(line.get("version")), str(line.get("started")))
            case {"end": str(name)} if name in runs:
                runs[name].end = line
    words.runs.extend(runs.values())
    return words


def _take_failures(summary: LedgerSummary, root: AnyPath, numbers: set[int]) -> None:
    """Take in the lines of these numbers."""
    summary.failed = len(numbers)
    for number, line in enumerate(read_ledger(root) if numbers else ()):
        if number in numbers:
            summary.failures.add(line)
            decoded = line.get("stage") in ("estimate", "write")
            if decoded and len(summary.failed_sample) < _FAILURES_SAMPLED:
                summary.failed_sample.append(line)


def _take_done(summary: LedgerSummary, root: AnyPath, sample: int) -> None:
    runs = {run.name: run for run in summary.runs}

    def count(lines: Iterable[Line]) -> Iterable[Line]:
        for line in lines:
            summary.done += 1
            summary.focal_lengths.add(line)
            summary.meanings[_find_meaning(line, runs)] += 1
            yield line

    summary.sample = heapq.nsmallest(sample, count(read_last_done(root)), key=lambda line: _rank(line["key"]))


def _rank(key: str) -> int:
    """Return a number that follows from the key alone and says nothing of it."""
    return xxhash.xxh3_64_intdigest(key.encode(errors="surrogatepass"))


def _find_meaning(line: Line, runs: Mapping[str, Run]) -> Meaning:
    """Return what the line itself says, as those of converted depth do, else what its run does."""
    run = runs.get(line["run"])
    said = line if "model" in line else run.settings if run else {}
    model, weights = (said.get(name) for name in ("model", "weights_sha256"))
    return Meaning(str(model or "unknown"), str(weights or ""), str(line.get("kind")))
