"""`align`: metric depth files by what is known, one outcome each, and the relative maps kept."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from clips import write_clip
from colmap_files import Model, View, make_views
from numpy.typing import NDArray
from PIL import Image

import cortexia_video as cx
from cortexia_video.cli import main
from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import InputError, LossError
from cortexia_video.jobs.aligner import Aligner
from cortexia_video.ledger.state import read_depth_json

Floats = NDArray[np.float64]
HEIGHT, WIDTH, F_PX = 48, 64, 60.0
RGBD = Path(__file__).parents[3] / "shared" / "data" / "rgbd"


def make_metres(seed: int) -> Floats:
    """A slope with things on it: 1 m to 6 m."""
    random = np.random.default_rng(seed)
    metres = np.linspace(6, 1.5, HEIGHT)[:, None] * np.ones(WIDTH)
    for _ in range(6):
        y, x = random.integers(0, HEIGHT - 8), random.integers(0, WIDTH - 8)
        metres[y : y + 8, x : x + 8] = random.uniform(1, 6)
    return metres


def write_relative(
    folder: Path, metres: Mapping[str, Floats], *, kind: DepthKind = "disparity", format: Any = "npz"
) -> Path:
    """Write what a network would say of each image, of another scale and shift each."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (key, each) in enumerate(metres.items(), 1):
        values = (1 / each - 0.01 * number) / (0.3 * number) if kind == "disparity" else each / number
        depth = cx.DepthMap(values.astype(np.float32), kind, f_px=F_PX, f_source="given", model="m")
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        cx.write_depth(depth, folder / f"{key}.{format}")
    return folder


def take_points(metres: Floats, count: int, seed: int = 0) -> list[tuple[float, float, float]]:
    random = np.random.default_rng(seed)
    lines, columns = np.divmod(random.choice(metres.size, count, replace=False), WIDTH)
    return [(int(x), int(y), float(metres[y, x])) for y, x in zip(lines, columns, strict=True)]


def list_done(folder: Path) -> dict[str, dict[str, Any]]:
    return {line["key"]: line for line in cx.read_ledger(folder) if line.get("outcome") == "done"}


