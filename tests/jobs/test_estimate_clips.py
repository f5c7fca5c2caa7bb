"""Videos through `estimate`: one outcome each, the same bytes after any kill, and depth that is right."""

from __future__ import annotations

import errno
import gc
import os
import re
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pytest
from camera_model import FOV_DEG, Camera, InPlace
from clips import decode_by_ffmpeg, draw, ffmpeg, times_by_ffmpeg, write_clip
from conftest import HANG_S
from file_digests import file_digests
from numpy.typing import NDArray
from PIL import Image

from cortexia_video import (
    AlignTo,
    DepthEstimator,
    Frame,
    SyntheticModel,
    colored_depthmap,
    estimate,
    read_image,
    read_ledger,
    status,
    verify,
    watch_progress,
)
from cortexia_video.cli import main
from cortexia_video.errors import Failure, InputError, MissingExtraError, OutputLostError, say_install
from cortexia_video.jobs import clip_output, clip_parts, clip_task
from cortexia_video.jobs.outcomes import Report
from cortexia_video.pinhole import to_f_px
from cortexia_video.sources import find
from cortexia_video.storage.system import PartialFolder
from cortexia_video.video import container
from cortexia_video.video.clip_index import read_index
from cortexia_video.video.depth_clip import DepthClip
from cortexia_video.video.frames import read_frames

Make = Callable[..., Path]


def load(model: Any = None, batch_size: int = 4) -> DepthEstimator:
    return DepthEstimator(model or SyntheticModel(short_side=48), batch_size=batch_size)


def run(inputs: Any, out: Path, **options: Any) -> Report:
    options.setdefault("model", load())
    return estimate(inputs, out, **options)


def files(out: Path) -> dict[str, str]:
    return file_digests(out, lambda name: not name.startswith(("ledger", "depth.json")))


def done_lines(out: Path) -> dict[str, dict[str, Any]]:
    return {line["key"]: line for line in read_ledger(out) if line.get("outcome") == "done"}


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a part be 8 frames."""
    monkeypatch.setattr(clip_output, "_PART_FRAMES", 8)
    monkeypatch.setattr(clip_output, "PROVEN", 4)


def test_clips_and_images_of_a_folder_are_inputs(tmp_path: Path, make_image: Make) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    write_clip(folder / "a.mp4")
    write_clip(folder / "deep/b.webm", 7, codec="libvpx-vp9")
    make_image(folder / "c.jpg")
    (folder / "d.ts").write_text("export const answer: number = 42;")  # TypeScript
    report = run(folder, out, recursive=True)
    assert (report.found, report.done, report.failed) == (3, 3, 0)
    assert [*sorted(files(out))] == ["a.mp4.mkv", "c.jpg.npy", "deep/b.webm.mkv"]
    line = done_lines(out)["a.mp4"]
    assert (line["height"], line["width"], line["full_size"]) == (48, 64, [48, 64])
    assert line["clip"]["frames"] == 30 and line["clip"]["seconds"] == 1.0 and line["clip"]["held"] == 0
    report = run(folder, out, recursive=True)
    assert (report.found, report.skipped) == (3, 3)


def test_clips_that_are_through_are_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each there are arrays, and of one that failed an open file."""
    alive, kept = weakref.WeakSet[clip_output.ClipOutput](), list[int]()

    class Seen(clip_output.ClipOutput):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            alive.add(self)
            super().__init__(*arguments, **options)

    def count(report: Report, failure: Failure | None) -> None:
        gc.collect()
        kept.append(len(alive))

    monkeypatch.setattr(clip_task, "ClipOutput", Seen)
    first = write_clip(tmp_path / "in/0.mp4", 4)
    for number in range(1, 9):
        (tmp_path / f"in/{number}.mp4").write_bytes(first.read_bytes())
    run(tmp_path / "in", tmp_path / "out", workers=1, on_outcome=count)
    assert len(kept) == 9 and kept[-1] <= 3, kept


def test_a_clip_that_fails_in_two_places_fails_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes, settled = threading.Event(), threading.Event()

    def read(*_: Any, **__: Any) -> Iterator[tuple[int, NDArray[np.uint8] | None]]:
        yield 0, draw(0)
        writes.wait(60)
        raise RuntimeError("cut short")

    def add(*_: Any) -> bool:
        writes.set()
        settled.wait(60)
        raise RuntimeError("nothing left")

    monkeypatch.setattr(clip_task, "read_frames", read)
    monkeypatch.setattr(clip_output.ClipOutput, "add", add)
    path = write_clip(tmp_path / "a.mp4", 4)
    model = load(SyntheticModel(kind="metric"), batch_size=1)  # no frame says the range first
    report = run(path, tmp_path / "out", model=model, on_outcome=lambda *_: settled.set())
    assert (report.found, report.failed, len(report.failures)) == (1, 1, 1)
    assert "cut short" in report.failures[0].reason


