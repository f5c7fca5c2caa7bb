"""Clips through `estimate` with a model that sees windows of frames: the paper's depth, the same after any kill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import draw, write_clip
from file_digests import file_digests
from numpy.typing import NDArray
from window_model import OfWindows, depth_by_the_paper

from cortexia_video import DepthEstimator, Failure, estimate, read_ledger
from cortexia_video.errors import InputError
from cortexia_video.images.resampling import resize_depth
from cortexia_video.inference.panorama import Panorama
from cortexia_video.jobs import clip_output, clip_task
from cortexia_video.jobs.outcomes import Report
from cortexia_video.models.thorough import Thorough
from cortexia_video.video.clip_index import read_index
from cortexia_video.video.depth_clip import Coding, DepthClip
from cortexia_video.video.frames import read_frames


def film(count: int) -> list[NDArray[np.uint8]]:
    """Return images that get darker and brighter, so that windows differ in scale."""
    return [(draw(n) * (0.7 + 0.3 * np.sin(n / 6))).astype(np.uint8) for n in range(count)]


class Killed(BaseException):
    pass


def run(inputs: Any, out: Path, kind: Any = "disparity", **options: Any) -> Report:
    return estimate(inputs, out, model=DepthEstimator(OfWindows(kind)), **options)


def files(out: Path) -> dict[str, str]:
    return file_digests(out, lambda name: not name.startswith(("ledger", "depth.json")))


def read_clip(out: Path) -> NDArray[np.float32]:
    with DepthClip(out / "a.mp4.mkv") as clip:
        return np.array([clip.read(number).values for number in range(len(clip))])


def read_inputs(path: Path) -> list[NDArray[np.uint8]]:
    model = OfWindows()
    images = [image for _, image in read_frames(path, read_index(path)) if image is not None]
    return [model.preprocess(image, model.processed_size(*image.shape[:2])) for image in images]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a part be four windows."""
    monkeypatch.setattr(clip_output, "_PART_FRAMES", 8)


# The last window adds none at 12 frames, and settles none at 5 and 9; one frame is a clip, too.
@pytest.mark.parametrize("count", [1, 5, 9, 12, 37])
@pytest.mark.parametrize("kind", ["disparity", "metric"])
def test_depth_is_that_of_the_paper(tmp_path: Path, count: int, kind: str) -> None:
    path, model = write_clip(tmp_path / "a.mp4", film(count)), OfWindows(kind)  # type: ignore[arg-type]
    assert run(path, tmp_path / "out", kind).done == 1
    inputs = read_inputs(path)
    assert read_clip(tmp_path / "out") == pytest.approx(depth_by_the_paper(model, inputs), abs=2e-3)
    (line,) = (each for each in read_ledger(tmp_path / "out") if each.get("outcome") == "done")
    about = line["clip"]
    assert (about["frames"], about["steady"], about["held"], about["clipped"]) == (count, "off", 0, 0)


@pytest.mark.parametrize(("moment", "left"), [(14, 9), (18, 5), (34, 1)])  # of nine windows
def test_a_killed_run_ends_in_the_same_bytes(
    tmp_path: Path, moment: int, left: int, monkeypatch: pytest.MonkeyPatch, small_parts: None
) -> None:
    path = write_clip(tmp_path / "a.mp4", film(37))
    assert run(path, tmp_path / "whole").done == 1
    add, out = clip_output.ClipOutput.add_window, tmp_path / "out"

    def add_and_end(self: Any, *each: Any, **options: Any) -> bool:
        if self.following == moment:
            raise Killed
        return add(self, *each, **options)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(clip_output.ClipOutput, "add_window", add_and_end)
        run(path, out)
    model = OfWindows()
    assert estimate(path, out, model=DepthEstimator(model)).done == 1
    assert model.calls == left, "what is done is not done again"
    assert files(out) == files(tmp_path / "whole")


def test_numbers_begin_at_zero_and_have_room() -> None:
    numbers, clipped = Coding.from_zero(2.0).encode(np.array([[0, 1, 2, 3]], np.float32))
    assert (numbers.tolist(), clipped) == ([[1, 32768, 65535, 65535]], 1)