def test_each_image_gets_metres_by_its_own_points(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metres = {f"trip/{name}.jpg": make_metres(seed) for seed, name in enumerate("abc")}
    depth = write_relative(tmp_path / "depth", metres)
    lines = [
        f"{key},{x},{y},{z}"
        for key in ("trip/a.jpg", "trip/b.jpg")
        for x, y, z in take_points(metres[key], 30)
    ]
    lines[3] = "trip/a.jpg,5,5,40"
    (tmp_path / "points.csv").write_text("key,x,y,depth_m\n" + "\n".join(lines) + "\n")
    out = tmp_path / "metric"
    arguments = [
        "align",
        str(depth),
        "--to",
        str(tmp_path / "points.csv"),
        "--format",
        "npy",
        "--output",
        str(out),
    ]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    said = capsys.readouterr()
    assert ended.value.code == 1
    assert "3 found: 2 done, 0 skipped, 1 failed" in said.out
    assert "trip/c.jpg" in said.err and "points.csv has no point of it" in said.err
    for key in ("trip/a.jpg", "trip/b.jpg"):
        found = cx.read_depth(out / f"{key}.npy")  # its ledger says what a .npy cannot
        np.testing.assert_allclose(found.values, metres[key], rtol=1e-4)
        assert (found.kind, found.f_px, found.model) == ("metric", F_PX, "m")
        assert found.alignment is not None and found.alignment.by == "points"
        before, kept = cx.read_depth(depth / f"{key}.npz"), cx.read_depth(out / f"{key}.relative")
        np.testing.assert_array_equal(before.values, kept.values)
        assert (kept.kind, kept.alignment) == ("disparity", None)
    line = list_done(out)["trip/a.jpg"]
    assert (line["aligned_by"], line["kind"]) == ("points", "metric")
    assert (line["alignment"]["points_used"], line["alignment"]["points_rejected"]) == (29, 1)
    assert line["alignment"]["residual_share"] < 1e-4 and line["alignment"]["held_out_share"] < 1e-4
    assert read_depth_json(out)["kind"] == "metric"
    with pytest.raises(SystemExit):
        main(arguments)
    assert "0 done, 2 skipped, 1 failed" in capsys.readouterr().out
    (tmp_path / "points.csv").write_text("key,x,y,depth_m\n*,5,2,6\n*,9,45,1.6\n")
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert "3 done" in capsys.readouterr().out  # other points: all again


def test_known_distances_of_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metres = make_metres(0)
    depth = write_relative(tmp_path / "depth", {"a.jpg": metres})
    known = [word for x, y, z in take_points(metres, 3) for word in ("--known", f"{x},{y}={z!r}")]
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "align",
                str(depth),
                *known,
                "--format",
                "npz",
                "--drop-relative",
                "--output",
                str(tmp_path / "out"),
            ]
        )
    assert ended.value.code == 0
    found = cx.read_depth(tmp_path / "out" / "a.jpg.npz")
    np.testing.assert_allclose(found.values, metres, rtol=1e-4)
    assert not (tmp_path / "out" / "a.jpg.relative").exists()
    with pytest.raises(SystemExit) as ended:
        main(["align", str(depth), "--known", "1,2=-3", "--output", str(tmp_path / "none")])
    assert "--known must be x,y=metres, as 812,440=2.0, not '1,2=-3'" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_near_and_far(tmp_path: Path) -> None:
    depth = write_relative(tmp_path / "depth", {"a.jpg": make_metres(0)})
    cx.align_folder(depth, tmp_path / "out", cx.AlignTo(near_m=1.5, far_m=9), format="npz")
    found = cx.read_depth(tmp_path / "out" / "a.jpg.npz")
    assert (found.values.min(), found.values.max()) == pytest.approx((1.5, 9))
    assert found.alignment is not None
    assert (found.alignment.by, found.alignment.points_used, found.alignment.beyond) == ("near_far", 0, 0)


@pytest.mark.parametrize("how", ["bin", "txt"])
@pytest.mark.parametrize("kind", ["disparity", "scale_invariant"])
def test_the_scale_of_a_colmap_model(tmp_path: Path, how: Literal["bin", "txt"], kind: DepthKind) -> None:
    metres = {f"{name}.jpg": make_metres(seed) for seed, name in enumerate("abcd")}
    model = make_views(metres, F_PX, 60, wrong=0.3)
    del model.views["d.jpg"]
    model.write(tmp_path / "model", how)
    depth = write_relative(
        tmp_path / "depth", {f"photos/{key}": each for key, each in metres.items()}, kind=kind
    )
    report = cx.align_folder(
        depth, tmp_path / "out", cx.AlignTo(colmap=str(tmp_path / "model")), format="npz"
    )
    assert (report.done, report.failed) == (3, 1)
    assert report.failures[0].key == "photos/d.jpg"
    assert "has none of its name" in report.failures[0].reason
    for key, each in list(metres.items())[:3]:
        found = cx.read_depth(tmp_path / "out" / "photos" / f"{key}.npz")
        np.testing.assert_allclose(found.values, each, rtol=1e-3)
        assert found.alignment is not None
        assert (found.alignment.by, found.alignment.points_used) == ("colmap", 42)


def test_a_model_of_images_of_another_shape_is_refused(tmp_path: Path) -> None:
    model = make_views({"a.jpg": np.ones((64, 48))}, F_PX, 20)
    depth = write_relative(tmp_path / "depth", {"a.jpg": make_metres(0)})
    to = cx.AlignTo(to=str(model.write(tmp_path / "model", "bin")))
    report = cx.align_folder(depth, tmp_path / "out", to, format="npz")
    assert "has 48 x 64, the depth is of one of 64 x 48" in report.failures[0].reason


