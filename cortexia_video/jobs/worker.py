"""`Worker`: takes images to their depth in one process, of this machine or of a cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Literal, TypeVar

from cortexia_video.depth_estimation import DepthEstimator, PreparedFrame
from cortexia_video.errors import Failure, as_failure, attempt
from cortexia_video.frame import Frame
from cortexia_video.geometry.intrinsics import NO_INTRINSICS, Intrinsics
from cortexia_video.images.decode import decode, read_header, read_image_bytes
from cortexia_video.inference.batches import is_out_of_memory
from cortexia_video.inference.executor import ItemResult, PipelineExecutor, Skipped
from cortexia_video.jobs.aligner import Aligner
from cortexia_video.jobs.clip_output import RecordBegun as RecordBegun
from cortexia_video.jobs.clip_output import VideoOptions
from cortexia_video.jobs.clip_task import ClipTask, ClipTools, FrameItem
from cortexia_video.jobs.clip_task import NoteFrames as NoteFrames
from cortexia_video.jobs.outcomes import facts_of
from cortexia_video.jobs.window_task import WindowTask
from cortexia_video.ledger.entries import ItemDone
from cortexia_video.runtime.resources import Mark, Resources, Usage
from cortexia_video.runtime.trace import Trace
from cortexia_video.sinks.sink import Sink
from cortexia_video.sources.find import Found, InputFile
from cortexia_video.storage.paths import to_path
from cortexia_video.video.frames import read_frame
from cortexia_video.video.image_sequence import name_frames, read_any_index

if TYPE_CHECKING:  # readers that other runs do not need
    from cortexia_video.sparse_depth.depth_folder import DepthFolder

Decoding = Literal["exact", "fast"]
_Result = TypeVar("_Result")

_USUAL = VideoOptions()
MEMORY = 1 << 30  # bytes of images and depth maps in work at once, over all workers, at least
_MEMORY_EACH = 192 << 20  # bytes for two workers: one decodes 12 megapixels, one writes as many
_DECODE_BYTES = 10  # a pixel, at the worst moment of decoding and resizing
_KEPT = 1 << 24  # bytes of a file that may wait in memory; a larger one is read twice, once for its header
_WRITE_BYTES = 8  # a pixel, at the worst moment of enlarging and encoding
_MAP_BYTES = {"normals": 44, "mask": 2, "confidence": 8, "points": 24}  # the same, of maps beside depth
_ON_CALLING_THREAD = ("batch", "check", "pack")  # stages that take time of the thread that calls `run`


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """How images are worked on. workers: threads that decode, and as many that write. aligner: makes metres.

    also: maps that are written beside depth. sparse: what a sensor measured, for models that complete it.
    """

    workers: int
    decode: Decoding
    given: Intrinsics
    max_megapixels: float
    video: VideoOptions = _USUAL
    aligner: Aligner | None = None
    also: tuple[str, ...] = ()
    sparse: DepthFolder | None = None

    def add_known(self, frame: Frame, names: Sequence[str] = ()) -> Frame:
        """Return a frame with its focal length and sparse depth, where these are given; raises `InputError`.

        names: by which sparse depth of it may go, by default its key.
        """
        frame = self.given.apply(frame) if self.given.settings else frame
        return self.sparse.add_to(frame, names or [frame.key]) if self.sparse else frame

    def read_frame(self, clip: InputFile) -> Frame:
        """Return the first frame of a clip that is taken and, where sparse depth is given, that has some."""
        place = to_path(clip.place)
        index = read_any_index(place, max_megapixels=self.max_megapixels)
        name, numbers = name_frames(place, index, clip.key), self.video.choose(index.frames)
        known = (number for number in numbers if self.sparse is None or self.sparse.knows(name(number)))
        number = next(known, 0)
        image, f_px = read_frame(place, number, index), index.f_px
        return self.add_known(Frame(clip.key, image, f_px, "exif" if f_px else None), name(number))

    def find_beside(self, item: InputFile) -> str:
        """Return the digest of what else than its file the depth of an input is made of, "" for nothing."""
        return self.sparse.digest(item.key, is_clip=item.is_clip) if self.sparse else ""

    @property
    def known_settings(self) -> Mapping[str, object]:
        """What a run's settings say of that."""
        return {**self.given.settings, **(self.sparse.settings_of_each if self.sparse else {})}


