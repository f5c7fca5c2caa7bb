"""`estimate(video_format="frames")`: a file for each frame, and every command that reads them as a clip's."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pytest
from camera_model import Camera
from clips import draw, write_clip
from file_digests import file_digests
from PIL import Image

from cortexia_video import (
    DepthEstimator,
    SyntheticModel,
    build_dataset,
    convert,
    estimate,
    evaluate,
    open_dataset,
    read_depth,
    read_ledger,
    report,
    verify,
)
from cortexia_video.errors import InputError
from cortexia_video.jobs import clip_output, clip_parts
from cortexia_video.jobs.point_clouds import make_point_clouds
from cortexia_video.storage.system import PartialFolder
from cortexia_video.video.depth_clip import DepthClip

TIMES_MS = [0, 40, 90, 200, 210, 333, 400, 500]


def run(inputs: Any, out: Path, **options: Any) -> Any:
    options.setdefault("model", DepthEstimator(SyntheticModel(short_side=48)))
    return estimate(inputs, out, **{"video_format": "frames", **options})


def files(out: Path) -> dict[str, str]:
    return file_digests(out, lambda name: not name.startswith(("ledger", "depth.json")))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a video of uneven times, `mkv` and `npy`: runs over it in each way."""
    folder = tmp_path_factory.mktemp("both")
    write_clip(folder / "in/a.mkv", len(TIMES_MS), codec="ffv1", pixels="bgr0", times_ms=TIMES_MS)
    for name, options in (("mkv", {"video_format": "mkv"}), ("npy", {})):
        run(folder / "in", folder / name, model=DepthEstimator(Camera()), **options)
    return folder


@pytest.mark.parametrize(
    ("format", "suffix"), [("npy", ".npy"), ("png16", ".16.png"), ("exr", ".exr"), ("tiff", ".tiff")]
)
@pytest.mark.parametrize("model", [SyntheticModel(short_side=48), Camera()])
def test_frames_are_those_of_the_clip_with_its_times(
    tmp_path: Path, format: str, suffix: str, model: Any
) -> None:
    path = write_clip(tmp_path / "a.mkv", 8, codec="ffv1", pixels="bgr0", times_ms=TIMES_MS)
    run(path, tmp_path / "mkv", model=DepthEstimator(model), video_format="mkv")
    out = tmp_path / "out"
    assert run(path, out, model=DepthEstimator(model), format=format).done == 1
    with DepthClip(tmp_path / "mkv/a.mkv.mkv") as clip:
        names = [f"{number:06}{suffix}" for number in range(8)]
        assert sorted(each.name for each in (out / "a.mkv").iterdir()) == [*names, "depth.txt"]
        for name, depth in zip(names, clip, strict=True):
            read = read_depth(out / "a.mkv" / name)
            assert read.values == pytest.approx(depth.values, rel=2e-4 if format == "png16" else 0)
            assert (read.kind, read.f_px, read.full_size) == (depth.kind, depth.f_px, depth.full_size)
    lines = [each.split() for each in (out / "a.mkv/depth.txt").read_text().splitlines()[1:]]
    assert [(round(1000 * float(time)), name) for time, name in lines] == [*zip(TIMES_MS, names, strict=True)]
    (done,) = [each for each in read_ledger(out) if each.get("outcome") == "done"]
    assert len(done["outputs"]) == 9
    assert verify(out).wrong == []
    assert run(path, out, model=DepthEstimator(model), format=format).skipped == 1
    changed = run(path, out, model=DepthEstimator(model), format="npz")
    assert changed.done == 1  # of frames the format matters


def test_numbers_and_views_have_one_range_for_the_clip(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 12)
    run(path, tmp_path / "mkv", video_format="mkv")
    for format in ("png16", "png"):
        run(path, tmp_path / format, format=format)
        convert(tmp_path / "mkv", tmp_path / f"of-{format}", format=format, allow_loss=True)
        ours, converted = files(tmp_path / format), files(tmp_path / f"of-{format}")
        assert {name: ours[name] for name in converted} == converted
    with DepthClip(tmp_path / "mkv/a.mp4.mkv") as clip:
        depth = np.array([each.values for each in clip])
        numbers = [clip.read_numbers(number) for number in range(12)]
    low, high = depth.min(), depth.max()
    for number in range(12):
        stored = np.asarray(Image.open(tmp_path / f"png16/a.mp4/{number:06}.16.png"))
        assert np.array_equal(stored, numbers[number])
        view = np.asarray(Image.open(tmp_path / f"png/a.mp4/{number:06}.png"))
        assert np.abs(view - 255 * (high - depth[number]) / (high - low)).max() < 0.51


class Killed(BaseException):
    """What nobody catches."""


