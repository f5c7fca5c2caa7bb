"""`PipelineExecutor`: decoding, the model, and encoding at once, joined by queues that are bounded in bytes.

    items -> decode workers -> Batcher -> a model thread for each device -> check -> write workers -> outcomes

The calling thread moves things from one to the next: it groups, stacks and checks, and does nothing that
takes long, so that a model thread does nothing but run its model.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray

from cortexia_video.depth_estimation import (
    DepthEstimator,
    FrameInfo,
    ModelOutput,
    ModelResult,
    PreparedFrame,
    as_model_error,
)
from cortexia_video.errors import Failure, ModelError, ModelOutputError
from cortexia_video.inference.batches import BATCHES_WAITING, Batcher
from cortexia_video.runtime.resources import Mark, StageClock

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

_QUEUE_BYTES = 1 << 29  # of network inputs that wait for a batch, and as much of network outputs
_ON_MODEL = 2  # batches for each device: the one that runs and the one that follows without a pause


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What the model made of one item, and its bytes. in_float32: a second time, after half precision overflowed."""

    origin: FrameInfo
    output: ModelOutput
    in_float32: bool
    nbytes: int


@dataclass(frozen=True, slots=True)
class Skipped(Generic[Outcome]):
    """The result of an item that the model need not see."""

    outcome: Outcome


@dataclass(slots=True)
class _Batch(Generic[Item]):
    items: list[tuple[Item, FrameInfo]]
    pixels: NDArray[Any]
    estimate_fov: bool
    in_float32: bool = False


@dataclass(frozen=True, slots=True)
class _Decoded(Generic[Item, Outcome]):
    item: Item
    prepared: PreparedFrame | Skipped[Outcome] | Failure


@dataclass(frozen=True, slots=True)
class _Inferred(Generic[Item]):
    batch: _Batch[Item]
    answers: list[ModelResult]


@dataclass(frozen=True, slots=True)
class _Finished(Generic[Item, Outcome]):
    item: Item
    outcome: Outcome
    bytes: int


@dataclass(frozen=True, slots=True)
class _Broken:
    error: BaseException