USUAL_TASK = TaskOptions(1, "exact", NO_INTRINSICS, 200.0)


class Worker:
    """Takes inputs to their outcomes, and tells what it used. Threads may share it.

    sink: open. record_begun: called before files are placed; all else is recorded by who has the ledger.
    note_frames: called with how many frames of a clip are done, of how many, and how many a preview still lacks.
    """

    def __init__(
        self,
        options: TaskOptions,
        estimators: Sequence[DepthEstimator],
        sink: Sink,
        record_begun: RecordBegun,
        trace: Trace | None,
        *,
        note_frames: NoteFrames = lambda key, frames, total, undrawn: None,
    ) -> None:
        self._options = options
        self._estimators, self._estimator = estimators, estimators[0]
        self._sink, self._record_begun = sink, record_begun
        memory = max(MEMORY, options.workers * _MEMORY_EACH)
        self._resources = Resources(
            memory, trace
        )  # buffers: of pixels where is decoded, of depth where is written
        self._clock, self._budget = self._resources.clock, self._resources.budget
        self._clip_tools = ClipTools(
            options.video,
            self._estimator,
            sink,
            options.given,
            options.sparse,
            {**options.given.settings, **(options.sparse.settings if options.sparse else {})},
            options.aligner,
            options.max_megapixels,
            self._budget,
            self._clock,
            record_begun,
            note_frames,
        )

    def run(
        self, items: Iterable[InputFile], stop: threading.Event
    ) -> Generator[tuple[InputFile, ItemDone | Failure], None, None]:
        """Yield inputs with their outcomes, each when its files are in place; after `stop`, those under way.

        Nothing that is wrong with one input raises; `OutputLostError` where the output is full or unwritable.
        """

        def work(some: Iterable[InputFile]) -> Iterator[tuple[InputFile, ItemDone | Failure]]:
            pipeline: PipelineExecutor[InputFile | FrameItem, ItemDone | Failure | None] = PipelineExecutor(
                self._estimators,
                prepare=self.prepare,
                finish=self.finish,
                workers=self._options.workers,
                stop=stop,
                clock=self._clock,
            )
            clips: list[ClipTask] = []

            def take_apart(item: InputFile) -> Iterable[InputFile | FrameItem]:
                if not item.is_clip:
                    return (item,)
                window = getattr(self._estimator.model, "window", None)
                clips.append(
                    WindowTask(item, self._clip_tools, window) if window else ClipTask(item, self._clip_tools)
                )
                return clips[-1].frames()

            outcomes = pipeline.run(chain.from_iterable(map(take_apart, some)))
            try:
                for item, outcome in outcomes:
                    if isinstance(item, InputFile):
                        assert outcome is not None
                        yield item, outcome
                        continue
                    if isinstance(outcome, Failure):  # of the model
                        item.clip.fail(item, outcome)
                    if ended := item.clip.pop_outcome():
                        yield item.clip.item, ended
                        item.clip.clean()
                        clips.remove(item.clip)  # with its arrays and files
            finally:
                for each in clips:
                    each.end()

        def count_calling_thread() -> float:
            return sum(self._clock.core_seconds.get(name, 0.0) for name in _ON_CALLING_THREAD)

        started, counted = time.thread_time(), count_calling_thread()
        yield from self._sink.gather(items, work, self._clock)
        others = count_calling_thread() - counted
        self._clock.add("find", 0.0, max(0.0, time.thread_time() - started - others))

    def usage(self) -> Usage:
        """Return what this process used since it has the worker."""
        return self._resources.usage(
            device=self._estimator.model.device,
            devices=len(self._estimators),
            threads=self._options.workers,
            batch_sizes=self._estimator.limits.found,
        )

    def prepare(
        self, item: InputFile | FrameItem
    ) -> PreparedFrame | Failure | Skipped[ItemDone | Failure | None]:
        """On a decode worker: read, decode and preprocess one image, or one frame of a clip."""
        if isinstance(item, FrameItem):
            return item.clip.prepare(item)
        marks: list[Mark] = []

        def make_ready(kept: bytes) -> PreparedFrame | Failure:
            try:
                marks.append(_begin("decode"))
                frame = decode(
                    kept or read_image_bytes(item.place),
                    item.key,
                    max_megapixels=self._options.max_megapixels,
                    enough=self._estimator.enough if self._options.decode == "fast" else None,
                    scratch=self._resources.buffers,
                )
                marks.append(_begin("preprocess"))
                return self._estimator.prepare(self._options.add_known(frame))
            finally:
                marks.append(_begin(""))

        try:
            is_large = item.source.size > _KEPT  # it waits on the disk
            with self._budget.hold(item.source.size) if is_large else nullcontext():
                marks.append(_begin("read"))
                data = read_image_bytes(item.place)
                marks.append(_begin(""))
                header = read_header(data)
                size = len(data)  # of a row in an archive nobody knows it before
                kept = b"" if is_large else data
                del data
            needed = size + header.height * header.width * _DECODE_BYTES
            needed += self._options.sparse.count_bytes(item.key) if self._options.sparse else 0
            return self._with_memory(needed, lambda: make_ready(kept))
        except Exception as error:  # noqa: BLE001 - the boundary
            return as_failure(item.key, "decode", error)
        finally:
            self._clock.add_up(marks, item.key)

    def finish(self, item: InputFile | FrameItem, result: ItemResult) -> ItemDone | Failure | None:
        """On a write worker: enlarge, encode and place one depth map; of a clip one outcome for all frames."""
        if isinstance(item, FrameItem):
            item.clip.finish(item, result)
            return None
        marks: list[Mark] = []
        aligner, estimator, form = self._options.aligner, self._estimator, self._sink.formats[0]

        def place() -> ItemDone:
            try:
                marks.append(_begin("resize"))
                depth = estimator.finish(result.origin, result.output, self._resources.buffers)
                if aligner:
                    marks.append(_begin("align"))
                    depth = aligner.align(item.key, depth)
                if form.lost:
                    form.require_kept(depth)
                marks.append(_begin("encode"))
                files = self._sink.encode(item.key, depth)
                marks.append(_begin("write"))
                if names := self._sink.output_names(item.key):
                    self._record_begun(item.key, names)
                outputs = self._sink.place(files)
            finally:
                marks.append(_begin(""))
            facts = facts_of(depth)
            uses = depth.f_px is not None and not aligner and estimator.uses_focal_length
            facts |= {"f_px_used": True} if uses else {}
            facts |= {"in_float32": True} if result.in_float32 else {}
            return ItemDone(outputs, facts)

        pixels = result.origin.height * result.origin.width if estimator.size == "full" else 0
        each = _WRITE_BYTES + sum(_MAP_BYTES[name] for name in self._options.also)
        each += 4 * bool(aligner) + 8 * bool(result.output.maps)
        try:
            return self._with_memory(pixels * each + result.nbytes, place)
        except Exception as error:  # noqa: BLE001 - the boundary
            return as_failure(item.key, "write", error)
        finally:
            self._clock.add_up(marks, item.key)

    def _with_memory(self, count: int, work: Callable[[], Failure | _Result]) -> Failure | _Result:
        """Do work while its arrays fit; once more, alone, where memory was too small beside others."""
        try:
            with self._budget.hold(count):
                made = work()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        else:
            if not (isinstance(made, Failure) and is_out_of_memory(made.error)):
                return made
        with self._budget.hold(self._budget.total):
            return work()


def _begin(stage: str) -> Mark:
    """Mark that a stage begins on this thread; "" that it waits, or does what is no stage."""
    return stage, time.perf_counter(), time.thread_time()


def decode_readable(
    images: Iterable[Found],
    task: TaskOptions = USUAL_TASK,
    *,
    on_failure: Callable[[Failure], None] = lambda failure: None,
) -> Iterator[Frame]:
    """Yield frames to compare backends on: of what can be decoded, in its order; of a clip one.

    task: as it is worked on. on_failure: called for each of the others.
    """

    def read(image: InputFile) -> Frame:
        if image.is_clip:
            return task.read_frame(image)
        data = read_image_bytes(image.place)
        return task.add_known(decode(data, image.key, max_megapixels=task.max_megapixels))

    for each in images:
        frame = each if isinstance(each, Failure) else attempt(each.key, "decode", partial(read, each))
        if isinstance(frame, Failure):
            on_failure(frame)
        else:
            yield frame
