"""`ClipIndex`: which frames a clip has, and when, by its packets: what headers say is often wrong."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cortexia_video.errors import DecodeError
from cortexia_video.storage.paths import AnyPath
from cortexia_video.video.container import open_container

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_HDR = {16: "PQ", 18: "HLG"}  # transfer characteristics of ITU-T H.273
_PROBES = 16
_NEAR_S, _FEWEST = 1, 4
_USUAL_RATE = Fraction(25)


@dataclass(frozen=True, slots=True, eq=False)
class ClipIndex:
    """What is known of a clip before its frames are decoded.

    Attributes:
        pts: int64 (frames,), when each frame is shown, ascending, in units of `time_base`; None of raw streams,
            which do not say it.
        frames: How many there are.
        keyframes: int64, numbers of those that are decoded without others, ascending.
        time_base: Seconds of a unit.
        rate: Frames per second, on average.
        height, width: Of the frames as they are shown: upright, of square pixels.
        stored: (height, width) of the frames as they are stored.
        rotation: Degrees, counter-clockwise, that turn a stored frame upright: 0, 90, 180 or 270.
        aspect: Width of a stored pixel by its height.
        interlaced: A stored frame is two fields, of two moments.
        hdr: PQ or HLG where that is its transfer function: its images then look pale.
        codec: As FFmpeg calls it.
        has_sound: It has sound, too.
        f_px: Focal length by EXIF, of a folder of frames.
    """

    pts: NDArray[np.int64] | None
    frames: int
    keyframes: NDArray[np.int64]
    time_base: Fraction
    rate: Fraction
    height: int
    width: int
    stored: tuple[int, int]
    rotation: int
    aspect: Fraction
    interlaced: bool
    hdr: str | None
    codec: str
    has_sound: bool
    f_px: float | None = None

    def time_s(self, number: int) -> float:
        """Return when a frame is shown, seconds after the first."""
        if self.pts is None:
            return float(number / self.rate)
        return float(int(self.pts[number] - self.pts[0]) * self.time_base)

    @property
    def seconds(self) -> float:
        """How long it lasts: to the beginning of its last frame, and one frame more."""
        return self.time_s(self.frames - 1) + float(1 / self.rate)


def read_index(place: AnyPath | IO[bytes], *, max_megapixels: float = 200.0) -> ClipIndex:
    """Read all packets of a clip, without decoding more than its first frame.

    Frames that an edit list or the beginning of an open group leaves out do not count. Raises `DecodeError`
    for what has no video, no frame that can be decoded, or more than so many megapixels a frame.
    """
    import av

    with open_container(place) as container:
        stream = choose_stream(container)
        pixels = stream.codec_context.width * stream.codec_context.height
        if pixels > max_megapixels * 1e6:
            raise DecodeError(
                f"its frames have {pixels / 1e6:.0f} megapixels, the limit is {max_megapixels:g}: "
                "raise `max_megapixels` if that is so"
            )
        stamps: list[int] = []
        key_stamps: list[int] = []
        unstamped = 0
        first: VideoFrame | None = None
        with suppress(av.error.FFmpegError):  # a damaged end: what was read until there counts
            for packet in container.demux(stream):
                if first is None:
                    first = next(iter(decode_packet(packet)), None)
                if packet.size and not packet.is_discard:
                    if packet.pts is None:
                        unstamped += 1
                    else:
                        stamps.append(packet.pts)
                        key_stamps += [packet.pts] if packet.is_keyframe else []
        if first is None:
            raise DecodeError("no frame of it can be decoded: it is damaged, or cut off at its beginning")
        has_stamps = len(stamps) >= unstamped
        pts = np.unique(np.array(stamps, np.int64)) if has_stamps else None
        keyframes = np.empty(0, np.int64) if pts is None else np.flatnonzero(np.isin(pts, key_stamps))
        rate = stream.average_rate or stream.guessed_rate or _USUAL_RATE
        rotation = int(first.rotation) % 360 if first.rotation % 90 == 0 else 0
        aspect = stream.sample_aspect_ratio or Fraction(1)
        aspect = aspect if aspect > 0 else Fraction(1)
        height, width = first.height, max(1, round(first.width * aspect))
        if rotation in (90, 270):
            height, width = width, height
        return ClipIndex(
            pts,
            len(pts) if pts is not None else unstamped,
            keyframes,
            stream.time_base or 1 / rate,
            rate,
            height,
            width,
            (first.height, first.width),
            rotation,
            aspect,
            bool(first.interlaced_frame),
            _HDR.get(int(first.color_trc)),
            stream.codec_context.name,
            bool(container.streams.audio),
        )


def guess_frames(place: AnyPath) -> int:
    """Return how many frames a clip has by its header, which may be wrong; 0 where it does not say. Nothing is read."""
    with open_container(place) as container:
        stream = choose_stream(container)
        seconds = Fraction(container.duration or 0, 1_000_000)
        return stream.frames or int(seconds * (stream.average_rate or _USUAL_RATE))


def choose_probes(index: ClipIndex, numbers: range) -> list[int]:
    """Return some of the frames, spread over all, by whose depth to know its range, and the focal length.

    Where there are four keyframes at least, near enough to all of them (a second, or a sixteenth of the clip), these:
    they are decoded without others.
    """
    spread = np.linspace(0, len(numbers) - 1, min(_PROBES, len(numbers)))
    chosen = np.array([numbers[round(float(each))] for each in spread])
    alone = index.keyframes[(index.keyframes >= numbers[0]) & (index.keyframes <= numbers[-1])]
    if not len(alone):
        return chosen.tolist()
    nearest = alone[np.abs(alone - chosen[:, None]).argmin(1)]
    farthest = max((numbers[-1] - numbers[0]) / _PROBES, float(index.rate) * _NEAR_S)
    is_near = np.abs(nearest - chosen).max() <= farthest
    few = np.unique(nearest).tolist()
    return few if is_near and len(few) >= min(_FEWEST, len(chosen)) else chosen.tolist()


def choose_stream(container: InputContainer) -> VideoStream:
    """Return a file's video, the largest of several, with one thread to decode it.

    With another number of threads a damaged clip decodes to other pixels. Raises `DecodeError` for sound alone.
    """
    from av.stream import Disposition

    streams = [each for each in container.streams.video if not each.disposition & Disposition.attached_pic]
    if not streams:
        raise DecodeError("there is no video in it" + (", only sound" if container.streams.audio else ""))
    known = [each for each in streams if each.codec_context is not None]
    if not known:
        raise DecodeError("its codec is not known: convert it to H.264, say")
    stream = max(known, key=lambda each: each.codec_context.width * each.codec_context.height)
    if stream.codec_context.thread_count != 1:  # of a stream that was chosen before it is
        stream.codec_context.thread_count = 1
    return stream


def decode_packet(packet: object) -> list[VideoFrame]:
    """Return the frames of a packet; none of one that is damaged."""
    import av

    try:
        return list(packet.decode())  # type: ignore[attr-defined]
    except av.error.FFmpegError:
        return []
