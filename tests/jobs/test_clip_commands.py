"""What the commands on depth do with clips: `info`, `convert`, `pointcloud`, `report`, `dataset build`, `evaluate`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from camera_model import Camera
from clips import draw, write_clip
from dataset_layouts import make_scene, save
from PIL import Image

from cortexia_video import (
    DepthEstimator,
    SyntheticModel,
    build_dataset,
    convert,
    estimate,
    evaluate,
    inspect,
    open_dataset,
    point_cloud,
    read_depth,
    report,
    status,
    write_depth,
)
from cortexia_video.cli import main
from cortexia_video.errors import DecodeError, DepthFileError
from cortexia_video.images.resampling import resize_image
from cortexia_video.jobs.inspect import FolderInspection, Inspection
from cortexia_video.jobs.point_clouds import make_point_cloud, make_point_clouds
from cortexia_video.video.clip_index import read_index
from cortexia_video.video.depth_clip import DepthClip
from cortexia_video.video.frames import read_frames

FRAMES = 6


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return the output folder of a run over a clip."""
    model = DepthEstimator(SyntheticModel(short_side=48))
    estimate(write_clip(tmp_path / "a.mp4", FRAMES), tmp_path / "run", model=model)
    return tmp_path / "run"


def test_info_of_a_clip_and_of_a_frame_of_it(run: Path) -> None:
    whole, frame = inspect(run / "a.mp4.mkv"), inspect(f"{run}/a.mp4.mkv#5")
    assert isinstance(whole, Inspection) and isinstance(frame, Inspection)
    assert (whole.format, whole.clip["frames"], whole.kind, whole.said_by) == ("mkv", 6, "disparity", "file")
    assert frame.percentiles[100] == float(read_depth(f"{run}/a.mp4.mkv#5").values.max())
    with pytest.raises(DepthFileError, match="there is no frame 6"):
        inspect(f"{run}/a.mp4.mkv#6")


def test_info_of_a_folder_counts_a_clip_once(run: Path) -> None:
    folder = inspect(run)
    assert isinstance(folder, FolderInspection)
    assert folder.files == {".mkv": 1}
    assert folder.bytes == (run / "a.mp4.mkv").stat().st_size
    assert len(folder.sampled) == FRAMES


