"""What a run will take on the disk is said before it, where that is more than a third of what is free."""

from __future__ import annotations

import gc
import logging
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

import cortexia_video as cx
from cortexia_video.sources.find import InputFile

Make = Callable[..., Path]
Usage = namedtuple("Usage", "total used free")
NEED = 10 * 60 * 80 * 4  # bytes of ten images


def set_free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda place: Usage(10**12, 10**12 - free, free))


@pytest.fixture
def photos(tmp_path: Path, make_image: Make) -> Path:
    for number in range(10):
        make_image(tmp_path / f"in/{number}.jpg", (60, 80), seed=number)
    return tmp_path / "in"


@pytest.mark.parametrize(
    ("free", "more", "said"),
    [
        (3 * NEED - 1, {}, "depth of 10 images takes up to 192 kB, and 576 kB are free in "),
        (3 * NEED, {}, ""),
        (NEED // 2, {"format": "png16"}, "takes up to 96 kB"),
        (1000, {"size": "native"}, ""),
    ],
)
def test_the_need_is_said_where_it_is_much(
    free: int, more: dict[str, str], said: str, photos: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    set_free(monkeypatch, free)
    with caplog.at_level(logging.WARNING):
        cx.estimate(photos, tmp_path / "out", model="synthetic", **more)
    assert (said in caplog.text) if said else caplog.text == ""


def test_what_is_done_needs_nothing_and_what_is_written_is_what_was_said(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    report = cx.estimate(photos, tmp_path / "out", model="synthetic")
    written = sum(each.stat().st_size for each in (tmp_path / "out").glob("*.npy"))
    assert report.bytes == written and NEED <= written < 1.05 * NEED
    assert report.kinds == {"disparity": 10}
    set_free(monkeypatch, 1000)
    again = cx.estimate(photos, tmp_path / "out", model="synthetic")
    assert (again.skipped, again.bytes, caplog.text) == (10, written, "")


def test_of_a_run_that_goes_on_the_inputs_behind_what_is_done_count(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cx.estimate([photos / f"{number}.jpg" for number in range(5)], tmp_path / "out", model="synthetic")
    monkeypatch.setattr("cortexia_video.jobs.estimate.COUNTED", 3)
    set_free(monkeypatch, 1000)
    report = cx.estimate(photos, tmp_path / "out", model="synthetic")
    assert "depth of 3 images takes" in caplog.text
    assert (report.skipped, report.done) == (5, 5)


def test_inputs_that_are_done_are_not_kept(photos: Path, tmp_path: Path) -> None:
    def count(report: cx.Report, failure: cx.Failure | None) -> None:
        if report.skipped == 130:
            held.append(sum(isinstance(each, InputFile) for each in gc.get_objects()))

    held: list[int] = []
    for number in range(10, 130):
        (photos / f"{number}.jpg").hardlink_to(photos / "0.jpg")
    cx.estimate(photos, tmp_path / "out", model="synthetic")
    cx.estimate(photos, tmp_path / "out", model="synthetic", on_outcome=count)
    assert len(held) == 1 and held[0] < 100


def test_an_archive_counts_once(photos: Path, tmp_path: Path) -> None:
    for _ in range(2):
        report = cx.estimate(photos, tmp_path / "out", model="synthetic", pack="tar", pack_size=4)
        assert report.bytes == sum(each.stat().st_size for each in (tmp_path / "out").glob("*.tar"))
