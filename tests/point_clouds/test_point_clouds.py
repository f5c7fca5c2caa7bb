"""Depth and an image become points; PLY and GLB are read back, by trimesh too, with equal numbers."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from camera_model import Camera
from ledgers import open_ledger
from PIL import Image

from cortexia_video import (
    DepthEstimator,
    DepthMap,
    Pinhole,
    convert,
    estimate,
    point_cloud,
    report,
    save_point_cloud,
    verify,
)
from cortexia_video.cli import main
from cortexia_video.errors import InputError, OutputError, OutputExistsError
from cortexia_video.geometry import anchor_depth, depth_to_normals
from cortexia_video.jobs.point_clouds import CloudOptions, make_point_cloud, make_point_clouds
from cortexia_video.ledger.state import LEDGER_NAME
from cortexia_video.pinhole import project, unproject
from cortexia_video.point_clouds import PointCloud, glb
from cortexia_video.point_clouds.files import CLOUD_FORMATS

HEIGHT, WIDTH = 40, 60
F_PX = 50.0
CAMERA = Pinhole.centred(F_PX, WIDTH, HEIGHT)
TO_GLTF = np.array([1, -1, -1], np.float32)


def make_values() -> np.ndarray:
    """Return a slanted floor with a box before it and a hole, float32 (HEIGHT, WIDTH), metres."""
    down, across = np.mgrid[:HEIGHT, :WIDTH]
    values = 5 - down / 20 + across / 100
    values[10:20, 15:30] = 1.5
    values[30:33, 40:44] = np.nan
    return values.astype(np.float32)


def make_image(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def make_cloud(**options: Any) -> PointCloud:
    return point_cloud(DepthMap(make_values(), "metric", F_PX), make_image(), **options)


@pytest.fixture(params=[False, True], ids=["bare", "with normals"])
def cloud(request: pytest.FixtureRequest) -> PointCloud:
    return make_cloud(normals=request.param)


def join(chunks: Any) -> bytes:
    return b"".join(bytes(chunk) for chunk in chunks)


# What is in a point cloud


def test_a_point_cloud_has_the_points_that_are_known_and_at_no_edge() -> None:
    values, image = make_values(), make_image()
    cloud = make_cloud()
    kept = ~np.isnan(values)
    kept[9:21, 14:31] = False
    kept[[9, 9, 20, 20], [14, 30, 14, 30]] = True  # the box touches these by a corner only
    kept[11:19, 16:29] = True
    np.testing.assert_array_equal(cloud.points, unproject(values, CAMERA)[kept])
    np.testing.assert_array_equal(cloud.colors, image[kept])
    assert (cloud.unit, cloud.normals) == ("metre", None)
    assert len(make_cloud(max_gap=np.inf).points) == (~np.isnan(values)).sum()


def test_what_is_no_distance_is_left_out() -> None:
    values = np.ones((2, 5), np.float32)
    values[0] = [np.nan, np.inf, 0, -1, 1]
    cloud = point_cloud(DepthMap(values, "metric", 9.0), make_image(2, 5))
    np.testing.assert_array_equal(
        cloud.points, unproject(values, Pinhole.centred(9, 5, 2))[[0, *[1] * 5], [4, *range(5)]]
    )


def test_inputs_stay_as_they_are() -> None:
    values, image = make_values(), make_image()
    point_cloud(DepthMap(values, "metric", F_PX), image, normals=True)
    np.testing.assert_array_equal(values, make_values())
    np.testing.assert_array_equal(image, make_image())


def test_the_focal_length_can_be_given_in_any_way() -> None:
    fov_deg = float(np.degrees(2 * np.arctan(WIDTH / 2 / 80)))
    ways: list[dict[str, Any]] = [
        {"f_px": 80.0},
        {"fov_deg": fov_deg},
        {"camera": Pinhole.centred(80, WIDTH, HEIGHT)},
        {"camera": Pinhole.centred(160, 2 * WIDTH, 2 * HEIGHT)},
    ]
    expected = unproject(make_values(), Pinhole.centred(80, WIDTH, HEIGHT))[0, 0]
    for way in ways:
        np.testing.assert_allclose(make_cloud(**way).points[0], expected, rtol=1e-6)


def test_the_axis_is_where_the_camera_says() -> None:
    camera = Pinhole(70, 75, 20, 30, WIDTH, HEIGHT)
    pixels = project(make_cloud(camera=camera).points, camera)
    np.testing.assert_allclose(pixels % 1, 0.5, atol=1e-4)
    assert pixels[0] == pytest.approx([0.5, 0.5], abs=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"f_px": 50.0, "fov_deg": 60.0}, "given twice: give one of `f_px`, `fov_deg` and `intrinsics`"),
        ({"f_px": 0.5}, "no lens has a focal length of 0.5 pixels for 60 x 40: give pixels, not mm"),
        ({"f_px": -1.0}, "is no camera"),
        ({"fov_deg": 180.0}, "above 0 and below 180 degrees, got 180"),
        (
            {"camera": Pinhole.centred(50, 40, 60)},
            "the camera is 40 x 60, the depth is of an image of 60 x 40",
        ),
    ],
)
def test_no_camera_is_made_of_what_is_none(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_cloud(**options)


def test_without_a_focal_length_there_is_no_point_cloud() -> None:
    with pytest.raises(InputError, match=r"give `f_px` \(in pixels\), `fov_deg` or `intrinsics`"):
        point_cloud(DepthMap(make_values(), "metric"), make_image())


def test_depth_keeps_its_own_grid_and_colors_come_to_it() -> None:
    values = make_values()
    large = make_image(3 * HEIGHT, 3 * WIDTH)
    small = np.asarray(
        Image.fromarray(large).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, reducing_gap=2)
    )
    for depth in (DepthMap(values, "metric", F_PX), DepthMap(values, "metric", 3 * F_PX, None, (120, 180))):
        cloud = point_cloud(depth, large)
        np.testing.assert_allclose(cloud.points, make_cloud().points, rtol=1e-6)
        np.testing.assert_array_equal(
            cloud.colors, point_cloud(DepthMap(values, "metric", F_PX), small).colors
        )
    assert len(point_cloud(depth, make_image(20, 30), max_gap=np.inf).points) == (~np.isnan(values)).sum()


def test_depth_squeezed_to_a_networks_shape_is_stretched_by_the_camera() -> None:
    """A plane seen by a camera, squeezed to a square: the same plane."""
    camera = Pinhole.centred(90, 120, 60).resized(40, 40)
    rays = np.stack(np.broadcast_arrays(*camera.find_rays(), np.float32(1)), axis=-1)
    values = (1 / (rays @ np.array([0.1, -0.2, 0.4]))).astype(np.float32)
    cloud = point_cloud(DepthMap(values, "metric", 90.0, None, (60, 120)), make_image(60, 120), normals=True)
    np.testing.assert_allclose(cloud.points @ np.array([0.1, -0.2, 0.4]), 1, rtol=1e-5)
    assert cloud.normals is not None
    np.testing.assert_allclose(cloud.normals, np.tile([-0.21822, 0.43644, -0.87287], (1600, 1)), atol=1e-4)


def test_an_image_of_another_shape_is_refused() -> None:
    with pytest.raises(InputError, match=r"the image is 60 x 41, the depth is of an image of 30 x 40: give"):
        point_cloud(DepthMap(np.ones((40, 30), np.float32), "metric", 9.0), make_image(41, 60))


def test_scale_invariant_depth_is_true_up_to_a_factor_and_others_are_refused() -> None:
    values = make_values()
    assert point_cloud(DepthMap(values, "scale_invariant", F_PX), make_image()).unit == "unknown"
    for kind in ("affine_invariant", "disparity"):
        with pytest.raises(InputError, match=f"depth of kind {kind} is shifted by an unknown amount"):
            point_cloud(DepthMap(values, kind, F_PX), make_image())  # type: ignore[arg-type]


def test_where_no_point_is_left_it_says_so() -> None:
    chess = np.where(np.indices((HEIGHT, WIDTH)).sum(axis=0) % 2, 1, 2).astype(np.float32)
    for values in (chess, np.full_like(chess, np.nan)):
        with pytest.raises(InputError, match="each pixel is unknown or has a gap of over 0.05 beside it"):
            point_cloud(DepthMap(values, "metric", F_PX), make_image())


def test_normals_are_those_of_the_pixels_and_face_the_camera() -> None:
    cloud = make_cloud(normals=True)
    assert cloud.normals is not None
    np.testing.assert_allclose(np.linalg.norm(cloud.normals, axis=1), 1, atol=1e-6)
    assert ((cloud.normals * cloud.points).sum(axis=1) < 0).all()
    np.testing.assert_array_equal(cloud.normals[0], depth_to_normals(make_values(), CAMERA)[0, 0])


def test_lonely_points_face_the_camera() -> None:
    values = np.full((5, 5), np.nan, np.float32)
    values[::2, ::2] = 3
    cloud = point_cloud(DepthMap(values, "metric", 9.0), make_image(5, 5), normals=True)
    assert cloud.normals is not None
    directions = -cloud.points / np.linalg.norm(cloud.points, axis=1, keepdims=True)
    np.testing.assert_allclose(cloud.normals, directions, atol=1e-6)


# Metres by near and far


def test_near_and_far_give_disparity_and_affine_depth_their_shape() -> None:
    truth = make_values()
    near, far = np.nanmin(truth), np.nanmax(truth)
    disparity = DepthMap((7 / truth - 3).astype(np.float32), "disparity", F_PX)
    affine = DepthMap((0.1 * truth - 9).astype(np.float32), "affine_invariant", F_PX)
    for depth in (disparity, affine):
        metres = anchor_depth(depth, near_m=float(near), far_m=float(far))
        assert (metres.kind, metres.f_px) == ("metric", F_PX)
        np.testing.assert_allclose(metres.values, truth, rtol=1e-5)


@pytest.mark.parametrize(
    ("depth", "near_m", "far_m", "message"),
    [
        (DepthMap(make_values(), "metric"), 1, 2, "kind metric has no unknown shift"),
        (DepthMap(make_values(), "scale_invariant"), 1, 2, "kind scale_invariant has no unknown shift"),
        (
            DepthMap(make_values(), "disparity"),
            2,
            1,
            "`near_m` 2 and `far_m` 1 must be metres, 0 < near < far",
        ),
        (DepthMap(make_values(), "disparity"), 0, 1, "must be metres"),
        (DepthMap(make_values(), "disparity"), 1, np.inf, "must be metres"),
        (DepthMap(np.ones((2, 2), np.float32), "disparity"), 1, 2, "the same everywhere, or unknown"),
        (DepthMap(np.full((2, 2), np.nan, np.float32), "disparity"), 1, 2, "the same everywhere, or unknown"),
    ],
)
def test_near_and_far_that_fix_nothing_are_refused(
    depth: DepthMap, near_m: float, far_m: float, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        anchor_depth(depth, near_m=near_m, far_m=far_m)


# Files


def test_trimesh_reads_the_same_from_ply(cloud: PointCloud) -> None:
    trimesh = pytest.importorskip("trimesh")
    read = trimesh.load(io.BytesIO(join(CLOUD_FORMATS["ply"](cloud))), file_type="ply")
    np.testing.assert_array_equal(read.vertices, cloud.points)
    np.testing.assert_array_equal(read.colors[:, :3], cloud.colors)
    data = read.metadata["_ply_raw"]["vertex"]["data"]
    if cloud.normals is not None:
        found = np.stack([data[name].ravel() for name in ("nx", "ny", "nz")], axis=1)
        np.testing.assert_array_equal(found, cloud.normals)
    else:
        assert [*data.dtype.names] == ["x", "y", "z", "red", "green", "blue"]


def test_a_ply_says_its_unit_and_axes() -> None:
    header = join(CLOUD_FORMATS["ply"](make_cloud())).split(b"end_header\n")[0].decode("ascii").splitlines()
    assert header[:2] == ["ply", "format binary_little_endian 1.0"]
    assert "comment unit: metre" in header
    assert "comment axes: OpenCV camera, x right, y down, z forward" in header


def linear(colors: np.ndarray) -> np.ndarray:
    """Return sRGB bytes as linear ones, by the curve of IEC 61966-2-1."""
    shares = colors / 255.0
    curve = np.where(shares <= 0.04045, shares / 12.92, np.power((shares + 0.055) / 1.055, 2.4))
    return (255 * curve + 0.5).astype(np.uint8)


def test_trimesh_reads_the_same_from_glb(cloud: PointCloud) -> None:
    trimesh = pytest.importorskip("trimesh")
    scene = trimesh.load(io.BytesIO(join(CLOUD_FORMATS["glb"](cloud))), file_type="glb")
    (read,) = scene.geometry.values()
    assert isinstance(read, trimesh.PointCloud) and read.metadata["unit"] == "metre"
    np.testing.assert_array_equal(read.vertices, cloud.points * TO_GLTF)
    np.testing.assert_array_equal(read.colors, np.insert(linear(cloud.colors), 3, 255, axis=1))
    assert all((scene.graph.get(name)[0] == np.eye(4)).all() for name in scene.graph.nodes)


def read_glb(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the JSON and the buffer of a GLB, and hold it to chapter 4.4 of glTF 2.0."""
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    json_length, json_type = struct.unpack_from("<I4s", data, 12)
    text = data[20 : 20 + json_length]
    assert json_type == b"JSON" and json_length % 4 == 0
    bin_length, bin_type = struct.unpack_from("<I4s", data, 20 + json_length)
    assert bin_type == b"BIN\0" and bin_length % 4 == 0
    buffer = data[28 + json_length :]
    assert len(buffer) == bin_length
    return json.loads(text), buffer


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_glb_is_made_by_the_book(count: int) -> None:
    whole = make_cloud(normals=True)
    assert whole.normals is not None
    cloud = PointCloud(whole.points[:count], whole.colors[:count], whole.normals[:count], "unknown")
    content, buffer = read_glb(join(CLOUD_FORMATS["glb"](cloud)))
    assert content["asset"]["version"] == "2.0" and content["buffers"] == [{"byteLength": len(buffer)}]
    (mesh,) = content["meshes"]
    (primitive,) = mesh["primitives"]
    assert primitive["mode"] == 0 and mesh["extras"] == {"unit": "unknown"}
    found = {}
    for name, number in primitive["attributes"].items():
        accessor = content["accessors"][number]
        view = content["bufferViews"][accessor["bufferView"]]
        assert accessor["count"] == count and view["byteOffset"] % 4 == 0 and view["target"] == 34962
        kind = {5126: np.float32, 5121: np.uint8}[accessor["componentType"]]
        values = np.frombuffer(
            buffer, kind, view["byteLength"] // np.dtype(kind).itemsize, view["byteOffset"]
        )
        found[name] = values.reshape(count, {"VEC3": 3, "VEC4": 4}[accessor["type"]])
    np.testing.assert_array_equal(found["POSITION"], cloud.points * TO_GLTF)
    np.testing.assert_array_equal(found["NORMAL"], cloud.normals * TO_GLTF)
    position, color = (
        content["accessors"][primitive["attributes"][name]] for name in ("POSITION", "COLOR_0")
    )
    np.testing.assert_array_equal(position["min"], found["POSITION"].min(axis=0))
    np.testing.assert_array_equal(position["max"], found["POSITION"].max(axis=0))
    assert color["normalized"] is True and color["type"] == "VEC4"


