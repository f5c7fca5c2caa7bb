"""Depth as LeRobot keeps it, by numbers of its own code."""

from __future__ import annotations

import io
import json
from pathlib import Path

import av
import numpy as np
import pytest
from clips import make_maps, write_metres

from cortexia_video.errors import DepthFileError, InputError
from cortexia_video.video.depth_clip import DepthClip
from cortexia_video.video.lerobot import LeRobotClip, Steps, describe_info, write_lerobot

# of `quantize_depth` and `dequantize_depth` of huggingface/lerobot at 7427f31, with their defaults
CODES = {0.05: 34, 0.3: 241, 1.0: 755, 2.5: 1630, 9.9: 4072}
METRES = {1: 0.011154413, 100: 0.12738371, 2000: 3.2769523, 4095: 10.0}


def test_numbers_are_those_of_lerobot() -> None:
    depth_m = np.array([[*CODES]], np.float32)
    assert Steps().encode(depth_m).tolist() == [[*CODES.values()]]
    assert Steps().decode(np.array([[*METRES]], np.uint16))[0] == pytest.approx([*METRES.values()], rel=1e-6)
    assert np.isnan(Steps().decode(np.zeros((1, 1), np.uint16))).all()


def test_a_video_holds_the_numbers_without_loss(tmp_path: Path) -> None:
    """As LeRobot reads them: PyAV, grey of 12 bits."""
    maps = make_maps()
    with DepthClip(write_metres(tmp_path / "a.mkv", maps)) as clip, (tmp_path / "a.mp4").open("wb+") as out:
        info, lost = write_lerobot(clip, out)
        expected = [Steps().encode(each.values).astype(np.uint16) for each in clip]
    assert lost == ""
    assert (info["video.codec"], info["video.pix_fmt"], info["video.fps"]) == ("hevc", "gray12le", 30)
    assert (info["video.depth_min"], info["video.depth_max"], info["video.shift"]) == (0.01, 10.0, 3.5)
    assert info["is_depth_map"] and info["video.use_log"]
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("hevc", "gray12le")
        read = [frame.to_ndarray(format="gray12le") for frame in container.decode(stream)]
    assert np.array_equal(read, expected)
    (tmp_path / "a.info.json").write_bytes(describe_info(info))
    back = [*LeRobotClip(tmp_path / "a.mp4")]
    half_m = np.log(13.5 / 3.51) / 4095 / 2
    for depth, depth_m in zip(back, maps, strict=True):
        assert depth.kind == "metric"
        assert np.abs(depth.values - depth_m).max() <= 1.01 * half_m * 13.5 + 2e-4 * 9
    assert LeRobotClip(tmp_path / "a.mp4").times_s == pytest.approx(np.arange(5) / 30)


def test_what_is_lost_is_named(tmp_path: Path) -> None:
    maps = make_maps(2)
    maps[0][0, :3], maps[0][1, :4], maps[1][2, :5] = np.nan, 12.0, 0.02
    with DepthClip(write_metres(tmp_path / "a.mkv", maps)) as clip, (tmp_path / "a.mp4").open("wb+") as out:
        info, lost = write_lerobot(clip, out)
    assert "3 unknown values become 0, which LeRobot reads as 0.01 m" in lost
    assert "4 values are outside of the 0.01 to 10 m" in lost
    assert "too coarse for 5 values" in lost
    (tmp_path / "a.info.json").write_bytes(describe_info(info))
    first, _ = LeRobotClip(tmp_path / "a.mp4")
    assert np.isnan(first.values[0, :3]).all() and np.isnan(first.values[1, :4]).all()
    assert np.isfinite(first.values).sum() == first.values.size - 7


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_frames_of_short_clips_are_decoded_at_the_time_they_are_shown(tmp_path: Path, frames: int) -> None:
    with (
        DepthClip(write_metres(tmp_path / "a.mkv", make_maps(frames))) as clip,
        (tmp_path / "a.mp4").open("wb+") as out,
    ):
        write_lerobot(clip, out)
    with av.open(str(tmp_path / "a.mp4")) as container:
        packets = [each for each in container.demux(video=0) if each.size]
    assert [each.dts for each in packets] == [each.pts for each in packets]
    assert [float(each.pts * each.time_base) for each in packets] == pytest.approx(np.arange(frames) / 30)


def test_only_metres_are_written(tmp_path: Path) -> None:
    path = write_metres(tmp_path / "a.mkv", make_maps(2), "scale_invariant")
    with DepthClip(path) as clip, pytest.raises(InputError, match="holds metres, not scale_invariant"):
        write_lerobot(clip, io.BytesIO())


def test_a_dataset_says_what_its_videos_mean(tmp_path: Path) -> None:
    place = tmp_path / "videos/observation.depth/chunk-000/file-000.mp4"
    place.parent.mkdir(parents=True)
    with DepthClip(write_metres(tmp_path / "a.mkv", make_maps(2))) as clip, place.open("wb+") as out:
        info, _ = write_lerobot(clip, out)
    with pytest.raises(
        DepthFileError, match=r"neither file-000.info.json beside it nor meta/info.json above"
    ):
        LeRobotClip(place)
    features = {
        "observation.rgb": {"info": {}},
        "observation.depth": {"info": {**info, "video.depth_max": 5.0}},
    }
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/info.json").write_text(json.dumps({"features": features}))
    assert max(float(np.nanmax(each.values)) for each in LeRobotClip(place)) < 5
    for broken, reason in (
        ({"video.depth_max": 0.001}, "depth from 0.01 to 0.001 m"),
        ({"is_depth_map": False}, "does not say is_depth_map"),
    ):
        features["observation.depth"]["info"] = {**info, **broken}
        (tmp_path / "meta/info.json").write_text(json.dumps({"features": features}))
        with pytest.raises(DepthFileError, match=reason):
            LeRobotClip(place)