class PipelineExecutor(Generic[Item, Outcome]):
    """Run items through their stages; `run` yields each with its outcome, in the order in which they finish.

    estimators: one for each device, of one model. prepare(item): on a decode worker; a `Skipped` or `Failure`
    goes out at once. finish(item, result): on a write worker. What these raise ends the run; trouble with one item is
    a `Failure` that they return.
    stop: once it is set nothing new is begun; what the model is at is finished.
    """

    def __init__(
        self,
        estimators: Sequence[DepthEstimator],
        *,
        prepare: Callable[[Item], PreparedFrame | Skipped[Outcome] | Failure],
        finish: Callable[[Item, ItemResult], Outcome],
        workers: int,
        stop: threading.Event,
        clock: StageClock,
    ) -> None:
        self._estimators = estimators
        self._estimator = estimators[0]
        self._prepare, self._finish = prepare, finish
        self._workers, self._stop, self._clock = workers, stop, clock
        limits = self._estimator.limits
        self._batcher: Batcher[tuple[Item, PreparedFrame]] = Batcher(limits.of, limits.window)
        self._ready: deque[list[tuple[Item, PreparedFrame]]] = deque()
        self._again: deque[_Batch[Item]] = deque()
        self._to_model: SimpleQueue[_Batch[Item] | None] = SimpleQueue()
        self._events: SimpleQueue[
            _Decoded[Item, Outcome] | _Inferred[Item] | _Finished[Item, Outcome] | _Broken
        ] = SimpleQueue()
        self._exhausted = False
        self._marks: list[Mark] = []  # of the calling thread, until it adds them up
        self._decoding = self._waiting = self._on_model = self._finishing = 0  # items; batches on the model
        self._waiting_bytes = self._finishing_bytes = self._typical_bytes = 0

    def run(self, items: Iterable[Item]) -> Iterator[tuple[Item, Outcome | Failure]]:
        """Yield every item with its outcome. `items` is read as far ahead as there is room, no farther."""
        following = iter(items)
        self._decoders = ThreadPoolExecutor(self._workers, thread_name_prefix="decode")
        self._writers = ThreadPoolExecutor(self._workers, thread_name_prefix="write")
        models = [
            threading.Thread(target=self._serve, args=(estimator,), name=f"model {estimator.model.device}")
            for estimator in self._estimators
        ]
        try:
            for thread in models:
                thread.start()
            while self._advance(following):
                yield from self._take(self._events.get())
        finally:
            while not self._to_model.empty():  # after an error there may be batches that nobody waits for
                self._to_model.get()
            for _ in models:
                self._to_model.put(None)
            self._decoders.shutdown(wait=False, cancel_futures=True)
            self._writers.shutdown(cancel_futures=True)
            self._decoders.shutdown()
            for thread in models:
                if thread.ident:  # it was started
                    thread.join()

    # ---- the calling thread --------------------------------------------------------------------------------

    def _advance(self, following: Iterator[Item]) -> bool:
        """Begin all that there is room for; say whether anything is under way."""
        if self._stop.is_set():
            return bool(self._on_model or self._finishing)

        def begin(item: Item) -> None:
            self._decoding += 1
            self._decoders.submit(self._report, lambda: _Decoded(item, self._prepare(item)))

        batch_size, models = self._estimator.limits.largest, len(self._estimators)
        most = (BATCHES_WAITING + models) * batch_size + self._workers
        while not self._exhausted and self._decoding < 2 * self._workers:
            ahead = self._waiting + self._decoding
            expected = self._waiting_bytes + self._decoding * self._typical_bytes
            if ahead >= most or (expected >= _QUEUE_BYTES and ahead >= batch_size):
                break  # a batch is gathered whatever its size
            try:
                item = next(following)
            except StopIteration:
                self._exhausted = True
            else:
                begin(item)
        while (
            self._on_model < _ON_MODEL * models
            and self._finishing < batch_size + 2 * self._workers  # outputs that wait for a writer
            and self._finishing_bytes < _QUEUE_BYTES
            and (batch := self._next_batch())
        ):
            self._on_model += 1
            self._to_model.put(batch)
        return bool(self._decoding or self._on_model or self._finishing)

    def _next_batch(self) -> _Batch[Item] | None:
        if self._again:
            return self._again.popleft()
        stuck = not self._decoding and (self._exhausted or not self._on_model)
        if self._ready:
            group = self._ready.popleft()
        elif stuck and self._waiting and (oldest := self._batcher.take_oldest()):
            group = oldest
        else:
            return None
        try:
            self._mark("batch")
            pixels = self._estimator.stack([prepared for _, prepared in group])
        except Exception as error:  # noqa: BLE001 - memory of a device has errors of its own
            self._take_apart(group, error)
            return self._next_batch()
        finally:
            self._mark("")
        self._waiting -= len(group)
        self._waiting_bytes -= sum(prepared.pixels.nbytes for _, prepared in group)
        estimate_fov = group[0][1].estimate_fov
        return _Batch([(item, prepared.origin) for item, prepared in group], pixels, estimate_fov)

    def _mark(self, stage: str) -> None:
        self._marks.append((stage, time.perf_counter(), time.thread_time()))

    def _take_apart(self, group: list[tuple[Item, PreparedFrame]], error: Exception) -> None:
        """Halve a batch that does not fit in memory; a single image that does not is given up."""
        item, prepared = group[0]
        self._estimator.record_full_memory(error, prepared, len(group))
        if len(group) > 1:
            middle = len(group) // 2
            self._ready.extendleft((group[middle:], group[:middle]))
            return
        self._waiting -= 1
        self._waiting_bytes -= prepared.pixels.nbytes
        self._decoding += 1  # until the event is taken
        self._events.put(_Decoded(item, Failure(prepared.origin.key, "estimate", as_model_error(error))))

    def _take(
        self, event: _Decoded[Item, Outcome] | _Inferred[Item] | _Finished[Item, Outcome] | _Broken
    ) -> Iterator[tuple[Item, Outcome | Failure]]:
        match event:
            case _Broken(error):
                self._writers.shutdown(cancel_futures=True)
                while not self._events.empty():  # what the writers have finished counts
                    if isinstance(finished := self._events.get(), _Finished):
                        yield finished.item, finished.outcome
                raise error
            case _Decoded(item, Failure() as failure):
                self._decoding -= 1
                yield item, failure
            case _Decoded(item, Skipped(outcome)):
                self._decoding -= 1
                yield item, outcome
            case _Decoded(item, PreparedFrame() as prepared):
                self._decoding -= 1
                self._waiting += 1
                self._typical_bytes = prepared.pixels.nbytes
                self._waiting_bytes += prepared.pixels.nbytes
                self._ready += self._batcher.add(prepared.group, (item, prepared))
            case _Inferred(batch, answers):
                self._on_model -= 1
                yield from self._take_answers(batch, answers)
            case _Finished(item, outcome, count):
                self._finishing -= 1
                self._finishing_bytes -= count
                yield item, outcome

    def _take_answers(
        self, batch: _Batch[Item], answers: list[ModelResult]
    ) -> Iterator[tuple[Item, Outcome | Failure]]:
        """Send good answers to the writers, wrong ones once more through the model where that may help."""
        self._mark("check")
        checks: list[ModelResult] = []
        for answer in answers:
            try:
                checks.append(self._estimator.check(answer))
            except MemoryError as error:
                checks.append(as_model_error(error))
        self._clock.add_up(self._marks)
        self._marks.clear()
        for number, ((item, origin), checked) in enumerate(zip(batch.items, checks, strict=True)):
            wrong = isinstance(checked, ModelOutputError)
            if wrong and not batch.in_float32 and self._estimator.can_run_again:
                pixels = batch.pixels[number : number + 1].copy()
                self._again.append(_Batch([(item, origin)], pixels, batch.estimate_fov, in_float32=True))
                continue
            if isinstance(checked, ModelError):
                yield item, Failure(origin.key, "estimate", checked)
            else:
                if checked.fov_deg is not None:
                    origin = self._estimator.add_focal_length(origin, checked)
                count = checked.values.nbytes + sum(each.nbytes for each in checked.maps.values())
                self._write_later(item, ItemResult(origin, checked, batch.in_float32, count))

    def _write_later(self, item: Item, result: ItemResult) -> None:
        self._finishing += 1
        self._finishing_bytes += result.nbytes
        self._writers.submit(self._report, lambda: _Finished(item, self._finish(item, result), result.nbytes))

    # ---- other threads -------------------------------------------------------------------------------------

    def _report(self, work: Callable[[], _Decoded[Item, Outcome] | _Finished[Item, Outcome]]) -> None:
        """On a worker: do one piece of work and tell the calling thread what came of it."""
        try:
            self._events.put(work())
        except BaseException as error:  # noqa: BLE001 - the calling thread raises it
            self._events.put(_Broken(error))

    def _serve(self, estimator: DepthEstimator) -> None:
        """On a model's thread: run batches until there are no more."""
        while (batch := self._to_model.get()) is not None:
            if self._stop.is_set():
                self._events.put(_Inferred(_Batch([], batch.pixels, False), []))
                continue
            try:
                run = estimator.run_again if batch.in_float32 else estimator.run
                began = [("model", time.perf_counter(), time.thread_time())]
                answers = run(batch.pixels, batch.estimate_fov)
                self._clock.add_up(began, f"{len(batch.items)} image{'s'[: len(batch.items) != 1]}")
                self._events.put(_Inferred(batch, answers))
            except BaseException as error:  # noqa: BLE001 - the calling thread raises it
                self._events.put(_Broken(error))
