"""Depth of a sensor beside the camera: where the image shows it, by a renderer's two views of one scene."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortexia_video as cx
from cortexia_video.errors import InputError
from cortexia_video.sparse_depth.rig import Rig

SENSOR = {"fx": 60.0, "fy": 60.0, "cx": 32.0, "cy": 24.0, "width": 64, "height": 48}
IMAGE = {
    "model": "OPENCV",
    "width": 128,
    "height": 96,
    "params": [110, 112, 65, 47, -0.1, 0.02, 0.001, -0.002],
}
POSE = np.array([[0.98, 0.0, 0.199, 0.1], [0, 1, 0, -0.05], [-0.199, 0, 0.98, 0.02], [0, 0, 0, 1]])


def write_rig(folder: Path, **more: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    said = {"sensor": SENSOR, "image": IMAGE, "to_image": POSE.tolist(), **more}
    (folder / "rig.json").write_text(
        json.dumps({name: each for name, each in said.items() if each is not None})
    )
    return folder / "rig.json"


def test_points_are_seen_where_opencv_projects_them(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    metres = np.full((48, 64), np.nan, np.float32)
    metres[4:44:8, 4:60:8] = np.random.default_rng(0).uniform(2, 2.05, (5, 7))
    rows = Rig(write_rig(tmp_path)).find(cx.DepthMap(metres, "metric"), 256, 192)
    row, column = np.nonzero(np.isfinite(metres))
    z = metres[row, column].astype(np.float64)
    points = np.column_stack([(column + 0.5 - 32) / 60 * z, (row + 0.5 - 24) / 60 * z, z])
    turn, _ = cv2.Rodrigues(POSE[:3, :3])
    matrix, k = np.array([[110, 0, 65], [0, 112, 47], [0, 0, 1.0]]), np.array(IMAGE["params"][4:])
    theirs, _ = cv2.projectPoints(points, turn, POSE[:3, 3], matrix, k)
    inside = ((theirs[:, 0] >= 0) & (theirs[:, 0] < (128, 96))).all(axis=1)
    assert 20 < len(rows) == inside.sum()
    np.testing.assert_allclose(rows[:, :2], 2 * theirs[inside, 0], atol=0.02)  # of an image twice as large
    np.testing.assert_allclose(rows[:, 2], (points @ POSE[:3, :3].T + POSE[:3, 3])[inside, 2])


@pytest.fixture(scope="module")
def views() -> tuple[Any, Any]:
    """The first and the last frame of a move by twelve degrees about what is seen."""
    pytest.importorskip("torch")
    from cortexia_video.scenes.moves import render_move

    first, last = render_move(1, "orbit", 2, 96, 128)
    return first, last


@pytest.mark.parametrize(("count", "right"), [(300, 0.8), (12_288, 0.97)])
def test_a_scene_gets_the_metres_of_a_sensor_beside_it_and_what_is_hidden_has_no_part(
    tmp_path: Path, views: tuple[Any, Any], count: int, right: float
) -> None:
    first, last = views
    size = {"cx": 64, "cy": 48, "width": 128, "height": 96}
    sensor, image = ({**size, "fx": each.scene.f_px, "fy": each.scene.f_px} for each in views)
    pose = np.linalg.inv(last.pose) @ first.pose
    lidar = tmp_path / "lidar"
    write_rig(lidar, sensor=sensor, image=image, to_image=pose.tolist())
    holes = np.full(first.scene.depth_m.shape, np.nan, np.float32)
    places = np.random.default_rng(0).choice(holes.size, count, replace=False)
    holes.ravel()[places] = first.scene.depth_m.ravel()[places]
    cx.write_depth(cx.DepthMap(holes, "metric"), lidar / "a.npz")
    truth = last.scene.depth_m
    rows = Rig(lidar / "rig.json").find(cx.DepthMap(holes, "metric"), 128, 96)
    there = truth[rows[:, 1].astype(int), rows[:, 0].astype(int)]
    assert np.mean(np.abs(rows[:, 2] / there - 1) < 0.05) > right
    cx.write_depth(cx.DepthMap(truth / 7, "scale_invariant"), tmp_path / "depth" / "a.jpg.npz")
    for to in (cx.AlignTo(sparse=str(lidar)), cx.AlignTo(to=str(lidar))):
        report = cx.align_folder(tmp_path / "depth", tmp_path / "out", to, format="npz", overwrite=True)
        assert report.done == 1, report.failures
        found = cx.read_depth(tmp_path / "out" / "a.jpg.npz")
        assert found.alignment is not None and found.alignment.by == "sparse"
        assert found.alignment.scale == pytest.approx(7, rel=0.005)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"image": None}, "must have sensor, image and to_image, and nothing else"),
        ({"depth": {}}, "must have sensor, image and to_image, and nothing else"),
        ({"sensor": {"fx": 1}}, "sensor must be a camera: fx, fy, cx, cy, width and height; or model"),
        ({"sensor": {**SENSOR, "fx": "wide"}}, "sensor: its parameters must be numbers"),
        ({"sensor": {**SENSOR, "fx": 0}}, "are no camera of PINHOLE"),
        ({"sensor": {**SENSOR, "width": 64.5}}, "width and height whole ones"),
        ({"image": {**IMAGE, "model": "LENS"}}, "image: unknown camera model 'LENS'"),
        ({"image": {**IMAGE, "params": 3}}, "image: its parameters must be numbers"),
        ({"to_image": [[1, 0], [0, 1]]}, "to_image must be 4 x 4 numbers"),
        ({"to_image": (2 * np.eye(4)).tolist()}, "its first three rows and columns are no rotation"),
        ({"to_image": np.diag([1.0, 1, -1, 1]).tolist()}, "are no rotation"),
    ],
)
def test_what_is_no_rig_is_refused(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Rig(write_rig(tmp_path, **more))


def test_maps_of_other_sizes_and_without_metres_are_refused(tmp_path: Path) -> None:
    rig = Rig(write_rig(tmp_path))
    with pytest.raises(InputError, match="the sensor's map has 64 x 64, its camera in rig.json 64 x 48"):
        rig.find(cx.DepthMap(np.ones((64, 64), np.float32), "metric"), 128, 96)
    with pytest.raises(InputError, match="the depth has 96 x 128, its camera in rig.json 128 x 96"):
        rig.find(cx.DepthMap(np.ones((48, 64), np.float32), "metric"), 96, 128)
    with pytest.raises(InputError, match="disparity, not metric"):
        rig.find(cx.DepthMap(np.ones((48, 64), np.float32), "disparity"), 128, 96)
    empty = rig.find(cx.DepthMap(np.full((48, 64), np.nan, np.float32), "metric"), 128, 96)
    assert empty.shape == (0, 3)
