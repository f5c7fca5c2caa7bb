"""`status`: how far the runs of a folder are, by its ledger alone; from any machine that can read it."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from cortexia_video.errors import format_count, printable
from cortexia_video.jobs.clip_parts import UnfinishedClip, list_unfinished
from cortexia_video.ledger.ledger import PROGRESS_S
from cortexia_video.ledger.state import (
    BEGINNING_OF_RUN,
    LedgerState,
    Run,
    parse_line,
    read_lines,
    require_ledger,
)
from cortexia_video.runtime.progress import stage, track
from cortexia_video.sources.find import InputFile, find_images
from cortexia_video.storage.paths import AnyPath, to_path
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.storage.system import is_locked

_SILENT_S = 4 * PROGRESS_S  # after which a run that said nothing is taken for ended
_TOLD = 4096  # lines of a ledger between two words on how far it is
_COUNTS = ("found", "done", "skipped", "failed")


@dataclass(frozen=True, slots=True)
class RunStatus:
    """What a run last said of itself. seconds: since it began, then. slowest: the stage to look at first.
    frames: images that are done, and frames of videos.

    died: it has no end, and no process has its ledger; where nobody can tell (at a URL), it is but silent.
    """

    run: str
    model: str
    started: datetime.datetime
    said: datetime.datetime
    ended: bool
    counts: Mapping[str, int]
    seconds: float
    slowest: str | None
    frames: int
    died: bool = False

    @property
    def images_per_second(self) -> float:
        return self.frames / self.seconds if self.seconds else 0.0

    def is_at_work(self, now: datetime.datetime) -> bool:
        return not (self.ended or self.died) and (now - self.said).total_seconds() < _SILENT_S

    def describe(self, now: datetime.datetime) -> str:
        """Return it in one line."""
        silent = _clock((now - self.said).total_seconds())
        state = "ended" if self.ended else "died" if self.died else f"silent for {silent}"
        state = "at work" if self.is_at_work(now) else state
        done, *others = (f"{self.counts[name]} {name}" for name in _COUNTS[1:])
        unit = "images" if self.frames == self.counts["done"] else "frames"
        counts = ", ".join(
            [done if unit == "images" else f"{done} ({format_count(self.frames, 'frame')})", *others]
        )
        slowest = f"; slowest: {self.slowest}" if self.slowest else ""
        began = self.started.strftime("%Y-%m-%d %H:%M:%S")
        took = f"{_clock(self.seconds)}, {self.images_per_second:.2f} {unit}/s{slowest}"
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
        left: Of these, neither done, as they are now, nor failed.
        clips: Videos of which some frames are done: of those at work, half a minute ago; of others as they are kept.
    """

    folder: str
    done: int
    failed: int
    begun: int
    runs: Sequence[RunStatus]
    now: datetime.datetime
    found: int | None = None
    left: int | None = None
    clips: Sequence[UnfinishedClip] = ()

    @property
    def images_per_second(self) -> float:
        """Return the rate of all runs that are at work together; each frame of a video counts."""
        return sum(each.images_per_second for each in self.runs if each.is_at_work(self.now))

    @property
    def seconds_left(self) -> float | None:
        """Return the time that what is left takes at this rate; None where one of both is not known."""
        at_work = [each for each in self.runs if each.is_at_work(self.now) and each.seconds]
        inputs_per_second = sum(each.counts["done"] / each.seconds for each in at_work)
        return self.left / inputs_per_second if self.left is not None and inputs_per_second else None

    def __repr__(self) -> str:
        return f"Status({printable(str(self.folder))}: {self.done} done, {self.failed} failed)"

    def __str__(self) -> str:
        lines = [f"{self.folder}: {self.done} done, {self.failed} failed, {self.begun} begun"]
        lines += [each.describe(self.now) for each in self.runs]
        lines += map(str, self.clips)
        if self.found is not None:
            time = f", {_clock(self.seconds_left)} at this rate" if self.seconds_left is not None else ""
            left = format_count(self.left or 0, "is left", "are left")
            lines.append(f"of {format_count(self.found, 'input')} {left}{time}")
            if self.found == self.left and self.done + self.failed:
                lines.append("none of them is in the ledger: give the inputs that the runs were given")
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
        inputs: Those of the run; they are looked up, which says how many are left.
        recursive: As the run was given it.

    Returns:
        How many are done, failed and begun, by run, and how fast; which run died.

    Raises:
        InputError: There is no ledger.

    Example:
        >>> cx.status("depth", inputs=["photos"]).seconds_left  # doctest: +SKIP
        840.0
    """
    root, latest = to_path(output), dict[AnyPath, str]()  # the last run of each file

    def list_lines() -> Iterator[bytes]:
        for path in require_ledger(root):
            lines = read_lines(path)
            with stage("reading the ledger", "lines") as reading:
                while some := [*islice(lines, _TOLD)]:
                    for line in some:
                        if line.startswith(BEGINNING_OF_RUN):
                            latest[path] = str(parse_line(line).get("run"))
                    yield from some
                    reading.advance(len(some))

    state = LedgerState(list_lines(), counts_only=not inputs)
    # the file of a run is locked while it is on: of those that began in it before, none is
    alive = {
        run for path, run in latest.items() if isinstance(path, RemotePath) or is_locked(path) is not False
    }
    local, now = not isinstance(root, RemotePath), datetime.datetime.now(datetime.UTC)
    counts = state.counts()
    runs = [each for run in state.runs.values() if (each := _describe(run, local and run.name not in alive))]
    clips = {each.key: each for each in list_unfinished(root)}  # by the parts that are kept
    for name in (each.run for each in runs if each.is_at_work(now)):  # what such a run says is newer
        at_work = (state.runs[name].progress or {}).get("clips", {})
        clips |= {key: UnfinishedClip(key, *frames) for key, frames in at_work.items()}
    said = Status(
        folder=printable(str(root)),
        done=counts["done"],
        failed=counts["failed"],
        begun=counts["begun"] + counts["requeued"],
        runs=runs,
        now=now,
        clips=sorted(clips.values()),
    )
    if not inputs:
        return said
    found = left = 0
    given = find_images(inputs, recursive=recursive, output=root, videos=True)
    for item in track(given, "looking inputs up", "inputs"):
        found += 1
        if item.key not in state.failed:
            entry = state.get(item.key)
            left += not (entry and isinstance(item, InputFile) and entry.made_of(item.source))
    return replace(said, found=found, left=left)


def _describe(run: Run, is_over: bool) -> RunStatus | None:
    """Return what a run last said of itself; None where it does not say when it began."""
    started = _parse(run.started)
    if started is None:
        return None
    last = run.end or run.progress or {}
    slowest = (run.speed or {}).get("slowest") or (run.progress or {}).get("slowest")
    return RunStatus(
        run=run.name,
        model=str(run.settings.get("model", "no model")),
        started=started,
        said=_parse(str(last.get("at"))) or started,
        ended=run.end is not None,
        counts={name: int(last.get(name) or 0) for name in _COUNTS},
        seconds=float(last.get("seconds") or 0),
        slowest=str(slowest) if slowest else None,
        frames=int(last.get("frames", last.get("done")) or 0),
        died=is_over and run.end is None,
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
