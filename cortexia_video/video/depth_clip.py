"""Depth of a clip as one file: grey of 16 bits, lossless (FFV1 in Matroska), with what the numbers mean.

A frame's numbers are those of `formats.quantization`: 0 is unknown, 1 to 65535 are values of one coding for the
whole clip, so that nothing flickers by its scaling. The tag CORTEXIA_VIDEO holds them in the words of
`formats.metadata`, and `clip` beside them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthKind, DepthMap
from cortexia_video.errors import DecodeError, DepthFileError, format_count, printable
from cortexia_video.formats.decode_depth import interpret
from cortexia_video.formats.metadata import MARK, from_text, metadata_of, to_text
from cortexia_video.formats.quantization import INTERVALS, LAST
from cortexia_video.formats.raw_depth import RawDepth
from cortexia_video.formats.registry import FORMATS, HEAD_BYTES, is_own_head, is_own_output
from cortexia_video.storage.paths import AnyPath, PathLike, to_path
from cortexia_video.storage.paths import to_text as to_name
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.video.clip_index import choose_stream, decode_packet
from cortexia_video.video.container import open_container, require_video

if TYPE_CHECKING:
    pass

SUFFIX = ".mkv"
TIMES = "depth.txt"  # beside frames that are files: when each is shown, as TUM RGB-D has it
_TAG = "CORTEXIA_VIDEO"
_MILLISECOND = Fraction(1, 1000)  # the time base of Matroska
_NEAR, _FAR = 0.01, 1e4  # metres; half a step is then 1.05e-4 of the value
_MARGIN = 0.25  # of the range of the frames that were looked at, on each side
_CODEC = {"level": "3", "slices": "4", "slicecrc": "1", "g": "1", "flags": "+bitexact"}
_BITEXACT = {"fflags": "+bitexact"}  # no date, no random number, no version in the file


@dataclass(frozen=True, slots=True)
class Coding:
    """How depth becomes numbers, one for a clip. metadata: near and far, or scale and offset."""

    metadata: Mapping[str, float]

    @classmethod
    def of(cls, kind: DepthKind, low: float = 0.0, high: float = 1.0) -> Coding:
        """Choose a coding. low, high: the range of some frames, for kinds that know no unit."""
        if kind in ("metric", "scale_invariant"):
            return cls({"near": _NEAR, "far": _FAR})
        low, high = float(low), float(high)
        margin = _MARGIN * (high - low) or 1.0
        step = (high - low + 2 * margin) / INTERVALS
        return cls({"scale": step, "offset": low - margin - step})

    @classmethod
    def from_zero(cls, high: float) -> Coding:
        """Choose a coding in equal steps from 0, which stays what it is, to `high`."""
        step = (float(high) or 1.0) / INTERVALS
        return cls({"scale": step, "offset": -step})

    def encode(self, values: NDArray[np.float32]) -> tuple[NDArray[np.uint16], int]:
        """Return the numbers of float32 (H, W) values, and how many of these lie outside and are clipped."""
        if "near" in self.metadata:
            near, far = self.metadata["near"], self.metadata["far"]
            with np.errstate(divide="ignore", invalid="ignore"):
                steps = np.log(values / np.float32(near)) * np.float32(INTERVALS / math.log(far / near)) + 1
        else:
            steps = (values - np.float64(self.metadata["offset"])) / self.metadata["scale"]
        with np.errstate(invalid="ignore"):
            clipped = int(((steps < 0.5) | (steps >= LAST + 0.5)).sum())
            numbers = np.clip(steps, 1, LAST) + 0.5
        return np.where(np.isnan(numbers), 0, numbers).astype(np.uint16), clipped


class DepthClipWriter:
    """Write frames of 16 bits to a file, which must be one that can be sought in. A context manager.

    about: for the tag; what is left out of a part of a clip.
    """

    def __init__(
        self, file: IO[bytes], height: int, width: int, about: Mapping[str, Any] | None = None
    ) -> None:
        require_video()
        import av

        self._container = av.open(file, "w", format="matroska", container_options=_BITEXACT)
        if about is not None:
            self._container.metadata.update(_tags(about))
        stream = self._container.add_stream("ffv1", rate=1000, options=_CODEC)
        stream.height, stream.width, stream.pix_fmt = height, width, "gray16le"
        stream.codec_context.time_base = _MILLISECOND
        stream.codec_context.color_range = 2  # full; limited would cost 3.4 % of the range
        stream.codec_context.thread_count = 1
        self._stream = stream

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def add(self, numbers: NDArray[np.uint16], time_ms: int) -> None:
        """Append a frame. numbers: uint16 (H, W). time_ms: later than that of the one before."""
        import av

        frame = av.VideoFrame.from_ndarray(numbers, "gray16le")
        frame.pts, frame.time_base = time_ms, _MILLISECOND
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def finish(self) -> None:
        """Write what is left; without it the file is not whole."""
        for packet in self._stream.encode():
            self._container.mux(packet)
        self._container.close()


def join_parts(parts: Iterable[IO[bytes]], out: IO[bytes], about: Mapping[str, Any]) -> None:
    """Write the frames of parts, one after the other, to one file, without encoding them again."""
    import av

    with av.open(out, "w", format="matroska", container_options=_BITEXACT) as joined:
        joined.metadata.update(_tags(about))
        stream = None
        for part in parts:
            with open_container(part) as container:
                source = choose_stream(container)
                stream = stream or joined.add_stream_from_template(source)
                for packet in container.demux(source):
                    if packet.size:
                        packet.stream = stream
                        joined.mux(packet)


def describe_clip(depth: DepthMap, coding: Coding, clip: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the tag of a clip says. depth: any of its frames. clip: frames, rate and so on."""
    return {**metadata_of(depth), **coding.metadata, "unknown": 0, "clip": dict(clip)}


