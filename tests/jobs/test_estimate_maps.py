"""Maps beside depth, each in a file of its own: of stated convention, safe as depth is, taken by what comes after."""

from __future__ import annotations

import json
import pickle
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pytest
from clips import write_clip
from PIL import Image
from telling_model import FOV_DEG, NORMAL, Telling, write_photo

import cortexia_video as cx
from cortexia_video import DepthEstimator, Report, estimate, verify
from cortexia_video.cli import main as run_main
from cortexia_video.datasets.build_items import list_run_items
from cortexia_video.errors import InputError
from cortexia_video.evaluation.ground_truth import find_depth_files
from cortexia_video.formats.maps import decode_mask, decode_normals
from cortexia_video.formats.registry import MAPS, is_own_output
from cortexia_video.jobs.inspect import inspect
from cortexia_video.jobs.point_clouds import CloudOptions, make_point_clouds
from cortexia_video.jobs.ray_cluster import _SerialEstimator
from cortexia_video.ledger.artifacts import list_maps
from cortexia_video.ledger.lines import read_done
from cortexia_video.point_clouds import ply
from cortexia_video.reporting.job import report as write_report
from cortexia_video.sources.depth_files import DepthFiles
from cortexia_video.sources.find import find_images
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.storage.system import PartialFolder
from cortexia_video.video.depth_clip import DepthClip

ALL = ("normals", "mask", "confidence", "points")
FILES = {"a.png.npy", *(f"a.png{MAPS[name].suffix}" for name in ALL)}
SIZE = (40, 60)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photo(tmp_path / "photos", SIZE)


def run(photos: Path, also: Any = ALL, model: Any = None, **options: Any) -> Report:
    carried = [each for each in also if each != "points"]
    loaded = DepthEstimator(model or Telling(), also=carried)
    return estimate(photos, photos.parent / "out", model=loaded, also=also, **options)


def main(words: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        run_main(words)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()} - {"ledger.jsonl", "depth.json"}