def test_a_glb_that_would_be_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glb, "_MOST", 10_000)
    with pytest.raises(OutputError, match=r"no more than 4 GiB, \d+ points are \d+ bytes: use .ply"):
        CLOUD_FORMATS["glb"](make_cloud())


@pytest.mark.parametrize("name", ["a.ply", "deep/er/b.GLB"])
def test_a_point_cloud_is_saved_whole_and_replaces_nothing_unasked(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    save_point_cloud(make_cloud(), path)
    written = path.read_bytes()
    assert written == join(CLOUD_FORMATS[path.suffix[1:].lower()](make_cloud()))
    with pytest.raises(
        OutputExistsError, match="exists already: choose another `output`, or `overwrite=True`"
    ):
        save_point_cloud(make_cloud(normals=True), path)
    assert path.read_bytes() == written
    save_point_cloud(make_cloud(normals=True), path, overwrite=True)
    assert len(path.read_bytes()) > len(written)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_where_no_point_cloud_can_be_written_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="unknown format of point clouds 'obj': use one of ply, glb"):
        save_point_cloud(make_cloud(), tmp_path / "a.obj")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write .*a\.ply: .*; choose another `output`"):
        save_point_cloud(make_cloud(), tmp_path / "file/a.ply")
    (tmp_path / "folder.ply").mkdir()
    with pytest.raises(OutputError, match="folder.ply"):
        save_point_cloud(make_cloud(), tmp_path / "folder.ply", overwrite=True)


