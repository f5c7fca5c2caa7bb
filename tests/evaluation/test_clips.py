"""The depth of a video measured with one alignment, on walls whose numbers are known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cortexia_video import DepthMap, Pinhole
from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import InputError
from cortexia_video.evaluation import measure_change, measure_stability, score_clip

HEIGHT, WIDTH = 24, 32
CAMERA = Pinhole.centred(30.0, WIDTH, HEIGHT)


def walk(frames: int = 4) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return depth and poses of a camera that walks towards a slanted wall: plane z = 6 + x / 2."""
    across, _ = CAMERA.find_rays()
    truth, poses = [], []
    for number in range(frames):
        pose = np.eye(4)
        pose[2, 3] = 0.25 * number
        depth = (6 - pose[2, 3]) / (1 - across / 2)
        truth.append(np.broadcast_to(depth, (HEIGHT, WIDTH)).astype(np.float64))
        poses.append(pose)
    return truth, poses


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("disparity", lambda depth: 3 / depth - 2),
        ("affine_invariant", lambda depth: 5 * depth + 7),
        ("scale_invariant", lambda depth: 0.1 * depth),
        ("metric", lambda depth: depth),
    ],
)
def test_depth_that_is_right_up_to_its_kind_has_no_error(kind: DepthKind, change) -> None:
    truth, poses = walk()
    depths = [DepthMap(change(each).astype(np.float32), kind) for each in truth]
    score = score_clip(depths, truth, poses=poses, camera=CAMERA)
    assert score.frames == 4
    assert score.abs_rel == pytest.approx(0, abs=1e-5)
    assert score.abs_rel_per_frame == pytest.approx(0, abs=1e-5)
    assert score.change == pytest.approx(0, abs=2e-3)  # the truth itself, between pixels
    assert score.stability < 0.03


def test_a_scale_that_jumps_counts_for_the_clip_and_not_for_a_frame() -> None:
    truth, poses = walk()
    jumps = (1.0, 1.1, 1.0, 1.1)
    depths = [
        DepthMap((each * jump).astype(np.float32), "scale_invariant")
        for each, jump in zip(truth, jumps, strict=True)
    ]
    score = score_clip(depths, truth, alignment="median", poses=poses, camera=CAMERA)
    assert score.abs_rel_per_frame == pytest.approx(0, abs=1e-5)
    assert 0.04 < score.abs_rel < 0.06
    assert score.change == pytest.approx(np.log(1.1), abs=2e-3)


def test_an_error_that_stays_is_no_change() -> None:
    truth, poses = walk()
    assert measure_change([1.2 * each for each in truth], truth, poses, CAMERA) == pytest.approx(0, abs=2e-3)
    wavering = [truth[0], truth[1] * 1.05, truth[2], truth[3]]
    expected = 2 / 3 * np.log(1.05)  # two of three steps
    assert measure_change(wavering, truth, poses, CAMERA) == pytest.approx(expected, rel=0.05)


def test_tae_is_that_of_video_depth_anything() -> None:
    """The numbers are of its own code, benchmark/eval/eval_tae.py at 4f5ae23, run on the same maps and poses."""
    truth, poses = walk()
    jumping = [each * jump for each, jump in zip(truth, (1.0, 1.1, 1.0, 1.1), strict=True)]
    assert measure_stability(truth, poses, CAMERA) == pytest.approx(0.004811, rel=4e-3)
    assert measure_stability(jumping, poses, CAMERA) == pytest.approx(0.093919, rel=4e-3)


def test_smaller_maps_are_enlarged_and_unknown_ground_truth_is_left_out() -> None:
    truth, _ = walk()
    truth[1][:5] = np.nan
    truth[2][:, :9] = 0
    depths = [DepthMap(np.full((6, 8), 5.0, np.float32), "metric") for _ in truth]
    expected = np.mean([np.mean(np.abs(5 - each[each > 0]) / each[each > 0]) for each in truth])
    assert score_clip(depths, truth).abs_rel == pytest.approx(expected)


def test_what_cannot_be_measured_is_reported() -> None:
    truth, poses = walk()
    depths = [DepthMap(each.astype(np.float32), "metric") for each in truth]
    with pytest.raises(InputError, match="3 frames of depth and 4 of ground truth"):
        score_clip(depths[:3], truth)
    with pytest.raises(InputError, match="belong together"):
        score_clip(depths, truth, poses=poses)
    with pytest.raises(InputError):
        score_clip([DepthMap(each.values, "disparity") for each in depths], truth, alignment="none")
    far = np.eye(4)
    far[0, 3] = 999
    with pytest.raises(ValueError, match="seen in two frames"):
        measure_change(truth[:2], truth[:2], [np.eye(4), far], CAMERA)
