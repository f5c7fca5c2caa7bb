"""`ClipTask`: one clip on its way through the pipeline, whose items are its frames.

    frames, in order -> prepare -> batches, model -> finish -> in order again -> `ClipOutput`

Frames go through the same batches as images. Whoever brings the frame that comes next also writes what waits
behind it; the others do not wait for that, unless too many frames do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_estimation import DepthEstimator, PreparedFrame
from cortexia_video.errors import DecodeError, Failure, InputError, attempt, format_count
from cortexia_video.frame import Frame
from cortexia_video.geometry.alignment import Floats
from cortexia_video.geometry.intrinsics import Intrinsics
from cortexia_video.inference.executor import ItemResult, Skipped
from cortexia_video.jobs.aligner import Aligner
from cortexia_video.jobs.clip_output import PROVEN, ClipOutput, RecordBegun, VideoOptions
from cortexia_video.jobs.clip_parts import ClipParts
from cortexia_video.ledger.entries import ItemDone
from cortexia_video.runtime.progress import begin_stage
from cortexia_video.runtime.resources import MemoryBudget, StageClock
from cortexia_video.sinks.sink import Sink
from cortexia_video.sources.find import InputFile
from cortexia_video.storage.paths import to_path
from cortexia_video.video.clip_index import ClipIndex, choose_probes
from cortexia_video.video.frames import digest_of, read_frames, read_some
from cortexia_video.video.image_sequence import name_frames, read_any_index
from cortexia_video.video.steady import to_grey

if TYPE_CHECKING:  # readers that other runs do not need
    from cortexia_video.sparse_depth.depth_folder import DepthFolder

NoteFrames = Callable[[str, int, int, int], None]
_WAITING, _WAITING_BYTES = 12, 1 << 23  # frames, and bytes of depth, that may wait for what comes next
DECODE_BYTES = 10  # a pixel, at the worst moment of decoding and preprocessing


@dataclass(slots=True, eq=False)
class FrameItem:
    """A frame in the pipeline. Which one it is, is known once it is prepared.

    position: among the frames that are taken; None of one that only says the range of the depth, for now.
    number: in the clip.
    """

    clip: ClipTask
    ticket: int
    position: int | None = None
    number: int = -1
    grey: NDArray[np.uint8] | None = None
    digest: str | None = None


class _Read(NamedTuple):
    """A frame as it was read. image: None where it cannot be decoded."""

    position: int | None
    number: int
    image: NDArray[np.uint8] | None


@dataclass(frozen=True, slots=True)
class ClipTools:
    """What all clips of a worker share."""

    options: VideoOptions
    estimator: DepthEstimator
    sink: Sink
    given: Intrinsics
    sparse: DepthFolder | None
    known_settings: Mapping[str, object]
    aligner: Aligner | None
    max_megapixels: float
    budget: MemoryBudget
    clock: StageClock
    record_begun: RecordBegun
    note_frames: (
        NoteFrames  # of a clip: frames that are done, of so many, and those still to be drawn in a preview
    )


class ClipTask:
    """Takes one clip to its outcome; who calls what on which thread, says `PipelineExecutor`."""

    def __init__(self, item: InputFile, tools: ClipTools) -> None:
        self.item = item
        self._tools = tools
        made_of = {
            **tools.estimator.identity,
            **tools.options.settings,
            **tools.known_settings,
            "source": item.source,
        }
        if getattr(tools.estimator.model, "takes_averaged", False):
            made_of["averaged"] = True  # while it is read: a clip that was begun otherwise begins anew
        if tools.aligner:
            made_of |= {"aligned_by": tools.aligner.by, **tools.aligner.settings}
        self._parts = ClipParts(tools.sink, item.key, made_of)
        self._stage = begin_stage(item.key, "frames")
        self._ended = False  # no frame is to be read any more
        self._closed = False  # none is to be written, either
        self._turn = threading.Condition()
        self._ticket = 0  # whose turn it is to read
        self._reader: Generator[_Read, None, None] | None = None
        self._order = threading.Condition()
        self._waiting: dict[int, tuple[FrameItem, ItemResult | None]] = {}
        self._writes = False
        self._missing_probes = 0
        self._probes: dict[int, tuple[str, ItemResult]] = {}  # of some frames: the image's digest, its depth
        self._results: dict[int, ItemResult] = {}  # the same, until they are looked at
        self._known: Mapping[int, Floats] = {}  # distances in them, where depth is aligned
        self._outcome: ItemDone | Failure | None = None

    def frames(self) -> Iterator[FrameItem]:
        """Yield an item for each frame, and a few more: how many there are is known when all are read."""
        ticket = 0
        while not self._ended:
            yield FrameItem(self, ticket)
            ticket += 1

    def pop_outcome(self) -> ItemDone | Failure | None:
        """Return the outcome of the clip, once."""
        outcome, self._outcome = self._outcome, None
        return outcome

    def clean(self) -> None:
        """Remove the parts, when the ledger has the outcome."""
        self._parts.remove()

    def end(self) -> None:
        """Let nobody wait for a frame any more."""
        with self._turn, self._order:
            self._ended = self._closed = True
            self._waiting.clear()
            self._stage.end()
            self._turn.notify_all()
            self._order.notify_all()

    # ---- decode workers ------------------------------------------------------------------------------------

    def prepare(self, item: FrameItem) -> PreparedFrame | Skipped[ItemDone | Failure | None]:
        """Read the frame whose turn it is, and make it ready for the network."""
        with self._turn:
            self._turn.wait_for(lambda: self._ended or self._ticket == item.ticket)
        if self._ended:
            return Skipped(None)
        prepared = attempt(self.item.key, "decode", lambda: self._read_and_prepare(item))
        if isinstance(prepared, Failure):
            self._settle(prepared)
        return prepared if isinstance(prepared, PreparedFrame) else Skipped(None)

    def _read_and_prepare(self, item: FrameItem) -> PreparedFrame | None:
        tools = self._tools
        if self._reader is None:
            self._reader = self._open()
        height, width = self._index.stored
        prepared: PreparedFrame | Failure | None = None
        with tools.budget.hold(height * width * DECODE_BYTES):
            with tools.clock.measure("decode", self.item.key):
                read = next(self._reader, None)
            with self._turn:
                self._ended = self._ended or read is None
                self._ticket += 1
                self._turn.notify_all()
            if read is None:
                return None
            item.position, item.number = read.position, read.number
            if read.image is not None:
                with tools.clock.measure("preprocess", self.item.key):
                    prepared = self._preprocess(item, read.number, read.image)
        known = self._find_known(item, read.image)
        if known is None and isinstance(prepared, PreparedFrame):
            return prepared
        self.finish(item, known)
        return None

    def _find_known(self, item: FrameItem, image: NDArray[np.uint8] | None) -> ItemResult | None:
        """Return the depth of a frame that was looked at before, if this is the same image."""
        if item.position is None or item.number not in self._probes:
            return None
        digest, known = self._probes.pop(item.number)
        return known if image is not None and digest_of(image) == digest else None

    def _preprocess(self, item: FrameItem, number: int, image: NDArray[np.uint8]) -> PreparedFrame | Failure:
        prepared = self._prepare_image(number, image)
        if isinstance(prepared, PreparedFrame):
            if item.position is None or -(item.position + 1) % self._output.part_frames < PROVEN:
                item.digest = digest_of(image)
            if item.position is not None:
                height, width = self._tools.estimator.model.processed_size(
                    self._index.height, self._index.width
                )
                item.grey = to_grey(image, height, width)
        return prepared

    def _prepare_image(self, number: int, image: NDArray[np.uint8]) -> PreparedFrame | Failure:
        """Preprocess a frame of the clip, with what is known of it."""
        given, sparse = self._tools.given, self._tools.sparse
        f_px = self._index.f_px
        whole = self._index.height, self._index.width
        frame = Frame(
            self.item.key,
            image,
            f_px,
            "exif" if f_px else None,
            timestamp_s=self._index.time_s(number),
            full_size=whole if image.shape[:2] != whole else None,
        )
        frame = given.apply(frame) if given.settings else frame
        if sparse:
            known = attempt(self.item.key, "decode", lambda: sparse.add_to(frame, self._name(number)))
            if isinstance(known, Failure):
                return known
            frame = known
        return self._tools.estimator.prepare(frame)

    def _open(self) -> Generator[_Read, None, None]:
        """Read the clip's index, and what is done of it; return a reader of what is not."""
        tools, place = self._tools, to_path(self.item.place)
        with tools.clock.measure("read", self.item.key):
            limit = tools.max_megapixels
            self._index = index = read_any_index(place, fps=tools.options.fps, max_megapixels=limit)
            self._name = name_frames(place, index, self.item.key)
            numbers = tools.options.choose(index.frames)
            if not numbers:
                raise DecodeError(
                    f"it has {format_count(index.frames, 'frame')}, and `frames` takes none of them"
                )
            if tools.sparse and not any(tools.sparse.knows(self._name(number)) for number in numbers):
                raise InputError(
                    f"no file of sparse depth is of a frame of it: they are called {self._name(0)[-1]}, "
                    f"{self._name(1)[-1]} ... and their ending"
                )
            self._output = ClipOutput(
                self.item.key,
                place,
                numbers,
                index,
                tools.options,
                tools.estimator,
                sink=tools.sink,
                parts=self._parts,
                aligner=tools.aligner,
                clock=tools.clock,
                record_begun=tools.record_begun,
            )
        probes = [] if self._output.knows_coding else self._choose_probes(numbers)
        self._missing_probes = len(probes)
        return self._read(place, numbers, probes)

    def _choose_probes(self, numbers: range) -> list[int]:
        """Return the frames that are looked at first; find what is known of them, where depth is aligned."""
        index, probes = self._index, list[int]()
        if self._needs_probes(index):
            probes = choose_probes(index, numbers)
        if aligner := self._tools.aligner:
            some = [*choose_probes(index, numbers), *numbers]
            self._known = aligner.find_clip(self._name, some, index.width, index.height)
            probes = sorted({*probes, *self._known})
        return probes

    def _needs_probes(self, index: ClipIndex) -> bool:
        """Return whether some frames are to say what is one for all: the range, or the focal length."""
        estimator, given = self._tools.estimator, self._tools.given
        if estimator.model.kind not in ("metric", "scale_invariant"):
            return True
        known = given.find(self.item.key, index.width, index.height) if given.settings else None
        return estimator.uses_focal_length and known is None and index.f_px is None

    def _read(self, place: Any, numbers: range, probes: list[int]) -> Generator[_Read, None, None]:
        model, index = self._tools.estimator.model, self._index
        enough = (
            model.processed_size(index.height, index.width)
            if getattr(model, "takes_averaged", False)
            else None
        )
        for number, image in read_some(place, index, probes, enough) if probes else ():
            yield _Read(None, number, image)
        begin = self._output.unread
        self._stage.total = len(numbers) + self._output.undrawn
        self._stage.skip(self._output.following)
        frames = read_frames(place, index, numbers[begin:], proof=self._output.proof, enough=enough)
        for position, (number, image) in enumerate(frames, begin):
            yield _Read(position, number, image)

    # ---- write workers, and whoever learns that a frame has no depth ---------------------------------------

    def fail(self, item: FrameItem, failure: Failure) -> None:
        """Record that the network failed: the frame shows the one before."""
        self.finish(item, None)

    def finish(self, item: FrameItem, result: ItemResult | None) -> None:
        """Accept the network's output of a frame, or that there is none."""
        with self._order:
            if item.position is None:
                if result and item.digest:
                    self._probes[item.number] = item.digest, result
                    self._results[item.number] = result
                self._missing_probes -= 1
            else:
                self._order.wait_for(lambda: self._closed or not (self._writes and self._is_full))
                self._waiting[item.position] = item, result
            if self._writes or self._missing_probes or self._closed:
                return
            self._writes = True
        try:
            settled = attempt(self.item.key, "write", self._write_waiting)
        except BaseException:
            self.end()
            raise
        if settled is not None:
            self._settle(settled)

    @property
    def _is_full(self) -> bool:
        depths = [result for _, result in self._waiting.values() if result]
        return len(self._waiting) >= _WAITING or sum(each.nbytes for each in depths) >= _WAITING_BYTES

    def _write_waiting(self) -> ItemDone | None:
        """Write what comes next while it is there; return the outcome after the last frame."""
        while True:
            with self._order:
                item, result = self._waiting.pop(self._output.following, (None, None))
                self._writes = item is not None
                self._order.notify_all()
            if item is None:
                return None
            begin = self._output.following
            is_last = self._write(item, result)
            self._note(self._output.following - begin)
            if is_last:
                return self._output.finish(self._note)

    def _write(self, item: FrameItem, result: ItemResult | None) -> bool:
        """Write the depth of an item; return whether it was the last."""
        if not self._output.knows_coding:
            self._output.choose_coding(self._results, self._known)
            self._results = {}
        return self._output.add(result, item.grey, item.digest)

    def _note(self, advance: int = 1) -> None:
        """Say how far the clip is, and its preview."""
        output = self._output
        self._stage.advance(advance)
        self._tools.note_frames(self.item.key, output.following, output.total, output.undrawn)

    def _settle(self, outcome: ItemDone | Failure) -> None:
        """Keep the first outcome: a clip can fail where it is read and where it is written, at once."""
        with self._order:
            if not self._closed:
                self._outcome = outcome
                self._closed = True
        self.end()
