"""Folders of frames to clips and back, clips in colours and as LeRobot has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from camera_model import Camera
from clips import decode_by_ffmpeg, make_maps, times_by_ffmpeg, write_clip, write_metres
from file_digests import file_digests

from cortexia_video import (
    DepthEstimator,
    DepthMap,
    SyntheticModel,
    colored_depthmap,
    convert,
    estimate,
    read_depth,
    read_ledger,
    verify,
    write_depth,
)
from cortexia_video.errors import InputError
from cortexia_video.jobs.point_clouds import make_point_clouds
from cortexia_video.video.depth_clip import DepthClip

TIMES_MS = [0, 40, 90, 200, 210, 333, 400, 500]


def files(out: Path) -> dict[str, str]:
    return file_digests(out, lambda name: not name.startswith(("ledger", "depth.json")))


def write_frames(folder: Path, depths: list[DepthMap], suffix: str = ".npz") -> None:
    for number, depth in enumerate(depths):
        write_depth(depth, folder / f"f{number}{suffix}")


@pytest.mark.parametrize("format", ["npy", "exr", "png16", "tiff"])
@pytest.mark.parametrize("model", [SyntheticModel(short_side=48), Camera()])
def test_frames_of_a_run_become_its_clip_again(tmp_path: Path, format: Any, model: Any) -> None:
    path = write_clip(tmp_path / "in/a.mkv", 8, codec="ffv1", pixels="bgr0", times_ms=TIMES_MS)
    run = {"model": DepthEstimator(model)}
    estimate(path, tmp_path / "mkv", **run)
    estimate(path, tmp_path / "frames", video_format="frames", format=format, **run)
    report = convert(tmp_path / "frames", tmp_path / "back", format="mkv")
    assert (report.found, report.done, report.failures) == (1, 1, [])
    with DepthClip(tmp_path / "mkv/a.mkv.mkv") as clip, DepthClip(tmp_path / "back/a.mkv.mkv") as back:
        assert back.times_s == pytest.approx(clip.times_s)
        for name in ("kind", "f_px", "f_source", "full_size", "model", "weights_sha256"):
            assert back.metadata[name] == pytest.approx(clip.metadata[name])
        for before, after in zip(clip, back, strict=True):
            bound = 3.1e-4 * before.values if before.kind == "metric" else 1e-4 * np.ptp(before.values)
            assert (np.abs(after.values - before.values) <= bound).all()
        assert back.metadata["clip"]["frames"] == 8
    assert verify(tmp_path / "back").wrong == []
    assert convert(tmp_path / "frames", tmp_path / "back", format="mkv").skipped == 1
    if isinstance(model, Camera):  # the video is still known
        assert make_point_clouds(tmp_path / "back", tmp_path / "clouds", frame=3).done == 1


def test_a_folder_of_files_in_natural_order(tmp_path: Path) -> None:
    depths = [DepthMap(np.full((6, 8), 1 + 0.1 * number, np.float32), "metric") for number in range(12)]
    depths[3].values[0, 0] = np.nan
    write_frames(tmp_path / "in/deep/shot", depths)
    write_frames(tmp_path / "in/other", depths[:2])
    assert convert(tmp_path / "in", tmp_path / "out", format="mkv", fps=10).done == 2
    assert sorted(files(tmp_path / "out")) == ["deep/shot.mkv", "other.mkv"]
    with DepthClip(tmp_path / "out/deep/shot.mkv") as clip:
        assert clip.times_s == pytest.approx(np.arange(12) / 10)
        for number, depth in enumerate(clip):
            assert depth.values[1, 1] == pytest.approx(1 + 0.1 * number, rel=2e-4)
            assert np.isnan(depth.values).sum() == (number == 3)
    convert(tmp_path / "out", tmp_path / "frames", format="exr")
    back = read_depth(tmp_path / "frames/deep/shot/000011.exr")
    assert back.values == pytest.approx(depths[11].values, rel=2e-4)


def test_what_would_be_lost_is_refused_and_named(tmp_path: Path) -> None:
    far = DepthMap(np.array([[2e4, 1.0], [0.001, 1.0]], np.float32), "metric", 100.0, "given")
    near = DepthMap(np.ones((2, 2), np.float32), "metric", 200.0, "given")
    write_frames(tmp_path / "far/a", [far, near])
    (failure,) = convert(tmp_path / "far", tmp_path / "out", format="mkv").failures
    assert "2 values are outside" in failure.reason
    assert "focal lengths of 100 to 200 pixels become one, 150" in failure.reason
    assert files(tmp_path / "out") == {}
    assert convert(tmp_path / "far", tmp_path / "out", format="mkv", allow_loss=True).done == 1
    (line,) = [each for each in read_ledger(tmp_path / "out") if each.get("outcome") == "done"]
    assert "2 values are outside" in line["lost"]


def test_bad_folders_cost_themselves_alone(tmp_path: Path) -> None:
    good = [DepthMap(np.ones((4, 6), np.float32), "metric")] * 2
    write_frames(tmp_path / "in/good", good)
    write_frames(tmp_path / "in/size", [*good, DepthMap(np.ones((4, 5), np.float32), "metric")])
    write_frames(tmp_path / "in/kind", [*good, DepthMap(np.ones((4, 6), np.float32), "disparity")])
    write_frames(tmp_path / "in/broken", good)
    (tmp_path / "in/broken/f1.npz").write_bytes(b"PK no")
    report = convert(tmp_path / "in", tmp_path / "out", format="mkv")
    assert (report.found, report.done, report.failed) == (4, 1, 3)
    reasons = {each.key: each.reason for each in report.failures}
    assert "frame 2 is not of the size and the kind" in reasons["size"] and "frame 2" in reasons["kind"]
    assert "f1.npz" in reasons["broken"]
    assert [*files(tmp_path / "out")] == ["good.mkv"]


def test_a_clip_in_colours_of_one_range(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", 8, codec="ffv1", pixels="bgr0", times_ms=TIMES_MS)
    estimate(path, tmp_path / "run", model=DepthEstimator(SyntheticModel(short_side=48)))
    (failure,) = convert(tmp_path / "run", tmp_path / "out", format="mp4").failures
    assert "it cannot be undone" in failure.reason
    assert convert(tmp_path / "run", tmp_path / "out", format="mp4", allow_loss=True).done == 1
    shown = tmp_path / "out/a.mkv.preview.mp4"
    assert times_by_ffmpeg(shown) == pytest.approx(np.array(TIMES_MS) / 1000, abs=2e-3)
    with DepthClip(tmp_path / "run/a.mkv.mkv") as clip:
        depth = np.array([each.values for each in clip])
    expected = colored_depthmap(depth[5], depth.min(), depth.max())
    assert np.abs(decode_by_ffmpeg(shown, 48, 64)[5].astype(int) - expected).mean() < 8


def test_to_lerobot_and_back(tmp_path: Path) -> None:
    maps = make_maps(4)
    (tmp_path / "in").mkdir()
    write_metres(tmp_path / "in/a.mp4.mkv", maps)
    assert convert(tmp_path / "in", tmp_path / "lerobot", to="lerobot").done == 1
    assert sorted(files(tmp_path / "lerobot")) == ["a.info.json", "a.mp4"]
    assert verify(tmp_path / "lerobot").wrong == []
    assert convert(tmp_path / "lerobot", tmp_path / "back", convention="lerobot", format="mkv").done == 1
    with DepthClip(tmp_path / "back/a.mp4.mkv") as clip:
        assert clip.metadata["kind"] == "metric" and clip.metadata["clip"]["rate"] == 30
        for depth, depth_m in zip(clip, maps, strict=True):
            assert np.abs(depth.values - depth_m).max() < 0.005
    assert convert(tmp_path / "lerobot", tmp_path / "files", convention="lerobot", format="npz").done == 1
    assert sorted(files(tmp_path / "files/a.mp4")) == [f"{number:06}.npz" for number in range(4)] + [
        "depth.txt"
    ]
    for number, depth_m in enumerate(maps):
        depth = read_depth(tmp_path / f"files/a.mp4/{number:06}.npz")
        assert depth.kind == "metric" and np.abs(depth.values - depth_m).max() < 0.005
    assert convert(tmp_path / "lerobot", tmp_path / "files", convention="lerobot", format="npz").skipped == 1
    assert verify(tmp_path / "files").wrong == []
    maps[2][0, 0] = np.nan
    write_metres(tmp_path / "in/b.mp4.mkv", maps)
    report = convert(tmp_path / "in", tmp_path / "lerobot", to="lerobot")
    assert (report.skipped, report.failed) == (1, 1)
    assert "1 unknown value becomes 0" in report.failures[0].reason


@pytest.mark.parametrize(
    "options",
    [
        {"to": "lerobot", "format": "mkv"},
        {"format": "mkv", "f_px": 300.0},
        {"convention": "lerobot", "format": "npy", "to": "kitti"},
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, options: dict[str, Any]) -> None:
    write_frames(tmp_path / "in/a", [DepthMap(np.ones((4, 6), np.float32), "metric")])
    with pytest.raises(InputError, match="clips are written by"):
        convert(tmp_path / "in", tmp_path / "out", **options)
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="no depth in"):
        convert(tmp_path / "none", tmp_path / "out", format="mkv")
    with pytest.raises(InputError, match="`fps` must be above 0, got 0"):
        convert(tmp_path / "in", tmp_path / "out", format="mkv", fps=0)


def test_an_input_is_never_replaced_and_large_frames_are_refused(tmp_path: Path) -> None:
    path = write_metres(tmp_path / "a.mkv", make_maps(2))
    before = path.read_bytes()
    (failure,) = convert(path, tmp_path, format="mkv", overwrite=True).failures
    assert "it is its own output" in failure.reason
    assert path.read_bytes() == before
    (failure,) = convert(path, tmp_path / "out", format="mkv", max_megapixels=0.001).failures
    assert "its frames are 64 x 48: raise `max_megapixels`" in failure.reason