@pytest.mark.parametrize("how", ["bin", "txt"])
def test_points_behind_the_camera_or_without_a_place_have_no_part(
    tmp_path: Path, how: Literal["bin", "txt"]
) -> None:
    metres = make_metres(0)
    model = make_views({"a.jpg": metres}, F_PX, 40)
    model.points[:5, 2] -= 50  # the only camera looks along z
    model.points[5:8] = np.nan
    model.points[8, 0] = np.inf
    depth = write_relative(tmp_path / "depth", {"a.jpg": metres})
    report = cx.align_folder(
        depth, tmp_path / "out", cx.AlignTo(colmap=str(model.write(tmp_path / "model", how))), format="npz"
    )
    assert report.done == 1, report.failures
    found = cx.read_depth(tmp_path / "out" / "a.jpg.npz")
    np.testing.assert_allclose(found.values, metres, rtol=1e-3)
    assert found.alignment is not None
    assert found.alignment.points_used + found.alignment.points_rejected == 31  # 40 but 5, 3 and 1


def test_a_model_of_images_of_another_size_is_scaled(tmp_path: Path) -> None:
    metres = make_metres(1)
    model = make_views({"a.jpg": metres}, F_PX, 30)
    double = View(**{**vars(model.views["a.jpg"]), "pixels": model.views["a.jpg"].pixels * 2})
    camera = ("PINHOLE", 2 * WIDTH, 2 * HEIGHT, (2 * F_PX, 2 * F_PX, WIDTH, HEIGHT))
    larger = Model({1: camera}, {"a.jpg": double}, model.points, model.first)
    depth = write_relative(tmp_path / "depth", {"a.jpg": metres})
    to = cx.AlignTo(to=str(larger.write(tmp_path / "model", "bin")))
    cx.align_folder(depth, tmp_path / "out", to, format="npz")
    np.testing.assert_allclose(cx.read_depth(tmp_path / "out" / "a.jpg.npz").values, metres, rtol=1e-3)


def test_sensors_maps_with_holes(tmp_path: Path) -> None:
    metres = {"a.jpg": make_metres(0), "b.jpg": make_metres(1)}
    depth, lidar = write_relative(tmp_path / "depth", metres), tmp_path / "lidar"
    lidar.mkdir()
    for key, each in metres.items():
        holes = np.where(np.random.default_rng(0).random(each.shape) < 0.05, np.round(each * 256), 0)
        Image.fromarray(holes.astype(np.uint16)).save(lidar / f"{key.removesuffix('.jpg')}.png")
    to = cx.AlignTo(sparse=str(lidar), sparse_from="kitti")
    assert cx.align_folder(depth, tmp_path / "out", to, format="npz").done == 2
    for key, each in metres.items():
        np.testing.assert_allclose(cx.read_depth(tmp_path / "out" / f"{key}.npz").values, each, rtol=0.01)