# The command


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["pointcloud", *map(str, arguments)])
    return int(str(ended.value.code)), *capsys.readouterr()


def read_ply(path: Path) -> np.ndarray:
    data = path.read_bytes()
    header, _, body = data.partition(b"end_header\n")
    names = [line.split()[1:] for line in header.decode().splitlines() if line.startswith("property")]
    return np.frombuffer(body, [(name, {"float": "<f4", "uchar": "u1"}[kind]) for kind, name in names])


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Return an image and its depth."""
    Image.fromarray(make_image()).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", make_values())
    return tmp_path / "a.png", tmp_path / "a.npy"


def test_an_image_and_its_depth_become_a_file(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, depth = files
    asked = (image, "--depth", depth, "--kind", "metric", "--f-px", F_PX)
    code, told, _ = run(capsys, *asked, "--output", tmp_path / "a.ply", "--normals")
    expected = make_cloud(normals=True)
    assert (code, told) == (0, f"{tmp_path / 'a.ply'}: {len(expected.points):,} points, metres\n")
    found = read_ply(tmp_path / "a.ply")
    np.testing.assert_array_equal(np.stack([found[name] for name in "xyz"], axis=1), expected.points)
    assert "nx" in found.dtype.names
    code, _, complaint = run(capsys, *asked, "--output", tmp_path / "a.ply")
    assert code == 2 and "exists already: choose another --output, or --overwrite" in complaint
    assert run(capsys, *asked, "--output", tmp_path / "a.ply", "--overwrite", "--max-gap", "inf")[0] == 0
    assert len(read_ply(tmp_path / "a.ply")) == (~np.isnan(make_values())).sum()


def test_depth_of_a_networks_shape_is_of_all_of_its_image_but_not_turned(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, depth = files
    asked = (
        "--depth",
        depth,
        "--kind",
        "metric",
        "--fov-deg",
        60,
        "--output",
        tmp_path / "a.ply",
        "--overwrite",
    )
    np.save(depth, make_values()[:, :HEIGHT])
    assert run(capsys, image, *asked)[0] == 0
    found = read_ply(tmp_path / "a.ply")
    assert found["x"][0] / found["z"][0] == pytest.approx((0.5 / HEIGHT - 0.5) * 2 * np.tan(np.pi / 6))
    np.save(depth, make_values().T)
    code, _, said = run(capsys, image, *asked)
    assert code == 2 and "the image is 60 x 40, the depth is of an image of 40 x 60" in said


def test_a_sensors_depth_is_read_by_its_convention(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, _ = files
    whole = np.nan_to_num(5000 * make_values()).round().astype(np.uint16)
    Image.fromarray(whole).save(tmp_path / "depth.png")
    asked = ("--depth", tmp_path / "depth.png", "--from", "tum", "--fov-deg", 60)
    assert run(capsys, image, *asked, "--output", tmp_path / "a.ply", "--max-gap", "inf")[0] == 0
    np.testing.assert_allclose(read_ply(tmp_path / "a.ply")["z"], whole[whole > 0] / 5000, rtol=1e-6)


def test_the_command_takes_cameras_with_an_axis(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, depth = files
    (tmp_path / "k.csv").write_text("key,fx,fy,cx,cy,width,height\n*,140,140.7,40,60,120,80\n")
    asked = (image, "--depth", depth, "--kind", "scale_invariant", "--intrinsics", tmp_path / "k.csv")
    code, told, _ = run(capsys, *asked, "--output", tmp_path / "a.ply")
    assert code == 0 and told.endswith("points, true up to a factor\n")
    found = read_ply(tmp_path / "a.ply")
    expected = make_cloud(camera=Pinhole(70, 70.35, 20, 30, WIDTH, HEIGHT)).points
    np.testing.assert_allclose(
        np.stack([found[name] for name in "xyz"], axis=1), expected, rtol=1e-5, atol=1e-6
    )
    for line, complaint in (
        ("*,140,140,40,,120,80", "cy must be a number of pixels, got"),
        ("*,140,140,40,60,80,120", "which way it was turned is not known"),
    ):
        (tmp_path / "k.csv").write_text(f"key,fx,fy,cx,cy,width,height\n{line}\n")
        code, _, said = run(capsys, *asked, "--output", tmp_path / "b.ply")
        assert code == 2 and complaint in said


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--f-px", "50"], "does not say what it means: give its convention (--from), one of tum, kitti"),
        (["--kind", "metric"], "no focal length is known"),
        (["--kind", "disparity"], "or --intrinsics; and, since its depth is relative, --near-m and --far-m"),
        (["--kind", "disparity", "--f-px", "50"], "depth of kind disparity is shifted by an unknown amount"),
        (["--kind", "metric", "--fov-deg", "60", "--f-px", "50"], "is given twice"),
        (["--kind", "metric", "--near-m", "1"], "--near-m and --far-m belong together"),
    ],
)
def test_what_is_missing_is_named(
    files: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    complaint: str,
) -> None:
    image, depth = files
    code, _, said = run(capsys, image, "--depth", depth, "--output", tmp_path / "a.glb", *options)
    assert code == 2 and complaint in said and said.count("\n") == 1
    assert not (tmp_path / "a.glb").exists()


def test_an_image_alone_and_a_missing_one_are_refused(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, depth = files
    code, _, said = run(capsys, image, "--output", tmp_path / "a.glb")
    assert code == 2 and "is no output folder of a run: for an image give its --depth, too" in said
    asked = ("--depth", depth, "--kind", "metric", "--output", tmp_path / "a.glb")
    code, _, said = run(capsys, tmp_path / "none.png", *asked)
    assert code == 2 and "cannot read" in said and "No such file" in said


@pytest.fixture
def made(tmp_path: Path, make_image: Callable[..., Path]) -> Path:
    """Return the output of a run over two images of 64 x 48: metres at 50 pixels, of native size."""
    make_image(tmp_path / "photos/a.jpg")
    make_image(tmp_path / "photos/trip/b.jpg", seed=1)
    estimate(
        tmp_path / "photos",
        tmp_path / "made",
        model=DepthEstimator(Camera(), size="native"),
        recursive=True,
        f_px=F_PX,
    )
    return tmp_path / "made"


def test_a_run_becomes_a_folder_of_point_clouds(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clouds = tmp_path / "clouds"
    code, told, said = run(capsys, made, "--output", clouds)
    assert (code, counts(told), said) == (0, "2 found: 2 done, 0 skipped, 0 failed", "")
    assert sorted(p.relative_to(clouds) for p in clouds.rglob("*.ply")) == [
        Path("a.jpg.ply"),
        Path("trip/b.jpg.ply"),
    ]
    values = np.load(made / "trip/b.jpg.npy")
    image = np.asarray(Image.open(tmp_path / "photos/trip/b.jpg"))
    assert values.shape != image.shape[:2]
    expected = point_cloud(DepthMap(values, "metric", F_PX, None, image.shape[:2]), image)
    found = read_ply(clouds / "trip/b.jpg.ply")
    np.testing.assert_array_equal(np.stack([found[name] for name in "xyz"], axis=1), expected.points)
    np.testing.assert_array_equal(found["red"], expected.colors[:, 0])


@pytest.mark.parametrize("format", ["npz", "tiff"])
def test_runs_in_other_formats_have_the_same_point_clouds(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], format: str
) -> None:
    photos, model = tmp_path / "photos", DepthEstimator(Camera(), size="native")
    estimate(photos, tmp_path / format, model=model, recursive=True, f_px=F_PX, format=format)
    for folder in (made, tmp_path / format):
        assert run(capsys, folder, "--output", tmp_path / "clouds" / folder.name)[0] == 0
    clouds = [(tmp_path / "clouds" / name / "a.jpg.ply").read_bytes() for name in (made.name, format)]
    assert clouds[0] == clouds[1]
    asked = (
        photos / "a.jpg",
        "--depth",
        tmp_path / format / f"a.jpg.{format}",
        "--output",
        tmp_path / "a.ply",
    )
    assert run(capsys, *asked)[0] == 0  # the file says it all
    assert (tmp_path / "a.ply").read_bytes() == clouds[0]


def counts(told: str) -> str:
    return told.partition(";")[0]


def test_point_clouds_stay_until_depth_or_camera_change(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    clouds = tmp_path / "clouds"
    asked = (made, "--output", clouds)
    run(capsys, *asked)
    assert counts(run(capsys, *asked)[1]) == "2 found: 0 done, 2 skipped, 0 failed"
    before = read_ply(clouds / "trip/b.jpg.ply")
    code, told, _ = run(capsys, *asked, "--f-px", 100)
    assert (code, counts(told)) == (0, "2 found: 2 done, 0 skipped, 0 failed")
    assert "made with other settings (f_px: None -> 100.0) are redone" in caplog.text
    after = read_ply(clouds / "trip/b.jpg.ply")
    np.testing.assert_allclose(after["x"], before["x"] / 2, rtol=1e-5)
    np.testing.assert_array_equal(after["z"], before["z"])
    for options in (("--max-gap", "inf"), ("--normals",), ("--fov-deg", 60)):
        assert counts(run(capsys, *asked, *options)[1]) == "2 found: 2 done, 0 skipped, 0 failed"
        assert counts(run(capsys, *asked, *options)[1]) == "2 found: 0 done, 2 skipped, 0 failed"
    os.utime(made / "a.jpg.npy", ns=(1, 1))  # as if it were written again
    assert counts(run(capsys, *asked, "--fov-deg", 60)[1]) == "2 found: 1 done, 1 skipped, 0 failed"


def test_what_is_not_ours_stays_in_its_place(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clouds = tmp_path / "clouds"
    clouds.mkdir()
    (clouds / "a.jpg.ply").write_bytes(b"mine")
    code, told, said = run(capsys, made, "--output", clouds)
    assert (code, counts(told)) == (1, "2 found: 1 done, 0 skipped, 1 failed")
    assert "a.jpg.ply exists already and the ledger does not know it: --overwrite replaces it" in said
    assert (clouds / "a.jpg.ply").read_bytes() == b"mine"
    code, told, _ = run(capsys, made, "--output", clouds, "--overwrite", "--workers", 1)
    assert (code, counts(told)) == (0, "2 found: 2 done, 0 skipped, 0 failed")
    code, _, said = run(capsys, made, "--output", made)
    assert code == 2 and "is the run and the output: choose another --output" in said


def test_one_bad_image_costs_one_point_cloud(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.utime(tmp_path / "photos/a.jpg", ns=(1, 1))
    code, told, said = run(capsys, made, "--output", tmp_path / "clouds", "--format", "glb")
    assert (code, counts(told)) == (1, "2 found: 1 done, 0 skipped, 1 failed")
    assert "a.jpg: the image changed after its depth was made: estimate it again" in said
    (made / "trip/b.jpg.npy").write_bytes(b"\x93NUMPY\1\0torn")
    code, told, said = run(capsys, made, "--output", tmp_path / "others")
    assert (code, counts(told)) == (1, "2 found: 0 done, 0 skipped, 2 failed")
    assert "trip/b.jpg.npy: it is not what was written" in said
    (made / "trip/b.jpg.npy").unlink()
    assert "trip/b.jpg.npy: it is missing" in run(capsys, made, "--output", tmp_path / "others")[2]


def test_images_that_were_moved_are_found_by_their_folder(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, made, "--output", tmp_path / "before")
    moved = tmp_path / "moved"
    shutil.copytree(tmp_path / "photos", moved, copy_function=shutil.copyfile)  # with times of now
    shutil.rmtree(tmp_path / "photos")
    assert run(capsys, made, "--output", tmp_path / "none")[0] == 1
    assert run(capsys, made, "--output", tmp_path / "clouds", "--images", moved)[0] == 0
    for name in ("a.jpg.ply", "trip/b.jpg.ply"):
        assert (tmp_path / "clouds" / name).read_bytes() == (tmp_path / "before" / name).read_bytes()
    Image.new("RGB", (8, 8)).save(moved / "a.jpg")
    code, _, said = run(capsys, made, "--output", tmp_path / "changed", "--images", moved)
    assert code == 1 and "a.jpg: the image changed after its depth was made" in said
    code, _, said = run(
        capsys, moved / "trip/b.jpg", "--depth", made / "trip/b.jpg.npy", "--images", moved, "-o", "x.ply"
    )
    assert code == 2 and "--images says where those of a run are" in said


def test_what_can_have_no_shape_has_failed_and_near_and_far_give_it_one(
    tmp_path: Path, make_image: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    make_image(tmp_path / "photos/a.jpg")
    estimate(tmp_path / "photos", tmp_path / "made", model="synthetic")
    code, told, said = run(capsys, tmp_path / "made", "--output", tmp_path / "clouds")
    assert (code, counts(told)) == (1, "1 found: 0 done, 0 skipped, 1 failed")
    assert said.startswith(
        "failed (decode): a.jpg: depth of kind disparity is shifted by an unknown amount and has no shape in space"
    )
    anchored = (tmp_path / "made", "--output", tmp_path / "clouds", "--near-m", 1, "--far-m", 4)
    code, told, said = run(capsys, *anchored)
    assert (code, counts(told)) == (1, "1 found: 0 done, 0 skipped, 1 failed")
    assert "a.jpg: no focal length is known: give --f-px, --fov-deg or --intrinsics\n" in said
    assert run(capsys, *anchored, "--fov-deg", 60, "--max-gap", "inf")[0] == 0
    depth = read_ply(tmp_path / "clouds/a.jpg.ply")["z"]
    assert (depth.min(), depth.max()) == (1, 4)


def test_a_converted_run_has_its_images(made: Path, tmp_path: Path) -> None:
    convert(made, tmp_path / "tiffs", format="tiff")
    convert(tmp_path / "tiffs", tmp_path / "archives", format="npz")
    clouds = [tmp_path / f"clouds of {folder}" for folder in ("made", "archives")]
    for out, folder in zip(clouds, (made, tmp_path / "archives"), strict=True):
        assert make_point_clouds(folder, out).done == 2
    first, second = ((out / "trip/b.jpg.ply").read_bytes() for out in clouds)
    assert first == second
    text = report(tmp_path / "archives").path.read_text()
    assert "converted from a depth file" not in text and text.count("<img") == 4
    os.utime(tmp_path / "photos/a.jpg", ns=(1, 1))
    assert make_point_clouds(tmp_path / "archives", tmp_path / "more").failed == 1
    assert "the image was changed since" in report(tmp_path / "archives").path.read_text()


def test_a_sensors_depth_has_no_image_that_is_known(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", depth=np.ones((20, 30)))
    convert(tmp_path / "a.npz", tmp_path / "out", format="npz", about={"kind": "metric", "f_px": 30})
    assert "the image is not known" in make_point_clouds(tmp_path / "out", tmp_path / "to").failures[0].reason


def test_views_give_no_point_cloud(
    tmp_path: Path, make_image: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    make_image(tmp_path / "photos/a.jpg")
    estimate(tmp_path / "photos", tmp_path / "made", model=DepthEstimator(Camera()), f_px=F_PX, format="png")
    code, _, said = run(capsys, tmp_path / "made", "--output", tmp_path / "clouds")
    assert (code, said) == (1, "failed (decode): a.jpg: there is only a view of the depth\n")


def test_a_run_without_an_image_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_ledger(tmp_path / "made", {}):
        pass
    code, _, said = run(capsys, tmp_path / "made", "--output", tmp_path / "clouds")
    assert code == 2 and "no image is done in" in said


def test_point_clouds_of_a_run_are_verified_like_depth(made: Path, tmp_path: Path) -> None:
    make_point_clouds(made, tmp_path / "clouds")
    assert (verify(tmp_path / "clouds").checked, verify(tmp_path / "clouds").wrong) == (2, [])
    (tmp_path / "clouds/a.jpg.ply").write_bytes(b"ply")
    assert [each.key for each in verify(tmp_path / "clouds").wrong] == ["a.jpg"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fov_deg": 0.0}, "`fov_deg` must be above 0 and below 180 degrees, got 0"),
        ({"max_gap": -1.0}, "`max_gap` must be a share above 0 .*, got -1"),
        ({"near_m": 3.0, "far_m": 2.0}, "`near_m` 3 and `far_m` 2 must be metres"),
        ({"f_px": -3.0}, "`f_px` must be a number above 0, got -3"),
    ],
)
def test_options_that_mean_nothing_are_refused_before_anything_is_made(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LEDGER_NAME).touch()
    with pytest.raises(InputError, match=message):
        make_point_clouds(tmp_path / "run", tmp_path / "out", options=CloudOptions(**options))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_no_run_wrote_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, said = run(capsys, tmp_path, "--output", tmp_path / "clouds")
    assert code == 2 and "no ledger in" in said


def test_a_real_room_comes_out_in_metres(shared_data: Path) -> None:
    folder = shared_data / "rgbd/living-room"
    about = json.loads((folder / "set.json").read_text())
    frame, k = about["frames"][0], about["intrinsics"]
    raw = np.asarray(Image.open(folder / frame["depth"])).astype(np.float32)
    values = np.where(raw > 0, raw / np.float32(about["depth_scale"]), np.float32(np.nan))
    image = np.asarray(Image.open(folder / frame["rgb"]).convert("RGB"))
    camera = Pinhole(k["fx"], k["fy"], k["cx"] + 0.5, k["cy"] + 0.5, *image.shape[1::-1])
    cloud = point_cloud(DepthMap(values, "metric"), image, camera=camera, normals=True)
    assert 0.9 < len(cloud.points) / np.isfinite(values).sum() < 0.99
    assert cloud.normals is not None
    lower = cloud.points[:, 1] > np.percentile(cloud.points[:, 1], 90)
    floor = np.median(cloud.normals[lower], axis=0)  # up, in axes where y is down
    assert floor[1] < -0.8
    heights = cloud.points[lower] @ (floor / np.linalg.norm(floor))
    assert np.percentile(heights, 75) - np.percentile(heights, 25) < 0.05


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("is_turned", [False, True])
def test_sensor_depth_beside_an_image_that_exif_turns(
    orientation: int, is_turned: bool, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    shape = (64, 48) if is_turned and orientation == 6 else (48, 64)
    np.save(tmp_path / "d.npy", np.full(shape, 2, np.float32))
    paths = tmp_path / "a.jpg", tmp_path / "d.npy", tmp_path / "a.ply"
    options = CloudOptions(f_px=60.0)
    if orientation == 1 or (orientation == 6 and is_turned):
        assert len(make_point_cloud(*paths, kind="metric", options=options).points) == 48 * 64
        return
    with pytest.raises(InputError, match=rf"EXIF turns a.jpg \(orientation {orientation}\)"):
        make_point_cloud(*paths, kind="metric", options=options)
