"""Depth of a clip as LeRobot keeps it: 12 bits, logarithmic, HEVC without loss in MP4; and its `info` fields.

A number n stands for exp(n / 4095 * ln((max + shift) / (min + shift))) * (min + shift) - shift metres, by default
from 0.01 to 10 m with a shift of 3.5. LeRobot has no number for unknown depth. Here 0 is it, which LeRobot reads as
the nearest depth, 0.01 m: no sensor sees that, and those that give 0 for unknown arrive there, too.
Source: huggingface/lerobot at 7427f31, `datasets/depth_utils.py` and `configs/video.py`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import IO, Any, NamedTuple, Self, cast

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import (
    DepthFileError,
    InputError,
    MissingExtraError,
    format_count,
    in_words,
    printable,
)
from cortexia_video.storage.documents import parse_json
from cortexia_video.storage.paths import LARGEST_TEXT, AnyPath, read_named
from cortexia_video.video.clip_index import ClipIndex, choose_stream, decode_packet, read_index
from cortexia_video.video.container import open_container
from cortexia_video.video.depth_clip import DepthClip

SUFFIX, INFO_SUFFIX = ".mp4", ".info.json"
_LAST = 4095
_BOUND = 0.01  # of a value: a larger error by the steps is a loss that is named
_EVEN_S = 0.002  # that a frame may be beside n / fps
_PIXELS, _ENCODER = "gray12le", "libx265"
# Without B-frames: of a clip with fewer frames than it looks ahead for them, x265 makes up the decoding times.
_X265 = "lossless=1:log-level=none:pools=1:frame-threads=1:bframes=0"
_OPTIONS = {"g": "2", "crf": "30", "x265-params": _X265}
_ABOVE = 6  # folders above a video in which meta/info.json may lie


class Steps(NamedTuple):
    """What the numbers stand for, metres; is_log: in equal ratios of depth and shift."""

    depth_min: float = 0.01
    depth_max: float = 10.0
    shift: float = 3.5
    use_log: bool = True

    @classmethod
    def read(cls, info: Mapping[str, Any]) -> Self:
        """Return those of a feature's `info`; `ValueError` for what cannot be."""
        said = {name: info.get(f"video.{name}", usual) for name, usual in cls._field_defaults.items()}
        low, high, shift = (float(said[name]) for name in ("depth_min", "depth_max", "shift"))
        steps = cls(low, high, shift, bool(said["use_log"]))
        least = steps.depth_min + (steps.shift if steps.use_log else 0)
        if not (
            math.isfinite(sum(steps[:3]))
            and steps.depth_max > steps.depth_min
            and (least > 0 or not steps.use_log)
        ):
            raise ValueError(
                f"depth from {steps.depth_min:g} to {steps.depth_max:g} m, shifted by {steps.shift:g}"
            )
        return steps

    def encode(self, depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return numbers of float32 (H, W) metres, not cut to their range; NaN where unknown."""
        with np.errstate(invalid="ignore", divide="ignore"):
            if not self.use_log:
                share = (depth_m - np.float32(self.depth_min)) / np.float32(self.depth_max - self.depth_min)
                return np.rint(share * _LAST)
            low, high = (math.log(float(np.float32(each) + np.float32(self.shift))) for each in self[:2])
            return np.rint((np.log(depth_m + np.float32(self.shift)) - low) / (high - low) * _LAST)

    def decode(self, numbers: NDArray[np.uint16]) -> NDArray[np.float32]:
        """Return metres, float32, NaN for 0."""
        low, high = self[:2]
        if self.use_log:
            low, high = math.log(low + self.shift), math.log(high + self.shift)
        depth_m = numbers.astype(np.float32) * np.float32((high - low) / _LAST) + np.float32(low)
        if self.use_log:
            depth_m = np.exp(depth_m) - np.float32(self.shift)
        depth_m = np.clip(depth_m, self.depth_min, self.depth_max).astype(np.float32)
        return np.where(numbers == 0, np.float32("nan"), depth_m)


def write_lerobot(depth: DepthClip, out: IO[bytes]) -> tuple[dict[str, Any], str]:
    """Write a clip of metres; return its `info` fields, and what is lost, in words for people.

    out: can be sought in. Raises `InputError` for depth that is not metres, `MissingExtraError` without an encoder.
    """
    import av

    if depth.metadata["kind"] != "metric":
        raise InputError(f"`to=lerobot` holds metres, not {depth.metadata['kind']} depth")
    if _ENCODER not in av.codecs_available:
        raise MissingExtraError(
            f"`to=lerobot` needs {_ENCODER}, which this build of PyAV has not: pip install av"
        )
    steps, lost = Steps(), np.zeros(3, np.int64)
    rate = Fraction(depth.metadata["clip"]["rate"]).limit_denominator(1001)
    height, width = depth.shape
    with av.open(out, "w", format="mp4", container_options={"fflags": "+bitexact"}) as container:
        stream: Any = container.add_stream(_ENCODER, rate=rate, options={**_OPTIONS, "flags": "+bitexact"})
        stream.height, stream.width, stream.pix_fmt = height, width, _PIXELS
        for number, each in enumerate(depth):
            numbers = steps.encode(each.values)
            with np.errstate(invalid="ignore"):
                outside = (numbers < 1) | (numbers > _LAST)
            unknown = ~np.isfinite(numbers) | outside
            codes = np.where(unknown, 0, numbers).astype(np.uint16)
            with np.errstate(invalid="ignore"):
                coarse = np.abs(steps.decode(codes) - each.values) > _BOUND * each.values
            lost += [int(np.isnan(each.values).sum()), int(outside.sum()), int(coarse.sum())]
            frame = av.VideoFrame.from_ndarray(codes, _PIXELS)
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    uneven = np.abs(depth.times_s - np.arange(len(depth)) / float(rate)).max() > _EVEN_S
    return _describe(steps, height, width, rate), _name_losses(steps, lost.tolist(), rate if uneven else None)


def _describe(steps: Steps, height: int, width: int, rate: Fraction) -> dict[str, Any]:
    """Return the fields as LeRobot's `get_video_info` names them, and what 0 is."""
    return {
        "video.height": height,
        "video.width": width,
        "video.codec": "hevc",
        "video.pix_fmt": _PIXELS,
        "video.fps": int(rate),
        "video.channels": 1,
        "has_audio": False,
        "video.g": 2,
        "video.crf": 30,
        "video.preset": None,
        "video.fast_decode": 0,
        "video.video_backend": "pyav",
        "video.extra_options": {"x265-params": "lossless=1"},
        **{f"video.{name}": value for name, value in steps._asdict().items()},
        "is_depth_map": True,
        "cortexia.unknown": 0,
    }


def _name_losses(steps: Steps, lost: list[int], rate: Fraction | None) -> str:
    unknown, outside, coarse = lost
    said = []
    if unknown:
        count = format_count(unknown, "unknown value becomes", "unknown values become")
        said.append(f"{count} 0, which LeRobot reads as {steps.depth_min:g} m")
    if outside:
        said.append(
            f"{format_count(outside, 'value is', 'values are')} outside of the {steps.depth_min:g} to "
            f"{steps.depth_max:g} m that it holds, and unknown there"
        )
    if coarse:
        said.append(
            f"its 12 bits are too coarse for {format_count(coarse, 'value')}: off by more than {_BOUND:.0%}"
        )
    if rate is not None:
        said.append(f"its frames are not evenly {float(rate):g} per second, and would be")
    return "; ".join(said)


class LeRobotClip:
    """A video of depth of a LeRobot dataset, or of `write_lerobot`.

    What its numbers mean is said by `NAME.info.json` beside it or, in a dataset, by `meta/info.json` above. Raises
    `DepthFileError` where nobody says it, or it is no such video.
    """

    def __init__(self, place: AnyPath, *, max_megapixels: float = 200.0) -> None:
        self._place, self._name = place, printable(str(place))
        with in_words(f"{self._name}: what its numbers mean cannot be read", kind=DepthFileError):
            self._steps = Steps.read(_find_info(place))
        self._index: ClipIndex = read_index(place, max_megapixels=max_megapixels)
        self.times_s = [self._index.time_s(number) for number in range(self._index.frames)]
        self.rate = float(self._index.rate)

    def __iter__(self) -> Iterator[DepthMap]:
        count = 0
        with open_container(self._place) as container:
            for packet in container.demux(choose_stream(container)):
                for frame in decode_packet(packet):
                    if frame.format.name != _PIXELS:
                        raise DepthFileError(
                            f"{self._name}: its pixels are {frame.format.name}, not {_PIXELS}"
                        )
                    count += 1
                    yield DepthMap(
                        self._steps.decode(cast("NDArray[np.uint16]", frame.to_ndarray())), "metric"
                    )
        if count != self._index.frames:
            raise DepthFileError(f"{self._name}: {count} of {self._index.frames} frames can be decoded")


def _find_info(place: AnyPath) -> Mapping[str, Any]:
    """Return the `info` of the feature that a video is of."""
    beside, folder = place.parent / f"{place.stem}{INFO_SUFFIX}", place.parent
    if beside.is_file():
        return _require_depth(parse_json(read_named(beside, limit=LARGEST_TEXT), beside))
    for _ in range(_ABOVE):
        path, folder = folder / "meta/info.json", folder.parent
        if path.is_file():
            features = parse_json(read_named(path, limit=LARGEST_TEXT), path)["features"]
            name = next((each for each in features if f"/{each}/" in str(place)), None)
            if name is None:
                raise ValueError(f"{path} has no feature that its path names")
            return _require_depth({**features[name].get("video_info", {}), **features[name].get("info", {})})
    raise ValueError(f"there is neither {beside.name} beside it nor meta/info.json above")


def _require_depth(info: Any) -> Mapping[str, Any]:
    if not isinstance(info, Mapping) or not (info.get("is_depth_map") or info.get("video.is_depth_map")):
        raise ValueError("its info does not say is_depth_map")
    return info


def describe_info(info: Mapping[str, Any]) -> bytes:
    """Return the fields as the file beside a video."""
    return (json.dumps(info, indent=1) + "\n").encode()