def test_images_share_a_fit(tmp_path: Path) -> None:
    metres = {f"{clip}/{number}.jpg": make_metres(7 * number) for clip in "ab" for number in range(3)}
    folder = tmp_path / "depth"
    for key, each in metres.items():
        scale = 2 if key.startswith("a") else 5
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        cx.write_depth(
            cx.DepthMap((scale * each).astype(np.float32), "scale_invariant"), folder / f"{key}.npz"
        )
    lines = [
        f"{key},{x},{y},{z}" for key in ("a/0.jpg", "b/1.jpg") for x, y, z in take_points(metres[key], 9)
    ]
    (tmp_path / "p.csv").write_text("key,x,y,depth_m\n" + "\n".join(lines) + "\n")
    to = cx.AlignTo(points=str(tmp_path / "p.csv"))
    report = cx.align_folder(folder, tmp_path / "clip", to, format="npz", share="clip")
    assert report.done == 6
    for key, each in metres.items():
        found = cx.read_depth(tmp_path / "clip" / f"{key}.npz")
        np.testing.assert_allclose(found.values, each, rtol=1e-5)
        assert found.alignment is not None
        assert (found.alignment.share, found.alignment.points_used) == (
            "clip",
            9 if key in ("a/0.jpg", "b/1.jpg") else 0,
        )
    again = cx.align_folder(folder, tmp_path / "clip", to, format="npz", share="clip")
    assert (again.done, again.skipped) == (0, 6)
    (tmp_path / "p.csv").write_text("key,x,y,depth_m\n" + "\n".join(lines[:9]) + "\n")
    other = cx.align_folder(folder, tmp_path / "two", to, format="npz", share="clip")
    assert (other.done, other.failed) == (3, 3)
    assert "no image with known distances in b" in other.failures[0].reason
    with pytest.raises(InputError, match="`share` must be none"):
        cx.align_folder(folder, tmp_path / "x", cx.AlignTo(near_m=1, far_m=2), format="npz", share="all")


@pytest.mark.parametrize(
    ("to", "message"),
    [
        (cx.AlignTo(), "nothing is given: align to one of `to`, `points`"),
        (cx.AlignTo(to="a.csv", known=("1,2=3",)), r"2 are given \(to, known\)"),
        (cx.AlignTo(near_m=1), "`near_m` and `far_m` belong together"),
        (cx.AlignTo(near_m=3, far_m=2), "0 < near < far"),
        (cx.AlignTo(to="nothing"), "says no metres: give a .csv of points, a folder with a COLMAP model"),
        (cx.AlignTo(colmap="nothing"), "no model of COLMAP"),
        (cx.AlignTo(points="nothing.csv"), "cannot read points from nothing.csv"),
        (cx.AlignTo(colmap="nothing", sparse_from="kitti"), "`sparse_from` says whose depth files"),
    ],
)
def test_what_says_no_metres_is_refused_before_anything_is_written(
    tmp_path: Path, to: cx.AlignTo, message: str
) -> None:
    depth = write_relative(tmp_path / "depth", {"a.jpg": make_metres(0)})
    with pytest.raises(InputError, match=message):
        cx.align_folder(depth, tmp_path / "out", to, format="npz")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the header must be key,x,y,depth_m; it is nothing"),
        ("key,x,y\na,1,2", "the header must be key,x,y,depth_m; it is key,x,y"),
        ("key,x,y,depth_m\na,1,2,far", "line 2: 'far' is no number"),
        ("key,x,y,depth_m\na,1,2", "line 2: 3 fields, the header has 4"),
        ("key,x,y,depth_m\n", "no point in it"),
        ('key,x,y,depth_m\n"a,1,2,3', "not CSV"),
    ],
)
def test_a_table_that_is_none_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    depth = write_relative(tmp_path / "depth", {"a.jpg": make_metres(0)})
    with pytest.raises(InputError, match=message):
        cx.align_folder(depth, tmp_path / "out", cx.AlignTo(points=str(tmp_path / "p.csv")), format="npz")


def test_a_view_cannot_be_aligned(tmp_path: Path) -> None:
    depth = write_relative(tmp_path / "depth", {"a.jpg": make_metres(0)})
    with pytest.raises(LossError, match="png is a view"):
        cx.align_folder(depth, tmp_path / "out", cx.AlignTo(known=("1,2=3",)), format="png")


def test_aligned_maps_are_metric_for_other_commands(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in "ab":
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)).save(
            photos / f"{name}.jpg"
        )
    cx.estimate(photos, tmp_path / "depth", model="compact", f_px=F_PX)
    to = cx.AlignTo(known=("5,5=3", "5,40=1.5", "60,20=2.5"), unknown_beyond=True)
    report = cx.align_folder(tmp_path / "depth", tmp_path / "metric", to)
    assert report.done + report.failed == 2
    if report.done:
        from cortexia_video.jobs.point_clouds import make_point_clouds

        clouds = make_point_clouds(tmp_path / "metric", tmp_path / "clouds")
        assert clouds.done == report.done, clouds.failures
    assert cx.verify(tmp_path / "metric").wrong == []


