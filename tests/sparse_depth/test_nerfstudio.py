"""nerfstudio's transforms.json and its points: where they are seen, by the conventions of its documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from colmap_files import look
from numpy.typing import NDArray

import cortexia_video as cx
from cortexia_video.errors import InputError
from cortexia_video.point_clouds.cloud import PointCloud
from cortexia_video.point_clouds.ply import decode_points
from cortexia_video.sparse_depth.nerfstudio import NerfstudioPoints

Floats = NDArray[np.float64]
WIDTH, HEIGHT, F_PX = 64, 48, 60.0


def write_scene(folder: Path, metres: Floats, *, ply: str = "sparse_pc.ply", **more: Any) -> Path:
    """Write a frame at a place of its own, and points of its depth in the world."""
    rotation, translation = look(0.4, (1, 2, 3))
    random = np.random.default_rng(0)
    lines, columns = np.divmod(random.choice(metres.size, 60, replace=False), WIDTH)
    there = metres[lines, columns]
    rays = np.column_stack(
        [(columns + 0.5 - WIDTH / 2) / F_PX, (lines + 0.5 - HEIGHT / 2) / F_PX, np.ones(60)]
    )
    points = (rays * there[:, None] - translation) @ rotation
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation.T @ np.diag([1, -1, -1]), -rotation.T @ translation
    folder.mkdir(parents=True, exist_ok=True)
    frames = [
        {"file_path": "images/a.jpg", "transform_matrix": pose.tolist()},
        {"file_path": "./images/b.jpg"},
    ]
    said = {
        "w": WIDTH,
        "h": HEIGHT,
        "fl_x": F_PX,
        "fl_y": F_PX,
        "camera_model": "OPENCV",
        **more,
        "frames": frames,
    }
    (folder / "transforms.json").write_text(json.dumps(said))
    text = "\n".join(f"{x!r} {y!r} {z!r} 1 2 3" for x, y, z in points.tolist())
    names = "".join(
        f"property {kind} {name}\n"
        for kind, name in zip(
            ["float"] * 3 + ["uchar"] * 3, ["x", "y", "z", "red", "green", "blue"], strict=True
        )
    )
    (folder / ply).write_text(f"ply\nformat ascii 1.0\nelement vertex 60\n{names}end_header\n{text}\n")
    return folder / "transforms.json"


def make_metres() -> Floats:
    return np.linspace(6, 1.5, HEIGHT)[:, None] * np.linspace(1, 1.3, WIDTH)


def test_depth_gets_the_scale_of_the_scene(tmp_path: Path) -> None:
    metres = make_metres()
    path = write_scene(tmp_path / "scene", metres)
    depth = tmp_path / "depth"
    depth.mkdir()
    for key in ("images/a.jpg", "images/b.jpg", "images/c.jpg"):
        (depth / key).parent.mkdir(exist_ok=True)
        relative = cx.DepthMap(((1 / metres - 0.02) / 0.3).astype(np.float32), "disparity")
        cx.write_depth(relative, depth / f"{key}.npz")
    for to in (cx.AlignTo(transforms=str(path)), cx.AlignTo(to=str(path.parent))):
        report = cx.align_folder(depth, tmp_path / f"out{bool(to.to)}", to, format="npz")
        assert (report.done, report.failed) == (1, 2)
        assert "its transform_matrix in transforms.json is no pose" in report.failures[0].reason
        assert "transforms.json has no frame of its name" in report.failures[1].reason
        found = cx.read_depth(tmp_path / f"out{bool(to.to)}" / "images/a.jpg.npz")
        np.testing.assert_allclose(found.values, metres, rtol=2e-3)
        assert found.alignment is not None and found.alignment.by == "transforms"


def test_points_are_seen_through_the_lens(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    k = {"k1": -0.1, "k2": 0.02, "p1": 0.001, "p2": -0.002, "k3": 0.003}
    source = NerfstudioPoints(write_scene(tmp_path, make_metres(), **k))  # type: ignore[arg-type]
    rows = source.find("a.jpg", WIDTH, HEIGHT)
    rotation, place = source.transforms.find_pose("images/a.jpg")
    points = (decode_points((tmp_path / "sparse_pc.ply").read_bytes()) - place) @ rotation
    matrix = np.array([[F_PX, 0, WIDTH / 2], [0, F_PX, HEIGHT / 2], [0, 0, 1]])
    theirs, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), matrix, np.array([*k.values()]))
    seen = theirs[:, 0][np.isin(points[:, 2].round(9), rows[:, 2].round(9))]
    np.testing.assert_allclose(rows[:, :2][np.argsort(rows[:, 0])], seen[np.argsort(seen[:, 0])], atol=1e-6)
    double = source.find("a.jpg", 2 * WIDTH, 2 * HEIGHT)
    np.testing.assert_allclose(double[:, :2], 2 * rows[:, :2])


def test_poses_that_a_file_says_were_scaled_are_scaled_back(tmp_path: Path) -> None:
    """nerfstudio's parser divides by `applied_scale` what its points and its depth are not multiplied by."""
    plain = NerfstudioPoints(write_scene(tmp_path / "plain", make_metres())).find("a.jpg", WIDTH, HEIGHT)
    path = write_scene(tmp_path / "scaled", make_metres(), applied_scale=4.0)
    said = json.loads(path.read_text())
    for row in said["frames"][0]["transform_matrix"][:3]:
        row[3] *= 4
    path.write_text(json.dumps(said))
    np.testing.assert_allclose(NerfstudioPoints(path).find("a.jpg", WIDTH, HEIGHT), plain)
    path.write_text(json.dumps({**said, "applied_scale": 0}))
    with pytest.raises(
        InputError, match="applied_scale in transforms.json is 0: it must be a number above 0"
    ):
        NerfstudioPoints(path).find("a.jpg", WIDTH, HEIGHT)


