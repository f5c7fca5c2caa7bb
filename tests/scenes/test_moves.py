"""Moves of the camera: what one frame sees, the poses say where the next one sees it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

from scipy.spatial.transform import Rotation

from cortexia_video import open_dataset
from cortexia_video.cli import main
from cortexia_video.errors import InputError
from cortexia_video.evaluation.metrics.temporal_stability import measure_stability
from cortexia_video.pinhole import Pinhole
from cortexia_video.scenes.description import Camera
from cortexia_video.scenes.folder import check_plan, describe_plan
from cortexia_video.scenes.moves import describe_poses, pose_of
from cortexia_video.scenes.plan import MOVES, ScenePlan
from cortexia_video.video.clip_index import read_index
from cortexia_video.video.frames import read_frames

FRAMES = 4


def read_poses(path: Path) -> tuple[list[float], list[np.ndarray]]:
    """Read a file of TUM's by scipy's quaternions."""
    numbers = np.loadtxt(path)
    poses = np.tile(np.eye(4), (len(numbers), 1, 1))
    poses[:, :3, :3] = Rotation.from_quat(numbers[:, 4:]).as_matrix()
    poses[:, :3, 3] = numbers[:, 1:4]
    return numbers[:, 0].tolist(), list(poses)


def test_poses_are_written_as_others_read_them(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    cameras = [Camera(random.normal(0, 3, 3), *random.uniform(-3, 3, 3), 1.0) for _ in range(20)]
    poses = [pose_of(each) for each in cameras]
    (tmp_path / "poses.txt").write_text(describe_poses(poses))
    times, read = read_poses(tmp_path / "poses.txt")
    assert times == pytest.approx([number / 24 for number in range(20)])
    assert np.array(read) == pytest.approx(np.array(poses), abs=1e-7)
    assert [np.linalg.det(each[:3, :3]) for each in poses] == pytest.approx([1] * 20)


@pytest.mark.slow
@pytest.mark.parametrize("move", MOVES)
def test_depth_and_poses_agree(tmp_path: Path, move: str) -> None:
    command = ["scenes", "--count", "1", "--seed", "3", "--output", str(tmp_path), "--size", "48", "64"]
    command += ["--move", move, "--frames", str(FRAMES), "--kinds", "room"]
    for _ in range(2):  # the second one finds all there
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert ended.value.code == 0
    samples = [*open_dataset("rgbd", tmp_path)]
    assert [each.key for each in samples] == [f"00000003/{number:06d}" for number in range(FRAMES)]
    times, poses = read_poses(tmp_path / "clips/00000003.poses.txt")
    assert times == pytest.approx([number / 24 for number in range(FRAMES)])
    camera = Pinhole.centred(samples[0].camera.fx, 64, 48)
    depths = [each.depth.values for each in samples]
    assert measure_stability(depths, poses, camera) < 0.03  # to the nearest pixel, at edges
    assert measure_stability(depths, [np.eye(4), *poses[1:]], camera) > 0.1
    clip = tmp_path / "clips/00000003.mkv"
    frames = [image for _, image in read_frames(clip, read_index(clip))]
    pngs = [np.asarray(Image.open(tmp_path / f"rgb/00000003/{number:06d}.png")) for number in range(FRAMES)]
    assert np.array_equal(np.array(frames), np.array(pngs))
    assert not np.array_equal(pngs[0], pngs[1])
    plan = json.loads((tmp_path / "scenes.jsonl").read_text().splitlines()[0])["plan"]
    assert (plan["move"], plan["frames"]) == (move, FRAMES)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"frames": 5}, "`frames` is of a `move`"),
        ({"move": "orbit"}, "2 to 99999, got 1"),
        ({"move": "fly"}, "one of"),
    ],
)
def test_moves_that_cannot_be(options: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        check_plan(ScenePlan(**options))


def test_a_folder_without_moves_is_described_as_before() -> None:
    assert {"move", "frames"} & describe_plan(ScenePlan()).keys() == set()
