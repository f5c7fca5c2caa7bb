"""`ClipOutput`: depth of a clip's frames, in order, to parts and at the end to one file."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_estimation import DepthEstimator, FrameInfo, ModelOutput, Size
from cortexia_video.depth_map import Alignment, DepthMap
from cortexia_video.errors import InputError, ModelError, format_count, output_lost
from cortexia_video.formats.registry import FORMATS
from cortexia_video.frame import FocalSource
from cortexia_video.geometry.alignment import Floats, to_metres
from cortexia_video.geometry.normals import SHAPED
from cortexia_video.images.resampling import resize_depth
from cortexia_video.inference.executor import ItemResult
from cortexia_video.jobs.aligner import Aligner
from cortexia_video.jobs.clip_files import ScratchFile, disk_errors, place_frames
from cortexia_video.jobs.clip_parts import ClipParts, FilePieces
from cortexia_video.jobs.outcomes import facts_of
from cortexia_video.ledger.entries import ItemDone
from cortexia_video.models.protocol import Window
from cortexia_video.runtime.resources import StageClock
from cortexia_video.sinks.sink import Sink
from cortexia_video.storage.paths import AnyPath
from cortexia_video.video.clip_index import ClipIndex
from cortexia_video.video.depth_clip import Coding, DepthClip, DepthClipWriter, describe_clip, join_parts
from cortexia_video.video.preview import SUFFIX as PREVIEW
from cortexia_video.video.preview import write_preview
from cortexia_video.video.steady import Steady, SteadyMode
from cortexia_video.video.windows import Stitch, choose_steady

PROVEN = 16  # frames before a part: they must come out again where decoding begins near it
_PART_FRAMES, _PART_PIXELS = 256, 1 << 26  # of a part, at most
_LONGEST_WINDOW = 1000  # frames that a filter may see at once
_MOST_HELD = 0.5  # of the frames; of a clip with more there is too little left
_HEADROOM = 4  # times the largest number of the first window that there is room for
_NOTHING: NDArray[Any] = np.empty(0)
RecordBegun = Callable[[str, Sequence[str]], None]


MAX_FPS = sys.float_info.max  # any that is finite


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """How clips are worked on.

    steady: the filter against flicker. size: of the depth. every: take each so many-th frame.
    frames: the first to take, and the one before which to end, or None. fps: of folders of frames.
    files: the format of a file for each frame; None: one clip of depth.
    """

    steady: SteadyMode = "mean"
    size: Size = "native"
    every: int = 1
    frames: tuple[int, int | None] = (0, None)
    fps: float = 24.0
    files: str | None = None

    def choose(self, count: int) -> range:
        """Return which of so many frames are taken."""
        begin, end = self.frames
        return range(count)[begin : end : self.every]

    @property
    def settings(self) -> dict[str, object]:
        """Return what differs from the usual."""
        usual = asdict(VideoOptions())
        return {name: value for name, value in asdict(self).items() if value != usual[name]}


def parse_frames(frames: str) -> tuple[int, int | None]:
    """Return `VideoOptions.frames` of a text such as 0:500; raise `InputError` for what cannot be."""
    match = re.fullmatch(r"(\d*):(\d*)", frames)
    begin, end = (int(each) if each else None for each in match.groups()) if match else (None, 0)
    if end is not None and end <= (begin or 0):
        raise InputError(f"`frames` must be like 0:500 or 100:, got {frames!r}")
    return begin or 0, end


@dataclass(slots=True)
class _Progress:
    """How far a clip is, and what is one for all of it; a part's state holds it.

    following: of the frames, the next. total: all of them. time_ms: of the last frame. waiting: of the last ones,
    which the filter has not finished, when each is shown, and whether it has depth.
    low, high: of the numbers that stand for depth. alignment: how depth becomes metres, if it does.
    proof: digests of images.
    """

    following: int = 0
    total: int = 0
    time_ms: int = -1
    waiting: list[tuple[int, bool]] = field(default_factory=list)
    held: int = 0
    clipped: int = 0
    in_float32: int = 0
    low: int = 65535
    high: int = 0
    coding: Mapping[str, float] = field(default_factory=dict)
    f_px: float | None = None
    f_source: FocalSource | None = None
    alignment: dict[str, Any] | None = None
    proof: dict[str, str] = field(default_factory=dict)


class ClipOutput:
    """Writes the depth of one clip. What earlier runs did of it is taken up; `following` is what comes next.

    place: the video. numbers: of the frames that are taken. record_begun: called before the file is placed.

    Attributes:
        carried: For a model that sees windows of frames, the inputs with which the next window begins.
        undrawn: Frames that are still to be drawn in a preview; 0 where there is to be none.
    """

    def __init__(
        self,
        key: str,
        place: AnyPath,
        numbers: range,
        index: ClipIndex,
        options: VideoOptions,
        estimator: DepthEstimator,
        *,
        sink: Sink,
        parts: ClipParts,
        aligner: Aligner | None,
        clock: StageClock,
        record_begun: RecordBegun,
    ) -> None:
        self._key, self._numbers, self._index = key, numbers, index
        self._options = replace(options, steady=choose_steady(options.steady, estimator.model))
        self._place = place
        self._native = DepthEstimator(estimator.model, size="native", sky=estimator.sky)
        self._sink, self._parts, self._clock, self._record_begun = sink, parts, clock, record_begun
        self._aligner = aligner
        self._state = parts.load()
        self._progress = _Progress(**{**self._state.facts, "total": len(numbers)})
        arrays = dict(self._state.arrays)
        self._shown = arrays.pop("shown", None)  # the numbers of the last frame
        self._last: tuple[NDArray[np.uint8], NDArray[np.float32]] | None = None  # grey and depth
        self._window: Window | None = getattr(estimator.model, "window", None)
        self.carried = arrays.pop("carried", _NOTHING)
        self._stitch: Stitch | None = None
        if self._window:
            self._stitch, arrays = Stitch(self._window, estimator.model.kind, arrays), {}
        self._steady = Steady(self._options.steady, estimator.model.kind, arrays)
        sides = (index.height, index.width)
        height, width = sides if options.size == "full" else estimator.model.processed_size(*sides)
        self.part_frames = max(PROVEN, min(_PART_FRAMES, _PART_PIXELS // (height * width)))
        self._part: tuple[ScratchFile, DepthClipWriter] | None = None  # that is being written
        shown = any(name.endswith(PREVIEW) for name in sink.output_names(key, is_clip=True))
        self.undrawn = len(numbers) if shown else 0
        self._late: list[int] = []  # times of frames at the beginning of which there is no depth

    @property
    def following(self) -> int:
        """The position, among the frames that are taken, of the one that comes next."""
        return self._progress.following

    @property
    def unread(self) -> int:
        """The position of the first frame that no part depends on; a window depends on some beyond its own."""
        return self.following + (self._window.blended if self._window and self.following else 0)

    @property
    def total(self) -> int:
        """How many frames are taken."""
        return len(self._numbers)

    @property
    def proof(self) -> dict[int, str]:
        """Digests of images before the first that comes next, by number."""
        return {int(number): digest for number, digest in self._progress.proof.items()}

    @property
    def knows_coding(self) -> bool:
        """Whether it is known already how depth becomes numbers, by an earlier part."""
        return bool(self._progress.coding)

    def choose_coding(self, probes: Mapping[int, ItemResult], known: Mapping[int, Floats]) -> None:
        """Fix what is one for all frames, by some of them: what numbers stand for, the focal length, the metres.

        probes: by number. known: distances in some of them, where depth is aligned.
        """
        progress, kind = self._progress, self._native.model.kind
        origins = [each.origin for each in probes.values()]
        cameras = [each.f_px for each in origins if each.f_px and each.f_source == "estimated"]
        if cameras:
            progress.f_px, progress.f_source = float(np.median(cameras)), "estimated"
        depths = {
            number: self._native.finish(self._with_camera(each.origin), each.output)
            for number, each in probes.items()
        }
        if self._aligner:
            progress.alignment, kind = self._aligner.fit_clip(known, depths).as_dict(), "metric"
        ranges = [each.values[np.isfinite(each.values)] for each in depths.values()]
        low = min((float(each.min()) for each in ranges if each.size), default=0.0)
        high = max((float(each.max()) for each in ranges if each.size), default=1.0)
        coding = Coding.of(kind, low, high)
        if self._window and kind not in SHAPED:
            coding = Coding.from_zero(_HEADROOM * high)
        progress.coding = coding.metadata

    def add(
        self,
        result: ItemResult | None,
        grey: NDArray[np.uint8] | None = None,
        digest: str | None = None,
    ) -> bool:
        """Write the frame that comes next; return whether that was the last. result: None where there is none."""
        progress = self._progress
        has_depth = result is not None and grey is not None
        progress.held += not has_depth
        finished = self._steady_frame(result, grey) if result is not None and grey is not None else []
        if digest:
            progress.proof[str(self._numbers[progress.following])] = digest
        is_last = self._advance(finished, has_depth=has_depth)
        if progress.following % self.part_frames == 0 and not is_last and self._shown is not None:
            self._keep_part()
        return is_last

    def add_window(
        self, result: ItemResult, known: Mapping[int, Floats], *, held: int, proof: dict[str, str]
    ) -> bool:
        """Write the frames that the next window finishes; return whether the last is among them.

        result: its maps lie one below the other. known: distances in some of the first frames, where depth is aligned.
        held: frames of it that cannot be decoded. proof: digests of its last images. `carried` is what the next
        window begins with.
        """
        progress, window = self._progress, self._window
        assert window is not None and self._stitch is not None
        with self._clock.measure("steady", self._key):
            values = result.output.values
            finished = self._stitch.add(values.reshape(window.frames, -1, values.shape[1]))
        numbers = self._numbers[progress.following :][: len(finished)]
        frames = {
            number: replace(result, output=ModelOutput(each))
            for number, each in zip(numbers, finished, strict=False)
        }
        if not self.knows_coding:
            self.choose_coding(frames, known)
        if result.origin.f_px:
            progress.f_px, progress.f_source = result.origin.f_px, result.origin.f_source
        progress.held += held
        progress.in_float32 += result.in_float32 * len(frames)
        for each in frames.values():
            is_last = self._advance([each.output.values], has_depth=True)
        progress.proof = proof
        windows = (progress.following - window.fitted) // window.step
        if windows % max(1, self.part_frames // window.step) == 0 and not is_last:
            self._keep_part()
        return is_last

    def _advance(self, finished: list[NDArray[np.float32]], *, has_depth: bool) -> bool:
        """Go on by a frame, and write those that are finished now; return whether that was the last."""
        progress = self._progress
        time_s = self._index.time_s(self._numbers[progress.following])
        progress.time_ms = max(progress.time_ms + 1, round(1000 * (time_s - self._begin_s)))
        progress.waiting.append((progress.time_ms, has_depth))
        progress.following += 1
        self._write_finished(finished)
        is_last = progress.following == len(self._numbers)
        if is_last:
            self._write_rest()
        return is_last

    def finish(self, tick: Callable[[], None] = lambda: None) -> ItemDone:
        """Place the file of the clip, when all frames are there; what is wrong with it raises.

        tick: is called at each frame of a preview.
        """

        def draw() -> None:
            self.undrawn -= 1
            tick()

        progress, index, model = self._progress, self._index, self._native.model
        if self._shown is None or progress.held > _MOST_HELD * len(self._numbers):
            raise ModelError(
                f"there is no depth of {progress.held} of its {format_count(len(self._numbers), 'frame')}"
            )
        depth = DepthMap(
            np.zeros(self._shown.shape, np.float32),
            "metric" if self._alignment else model.kind,
            progress.f_px,
            progress.f_source,
            (index.height, index.width),
            model.name,
            model.weights_digest,
            self._alignment,
            projection=self._native.projection,
            scale_from=None if self._alignment else self._native.scale_from,
        )
        about, names = self._describe(depth), self._sink.output_names(self._key, is_clip=True)
        with ExitStack() as stack:
            stack.enter_context(self._clock.measure("write", self._key))
            shown = [name for name in names if name.endswith(PREVIEW)]
            with output_lost(self._target):
                files = [stack.enter_context(ScratchFile(self._sink.partial)) for _ in ("", *shown)]
            last = stack.enter_context(self._end_part())
            with disk_errors(self._target, *files), self._parts.open(self._state) as earlier:
                join_parts(chain(earlier, [last]), files[0], about)
            if shown:
                with disk_errors(self._target, *files), DepthClip(files[0]) as clip:
                    write_preview(self._place, index, self._numbers, clip, files[1], draw)
            self._record_begun(self._key, names)
            if self._options.files is None:
                outputs = self._sink.place({names[0]: FilePieces(files[0])})
            else:
                with DepthClip(files[0]) as clip:
                    outputs = place_frames(self._sink, self._key, FORMATS[self._options.files], clip)
            outputs |= self._sink.place({name: FilePieces(files[1]) for name in shown})
        facts = facts_of(depth) | {"clip": {**about["clip"], "coding": dict(progress.coding)}}
        facts |= {"f_px_used": True} if self._native.uses_focal_length and not self._aligner else {}
        return ItemDone(outputs, facts)

    @property
    def _target(self) -> AnyPath:
        """What a full disk is said to have refused."""
        return self._sink.root / self._sink.output_names(self._key, is_clip=True)[0]

    @property
    def _alignment(self) -> Alignment | None:
        said = self._progress.alignment
        return Alignment.from_dict(said) if said else None

    def _with_camera(self, origin: FrameInfo) -> FrameInfo:
        """Return what is known of a frame, with the focal length of the clip."""
        progress = self._progress
        return replace(origin, f_px=progress.f_px, f_source=progress.f_source) if progress.f_px else origin

    @property
    def _begin_s(self) -> float:
        return self._index.time_s(self._numbers[0])

    def _steady_frame(self, result: ItemResult, grey: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Pass a frame to the filter; return the depth of those that it has finished, in order."""
        progress, origin = self._progress, self._with_camera(result.origin)
        progress.f_px, progress.f_source = origin.f_px, origin.f_source
        progress.in_float32 += result.in_float32
        with self._clock.measure("steady", self._key):
            depth = self._native.finish(origin, result.output)
            if grey.shape != depth.values.shape:
                as_large = resize_depth(grey.astype(np.float32), *depth.values.shape)
                grey = as_large.astype(np.uint8)
            self._last = grey, depth.values
            return [each for _, each in self._steady.add(progress.following, grey, depth.values)]

    def _write_finished(self, finished: list[NDArray[np.float32]]) -> None:
        """Write frames as far as they are finished, and those between that show the one before."""
        waiting, following = self._progress.waiting, iter(finished)
        with self._clock.measure("encode", self._key):
            while waiting:
                time_ms, has_depth = waiting[0]
                if has_depth:
                    values = next(following, None)
                    if values is None:
                        return
                    self._shown = self._number(values)
                waiting.pop(0)
                self._write(time_ms)

    def _write_rest(self) -> None:
        """Pass the last frame again to a filter that waits for more, until it has finished all."""
        for number in range(len(self._numbers), len(self._numbers) + _LONGEST_WINDOW):
            if not self._progress.waiting:
                return
            if self._last is not None:
                self._write_finished([each for _, each in self._steady.add(number, *self._last)])

    def _number(self, values: NDArray[np.float32]) -> NDArray[np.uint16]:
        """Return the numbers that stand for the steadied depth of a frame."""
        progress, beyond = self._progress, 0
        if self._options.size == "full":
            values = resize_depth(values, self._index.height, self._index.width)
        if aligned := self._alignment:
            values = to_metres(aligned, values)
            beyond = int(np.isnan(values).sum())
        numbers, clipped = Coding(progress.coding).encode(values)
        progress.clipped += clipped + beyond
        progress.low, progress.high = (
            min(progress.low, int(numbers.min(where=numbers > 0, initial=progress.low))),
            max(progress.high, int(numbers.max())),
        )
        return numbers

    def _write(self, time_ms: int) -> None:
        """Encode the numbers that are shown now."""
        if self._shown is None:
            self._late.append(time_ms)
            return
        if self._part is None:
            with output_lost(self._target):
                file = ScratchFile(self._sink.partial)
            self._part = file, DepthClipWriter(file, *self._shown.shape)
        file, writer = self._part
        with disk_errors(self._target, file):
            for each in self._late:
                writer.add(np.zeros_like(self._shown), each)
            self._late = []
            writer.add(self._shown, time_ms)

    def _keep_part(self) -> None:
        assert self._shown is not None
        self._state.facts = asdict(self._progress)
        arrays: dict[str, NDArray[Any]] = {**self._steady.state(), "shown": self._shown}
        if self._stitch:
            arrays |= {**self._stitch.state(), "carried": self.carried}
        self._state.arrays = arrays
        with self._clock.measure("write", self._key), self._end_part() as file:
            self._parts.keep(self._state, FilePieces(file))
        self._progress.proof = {}

    def _end_part(self) -> ScratchFile:
        """Return the part that was being written; the next frame begins another."""
        assert self._part is not None
        (file, writer), self._part = self._part, None
        with disk_errors(self._target, file):
            writer.finish()
            file.seek(0)
        return file

    def _describe(self, depth: DepthMap) -> dict[str, Any]:
        index, progress, options = self._index, self._progress, self._options
        clip = {
            "frames": len(self._numbers),
            "rate": round(float(index.rate / options.every), 6),
            "seconds": round(
                index.time_s(self._numbers[-1]) - self._begin_s + options.every / float(index.rate), 6
            ),
            "held": progress.held,
            "clipped": progress.clipped,
            "cuts": self._steady.cuts,
            "range": [progress.low, progress.high],
            "steady": options.steady,
        }
        clip |= {"first": self._numbers[0], "begin_s": self._begin_s} if self._numbers[0] else {}
        clip |= {"every": options.every} if options.every > 1 else {}
        clip |= {"interlaced": True} if index.interlaced else {}
        clip |= {"hdr": index.hdr} if index.hdr else {}
        clip |= {"in_float32": progress.in_float32} if progress.in_float32 else {}
        return describe_clip(depth, Coding(progress.coding), clip)
