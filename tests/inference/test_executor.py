"""All at once, in bounded memory, each on its own thread, and every item with one outcome."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from conftest import HANG_S
from hypothesis import given, settings
from hypothesis import strategies as st

from cortexia_video import DepthEstimator, Failure, Frame, SyntheticModel
from cortexia_video.depth_estimation import PreparedFrame
from cortexia_video.errors import DecodeError
from cortexia_video.inference import executor as engine
from cortexia_video.inference.executor import ItemResult, PipelineExecutor
from cortexia_video.runtime.resources import StageClock


class Watched(SyntheticModel):
    """Notes its thread and batches; sleeps, fails on level 13, overflows on level 14 in half precision."""

    def __init__(self, seconds: float = 0.0, name: str = "watched") -> None:
        super().__init__(name, short_side=8)
        self.seconds = seconds
        self.threads: set[str] = set()
        self.batches: list[int] = []

    def infer(self, batch: np.ndarray) -> np.ndarray:
        self.threads.add(threading.current_thread().name)
        self.batches.append(len(batch))
        time.sleep(self.seconds)
        if (batch[:, 0, 0, 0] == 13).any():
            raise RuntimeError("poison")
        values = super().infer(batch)
        values[batch[:, 0, 0, 0] == 14] = np.inf
        return values

    def infer_float32(self, batch: np.ndarray) -> np.ndarray:
        self.threads.add(threading.current_thread().name)
        return SyntheticModel.infer(self, batch)


def make_frame(level: int, size: tuple[int, int] = (8, 8)) -> Frame:
    return Frame(str(level), np.full((*size, 3), level % 256, np.uint8))


def make_engine(
    *estimators: DepthEstimator,
    prepare: Callable | None = None,
    finish: Callable | None = None,
    workers: int = 2,
    stop: threading.Event | None = None,
) -> PipelineExecutor:
    return PipelineExecutor(
        estimators,
        prepare=prepare or estimators[0].prepare,
        finish=finish or (lambda item, result: result),
        workers=workers,
        stop=stop or threading.Event(),
        clock=StageClock(),
    )


class SmallHost(DepthEstimator):
    """Has memory for batches of so many images only."""

    def __init__(self, room: int, batch_size: int) -> None:
        super().__init__(Watched(), batch_size=batch_size)
        self.room = room

    def stack(self, batch: Sequence[PreparedFrame]) -> np.ndarray:
        if len(batch) > self.room:
            raise MemoryError
        return super().stack(batch)


@pytest.mark.parametrize("room", [1, 2, 3])
def test_less_memory_of_the_host_makes_batches_smaller(room: int) -> None:
    estimator = SmallHost(room, batch_size=8)
    outcomes = dict(make_engine(estimator).run([make_frame(level) for level in range(1, 13)]))
    assert len(outcomes) == 12
    assert all(isinstance(each, ItemResult) for each in outcomes.values())
    assert max(estimator.model.batches) <= room  # type: ignore[attr-defined]
    assert max(estimator.limits.found.values()) <= max(room, 2)
    assert all(not isinstance(each, Failure) for each in estimator.estimate(map(make_frame, range(1, 13))))


def test_an_image_for_which_there_is_no_memory_is_its_own_failure() -> None:
    estimator = SmallHost(0, batch_size=4)
    frames = [make_frame(level) for level in range(5)]
    for outcomes in (
        make_engine(estimator).run(frames),
        zip(frames, estimator.estimate(frames), strict=True),
    ):
        failures = [outcome for _, outcome in outcomes]
        assert len(failures) == 5
        assert {each.stage for each in failures} == {"estimate"}  # type: ignore[union-attr]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.sampled_from([(8, 8), (8, 16), (24, 8), (8, 40), (8, 72)])),
        max_size=40,
    ),
    st.integers(1, 5),
    st.integers(1, 3),
    st.sampled_from([1, 3000, 1 << 29]),
)
def test_every_item_has_one_outcome(items: list, batch_size: int, devices: int, queue_bytes: int) -> None:
    estimators = [DepthEstimator(Watched(), batch_size=batch_size) for _ in range(devices)]
    frames = [make_frame(level, size) for level, size in items]

    def prepare(frame: Frame) -> PreparedFrame | Failure:
        if frame.image[0, 0, 0] == 15:
            return Failure(frame.key, "decode", DecodeError("broken"))
        return estimators[0].prepare(frame)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "_QUEUE_BYTES", queue_bytes)
        outcomes = list(make_engine(*estimators, prepare=prepare).run(frames))
    assert sorted(map(id, (frame for frame, _ in outcomes))) == sorted(map(id, frames))
    for frame, outcome in outcomes:
        level = int(frame.image[0, 0, 0])
        if level in (13, 15):
            assert outcome.stage == {13: "estimate", 15: "decode"}[level]
        else:
            right = SyntheticModel(short_side=8).infer(estimators[0].prepare(frame).pixels[None])[0]
            np.testing.assert_array_equal(outcome.output.values, right)
            assert outcome.in_float32 == (level == 14)


def test_nothing_but_the_model_runs_on_the_models_thread() -> None:
    threads: dict[str, set[str]] = {"prepare": set(), "finish": set(), "items": set()}
    estimators = [DepthEstimator(Watched(0.005), batch_size=2) for _ in range(2)]

    def note(stage: str) -> None:
        threads[stage].add(threading.current_thread().name)

    def items() -> Iterator[Frame]:
        for level in range(40):
            note("items")
            yield make_frame(level)

    def prepare(frame: Frame) -> PreparedFrame | Failure:
        note("prepare")
        return estimators[0].prepare(frame)

    def finish(frame: Frame, result: ItemResult) -> None:
        note("finish")

    list(make_engine(*estimators, prepare=prepare, finish=finish).run(items()))
    assert threads["items"] == {threading.current_thread().name}
    assert all(name.startswith("decode") for name in threads["prepare"])
    assert all(name.startswith("write") for name in threads["finish"])
    for estimator in estimators:  # both devices had work, each on one thread
        assert estimator.model.threads == {"model cpu"}
        assert sum(estimator.model.batches) >= 10


def test_the_stages_run_at_the_same_time() -> None:
    """The first item's end, the second in the model and the third's beginning wait for each other."""
    together = threading.Barrier(3, timeout=HANG_S)

    class Meeting(Watched):
        def infer(self, batch: np.ndarray) -> np.ndarray:
            if len(self.batches) == 1:
                together.wait()
            return super().infer(batch)

    def prepare(frame: Frame) -> PreparedFrame | Failure:
        if frame.key == make_frame(22).key:
            together.wait()
        return estimator.prepare(frame)

    def finish(frame: Frame, result: ItemResult) -> None:
        if frame.key == make_frame(20).key:
            together.wait()

    estimator = DepthEstimator(Meeting(), batch_size=1)
    engine = make_engine(estimator, prepare=prepare, finish=finish, workers=1)
    assert len(list(engine.run(map(make_frame, range(20, 60))))) == 40
    assert not together.broken


def test_the_next_batch_is_ready_before_the_model_ends_the_last() -> None:
    running, may_end = threading.Event(), threading.Event()

    class Waiting(Watched):
        def infer(self, batch: np.ndarray) -> np.ndarray:
            running.set()
            may_end.wait(HANG_S)
            return super().infer(batch)

    engine = make_engine(DepthEstimator(Waiting(), batch_size=2))
    thread = threading.Thread(target=lambda: list(engine.run(map(make_frame, range(20, 40)))))
    thread.start()
    assert running.wait(HANG_S)
    deadline = time.monotonic() + HANG_S
    while engine._to_model.empty() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert not engine._to_model.empty()
    may_end.set()
    thread.join(HANG_S)
    assert not thread.is_alive()


def test_large_batches_are_gathered_beyond_the_byte_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_QUEUE_BYTES", 8 * 8 * 3 * 2)  # two inputs
    model = Watched(0.002)
    outcomes = list(make_engine(DepthEstimator(model, batch_size=6)).run(map(make_frame, range(20, 80))))
    assert len(outcomes) == 60
    assert model.batches == [6] * 10


@pytest.mark.parametrize(
    ("slow", "queue_bytes", "limit"),
    [
        ("model", 8 * 8 * 3 * 6, 20),  # six inputs
        ("finish", 8 * 8 * 3 * 6, 20),  # fewer than five outputs
        ("finish", 1 << 29, 40),
    ],
)
def test_what_waits_is_bounded_whichever_stage_is_slow(
    slow: str, queue_bytes: int, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_QUEUE_BYTES", queue_bytes)
    estimator = DepthEstimator(Watched(0.01 if slow == "model" else 0.0), batch_size=2)
    begun, ended, most = 0, 0, 0

    def prepare(frame: Frame) -> PreparedFrame | Failure:
        nonlocal begun, most
        begun += 1
        most = max(most, begun - ended)
        return estimator.prepare(frame)

    def finish(frame: Frame, result: ItemResult) -> None:
        time.sleep(0.01 if slow == "finish" else 0)

    for _ in make_engine(estimator, prepare=prepare, finish=finish).run(map(make_frame, range(20, 120))):
        ended += 1
    assert ended == 100
    assert most <= limit


def test_items_are_not_read_far_ahead() -> None:
    read = 0

    def items() -> Iterator[Frame]:
        nonlocal read
        while True:
            read += 1
            yield make_frame(read % 10)

    running = make_engine(DepthEstimator(Watched(), batch_size=2)).run(items())
    for _ in range(50):
        next(running)
    running.close()
    assert read < 50 + 100
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("model", "decode"))]


def test_after_stop_the_model_finishes_what_it_has_and_no_more_is_begun() -> None:
    stop = threading.Event()
    model = Watched(0.02)
    begun = []
    estimator = DepthEstimator(model, batch_size=1)

    def finish(frame: Frame, result: ItemResult) -> None:
        begun.append(frame.key)
        stop.set()

    outcomes = list(make_engine(estimator, finish=finish, stop=stop).run(map(make_frame, range(20, 200))))
    assert len(outcomes) == len(begun) == len(model.batches) <= 6


def test_after_stop_a_batch_that_waits_for_the_model_is_left() -> None:
    """Of a large network on a processor a batch takes minutes: two are not worth the wait."""
    stop = threading.Event()

    class Stopping(Watched):
        def infer(self, batch: np.ndarray) -> np.ndarray:
            time.sleep(0.3)  # the next one is there by then
            stop.set()
            return super().infer(batch)

    model = Stopping()
    engine = make_engine(DepthEstimator(model, batch_size=2), stop=stop)
    outcomes = list(engine.run(map(make_frame, range(20, 200))))
    assert len(model.batches) == 1 and len(outcomes) == 2


@pytest.mark.parametrize("where", ["prepare", "finish", "items"])
def test_an_error_that_is_nobodys_ends_the_run_and_its_threads(where: str) -> None:
    estimator = DepthEstimator(Watched(), batch_size=2)

    def broken(*_: object) -> None:
        raise OSError("the disk is gone")

    def items() -> Iterator[Frame]:
        yield from map(make_frame, range(20, 30))
        broken()

    callbacks = {where: broken} if where != "items" else {}
    running = make_engine(estimator, **callbacks).run(
        items() if where == "items" else map(make_frame, range(30))
    )
    with pytest.raises(OSError, match="the disk is gone"):
        list(running)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("model", "write"))]


def test_what_is_written_when_an_error_ends_the_run_still_counts() -> None:
    together = threading.Barrier(2)
    written: list[str] = []
    counted: list[object] = []

    def finish(frame: Frame, result: ItemResult) -> str:
        together.wait(60)
        if frame.key == "20":
            raise OSError("the disk is full")
        time.sleep(0.1)  # the error comes first
        written.append(frame.key)
        return frame.key

    running = make_engine(DepthEstimator(Watched(), batch_size=2), finish=finish).run(
        map(make_frame, (20, 21))
    )
    with pytest.raises(OSError, match="the disk is full"):
        for _, outcome in running:
            counted.append(outcome)
    assert counted == written == ["21"]