class DepthClip:
    """A clip of depth, by frame number; it stays open. A context manager, for one thread.

    Args:
        place: A path, a URL, or an open file.

    Attributes:
        metadata: What its tag says, in the words of `formats.metadata`, and `clip`: frames, rate, source and
            so on.
        times_s: float64 (frames,), when each frame is shown, seconds after the first.

    Raises:
        DepthFileError: It is no clip of depth, or cannot be read.
        MissingExtraError: PyAV is not installed.

    Example:
        >>> with DepthClip("depth/clip.mp4.mkv") as clip:  # doctest: +SKIP
        ...     nearest = [float(depth.values.max()) for depth in clip]
    """

    def __init__(self, place: PathLike | IO[bytes]) -> None:
        require_video()
        import av

        where = place if hasattr(place, "read") else to_path(place)
        self._name = printable(str(where)) if not hasattr(place, "read") else "the clip"
        with ExitStack() as stack:
            try:
                self._container = stack.enter_context(open_container(cast("AnyPath", where)))
                self._stream = choose_stream(self._container)
            except (DecodeError, OSError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                raise DepthFileError(f"{self._name}: {reason}") from error
            self.metadata: dict[str, Any] = from_text(self._container.metadata.get(_TAG, ""))
            if not isinstance(self.metadata.get("clip"), dict):
                raise DepthFileError(f"{self._name}: it is a video, but not one of depth")
            try:
                self._container.seek(0, stream=self._stream)  # reads the index at the end of the file
            except av.error.FFmpegError as error:
                raise DepthFileError(f"{self._name}: its index cannot be read: is it whole?") from error
            self._pts = [entry.timestamp for entry in self._stream.index_entries]
            said = self.metadata["clip"].get("frames", len(self._pts))
            if len(self._pts) != said or not self._pts:
                raise DepthFileError(
                    f"{self._name}: it has {format_count(len(self._pts), 'frame')}, but says {said}: is it whole?"
                )
            self._open = stack.pop_all()
        self.times_s = (np.array(self._pts) - self._pts[0]) * float(self._stream.time_base or _MILLISECOND)
        self._at = -1  # the frame that decoding has come to
        self._decoded: Iterator[Any] = iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def __len__(self) -> int:
        return len(self._pts)

    def __iter__(self) -> Iterator[DepthMap]:
        return map(self.read, range(len(self)))

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of its maps."""
        return self._stream.height, self._stream.width

    def read(self, number: int) -> DepthMap:
        """Return the depth of a frame: float32 (H, W), NaN where unknown."""
        return interpret(RawDepth(self.read_numbers(number), self.metadata), f"{self._name}#{number}")

    def read_numbers(self, number: int) -> NDArray[np.uint16]:
        """Return a frame as it is stored: uint16 (H, W)."""
        if not 0 <= number < len(self):
            raise DepthFileError(f"{self._name}: there is no frame {number}: it has 0 to {len(self) - 1}")
        if number != self._at + 1 or self._at < 0:
            self._container.seek(self._pts[number], stream=self._stream)
            self._stream.codec_context.flush_buffers()
            packets = self._container.demux(self._stream)
            self._decoded = (frame for packet in packets for frame in decode_packet(packet))
        self._at = number
        frame = next((each for each in self._decoded if each.pts == self._pts[number]), None)
        if frame is None or frame.format.name != "gray16le":
            self._at = -1
            raise DepthFileError(f"{self._name}: frame {number} cannot be decoded: is it whole?")
        numbers: NDArray[np.uint16] = frame.to_ndarray()
        return numbers


def split_frame(path: PathLike) -> tuple[AnyPath, int] | None:
    """Return clip and number of a path such as `clip.mp4.mkv#123`; None of a path that names no frame."""
    clip, mark, number = to_name(path).rpartition("#")
    if not (mark and number.isascii() and number.isdecimal() and clip.lower().endswith(SUFFIX)):
        return None
    return to_path(clip), int(number)


def read_frame_file(place: AnyPath, number: int, *, max_megapixels: float = 200.0) -> bytes:
    """Return the depth of a frame as the bytes of a file of its own (npz), with all that the clip says of it.

    Raises what `DepthClip` does, and `DepthFileError` for a larger one.
    """
    with DepthClip(place) as clip:
        height, width = clip.shape
        if height * width > max_megapixels * 1e6:
            raise DepthFileError(
                f"{printable(str(place))}: its frames are {width} x {height}: raise `max_megapixels` if that is so"
            )
        return b"".join(FORMATS["npz"].encode(clip.read(number)))


def is_depth_clip(place: AnyPath) -> bool:
    """Return whether a file is called as a clip of depth, and begins as one of ours."""
    if place.suffix.lower() != SUFFIX:
        return False
    return (
        is_own_head(place.read_bytes(0, HEAD_BYTES))
        if isinstance(place, RemotePath)
        else is_own_output(place)
    )


def list_numbers(clip: Mapping[str, Any]) -> range:
    """Return which frames of the video those of a clip of depth are, by what its tag says of it."""
    first, every = clip.get("first", 0), clip.get("every", 1)
    return range(first, first + clip["frames"] * every, every)


@lru_cache(maxsize=4)
def read_about(place: AnyPath, mtime_ns: int) -> Mapping[str, Any]:
    """Return what the tag of a clip of depth says. mtime_ns: when it was changed."""
    with DepthClip(place) as clip:
        return clip.metadata


def describe_times(times_s: Iterable[float], suffix: str) -> str:
    """Return the text of `depth.txt` for frames 000000, 000001 and so on of this ending."""
    lines = (f"{time_s:.6f} {number:06}{suffix}\n" for number, time_s in enumerate(times_s))
    return "".join(["# timestamp filename\n", *lines])


def parse_times(text: str) -> list[float]:
    """Return the times of such a list; `ValueError` for one that is none."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [float(line.split()[0]) for line in lines]


def count_frames(place: AnyPath) -> int:
    """Return how many frames a clip of depth has."""
    with DepthClip(place) as clip:
        return len(clip)


def _tags(about: Mapping[str, Any]) -> dict[str, str]:
    return {"title": MARK.decode(), _TAG: to_text(about).decode("ascii")}
