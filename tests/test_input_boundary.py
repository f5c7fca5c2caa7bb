"""Whatever goes wrong with one input is that input's failure, with a reason that a person understands."""

from __future__ import annotations

import json
import os
import pkgutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cortexia_video
from cortexia_video import CortexiaError, DepthMap, Failure, RGBDSample, convert, estimate, inspect, verify
from cortexia_video.datasets.build import write_shards
from cortexia_video.datasets.build_items import list_dataset_items
from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.errors import (
    DecodeError,
    InputError,
    OutputLostError,
    attempt,
    attempt_all,
    describe,
    in_words,
)
from cortexia_video.evaluation import job
from cortexia_video.evaluation.ground_truth import to_ground_truth
from cortexia_video.evaluation.predictors import InMemoryPredictor
from cortexia_video.evaluation.protocol import load_protocol
from cortexia_video.frame import Frame
from cortexia_video.jobs.point_clouds import CloudOptions, make_point_clouds

Make = Callable[..., Path]
ANYTHING = [
    MemoryError(),
    RecursionError("maximum recursion depth exceeded"),
    KeyError("depth"),
    struct.error("unpack requires a buffer of 4 bytes"),
    AssertionError(),
    IndexError("list index out of range"),
    RuntimeError("boom"),
    StopIteration(),
]


PREDICTED = (("a", 1), ("c", 2), ("d", 3))


def raising(error: BaseException) -> Callable[..., None]:
    def work(*_: object, **__: object) -> None:
        raise error

    return work


@pytest.mark.parametrize("error", ANYTHING, ids=lambda error: type(error).__name__)
def test_any_error_becomes_a_failure_that_keeps_it(error: Exception) -> None:
    failure = attempt("a.jpg", "decode", raising(error))
    assert isinstance(failure, Failure)
    assert (failure.key, failure.stage, failure.error) == ("a.jpg", "decode", error)
    assert failure.reason == describe(error)
    with (
        pytest.raises(DecodeError, match="^its shard: .*; copy it$") as caught,
        in_words("its shard", "copy it", DecodeError),
    ):
        raise error
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SystemExit(1), OutputLostError("x", OSError(28, "full"))]
)
def test_what_ends_a_run_goes_through(error: BaseException) -> None:
    for work in (attempt, lambda *args: [*attempt_all("a", "find", iter(args[2], 0))]):
        with pytest.raises(type(error)):
            work("a", "decode", raising(error))


def test_errors_are_said_in_words() -> None:
    assert describe(InputError("give it")) == "give it"
    assert describe(FileNotFoundError(2, "No such file or directory")) == "No such file or directory"
    assert "not enough memory" in describe(MemoryError("std::bad_alloc"))
    assert (
        describe(RecursionError("maximum recursion depth exceeded")) == "it is nested too deeply to be read"
    )
    assert describe(KeyError("x")) == (
        "unexpected content (KeyError: 'x'): is the file whole? If it is, please report this"
    )
    assert describe(ValueError("a\nb")) == "a b"
    for error in ANYTHING:
        assert len(describe(error).split()) > 1 or str(error)


def test_a_generator_that_breaks_off_ends_in_a_failure() -> None:
    def give() -> Iterator[int]:
        yield 1
        raise EOFError

    first, last = attempt_all("a.tar", "find", give())
    assert first == 1
    assert isinstance(last, Failure) and isinstance(last.error, EOFError)


