"""Depth as a video of 16 bits: the same numbers back, by FFmpeg's program too."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from clips import ffmpeg, write_clip
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthKind, DepthMap
from cortexia_video.errors import DepthFileError
from cortexia_video.formats.registry import is_own_output
from cortexia_video.video.depth_clip import Coding, DepthClip, DepthClipWriter, describe_clip, join_parts

COUNT, HEIGHT, WIDTH = 20, 36, 52


def make_depth(kind: DepthKind) -> list[NDArray[np.float32]]:
    noise = np.random.default_rng(1).random((COUNT, HEIGHT, WIDTH)).astype(np.float32)
    return [*(0.02 + 90 * noise**4)] if kind in ("metric", "scale_invariant") else [*(6 * noise - 4)]


def write_parts(numbers: Sequence[NDArray[np.uint16]], size: int) -> list[bytes]:
    parts = []
    for begin in range(0, len(numbers), size):
        file = io.BytesIO()
        with DepthClipWriter(file, HEIGHT, WIDTH) as writer:
            for number in range(begin, min(begin + size, len(numbers))):
                writer.add(numbers[number], 40 * number)
            writer.finish()
        parts.append(file.getvalue())
    return parts


def write_depth_clip(path: Path, kind: DepthKind = "disparity", size: int = 8) -> list[NDArray[np.uint16]]:
    values = make_depth(kind)
    coding = Coding.of(kind, -4, 2)
    numbers = [coding.encode(each)[0] for each in values]
    depth = DepthMap(values[0], kind, 812.5, "given", (72, 104), "some", "ab" * 32)
    about = describe_clip(depth, coding, {"frames": COUNT, "rate": 25.0})
    with path.open("w+b") as file:
        join_parts(map(io.BytesIO, write_parts(numbers, size)), file, about)
    return numbers


@pytest.mark.parametrize("kind", ["metric", "scale_invariant", "disparity", "affine_invariant"])
def test_depth_comes_back_within_half_a_step(tmp_path: Path, kind: DepthKind) -> None:
    path = tmp_path / "a.mkv"
    write_depth_clip(path, kind)
    with DepthClip(path) as clip:
        assert len(clip) == COUNT
        assert clip.times_s == pytest.approx(0.04 * np.arange(COUNT))
        for depth, values in zip(clip, make_depth(kind), strict=True):
            error = np.abs(depth.values - values)
            bound = 1.08e-4 * values if kind in ("metric", "scale_invariant") else 6 * 1.5 / 65534 / 2 * 1.01
            assert (error <= bound).all()
        assert (depth.kind, depth.f_px, depth.f_source, depth.full_size) == (kind, 812.5, "given", (72, 104))
        assert (depth.model, depth.weights_sha256) == ("some", "ab" * 32)


def test_ffmpeg_reads_the_same_numbers_and_the_tag(tmp_path: Path) -> None:
    """The range of grey is full on both sides: limited range would cost 3.4 %."""
    path = tmp_path / "a.mkv"
    numbers = write_depth_clip(path)
    raw = ffmpeg("-i", path, "-f", "rawvideo", "-pix_fmt", "gray16le", "-")
    assert np.array_equal(np.frombuffer(raw, "<u2").reshape(COUNT, HEIGHT, WIDTH), numbers)
    said = ffmpeg("-i", path, "-f", "ffmetadata", "-").decode().replace("\\", "")
    assert '"kind": "disparity"' in said and '"rate": 25.0' in said


def test_frames_by_number_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    numbers = write_depth_clip(path)
    with DepthClip(path) as clip:
        for number in (19, 0, 7, 8, 9, 3, 3, 18):
            assert np.array_equal(clip.read_numbers(number), numbers[number])
        for number in (-1, COUNT):
            with pytest.raises(DepthFileError, match="it has 0 to 19"):
                clip.read(number)


def test_the_same_bytes_each_time(tmp_path: Path) -> None:
    write_depth_clip(tmp_path / "a.mkv")
    write_depth_clip(tmp_path / "b.mkv")
    assert (tmp_path / "a.mkv").read_bytes() == (tmp_path / "b.mkv").read_bytes()
    assert is_own_output(tmp_path / "a.mkv")


def test_what_is_unknown_or_outside(tmp_path: Path) -> None:
    coding = Coding.of("disparity", 0, 1)
    values = np.array([[np.nan, 0, 1, -9, 9]], np.float32)
    numbers, clipped = coding.encode(values)
    assert numbers.tolist()[0][0] == 0 and numbers.tolist()[0][3:] == [1, 65535]
    assert clipped == 2
    metres, clipped = Coding.of("metric").encode(np.array([[np.nan, 0.01, 1e4, 0, 2e4]], np.float32))
    assert metres.tolist() == [[0, 1, 65535, 1, 65535]]
    assert clipped == 2


def test_a_clip_that_is_not_whole_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    write_depth_clip(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DepthFileError, match="is it whole"), DepthClip(path) as clip:
        list(clip)
    with pytest.raises(DepthFileError, match="not one of depth"):
        DepthClip(write_clip(tmp_path / "b.mkv"))
    with pytest.raises(DepthFileError, match="No such file"):
        DepthClip(tmp_path / "c.mkv")


def test_the_tag_is_of_json_that_others_read(tmp_path: Path) -> None:
    import av

    write_depth_clip(tmp_path / "a.mkv", "metric")
    with av.open(str(tmp_path / "a.mkv")) as container:
        said = json.loads(container.metadata["CORTEXIA_VIDEO"])
    assert (said["near"], said["far"], said["unknown"], said["unit"]) == (0.01, 1e4, 0, "metres")
