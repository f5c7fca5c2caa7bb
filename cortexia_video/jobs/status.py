"""`status`: how far the runs of a folder are, by its ledger alone; from any machine that can read it."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import xxhash

from cortexia_video.errors import printable
from cortexia_video.ledger.ledger import PROGRESS_S, read_ledger, require_ledger
from cortexia_video.sources.find import find_images
from cortexia_video.storage.paths import to_path

_SILENT_S = 4 * PROGRESS_S  # after which a run that said nothing is taken for ended
_COUNTS = ("found", "done", "skipped", "failed")
_OUTCOMES = ("begun", "done", "failed", "requeued")


@dataclass(frozen=True, slots=True)
class RunStatus:
    """What a run last said of itself. seconds: since it began, then. slowest: the stage to look at first."""

    run: str
    model: str
    started: datetime.datetime
    said: datetime.datetime
    ended: bool
    counts: Mapping[str, int]
    seconds: float
    slowest: str | None

    @property
    def images_per_second(self) -> float:
        return self.counts["done"] / self.seconds if self.seconds else 0.0

    def is_at_work(self, now: datetime.datetime) -> bool:
        return not self.ended and (now - self.said).total_seconds() < _SILENT_S

    def describe(self, now: datetime.datetime) -> str:
        """Return it in one line."""
        silent = _clock((now - self.said).total_seconds())
        state = "ended" if self.ended else "at work" if self.is_at_work(now) else f"silent for {silent}"
        counts = ", ".join(f"{self.counts[name]} {name}" for name in _COUNTS[1:])
        slowest = f"; slowest: {self.slowest}" if self.slowest else ""
        began = self.started.strftime("%Y-%m-%d %H:%M:%S")
        took = f"{_clock(self.seconds)}, {self.images_per_second:.2f} images/s{slowest}"
        return f"run {self.run} of {began} UTC with {printable(self.model)}: {state}: {counts} in {took}"


@dataclass(frozen=True, slots=True)
class Status:
    """How far the runs that write to a folder are.

    Attributes:
        folder: The output folder.
        done: Inputs whose last outcome is that.
        failed: Inputs whose last outcome is that.
        begun: Inputs that a run works on, or did when it ended.
        runs: Oldest first.
        now: When this was asked.
        found: Inputs that were counted, where they were given.
    """

    folder: str
    done: int
    failed: int
    begun: int
    runs: Sequence[RunStatus]
    now: datetime.datetime
    found: int | None = None

    @property
    def images_per_second(self) -> float:
        """Return the rate of all runs that are at work together."""
        return sum(each.images_per_second for each in self.runs if each.is_at_work(self.now))

    @property
    def seconds_left(self) -> float | None:
        """Return the time that what is left takes at this rate; None where one of both is not known."""
        if self.found is None or not self.images_per_second:
            return None
        return max(0, self.found - self.done - self.failed) / self.images_per_second

    def __str__(self) -> str:
        lines = [f"{self.folder}: {self.done} done, {self.failed} failed, {self.begun} begun"]
        lines += [each.describe(self.now) for each in self.runs]
        if self.found is not None:
            left = max(0, self.found - self.done - self.failed)
            time = f", {_clock(self.seconds_left)} at this rate" if self.seconds_left is not None else ""
            lines.append(f"of {self.found} inputs {left} are left{time}")
        return "\n".join(lines)


def status(
    output: str | os.PathLike[str],
    *,
    inputs: Sequence[str | os.PathLike[str]] = (),
    recursive: bool = False,
) -> Status:
    """Return how far the runs that write to a folder are; nothing is written.

    A run says how far it is every half minute.

    Args:
        output: The output folder, a path or a URL.
        inputs: Those of the run; they are counted, which says how much is left.
        recursive: That of the run.

    Returns:
        How many are done, failed and begun, by run, and how fast.

    Raises:
        InputError: There is no ledger.

    Example:
        >>> cx.status("depth", inputs=["photos"]).seconds_left  # doctest: +SKIP
        840.0
    """
    root = to_path(output)
    require_ledger(root)
    reading = _Reading()
    reading.take(read_ledger(root))
    outcomes = [*reading.outcomes.values()]
    said = Status(
        folder=printable(str(root)),
        done=outcomes.count(_OUTCOMES.index("done")),
        failed=outcomes.count(_OUTCOMES.index("failed")),
        begun=outcomes.count(_OUTCOMES.index("begun")) + outcomes.count(_OUTCOMES.index("requeued")),
        runs=list(reading.runs.values()),
        now=datetime.datetime.now(datetime.UTC),
    )
    if not inputs:
        return said
    return replace(said, found=sum(1 for _ in find_images(inputs, recursive=recursive, output=root)))


class _Reading:
    """What the lines of a ledger come to. outcomes: by a hash of the key, a number of `_OUTCOMES`."""

    def __init__(self) -> None:
        self.outcomes: dict[int, int] = {}
        self.runs: dict[str, RunStatus] = {}

    def take(self, lines: Iterable[dict[str, Any]]) -> None:
        for line in lines:
            match line:
                case {"key": str(key), "outcome": outcome} if outcome in _OUTCOMES:
                    name = xxhash.xxh3_64_intdigest(key.encode("utf-8", "surrogatepass"))
                    self.outcomes[name] = _OUTCOMES.index(outcome)
                case {"run": str(run), "settings": dict(settings), "started": str(started)}:
                    self._begin(run, str(settings.get("model", "no model")), started)
                case {"progress": str(run), "at": str(at)}:
                    self._hear(run, line, at, line.get("slowest"), ended=False)
                case {"end": str(run)}:
                    slowest = (line.get("speed") or {}).get("slowest")
                    self._hear(run, line, line.get("at"), slowest, ended=True)

    def _begin(self, run: str, model: str, started: str) -> None:
        at = _parse(started)
        if at:
            self.runs[run] = RunStatus(run, model, at, at, False, dict.fromkeys(_COUNTS, 0), 0.0, None)

    def _hear(self, run: str, line: Mapping[str, Any], at: object, slowest: object, *, ended: bool) -> None:
        known = self.runs.get(run)
        if known is None:
            return
        counts = {name: int(line.get(name) or 0) for name in _COUNTS}
        self.runs[run] = replace(
            known,
            said=_parse(str(at)) or known.said,
            ended=ended,
            counts=counts,
            seconds=float(line.get("seconds") or 0),
            slowest=str(slowest) if slowest else known.slowest,
        )


def _parse(text: str) -> datetime.datetime | None:
    try:
        at = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else None


def _clock(seconds: float | None) -> str:
    """Write seconds as 1:02:03."""
    return str(datetime.timedelta(seconds=round(seconds or 0)))
