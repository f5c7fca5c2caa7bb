"""The job: every image of the inputs gets depth in the output folder, or an entry that says why not.

What is done about an input is decided here; that it happens all at once is the `engine`'s business.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import get_args

from cortexia_video.depth_estimation import DepthEstimator, Size
from cortexia_video.errors import (
    Failure,
    InputError,
    OutputLostError,
)
from cortexia_video.geometry.intrinsics import load_intrinsics
from cortexia_video.inference.backend_selection import MAX_ERROR, BackendSelector
from cortexia_video.inference.batch_size import BatchSize
from cortexia_video.inference.executor import PipelineExecutor
from cortexia_video.jobs.image_task import Decoding as Decoding
from cortexia_video.jobs.image_task import ImageTask, TaskOptions
from cortexia_video.jobs.outcomes import Changed, Listener, Outcomes, Report
from cortexia_video.jobs.run_spec import Executor, RunSpec
from cortexia_video.jobs.worker import Worker, WorkerMessage, WorkerUsage, settle
from cortexia_video.ledger.depth_json import keep_depth_json
from cortexia_video.ledger.entries import Source
from cortexia_video.ledger.ledger import Ledger
from cortexia_video.ledger.partition import parse_partition
from cortexia_video.runtime.stage_clock import ChromeTrace, StageClock
from cortexia_video.runtime.throughput import MODEL, Speed
from cortexia_video.runtime.workers import choose_workers, count_cores
from cortexia_video.sinks.archives import Packing
from cortexia_video.sources.find import Found, InputFile, find_images
from cortexia_video.sources.frames import decode_readable
from cortexia_video.storage.paths import AnyPath, is_remote, to_path, to_text
from cortexia_video.storage.remote_path import RemotePath

_THREADS_A_CORE = 4  # that wait for addresses
_ON_CALLING_THREAD = ("batch", "check")  # stages of the engine's that take its own time

_log = logging.getLogger(__name__)


def estimate(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    model: str | DepthEstimator | Sequence[DepthEstimator] = "compact",
    recursive: bool = False,
    format: str = "npy",
    preview: bool = False,
    size: Size = "full",
    decode: Decoding = "exact",
    f_px: float | None = None,
    intrinsics: str | os.PathLike[str] | None = None,
    batch_size: BatchSize = 4,
    device: str = "auto",
    workers: int | None = None,
    overwrite: bool = False,
    changed: Changed = "redo",
    partition: str | None = None,
    max_megapixels: float = 200.0,
    commercial_only: bool = False,
    max_error: float = MAX_ERROR,
    profile: str | os.PathLike[str] | None = None,
    on_outcome: Listener | None = None,
    stop: threading.Event | None = None,
    executor: Executor | None = None,
    packing: Packing | None = None,
    **model_options: object,
) -> Report:
    """Estimate depth for every image of `inputs` into the folder `output`; do what is missing or changed.

    inputs: image files, folders and lists, as `sources.files.find_images` takes them.
    model: a name, or estimators already loaded, one for each device, with a size and batch size of their own.
    format: `npy` (float32), `png` (8-bit view) or another of docs/formats.md. preview: also a coloured JPEG.
    size: `full`, each map as large as its image, or `native`, as large as the network gives it.
    decode: `exact`, or `fast`: large JPEGs at 1/2, 1/4 or 1/8, not below twice what the network sees.
    f_px: focal length of every image, in its pixels. intrinsics: a CSV or JSON file of focal lengths by key
    (`intrinsics`). Then comes what EXIF says, then what the model estimates.
    batch_size: images in one call of the model, or `auto`. device: one, or several with commas between.
    workers: threads that decode, and as many that write; as many as cores by default, four times as many
    where addresses must be waited for.
    overwrite: redo what is done, and replace files that no ledger knows.
    changed: what becomes of outputs made with other settings: `redo`, `keep` them, or `refuse` to run.
    partition: "3/16" does the third of sixteen parts; sixteen such runs, anywhere, do all.
    commercial_only: refuse a model by name whose weights are not known to be free for use in a product.
    max_error: a backend or a precision other than the model's reference is refused where its depth differs
    by more, on average over one of the first images; with backend `auto` it is not chosen.
    profile: file for a trace of the run in Chrome's format.
    on_outcome: called after each input with the report so far and its failure, if it failed.
    stop: set it to end early; what the model has taken is finished.
    executor: who does the work, by default this process; `distributed.cluster.Cluster` is many.
    packing: put depth into shards, many maps a file, where each would have a file of its own.

    Raises `InputError`, `ModelError`, `MissingExtraError` or `OutputError` before any depth is written,
    `OutputLostError` when the output can take no more (its `report` says what was done); a later call goes on
    from there.
    """
    inputs = [inputs] if isinstance(inputs, str | os.PathLike) else inputs
    root, stop = to_path(output), stop or threading.Event()
    workers = _choose_threads(workers, [*inputs, root])
    _require_positive(max_megapixels=max_megapixels)
    _require_one_of(decode=(decode, Decoding), changed=(changed, Changed))
    order = RunSpec(
        inputs=[to_text(each) for each in inputs],
        root=root,
        recursive=recursive,
        partition=parse_partition(partition) if partition else None,
        model=model,
        asked={"device": device, "batch_size": batch_size, "size": size, **model_options},
        commercial_only=commercial_only,
        max_error=max_error,
        format=format,
        preview=preview,
        steps=TaskOptions(workers, decode, load_intrinsics(f_px, intrinsics), max_megapixels),
        packing=packing.check() if packing else None,
    )
    _require_some(inputs, recursive, root)
    executor, sink = executor or LocalExecutor(Path(profile) if profile else None), order.open_sink()
    settings = executor.prepare(order)
    refused = _list_sources(order.find()) if changed == "refuse" and not overwrite else ()
    with ExitStack() as stack:
        ledger = stack.enter_context(Ledger(root, settings, order.partition, sink=sink, refuse_changed=refused))
        stack.enter_context(sink)
        keep_depth_json(sink, ledger)
        outcomes = Outcomes(
            sink, ledger, overwrite=overwrite, changed=changed, on_outcome=on_outcome, stop=stop
        )
        passed_over = Counter[str]()
        report = executor.work(outcomes, order.find(passed_over), stop)
    if passed_over:
        _log.warning("no inputs, passed over: %s", _list_kinds(passed_over))
    return report


class LocalExecutor:
    """A `Executor`: this process, with threads."""

    def __init__(self, profile: Path | None) -> None:
        self._profile = profile

    def prepare(self, order: RunSpec) -> Mapping[str, object]:
        self._order = order
        self._choice, self._estimators = order.load()
        return order.describe(self._choice, self._estimators[0])

    def work(self, outcomes: Outcomes, found: Iterator[Found], stop: threading.Event) -> Report:
        with ChromeTrace(self._profile) if self._profile else contextlib.nullcontext() as trace:
            job = EstimateJob(
                self._estimators, self._choice, outcomes, self._order.steps, stop, StageClock(trace)
            )
            return job.pack(found, self._order) if self._order.packing else job.run(found)


class EstimateJob:
    """One run in this process."""

    def __init__(
        self,
        estimators: Sequence[DepthEstimator],
        choice: BackendSelector | None,
        outcomes: Outcomes,
        options: TaskOptions,
        stop: threading.Event,
        clock: StageClock,
    ) -> None:
        self.estimators = estimators
        self.choice = choice
        self.outcomes = outcomes
        self.sink, self.ledger, self.report = outcomes.sink, outcomes.ledger, outcomes.report
        self.options = options
        self.stop = stop
        self.clock = clock
        outcomes.slowest = clock.find_slowest

    def run(self, found: Iterable[Found]) -> Report:
        """Take every input to its outcome; the ledger then ends with the counts and the speed."""
        work = self._settle_engine(self.ledger.claim(self.outcomes.needing_work(found)))
        steps = ImageTask(self.estimators[0], self.sink, self.ledger, self.options, self.clock)
        engine: PipelineExecutor[InputFile, Failure | None] = PipelineExecutor(
            self.estimators,
            prepare=steps.prepare,
            finish=steps.finish,
            workers=self.options.workers,
            stop=self.stop,
            clock=self.clock,
        )
        started, process, thread = time.monotonic(), time.process_time(), time.thread_time()
        try:
            for item, failure in engine.run(work):
                self.outcomes.settle(item, failure)
        except OutputLostError as error:
            error.report = self.report
            raise
        finally:
            self.outcomes.end(time.monotonic() - started)
        if self.report.done:
            self.report.speed = self._measure(time.process_time() - process, time.thread_time() - thread)
        self._record_end()
        return self.report

    def pack(self, found: Iterable[Found], order: RunSpec) -> Report:
        """Take every input to its outcome, a shard of them after the other."""
        assert order.packing is not None
        work = enumerate(self._settle_engine(self.ledger.claim_groups(self.outcomes.needing_work(found))))
        started = time.monotonic()
        worker = None
        try:
            while block := [*islice(work, order.packing.size)]:
                worker = worker or Worker(order, self.estimators, self.sink)
                self._settle_block(dict(block), worker.work(block, self.stop))
        except OutputLostError as error:
            error.report = self.report
            raise
        finally:
            self.outcomes.end(time.monotonic() - started)
        self._record_end()
        return self.report

    def _settle_block(self, items: Mapping[int, InputFile], told: Iterable[WorkerMessage]) -> None:
        for each in told:
            if not isinstance(each, WorkerUsage):
                number, result = each
                settle(self.outcomes, items[number] if number >= 0 else next(iter(items.values())), result)

    def _settle_engine(self, work: Iterator[InputFile]) -> Iterator[InputFile]:
        """Settle on an engine by the first images that can be decoded; nothing to do needs none."""
        if self.choice is None or self.choice.is_settled(self.estimators):
            return work
        taken: list[InputFile] = []

        def take() -> Iterator[InputFile]:
            for item in work:
                taken.append(item)
                yield item

        frames = decode_readable(take(), max_megapixels=self.options.max_megapixels)
        self.estimators = self.choice.settle(self.estimators, map(self.options.given.apply, frames))
        return chain(taken, work)

    def _record_end(self) -> None:
        speed = self.report.speed.as_dict() if self.report.speed else None
        self.ledger.record_end(
            **self.report.counts,
            interrupted=self.report.interrupted,
            seconds=round(self.report.seconds, 3),
            images_per_second=round(self.report.images_per_second, 3),
            batch_sizes=self.estimators[0].limits.found,
            speed=speed,
        )

    def _measure(self, process: float, thread: float) -> Speed:
        """Share the processor's seconds among the stages: what no other stage used is the model's."""
        stages = {name: used for name, used in self.clock.core_seconds.items() if name != MODEL}
        stages["find"] = max(0.0, thread - sum(stages.get(name, 0.0) for name in _ON_CALLING_THREAD))
        stages[MODEL] = max(0.0, process - sum(stages.values()))
        return Speed(
            images=self.report.done + self.report.failed,
            seconds=self.report.seconds,
            cores=count_cores(),
            devices=len(self.estimators),
            busy_seconds=self.clock.seconds.get(MODEL, 0.0),
            core_seconds=stages,
            on_processor=self.estimators[0].model.device.startswith("cpu"),
            disk_seconds=max(self.clock.seconds.get(name, 0.0) for name in ("read", "write"))
            / self.options.workers,
        )


def _choose_threads(given: int | None, places: Iterable[str | os.PathLike[str] | RemotePath]) -> int:
    """Return the number of threads: more than cores where they mostly wait for other machines."""
    if given is None and any(map(is_remote, places)):
        return _THREADS_A_CORE * count_cores()
    return choose_workers(given)


def _require_positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise InputError(f"`{name}` must be more than 0, not {value}")


def _require_one_of(**given: tuple[str, object]) -> None:
    for name, (value, choices) in given.items():
        if value not in get_args(choices):
            raise InputError(f"`{name}` must be one of {', '.join(get_args(choices))}, not {value!r}")


def _list_kinds(passed_over: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(passed_over.items()))


def _require_some(inputs: Sequence[str | os.PathLike[str]], recursive: bool, root: AnyPath) -> None:
    """Look for a first input, so that nothing is made for a folder without images, or a lost mount."""
    passed_over = Counter[str]()
    found = find_images(inputs, recursive=recursive, output=root, passed_over=passed_over)
    if next(found, None) is None:
        places = ", ".join(str(to_path(each)) for each in inputs)
        folders = not recursive and any(is_remote(each) or Path(each).is_dir() for each in inputs)
        hint = "; folders inside are looked into with `recursive=True`" if folders else ""
        seen = f"; passed over: {_list_kinds(passed_over)}" if passed_over else ""
        raise InputError(f"no images in {places}{hint}; what cortexia wrote is never an input{seen}")


def _list_sources(found: Iterable[Found]) -> Iterator[tuple[str, Source]]:
    return ((each.key, each.source) for each in found if isinstance(each, InputFile))