@pytest.mark.skipif(not RGBD.is_dir(), reason="needs ../shared")
@pytest.mark.parametrize(("name", "count"), [("tum-desk", 5), ("nvblox-3dmatch", 3)])
def test_real_frames_get_the_metres_of_a_model_and_lie_on_each_other_by_its_poses(
    tmp_path: Path, name: str, count: int
) -> None:
    """Features and poses are those of OpenCV; what is wrong with them is what is wrong with a real model."""
    pytest.importorskip("cv2")
    from posed_frames import pose_frames

    scene = pose_frames(name, count)
    model = scene.model.write(tmp_path / "model", "bin")
    for number, (key, metres) in enumerate(scene.metres.items(), 1):
        values = (1 / metres - 0.05) / (3 * number) if number % 2 else metres / number
        kind: DepthKind = "disparity" if number % 2 else "scale_invariant"
        cx.write_depth(cx.DepthMap(values.astype(np.float32), kind), tmp_path / "depth" / f"{key}.npz")
    report = cx.align_folder(
        tmp_path / "depth", tmp_path / "out", cx.AlignTo(colmap=str(model)), format="npz"
    )
    assert report.done == count, report.failures
    for key, metres in scene.metres.items():
        found = cx.read_depth(tmp_path / "out" / f"{key}.npz")
        there = np.isfinite(metres)
        assert np.median(np.abs(found.values[there] / metres[there] - 1)) < 0.01
        assert found.alignment is not None and found.alignment.points_used > 250
        assert found.alignment.held_out_share is not None and found.alignment.held_out_share < 0.02
    first = next(iter(scene.metres))
    world = [*map(scene.model.views.get, scene.metres)]
    assert world[0] is not None and world[-1] is not None
    last = cx.read_depth(tmp_path / "out" / f"{[*scene.metres][-1]}.npz").values[::7, ::7].astype(np.float64)
    rows, columns = np.mgrid[: scene.metres[first].shape[0] : 7, : scene.metres[first].shape[1] : 7] + 0.5
    (_, _, _, (fx, fy, axis_x, axis_y)) = scene.model.cameras[1]
    points = np.stack([(columns - axis_x) / fx * last, (rows - axis_y) / fy * last, last], axis=-1)
    points = (points.reshape(-1, 3) - world[-1].translation) @ world[-1].rotation  # in the first frame's axes
    pixels = np.floor(points[:, :2] / points[:, 2:] * (fx, fy) + (axis_x, axis_y))
    inside = ((pixels >= 0) & (pixels < (640, 480))).all(axis=1)
    x, y = pixels[inside].astype(int).T
    assert np.nanmedian(np.abs(points[inside, 2] / scene.metres[first][y, x] - 1)) < 0.015