@pytest.mark.parametrize("moment", [5, 18, 30, 41])
def test_a_run_that_ends_anywhere_goes_on_to_the_same_bytes(
    tmp_path: Path, moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At some moment between the first frame of 20 that is taken and the last file of 21 that is placed."""
    monkeypatch.setattr(clip_output, "_PART_FRAMES", 8)
    monkeypatch.setattr(clip_output, "PROVEN", 4)
    path = write_clip(tmp_path / "a.mp4", 20, options={"x264-params": "keyint=10:bframes=3"})
    run(path, tmp_path / "whole", preview=True)
    moments, add, place = 0, clip_output.ClipOutput.add, PartialFolder.place

    def count() -> None:
        nonlocal moments
        moments += 1
        if moments == moment:
            raise Killed

    def add_or_end(self: Any, *arguments: Any) -> bool:
        count()
        return add(self, *arguments)

    def place_or_end(self: PartialFolder, chunks: Any, root: Path, path: PurePath) -> Any:
        if path.parts[0] == "a.mp4":
            count()
        return place(self, chunks, root, path)

    with monkeypatch.context() as patch:
        patch.setattr(clip_output.ClipOutput, "add", add_or_end)
        patch.setattr(PartialFolder, "place", place_or_end)
        with pytest.raises(Killed):
            run(path, tmp_path / "killed", preview=True)
    report = run(path, tmp_path / "killed", preview=True)
    assert (report.done, report.failed) == (1, 0)
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    assert not (tmp_path / "killed" / clip_parts.FOLDER).exists()


def test_commands_read_frames_as_those_of_the_clip(both: Path, tmp_path: Path) -> None:
    for name in ("mkv", "npy"):
        out = tmp_path / name
        convert(both / name, out / "converted", format="tiff")
        make_point_clouds(both / name, out / "clouds")
        build_dataset(both / "in", out / "built", depth=both / name, format="webdataset")
        found = report(both / name)
        assert [each.key for each in found.sample.measured] == [f"a.mkv/{each:06}" for each in (0, 2, 5, 7)]
    for name in ("converted", "clouds"):
        assert len(files(tmp_path / "npy" / name)) == 8
        assert files(tmp_path / "mkv" / name) == files(tmp_path / "npy" / name)
    rows = [[*open_dataset("webdataset", tmp_path / name / "built")] for name in ("mkv", "npy")]
    for first, second in zip(*rows, strict=True):
        assert first.key == second.key
        assert np.array_equal(first.depth.values, second.depth.values)
        assert np.array_equal(first.frame.image, second.frame.image)
    for each in rows:
        assert [round(1000 * row.frame.timestamp_s) for row in each] == TIMES_MS


def test_they_are_measured_alike(both: Path) -> None:
    scores = [evaluate(str(both / name), truth=both / "npy") for name in ("mkv", "npy")]
    for each in scores:
        assert (
            each.summary.totals[str(both / ("mkv" if each is scores[0] else "npy"))]["abs_rel"].value < 1e-6
        )


def test_what_is_in_the_place_of_the_folder_stays(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "in/a.mp4", 3)
    before = path.read_bytes()
    (tmp_path / "out/a.mp4").mkdir(parents=True)
    (tmp_path / "out/a.mp4/000001.npy").write_bytes(b"mine")
    for out in (tmp_path / "out", tmp_path / "in"):
        for overwrite in (False, True):
            (failure,) = run(tmp_path / "in", out, overwrite=overwrite).failures
            assert "choose another `output`" in failure.reason
    assert path.read_bytes() == before
    assert (tmp_path / "out/a.mp4/000001.npy").read_bytes() == b"mine"


def test_fewer_frames_leave_none_of_those_before(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 12)
    run(path, tmp_path / "out")
    (tmp_path / "out/a.mp4/notes.npy").write_bytes(b"mine")
    run(path, tmp_path / "out", every=3)
    names = [*(f"{number:06}.npy" for number in range(4)), "depth.txt", "notes.npy"]
    assert sorted(each.name for each in (tmp_path / "out/a.mp4").iterdir()) == names


def test_what_cannot_be_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`video_format` must be one of mkv, frames, got 'png'"):
        run(write_clip(tmp_path / "a.mp4", 3), tmp_path / "out", video_format="png")


def test_a_folder_of_frames_gives_a_folder_of_frames(tmp_path: Path) -> None:
    (tmp_path / "shot").mkdir()
    for number in range(12):
        Image.fromarray(draw(number)).save(tmp_path / f"shot/f{number}.png")
    run(tmp_path / "shot", tmp_path / "out", sequence=True, fps=10)
    assert len([*(tmp_path / "out/shot").glob("*.npy")]) == 12
    assert (tmp_path / "out/shot/depth.txt").read_text().splitlines()[-1] == "1.100000 000011.npy"