def test_our_own_clips_are_no_inputs(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", 5)
    run(tmp_path, tmp_path)
    report = run(tmp_path, tmp_path)
    assert (report.found, report.skipped) == (1, 1)
    assert not (tmp_path / "a.mp4.mkv.mkv").exists()


def test_without_a_filter_depth_is_that_of_each_frame(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 20)
    run(path, tmp_path / "out", steady="off")
    frames = [Frame("x", image) for _, image in read_frames(path, read_index(path)) if image is not None]
    native = DepthEstimator(SyntheticModel(short_side=48), size="native")
    with DepthClip(tmp_path / "out/a.mp4.mkv") as clip:
        step = clip.metadata["scale"]
        for depth, expected in zip(clip, native.estimate(frames), strict=True):
            assert not isinstance(expected, Failure)
            assert np.abs(depth.values - expected.values).max() <= 0.51 * step


def test_batch_size_and_threads_change_no_byte(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 40)
    for name, options in (("1", {"workers": 1}), ("4", {"workers": 3})):
        run(path, tmp_path / name, model=load(batch_size=int(name)), **options)
    assert files(tmp_path / "1") == files(tmp_path / "4") != {}


class Killed(BaseException):
    """What nobody catches."""


@pytest.mark.parametrize(
    "moment",
    [
        each if each in (3, 8, 9, 17, 24, 33, 39) else pytest.param(each, marks=pytest.mark.slow)
        for each in range(2, 40)
    ],
)
def test_a_run_that_ends_anywhere_goes_on_to_the_same_bytes(
    tmp_path: Path, moment: int, monkeypatch: pytest.MonkeyPatch, small_parts: None
) -> None:
    path = write_clip(tmp_path / "a.mp4", 40, options={"x264-params": "keyint=10:bframes=3"})
    run(path, tmp_path / "whole")
    add, added = clip_output.ClipOutput.add, []

    def add_and_end(self: Any, *arguments: Any) -> bool:
        if len(added) == moment:
            raise Killed
        added.append(self.following)
        return add(self, *arguments)

    monkeypatch.setattr(clip_output.ClipOutput, "add", add_and_end)
    with pytest.raises(Killed):
        run(path, tmp_path / "killed")
    done = len(added)
    assert len([*(tmp_path / "killed").glob(f"{clip_parts.FOLDER}/*/*.mkv")]) == min(moment, 39) // 8
    monkeypatch.setattr(
        clip_output.ClipOutput, "add", lambda self, *each: added.append(0) or add(self, *each)
    )
    report = run(path, tmp_path / "killed", model=load(batch_size=3))
    assert report.done == 1
    assert len(added) - done == 40 - done // 8 * 8  # what was done is not done again
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    assert not (tmp_path / "killed" / clip_parts.FOLDER).exists()


def test_a_damaged_part_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_parts: None
) -> None:
    path = write_clip(tmp_path / "a.mp4", 40)
    run(path, tmp_path / "whole")
    finish = clip_output.ClipOutput.finish
    for name, wanted in (("*/000003.mkv", 16), ("*/000003.npz", 16), ("*/000000.mkv", 40)):
        out = tmp_path / name.replace("/", "").replace("*", "")

        def end(self: Any, *_: Any) -> None:
            raise Killed

        monkeypatch.setattr(clip_output.ClipOutput, "finish", end)
        with pytest.raises(Killed):
            run(path, out)
        monkeypatch.setattr(clip_output.ClipOutput, "finish", finish)
        ((damaged),) = (out / clip_parts.FOLDER).glob(name)
        data = bytearray(damaged.read_bytes())
        data[len(data) // 2] ^= 0x10
        damaged.write_bytes(data)
        add, added = clip_output.ClipOutput.add, []
        monkeypatch.setattr(
            clip_output.ClipOutput, "add", lambda self, *each, a=add, b=added: b.append(0) or a(self, *each)
        )
        assert run(path, out).done == 1
        monkeypatch.setattr(clip_output.ClipOutput, "add", add)
        assert files(out) == files(tmp_path / "whole")
        assert len(added) == wanted


def test_a_stop_keeps_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_parts: None
) -> None:
    path = write_clip(tmp_path / "a.mp4", 120)
    run(path, tmp_path / "whole")
    stop = threading.Event()
    add = clip_output.ClipOutput.add

    def add_and_stop(self: Any, *each: Any) -> bool:
        if self.following == 40:
            stop.set()
        return add(self, *each)

    monkeypatch.setattr(clip_output.ClipOutput, "add", add_and_stop)
    report = run(path, tmp_path / "out", stop=stop)
    assert report.interrupted and report.done == report.failed == 0
    assert run(path, tmp_path / "out").done == 1
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_parts_of_other_settings_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_parts: None
) -> None:
    path = write_clip(tmp_path / "a.mp4", 40)
    run(path, tmp_path / "whole", steady="off")
    with monkeypatch.context() as patch:

        def end(self: Any, *_: Any) -> None:
            raise Killed

        patch.setattr(clip_output.ClipOutput, "finish", end)
        with pytest.raises(Killed):
            run(path, tmp_path / "out")
    assert run(path, tmp_path / "out", steady="off").done == 1
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_settings_of_videos_change_videos_only(tmp_path: Path, make_image: Make) -> None:
    write_clip(tmp_path / "in/a.mp4", 5)
    make_image(tmp_path / "in/b.jpg")
    run(tmp_path / "in", tmp_path / "out")
    report = run(tmp_path / "in", tmp_path / "out", steady="off")
    assert (report.done, report.skipped) == (1, 1)
    report = run(tmp_path / "in", tmp_path / "out", steady="off", format="npz")
    assert (report.done, report.skipped) == (1, 1)


