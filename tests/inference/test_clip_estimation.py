"""`estimator.estimate_video`: the depth that a run writes, frame by frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from camera_model import FOV_DEG, Camera
from clips import draw, write_clip
from PIL import Image

from cortexia_video import DepthEstimator, DepthMap, SyntheticModel, estimate
from cortexia_video.errors import DecodeError
from cortexia_video.pinhole import to_f_px
from cortexia_video.video.depth_clip import DepthClip


@pytest.mark.parametrize("model", [SyntheticModel(short_side=48), Camera()])
def test_depth_is_what_a_run_writes(tmp_path: Path, model: SyntheticModel) -> None:
    path = write_clip(tmp_path / "a.mp4", 25)
    estimate(path, tmp_path / "run", model=DepthEstimator(model, batch_size=3))
    pairs = [*DepthEstimator(model, size="native").estimate_video(path)]
    with DepthClip(tmp_path / "run/a.mp4.mkv") as clip:
        for number, (expected, (frame, depth)) in enumerate(zip(clip, pairs, strict=True)):
            assert isinstance(depth, DepthMap)
            assert frame.key == f"{number:06}" and frame.timestamp_s == pytest.approx(number / 30)
            assert depth.values == pytest.approx(expected.values, rel=2e-4, abs=1e-4)
            assert (depth.kind, depth.f_px, depth.f_source) == (
                expected.kind,
                expected.f_px,
                expected.f_source,
            )
    if isinstance(model, Camera):
        assert pairs[0][0].f_px == pytest.approx(to_f_px(FOV_DEG, 64))


def test_some_frames_at_full_size(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 20)
    estimator = DepthEstimator(SyntheticModel(short_side=24))
    pairs = [*estimator.estimate_video(path, steady="off", numbers=slice(3, 20, 8))]
    assert [frame.key for frame, _ in pairs] == ["000003", "000011", "000019"]
    for frame, depth in pairs:
        assert isinstance(depth, DepthMap)
        assert np.array_equal(depth.values, estimator(frame).values)


def test_a_folder_of_frames(tmp_path: Path) -> None:
    (tmp_path / "take").mkdir()
    for number in (1, 2, 10):
        Image.fromarray(draw(number, 48, 64)).save(tmp_path / f"take/f{number}.png")
    estimator = DepthEstimator(SyntheticModel(short_side=24), size="native")
    estimate(tmp_path / "take", tmp_path / "run", model=estimator, sequence=True, fps=12)
    pairs = [*estimator.estimate_video(tmp_path / "take", fps=12)]
    assert [frame.timestamp_s for frame, _ in pairs] == pytest.approx([0, 1 / 12, 2 / 12])
    with DepthClip(tmp_path / "run/take.mkv") as clip:
        for expected, (_, depth) in zip(clip, pairs, strict=True):
            assert isinstance(depth, DepthMap)
            assert depth.values == pytest.approx(expected.values, rel=2e-4, abs=1e-4)


def test_what_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("no")
    with pytest.raises(DecodeError, match="plain text"):
        next(DepthEstimator(SyntheticModel()).estimate_video(tmp_path / "a.mp4"))
    with pytest.raises(DecodeError, match="takes none"):
        path = write_clip(tmp_path / "b.mp4", 3)
        next(DepthEstimator(SyntheticModel()).estimate_video(path, numbers=slice(9, None)))
