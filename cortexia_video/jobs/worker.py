"""`Worker`: the pipeline around a loaded model in one process, of this machine or of a cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence

from cortexia_video.depth_estimation import DepthEstimator
from cortexia_video.errors import Failure
from cortexia_video.inference.executor import PipelineExecutor
from cortexia_video.jobs.image_task import ImageTask, RecordBegun
from cortexia_video.jobs.run_spec import RunSpec
from cortexia_video.ledger.entries import ItemDone
from cortexia_video.runtime.stage_clock import StageClock, Trace
from cortexia_video.runtime.throughput import MODEL, Usage
from cortexia_video.runtime.workers import count_cores
from cortexia_video.sinks.sink import Sink
from cortexia_video.sources.find import InputFile

_ON_CALLING_THREAD = ("batch", "check", "pack")  # stages that take time of the thread that calls `run`


class Worker:
    """Takes inputs to their outcomes, and tells what it used. Threads may share it.

    sink: open. record_begun: is told before files are placed; all else is recorded by who has the ledger.
    """

    def __init__(
        self,
        spec: RunSpec,
        estimators: Sequence[DepthEstimator],
        sink: Sink,
        record_begun: RecordBegun,
        trace: Trace | None,
    ) -> None:
        self._estimators = estimators
        self._sink = sink
        self._threads = spec.steps.workers
        self._clock = StageClock(trace)
        self._task = ImageTask(estimators[0], sink, record_begun, spec.steps, self._clock)
        self._process_seconds = time.process_time()

    def run(
        self, items: Iterable[InputFile], stop: threading.Event
    ) -> Generator[tuple[InputFile, ItemDone | Failure], None, None]:
        """Yield inputs with their outcomes, each when its files are in place; after `stop`, those under way.

        Nothing that is wrong with one input raises; `OutputLostError` where the output takes no more.
        """
        started, counted = time.thread_time(), self._count_calling_thread()
        yield from self._sink.gather(items, lambda some: self._run(some, stop), self._clock)
        others = self._count_calling_thread() - counted
        self._clock.add("find", 0.0, max(0.0, time.thread_time() - started - others))

    def usage(self) -> Usage:
        """Return what this process used since it has the worker."""
        stages = dict(self._clock.core_seconds)
        stages.pop(MODEL, None)
        process = time.process_time() - self._process_seconds
        return Usage(
            seconds=dict(self._clock.seconds),
            core_seconds={**stages, MODEL: max(0.0, process - sum(stages.values()))},
            device=self._estimators[0].model.device,
            devices=len(self._estimators),
            cores=count_cores(),
            threads=self._threads,
            batch_sizes=self._estimators[0].limits.found,
        )

    def _run(
        self, items: Iterable[InputFile], stop: threading.Event
    ) -> Iterator[tuple[InputFile, ItemDone | Failure]]:
        pipeline: PipelineExecutor[InputFile, ItemDone | Failure] = PipelineExecutor(
            self._estimators,
            prepare=self._task.prepare,
            finish=self._task.finish,
            workers=self._threads,
            stop=stop,
            clock=self._clock,
        )
        return pipeline.run(items)

    def _count_calling_thread(self) -> float:
        return sum(self._clock.core_seconds.get(name, 0.0) for name in _ON_CALLING_THREAD)
