"""Small videos for tests, and what FFmpeg's own program sees in them."""

from __future__ import annotations

import io
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from cortexia_video import DepthMap
from cortexia_video.video.depth_clip import Coding, DepthClipWriter, describe_clip, join_parts

Image = NDArray[np.uint8]
SIZE = (48, 64)
os.environ["SVT_LOG"] = "0"


def draw(number: int, height: int = SIZE[0], width: int = SIZE[1]) -> Image:
    """Return a picture with structure, in which a bright square moves with the number."""
    rows, columns = np.indices((height, width))
    image = np.empty((height, width, 3), np.uint8)
    image[..., 0] = 128 + 60 * np.sin(rows / 5)
    image[..., 1] = columns * 255 // width
    image[..., 2] = 128 + 60 * np.cos((rows + columns) / 7)
    left = 4 + number % (width - 20)
    image[height // 4 : height // 4 + 10, left : left + 10] = 255
    return image


def write_clip(
    path: Path,
    images: Iterable[Image] | int = 30,
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    rate: int = 30,
    times_ms: Sequence[int] | None = None,
    format: str | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a video; images: how many are drawn, or which."""
    drawn = [draw(number) for number in range(images)] if isinstance(images, int) else list(images)
    path.parent.mkdir(parents=True, exist_ok=True)
    quiet = {"x265-params": "log-level=none:pools=1:frame-threads=1"} if codec == "libx265" else {}
    with av.open(str(path), "w", format=format) as container:
        stream = container.add_stream(codec, rate=rate, options={**quiet, **(options or {})})
        stream.height, stream.width, stream.pix_fmt = *drawn[0].shape[:2], pixels
        stream.codec_context.thread_count = 1
        if times_ms:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, image in enumerate(drawn):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            if times_ms:
                frame.pts, frame.time_base = times_ms[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def ffmpeg(*arguments: object) -> bytes:
    """Run FFmpeg's program; return what it writes to its output."""
    program = imageio_ffmpeg.get_ffmpeg_exe()
    command = [program, "-y", "-loglevel", "error", "-threads", "1", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL).stdout


def decode_by_ffmpeg(path: Path, height: int, width: int) -> Image:
    """Return all frames as FFmpeg's program shows them: uint8 (frames, height, width, 3)."""
    raw = ffmpeg("-i", path, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)


def times_by_ffmpeg(path: Path) -> list[float]:
    """Return when FFmpeg's program shows each frame, seconds."""
    program = imageio_ffmpeg.get_ffmpeg_exe()
    command = [program, "-i", str(path), "-vf", "showinfo", "-fps_mode", "passthrough", "-f", "null", "-"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    return [float(each) for each in re.findall(r"showinfo.*? pts_time:([\d.-]+)", said)]


def write_metres(
    path: Path, maps: list[NDArray[np.float32]], kind: str = "metric", rate: float = 30.0
) -> Path:
    """Write a clip of depth."""
    coding, part = Coding.of(kind), io.BytesIO()  # type: ignore[arg-type]
    with DepthClipWriter(part, *maps[0].shape) as writer:
        for number, each in enumerate(maps):
            writer.add(coding.encode(each)[0], round(1000 * number / rate))
        writer.finish()
    about = {"frames": len(maps), "rate": rate, "seconds": len(maps) / rate, "range": [1, 65535]}
    part.seek(0)
    with path.open("wb+") as file:
        join_parts([part], file, describe_clip(DepthMap(maps[0], kind), coding, about))  # type: ignore[arg-type]
    return path


def make_maps(frames: int = 5, height: int = 48, width: int = 64) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(3)
    return [
        np.exp(rng.uniform(np.log(0.2), np.log(9), (height, width))).astype(np.float32) for _ in range(frames)
    ]
