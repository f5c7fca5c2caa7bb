"""Depth completion over folders: each image with its sensor's map, and what is said of it."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")

from clips import write_clip
from PIL import Image

import cortexia_video as cx
from cortexia_video import DepthMap, Report, estimate
from cortexia_video.cli import main as run_main
from cortexia_video.errors import InputError, ParityError
from cortexia_video.formats.metadata import with_metadata
from cortexia_video.jobs.aligner import Aligner, AlignTo
from cortexia_video.jobs.inspect import inspect
from cortexia_video.jobs.status import status
from cortexia_video.ledger.lines import read_done
from cortexia_video.sparse_depth.depth_folder import DepthFolder
from cortexia_video.video.depth_clip import DepthClip

Checkpoints = Callable[[str], Path]
Make = Callable[..., Path]


@pytest.fixture
def model(checkpoints: Checkpoints) -> str:
    return f"hf:{checkpoints('prompt-depth-anything')}"


def write_millimetres(
    path: Path, size: tuple[int, int] = (24, 32), seed: int = 0, share: float = 1.0
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    values = rng.integers(900, 6000, size) * (rng.random(size) < share)
    Image.fromarray(values.astype(np.uint16)).save(path)


@pytest.fixture
def photos(tmp_path: Path, make_image: Make) -> Path:
    """Three photos with LiDAR of two, one with holes."""
    for seed, name in enumerate(("a", "b", "trip/c")):
        make_image(tmp_path / f"photos/{name}.jpg", size=(60, 80), seed=seed)
    write_millimetres(tmp_path / "lidar/a.png")
    write_millimetres(tmp_path / "lidar/b.png", (60, 80), seed=1, share=0.1)
    return tmp_path / "photos"


def run(photos: Path, model: Any, **options: Any) -> Report:
    given = {"sparse": photos.parent / "lidar", "sparse_from": "scannet", "recursive": True, **options}
    return estimate(photos, photos.parent / "out", model=model, format="npz", **given)


def test_images_are_completed_and_the_one_without_a_map_fails_alone(photos: Path, model: str) -> None:
    report = run(photos, model)
    assert (report.done, report.failed) == (2, 1), report.failures
    (failure,) = report.failures
    assert failure.key == "trip/c.jpg"
    assert failure.reason.startswith("none of 2 files of sparse depth has its name: name its map as")
    for name in "ab":
        depth = cx.read_depth(photos.parent / f"out/{name}.jpg.npz")
        measured = np.asarray(Image.open(photos.parent / f"lidar/{name}.png")) / np.float32(1000)
        lowest = measured[measured > 0].min()
        assert (depth.kind, depth.scale_from) == ("metric", "sparse")
        assert lowest <= depth.values.min() < depth.values.max() <= measured.max() + 1e-5
        alone = cx.load_estimator(model)(
            photos / f"{name}.jpg", sparse=DepthMap(measured, "metric")
        )  # 0 is unknown
        np.testing.assert_allclose(depth.values, alone.values, rtol=1e-5)


def test_where_the_metres_are_from_is_said(photos: Path, model: str) -> None:
    run(photos, model)
    out = photos.parent / "out"
    lines = {each["key"]: each for each in read_done(out)}
    assert lines["a.jpg"]["scale_from"] == "sparse" and lines["a.jpg"]["kind"] == "metric"
    assert inspect(out / "a.jpg.npz").metadata["scale_from"] == "sparse"  # type: ignore[union-attr]
    estimate(
        photos / "a.jpg", out.parent / "npy", model=model, sparse=out.parent / "lidar", sparse_from="scannet"
    )
    assert cx.read_depth(out.parent / "npy/a.jpg.npy").scale_from == "sparse"  # its ledger says so
    (out.parent / "npy/ledger.jsonl").unlink()
    assert cx.read_depth(out.parent / "npy/a.jpg.npy").scale_from == "sparse"  # and depth.json
    cx.write_depth(cx.read_depth(out / "a.jpg.npz"), out.parent / "b.exr")
    assert cx.read_depth(out.parent / "b.exr").scale_from == "sparse"
    with pytest.raises(ValueError, match="scale_from is 'guess': it must be sparse or null"):
        with_metadata(np.ones((2, 2), np.float32), {"kind": "metric", "scale_from": "guess"})


def test_an_image_is_completed_again_when_what_is_in_its_map_changes(photos: Path, model: str) -> None:
    assert run(photos, model).counts == {"found": 3, "done": 2, "skipped": 0, "failed": 1}
    (photos.parent / "lidar/a.png").touch()
    write_millimetres(photos.parent / "lidar/b.png", (60, 80), seed=9, share=0.1)
    write_millimetres(photos.parent / "lidar/trip/c.png", seed=4)
    report = run(photos, model)
    assert report.counts == {"found": 3, "done": 2, "skipped": 1, "failed": 0}, report.failures
    assert run(photos, model).skipped == 3
    lines = {each["key"]: each["beside"] for each in read_done(photos.parent / "out")}
    assert (
        len({*lines.values()}) == 3
        and status(photos.parent / "out", inputs=[photos], recursive=True).left == 0
    )


def test_what_a_ledger_without_digests_has_is_kept_if_that_is_asked(photos: Path, model: str) -> None:
    run(photos, model)
    ledger = photos.parent / "out/ledger.jsonl"
    text, count = re.subn(r', ?"beside": ?"\w+"', "", ledger.read_text())
    assert count == 2
    ledger.write_text(text)
    assert run(photos, model, preview=True, changed="keep").skipped == 2
    assert run(photos, model).done == 2  # with the same settings it is not known what it is made of


def test_what_is_wrong_with_a_map_costs_its_image(photos: Path, model: str) -> None:
    write_millimetres(photos.parent / "lidar/b.png", (32, 32))
    write_millimetres(photos.parent / "lidar/c.png", share=0)
    report = run(photos, model)
    assert report.done == 1
    reasons = {each.key: each.reason for each in report.failures}
    assert reasons["trip/c.jpg"] == "its sparse depth has no point in the image with a distance above 0"
    assert "of an image of 32 x 32, this one has 80 x 60, of another shape" in reasons["b.jpg"]


def test_a_folder_that_cannot_be_is_refused_at_once(photos: Path, model: str) -> None:
    (photos.parent / "empty").mkdir()
    for options, message in (
        ({"sparse": None, "sparse_from": None}, "completes a sensor's depth: give that (`sparse`)"),
        ({"sparse": None}, "`sparse_from` says whose files the folder `sparse` has"),
        ({"model": "compact"}, "compact takes no sparse depth (`sparse`)"),
        ({"sparse": photos.parent / "empty"}, "no depth files in"),
        ({"sparse_from": "nobody"}, "nobody"),
    ):
        with pytest.raises(InputError) as raised:
            run(photos, **{"model": model, **options})
        assert message in str(raised.value)
        assert not (photos.parent / "out").exists()


def test_the_command_speaks_of_its_options(
    photos: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["estimate", str(photos), "--output", str(photos.parent / "out"), "--model", model]
    with pytest.raises(SystemExit) as ended:
        run_main(words)
    assert ended.value.code == 2 and "give that (--sparse)" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        run_main([*words, "--sparse", str(photos.parent / "lidar"), "--sparse-from", "scannet"])
    assert ended.value.code == 0


def test_a_clip_has_a_map_for_each_frame(tmp_path: Path, model: str) -> None:
    pytest.importorskip("av")
    write_clip(tmp_path / "clip.mp4", 8)
    sensor = tmp_path / "lidar/clip.mp4"
    options = {"model": model, "sparse": tmp_path / "lidar", "sparse_from": "scannet", "steady": "off"}

    def run_on(*numbers: int) -> Report:
        for number in numbers:
            write_millimetres(tmp_path / f"lidar/clip.mp4/{number:06}.png", (48, 64), seed=number)
        return estimate(tmp_path / "clip.mp4", tmp_path / "out", video_size="full", **options)  # type: ignore[arg-type]

    (failure,) = run_on(99).failures
    assert failure.reason.startswith(
        "no file of sparse depth is of a frame of it: they are called clip.mp4/000000,"
    )
    report = run_on(*range(5), 6, 7)
    assert (report.done, report.failed) == (1, 0), report.failures
    (line,) = read_done(tmp_path / "out")
    assert line["clip"]["held"] == 1  # of the frame without a map
    assert line["scale_from"] == "sparse"
    with DepthClip(tmp_path / "out/clip.mp4.mkv") as clip:
        assert len(clip) == 8 and clip.metadata["scale_from"] == "sparse"
    (sensor / "000003.png").touch()
    assert run_on().skipped == 1
    (sensor / "000003.png").unlink()
    assert run_on().done == 1
    (sensor / "000000.png").unlink()
    with pytest.raises(ParityError, match="worst of 1 image: clip.mp4"):  # by a frame that has one
        estimate(tmp_path / "clip.mp4", tmp_path / "half", precision="bfloat16", max_error=1e-9, **options)  # type: ignore[arg-type]


def test_photos_and_videos_of_one_folder_each_have_their_own_maps(tmp_path: Path) -> None:
    for seed, name in enumerate(
        ("000001.png", "clip.mp4/000001.png", "clip.mp4/000002.png", "trip/b.png", "b.png")
    ):
        write_millimetres(tmp_path / f"lidar/{name}", seed=seed)
    folder = DepthFolder(tmp_path / "lidar", "scannet")

    corners = [np.random.default_rng(seed).integers(900, 6000, (24, 32))[0, 0] for seed in range(5)]

    def seen(key: str) -> int:
        sparse = folder.add_to(cx.Frame(key, np.zeros((24, 32, 3), np.uint8)), [key]).sparse
        assert sparse is not None
        return corners.index(round(1000 * float(sparse[0, 0])))

    assert [seen(key) for key in ("000001.jpg", "clip.mp4/000001", "trip/b.jpg", "b.jpg")] == [0, 1, 3, 4]
    assert not folder.knows(["000002.jpg"]) and folder.knows(["films/clip.mp4/000002"])
    digests = [folder.digest(*each) for each in (("000001.jpg",), ("trip/b.jpg",), ("b.jpg",), ("none.jpg",))]
    of_clip = folder.digest("clip.mp4", is_clip=True)
    assert len({*digests, of_clip}) == 5 and digests[3] == "" != of_clip
    assert folder.count_bytes("b.jpg") > 24 * 32 * 20 and folder.count_bytes("none.jpg") == 0


def test_other_processes_open_the_folder_anew(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos.parent)
    folder, aligner = DepthFolder("lidar", "scannet"), Aligner(AlignTo(sparse="lidar", sparse_from="scannet"))
    packed, packed_aligner = pickle.dumps(folder), pickle.dumps(aligner)
    monkeypatch.chdir("/")
    other = pickle.loads(packed)
    assert pickle.loads(packed_aligner).settings == aligner.settings
    assert other.settings == folder.settings
    np.testing.assert_array_equal(other.find("a.jpg", 80, 60), folder.find("a.jpg", 80, 60))
