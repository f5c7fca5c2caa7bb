"""What becomes of depth, at URLs: every command gives what it gives in folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("s3fs")
from camera_model import Camera
from remote_folders import S3, encode, outputs, put_images, read_folder
from s3_server import put, read_all

import cortexia_video as cx
from cortexia_video.cli import main
from cortexia_video.jobs.point_clouds import CloudOptions, make_point_clouds
from cortexia_video.storage.paths import to_path

METRES = {"kind": "metric", "f_px": 20.0}


@pytest.fixture
def runs(place: str, tmp_path: Path) -> tuple[str, Path]:
    """Return the output of one run in a bucket, and in a folder."""
    put_images(f"{place}/in", tmp_path / "in")
    for given, output in ((f"{S3}/{place}/in", f"{S3}/{place}/run"), (tmp_path / "in", tmp_path / "run")):
        estimate(given, output)
    return f"{S3}/{place}/run", tmp_path / "run"


def estimate(given: Any, output: Any, format: str = "npz", **options: Any) -> None:
    model = cx.DepthEstimator(Camera())
    report = cx.estimate(given, output, model=model, recursive=True, format=format, f_px=20.0, **options)
    assert not report.failed


def say(capsys: pytest.CaptureFixture[str], *command: str) -> tuple[Any, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(command))
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


def test_convert(runs: tuple[str, Path], place: str, tmp_path: Path) -> None:
    cx.convert(runs[1], tmp_path / "tiff", format="tiff")
    report = cx.convert(runs[0], f"{S3}/{place}/tiff", format="tiff")
    assert (report.found, report.done) == (6, 6)
    assert outputs(read_all(f"{place}/tiff")) == outputs(read_folder(tmp_path / "tiff"))
    assert cx.convert(runs[0], f"{S3}/{place}/tiff", format="tiff").skipped == 6
    assert cx.convert(runs[0], tmp_path / "down", format="tiff").done == 6
    assert cx.convert(runs[1], f"{S3}/{place}/up", format="tiff").done == 6
    assert outputs(read_folder(tmp_path / "down")) == outputs(read_all(f"{place}/up"))


@pytest.mark.parametrize("name", ["tar", "parquet"])
def test_what_a_run_packed_is_read_as_its_files(
    runs: tuple[str, Path], place: str, tmp_path: Path, name: Any
) -> None:
    estimate(f"{S3}/{place}/in", f"{S3}/{place}/runs/packed", pack=name, pack_size=4)
    expected = {name: data for name, data in read_folder(runs[1]).items() if name.endswith("npz")}
    assert cx.convert(f"{S3}/{place}/runs/packed", tmp_path / "out", format="npz").done == len(expected) == 6
    made = read_folder(tmp_path / "out")
    assert {name: made[name] for name in expected} == expected
    assert cx.convert(f"{S3}/{place}/runs", f"{S3}/{place}/all", format="npz").done == 6
    assert {f"packed/{name}" for name in expected} < {*read_all(f"{place}/all")}
    depth = cx.read_depth(f"{S3}/{place}/runs/packed/trip/1.png.npz")
    np.testing.assert_array_equal(depth.values, cx.read_depth(runs[1] / "trip/1.png.npz").values)
    with pytest.raises(cx.errors.DepthFileError, match="x.png.npz: cannot be read: not found"):
        cx.read_depth(f"{S3}/{place}/runs/packed/trip/x.png.npz")


def test_convert_tells_files_of_a_bucket_apart_as_those_of_a_folder(place: str, tmp_path: Path) -> None:
    """Two formats of one image keep their whole names, 8-bit PNG is no depth, hidden files are left out."""
    values = np.full((3, 4), 2.0, np.float32)
    np.save(tmp_path / "a.npy", values)
    data = (tmp_path / "a.npy").read_bytes()
    names = (
        "a.jpg.npy",
        "a.jpg-2.npy",
        "a.jpg.pfm",
        "b/a.jpg.npy",
        ".hidden/a.npy",
        "b-c/x.npy",
        "notes.txt",
    )
    for name in names:
        put(f"{place}/in/{name}", b"Pf\n4 3\n-1.0\n" + values.tobytes() if name.endswith("pfm") else data)
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(read_all(f"{place}/in")[name])
    for name in ("view.png", "b/view.png"):
        put(f"{place}/in/{name}", encode(1))
    (tmp_path / "in/view.png").write_bytes(encode(1))
    about = {"kind": "metric"}
    cx.convert(tmp_path / "in", tmp_path / "out", format="npz", about=about)
    report = cx.convert(f"{S3}/{place}/in", f"{S3}/{place}/out", format="npz", about=about)
    assert (report.found, report.done) == (5, 5)
    assert {*outputs(read_all(f"{place}/out"))} == {*outputs(read_folder(tmp_path / "out"))}


def test_a_conversion_in_its_own_prefix_refuses_its_inputs(place: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, 2), np.float32))
    put(f"{place}/run/inner/a.npy", (tmp_path / "a.npy").read_bytes())
    with pytest.raises(cx.errors.InputError, match="is input and output"):
        cx.convert(f"{S3}/{place}/run", f"{S3}/{place}/run", format="npz", about=METRES)
    report = cx.convert(f"{S3}/{place}/run/inner", f"{S3}/{place}/run", format="npy", about=METRES)
    assert "it lies in the output folder and is .npy already" in report.failures[0].reason


def test_a_calibration_beside_the_depth_of_a_bucket(place: str, tmp_path: Path) -> None:
    (tmp_path / "disp0.pfm").write_bytes(b"Pf\n2 1\n-1.0\n" + np.array([10.0, 20.0], "<f4").tobytes())
    calibration = b"cam0=[100 0 1; 0 100 1; 0 0 1]\ndoffs=0\nbaseline=400\nwidth=2\nheight=1\n"
    (tmp_path / "calib.txt").write_bytes(calibration)
    for name in ("disp0.pfm", "calib.txt"):
        put(f"{place}/{name}", (tmp_path / name).read_bytes())
    here = cx.read_depth(tmp_path / "disp0.pfm", convention="middlebury")
    there = cx.read_depth(f"{S3}/{place}/disp0.pfm", convention="middlebury")
    np.testing.assert_array_equal(there.values, here.values)
    np.testing.assert_allclose(there.values, [[4.0, 2.0]])


def test_objects_that_cannot_be_depth_are_named(place: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((64, 64), np.float32))
    put(f"{place}/a.npy", (tmp_path / "a.npy").read_bytes() + bytes(1 << 24))
    put(f"{place}/empty.npy", b"")
    with pytest.raises(
        cx.errors.DepthFileError, match="a.npy: too large: the file has .* MB, .* for 0.001 megapixels"
    ):
        cx.read_depth(f"{S3}/{place}/a.npy", max_megapixels=0.001)
    with pytest.raises(cx.errors.DepthFileError, match="empty.npy: its content is not what its name says"):
        cx.read_depth(f"{S3}/{place}/empty.npy")


def test_read_depth_finds_the_ledger_of_the_bucket(runs: tuple[str, Path], place: str) -> None:
    estimate(f"{S3}/{place}/in", f"{S3}/{place}/npy", "npy")
    depth = cx.read_depth(f"{S3}/{place}/npy/trip/1.png.npy")
    assert (depth.kind, depth.f_px, depth.f_source) == ("metric", 20.0, "given")


def test_info(runs: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for root in runs:
        code, out, _ = say(capsys, "info", "--json", f"{root}/0.png.npz", str(root))
        assert code == 0
        said.append(out.replace(str(root), "ROOT"))
    lines = [[json.loads(line) for line in each.splitlines()] for each in said]
    assert lines[0][0] == lines[1][0]
    assert lines[0][1] == lines[1][1]
    assert lines[0][1]["files"] == {".npz": 6}


def test_convert_to_another_focal_length(runs: tuple[str, Path], place: str, tmp_path: Path) -> None:
    focal = f"{S3}/{place}/focal.csv"
    put(f"{place}/focal.csv", b"key,f_px\n*,40\n")
    new = f"{S3}/{place}/new"
    for root, out in zip(runs, (new, tmp_path / "new"), strict=True):
        assert cx.convert(root, out, intrinsics=focal).done == 6
        assert str(cx.verify(out)) == "6 outputs checked: 6 right, 0 wrong"
        assert cx.convert(root, out, intrinsics=focal).skipped == 6
    before, after = cx.read_depth(runs[1] / "0.png.npz"), cx.read_depth(f"{new}/0.png.npz")
    np.testing.assert_array_equal(after.values, 2 * before.values)
    assert (before.f_px, after.f_px) == (20, 40)
    assert outputs(read_all(f"{place}/new")) == outputs(read_folder(tmp_path / "new"))


@pytest.mark.parametrize("format", ["ply", "glb"])
def test_point_clouds_of_a_run(runs: tuple[str, Path], place: str, tmp_path: Path, format: str) -> None:
    made = make_point_clouds(runs[0], f"{S3}/{place}/clouds", format=format)
    make_point_clouds(runs[1], tmp_path / "clouds", format=format)
    assert (made.found, made.done) == (6, 6), made.failures
    assert outputs(read_all(f"{place}/clouds")) == outputs(read_folder(tmp_path / "clouds"))
    assert make_point_clouds(runs[0], f"{S3}/{place}/clouds", format=format).skipped == 6
    again = make_point_clouds(runs[0], f"{S3}/{place}/clouds", format=format, options=CloudOptions(f_px=30))
    assert again.done == 6


def test_a_point_cloud(
    runs: tuple[str, Path], place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for root, images, output in (
        (runs[0], f"{S3}/{place}/in", f"{S3}/{place}/a.ply"),
        (runs[1], tmp_path / "in", tmp_path / "a.ply"),
    ):
        command = ["pointcloud", f"{images}/0.png", "--depth", f"{root}/0.png.npz", "--output", str(output)]
        assert say(capsys, *command)[0] == 0
        code, _, error = say(capsys, *command)
        assert code == 2 and "exists already: choose another --output, or --overwrite" in error
    assert read_all(place)["a.ply"] == (tmp_path / "a.ply").read_bytes()


def test_a_depth_object_that_is_gone_is_a_failure(runs: tuple[str, Path], place: str) -> None:
    to_path(f"{runs[0]}/0.png.npz").unlink()  # type: ignore[union-attr]
    made = make_point_clouds(runs[0], f"{S3}/{place}/clouds")
    assert (made.done, made.failed) == (5, 1)
    assert "0.png.npz: it is missing" in made.failures[0].reason


@pytest.mark.parametrize(
    "command",
    [
        ["convert", "s3://no-such-bucket/in", "--output", f"{S3}/out", "--format", "tiff"],
        ["convert", "FILE", "--output", "s3://no-such-bucket/out", "--format", "tiff"],
        ["info", "s3://no-such-bucket/a.npy"],
        ["pointcloud", "IMAGE", "--depth", "FILE", "--output", "s3://no-such-bucket/a.ply"],
        ["pointcloud", "s3://no-such-bucket/a.png", "--depth", "FILE", "--output", f"{S3}/a.ply"],
        ["scenes", "--count", "1", "--output", "s3://no-such-bucket/scenes"],
    ],
)
def test_no_such_bucket_is_one_line(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    estimate(write_image(tmp_path), tmp_path / "run")
    words = {"FILE": str(tmp_path / "run/a.png.npz"), "IMAGE": str(tmp_path / "a.png")}
    code, _, error = say(capsys, *(words.get(each, each) for each in command))
    assert code in (1, 2)
    assert len(error.splitlines()) == 1 and "no such bucket: check its name and region" in error, error


def write_image(folder: Path) -> Path:
    (folder / "a.png").write_bytes(encode(1))
    return folder / "a.png"


def test_scenes(place: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from cortexia_video.scenes import ScenePlan, write_scenes

    plan, there = ScenePlan(7, 24, 32), to_path(f"{S3}/{place}/scenes")
    write_scenes(tmp_path / "scenes", 3, plan, workers=1)
    assert write_scenes(there, 2, plan, workers=1) == (2, 2)
    assert write_scenes(there, 3, plan, workers=1) == (1, 3)
    written = read_folder(tmp_path / "scenes")
    del written["scenes.jsonl"]
    assert outputs(read_all(f"{place}/scenes")) == written
    with pytest.raises(cx.errors.OutputExistsError, match="scenes of another height"):
        write_scenes(there, 3, ScenePlan(7, 32, 32), workers=1)
    put_images(f"{place}/in", tmp_path / "in")
    estimate(f"{S3}/{place}/in", f"{S3}/{place}/run")
    with pytest.raises(cx.errors.OutputExistsError, match="holds a run, which is no scene of ours"):
        write_scenes(to_path(f"{S3}/{place}/run"), 1, plan, workers=1)
    with pytest.raises(cx.errors.OutputExistsError, match="is no part of scenes rendered here"):
        write_scenes(to_path(f"{S3}/{place}/in"), 1, plan, workers=1)


@pytest.mark.slow
def test_processes_render_into_a_bucket(place: str) -> None:
    pytest.importorskip("torch")
    from cortexia_video.scenes import ScenePlan, write_scenes

    assert write_scenes(to_path(f"{S3}/{place}"), 17, ScenePlan(0, 16, 16), workers=2) == (17, 17)
    assert len([name for name in read_all(place) if name.startswith("rgb/")]) == 17


def test_files_are_urls_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    estimate(write_image(tmp_path), tmp_path / "run")
    root = f"file://{tmp_path}"
    assert say(capsys, "convert", f"{root}/run", "--output", f"{root}/tiff", "--format", "tiff")[0] == 0
    assert say(capsys, "pointcloud", f"{root}/run", "--output", f"{root}/clouds")[0] == 0
    assert say(capsys, "info", f"{root}/tiff/a.png.tiff")[0] == 0
    assert (tmp_path / "tiff/a.png.tiff").is_file() and (tmp_path / "clouds/a.png.ply").is_file()


def test_a_training_in_a_bucket_goes_on_where_it_was(place: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from dataset_layouts import make_rgbd, make_scene
    from recipes import network, write_recipe
    from torch_checkpoints import save_checkpoint

    from cortexia_video.training.job import train_recipe

    make_rgbd(tmp_path / "room", make_scene(), 3)
    tiny = f"hf:{save_checkpoint('depth-anything', tmp_path / 'weights')}"
    path = write_recipe(tmp_path, network(tiny), root=tmp_path / "room", steps=1)
    there = f"{S3}/{place}/there"
    losses = train_recipe(path, there)
    found = read_all(f"{place}/there")
    assert {"checkpoint.pt", "recipe.toml", "model/config.json", "model/model.safetensors"} <= {*found}
    assert train_recipe(path, there) == losses, "it goes on from the last step, and there is none left"
    assert read_all(f"{place}/there")["model/model.safetensors"] == found["model/model.safetensors"]
    put(f"{place}/other/x.txt", b"precious")
    with pytest.raises(cx.errors.OutputExistsError, match=r"holds x.txt, which is no part of this training"):
        train_recipe(path, f"{S3}/{place}/other")
    with pytest.raises(cx.errors.OutputError, match="no such bucket"):
        train_recipe(path, "s3://no-such-bucket/x")


@pytest.mark.slow
def test_an_exported_network_is_put_whole(place: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from torch_checkpoints import save_checkpoint

    from cortexia_video.jobs.export import export

    model = f"hf:{save_checkpoint('depth-anything', tmp_path / 'weights')}"
    made = export(model, f"{S3}/{place}/net.onnx", size=(42, 56))
    assert read_all(place).keys() == {"net.onnx"}
    assert len(read_all(place)["net.onnx"]) == made.bytes
    with pytest.raises(cx.errors.OutputExistsError, match="exists already"):
        export(model, f"{S3}/{place}/net.onnx", size=(42, 56))
