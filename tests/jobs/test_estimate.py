"""The job: every input one outcome, a second run only what is missing, one bad image one failure."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xxhash
from conftest import HANG_S
from PIL import Image

from cortexia_video import (
    DepthEstimator,
    Failure,
    Report,
    SyntheticModel,
    decode,
    estimate,
    load_estimator,
    read_ledger,
    status,
    verify,
)
from cortexia_video.errors import InputError, OutputError, OutputLostError
from cortexia_video.images.resampling import resize_depth
from cortexia_video.ledger.lines import read_done
from cortexia_video.runtime.resources import MemoryBudget
from cortexia_video.storage import paths, system

Make = Callable[..., Path]
END_OF_RUN = {"found", "done", "skipped", "failed", "interrupted", "seconds"}
END_OF_RUN |= {"images_per_second", "batch_sizes", "speed"}
SIZES = [(48, 64), (64, 48), (50, 200), (48, 64), (9, 9), (48, 64)]


def counts(report: Report) -> tuple[int, int, int, int]:
    assert report.found == report.done + report.skipped + report.failed
    return report.found, report.done, report.skipped, report.failed


@pytest.fixture
def photos(tmp_path: Path, make_image: Make) -> Path:
    for index, size in enumerate(SIZES):
        make_image(tmp_path / "photos" / f"{index}.jpg", size, seed=index)
    return tmp_path / "photos"


def run(photos: Path, **options: object) -> Report:
    return estimate(photos, photos.parent / "out", **{"model": "synthetic", **options})


def test_every_image_gets_depth_of_its_own_size(photos: Path) -> None:
    assert counts(run(photos, batch_size=2)) == (6, 6, 0, 0)
    for index, size in enumerate(SIZES):
        depth = np.load(photos.parent / "out" / f"{index}.jpg.npy")
        assert (depth.dtype, depth.shape) == (np.float32, size)


def test_the_depth_is_that_of_the_upright_image(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter clockwise to be upright
    Image.new("RGB", (64, 32), "grey").save(tmp_path / "photos/a.jpg", exif=exif)
    run(tmp_path / "photos")
    assert np.load(tmp_path / "out/a.jpg.npy").shape == (64, 32)


def test_of_two_images_that_the_output_cannot_tell_apart_one_fails(
    tmp_path: Path, make_image: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = (
        system.HeldFolder.is_plain
    )  # a file system that folds case would overwrite the first with the second
    monkeypatch.setattr(system.HeldFolder, "is_plain", lambda self, name: real(self, name.lower()))
    for index, name in enumerate(["A.jpg", "a.jpg", "b.jpg"]):
        make_image(tmp_path / "photos" / name, seed=index)
    for done, skipped in ((2, 0), (0, 2)):
        report = run(tmp_path / "photos", overwrite=done == 2)
        assert counts(report) == (3, done, skipped, 1)
        (failure,) = report.failures
        assert failure.key == "a.jpg" and "in upper and lower case only" in failure.reason


def test_the_ledger_says_what_became_of_every_input(photos: Path) -> None:
    (photos / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    run(photos)
    lines = list(read_ledger(photos.parent / "out"))
    outcomes = {line["key"]: line["outcome"] for line in lines if "key" in line}
    assert outcomes == {"broken.png": "failed"} | {f"{index}.jpg": "done" for index in range(6)}
    assert lines[0]["settings"]["model"] == "synthetic"
    assert (lines[-1]["found"], lines[-1]["done"], lines[-1]["failed"]) == (7, 6, 1)
    (done,) = (line for line in lines if line.get("key") == "0.jpg" and line["outcome"] == "done")
    digest = xxhash.xxh3_128_hexdigest((photos.parent / "out/0.jpg.npy").read_bytes())
    assert done["outputs"] == {"0.jpg.npy": [48 * 64 * 4 + 128, digest]}
    assert (done["height"], done["width"], done["kind"]) == (48, 64, "disparity")


def test_a_second_run_does_only_what_is_missing_or_changed(photos: Path, make_image: Make) -> None:
    run(photos)
    out = photos.parent / "out"
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.npy")}
    assert counts(run(photos)) == (6, 0, 6, 0)
    (out / "1.jpg.npy").unlink()
    make_image(photos / "2.jpg", (70, 70), seed=99)
    make_image(photos / "new.jpg")
    assert counts(run(photos)) == (7, 3, 4, 0)
    changed = {path.name for path in out.glob("*.npy") if before.get(path.name) != path.stat().st_mtime_ns}
    assert changed == {"1.jpg.npy", "2.jpg.npy", "new.jpg.npy"}
    assert np.load(out / "2.jpg.npy").shape == (70, 70)


def test_what_failed_is_tried_again(photos: Path, make_image: Make) -> None:
    (photos / "late.jpg").write_bytes(b"")
    assert counts(run(photos)) == (7, 6, 0, 1)
    assert counts(run(photos)) == (7, 0, 6, 1)
    make_image(photos / "late.jpg")
    assert counts(run(photos)) == (7, 1, 6, 0)


@pytest.mark.parametrize(
    "options",
    [{"format": "png"}, {"preview": True}, {"model": "compact"}, {"kind": "metric"}, {"thorough": True}],
)
def test_other_settings_are_not_taken_for_done(photos: Path, options: dict) -> None:
    run(photos)
    assert counts(run(photos, **options)) == (6, 6, 0, 0)
    assert counts(run(photos, **options)) == (6, 0, 6, 0)


def test_overwrite_redoes_everything(photos: Path) -> None:
    run(photos)
    assert counts(run(photos, overwrite=True)) == (6, 6, 0, 0)


def test_a_file_of_somebody_elses_is_not_replaced(photos: Path) -> None:
    out = photos.parent / "out"
    out.mkdir()
    (out / "3.jpg.npy").write_bytes(b"mine")
    for _ in range(2):
        report = run(photos)
        assert report.failed == 1
        assert "`overwrite=True` replaces it" in report.failures[0].reason
        assert (out / "3.jpg.npy").read_bytes() == b"mine"
    assert run(photos, overwrite=True).failed == 0


def test_a_later_file_of_somebody_elses_is_not_replaced_either(photos: Path, make_image: Make) -> None:
    run(photos)
    make_image(photos / "late.jpg")
    (photos.parent / "out/late.jpg.npy").write_bytes(b"mine")
    assert counts(run(photos)) == (7, 0, 6, 1)
    assert (photos.parent / "out/late.jpg.npy").read_bytes() == b"mine"


def test_an_image_is_never_replaced_by_a_view(photos: Path, make_image: Make) -> None:
    mine = make_image(photos / "0.jpg.png", seed=77).read_bytes()
    estimate(photos, photos, model="synthetic")
    for overwrite in (False, True):
        report = estimate(photos, photos, model="synthetic", format="png", overwrite=overwrite)
        assert (report.found, report.failed) == (7, 1)
        assert "an image that is not ours" in report.failures[0].reason
        assert (photos / "0.jpg.png").read_bytes() == mine


def test_another_folder_does_not_take_the_place_of_the_first(tmp_path: Path, make_image: Make) -> None:
    for name in ("one", "two"):
        path = make_image(tmp_path / name / "a.bmp", seed=len(name))
        os.utime(path, (0, 0))
    estimate(tmp_path / "one", tmp_path / "out", model="synthetic")
    report = estimate(tmp_path / "two", tmp_path / "out", model="synthetic")
    assert counts(report) == (1, 0, 0, 1)
    assert "its place holds the depth of " in report.failures[0].reason
    (tmp_path / "one").rename(tmp_path / "moved")
    assert counts(estimate(tmp_path / "moved", tmp_path / "out", model="synthetic")) == (1, 0, 1, 0)


def test_how_a_loaded_model_was_set_up_counts(photos: Path) -> None:
    run(photos, model=DepthEstimator(SyntheticModel(short_side=64)))
    assert counts(run(photos, model=DepthEstimator(SyntheticModel(short_side=32)))) == (6, 6, 0, 0)
    with pytest.raises(InputError, match="a loaded model takes no options here: turns"):
        run(photos, model=DepthEstimator(SyntheticModel()), turns="metric")


def test_outputs_of_other_settings_are_redone_kept_or_refused(
    photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(photos)
    out = photos.parent / "out"
    before = {path.name: path.read_bytes() for path in out.glob("*.npy")}
    with pytest.raises(
        OutputError, match=r"0\.jpg was made .*\(kind: disparity -> metric\): `changed='redo'`"
    ):
        run(photos, kind="metric", changed="refuse")
    assert {path.name: path.read_bytes() for path in out.glob("*.npy")} == before
    with caplog.at_level(logging.WARNING):
        assert counts(run(photos, kind="metric", changed="keep")) == (6, 0, 6, 0)
    assert "outputs made with other settings (kind: disparity -> metric) are kept" in caplog.text
    assert {path.name: path.read_bytes() for path in out.glob("*.npy")} == before
    assert counts(run(photos, kind="metric", changed="redo")) == (6, 6, 0, 0)
    assert caplog.text.count("are redone") == 1
    caplog.clear()
    assert counts(run(photos, kind="metric", changed="refuse")) == (6, 0, 6, 0)
    assert not caplog.text


def test_what_is_no_input_of_a_run_does_not_change_what_it_says(
    photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(photos)
    (photos / "5.jpg").unlink()
    run(photos, format="png")
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert counts(run(photos, format="png", changed="refuse")) == (5, 0, 5, 0)
    assert not caplog.text
    assert counts(run(photos, overwrite=True, changed="refuse")) == (5, 5, 0, 0)


def test_a_shard_of_an_empty_folder_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match="no images in"):
        run(tmp_path / "photos", partition="1/2")
    assert not (tmp_path / "out").exists()


def test_too_little_memory_to_read_a_file_costs_that_file(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = paths._open_regular

    def refuse(path: str, flags: int) -> int:
        if Path(path).name == "3.jpg":
            raise MemoryError
        return whole(path, flags)

    monkeypatch.setattr(paths, "_open_regular", refuse)
    report = run(photos)
    assert counts(report) == (6, 5, 0, 1)
    assert "not enough memory" in report.failures[0].reason


def test_a_models_error_is_not_blamed_on_the_image(photos: Path) -> None:
    class Broken(SyntheticModel):
        def processed_size(self, height: int, width: int) -> tuple[int, int]:
            raise KeyError("patch")

    for decoding in ("exact", "fast"):
        report = run(photos, model=DepthEstimator(Broken()), decode=decoding)
        assert {(each.stage, each.reason) for each in report.failures} == {
            ("estimate", "the model failed: KeyError: 'patch'")
        }


def test_a_stop_after_the_last_image_interrupts_nothing(photos: Path) -> None:
    stop = threading.Event()

    def listen(report: Report, failure: Failure | None) -> None:
        if report.done == 6:
            stop.set()

    report = run(photos, stop=stop, on_outcome=listen)
    assert (counts(report), report.interrupted) == ((6, 6, 0, 0), False)


def test_keeping_does_what_is_missing_and_mixes_nothing_else(photos: Path, make_image: Make) -> None:
    run(photos)
    make_image(photos / "new.jpg")
    assert counts(run(photos, kind="metric", changed="keep")) == (7, 1, 6, 0)
    kinds = {line["key"]: line["kind"] for line in read_ledger(photos.parent / "out") if "kind" in line}
    assert kinds == {f"{index}.jpg": "disparity" for index in range(6)} | {"new.jpg": "metric"}


def test_native_size_keeps_the_networks_resolution_and_says_whose(photos: Path, make_image: Make) -> None:
    make_image(photos / "large.jpg", (600, 800))
    run(photos, size="native", preview=True)
    out = photos.parent / "out"
    (line,) = (
        line for line in read_ledger(out) if line.get("key") == "large.jpg" and line["outcome"] == "done"
    )
    assert (line["height"], line["width"], line["full_size"]) == (64, 88, [600, 800])
    native = np.load(out / "large.jpg.npy")
    assert native.shape == (64, 88)
    estimate(photos, photos.parent / "full", model="synthetic")
    np.testing.assert_array_equal(
        resize_depth(native, 600, 800), np.load(photos.parent / "full/large.jpg.npy")
    )
    assert counts(run(photos)) == (7, 7, 0, 0)


def test_exact_decoding_sees_every_pixel_and_fast_decoding_nearly(photos: Path, make_image: Make) -> None:
    make_image(photos / "large.jpg", (1500, 2000))
    for decoding in ("exact", "fast"):
        estimate(photos, photos.parent / decoding, model="compact", decode=decoding)
    whole = decode((photos / "large.jpg").read_bytes(), "large.jpg")
    (expected,) = load_estimator("compact").estimate([whole])
    exact, fast = (np.load(photos.parent / name / "large.jpg.npy") for name in ("exact", "fast"))
    np.testing.assert_allclose(exact, expected.values, rtol=0, atol=1e-5 * np.ptp(exact))
    assert np.abs(exact - fast).mean() > 1e-4 * np.ptp(exact)
    assert np.abs(exact - fast).mean() < 0.02 * np.ptp(exact)


def test_memory_that_is_used_again_mixes_no_images(tmp_path: Path, make_image: Make) -> None:
    for index in range(12):  # as large as the network sees them, so that nothing is copied by resizing
        make_image(tmp_path / f"photos/{index}.jpg", (64, 64 + 8 * (index % 2)), seed=index)
    estimate(tmp_path / "photos", tmp_path / "out", model="synthetic", batch_size=6)
    for path in (tmp_path / "photos").iterdir():
        (alone,) = load_estimator("synthetic").estimate([decode(path.read_bytes(), path.name)])
        np.testing.assert_array_equal(np.load(tmp_path / f"out/{path.name}.npy"), alone.values)


def test_several_devices_share_the_work_of_one_run(photos: Path) -> None:
    class Placed(SyntheticModel):
        def infer(self, batch: np.ndarray) -> np.ndarray:
            used.append(id(self))
            time.sleep(0.01)
            return super().infer(batch)

    used: list[int] = []
    run(photos)
    estimators = [DepthEstimator(Placed(), batch_size=1) for _ in range(2)]
    report = estimate(photos, photos.parent / "two", model=estimators)
    assert (counts(report), report.speed.devices) == ((6, 6, 0, 0), 2)
    assert len(set(used)) == 2
    for path in (photos.parent / "out").glob("*.npy"):
        assert path.read_bytes() == (photos.parent / "two" / path.name).read_bytes()
    assert run(photos, device="cpu,cpu", overwrite=True).speed.devices == 2


def test_models_of_one_run_must_be_alike(photos: Path) -> None:
    estimators = [DepthEstimator(SyntheticModel(short_side=side)) for side in (32, 64)]
    with pytest.raises(InputError, match="the loaded models differ"):
        run(photos, model=estimators)
    with pytest.raises(InputError, match="the loaded model gives size 'full', not 'native'"):
        run(photos, model=estimators[0], size="native")


@pytest.mark.parametrize("pack", [None, "tar", "parquet"])
def test_a_run_says_how_fast_it_was_and_why(photos: Path, pack: str | None) -> None:
    report = run(photos, profile=photos.parent / "trace.json", pack=pack, pack_size=2)
    (line,) = (line for line in read_ledger(photos.parent / "out") if "end" in line)
    assert line.keys() == {"end", "at", *END_OF_RUN}
    assert line["speed"]["slowest"] == report.speed.slowest
    assert 0 < line["speed"]["share_of_bound"] <= 1
    stages = {"find", "read", "decode", "preprocess"}
    stages |= {"batch", "model", "check", "resize", "encode", "write", *(["pack"] if pack else [])}
    assert set(line["speed"]["core_seconds_an_image"]) == stages
    events = [each for each in json.loads((photos.parent / "trace.json").read_text()) if each["ph"] == "X"]
    assert {each["name"] for each in events} == stages - {"find"}
    assert sum(each["name"] == "decode" for each in events) == 6
    assert sum(each["name"] == "pack" for each in events) == (3 if pack else 0)
    with pytest.raises(OutputError, match="cannot write the trace"):
        run(photos, profile=photos.parent / "gone/trace.json")


def test_what_fitted_and_what_overflowed_is_in_the_ledger(photos: Path) -> None:
    class Small(SyntheticModel):
        def infer(self, batch: np.ndarray) -> np.ndarray:
            if len(batch) > 2:
                raise MemoryError
            values = super().infer(batch)
            values[0] = np.inf
            return values

        def infer_float32(self, batch: np.ndarray) -> np.ndarray:
            return SyntheticModel.infer(self, batch)

    report = run(photos, model=DepthEstimator(Small(), batch_size=3))
    assert counts(report) == (6, 6, 0, 0)
    lines = list(read_ledger(photos.parent / "out"))
    assert 3 <= sum(line.get("in_float32") is True for line in lines) <= 6
    assert set(lines[-1]["batch_sizes"].values()) == {1}  # the three of one shape did not fit together
    run(photos, model="synthetic", overwrite=True)
    assert not any(line.get("in_float32") for line in list(read_ledger(photos.parent / "out"))[len(lines) :])


def test_auto_batches_give_the_same_files(tmp_path: Path, make_image: Make) -> None:
    class Machine(SyntheticModel):
        def infer(self, batch: np.ndarray) -> np.ndarray:
            batches.append(len(batch))
            time.sleep(0.01)  # whatever its size: larger batches pay
            return super().infer(batch)

    batches: list[int] = []
    for index in range(40):
        make_image(tmp_path / f"photos/{index}.jpg", seed=index)
    run(tmp_path / "photos", model=DepthEstimator(Machine(), batch_size="auto"))
    estimate(tmp_path / "photos", tmp_path / "plain", model="synthetic")
    assert max(batches) >= 4
    assert next(line for line in read_ledger(tmp_path / "out") if "end" in line)["batch_sizes"]
    for path in (tmp_path / "plain").glob("*.npy"):
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes()


def test_the_shards_of_a_run_do_each_image_once(photos: Path) -> None:
    reports = [run(photos, partition=f"{number}/3") for number in (1, 2, 3)]
    assert sum(report.done for report in reports) == sum(report.found for report in reports) == 6
    assert counts(run(photos)) == (6, 0, 6, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decode": "slow"}, "`decode` must be one of exact, fast, got 'slow'"),
        ({"changed": "maybe"}, "`changed` must be one of redo, keep, refuse, got 'maybe'"),
        ({"size": "small"}, "`size` must be one of full, native, got 'small'"),
        ({"partition": "4/3"}, "4/3"),
    ],
)
def test_words_that_mean_nothing_are_refused(photos: Path, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(photos, **options)
    assert not (photos.parent / "out").exists()


@pytest.mark.parametrize("options", [{"workers": 0}, {"max_megapixels": float("nan")}])
def test_numbers_that_cannot_be_are_refused(photos: Path, options: dict) -> None:
    with pytest.raises(InputError, match="must be (at least 1|above 0), got"):
        run(photos, **options)


def test_the_output_may_be_the_input_folder(photos: Path) -> None:
    for format in ("npy", "png", "png"):
        report = estimate(photos, photos, model="synthetic", format=format, preview=True)
        assert report.found == 6
    assert report.skipped == 6


def test_a_bad_image_is_one_failure_with_a_reason(photos: Path) -> None:
    good = (photos / "0.jpg").read_bytes()
    (photos / "cut.jpg").write_bytes(good[: len(good) // 2])
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "text.jpg").write_text("dear diary")
    (photos / "gone.jpg").symlink_to(photos / "not-there")
    report = run(photos)
    assert counts(report) == (10, 6, 0, 4)
    assert {failure.key: failure.stage for failure in report.failures} == {
        "cut.jpg": "decode",
        "empty.jpg": "decode",
        "text.jpg": "decode",
        "gone.jpg": "find",
    }


def test_an_unreadable_file_is_one_failure(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = paths._open_regular

    def refuse(path: str, flags: int) -> int:
        if Path(path).name == "3.jpg":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return whole(path, flags)

    monkeypatch.setattr(paths, "_open_regular", refuse)
    report = run(photos)
    assert counts(report) == (6, 5, 0, 1)
    assert report.failures[0].reason == "cannot be read: Permission denied"


def test_too_large_a_file_is_not_read(photos: Path) -> None:
    with (photos / "huge.tif").open("wb") as file:
        file.truncate(10**10)  # a hole: takes no room
    report = run(photos)
    assert report.failures[0].reason == "too large: the file has 10.0 GB, the limit is 1"


def test_too_large_an_image_is_refused(photos: Path) -> None:
    report = run(photos, max_megapixels=0.005)
    assert {failure.key for failure in report.failures} == {"2.jpg"}
    assert "200 x 50" in report.failures[0].reason


class Nan(SyntheticModel):
    def infer(self, batch: np.ndarray) -> np.ndarray:
        output = super().infer(batch)
        output[0] = np.nan
        return output


def test_nan_from_the_model_is_a_failure_not_a_file(photos: Path) -> None:
    report = run(photos, model=DepthEstimator(Nan(), batch_size=1))
    assert counts(report) == (6, 0, 0, 6)
    assert not list((photos.parent / "out").glob("*.npy"))


class Far(SyntheticModel):
    def infer(self, batch: np.ndarray) -> np.ndarray:
        return super().infer(batch) * np.float32(20_000)  # to 2e5: more than a half float holds


def test_what_a_format_would_lose_is_a_failure_unless_it_is_a_view(photos: Path) -> None:
    pytest.importorskip("OpenEXR")
    report = run(photos, model=DepthEstimator(Far(kind="metric"), batch_size=1), format="exr16")
    assert counts(report) == (6, 0, 0, 6)
    assert "values from 65520 up become unknown: another `format` keeps it" in str(report.failures[0])
    assert not list((photos.parent / "out").glob("*.exr"))
    for format in ("exr", "png16", "png"):
        assert run(photos, model=DepthEstimator(Far(kind="metric")), format=format).failed == 0


def test_an_output_that_cannot_be_placed_costs_itself(photos: Path) -> None:
    (photos.parent / "out/3.jpg.npy").mkdir(parents=True)
    report = run(photos, overwrite=True)
    assert counts(report) == (6, 5, 0, 1)
    assert (report.failures[0].key, report.failures[0].stage) == ("3.jpg", "write")


def test_a_full_disk_ends_the_run_and_a_later_one_goes_on(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, left = os.write, [3]

    def write(descriptor: int, data: memoryview) -> int:
        if len(data) > 2000:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return whole(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OutputLostError, match="No space left on device; what is done is kept"):
        run(photos, workers=1)
    monkeypatch.undo()
    out = photos.parent / "out"
    done = len(list(out.glob("*.npy")))
    assert 0 < done < 6
    assert counts(run(photos)) == (6, 6 - done, done, 0)
    assert not (out / ".cortexia-partial").exists()


def test_nothing_is_made_where_there_is_nothing_to_do(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/notes.txt").write_text("none here")
    with pytest.raises(
        InputError, match="no images in .*photos; folders inside are looked into with `recursive=True`"
    ):
        run(tmp_path / "photos")
    with pytest.raises(InputError, match="no such file or folder"):
        run(tmp_path / "gone")
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_refused_first(photos: Path) -> None:
    (photos.parent / "out").touch()
    with pytest.raises(OutputError, match="cannot write"):
        run(photos)


def test_stopping_leaves_whole_files_and_a_run_that_can_go_on(tmp_path: Path, make_image: Make) -> None:
    class Slow(SyntheticModel):
        def infer(self, batch: np.ndarray) -> np.ndarray:
            time.sleep(0.01)
            return super().infer(batch)

    for index in range(40):
        make_image(tmp_path / f"photos/{index}.jpg", seed=index)
    stop = threading.Event()

    def listen(report: Report, failure: Failure | None) -> None:
        stop.set()

    slow = DepthEstimator(Slow(), batch_size=1)
    report = run(tmp_path / "photos", model=slow, workers=1, stop=stop, on_outcome=listen)
    assert report.interrupted
    assert 1 <= report.done < 20
    assert len(list((tmp_path / "out").glob("*.npy"))) == report.done
    assert counts(run(tmp_path / "photos")) == (40, 40 - report.done, report.done, 0)


def test_many_failures_are_all_in_the_ledger_and_some_in_the_report(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for index in range(1100):
        (tmp_path / "photos" / f"{index}.jpg").touch()
    report = run(tmp_path / "photos")
    assert (report.failed, len(report.failures)) == (1100, 1000)
    assert sum(line.get("outcome") == "failed" for line in read_ledger(tmp_path / "out")) == 1100


def test_all_of_the_robustness_folder_goes_through_one_run(shared_data: Path, tmp_path: Path) -> None:
    files = sorted(path for path in (shared_data / "robustness").rglob("*") if path.is_file())
    listed = tmp_path / "all.txt"
    listed.write_text("\n".join(map(str, files)))
    report = estimate(listed, tmp_path / "out", model="synthetic", preview=True)
    found, done, _, failed = counts(report)
    assert found == len(files)
    assert done >= 92 + 162 + 13  # 93 by Pillow from 13 on, as test_decode.py counts
    for line in read_ledger(tmp_path / "out"):
        if line.get("outcome") == "done":
            (name,) = (name for name in line["outputs"] if name.endswith(".npy"))
            depth = np.load(tmp_path / "out" / name)
            assert depth.shape == (line["height"], line["width"])
            assert np.isfinite(depth).all()
    assert all(failure.stage == "decode" and 8 < len(failure.reason) < 200 for failure in report.failures)
    assert failed == len(report.failures)
    some = estimate(files[::9], tmp_path / "network", model="compact", size="native")
    assert some.done and {each.stage for each in some.failures} <= {"decode"}


@pytest.mark.slow
def test_images_of_200_megapixels_take_less_than_2_gib_together(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGBA", (20000, 10000), (200, 30, 30, 120)).save(tmp_path / "photos/a.png", compress_level=1)
    for name in ("b.jpg", "c.jpg"):
        Image.new("RGB", (20000, 10000), "green").save(tmp_path / "photos" / name)
    code = (
        "import resource, sys, cortexia_video as cx\n"
        "report = cx.estimate(sys.argv[1], sys.argv[2], format='png', preview=True)\n"
        "print(report.done, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "photos"), str(tmp_path / "out")]
    done, peak_mib = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert done == "3"
    assert int(peak_mib) < 2048


def test_the_byte_budget_lets_the_large_run_alone() -> None:
    budget, together, most = MemoryBudget(100), [], []

    def work(count: int) -> None:
        with budget.hold(count):
            together.append(count)
            most.append(sum(together))
            time.sleep(0.002)
            together.remove(count)

    threads = [
        threading.Thread(target=work, args=(count,)) for count in [40, 40, 500, 60, 30, 100, 20, 500] * 4
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=HANG_S)
    assert not together and len(most) == len(threads)
    assert all(total <= 100 or total == 500 for total in most)


def done_paths(out: Path) -> dict[str, str]:
    return {line["key"]: line["path"] for line in read_done(out)}


@pytest.mark.parametrize("parts", [None, 2])
def test_a_skipped_input_that_moved_is_known_where_it_is(photos: Path, parts: int | None) -> None:
    out = photos.parent / "out"
    for part in range(1, (parts or 1) + 1):
        estimate(photos, out, model="synthetic", partition=f"{part}/{parts}" if parts else None)
    before = {line["key"]: line for line in read_done(out)}
    photos.rename(photos.parent / "moved")
    moved = photos.parent / "moved"
    for part in range(1, (parts or 1) + 1):
        report = estimate(moved, out, model="synthetic", partition=f"{part}/{parts}" if parts else None)
        assert report.skipped == report.found
    assert done_paths(out) == {key: str(moved / key) for key in before}
    for line in read_done(out):
        assert {**line, "path": ""} == {**before[line["key"]], "path": ""}  # all else is what it was
    estimate(moved, out, model="synthetic")
    lines = (path.read_text().count('"outcome"') for path in out.glob("ledger*"))
    assert sum(lines) == 3 * len(before)  # begun, done, moved: and no more
    assert verify(out).wrong == []


def test_a_copy_of_an_input_is_not_where_it_moved(photos: Path) -> None:
    out = photos.parent / "out"
    estimate(photos, out, model="synthetic")
    shutil.copytree(photos, photos.parent / "copy")
    report = estimate(photos.parent / "copy", out, model="synthetic")
    assert (report.skipped, report.failed) == (0, report.found)
    assert "holds the depth of" in report.failures[0].reason


def test_failures_of_a_folder_given_by_mistake_do_not_stay(photos: Path, make_image: Make) -> None:
    wrong, out = photos.parent / "wrong", photos.parent / "out"
    wrong.mkdir()
    for name in ("x.jpg", "y.jpg", "z.jpg"):
        (wrong / name).write_bytes(b"no image")
    (photos / "broken.jpg").write_bytes(b"no image, either")
    assert estimate([wrong, photos.parent / "gone"], out, model="synthetic").failed == 4
    assert status(out).failed == 4
    (wrong / "x.jpg").unlink()
    assert estimate(photos, out, model="synthetic", partition="1/1").failed == 1
    assert status(out).failed == 5  # a partition sees but a part
    assert estimate(photos, out, model="synthetic").failed == 1
    assert status(out).failed == 3  # what is gone counts no more: x.jpg, gone
    found = verify(out, forget_failed=True)
    assert (found.forgotten, status(out).failed) == (3, 0)
    shutil.rmtree(wrong)
    assert estimate(photos, out, model="synthetic").failed == 1  # it is tried again as before
    assert status(out).failed == 1
    (line,) = (line for line in read_ledger(out) if line.get("reason") == "asked for" and "y" in line["key"])
    assert line["outcome"] == "forgotten"
