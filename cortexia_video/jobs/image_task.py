"""`ImageTask`: what the pipeline's workers do with one image, on one machine as on many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

from cortexia_video.depth_estimation import DepthEstimator, PreparedFrame
from cortexia_video.errors import Failure
from cortexia_video.geometry.intrinsics import Intrinsics
from cortexia_video.images.decode import decode, read_header
from cortexia_video.images.read import read_image_bytes
from cortexia_video.inference.batch_size import is_out_of_memory
from cortexia_video.inference.executor import ItemResult
from cortexia_video.jobs.outcomes import facts_of
from cortexia_video.ledger.entries import ItemDone
from cortexia_video.runtime.buffers import BufferPool
from cortexia_video.runtime.input_boundary import attempt
from cortexia_video.runtime.memory_budget import MemoryBudget
from cortexia_video.runtime.stage_clock import StageClock
from cortexia_video.sinks.sink import Sink
from cortexia_video.sources.find import InputFile

Made = TypeVar("Made")
Decoding = Literal["exact", "fast"]

MEMORY = 1 << 30  # bytes of images and depth maps in work at once, over all workers, at least
_MEMORY_EACH = 192 << 20  # bytes for two workers: one decodes 12 megapixels, one writes as many
_DECODE_BYTES = 10  # a pixel, at the worst moment of decoding and resizing
_KEPT = 1 << 24  # bytes of a file that may wait in memory; a larger one is read twice, once for its header
_WRITE_BYTES = 8  # a pixel, at the worst moment of enlarging and encoding


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """How images are worked on. workers: threads that decode, and as many that write."""

    workers: int
    decode: Decoding
    given: Intrinsics
    max_megapixels: float


RecordBegun = Callable[[str, Sequence[str]], None]  # takes a key and the names that are about to be placed


class ImageTask:
    """What a `PipelineExecutor` calls: `prepare` on a decode worker, `finish` on a write worker."""

    def __init__(
        self,
        estimator: DepthEstimator,
        sink: Sink,
        record_begun: RecordBegun,
        options: TaskOptions,
        clock: StageClock,
    ) -> None:
        self._estimator = estimator
        self._sink, self._record_begun = sink, record_begun
        self._options = options
        self._clock = clock
        self._budget = MemoryBudget(max(MEMORY, options.workers * _MEMORY_EACH))
        self._pixels, self._depth = BufferPool(), BufferPool()

    def prepare(self, item: InputFile) -> PreparedFrame | Failure:
        """On a decode worker: read, decode and preprocess one image."""
        return attempt(item.key, "decode", lambda: self._prepare(item))

    def _prepare(self, item: InputFile) -> PreparedFrame | Failure:
        size = item.source.size
        data = self._read(item) if size <= _KEPT else b""  # a larger one waits on the disk
        size = max(size, len(data))  # of a row in a shard nobody knows it before
        with self._budget.hold(size):
            data_now = data or self._read(item)
            with self._clock.measure("header", item.key):
                header = read_header(data_now)
            del data_now
        needed = size + header.height * header.width * _DECODE_BYTES
        return self._with_memory(needed, lambda: self._decode(item, data))

    def _with_memory(self, count: int, work: Callable[[], Failure | Made]) -> Failure | Made:
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

    def _read(self, item: InputFile) -> bytes:
        with self._clock.measure("read", item.key):
            return read_image_bytes(item.place)

    def _decode(self, item: InputFile, data: bytes) -> PreparedFrame | Failure:
        data = data or self._read(item)
        estimator, limit = self._estimator, self._options.max_megapixels
        enough = estimator.enough if self._options.decode == "fast" else None
        with self._clock.measure("decode", item.key):
            frame = decode(data, item.key, max_megapixels=limit, enough=enough, scratch=self._pixels)
        with self._clock.measure("preprocess", item.key):
            return estimator.prepare(self._options.given.apply(frame))

    def finish(self, item: InputFile, result: ItemResult) -> ItemDone | Failure:
        """On a write worker: enlarge, encode and place one depth map."""
        pixels = result.origin.height * result.origin.width if self._estimator.size == "full" else 0
        needed = pixels * _WRITE_BYTES + result.values.nbytes
        place = partial(self._place, item, result)
        return attempt(item.key, "write", lambda: self._with_memory(needed, place))

    def _place(self, item: InputFile, result: ItemResult) -> ItemDone:
        with self._clock.measure("resize", item.key):
            depth = self._estimator.finish(result.origin, result.values, self._depth)
        with self._clock.measure("encode", item.key):
            self._sink.formats[0].require_kept(depth)
            files = self._sink.encode(item.key, depth)
        with self._clock.measure("write", item.key):
            self._record_begun(item.key, list(files))
            outputs = self._sink.place(files)
        facts = facts_of(depth)
        facts |= {"f_px_used": True} if self._estimator.uses_focal_length else {}
        facts |= {"in_float32": True} if result.in_float32 else {}
        return ItemDone(outputs, facts)
