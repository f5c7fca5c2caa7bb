"""`LedgerSummary`: what a folder's ledger says of its images and runs; memory grows by little with them."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import xxhash

from cortexia_video.ledger.lines import LedgerLines
from cortexia_video.ledger.state import LedgerState, Run
from cortexia_video.reporting.alignments import Alignments
from cortexia_video.reporting.failures import FailureGroups
from cortexia_video.reporting.focal_lengths import FocalLengths
from cortexia_video.storage.paths import AnyPath

Line = Mapping[str, Any]

_FAILURES_SAMPLED = 12


class DepthMeaning(NamedTuple):
    """What the numbers of a depth map are: which model made them, of which weights, and of what kind."""

    model: str
    weights_sha256: str
    kind: str


@dataclass(slots=True)
class LedgerSummary:
    """The results of a folder, each image counted by the last line about it.

    done: have depth. failed: do not (or another image has the place of theirs). requeued: were found wrong
    by `verify` and wait for the next run. unfinished: a run was about to write them when it ended.
    clips: videos among the done, with so many `frames`. meanings: how many of the done mean what.
    sample: lines of done images, in the order of a hash of their keys.
    failed_sample: lines of a few that failed after they were decoded.
    """

    runs: list[Run]
    done: int = 0
    failed: int = 0
    requeued: int = 0
    unfinished: int = 0
    clips: int = 0
    frames: int = 0
    meanings: Counter[DepthMeaning] = field(default_factory=Counter)
    failures: FailureGroups = field(default_factory=FailureGroups)
    focal_lengths: FocalLengths = field(default_factory=FocalLengths)
    alignments: Alignments = field(default_factory=Alignments)
    sample: list[Line] = field(default_factory=list)
    failed_sample: list[Line] = field(default_factory=list)

    @property
    def images(self) -> int:
        return self.done + self.failed + self.requeued + self.unfinished

    def meaning(self, line: Line) -> DepthMeaning:
        """Return what the numbers of a line's depth are."""
        return _find_meaning(line, {run.name: run for run in self.runs})


def summarise_ledger(root: AnyPath, *, sample: int) -> LedgerSummary:
    """Read the ledger of a folder by one pass. sample: the most lines of done images to keep.

    Of a million images, 15 bytes are kept of each focal length, and for a while what `LedgerState` keeps.
    """
    with LedgerLines(root) as lines:
        state = LedgerState(lines)
        counts, done, failed = state.counts(), state.places(), sorted(state.failed.values())
        summary = LedgerSummary(
            [*state.runs.values()],
            done=len(done),
            failed=len(failed),
            requeued=counts["requeued"],
            unfinished=counts["begun"],
        )
        del state
        for line in lines.at(failed):
            summary.failures.add(line)
            decoded = line.get("stage") in ("estimate", "write")
            if decoded and len(summary.failed_sample) < _FAILURES_SAMPLED:
                summary.failed_sample.append(line)
        runs = {run.name: run for run in summary.runs}

        def count(found: Iterable[Line]) -> Iterator[Line]:
            for line in found:
                summary.focal_lengths.add(line)
                summary.alignments.add(line)
                if "clip" in line:
                    summary.clips += 1
                    summary.frames += line["clip"]["frames"]
                summary.meanings[_find_meaning(line, runs)] += 1
                yield line

        # by what follows from the key alone and says nothing of it
        summary.sample = heapq.nsmallest(
            sample,
            count(lines.at(done)),
            key=lambda line: xxhash.xxh3_64_intdigest(line["key"].encode(errors="surrogatepass")),
        )
    return summary


def _find_meaning(line: Line, runs: Mapping[str, Run]) -> DepthMeaning:
    """Return what the line itself says, as those of converted depth do, else what its run does."""
    run = runs.get(line["run"])
    said = line if "model" in line else run.settings if run else {}
    model, weights = (said.get(name) for name in ("model", "weights_sha256"))
    return DepthMeaning(str(model or "unknown"), str(weights or ""), str(line.get("kind")))
