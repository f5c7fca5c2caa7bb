"""`Outcomes`: every input of a job ends as done, skipped or failed, and the ledger says which and why."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal, Self, TypeVar

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import Failure, OutputExistsError, OutputLostError
from cortexia_video.html.notebook import write_text
from cortexia_video.images.sniff import IMAGE_SUFFIXES
from cortexia_video.ledger.ledger import PROGRESS_S, Ledger, LookUp
from cortexia_video.runtime.progress import begin_stage
from cortexia_video.runtime.resources import Speed
from cortexia_video.sinks.sink import Sink
from cortexia_video.sources.find import InputFile
from cortexia_video.storage.paths import AnyPath
from cortexia_video.video.container import VIDEO_SUFFIXES

Changed = Literal["redo", "keep", "refuse"]

_Item = TypeVar("_Item", bound=InputFile)

_OF_CLIPS, _NOT_OF_CLIPS = frozenset({"video"}), frozenset({"format", "decode", "size"})  # settings
_OF_PEOPLE = IMAGE_SUFFIXES | VIDEO_SUFFIXES  # of what is never replaced
_FAILURES_KEPT = 1000  # in the report; the ledger has them all
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Report:
    """The results of a run: found == done + skipped + failed, unless it was interrupted.

    Attributes:
        found: How many inputs.
        done: Of these, now.
        skipped: Of these, since an earlier run did them.
        failed: Of these.
        seconds: Of the whole run, by the clock.
        interrupted: Whether it ended early.
        failures: The first of them.
        bytes: Of the outputs of what is done or was skipped.
        kinds: Of depth, and how many of these have it, as far as is known.
        clips: Videos of what is done or was skipped.
        frames: Of these videos.
        images: That are done, now; each frame of a video is one.
        speed: How near the run was to what the machine can do, where it was measured.
        passed_over: Files in folders that may look like inputs and are none, counted by type and remedy.

    Example:
        >>> report = cx.estimate("examples/room_900002.jpg", "depth")
        >>> report.done, report.failed
        (1, 0)
    """

    found: int = 0
    done: int = 0
    skipped: int = 0
    failed: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    failures: list[Failure] = field(default_factory=list)
    bytes: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    clips: int = 0
    frames: int = 0
    images: int = 0
    speed: Speed | None = None
    passed_over: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        counts = f"{self.found} found: {self.done} done, {self.skipped} skipped, {self.failed} failed"
        unit = "images" if self.images == self.done else "frames"
        rate = f", {self.images_per_second:.2f} {unit}/s" if self.done else ""
        return f"{counts}; {self.seconds:.1f} s{rate}"

    def __repr__(self) -> str:
        return f"Report({self})"

    def _repr_html_(self) -> str:
        return write_text(str(self), [str(each) for each in self.failures])

    @property
    def counts(self) -> dict[str, int]:
        """Return the four counts by name."""
        return {name: getattr(self, name) for name in ("found", "done", "skipped", "failed")}

    @property
    def images_per_second(self) -> float:
        """Of what was done; each frame of a video counts."""
        return self.images / self.seconds if self.seconds else 0.0


Listener = Callable[[Report, Failure | None], None]


@dataclass(slots=True)
class _ClipAtWork:
    """first: of its frames, done before this run. to_draw: in a preview. since: when. said: what the ledger says."""

    first: int
    to_draw: int
    since: float
    frames: int = 0
    said: list[float] = field(default_factory=list)


class Outcomes:
    """The outcomes of one run, counted in `report`. All of it on one thread; a context manager around the work.

    doing: the work in a word, such as "estimating". count: finds the inputs once more, to count them.
    overwrite: redo what is done, and replace files that no ledger knows.
    changed: what becomes of outputs made with other settings, `redo` or `keep`.
    on_outcome: called after each input. stop: no further input is taken once it is set. beside: gives the digest of
    what else than its source an input is made of, "" for nothing; the attribute has what lines say of it, by the key
    of what is at work.
    """

    def __init__(
        self,
        sink: Sink,
        ledger: Ledger,
        *,
        doing: str,
        count: Callable[[], Iterable[object]] | None = None,
        overwrite: bool,
        changed: Changed,
        on_outcome: Listener | None,
        stop: threading.Event,
        beside: Callable[[InputFile], str] | None = None,
    ) -> None:
        self.report = Report()
        self._find_beside, self.beside = beside, dict[str, Mapping[str, str]]()
        self._doing, self._count = doing, count
        self.sink = sink
        self.ledger = ledger
        self._overwrite = overwrite
        self._changed = changed
        self._on_outcome = on_outcome or (lambda report, failure: None)
        self._stop = stop
        self._all_found = False
        self._began = self._recorded = time.monotonic()
        self._clips: dict[str, _ClipAtWork] = {}
        self._noting = threading.Lock()
        self.slowest: Callable[[], str | None] = lambda: None  # names the slowest stage so far
        self._told = False  # that outputs of other settings are here

    def needing_work(self, found: Iterable[_Item | Failure]) -> Iterator[_Item]:
        """Yield the inputs that are to be done; the outcome of the others is recorded here."""
        for item in found:
            if self._stop.is_set():
                return
            self.report.found += 1
            if isinstance(item, Failure):
                self.fail(item)
            elif self._needs_work(item):
                yield item
        self._all_found = True

    def claimed(self, found: Iterable[_Item | Failure]) -> Iterator[_Item]:
        """Yield the inputs that are to be done, and let the ledger say so; what `stop` finds, is left."""
        items = self.ledger.claim(self.needing_work(found))
        while not self._stop.is_set() and (item := next(items, None)) is not None:
            yield item

    def record(self, item: InputFile, failure: Failure | None, images: int = 1) -> None:
        """Count an input that was worked on, of so many images; of one that is done the ledger has the line."""
        self.beside.pop(item.key, None)
        if failure:
            self.fail(failure, item)
        else:
            self.report.done += 1
            self.report.images += images
            self.stage.advance()
            self._on_outcome(self.report, None)
        with self._noting:
            self._clips.pop(item.key, None)
            self._record_progress(time.monotonic())

    def note_frames(self, key: str, frames: int, total: int, undrawn: int) -> None:
        """Note how many of a clip's frames are done, and how many a preview still lacks; on any thread."""
        with self._noting:
            now = time.monotonic()
            clip = self._clips.setdefault(key, _ClipAtWork(frames, undrawn, now))
            seconds, through = now - clip.since, frames - clip.first + clip.to_draw - undrawn
            rate = round(through / seconds, 3) if seconds > 0 else 0.0
            clip.frames, clip.said = frames, [frames, total, rate, *([undrawn] if clip.to_draw else [])]
            self._record_progress(now)

    def _record_progress(self, now: float) -> None:
        if now - self._recorded < PROGRESS_S:
            return
        self._recorded = now
        clips = {key: clip.said for key, clip in self._clips.items()}
        frames = self.report.images + sum(clip.frames - clip.first for clip in self._clips.values())
        self.ledger.record_progress(
            **self.report.counts,
            seconds=round(now - self._began, 3),
            slowest=self.slowest(),
            **({"clips": clips} if clips else {}),
            **self._count_frames(frames),
        )

    def _count_frames(self, frames: int) -> dict[str, int]:
        """Return how many images and frames of videos are done, where that is not the number of inputs."""
        return {"frames": frames} if frames != self.report.done else {}

    def fail(self, failure: Failure, item: InputFile | None = None) -> None:
        """Record and count an input that failed."""
        self.ledger.record_failure(failure, item.source.path if item else None)
        self.report.failed += 1
        self.stage.advance(note=f"{self.report.failed:,} failed")
        if len(self.report.failures) < _FAILURES_KEPT:
            self.report.failures.append(failure)
        self._on_outcome(self.report, failure)

    def __enter__(self) -> Self:
        find = self._count
        self.stage = begin_stage(
            self._doing, "inputs", count=(lambda: sum(1 for _ in find())) if find else None
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        """Complete the report, which also an `OutputLostError` then has."""
        self.stage.end()
        report = self.report
        report.bytes, report.kinds = self.ledger.bytes, self.ledger.kinds
        report.clips, report.frames = self.ledger.clips, self.ledger.frames
        report.seconds = time.monotonic() - self._began
        report.failures.sort(key=lambda failure: failure.key)
        unsettled = not self._all_found or report.found > report.done + report.skipped + report.failed
        report.interrupted = self._stop.is_set() and unsettled
        if isinstance(error, OutputLostError):
            error.report = report

    def record_end(self, **more: object) -> None:
        """Append the counts to the ledger. more: what else the job has to say of its end."""
        report = self.report
        self.ledger.record_end(
            found_all=self._all_found,
            **report.counts,
            interrupted=report.interrupted,
            seconds=round(report.seconds, 3),
            images_per_second=round(report.images_per_second, 3),
            **self._count_frames(report.images),
            **({"passed_over": {**report.passed_over}} if report.passed_over else {}),
            **more,
        )

    def _needs_work(self, item: InputFile) -> bool:
        """Return whether an input is to be done; one that is done, or that must not be, is recorded here."""
        if self.sink.refuse and (refused := self.sink.refuse(item.key)):
            self.fail(Failure(item.key, "write", refused), item)
            return False
        others = _NOT_OF_CLIPS if item.is_clip else _OF_CLIPS
        known = self.ledger.look_up(item.key, item.source, besides=others)
        beside = self._find_beside(item) if self._find_beside else ""
        if beside and known.state != "missing":
            said = self.ledger.read_beside(item.key)
            # of what other settings made, `changed` decides where no digest is said
            if said != beside and (said or known.state == "done"):
                known = known._replace(state="missing")
        state, other, is_moved, outputs = LookUp("missing") if self._overwrite else known
        if state == "changed" and not self._told:
            self._told = True
            fate = "kept" if self._changed == "keep" else "redone"
            settings = self.ledger.difference(item.key)
            _log.warning("outputs made with other settings (%s) are %s", settings, fate)
        good = state == "done" or (state == "changed" and self._changed == "keep")
        if good and other is None:
            if is_moved:
                self.ledger.record_moved(item.key, item.source)
            self.report.skipped += 1
            self.ledger.count_kept(item.key, outputs, is_clip=item.is_clip)
            self.stage.skip()
            self._on_outcome(self.report, None)
            return False
        obstacle = self._find_obstacle(item, other)
        if obstacle:
            self.fail(Failure(item.key, "write", OutputExistsError(obstacle)), item)
        elif beside:
            self.beside[item.key] = {"beside": beside}
        return obstacle is None

    def require_own(self, key: str, names: Iterable[str]) -> None:
        """Raise `OutputExistsError` for files in the place of outputs of `key` that must stay; on any thread."""
        if obstacle := self._find_others(key, names):
            raise OutputExistsError(obstacle)

    def _find_obstacle(self, item: InputFile, other: str | None) -> str | None:
        """Return why the outputs of an input must not be placed, if that is so. other: whose depth is there."""
        names = self.sink.output_names(item.key, is_clip=item.is_clip)
        is_folder = names and names[0].startswith(f"{item.key}/")  # of a clip's frames
        if is_folder and self.sink.holds(item.key) and not self.ledger.owns(item.key, names[0]):
            return (
                f"{item.key} exists already, where the folder of its frames would be: choose another `output`"
            )
        if obstacle := self._find_others(item.key, names):
            return obstacle
        if other:
            return f"its place holds the depth of {other}: choose another `output`, or `overwrite=True`"
        return None

    def _find_others(self, key: str, names: Iterable[str]) -> str | None:
        """Return why one of the files in the place of outputs of `key` must stay, if one must."""
        for name in names:
            if not self.sink.holds(name) or self.ledger.owns(key, name):
                continue
            if PurePath(name).suffix in _OF_PEOPLE and not self.sink.holds_own(name):
                kind = "an image" if PurePath(name).suffix in IMAGE_SUFFIXES else "a video"
                return f"{name} exists already, {kind} that is not ours: choose another `output`"
            if not self._overwrite:
                return f"{name} exists already and the ledger does not know it: `overwrite=True` replaces it"
        return None


@contextmanager
def open_outcomes(
    root: AnyPath,
    settings: Mapping[str, object],
    sink: Sink,
    *,
    follows: bool = False,
    **of_outcomes: Any,
) -> Iterator[Outcomes]:
    """Open a folder for a job that does again what other settings made: its ledger, its sink, its outcomes.

    settings: what the outputs depend on; those that are not given are left out. follows: as `Ledger` takes it.
    of_outcomes: what `Outcomes` takes besides.
    """
    given = {name: each for name, each in settings.items() if each}
    with Ledger(root, given, sink=sink, follows=follows) as ledger, sink:
        yield Outcomes(sink, ledger, changed="redo", **of_outcomes)


def facts_of(depth: DepthMap) -> dict[str, object]:
    """Return what a ledger's line says of a depth map; the model is the run's."""
    height, width = depth.values.shape
    facts: dict[str, object] = {"height": height, "width": width, "kind": depth.kind}
    facts |= {"f_px": depth.f_px, "f_source": depth.f_source}
    facts |= {"projection": depth.projection} if depth.projection != "perspective" else {}
    facts |= {"scale_from": depth.scale_from} if depth.scale_from else {}
    aligned = depth.alignment
    facts |= {"aligned_by": aligned.by, "alignment": aligned.as_dict()} if aligned else {}
    return facts | ({"full_size": depth.full_size} if depth.full_size else {})