def test_each_map_is_a_file_that_other_programs_read(photos: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    report = run(photos)
    out = photos.parent / "out"
    assert (report.done, report.failed) == (1, 0) and names(out) == FILES
    blue_green_red = cv2.imread(str(out / "a.png.normals.png"), cv2.IMREAD_UNCHANGED)
    assert blue_green_red.dtype == np.uint16 and blue_green_red.shape == (*SIZE, 3)
    normals = (blue_green_red[..., ::-1].astype(np.float64) - 32768) / 32767
    mask = np.asarray(Image.open(out / "a.png.mask.png")) == 255
    assert mask[20, 20] and not mask[:8].any() and not mask[34:, 46:].any()
    np.testing.assert_allclose(normals[mask], np.broadcast_to(NORMAL, (mask.sum(), 3)), atol=2e-5)
    assert (blue_green_red[~mask] == 0).all()
    depth = np.load(out / "a.png.npy")
    np.testing.assert_array_equal(np.isnan(depth), ~mask)
    points = np.load(out / "a.png.points.npy")
    assert points.dtype == np.float32 and np.isnan(points[~mask]).all()
    f_px = SIZE[1] / 2 / np.tan(np.radians(FOV_DEG / 2))
    x, y, z = points[25, 50]
    assert (
        z == depth[25, 50]
        and x == pytest.approx(z * (50.5 - 30) / f_px)
        and y == pytest.approx(z * 5.5 / f_px)
    )
    assert np.load(out / "a.png.confidence.npy")[35, 10] == pytest.approx(120 / 255, abs=1e-6)


def test_our_readers_give_back_what_was_written(photos: Path) -> None:
    run(photos)
    out = photos.parent / "out"
    depth = DepthEstimator(Telling(), also=["normals"])(photos / "a.png")
    np.testing.assert_array_equal(decode_mask((out / "a.png.mask.png").read_bytes()), depth.valid)
    read = decode_normals((out / "a.png.normals.png").read_bytes())
    np.testing.assert_allclose(read, depth.normals, atol=2e-5)


def test_a_second_run_does_nothing_and_a_lost_or_damaged_map_is_made_again(photos: Path) -> None:
    out = photos.parent / "out"
    run(photos)
    whole = {each.name: each.read_bytes() for each in out.iterdir() if each.name in FILES}
    assert run(photos).skipped == 1
    for name in sorted(FILES - {"a.png.npy"}):
        (out / name).unlink()
        assert [each.output for each in verify(out).wrong] == [name]
        assert run(photos).done == 1
    damaged = out / "a.png.normals.png"
    damaged.write_bytes(damaged.read_bytes()[:-40] + bytes(40))
    (wrong,) = verify(out, requeue=True).wrong
    assert wrong.reason == "its content is not what was written" and run(photos).done == 1
    assert {each.name: each.read_bytes() for each in out.iterdir() if each.name in FILES} == whole
    assert not verify(out).wrong


def test_a_run_that_ends_between_the_files_of_an_image_is_finished_by_the_next(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, place = photos.parent / "out", PartialFolder.place

    def die(partial: PartialFolder, chunks: Any, root: Path, path: PurePath) -> Any:
        if path.name.endswith(".confidence.npy"):
            raise KeyboardInterrupt
        return place(partial, chunks, root, path)

    monkeypatch.setattr(PartialFolder, "place", die)
    with pytest.raises(KeyboardInterrupt):
        run(photos)
    assert names(out) < FILES and verify(out).unfinished == ["a.png"]
    monkeypatch.undo()
    assert run(photos).done == 1 and names(out) == FILES and not verify(out).wrong


def test_a_file_of_somebody_else_in_a_maps_place_stays(photos: Path) -> None:
    theirs = photos.parent / "out/a.png.mask.png"
    theirs.parent.mkdir()
    Image.new("L", (4, 4), 7).save(theirs)
    before = theirs.read_bytes()
    (failure,) = run(photos, overwrite=True).failures
    assert failure.reason.startswith("a.png.mask.png exists already, an image that is not ours")
    assert theirs.read_bytes() == before and not (photos.parent / "out/a.png.npy").exists()


def test_maps_are_no_inputs_and_no_depth(photos: Path) -> None:
    estimator = DepthEstimator(Telling(), also=["normals", "mask", "confidence"])
    estimate(photos, photos, model=estimator, also=ALL)
    assert all(is_own_output(photos / name) for name in FILES)
    assert [each.key for each in find_images([str(photos)])] == ["a.png"]
    assert [each.key for each in DepthFiles([str(photos)], about={"scale": 0.1})] == ["a.png.npy"]
    assert not {*find_depth_files(photos)} & {f"a.png{MAPS[name].suffix}" for name in ALL}
    with pytest.raises(InputError, match="does not say what it means"):
        cx.read_depth(photos / "a.png.confidence.npy")


def test_settings_say_which_maps_and_what_sky_is(photos: Path) -> None:
    out = photos.parent / "out"
    run(photos, ("mask",))
    kept = DepthEstimator(Telling(), sky="keep")
    assert estimate(photos, out, model=kept, sky="keep").done == 1
    lines = map(json.loads, (out / "ledger.jsonl").read_text().splitlines())
    said = [line["settings"] for line in lines if "settings" in line]
    assert [(each.get("also"), each.get("sky")) for each in said] == [(["mask"], None), (None, "keep")]
    assert np.isfinite(np.load(out / "a.png.npy")).all()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"also": "normal"}, "unknown map in `also` 'normal': did you mean normals"),
        (
            {"also": "points"},
            r"points \(`also`\) follow from metric or scale_invariant depth, and synthetic gives",
        ),
        ({"also": "mask", "kind": "metric"}, "synthetic gives no mask: `also` can be normals"),
        ({"also": "points", "kind": "metric", "pack": "parquet"}, "has no column for other maps"),
        ({"also": "points", "kind": "metric", "sequence": True}, "a video has no other maps than depth"),
        ({"sky": "blue"}, "`sky` must be one of unknown, keep"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    photos: Path, options: Mapping[str, Any], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        estimate(photos, photos.parent / "out", model="synthetic", **options)
    assert not (photos.parent / "out").exists()


def test_a_video_among_images_fails_alone_and_one_that_is_named_is_refused(photos: Path) -> None:
    pytest.importorskip("av")
    (photos / "b.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    report = run(photos)
    assert (report.done, [each.key for each in report.failures]) == (1, ["b.mp4"])
    assert "a video has no other maps than depth" in report.failures[0].reason
    with pytest.raises(InputError, match=r"b\.mp4: a video has no other maps"):
        run(photos / "b.mp4")


def test_sky_of_a_video_is_unknown_in_its_clip(tmp_path: Path) -> None:
    pytest.importorskip("av")
    images = [np.full((48, 64, 3), 60 + 10 * number, np.uint8) for number in range(6)]
    for image in images:
        image[:16] = 255
        image[20:40, 30:50] += 40
    video = write_clip(tmp_path / "clip.mp4", images)
    assert estimate(video, tmp_path / "out", model=DepthEstimator(Telling())).done == 1
    with DepthClip(tmp_path / "out/clip.mp4.mkv") as clip:
        frames = [clip.read(number).values for number in range(len(clip))]
        low, _ = clip.metadata["clip"]["range"]
    assert len(frames) == 6 and low > 0
    for values in frames:
        assert np.isnan(values[:8]).all() and np.isfinite(values[13:]).all()


def test_a_clip_of_sky_alone_is_unknown_in_every_form(tmp_path: Path) -> None:
    pytest.importorskip("av")
    video = write_clip(tmp_path / "clip.mp4", [np.full((32, 48, 3), 255, np.uint8)] * 3)
    model = DepthEstimator(Telling())
    for format in ("png16", "png"):
        out = tmp_path / format
        assert estimate(video, out, model=model, video_format="frames", format=format).done == 1
    assert np.isnan(cx.read_depth(tmp_path / "png16/clip.mp4/000000.16.png").values).all()
    assert not np.asarray(Image.open(tmp_path / "png/clip.mp4/000000.png")).any()
    estimate(video, tmp_path / "mkv", model=model)
    assert cx.convert(tmp_path / "mkv", tmp_path / "views", format="png", allow_loss=True).done == 3


def test_normals_of_other_models_follow_from_metres_and_a_focal_length(photos: Path) -> None:
    out = photos.parent / "out"
    asked: dict[str, Any] = {"model": "synthetic", "kind": "metric", "also": "normals,points"}
    (failure,) = estimate(photos, out, **asked).failures
    assert failure.reason == "normals need a focal length, and none is known: give `f_px` or `intrinsics`"
    assert estimate(photos, out, **asked, f_px=60).done == 1
    normals = decode_normals((out / "a.png.normals.png").read_bytes())
    known = np.isfinite(normals[..., 0])
    assert known.mean() > 0.8 and (normals[known][:, 2] < 0).all()


def test_aligned_depth_has_normals_and_points_in_metres(photos: Path) -> None:
    out = photos.parent / "out"
    to = cx.AlignTo(near_m=1, far_m=9)
    assert estimate(photos, out, model="synthetic", also="normals,points", f_px=60, align_to=to).done == 1
    points = np.load(out / "a.png.points.npy")
    assert (float(np.nanmin(points[..., 2])), float(np.nanmax(points[..., 2]))) == pytest.approx(
        (1, 9), rel=1e-3
    )


def test_a_tar_holds_the_maps_and_what_comes_after_finds_them_there(photos: Path) -> None:
    out = photos.parent / "out"
    assert run(photos, pack="tar").done == 1
    (archive,) = out.glob("*.tar")
    with tarfile.open(archive) as opened:
        assert {*opened.getnames()} == {*FILES, "a.png.json"}
    assert not verify(out).wrong
    (line,) = read_done(out)
    assert list_maps(line)["normals"] == "a.png.normals.png"
    (item,) = list_run_items(photos, out, skipped={})  # type: ignore[arg-type]
    sample, _ = item.load()
    assert sample.mask is not None and not sample.mask[:8].any() and sample.mask[20, 20]


def test_a_url_takes_the_maps_and_what_is_there_is_found_again(
    photos: Path, server: object, place: str
) -> None:
    out = f"s3://bucket/{place}/out"
    estimator = DepthEstimator(Telling(), also=["normals", "mask", "confidence"])
    first = estimate(photos, out, model=estimator, also=ALL)
    second = estimate(photos, out, model=estimator, also=ALL)
    assert (first.done, second.skipped) == (1, 1) and not verify(out).wrong
    assert {name for name, _ in RemotePath(out).list_files()} >= FILES
    assert [each.key for each in DepthFiles([out])] == ["a.png"]


def test_a_worker_of_a_cluster_is_asked_for_the_same(photos: Path) -> None:
    estimator = DepthEstimator(Telling(), also=["normals"], sky="keep")
    sent = pickle.loads(pickle.dumps(estimator))
    worker = _SerialEstimator(sent)
    assert (worker.also, worker.sky) == (frozenset({"normals"}), "keep")
    assert worker(photos / "a.png").normals is not None


def test_point_clouds_leave_the_sky_out_and_take_the_normals_of_the_run(photos: Path) -> None:
    estimator = DepthEstimator(Telling(), also=["normals", "mask"], sky="keep")
    out, clouds = photos.parent / "out", photos.parent / "clouds"
    estimate(photos, out, model=estimator, also=("normals", "mask"), sky="keep")
    options = CloudOptions(normals=True, max_gap=float("inf"))
    assert make_point_clouds(out, clouds, options=options).done == 1
    data = (clouds / "a.png.ply").read_bytes()
    points = ply.decode_points(data)
    mask = decode_mask((out / "a.png.mask.png").read_bytes())
    assert len(points) == mask.sum()
    fields = [("points", "<f4", 3), ("normals", "<f4", 3), ("colors", "u1", 3)]
    rows = np.frombuffer(data, fields, offset=data.index(b"end_header\n") + 11)
    np.testing.assert_allclose(rows["normals"], np.broadcast_to(NORMAL, (len(rows), 3)), atol=3e-5)


def test_info_and_the_report_name_the_maps(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = photos.parent / "out"
    run(photos)
    assert inspect(out / "a.png.npy").maps == ALL  # type: ignore[union-attr]
    assert main(["info", str(out / "a.png.npy"), str(out)]) == 0
    said = capsys.readouterr().out
    assert "beside it   normals, mask, confidence, points" in said
    assert "beside it   normals (1), mask (1), confidence (1), points (1)" in said
    write_report(out)
    assert 'href="a.png.normals.png"' in (out / "report.html").read_text()


def test_the_command_takes_words_with_commas(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = photos.parent / "out"
    words = ["estimate", str(photos), "--output", str(out), "--model", "synthetic", "--kind", "metric"]
    assert main([*words, "--f-px", "60", "--also", "points,normals", "--sky", "keep"]) == 0
    assert names(out) == {"a.png.npy", "a.png.normals.png", "a.png.points.npy"}
    assert main([*words, "--also", "confidence"]) == 2
    assert "synthetic gives no confidence: --also can be normals" in capsys.readouterr().err
