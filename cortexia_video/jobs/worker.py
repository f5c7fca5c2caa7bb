"""`Worker`: the engine on one block of inputs after another, here or in a process of a cluster."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import Any, NamedTuple

from cortexia_video.depth_estimation import DepthEstimator, ModelResult
from cortexia_video.errors import CortexiaError, Failure, OutputLostError, Stage
from cortexia_video.inference.executor import PipelineExecutor
from cortexia_video.jobs.image_task import ImageTask
from cortexia_video.jobs.outcomes import Outcomes
from cortexia_video.jobs.run_spec import RunSpec
from cortexia_video.ledger.entries import Placed, Source
from cortexia_video.runtime.stage_clock import StageClock
from cortexia_video.runtime.workers import count_cores
from cortexia_video.sinks.archives import Packed, PackSink
from cortexia_video.sinks.sink import Sink
from cortexia_video.sources.find import InputFile
from cortexia_video.sources.frames import decode_readable

_COMPARED_ON = 16  # inputs, at most, that are tried for images to compare a backend on


class ItemDone(NamedTuple):
    """An image whose files are in place: what a ledger's line says of it."""

    outputs: dict[str, Placed]
    facts: dict[str, object]


class ItemFailed(NamedTuple):
    """An image that has no depth: an error without its cause, which may not be one that travels."""

    stage: Stage
    reason: str


class OutputLost(NamedTuple):
    """The output takes no more: what cannot be written, and why."""

    path: str
    reason: str


class WorkerUsage(NamedTuple):
    """What a worker used since it last said so: seconds by the clock, and of cores, by stage."""

    seconds: dict[str, float]
    core_seconds: dict[str, float]
    process_seconds: float
    cores: int
    device: str


ItemResult = ItemDone | ItemFailed | OutputLost
WorkerMessage = tuple[int, ItemResult] | WorkerUsage  # an input's number, and what became of it


def settle(outcomes: Outcomes, item: InputFile, result: ItemResult) -> None:
    """Record and count what a worker told of an input; `OutputLostError` where it could write no more."""
    if isinstance(result, OutputLost):
        raise OutputLostError(result.path, OSError(0, result.reason))
    failure = None
    if isinstance(result, ItemFailed):
        failure = Failure(item.key, result.stage, CortexiaError(result.reason))
    else:
        outcomes.ledger.record_done(item.key, item.source, result.outputs, **result.facts)
    outcomes.settle(item, failure)


