"""`write_preview`: a video to look at, the frames beside their depth in colours of one range, with the sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from cortexia_video.images.resampling import fit_short_side, resize_depth, resize_image
from cortexia_video.storage.paths import AnyPath
from cortexia_video.video.clip_index import ClipIndex
from cortexia_video.video.container import open_container
from cortexia_video.video.depth_clip import DepthClip
from cortexia_video.video.frames import ImageArray, read_frames
from cortexia_video.video.image_sequence import FOLDER
from cortexia_video.viz.colormap import colored_depthmap

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame

SUFFIX = ".preview.mp4"
_SHORT_SIDE = 480
_PRIMING_S = 0.1  # of sound before the beginning, which decoders of AAC need
_MILLISECOND = Fraction(1, 1000)
_SOUND = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus"})  # codecs that MP4 takes
_BITEXACT = {"fflags": "+bitexact"}
_VIDEO = (("libx264", {"preset": "veryfast", "crf": "20", "threads": "1"}), ("mpeg4", {"qscale": "3"}))


def write_preview(
    place: AnyPath,
    index: ClipIndex,
    numbers: range,
    depth: DepthClip,
    out: IO[bytes],
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Write an MP4 of the frames `numbers` of a video beside their depth, near is bright; sound is copied.

    Sound is left out where frames are, and where MP4 has no place for its codec. out: can be sought in. tick: is
    called at each frame.
    """
    import av

    height, width = _fit(index.height, index.width)
    with av.open(out, "w", format="mp4", container_options=_BITEXACT) as container:
        video = _add_stream(container, height, 2 * width)
        with ExitStack() as stack:
            source = None if index.codec == FOLDER else stack.enter_context(open_container(place))
            streams = source.streams.audio if source else ()
            sound = [each for each in streams if each.codec_context.name in _SOUND][:1]
            is_whole = numbers == range(index.frames)
            copied = container.add_stream_from_template(sound[0]) if sound and is_whole else None
            packets = iter(source.demux(sound[0])) if source and copied else iter(())
            heard = _Sound(packets, index)
            for (_, image), shown in zip(
                read_frames(place, index, numbers, enough=(height, width)),
                _color(depth, height, width),
                strict=True,
            ):
                time_s, colors = shown
                for packet in heard.until(time_s):
                    packet.stream = copied
                    container.mux(packet)
                left = np.zeros_like(colors) if image is None else resize_image(image, height, width)
                container.mux(video.encode(_to_frame(np.hstack([left, colors]), time_s)))
                tick()
            container.mux(video.encode())
            for packet in heard.until(float("inf")):
                packet.stream = copied
                container.mux(packet)


def write_colors(depth: DepthClip, out: IO[bytes]) -> None:
    """Write an MP4 of the colours of a clip of depth, of one range, near is bright. out: can be sought in."""
    import av

    height, width = _fit(*depth.shape)
    with av.open(out, "w", format="mp4", container_options=_BITEXACT) as container:
        video = _add_stream(container, height, width)
        for time_s, colors in _color(depth, height, width):
            container.mux(video.encode(_to_frame(colors, time_s)))
        container.mux(video.encode())


def _fit(height: int, width: int) -> tuple[int, int]:
    return fit_short_side(height, width, short_side=min(_SHORT_SIDE, height, width), multiple_of=2)


def _add_stream(container: OutputContainer, height: int, width: int) -> Any:
    import av

    codec, options = next(each for each in _VIDEO if each[0] in av.codecs_available)
    video: Any = container.add_stream(codec, rate=1000, options={**options, "flags": "+bitexact"})
    video.height, video.width, video.pix_fmt = height, width, "yuv420p"
    video.codec_context.time_base = _MILLISECOND
    return video


def _to_frame(image: ImageArray, time_s: float) -> VideoFrame:
    import av

    frame = av.VideoFrame.from_ndarray(image, "rgb24")
    frame.pts, frame.time_base = round(1000 * time_s), _MILLISECOND
    return frame


class _Sound:
    """The packets of a stream of sound, until given times, which count from the first frame on."""

    def __init__(self, packets: Iterator[Packet[Any]], index: ClipIndex) -> None:
        self._packets = packets
        self._start_s = float((0 if index.pts is None else int(index.pts[0])) * index.time_base)
        self._next: Packet[Any] | None = None

    def until(self, time_s: float) -> Iterator[Packet[Any]]:
        """Yield those that begin before, moved to where the video begins."""
        while True:
            packet = self._next or next(self._packets, None)
            self._next = None
            if packet is None:
                return
            if packet.size and packet.pts is not None and packet.time_base:
                begin_s = float(packet.pts * packet.time_base) - self._start_s
                if begin_s >= time_s:
                    self._next = packet
                    return
                if begin_s >= -_PRIMING_S:
                    moved = round(self._start_s / packet.time_base)
                    packet.pts -= moved
                    packet.dts = packet.dts - moved if packet.dts is not None else packet.pts
                    yield packet


def _color(depth: DepthClip, height: int, width: int) -> Iterator[tuple[float, ImageArray]]:
    """Yield when each frame of depth is shown, and its colours: one range for all."""
    low, high = depth.metadata["clip"]["range"]
    sign = 1 if depth.metadata["larger_is"] == "nearer" else -1
    far, near = sorted((float(sign * low), float(sign * high)))
    for number, time_s in enumerate(depth.times_s):
        numbers = depth.read_numbers(number)
        values = np.where(numbers == 0, np.float32("nan"), sign * numbers.astype(np.float32))
        yield float(time_s), colored_depthmap(resize_depth(values, height, width), far, near)