def test_a_clip_counts_as_a_clip_of_so_many_frames(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (status(run).runs[0].frames, f"1 done ({FRAMES} frames)" in str(status(run))) == (FRAMES, True)
    report(run)
    assert f"1 of 1 input has depth: 1 clip ({FRAMES} frames)." in (run / "report.html").read_text()
    save(draw(0, 48, 64), tmp_path / "b.png")
    command = ["estimate", *map(str, (tmp_path / "a.mp4", tmp_path / "b.png")), "--model", "synthetic"]
    for skipped in (0, 2):  # the second time by the ledger alone
        with pytest.raises(SystemExit, match="0"):
            main([*command, "--output", str(tmp_path / "both")])
        said = capsys.readouterr().out
        assert f"1 depth map and 1 clip ({FRAMES} frames)" in said and f"{skipped} skipped" in said
        assert ("frames/s" in said) == (skipped == 0)


@pytest.mark.parametrize("format", ["npy", "png16", "exr", "tiff"])
def test_convert_writes_a_file_for_each_frame(run: Path, tmp_path: Path, format: str) -> None:
    report = convert(run, tmp_path / "frames", format=format)
    assert (report.found, report.done) == (FRAMES, FRAMES)
    written = sorted((tmp_path / "frames/a.mp4").iterdir())
    with DepthClip(run / "a.mp4.mkv") as clip:
        for path, depth in zip(written, clip, strict=True):
            read = read_depth(path)
            assert np.abs(read.values - depth.values).max() <= 1e-5
            assert (read.kind, read.full_size, read.model) == (depth.kind, depth.full_size, depth.model)
    assert convert(run, tmp_path / "frames", format=format).skipped == FRAMES


def test_a_run_over_clips_has_point_clouds_of_frames(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", FRAMES)
    estimate(clip, tmp_path / "run", model=DepthEstimator(Camera()))
    report = make_point_clouds(tmp_path / "run", tmp_path / "one", frame=3)
    assert (report.found, report.done) == (1, 1)
    report = make_point_clouds(tmp_path / "run", tmp_path / "all")
    assert (report.found, report.done) == (FRAMES, FRAMES)
    one = (tmp_path / "one/a.mp4/000003.ply").read_bytes()
    assert (
        one
        == (tmp_path / "all/a.mp4/000003.ply").read_bytes()
        != (tmp_path / "all/a.mp4/000004.ply").read_bytes()
    )
    cloud = make_point_cloud(clip, tmp_path / "run/a.mp4.mkv", tmp_path / "3.ply", frame=3)
    assert (tmp_path / "3.ply").read_bytes() == one
    image = dict(read_frames(clip, read_index(clip)))[3]
    assert image is not None
    with DepthClip(tmp_path / "run/a.mp4.mkv") as depth:
        expected = point_cloud(depth.read(3), image)
    assert np.array_equal(cloud.colors, expected.colors)
    assert np.array_equal(cloud.points, expected.points)
    with pytest.raises(DecodeError, match="frames 0 to 5, not 6"):
        make_point_cloud(clip, tmp_path / "run/a.mp4.mkv", tmp_path / "6.ply", frame=6)


def test_a_report_shows_four_frames_of_a_clip(run: Path) -> None:
    found = report(run)
    assert [each.key for each in found.sample.measured] == [f"a.mp4/{each:06}" for each in (0, 2, 3, 5)]
    page = found.path.read_text()
    assert page.count("data:image/jpeg") == 8 and page.count('<div class="clip">') == 1
    assert page.index('<div class="clip">') < page.index("a.mp4/000000</code>")
    with DepthClip(run / "a.mp4.mkv") as clip:
        assert found.sample.measured[1].high == pytest.approx(float(clip.read(2).values.max()))


def test_a_report_shows_the_images_of_a_sequence(tmp_path: Path) -> None:
    (tmp_path / "shot").mkdir()
    for number in range(5):
        Image.fromarray(draw(number)).save(tmp_path / f"shot/f{number}.png")
    model = DepthEstimator(SyntheticModel(short_side=48))
    estimate(tmp_path / "shot", tmp_path / "run", model=model, sequence=True)
    assert report(tmp_path / "run").path.read_text().count("data:image/jpeg") == 8
    Image.fromarray(draw(9)).save(tmp_path / "shot/f9.png")  # then nobody knows which frame was which
    page = report(tmp_path / "run").path.read_text()
    assert page.count("data:image/jpeg") == 4 and page.count("the image cannot be opened") == 4


def test_a_dataset_of_frames_with_their_times(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    clip = write_clip(folder / "a.mp4", 12)
    estimate(folder, tmp_path / "run", model=DepthEstimator(Camera()), every=3, frames="1:")
    build_dataset(folder, tmp_path / "built", depth=tmp_path / "run", format="webdataset")
    samples = [*open_dataset("webdataset", tmp_path / "built")]
    assert [each.key for each in samples] == [f"a.mp4/{number:06}" for number in range(4)]
    frames = dict(read_frames(clip, read_index(clip), range(1, 12, 3)))
    with DepthClip(tmp_path / "run/a.mp4.mkv") as depth:
        for number, (sample, image) in enumerate(zip(samples, frames.values(), strict=True)):
            assert image is not None
            height, width = depth.shape
            assert np.array_equal(sample.frame.image, resize_image(image, height, width))
            assert np.abs(sample.depth.values / depth.read(number).values - 1).max() < 2e-3


def test_a_dataset_of_folders_of_frames(tmp_path: Path) -> None:
    """Frames of a sequence, and images of a run beside them, which are no frames."""
    for name in ("shots/one", "shots/two"):
        (tmp_path / name).mkdir(parents=True)
        for number in range(3):
            Image.fromarray(draw(number)).save(tmp_path / name / f"f{number}.png")
    model = DepthEstimator(Camera())
    estimate(tmp_path / "shots/one", tmp_path / "run", model=model, sequence=True, fps=10)
    estimate(tmp_path / "shots/two", tmp_path / "run", model=model)
    report = build_dataset(
        tmp_path / "shots/one", tmp_path / "built", depth=tmp_path / "run", format="webdataset"
    )
    assert (report.rows, report.failed, sum(report.skipped.values())) == (3, 0, 0)
    samples = [*open_dataset("webdataset", tmp_path / "built")]
    assert [each.key for each in samples] == [f"one/{number:06}" for number in range(3)]
    assert [each.frame.timestamp_s for each in samples] == pytest.approx([0, 0.1, 0.2])
    with DepthClip(tmp_path / "run/one.mkv") as clip:
        for sample, depth in zip(samples, clip, strict=True):
            assert sample.depth.values == pytest.approx(depth.values)


def test_frames_are_measured_against_the_ground_truth(tmp_path: Path) -> None:
    """As files of the same names are: the truth's frames are called as those of the clip."""
    truth, scene, frames = tmp_path / "truth", make_scene(), []
    for number in range(3):
        name = f"a/{number:06}"
        save(scene.image, truth / f"rgb/{name}.png")
        save(np.nan_to_num(1000 * scene.depth_m).astype(np.uint16), truth / f"depth/{name}.png")
        frames.append({"name": name, "rgb": f"rgb/{name}.png", "depth": f"depth/{name}.png"})
    about = {"name": "t", "frames": frames, "depth_scale": 1000, "max_depth_m": 10.0, "intrinsics": None}
    (truth / "set.json").write_text(json.dumps(about))
    clip = write_clip(tmp_path / "a.mkv", [scene.image] * 3, codec="ffv1", pixels="bgr0")
    estimate(clip, tmp_path / "run", model=DepthEstimator(Camera()), video_size="full")
    with DepthClip(tmp_path / "run/a.mkv.mkv") as depth:
        for number, each in enumerate(depth):
            write_depth(each, tmp_path / f"files/a/{number:06}.npz")
    scores = [evaluate(str(tmp_path / name), truth=truth) for name in ("run", "files")]
    totals = [next(iter(each.summary.totals.values()))["abs_rel"].value for each in scores]
    assert totals[0] == totals[1] > 0