def write_photos(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for seed, name in enumerate(names):
        pixels = np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


def test_estimate_makes_metres_in_one_pass_as_align_does_after_it(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", "a.png", "b.png", "c.png")
    cx.estimate(photos, tmp_path / "relative", model="synthetic", kind="disparity")
    lines = []
    for key in ("a.png", "b.png"):
        values = cx.read_depth(tmp_path / "relative" / f"{key}.npy").values
        for x, y in ((3, 3), (40, 20), (60, 40), (10, 44), (30, 3)):
            lines.append(f"{key},{x},{y},{1 / (0.5 * values[y, x] + 0.1)}")
    (tmp_path / "points.csv").write_text("key,x,y,depth_m\n" + "\n".join(lines) + "\n")
    points = str(tmp_path / "points.csv")
    report = cx.estimate(photos, tmp_path / "metric", model="synthetic", kind="disparity", align_to=points)
    assert (report.done, report.failed) == (2, 1)
    assert "has no point of it" in report.failures[0].reason
    cx.align_folder(tmp_path / "relative", tmp_path / "after", cx.AlignTo(to=points))
    for key in ("a.png", "b.png"):
        once, twice = (cx.read_depth(tmp_path / name / f"{key}.npy") for name in ("metric", "after"))
        np.testing.assert_array_equal(once.values, twice.values)
        assert once.kind == "metric" and once.alignment == twice.alignment is not None
        before = cx.read_depth(tmp_path / "relative" / f"{key}.npy")
        np.testing.assert_array_equal(
            before.values, cx.read_depth(tmp_path / "metric" / f"{key}.relative").values
        )
    assert read_depth_json(tmp_path / "metric")["kind"] == "metric"
    again = cx.estimate(photos, tmp_path / "metric", model="synthetic", kind="disparity", align_to=points)
    assert (again.skipped, again.failed) == (2, 1)
    assert cx.verify(tmp_path / "metric").wrong == []


def write_every_source(root: Path, metres: Mapping[str, Floats]) -> dict[str, Path]:
    """Write what is known of images of these depths in each form that has a path, by what the metadata calls it."""
    from sparse_depth.test_nerfstudio import write_scene

    lines = [f"{key},{x},{y},{z!r}" for key, each in metres.items() for x, y, z in take_points(each, 20)]
    root.mkdir()
    (root / "points.csv").write_text("key,x,y,depth_m\n" + "\n".join(lines) + "\n")
    make_views(metres, F_PX, 40).write(root / "scene" / "sparse" / "0", "bin")
    (first,) = {key for key in metres if key.endswith("a.png")}
    transforms = write_scene(root / "nerfstudio", metres[first])
    transforms.write_text(transforms.read_text().replace("images/a.jpg", first))
    for key, each in metres.items():
        holes = np.where(np.random.default_rng(0).random(each.shape) < 0.1, each, np.nan)
        cx.write_depth(cx.DepthMap(holes.astype(np.float32), "metric"), root / "lidar" / f"{key}.npz")
    return {
        "points": root / "points.csv",
        "colmap": root / "scene",
        "colmap ": root / "scene" / "sparse",
        "transforms": transforms,
        "transforms ": transforms.parent,
        "sparse": root / "lidar",
    }


def test_estimate_takes_every_source_that_is_a_path_and_other_processes_open_it_anew(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", "a.png", "b.png")
    options: dict[str, Any] = {"model": "synthetic", "kind": "disparity"}
    cx.estimate(photos, tmp_path / "relative", **options)
    values = {
        key: cx.read_depth(tmp_path / "relative" / f"{key}.npy").values.astype(np.float64)
        for key in ("a.png", "b.png")
    }
    metres = {key: 1 / (0.5 * each / each.max() + 0.1) for key, each in values.items()}
    for by, path in write_every_source(tmp_path / "known", metres).items():
        done = 0
        for part in ("1/2", "2/2"):
            out = tmp_path / f"out-{by}"
            report = cx.estimate(photos, out, align_to=str(path), partition=part, **options)
            done += report.done
        assert done == (1 if by.startswith("transforms") else 2), (by, report.failures)
        found = cx.read_depth(out / "a.png.npy")
        np.testing.assert_allclose(found.values, metres["a.png"], rtol=1e-3)
        assert found.alignment is not None and found.alignment.by == by.strip()
        packed = cx.estimate(
            photos, tmp_path / f"packed-{by}", align_to=str(path), pack="tar", drop_relative=True, **options
        )
        assert packed.done == done
        aligner = Aligner(cx.AlignTo(to=str(path)))
        other = pickle.loads(pickle.dumps(aligner))
        depth = cx.read_depth(tmp_path / "relative" / "a.png.npy")
        np.testing.assert_array_equal(other.align("a.png", depth).values, found.values)
        assert other.settings == aligner.settings


def test_estimate_with_archives_has_no_room_for_relative_maps(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", "a.png")
    options: dict[str, Any] = {
        "model": "synthetic",
        "align_to": cx.AlignTo(known=("1,2=3", "5,40=1")),
        "pack": "tar",
    }
    with pytest.raises(InputError, match="give `drop_relative=True`"):
        cx.estimate(photos, tmp_path / "out", **options)
    report = cx.estimate(photos, tmp_path / "out", drop_relative=True, **options)
    assert report.done == 1
    with pytest.raises(InputError, match="says no metres"):
        cx.estimate(photos, tmp_path / "out", model="synthetic", align_to="nothing")


def test_how_far_off_known_distances_are_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Points of one photo for another, as of a camera that was moved: a fit there is, of whatever."""
    metres = make_metres(0)
    other = np.random.default_rng(0).uniform(1, 6, metres.shape).astype(metres.dtype)
    depth = write_relative(tmp_path / "depth", {"a.jpg": metres, "b.jpg": other}, kind="scale_invariant")
    known = tuple(f"{x},{y}={z!r}" for x, y, z in take_points(metres, 12))
    caplog.set_level(logging.INFO)
    cx.align_folder(depth, tmp_path / "out", cx.AlignTo(known=known), format="npz")
    found = cx.read_depth(tmp_path / "out/b.jpg.npz").alignment
    assert found is not None and found.residual_share is not None
    said, warned = (record.getMessage() for record in caplog.records)
    assert said.startswith("known distances are ") and f"at most {found.residual_share:.1%}: b.jpg" in said
    assert warned.startswith("1 of 2 images do not fit what is known of them (b.jpg: ")
    caplog.clear()
    cx.align_folder(depth, tmp_path / "few", cx.AlignTo(known=known[:1]), format="npz")
    (said,) = (record.getMessage() for record in caplog.records)
    assert said == "for 2 images only as many distances are known as a fit needs: its error is unknown"


def test_an_image_that_a_shared_fit_takes_no_point_of_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metres = make_metres(0)
    (depth := tmp_path / "depth").mkdir()
    for name, factor in (("a", 1), ("b", 1), ("c", 9)):
        values = (factor * metres).astype(np.float32)
        cx.write_depth(cx.DepthMap(values, "scale_invariant"), depth / f"{name}.jpg.npz")
    lines = [f"{key},{x},{y},{z}" for key in ("a.jpg", "b.jpg") for x, y, z in take_points(metres, 12)]
    lines += [f"c.jpg,{x},{y},{z}" for x, y, z in take_points(metres, 1)]
    (tmp_path / "p.csv").write_text("key,x,y,depth_m\n" + "\n".join(lines))
    points = cx.AlignTo(points=str(tmp_path / "p.csv"))
    cx.align_folder(depth, tmp_path / "out", points, share="all", format="npz")
    (warned,) = (each.getMessage() for each in caplog.records if each.levelno == logging.WARNING)
    assert warned.startswith("1 of 3 images do not fit what is known of them (c.jpg: 1 of 1 points rejected)")
    caplog.clear()
    (tmp_path / "p.csv").write_text("key,x,y,depth_m\n" + "\n".join([*lines[:24], "c.jpg,3,3,1"]))
    caplog.set_level(logging.INFO)
    cx.align_folder(depth, tmp_path / "two", points, share="all", format="npz")
    assert "error is unknown" not in caplog.text


def test_how_far_a_clip_is_off_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_clip(tmp_path / "films/a.mp4", 3)
    (tmp_path / "p.csv").write_text("key,x,y,depth_m\n*,3,1,4.5\n*,8,6,2\n*,12,11,1.2\n*,1,9,40\n")
    caplog.set_level(logging.INFO)
    points = str(tmp_path / "p.csv")
    report = cx.estimate(tmp_path / "films", tmp_path / "out", model="synthetic", align_to=points)
    assert report.done == 1, report.failures
    assert any(record.getMessage().startswith("known distances are ") for record in caplog.records)


def test_the_fit_of_a_clip_does_not_depend_on_which_frame_is_done_first() -> None:
    aligner = Aligner(cx.AlignTo(known=("1,2=3", "5,40=1", "30,20=2.5", "60,7=4")))
    depths = {
        number: cx.DepthMap(make_metres(number).astype(np.float32), "scale_invariant") for number in range(6)
    }
    known = aligner.find_clip(lambda number: [str(number)], depths, 64, 48)
    later = dict(reversed(depths.items()))
    assert aligner.fit_clip(known, depths) == aligner.fit_clip(known, later)


def test_the_report_says_which_images_fit_badly_and_where(tmp_path: Path) -> None:
    metres = {f"{number}.jpg": make_metres(number) for number in range(4)}
    lines = [f"{key},{x},{y},{z}" for key, each in metres.items() for x, y, z in take_points(each, 40)]
    off = metres["2.jpg"].copy()
    off[32:, :20] *= 1.6  # a network that is wrong at the bottom left
    depth = write_relative(tmp_path / "depth", {**metres, "2.jpg": off}, kind="scale_invariant")
    (tmp_path / "p.csv").write_text("key,x,y,depth_m\n" + "\n".join(lines) + "\n2.jpg,1,1,99\n")
    cx.align_folder(depth, tmp_path / "out", cx.AlignTo(points=str(tmp_path / "p.csv")), format="npz")
    page = cx.report(tmp_path / "out").path.read_text()
    section = page[page.index("<h2>Alignment</h2>") :]
    assert "aligned by points" in section and "4 images" in section
    first = section.index('<ul class="keys">')
    assert section.index("2.jpg", first) < section.index("0.jpg", first)
    worst = section[first : section.index("</li>", first)]
    cells = worst.split('class="ninths">')[1].replace("</td>", "").split("<td>")[1:]
    assert "+60 %" in cells[6] and "+0 %" in cells[2]
    assert "rejected" in worst and "held out" in worst
    relative = write_relative(tmp_path / "again", metres)
    cx.convert(relative, tmp_path / "other", format="npy")
    assert "<h2>Alignment</h2>" not in cx.report(tmp_path / "other").path.read_text()


def test_evaluate_takes_aligned_maps_as_metric(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = tmp_path / "truth"
    frames = []
    for name in "ab":
        photos = write_photos(truth / name, f"{name}.png")
        metres = np.linspace(4, 1.5, HEIGHT)[:, None] * np.ones(WIDTH)
        Image.fromarray(np.round(metres * 1000).astype(np.uint16)).save(truth / f"{name}-depth.png")
        frames.append({"name": name, "rgb": f"{name}/{photos.name}.png", "depth": f"{name}-depth.png"})
    about = {"name": "truth", "frames": frames, "depth_scale": 1000, "max_depth_m": 10.0, "intrinsics": None}
    (truth / "set.json").write_text(json.dumps(about))
    write_relative(tmp_path / "depth", {f"{name}.png": metres for name in "ab"}, kind="scale_invariant")
    to = cx.AlignTo(known=(f"5,5={float(metres[5, 5])}",))
    assert cx.align_folder(tmp_path / "depth", tmp_path / "metric", to, format="npz").done == 2
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "evaluate",
                str(tmp_path / "metric"),
                "--truth",
                str(truth),
                "--output",
                str(tmp_path / "scores"),
            ]
        )
    assert ended.value.code == 0, capsys.readouterr().err
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    (scores,) = [row[1:4] for row in rows if row[:2] == [str(tmp_path / "metric"), "none"]]
    assert scores == ["none", "1.000", "0.000"]  # without a fit: coverage and AbsRel