def test_distortion_may_be_a_list_and_panoramas_are_refused(tmp_path: Path) -> None:
    by_name = NerfstudioPoints(write_scene(tmp_path / "a", make_metres(), k1=-0.1, p2=0.01))
    by_list = NerfstudioPoints(
        write_scene(tmp_path / "b", make_metres(), distortion_params=[-0.1, 0, 0, 0, 0, 0.01])
    )
    expected = by_name.find("a.jpg", WIDTH, HEIGHT)
    np.testing.assert_array_equal(by_list.find("a.jpg", WIDTH, HEIGHT), expected)
    other = NerfstudioPoints(write_scene(tmp_path / "c", make_metres(), camera_model="EQUIRECTANGULAR"))
    with pytest.raises(InputError, match="camera_model of EQUIRECTANGULAR is not known here"):
        other.find("a.jpg", WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "no list of frames"),
        ('{"frames": [1]}', "no list of frames"),
        ("{", "not JSON"),
        ('{"frames": []}', "cannot read the points of transforms.json"),
    ],
)
def test_another_json_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "transforms.json").write_text(text)
    with pytest.raises(InputError, match=message):
        NerfstudioPoints(tmp_path)


def test_a_frame_of_another_shape_or_a_camera_that_is_none_is_refused(tmp_path: Path) -> None:
    source = NerfstudioPoints(write_scene(tmp_path / "a", make_metres()))
    with pytest.raises(InputError, match="has 64 x 48, the depth is of an image of 48 x 64"):
        source.find("a.jpg", 48, 64)
    source = NerfstudioPoints(write_scene(tmp_path / "b", make_metres(), fl_x="wide"))
    with pytest.raises(InputError, match="fl_x in transforms.json is 'wide', not a number"):
        source.find("a.jpg", WIDTH, HEIGHT)


def test_ply_of_others_is_read(tmp_path: Path) -> None:
    points = np.arange(12.0).reshape(4, 3)
    for order, name in (("<", "little"), (">", "big")):
        rows = np.zeros(4, [("r", "u1"), ("y", f"{order}f8"), ("x", f"{order}f4"), ("z", f"{order}f8")])
        rows["x"], rows["y"], rows["z"] = points.T
        head = (
            f"ply\r\nformat binary_{name}_endian 1.0\r\ncomment x\r\nelement vertex 4\r\nproperty uchar r\r\n"
        )
        head += "property double y\r\nproperty float x\r\nproperty double z\r\nelement face 0\r\n"
        data = (head + "property list uchar int vertex_indices\r\nend_header\r\n").encode() + rows.tobytes()
        np.testing.assert_array_equal(decode_points(data), points)
        with pytest.raises(InputError, match="cut short"):
            decode_points(data[:-1])
    cloud = PointCloud(points.astype(np.float32), np.zeros((4, 3), np.uint8), None, "metre")
    cx.save_point_cloud(cloud, tmp_path / "ours.ply")
    np.testing.assert_array_equal(decode_points((tmp_path / "ours.ply").read_bytes()), points)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no PLY"),
        ("ply\nformat ascii 1.0\n", "header has no end"),
        ("ply\nformat ascii 1.0\nelement face 1\nproperty float x\nend_header\n", "first element is face"),
        ("ply\nformat ascii 1.0\nelement vertex 1\nproperty list uchar int x\nend_header\n", "type list"),
        (
            "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n",
            "have x, not x, y and z",
        ),
        (
            "ply\nformat other 1.0\nelement vertex 0\n"
            "property float x\nproperty float y\nproperty float z\nend_header\n",
            "its format is other",
        ),
    ],
)
def test_what_is_no_ply_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        decode_points(text.encode())
