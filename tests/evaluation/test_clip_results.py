"""`evaluate(align_per="clip")`: the numbers of `score_clip`, for clips in folders, with the poses beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from camera_model import Camera
from clips import write_clip
from PIL import Image
from test_clips import CAMERA, HEIGHT, WIDTH, walk

from cortexia_video import (
    DepthEstimator,
    DepthMap,
    Frame,
    RGBDSample,
    SyntheticModel,
    estimate,
    evaluate,
    write_depth,
)
from cortexia_video.cli import main
from cortexia_video.errors import InputError
from cortexia_video.evaluation import load_protocol, score_clip, to_ground_truth
from cortexia_video.evaluation.evaluator import EvaluationResult
from cortexia_video.scenes import ScenePlan, write_scenes
from cortexia_video.scenes.moves import describe_poses

NAMES = [f"{number:06}" for number in range(6)]
PROTOCOL = "moge-disparity"


def write_truth(root: Path, truth: Sequence[np.ndarray], names: Sequence[str] = NAMES) -> Path:
    """Write the depth of a clip `walk` as files that know their camera."""
    for name, depth_m in zip(names, truth, strict=True):
        depth = DepthMap(depth_m.astype(np.float32), "metric", CAMERA.fx, "given")
        write_depth(depth, root / f"walk/{name}.npz")
    return root


def predict(truth: Sequence[np.ndarray]) -> list[DepthMap]:
    """Return disparity with an error that grows with the frame."""
    return [
        DepthMap((3 / each + 0.01 * number * np.sin(each) - 0.1).astype(np.float32), "disparity")
        for number, each in enumerate(truth)
    ]


def write_predictions(root: Path, depths: Sequence[DepthMap], names: Sequence[str] = NAMES) -> str:
    for name, depth in zip(names, depths, strict=True):
        write_depth(depth, root / f"walk/{name}.npz")
    return str(root)


def run(*predictors: str, truth: Path, **options: Any) -> EvaluationResult:
    return evaluate(predictors, truth=truth, align_per="clip", **{"protocol": PROTOCOL, **options})


@pytest.mark.parametrize(
    "poses_name", ["walk/poses.txt", "walk/groundtruth.txt", "clips/walk.poses.txt", "poses.txt"]
)
def test_a_clip_scores_what_score_clip_says(tmp_path: Path, poses_name: str) -> None:
    truth, poses = walk(6)
    folder, depths = write_truth(tmp_path / "truth", truth), predict(truth)
    (folder / poses_name).parent.mkdir(exist_ok=True)
    (folder / poses_name).write_text(describe_poses(poses))
    predicted = write_predictions(tmp_path / "depth", depths)
    (found,) = run(predicted, truth=folder).evaluation.clips
    farthest_m = max(float(np.float32(each).max()) for each in truth)
    alike = {"alignment": "disparity", "poses": poses, "camera": CAMERA}
    expected = score_clip(depths, truth, max_depth_m=farthest_m, **alike)
    assert (found.predictor, found.clip, found.alignment, found.lacks) == (predicted, "walk", "disparity", "")
    assert found.score == pytest.approx(expected, rel=1e-4)
    assert found.score.abs_rel > found.score.abs_rel_per_frame > 0


def test_images_are_measured_by_the_fit_of_their_clip(tmp_path: Path) -> None:
    truth, _ = walk(6)
    folder = write_truth(tmp_path / "truth", truth)
    predicted = write_predictions(tmp_path / "depth", predict(truth))
    found = run(predicted, truth=folder, output=tmp_path / "out")
    (clip,) = found.evaluation.clips
    assert found.summary.totals[predicted]["abs_rel"].value == pytest.approx(clip.score.abs_rel)
    assert clip.lacks == "no poses are known" and np.isnan(clip.score.change)
    alone = evaluate(predicted, truth=folder, protocol=PROTOCOL).summary.totals[predicted]["abs_rel"].value
    assert alone == pytest.approx(clip.score.abs_rel_per_frame)
    said = json.loads((tmp_path / "out/results.json").read_text())
    assert (said["clips"][0]["abs_rel"], said["clips"][0]["change"]) == (clip.score.abs_rel, None)
    assert said["protocol"]["align_per"] == "clip"
    assert said["protocol"]["digest"] != load_protocol(PROTOCOL).digest
    again = run(predicted, truth=folder, output=tmp_path / "out")  # by scores that were kept
    assert str(again) == str(found)
    (tmp_path / "depth/walk/000000.npz").unlink()
    write_predictions(tmp_path / "depth", [DepthMap(3 / truth[0].astype(np.float32), "disparity")], NAMES[:1])
    again = run(predicted, truth=folder, output=tmp_path / "out")  # another frame: the fit of all is another
    assert str(again) == str(run(predicted, truth=folder)) != str(found)


def test_runs_over_a_video_and_over_its_images_are_alike(tmp_path: Path) -> None:
    """Both are the frames of the truth by number; of every second frame the others count as unknown."""
    truth = write_clip(tmp_path / "a.mkv", 6, codec="ffv1", pixels="bgr0")
    estimate(truth, tmp_path / "truth", model=DepthEstimator(Camera()), video_size="full")
    model = DepthEstimator(SyntheticModel(short_side=48))
    for name, options in (("mkv", {}), ("files", {"video_format": "frames"}), ("half", {"every": 2})):
        estimate(truth, tmp_path / name, model=model, video_size="full", **options)
    names = [str(tmp_path / name) for name in ("mkv", "files", "half")]
    mkv, files, half = run(*names, truth=tmp_path / "truth").evaluation.clips
    assert mkv.score == pytest.approx(files.score, rel=1e-6, nan_ok=True)
    assert (mkv.score.frames, half.score.frames) == (6, 3)
    found = run(*names, truth=tmp_path / "truth")
    assert found.summary.totals[names[0]]["coverage"].value == 1
    assert found.summary.totals[names[2]]["coverage"].value == 0.5


def test_frames_called_by_their_times_have_the_poses_of_these(tmp_path: Path) -> None:
    """As TUM RGB-D has them; the run is over the folder of images, whose frames have numbers."""
    truth, poses = walk(6)
    times_s = [1305031453.359684 + 0.04 * number for number in range(6)]
    names = [f"{time_s:.6f}" for time_s in times_s]
    write_truth(tmp_path / "truth", truth, names)
    lines = [line.split() for line in describe_poses(poses).splitlines()[1:]]
    rows = [
        " ".join([f"{time_s + 0.004:.4f}", *line[1:]]) for time_s, line in zip(times_s, lines, strict=True)
    ]
    far = [" ".join([f"{times_s[0] - 9 + number:.4f}", "9 9 9 0 0 0 1"]) for number in range(5)]
    (tmp_path / "truth/groundtruth.txt").write_text("\n".join(["# ground truth", *rows[::-1], *far]))
    (tmp_path / "walk").mkdir()
    for number, name in enumerate(names):
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), 40 * number, np.uint8)).save(
            tmp_path / f"walk/{name}.png"
        )
    estimate(
        tmp_path / "walk", tmp_path / "run", model=DepthEstimator(Camera()), sequence=True, video_size="full"
    )
    (found,) = run(str(tmp_path / "run"), truth=tmp_path / "truth", protocol="moge-scale").evaluation.clips
    assert found.score.frames == 6
    right = predict(truth)
    (expected,) = run(
        write_predictions(tmp_path / "depth", right, names), truth=tmp_path / "truth"
    ).evaluation.clips
    alike = {"alignment": "disparity", "poses": poses, "camera": CAMERA}
    farthest_m = max(float(np.float32(each).max()) for each in truth)
    assert expected.score == pytest.approx(
        score_clip(right, truth, max_depth_m=farthest_m, **alike), rel=1e-3
    )


def test_the_command_prints_a_row_for_each_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, poses = walk(6)
    folder = write_truth(tmp_path / "truth", truth)
    (folder / "walk/poses.txt").write_text(describe_poses(poses))
    predicted = write_predictions(tmp_path / "depth", predict(truth))
    words = ["evaluate", predicted, "--truth", folder, "--protocol", PROTOCOL, "--align-per", "clip"]
    with pytest.raises(SystemExit, match="0"):
        main([*map(str, words)])
    printed = capsys.readouterr().out
    assert "scale and shift of 1 / depth of each clip" in printed
    (row,) = [line.split() for line in printed.splitlines() if "  walk  " in line]
    (found,) = run(predicted, truth=folder).evaluation.clips
    numbers = (found.score.abs_rel, found.score.abs_rel_per_frame, *(100 * each for each in found.score[3:]))
    assert row[-4:] == [f"{each:.3f}" for each in numbers]


def test_a_model_scores_what_its_depth_in_files_does(tmp_path: Path) -> None:
    random, model = np.random.default_rng(0), DepthEstimator(SyntheticModel(short_side=48))
    samples = []
    for name, depth_m in zip(NAMES, walk(6)[0], strict=True):
        frame = Frame(f"walk/{name}", random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
        samples.append(RGBDSample(frame, DepthMap(depth_m.astype(np.float32), "metric")))
        write_depth(model(frame), tmp_path / f"depth/walk/{name}.npz")
    found = [
        evaluate(each, truth=to_ground_truth(samples), protocol=PROTOCOL, align_per="clip").evaluation
        for each in (model, str(tmp_path / "depth"))
    ]
    by_model, by_files = ((each.clips[0].fit, each.clips[0].score[:3]) for each in found)
    assert by_model == by_files
    by_model, by_files = ([one.sums for one in each.columns[0].list_scores()] for each in found)
    assert by_model == by_files


def test_what_cannot_be_measured_by_clips(tmp_path: Path) -> None:
    truth, _ = walk(6)
    folder = write_truth(tmp_path / "truth", truth)
    predicted = write_predictions(tmp_path / "depth", predict(truth))
    with pytest.raises(InputError, match="`align_per` must be one of image, clip, got 'set'"):
        evaluate(predicted, truth=folder, align_per="set")
    (folder / "walk/poses.txt").write_text("1 2 3\n")
    with pytest.raises(InputError, match="poses.txt holds no poses"):
        run(predicted, truth=folder)


@pytest.mark.slow
@pytest.mark.parametrize("move", ["orbit", "dolly"])
def test_the_filter_halves_the_flicker_of_rendered_moves(tmp_path: Path, move: Any) -> None:
    """With true depth and poses; frames by themselves are no worse."""
    plan = ScenePlan(height=72, width=96, kinds=("room",), move=move, frames=16)
    write_scenes(tmp_path / "moves", 1, plan, workers=1)
    names = [str(tmp_path / steady) for steady in ("off", "mean")]
    for steady in ("off", "mean"):
        clip = tmp_path / "moves/clips/00000000.mkv"
        estimate(clip, tmp_path / steady, steady=steady, video_size="full")  # type: ignore[arg-type]
    off, mean = (each.score for each in run(*names, truth=tmp_path / "moves").evaluation.clips)
    assert mean.change < 0.5 * off.change
    assert mean.stability < 0.5 * off.stability
    assert mean.abs_rel_per_frame <= off.abs_rel_per_frame
