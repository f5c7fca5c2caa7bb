"""How large a batch may be: as asked for, as it fits, as it proves fastest."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortexia_video import DepthEstimator, DepthMap, Frame, SyntheticModel, estimate
from cortexia_video.errors import InputError
from cortexia_video.inference import machine_memory
from cortexia_video.inference.batches import BatchLimits, is_out_of_memory
from cortexia_video.inference.machine_memory import MachineMemory

SHAPE = (64, 64, 3, "uint8")


def search(seconds: Callable[[int], float], most: int | None = None) -> int:
    """Let `auto` see calls that take so long, until it does not change any more."""
    limits = BatchLimits("auto", most)
    for _ in range(40):
        count = limits.of(SHAPE)
        limits.record_time(SHAPE, count, seconds(count))
    return limits.of(SHAPE)


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        (lambda count: 0.1 * count, 1),  # nothing is gained
        (lambda count: 0.1 + 0.001 * count, 64),  # a call costs much, an image little
        (lambda count: 0.1 + 0.1 * count, 16),  # the gain fades: 16 to 32 gives 3 %
        (lambda count: 0.1 if count <= 8 else 0.1 * count, 8),
    ],
)
def test_auto_doubles_while_it_pays(seconds: Callable[[int], float], best: int) -> None:
    assert search(seconds) == best


def test_auto_keeps_to_what_the_model_takes() -> None:
    assert search(lambda count: 0.1, most=6) == 4


def test_auto_is_not_misled_by_a_slow_first_call_or_an_unfinished_batch() -> None:
    limits = BatchLimits("auto")
    limits.record_time(SHAPE, 1, 60.0)
    limits.record_time(SHAPE, 1, 0.1)
    assert limits.of(SHAPE) == 2
    limits.record_time(SHAPE, 1, 0.001)  # a lone image at the end says nothing of two
    for seconds in (0.19, 0.12):
        limits.record_time(SHAPE, 2, seconds)
    assert limits.of(SHAPE) == 4


def test_full_memory_ends_the_search_at_what_is_known_to_fit() -> None:
    limits = BatchLimits("auto")
    while (count := limits.of(SHAPE)) < 16:
        limits.record_time(SHAPE, count, 0.1)
    limits.record_full_memory(SHAPE, 16)
    assert limits.of(SHAPE) == 8
    assert limits.of((9, 9, 3, "uint8")) == 1  # another shape has a search of its own
    assert limits.found["64x64x3xuint8"] == 8


def test_full_memory_is_remembered_whatever_was_asked_for() -> None:
    limits = BatchLimits(10)
    assert (limits.of(SHAPE), limits.found) == (10, {})
    limits.record_full_memory(SHAPE, 10)
    limits.record_full_memory(SHAPE, 5)
    assert (limits.of(SHAPE), limits.fitting(SHAPE), limits.largest) == (2, 2, 10)
    limits.record_full_memory(SHAPE, 1)
    assert limits.of(SHAPE) == 1


def test_the_end_of_memory_is_known_by_any_of_its_names() -> None:
    class OutOfMemoryError(RuntimeError):  # as torch's is called
        pass

    wrapped = RuntimeError("forward failed")
    wrapped.__cause__ = MemoryError()
    full = [
        MemoryError(),
        OutOfMemoryError("CUDA"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
        RuntimeError("[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer of size 4"),
        RuntimeError("std::bad_alloc"),
        wrapped,
    ]
    assert all(map(is_out_of_memory, full))
    assert not any(map(is_out_of_memory, [None, RuntimeError("shape mismatch"), ValueError()]))


def test_auto_gives_every_image_its_depth() -> None:
    class Machine(SyntheticModel):
        def __init__(self) -> None:
            super().__init__()
            self.batches: list[int] = []

        def infer(self, batch: np.ndarray) -> np.ndarray:
            self.batches.append(len(batch))
            if len(batch) > 4:
                raise MemoryError
            return super().infer(batch)

    model = Machine()
    estimator = DepthEstimator(model, batch_size="auto")
    estimator.limits.record_time(SHAPE, 1, 1.0)  # so slow alone that two must be better
    estimator.limits.record_time(SHAPE, 1, 1.0)
    frames = [Frame(str(index), np.full((64, 64, 3), index, np.uint8)) for index in range(40)]
    assert all(isinstance(depth, DepthMap) for depth in estimator.estimate(frames))
    assert max(model.batches) <= 8 and sum(count for count in model.batches if count <= 4) == 40


@pytest.mark.parametrize("batch_size", [0, -1, "fast", 2.5])
def test_a_batch_holds_an_image_at_least(batch_size: object) -> None:
    with pytest.raises(InputError, match="`batch_size` must be at least 1, or auto, got"):
        BatchLimits(batch_size)


def test_auto_keeps_large_inputs_from_filling_the_memory() -> None:
    large, limits = (3, 1536, 1536, "float32"), BatchLimits("auto")
    for _ in range(40):
        limits.record_time(large, limits.of(large), 0.1)
    assert limits.of(large) == 8


def test_a_later_run_begins_under_the_limit_that_one_found(
    tmp_path: Path, make_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    batches: list[int] = []
    whole = SyntheticModel.infer

    def infer(model: SyntheticModel, batch: np.ndarray) -> np.ndarray:
        batches.append(len(batch))
        if len(batch) > 2:
            raise MemoryError
        return whole(model, batch)

    monkeypatch.setattr(SyntheticModel, "infer", infer)
    for index in range(16):
        make_image(tmp_path / f"photos/{index}.png", (48, 64))

    def run(name: str, **options: Any) -> list[int]:
        batches.clear()
        assert estimate(tmp_path / "photos", tmp_path / name, batch_size=8, workers=1, **options).done == 16
        return sorted(count for count in batches if count > 2)

    assert run("first", model="synthetic") == [4, 8]
    assert run("second", model="synthetic") == []
    assert max(batches) == 2
    assert run("loaded", model=DepthEstimator(SyntheticModel(), batch_size=8)) == [4, 8]  # has no name
    (kept,) = (tmp_path / "cache/cortexia_video/batches").iterdir()
    monkeypatch.setattr("platform.node", lambda: "another-container")
    assert run("third", model="synthetic") == []
    said = json.loads(kept.read_text())
    said["found"][1] -= 8 * 86_400  # the memory may be free again
    kept.write_text(json.dumps(said))
    assert run("fourth", model="synthetic") == [4, 8]
    said["found"] = [{}, "uint8"]  # damaged
    kept.write_text(json.dumps(said))
    assert run("fifth", model="synthetic") == [4, 8]


def test_auto_does_not_go_beyond_a_remembered_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    MachineMemory("batches", {"model": "a", "group": SHAPE}).write([4, time.time()])
    limits = BatchLimits("auto")
    limits.remember({"model": "a"})
    for _ in range(20):
        limits.record_time(SHAPE, limits.of(SHAPE), 0.1)
    assert (limits.of(SHAPE), limits.largest, limits.found) == (4, 4, {"64x64x3xuint8": 4})


def test_runs_side_by_side_keep_each_others_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    other = (32, 32, 3, "uint8")
    one, two, three = (BatchLimits(64) for _ in range(3))
    for each in (one, two, three):
        each.remember({"model": "a"})
    one.record_full_memory(SHAPE, 16)
    two.record_full_memory(other, 64)
    three.record_full_memory(SHAPE, 64)  # it began before the first found less
    later = BatchLimits(64)
    later.remember({"model": "a"})
    assert (later.of(SHAPE), later.of(other), later.fitting(SHAPE)) == (8, 32, 8)


def test_limits_depend_on_the_maps_that_are_asked_for(
    tmp_path: Path, make_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    about: list[dict[str, object]] = []
    monkeypatch.setattr(BatchLimits, "remember", lambda limits, said: about.append(said))
    for index in range(2):
        make_image(tmp_path / f"photos/{index}.png", (48, 64))
    for number, also in enumerate(((), ("normals",))):
        options: dict[str, Any] = {"kind": "metric", "f_px": 50, "also": also}
        estimate(tmp_path / "photos", tmp_path / str(number), model="synthetic", **options)
    assert about[0] != about[1]


def test_machines_that_differ_remember_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {MachineMemory("batches", {}).path, MachineMemory("batches", {"model": "a"}).path}
    monkeypatch.setattr(machine_memory, "_GPUS", tmp_path)
    (tmp_path / "0000:01:00.0").mkdir()
    for name in ("NVIDIA H200", "NVIDIA L4"):
        (tmp_path / "0000:01:00.0/information").write_text(f"Model: \t\t {name}\nIRQ:   \t\t 42\n")
        machine_memory._describe_machine.cache_clear()
        paths.add(MachineMemory("batches", {}).path)
    monkeypatch.setattr(machine_memory, "_count_gigabytes", lambda: 10**6)
    machine_memory._describe_machine.cache_clear()
    paths.add(MachineMemory("batches", {}).path)
    machine_memory._describe_machine.cache_clear()
    assert len(paths) == 5
