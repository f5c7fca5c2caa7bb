"""What the commands on depth do with clips: `info`, `convert`, `read_depth`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clips import write_clip

from cortexia_video import DepthEstimator, SyntheticModel, convert, estimate, inspect, read_depth
from cortexia_video.errors import DepthFileError
from cortexia_video.jobs.inspect import FolderInspection, Inspection
from cortexia_video.video.depth_clip import DepthClip

FRAMES = 6


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return the output folder of a run over a clip."""
    model = DepthEstimator(SyntheticModel(short_side=48))
    estimate(write_clip(tmp_path / "a.mp4", FRAMES), tmp_path / "run", model=model)
    return tmp_path / "run"


def test_info_of_a_clip_and_of_a_frame_of_it(run: Path) -> None:
    whole, frame = inspect(run / "a.mp4.mkv"), inspect(f"{run}/a.mp4.mkv#5")
    assert isinstance(whole, Inspection) and isinstance(frame, Inspection)
    assert (whole.format, whole.clip["frames"], whole.kind, whole.said_by) == ("mkv", 6, "disparity", "file")
    assert frame.percentiles[100] == float(read_depth(f"{run}/a.mp4.mkv#5").values.max())
    with pytest.raises(DepthFileError, match="there is no frame 6"):
        inspect(f"{run}/a.mp4.mkv#6")


def test_info_of_a_folder_counts_a_clip_once(run: Path) -> None:
    folder = inspect(run)
    assert isinstance(folder, FolderInspection)
    assert folder.files == {".mkv": 1}
    assert folder.bytes == (run / "a.mp4.mkv").stat().st_size
    assert len(folder.sampled) == FRAMES


@pytest.mark.parametrize("format", ["npy", "png16", "exr", "tiff"])
def test_convert_writes_a_file_for_each_frame(run: Path, tmp_path: Path, format: str) -> None:
    report = convert(run, tmp_path / "frames", format=format)
    assert (report.found, report.done) == (FRAMES, FRAMES)
    written = sorted((tmp_path / "frames/a.mp4").iterdir())
    with DepthClip(run / "a.mp4.mkv") as clip:
        for path, depth in zip(written, clip, strict=True):
            read = read_depth(path)
            assert np.abs(read.values - depth.values).max() <= 1e-5
            assert (read.kind, read.full_size, read.model) == (depth.kind, depth.full_size, depth.model)
    assert convert(run, tmp_path / "frames", format=format).skipped == FRAMES