def test_frames_that_cannot_be_decoded_show_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, lost = write_clip(tmp_path / "a.mp4", film(20)), (0, 1, 8, 19)

    def read(*given: Any, **options: Any) -> Iterator[tuple[int, NDArray[np.uint8] | None]]:
        for number, image in read_frames(*given, **options):
            yield number, None if number in lost else image

    inputs = read_inputs(path)
    shown = [inputs[{0: 2, 1: 2, 8: 7, 19: 18}.get(number, number)] for number in range(20)]
    monkeypatch.setattr(clip_task, "read_frames", read)
    assert run(path, tmp_path / "out").done == 1
    assert read_clip(tmp_path / "out") == pytest.approx(depth_by_the_paper(OfWindows(), shown), abs=2e-3)
    (line,) = (each for each in read_ledger(tmp_path / "out") if each.get("outcome") == "done")
    assert line["clip"]["held"] == 4
    lost = (*range(8),)
    report = run(path, tmp_path / "none")
    assert [each.reason for each in report.failures] == ["no frame of its first 8 can be decoded"]


def test_a_window_that_fails_is_the_clips_failure_and_others_go_on(tmp_path: Path) -> None:
    class Failing(OfWindows):
        def infer(self, batch: NDArray[Any]) -> NDArray[np.float32]:
            values = super().infer(batch)
            return values * np.nan if self.calls == 2 else values

    for name in "ab":
        write_clip(tmp_path / f"in/{name}.mp4", film(20))
    report = estimate(tmp_path / "in", tmp_path / "out", model=DepthEstimator(Failing()), workers=1)
    assert (report.found, report.done, report.failed) == (2, 1, 1)
    assert "NaN or infinite depth" in report.failures[0].reason
    assert [*files(tmp_path / "out")] == ["b.mp4.mkv"]


def test_metres_follow_from_what_is_known_of_the_first_frames(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", film(20))
    depth = depth_by_the_paper(OfWindows(), read_inputs(path))
    places = [(x, y) for x in (5, 21, 40, 60) for y in (5, 30)]

    def write_points(name: str, frame: int) -> str:
        rows = [f"a.mp4#{frame},{x},{y},{1 / (0.2 * depth[frame][y // 2, x // 2] - 0.05)}" for x, y in places]
        (tmp_path / name).write_text("\n".join(["key,x,y,depth_m", *rows]))
        return str(tmp_path / name)

    report = run(path, tmp_path / "out", align_to=write_points("first.csv", 3), drop_relative=True)
    assert report.done == 1
    assert read_clip(tmp_path / "out") == pytest.approx(1 / (0.2 * depth - 0.05), rel=0.02)
    report = run(path, tmp_path / "late", align_to=write_points("late.csv", 12), drop_relative=True)
    assert "nothing is known of its frames" in report.failures[0].reason


def test_the_windows_of_a_model_are_not_steadied_mirrored_or_of_panoramas(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", film(5))
    report = run(path, tmp_path / "out", steady="align")
    assert [each.reason for each in report.failures] == [
        "of-windows aligns its windows itself: leave `steady` out"
    ]
    with pytest.raises(InputError, match="leave `thorough` out"):
        Thorough(OfWindows())
    with pytest.raises(InputError, match="not for panoramas"):
        Panorama(OfWindows())


@pytest.mark.parametrize("count", [3, 12, 20])
def test_in_python_the_frames_come_with_the_same_depth(tmp_path: Path, count: int) -> None:
    path = write_clip(tmp_path / "a.mp4", film(count))
    estimator = DepthEstimator(OfWindows())
    some = [*estimator.estimate_video(path)]
    assert [frame.key for frame, _ in some] == [f"{number:06}" for number in range(count)]
    values = [resize_depth(each, 48, 64) for each in depth_by_the_paper(OfWindows(), read_inputs(path))]
    found = [depth.values for _, depth in some if not isinstance(depth, Failure)]
    np.testing.assert_allclose(found, values, rtol=1e-5)