@pytest.mark.parametrize("error", ANYTHING, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "where", ["jobs.worker.read_image_bytes", "jobs.worker.decode", "sinks.sink.Sink.encode"]
)
def test_estimate_loses_one_input(
    where: str, error: Exception, tmp_path: Path, make_image: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.png", "c.png"):
        make_image(tmp_path / "in" / name)
    fail_for(monkeypatch, where, "b.png", error)
    report = estimate(tmp_path / "in", tmp_path / "out", model="synthetic")
    assert (report.found, report.done, report.failed) == (3, 2, 1)
    assert [each.key for each in report.failures] == ["b.png"]


@pytest.fixture
def run(tmp_path: Path, make_image: Make) -> Path:
    """Return the output folder of a run over three images."""
    for seed, name in enumerate(("a.png", "b.png", "c.png")):
        make_image(tmp_path / "in" / name, seed=seed)
    estimate(tmp_path / "in", tmp_path / "run", model="synthetic", f_px=50.0)
    return tmp_path / "run"


@pytest.mark.parametrize("error", ANYTHING, ids=lambda error: type(error).__name__)
def test_the_other_jobs_lose_one_input(
    error: Exception, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        fail_for(patch, "ledger.depth_reader.DepthReader.decode", "b.png", error)
        report = convert(run, tmp_path / "npz", format="npz")
        assert (report.done, report.failed, report.failures[0].key) == (2, 1, "b.png")
        looked = inspect(run)
        assert (len(looked.sampled), len(looked.failures)) == (2, 1)
    with monkeypatch.context() as patch:
        fail_for(patch, "sinks.sink.Sink.encode", "b.png", error)
        report = convert(run, tmp_path / "npz2", format="npz")
        assert (report.done, report.failed, report.failures[0].stage) == (2, 1, "write")
    with monkeypatch.context() as patch:
        fail_for(patch, "jobs.point_clouds.read_run_depth", "b.png", error)
        report = make_point_clouds(run, tmp_path / "clouds", options=CloudOptions(near_m=1, far_m=9))
        assert (report.done, report.failed, report.failures[0].key) == (2, 1, "b.png")
    with monkeypatch.context() as patch:
        fail_for(patch, "jobs.verify._find_fault", "b.png", error)
        assert [each.key for each in verify(run).wrong] == ["b.png"]
    with monkeypatch.context() as patch:
        fail_for(patch, "reporting.depth_sample.read_run_depth", "b.png", error)
        fail_for(patch, "reporting.contact_sheet.read_run_depth", "b.png", error)
        told = cortexia_video.report(run)
        assert [each.key for each in told.sample.unreadable] == ["b.png"]


@pytest.mark.parametrize("error", ANYTHING, ids=lambda error: type(error).__name__)
def test_a_dataset_loses_one_sample(error: Exception, tmp_path: Path) -> None:
    dataset = RGBDDataset("three", [entry("a"), entry("b"), entry("c")], lambda each: read(each, error))
    attempts = [*dataset.attempt()]
    assert [isinstance(each, Failure) for each in attempts] == [False, True, False]
    report = write_shards(list_dataset_items(dataset), tmp_path / "set", format="webdataset")
    assert (report.rows, report.failed, report.failures[0].key) == (2, 1, "b")


class entry:
    def __init__(self, key: str) -> None:
        self.key = key


def read(each: entry, error: Exception) -> RGBDSample:
    if each.key == "b":
        raise error
    image, depth = np.zeros((4, 6, 3), np.uint8), np.ones((4, 6), np.float32)
    return RGBDSample(Frame(each.key, image), DepthMap(depth, "metric"))


def fail_for(patch: pytest.MonkeyPatch, name: str, key: str, error: Exception) -> None:
    """Let a function of the package raise `error` for the input of a key."""
    place, _, last = name.rpartition(".")
    owner = pkgutil.resolve_name(f"cortexia_video.{place}")
    real = getattr(owner, last)

    def call(*arguments: object, **options: object) -> object:
        if any(key in str(each) for each in (*arguments, *options.values())):
            raise error
        return real(*arguments, **options)

    patch.setattr(owner, last, call)


def test_names_that_parquet_cannot_hold_fail_alone(tmp_path: Path, make_image: Make) -> None:
    folder = tmp_path / "in"
    data = make_image(folder / "a.png").read_bytes()
    odd = os.fsdecode(b"b\xff.png")
    (folder / odd).write_bytes(data)
    for name in ("tar", "parquet"):
        report = estimate(folder, tmp_path / name, model="synthetic", pack=name)
        assert (report.found, report.done, report.failed) == (2, *((2, 0) if name == "tar" else (1, 1)))
    (failure,) = report.failures
    assert failure.key == odd
    assert failure.reason == r"key 'b\udcff.png' is not UTF-8, as parquet needs: rename it, or `pack='tar'`"


@pytest.mark.parametrize("form", ["parquet", "webdataset"])
def test_names_that_are_not_utf8_fail_alone_in_a_dataset(form: str, tmp_path: Path) -> None:
    keys = [entry("a"), entry("x\udcff")]
    dataset = RGBDDataset("odd", keys, lambda each: read(each, ValueError()))
    report = write_shards(list_dataset_items(dataset), tmp_path / "set", format=form)
    assert (report.rows, report.failed) == (1, 1)
    assert report.failures[0].reason == (
        r"its key x\udcff is not UTF-8, which datasets must be: rename the file or folder"
    )


def test_damaged_pixels_of_a_png_are_no_black_image(tmp_path: Path) -> None:
    """Pillow decodes a PNG when it is asked for EXIF, and what went wrong then was lost."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    begin = data.index(b"IDAT") + 4
    data[begin : begin + 40] = bytes(40)
    with pytest.raises(DecodeError, match="damaged: the PNG cannot be read"):
        cortexia_video.decode(bytes(data), "a.png")
    assert issubclass(DecodeError, CortexiaError)


def test_a_frame_of_a_set_that_says_too_little_costs_itself(tmp_path: Path) -> None:
    image, depth = np.zeros((4, 6, 3), np.uint8), np.full((4, 6), 1000, np.uint16)
    Image.fromarray(image).save(tmp_path / "a.png")
    Image.fromarray(depth).save(tmp_path / "d.png")
    good = {"name": "good", "rgb": "a.png", "depth": "d.png"}
    frames = [good, {"name": "bad", "rgb": "a.png"}, 7, {**good, "name": "cam", "intrinsics": {"fx": "x"}}]
    words = {"name": "mine", "depth_scale": 1000, "frames": frames}
    (tmp_path / "set.json").write_text(json.dumps(words))
    dataset = cortexia_video.open_dataset("rgbd", tmp_path)
    assert isinstance(dataset, RGBDDataset)
    attempts = {each.key: each for each in dataset.attempt()}
    assert [key for key, each in attempts.items() if isinstance(each, Failure)] == ["bad", "frame 2", "cam"]
    assert not isinstance(attempts["good"], Failure)


@pytest.mark.parametrize("error", ANYTHING, ids=lambda error: type(error).__name__)
def test_an_evaluation_loses_one_image(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [read(entry(key), error) for key in ("a", "c", "d")]
    depths = {key: DepthMap(np.full((4, 6), value, np.float32), "metric") for key, value in PREDICTED}
    real = job.score_image

    def score(depth: DepthMap | None, *arguments: object) -> object:
        if depth is not None and depth.values[0, 0] == 2:
            raise error
        return real(depth, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(job, "score_image", score)
    predictors = [InMemoryPredictor("mine", depths)]
    found = job.measure_predictors(to_ground_truth(samples), predictors, load_protocol("real-frames"))
    assert [key for key, _ in found.columns[0].remarks()] == ["c"]
    assert found.columns[0].remarks()[0][1] == f"cannot be measured: {describe(error)}"
    assert found.count_images() == 3

    def break_off(sample: RGBDSample) -> RGBDSample:
        if sample.key == "c":
            raise error
        return sample

    monkeypatch.setattr(job, "score_image", real)
    truth = to_ground_truth(RGBDDataset("three", samples, break_off))
    found = job.measure_predictors(truth, predictors, load_protocol("real-frames"))
    assert [(each.key, each.error) for each in found.skipped] == [("c", error)]


def test_training_goes_on_without_a_sample_that_cannot_be_read(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("torch")
    from cortexia_video.training.data import leave_out_broken

    for error in (*ANYTHING, DecodeError("cut short")):
        leave_out_broken(Failure("b", "decode", error))
        assert caplog.messages[-1].startswith("left out of its batch: failed (decode): b: ")
    with pytest.raises(InputError, match="these may be millimetres"):
        leave_out_broken(Failure("b", "decode", InputError("these may be millimetres")))