class Worker:
    """Takes blocks of inputs to their outcomes; records nothing: who has the ledger does.

    estimators, sink: loaded and open ones; by default the order's are loaded and opened. Threads may share
    it: then one call at a time is in the model. Nothing that is wrong with one input raises.
    """

    def __init__(
        self, order: RunSpec, estimators: Sequence[DepthEstimator] | None = None, sink: Sink | None = None
    ) -> None:
        loaded = order.load()[1] if estimators is None else estimators
        self._order = order
        self._estimators = [_OneAtATime(each) for each in loaded]
        self._clock, self._kept = StageClock(), _PendingRecords()
        self._sink = sink or ExitStack().enter_context(order.open_sink())  # until the process ends
        self._steps = self._make_steps(self._sink)
        self._telling = threading.Lock()
        self._told = WorkerUsage({}, {}, time.process_time(), 0, "")

    def __call__(self, block: Any) -> Any:
        """Work on the pickled inputs of a table, as Ray Data gives it; give a table of pickled `WorkerMessage`."""
        import pyarrow as pa

        items: list[tuple[int, InputFile]] = [pickle.loads(each.as_py()) for each in block["item"]]
        told = [pickle.dumps(each) for each in self.work(items)]
        return pa.table({"told": pa.array(told, pa.binary())})

    def work(
        self, items: Sequence[tuple[int, InputFile]], stop: threading.Event | None = None
    ) -> list[WorkerMessage]:
        """Take numbered inputs to their outcomes; those that `stop` kept from being begun are not told."""
        stop = stop or threading.Event()
        try:
            results = self._run(items, stop) if self._order.packing is None else self._pack(items, stop)
        except OutputLostError as error:
            results = {-1: OutputLost(str(error.path), error.reason)}
        return [*results.items(), self._tell_used()]

    def _make_steps(self, sink: Sink) -> ImageTask:
        return ImageTask(self._estimators[0], sink, self._kept, self._order.steps, self._clock)

    def _pack(self, items: Sequence[tuple[int, InputFile]], stop: threading.Event) -> dict[int, ItemResult]:
        """Put what is made of a block into one shard; only then is any of it done."""
        packing, inputs = self._order.packing, dict(items)
        assert packing is not None
        with PackSink(self._sink, packing, [item.key for _, item in items]) as pack:
            results = self._run(items, stop, self._make_steps(pack))
            done = {
                inputs[number]: each.facts for number, each in results.items() if isinstance(each, ItemDone)
            }
            if stop.is_set() and len(done) < len(items):
                return {}  # half a shard would come to another name
            packed = pack.close(done)
        return {
            number: _point_to(each, packed) if isinstance(each, ItemDone) else each
            for number, each in results.items()
        }

    def _run(
        self,
        items: Sequence[tuple[int, InputFile]],
        stop: threading.Event,
        steps: ImageTask | None = None,
    ) -> dict[int, ItemResult]:
        numbers = {item.key: number for number, item in items}
        steps = steps or self._steps
        engine: PipelineExecutor[InputFile, Failure | None] = PipelineExecutor(
            self._estimators,
            prepare=steps.prepare,
            finish=steps.finish,
            workers=self._order.steps.workers,
            stop=stop,
            clock=self._clock,
        )
        results: dict[int, ItemResult] = {}
        for item, failure in engine.run(item for _, item in items):
            done = self._kept.take(item.key)
            results[numbers[item.key]] = ItemFailed(failure.stage, failure.reason) if failure else done
        return results

    def _tell_used(self) -> WorkerUsage:
        with self._telling:
            now = WorkerUsage(
                dict(self._clock.seconds),
                dict(self._clock.core_seconds),
                time.process_time(),
                count_cores(),
                self._estimators[0].model.device,
            )
            before, self._told = self._told, now
        return now._replace(
            seconds=_subtract(now.seconds, before.seconds),
            core_seconds=_subtract(now.core_seconds, before.core_seconds),
            process_seconds=now.process_seconds - before.process_seconds,
        )


def _point_to(done: ItemDone, packed: Packed) -> ItemDone:
    """Return where in a shard the files of an image are."""
    inside = {name: packed.parts[name] for name in done.outputs}
    return ItemDone(packed.shard, {**done.facts, "inside": inside})


class _OneAtATime(DepthEstimator):
    """An estimator whose model is called by one thread at a time."""

    def __init__(self, estimator: DepthEstimator) -> None:
        super().__init__(estimator.model, size=estimator.size)
        self.limits = estimator.limits
        self._running = threading.RLock()  # what does not fit is run again in halves

    def run(self, pixels: Any, estimate_fov: bool = False) -> list[ModelResult]:
        with self._running:
            return super().run(pixels, estimate_fov)

    def run_again(self, pixels: Any, estimate_fov: bool = False) -> list[ModelResult]:
        with self._running:
            return super().run_again(pixels, estimate_fov)


class _PendingRecords:
    """Takes what a ledger would be told; the process that has the ledger records it."""

    def __init__(self) -> None:
        self._done: dict[str, ItemDone] = {}

    def record_begun(self, key: str, names: Sequence[str]) -> None:
        """Say nothing: the ledger called it begun before it came here."""

    def record_done(self, key: str, source: Source, outputs: Mapping[str, Placed], **facts: object) -> None:
        self._done[key] = ItemDone(dict(outputs), facts)

    def take(self, key: str) -> ItemDone:
        return self._done.pop(key, ItemDone({}, {}))


def settle_settings(order: RunSpec, first: Sequence[InputFile]) -> Mapping[str, object] | str:
    """Load the model once on a worker: give what the outputs depend on, or what is wrong with it.

    A backend or precision that is not the reference's is compared on the first images, as on one machine.
    """
    try:
        choice, estimators = order.load()
        if choice and not choice.is_settled(estimators):
            frames = decode_readable(islice(first, _COMPARED_ON), max_megapixels=order.steps.max_megapixels)
            choice.settle(estimators, map(order.steps.given.apply, frames))
        return order.describe(choice, estimators[0])
    except CortexiaError as error:
        return str(error)


def _subtract(now: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    return {name: used - before.get(name, 0.0) for name, used in now.items()}