def test_some_frames_of_a_clip(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 60)
    run(path, tmp_path / "out", steady="off", every=7, frames="10:50")
    (line,) = done_lines(tmp_path / "out").values()
    assert (line["clip"]["frames"], line["clip"]["first"], line["clip"]["every"]) == (6, 10, 7)
    frames = dict(read_frames(path, read_index(path), range(10, 50, 7)))
    native = DepthEstimator(SyntheticModel(short_side=48), size="native")
    with DepthClip(tmp_path / "out/a.mp4.mkv") as clip:
        assert clip.times_s == pytest.approx(np.arange(6) * 7 / 30, abs=1e-3)
        for depth, image in zip(clip, frames.values(), strict=True):
            assert image is not None
            assert np.abs(depth.values - native(Frame("x", image)).values).max() < 1e-3


def test_full_size_is_that_of_the_video(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", [draw(each, 120, 200) for each in range(5)])
    run(path, tmp_path / "out", video_size="full")
    with DepthClip(tmp_path / "out/a.mp4.mkv") as clip:
        assert clip.shape == clip.read(0).values.shape == (120, 200)


def test_metres_have_one_focal_length(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 20)
    run(path, tmp_path / "out", model=load(Camera()))
    (line,) = done_lines(tmp_path / "out").values()
    assert line["f_px"] == pytest.approx(to_f_px(FOV_DEG, 64))
    assert (line["f_source"], line["kind"], line["f_px_used"]) == ("estimated", "metric", True)
    run(path, tmp_path / "given", model=load(Camera()), f_px=100.0)
    with DepthClip(tmp_path / "given/a.mp4.mkv") as given, DepthClip(tmp_path / "out/a.mp4.mkv") as out:
        assert (given.read(3).f_px, given.read(3).f_source) == (100.0, "given")
        ratio = given.read(3).values / out.read(3).values
        assert ratio == pytest.approx(100 / to_f_px(FOV_DEG, 64), rel=3e-4)


def test_frames_that_were_looked_at_first_have_the_depth_of_others(tmp_path: Path) -> None:
    """Their network's output is used twice: to say what is one for all, and for their depth."""
    path = write_clip(tmp_path / "a.mp4", 12)
    for name, model in (("out", InPlace()), ("expected", Camera())):
        run(path, tmp_path / name, model=load(model))
    assert files(tmp_path / "out") == files(tmp_path / "expected")


class Fails(SyntheticModel):
    """Gives no depth for some frames, by the brightness of their first pixel."""

    def __init__(self, wrong: Callable[[float], bool]) -> None:
        super().__init__(short_side=48)
        self.wrong = wrong

    def infer(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        values = super().infer(batch)
        for image, each in zip(batch, values, strict=True):
            if self.wrong(float(image.reshape(-1)[0])):
                each[:] = np.nan
        return values


def grey_clip(path: Path, levels: list[int]) -> Path:
    images = []
    for level in levels:
        image = draw(0)
        image[:6, :6] = level
        images.append(image)
    return write_clip(path, images, codec="ffv1", pixels="bgr0")


def test_a_frame_without_depth_shows_the_one_before(tmp_path: Path) -> None:
    path = grey_clip(tmp_path / "a.mkv", [100] * 7 + [250] * 2 + [100] * 6 + [250])
    report = run(path, tmp_path / "out", model=load(Fails(lambda level: level > 200)), steady="off")
    assert report.done == 1
    (line,) = done_lines(tmp_path / "out").values()
    assert line["clip"]["held"] == 3 and line["clip"]["frames"] == 16
    with DepthClip(tmp_path / "out/a.mkv.mkv") as clip:
        assert np.array_equal(clip.read_numbers(8), clip.read_numbers(6))
        assert np.array_equal(clip.read_numbers(15), clip.read_numbers(14))


def test_frames_without_depth_at_the_beginning_are_unknown(tmp_path: Path) -> None:
    path = grey_clip(tmp_path / "a.mkv", [250] * 3 + [100] * 7)
    run(path, tmp_path / "out", model=load(Fails(lambda level: level > 200)))
    with DepthClip(tmp_path / "out/a.mkv.mkv") as clip:
        assert len(clip) == 10
        assert np.isnan(clip.read(2).values).all()
        assert np.isfinite(clip.read(3).values).all()


def test_a_clip_mostly_without_depth_fails(tmp_path: Path) -> None:
    path = grey_clip(tmp_path / "a.mkv", [250] * 6 + [100] * 4)
    report = run(path, tmp_path / "out", model=load(Fails(lambda level: level > 200)))
    assert report.failed == 1
    assert "no depth of 6 of its 10 frames" in report.failures[0].reason
    assert not files(tmp_path / "out")


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for at in range(data.index(b"mdat") + 1500, len(data) - 3000, 997):
        data[at] ^= 0xFF
    path.write_bytes(data)


def test_damaged_packets_are_counted_and_the_clip_is_done(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_clip(tmp_path / "a.mp4", 90, options={"x264-params": "keyint=10"})
    spoil(path)
    assert run(path, tmp_path / "out").done == 1
    (line,) = done_lines(tmp_path / "out").values()
    held = line["clip"]["held"]
    assert 0 < held < 45 and line["clip"]["frames"] == 90
    assert f"a.mp4: {held} of 90 frames have no depth" in caplog.text


@pytest.mark.parametrize("video_format", ["mkv", "frames"])
def test_a_flipped_byte_is_found_and_made_again(tmp_path: Path, video_format: Any) -> None:
    path = write_clip(tmp_path / "a.mp4", 9)
    run(path, tmp_path / "out", video_format=video_format)
    before = files(tmp_path / "out")
    damaged = tmp_path / "out" / sorted(before)[-2 if video_format == "frames" else 0]
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 0x10  # FFV1 decodes it to another number, without a word
    damaged.write_bytes(data)
    (wrong,) = verify(tmp_path / "out", requeue=True).wrong
    assert (wrong.key, wrong.reason) == ("a.mp4", "its content is not what was written")
    assert run(path, tmp_path / "out", video_format=video_format).done == 1
    assert files(tmp_path / "out") == before


def join_sizes(path: Path) -> None:
    one = write_clip(path.with_suffix(".1"), 5, format="h264").read_bytes()
    two = write_clip(path.with_suffix(".2"), [draw(each, 64, 96) for each in range(5)], format="h264")
    path.write_bytes(one + two.read_bytes())


FAILING: dict[str, tuple[Callable[[Path], Any], str]] = {
    "text": (lambda path: path.write_text("ffconcat version 1.0\nfile 'good.mp4'\n"), "not a video"),
    "empty": (lambda path: path.write_bytes(b""), "empty file"),
    "no moov": (lambda path: path.write_bytes(write_clip(path).read_bytes()[:-1500]), "cut short"),
    "sound": (lambda path: ffmpeg("-f", "lavfi", "-i", "sine=duration=1", path), "only sound"),
    "size": (join_sizes, "change from 64 x 48 to 96 x 64"),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_bad_clip_costs_itself_alone(tmp_path: Path, make_image: Make, name: str) -> None:
    make, reason = FAILING[name]
    folder = tmp_path / "in"
    write_clip(folder / "good.mp4", 6)
    make_image(folder / "z.jpg")
    make(folder / "bad.mp4")
    report = run(folder, tmp_path / "out")
    assert (report.found, report.done, report.failed) == (3, 2, 1)
    (failure,) = report.failures
    assert (failure.key, failure.stage) == ("bad.mp4", "decode")
    assert reason in failure.reason
    assert [*sorted(files(tmp_path / "out"))] == ["good.mp4.mkv", "z.jpg.npy"]


_PEAK = """
import resource, sys
from cortexia_video import DepthEstimator, SyntheticModel, estimate
estimate(sys.argv[1], sys.argv[2], model=DepthEstimator(SyntheticModel(short_side=120)), frames=f"0:{sys.argv[3]}")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_clip(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", [draw(number, 120, 160) for number in range(1000)])
    peaks = []
    for count in (100, 1000):
        command = [sys.executable, "-c", _PEAK, str(path), str(tmp_path / f"{count}"), str(count)]
        peaks.append(int(subprocess.run(command, capture_output=True, check=True, timeout=HANG_S).stdout))
    assert peaks[1] < peaks[0] + 20, peaks  # the depth of 900 frames is 66 MB


def test_large_videos_are_refused(tmp_path: Path) -> None:
    report = run(write_clip(tmp_path / "a.mp4"), tmp_path / "out", max_megapixels=0.002)
    assert "megapixels" in report.failures[0].reason


def test_partitions_take_whole_clips(tmp_path: Path, make_image: Make) -> None:
    for name in "abcd":
        write_clip(tmp_path / f"in/{name}.mp4", 3)
        make_image(tmp_path / f"in/{name}.jpg")
    run(tmp_path / "in", tmp_path / "whole")
    found = [run(tmp_path / "in", tmp_path / "out", partition=f"{part}/3").found for part in (1, 2, 3)]
    assert sum(found) == 8
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_without_the_package_a_video_is_told(
    tmp_path: Path, make_image: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write_clip(tmp_path / "in/a.mp4", 3)
    make_image(tmp_path / "in/b.jpg")
    for module in (container, find):
        monkeypatch.setattr(module, "IS_INSTALLED", False)
    with pytest.raises(MissingExtraError, match=r"install '.*\[video\]'"):
        run(clip, tmp_path / "out")
    report = run(tmp_path / "in", tmp_path / "out")
    assert report.found == 1
    said = say_install("'cortexia-video[video]'")
    assert report.passed_over == {f"MP4 (a video: {said})": 1}
    with pytest.raises(SystemExit) as ended:
        main(["estimate", str(clip), "--output", str(tmp_path / "named")])
    assert ended.value.code == 2
    assert not (tmp_path / "named").exists()


def test_a_named_file_is_a_video_by_its_content(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", 3).rename(tmp_path / "film.bin")
    assert run(path, tmp_path / "out").done == 1
    assert [*files(tmp_path / "out")] == ["film.bin.mkv"]


def test_a_video_of_others_in_the_place_is_not_replaced(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 3)
    other = write_clip(tmp_path / "out/a.mp4.mkv", 4)
    before = other.read_bytes()
    for overwrite in (False, True):
        report = run(clip, tmp_path / "out", overwrite=overwrite)
        assert report.failed == 1
        assert other.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"steady": "strong"}, "`steady` must be one of"),
        ({"every": 0}, "`every` must be above 0, got 0"),
        ({"frames": "5-9"}, "`frames` must be like 0:500"),
        ({"frames": "9:5"}, "`frames` must be like 0:500"),
        ({"video_size": "half"}, "`video_size` must be one of full, native"),
    ],
)
def test_options_that_cannot_be(tmp_path: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        run(write_clip(tmp_path / "a.mp4", 3), tmp_path / "out", **options)


def test_frames_beyond_the_end(tmp_path: Path) -> None:
    report = run(write_clip(tmp_path / "a.mp4", 3), tmp_path / "out", frames="5:9")
    assert "it has 3 frames" in report.failures[0].reason


def test_align_and_metres(tmp_path: Path) -> None:
    report = run(write_clip(tmp_path / "a.mp4", 3), tmp_path / "out", model=load(Camera()), steady="align")
    assert "metres" in report.failures[0].reason


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4")
    write_clip(tmp_path / "a.mp4", 3).rename(path)
    assert run(path, tmp_path / "out").done == 1


def make_sounding(path: Path, frames: int = 45) -> Path:
    """Write a video with a tone, both of 1.5 s."""
    silent, tone = write_clip(path.with_suffix(".silent.mp4"), frames), path.with_suffix(".m4a")
    ffmpeg("-f", "lavfi", "-i", "sine=frequency=440:duration=1.5", "-c:a", "aac", tone)
    ffmpeg("-i", silent, "-i", tone, "-c", "copy", path)
    silent.unlink(), tone.unlink()  # type: ignore[func-returns-value]
    return path


def test_a_preview_shows_frames_beside_their_depth_with_the_sound(tmp_path: Path) -> None:
    path = make_sounding(tmp_path / "in.mp4")
    run(path, tmp_path / "out", preview=True, steady="off")
    preview = tmp_path / "out/in.mp4.preview.mp4"
    frames = decode_by_ffmpeg(preview, 48, 128)
    assert np.abs(frames[:, :, :64].astype(int) - decode_by_ffmpeg(path, 48, 64)).mean() < 6
    assert times_by_ffmpeg(preview) == pytest.approx(np.arange(45) / 30, abs=1e-3)
    with DepthClip(tmp_path / "out/in.mp4.mkv") as clip:
        depth = np.array([each.values for each in clip])
    colors = colored_depthmap(depth[20], depth.min(), depth.max())
    shown = np.asarray(Image.fromarray(colors).resize((64, 48), Image.Resampling.BILINEAR))
    assert np.abs(frames[20, :, 64:].astype(int) - shown).mean() < 8
    tones = [ffmpeg("-i", each, "-vn", "-f", "s16le", "-ac", 1, "-") for each in (path, preview)]
    assert tones[0] == tones[1] != b""
    assert [*sorted(files(tmp_path / "out"))] == ["in.mp4.mkv", "in.mp4.preview.mp4"]
    assert set(done_lines(tmp_path / "out")["in.mp4"]["outputs"]) == {"in.mp4.mkv", "in.mp4.preview.mp4"}
    with pytest.raises(InputError, match="what cortexia wrote is never an input"):
        run(tmp_path / "out", tmp_path / "other")


def test_a_preview_of_some_frames_is_silent(tmp_path: Path) -> None:
    path = make_sounding(tmp_path / "in.mp4")
    run(path, tmp_path / "out", preview=True, every=4)
    preview = tmp_path / "out/in.mp4.preview.mp4"
    assert len(decode_by_ffmpeg(preview, 48, 128)) == 12
    assert not read_index(preview).has_sound
    run(path, tmp_path / "again", preview=True, every=4)
    assert files(tmp_path / "out") == files(tmp_path / "again")


def test_status_tells_the_frames_of_what_is_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_parts: None
) -> None:
    path = write_clip(tmp_path / "a.mp4", 40)
    with monkeypatch.context() as patch:

        def end(self: Any, *_: Any) -> None:
            raise Killed

        patch.setattr(clip_output.ClipOutput, "finish", end)
        with pytest.raises(Killed):
            run(path, tmp_path / "out", every=1)
    (clip,) = status(tmp_path / "out").clips
    assert (clip.key, clip.frames, clip.total) == ("a.mp4", 32, 40)
    assert clip.per_second > 0
    assert "a.mp4: 32 of 40 frames" in str(status(tmp_path / "out"))
    run(path, tmp_path / "out")
    assert status(tmp_path / "out").clips == []


def test_status_tells_how_far_a_clip_is_while_the_run_is_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cortexia_video.jobs.outcomes.PROGRESS_S", 0)
    path = write_clip(tmp_path / "a.mp4", 40)
    add, seen = clip_output.ClipOutput.add, []

    def add_and_look(self: Any, *each: Any) -> bool:
        if self.following == 25:
            seen.append(status(tmp_path / "out"))
        return add(self, *each)

    monkeypatch.setattr(clip_output.ClipOutput, "add", add_and_look)
    run(path, tmp_path / "out")
    (said,) = seen
    (clip,) = said.clips
    assert (clip.key, clip.frames, clip.total) == ("a.mp4", 25, 40)
    assert clip.per_second > 0 and "a.mp4: 25 of 40 frames, " in str(said) and " left" in str(said)
    assert said.runs[0].is_at_work(said.now)
    assert status(tmp_path / "out").clips == []


def test_the_time_left_counts_the_preview(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cortexia_video.jobs.outcomes.PROGRESS_S", 0)
    path, stages = write_clip(tmp_path / "a.mp4", 40), set[int | None]()
    write, seen = clip_output.write_preview, []

    def write_and_look(*given: Any) -> None:
        *others, tick = given

        def tick_and_look() -> None:
            tick()
            seen.append(status(tmp_path / "out"))

        write(*others, tick_and_look)

    monkeypatch.setattr(clip_output, "write_preview", write_and_look)
    with watch_progress(lambda stage: stages.add(stage.total) if stage.name == "a.mp4" else None):
        run(path, tmp_path / "out", preview=True)
    assert stages - {None} == {80}
    (clip,) = seen[9].clips
    assert (clip.key, clip.frames, clip.total, clip.undrawn) == ("a.mp4", 40, 40, 30)
    assert re.search(r"a.mp4: 40 of 40 frames, 10 in its preview, [\d.]+ per second, .* left", str(seen[9]))
    assert (
        str(clip_parts.UnfinishedClip("b", 10, 40, 2.0, 40))
        == "b: 10 of 40 frames, 2.0 per second, 35.0 s left"
    )


def test_depth_that_waits_is_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large a map is, one may wait, and all end as they would."""
    path = write_clip(tmp_path / "a.mp4", 40)
    run(path, tmp_path / "out", workers=3)
    monkeypatch.setattr(clip_task, "_WAITING_BYTES", 1)
    run(path, tmp_path / "again", workers=3)
    assert files(tmp_path / "out") == files(tmp_path / "again") != {}


def test_a_folder_of_frames_is_a_clip_in_natural_order(tmp_path: Path) -> None:
    folder = tmp_path / "shots/take"
    folder.mkdir(parents=True)
    images = [draw(number) for number in range(12)]
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"f{number}.png")  # f10 comes after f9, not after f1
    clip = write_clip(tmp_path / "video/take.mkv", images, codec="ffv1", pixels="bgr0", rate=12)
    run(tmp_path / "shots", tmp_path / "out", sequence=True, fps=12, recursive=True, preview=True)
    run(clip, tmp_path / "same")
    assert [*sorted(files(tmp_path / "out"))] == ["shots/take.mkv", "shots/take.preview.mp4"]
    with (
        DepthClip(tmp_path / "out/shots/take.mkv") as ours,
        DepthClip(tmp_path / "same/take.mkv.mkv") as other,
    ):
        assert ours.times_s == pytest.approx(other.times_s, abs=2e-3)
        assert all(np.array_equal(ours.read_numbers(each), other.read_numbers(each)) for each in range(12))
    assert len(decode_by_ffmpeg(tmp_path / "out/shots/take.preview.mp4", 48, 128)) == 12
    assert (
        run(tmp_path / "shots", tmp_path / "out", sequence=True, fps=12, recursive=True, preview=True).skipped
        == 1
    )
    Image.fromarray(images[0]).save(folder / "f12.png")
    report = run(tmp_path / "shots", tmp_path / "out", sequence=True, fps=12, recursive=True, preview=True)
    assert report.done == 1


def test_folders_of_one_name_are_clips_of_their_own(tmp_path: Path) -> None:
    """As extracted by tools that call each folder of frames alike: none takes the place of another."""
    for shot in "abc":
        (tmp_path / shot / "frames").mkdir(parents=True)
        for number in range(3):
            Image.fromarray(draw(number)).save(tmp_path / shot / f"frames/{number}.png")
    write_clip(tmp_path / "c/frames/extra.mp4", 3)
    inputs = [*(tmp_path / shot / "frames" for shot in "abca")]
    for partition in ("1/2", "2/2"):
        run(inputs, tmp_path / "out", sequence=True, partition=partition)
    report = run(inputs, tmp_path / "out", sequence=True)
    assert (report.found, report.skipped) == (3, 3)
    assert report.passed_over == {"MP4 (a video, not a folder of frames)": 1}
    names = {each.name.partition("~")[0] for each in (tmp_path / "out").glob("*~*.mkv")}
    assert names == {"frames"} and len(files(tmp_path / "out")) == 3


def test_folders_of_frames_are_found_behind_links_that_lead_nowhere_back(tmp_path: Path) -> None:
    """As images are."""
    for folder in ("disk/take", "in/near"):
        (tmp_path / folder).mkdir(parents=True)
        Image.fromarray(draw(0)).save(tmp_path / folder / "0.png")
    (tmp_path / "in/far").symlink_to(tmp_path / "disk")
    (tmp_path / "in/near/up").symlink_to(tmp_path / "in")
    (tmp_path / "disk/over").symlink_to(tmp_path / "in")  # and from there back again
    (tmp_path / "in/all").symlink_to(tmp_path)  # a folder above, in which the inputs lie once more
    assert run(tmp_path / "in", tmp_path / "out", sequence=True, recursive=True).failed == 0
    assert {*files(tmp_path / "out")} == {"in/near.mkv", "in/far/take.mkv", "in/all/disk/take.mkv"}


def test_frames_of_a_sequence_that_are_broken_or_differ(tmp_path: Path) -> None:
    for name, broken in (("held", (0, 3)), ("size", ()), ("none", range(5))):
        folder = tmp_path / name
        folder.mkdir()
        for number in range(5):
            Image.fromarray(draw(number)).save(folder / f"{number}.jpg")
        for number in broken:
            (folder / f"{number}.jpg").write_bytes(b"\xff\xd8\xff")
    Image.fromarray(draw(3, 64, 64)).save(tmp_path / "size/3.jpg")
    (tmp_path / "empty").mkdir()
    inputs = [tmp_path / name for name in ("held", "size", "none", "empty", "missing", "size/3.jpg")]
    report = run(inputs, tmp_path / "out", sequence=True)
    assert (report.found, report.done, report.failed) == (6, 1, 5)
    assert done_lines(tmp_path / "out")["held"]["clip"]["held"] == 2
    reasons = {Path(failure.key).name: failure.reason for failure in report.failures}
    assert "3.jpg has 64 x 64 pixels" in reasons["size"]
    assert "none of its 5 images can be read: 0.jpg" in reasons["none"]
    assert "no images" in reasons["empty"] and "`recursive=True`" in reasons["empty"]
    assert "is no folder" in reasons["missing"] and "is no folder" in reasons["3.jpg"]


def test_a_sequence_has_the_focal_length_of_its_images(tmp_path: Path) -> None:
    folder = tmp_path / "take"
    folder.mkdir()
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 36  # FocalLengthIn35mmFilm, of an image 36 mm wide
    for number in range(3):
        Image.fromarray(draw(number)).save(folder / f"{number}.jpg", exif=exif)
    run(folder, tmp_path / "out", model=load(Camera()), sequence=True)
    (line,) = done_lines(tmp_path / "out").values()
    expected = read_image(folder / "0.jpg").f_px
    assert expected and (line["f_px"], line["f_source"]) == (pytest.approx(expected), "exif")


def test_a_full_disk_ends_the_run_and_the_next_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_parts: None
) -> None:
    path = write_clip(tmp_path / "a.mp4", 40)
    run(path, tmp_path / "whole")
    place, placed = PartialFolder.place, []

    def place_until_full(self: PartialFolder, chunks: Any, root: Path, path: PurePath) -> Any:
        if path.parts[0] == clip_parts.FOLDER:
            placed.append(path)
            if len(placed) > 4:
                raise OSError(errno.ENOSPC, "No space left on device")
        return place(self, chunks, root, path)

    with monkeypatch.context() as patch:
        patch.setattr(PartialFolder, "place", place_until_full)
        with pytest.raises(OutputLostError, match="No space left") as lost:
            run(path, tmp_path / "out")
    assert isinstance(lost.value.report, Report) and lost.value.report.done == 0
    assert run(path, tmp_path / "out").done == 1
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_a_disk_that_is_full_when_parts_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clip(tmp_path / "a.mp4", 10)

    def fail(parts: Any, out: Any, about: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(clip_output, "join_parts", fail)
        with pytest.raises(OutputLostError, match="No space left"):
            run(path, tmp_path / "out")
    assert run(path, tmp_path / "out").done == 1


def write_points(path: Path, frames: dict[str, NDArray[np.float32]], scale: float, shift: float) -> Path:
    """Write known distances at places of frames, by key: as if `1 / (scale * depth + shift)` were metres."""
    lines = ["key,x,y,depth_m"]
    for key, values in frames.items():
        rows, columns = np.unravel_index(np.linspace(0, values.size - 1, 40).astype(int), values.shape)
        metres = 1 / (scale * values[rows, columns] + shift)
        lines += [
            f"{key},{x + 0.5},{y + 0.5},{m}" for y, x, m in zip(rows, columns, metres.tolist(), strict=True)
        ]
    path.write_text("\n".join(lines))
    return path


def read_values(path: Path) -> NDArray[np.float32]:
    with DepthClip(path) as clip:
        return np.array([each.values for each in clip])


def test_a_clip_is_aligned_by_one_fit(tmp_path: Path, make_image: Make) -> None:
    path = write_clip(tmp_path / "in/a.mp4", 40)
    run(path, tmp_path / "off", steady="off")
    run(path, tmp_path / "mean")
    relative = read_values(tmp_path / "off/a.mp4.mkv")
    scale = 0.5 / float(np.ptp(relative))
    shift = 0.1 - scale * float(relative.min())
    points = write_points(
        tmp_path / "points.csv", {"a.mp4#7": relative[7], "a.mp4#31": relative[31]}, scale, shift
    )
    make_image(tmp_path / "in/b.jpg")
    report = run(tmp_path / "in", tmp_path / "out", align_to=str(points), drop_relative=True)
    assert (report.done, report.failed) == (1, 1)  # nothing is known of the image
    line = done_lines(tmp_path / "out")["a.mp4"]
    assert (line["kind"], line["aligned_by"]) == ("metric", "points")
    assert line["alignment"]["share"] == "clip" and line["alignment"]["points_used"] == 80
    assert line["alignment"]["scale"] == pytest.approx(scale, rel=1e-3)
    with DepthClip(tmp_path / "out/a.mp4.mkv") as clip:
        depth = clip.read(3)
        assert depth.kind == "metric" and depth.alignment is not None
        assert depth.alignment.shift == pytest.approx(shift, rel=1e-3)
    expected = 1 / (scale * read_values(tmp_path / "mean/a.mp4.mkv") + shift)
    assert read_values(tmp_path / "out/a.mp4.mkv") == pytest.approx(expected, rel=2e-3)


def test_an_aligned_clip_that_was_killed_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_parts: None
) -> None:
    path = write_clip(tmp_path / "a.mp4", 40)
    run(path, tmp_path / "off", steady="off")
    relative = read_values(tmp_path / "off/a.mp4.mkv")
    shift = 0.1 - float(relative.min())
    known = str(write_points(tmp_path / "points.csv", {"a.mp4/000020": relative[20]}, 1.0, shift))
    assert run(path, tmp_path / "whole", align_to=known, drop_relative=True).done == 1
    with monkeypatch.context() as patch:

        def end(self: Any, *_: Any) -> None:
            raise Killed

        patch.setattr(clip_output.ClipOutput, "finish", end)
        with pytest.raises(Killed):
            run(path, tmp_path / "killed", align_to=known, drop_relative=True)
    assert run(path, tmp_path / "killed", align_to=known, drop_relative=True).done == 1
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


@pytest.mark.parametrize(
    ("to", "told"),
    [
        (AlignTo(near_m=1.0, far_m=9.0), "are of each image: videos need points or sparse depth"),
        ("points", "nothing is known of its frames"),
    ],
)
def test_a_clip_of_which_nothing_is_known(tmp_path: Path, to: Any, told: str) -> None:
    path = write_clip(tmp_path / "a.mp4", 5)
    if to == "points":
        to = str(write_points(tmp_path / "p.csv", {"b.mp4#2": np.ones((48, 64), np.float32)}, 0.1, 0.1))
    report = run(path, tmp_path / "out", align_to=to, drop_relative=True)
    assert report.failed == 1 and told in report.failures[0].reason


def test_frames_of_a_sequence_are_aligned_by_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "take"
    folder.mkdir()
    for number in range(12):
        Image.fromarray(draw(number)).save(folder / f"f{number}.png")
    run(folder, tmp_path / "off", steady="off", sequence=True)
    relative = read_values(tmp_path / "off/take.mkv")
    scale = 0.5 / np.ptp(relative)
    shift = 0.1 - scale * relative.min()
    points = write_points(tmp_path / "points.csv", {"take/f11.png": relative[11]}, scale, shift)
    report = run(
        folder, tmp_path / "out", sequence=True, steady="off", align_to=str(points), drop_relative=True
    )
    assert report.done == 1
    assert read_values(tmp_path / "out/take.mkv") == pytest.approx(1 / (scale * relative + shift), rel=2e-3)


@pytest.mark.parametrize("pack", ["tar", "parquet"])
def test_clips_lie_beside_archives(tmp_path: Path, make_image: Make, pack: str) -> None:
    for name in "abc":
        make_image(tmp_path / f"in/{name}.jpg")
        write_clip(tmp_path / f"in/{name}.mp4", 3)
    report = run(tmp_path / "in", tmp_path / "out", pack=pack, pack_size=2, preview=pack == "tar")
    assert (report.found, report.done) == (6, 6)
    names = [*files(tmp_path / "out")]
    assert sum(name.endswith(pack) for name in names) == 2
    assert {f"{name}.mp4.mkv" for name in "abc"} < {*names}
    assert run(tmp_path / "in", tmp_path / "out", pack=pack, pack_size=2, preview=pack == "tar").skipped == 6
    checked = verify(tmp_path / "out")
    assert checked.checked >= 5 and not checked.wrong


class Windows:
    """In the place of `Steady`: a network that sees windows of four frames, each of which overlaps two before it.

    The depth of a frame becomes the mean over its windows of the mean of each window.
    """

    cuts = 0

    def __init__(self, mode: str, kind: str, state: Any = None) -> None:
        self.frames: list[tuple[int, NDArray[np.float32]]] = []
        self.before: NDArray[np.float32] | None = None  # mean of the window before
        if state:
            numbers = state["numbers"].astype(int).tolist()
            self.frames = [*zip(numbers, state["frames"], strict=True)]
            self.before = state["before"][0] if len(state["before"]) else None

    def add(self, number: int, grey: Any, values: NDArray[np.float32]) -> list[tuple[int, Any]]:
        self.frames.append((number, values))
        if len(self.frames) < 4:
            return []
        mean = np.mean([each for _, each in self.frames], 0, dtype=np.float32)
        given = mean if self.before is None else (mean + self.before) / 2
        (first, _), (second, _), *self.frames = self.frames
        self.before = mean
        return [(first, given), (second, given)]

    def state(self) -> dict[str, NDArray[np.float32]]:
        return {
            "numbers": np.array([number for number, _ in self.frames], np.float32),
            "frames": np.array([each for _, each in self.frames], np.float32),
            "before": np.array([] if self.before is None else [self.before], np.float32),
        }


def test_a_network_of_windows_of_frames_has_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_parts: None
) -> None:
    path = write_clip(tmp_path / "a.mp4", 37)
    run(path, tmp_path / "off", steady="off")
    raw = read_values(tmp_path / "off/a.mp4.mkv")
    monkeypatch.setattr(clip_output, "Steady", Windows)
    assert run(path, tmp_path / "whole").done == 1
    padded = np.concatenate([raw, *[raw[-1:]] * 5])
    means = [padded[begin : begin + 4].mean(0) for begin in range(0, 38, 2)]
    expected = [(means[max(0, frame // 2 - 1)] + means[frame // 2]) / 2 for frame in range(37)]
    assert read_values(tmp_path / "whole/a.mp4.mkv") == pytest.approx(np.array(expected), abs=1e-3)
    for moment in (8, 21, 36):
        add, out = clip_output.ClipOutput.add, tmp_path / f"{moment}"

        def add_and_end(self: Any, *each: Any, moment: int = moment, add: Any = add) -> bool:
            if self.following == moment:
                raise Killed
            return add(self, *each)

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(clip_output.ClipOutput, "add", add_and_end)
            run(path, out)
        assert run(path, out).done == 1
        assert files(out) == files(tmp_path / "whole")
