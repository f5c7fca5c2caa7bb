"""The job: every picture of the inputs gets depth in the output folder, or an entry that says why not.

Worker threads decode, resize, encode and write; the calling thread runs the model. What waits between them is
bounded in number, and the big arrays of the workers in bytes, so memory does not grow with the folder.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from cortexia_video.batching import Batcher
from cortexia_video.byte_budget import ByteBudget
from cortexia_video.decode import IMAGE_SUFFIXES, decode, read_header
from cortexia_video.depth_estimation import DepthEstimator, Prepared, load_estimator
from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import (
    DecodeError,
    Failure,
    InputError,
    OutputExistsError,
    OutputLostError,
)
from cortexia_video.formats.table import is_own_output
from cortexia_video.ledger import Ledger
from cortexia_video.sinks.folder import FolderSink
from cortexia_video.sources.files import Found, PictureFile, find_pictures, read_picture

MEMORY = 1 << 30  # bytes of pictures and depth maps in work at once, over all workers
_DECODE_BYTES = 10  # a pixel, at the worst moment of decoding and resizing
_KEPT = 1 << 24  # bytes of a file that may wait in memory; a larger one is read twice, once for its header
_WRITE_BYTES = 6  # a pixel, at the worst moment of enlarging and encoding
_FAILURES_KEPT = 1000  # in the report; the ledger has them all


@dataclass(slots=True)
class Report:
    """What became of a run's inputs: found == done + skipped + failed, unless it was interrupted."""

    found: int = 0
    done: int = 0
    skipped: int = 0
    failed: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    failures: list[Failure] = field(default_factory=list)

    def __str__(self) -> str:
        counts = f"{self.found} found: {self.done} done, {self.skipped} skipped, {self.failed} failed"
        return f"{counts}; {self.seconds:.1f} s, {self.images_per_second:.2f} images/s"

    @property
    def images_per_second(self) -> float:
        return self.done / self.seconds if self.seconds else 0.0


Listener = Callable[[Report, Failure | None], None]


def estimate(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    model: str | DepthEstimator = "compact",
    recursive: bool = False,
    format: str = "npy",
    preview: bool = False,
    batch_size: int = 4,
    device: str = "auto",
    workers: int | None = None,
    overwrite: bool = False,
    max_megapixels: float = 200.0,
    on_outcome: Listener | None = None,
    stop: threading.Event | None = None,
    **model_options: object,
) -> Report:
    """Estimate depth for every picture of `inputs` into the folder `output`; do what is missing or changed.

    inputs: picture files, folders and lists, as `sources.files.find_pictures` takes them.
    model: a name, or an estimator already loaded. format: `npy` (float32) or `png` (8-bit view).
    preview: also a coloured JPEG. workers: threads beside the model's; one more than cores by default.
    overwrite: redo what is done, and replace files that no ledger knows.
    on_outcome: called after each input with the report so far and its failure, if it failed.
    stop: set it to end early; what is being written is finished.

    Raises `InputError`, `ModelError` or `OutputError` before anything is written, `OutputLostError` when the
    output can take no more (its `report` says what was done); a later call goes on from there.
    """
    inputs = [inputs] if isinstance(inputs, str | os.PathLike) else inputs
    workers = (os.cpu_count() or 1) + 1 if workers is None else workers  # one waits for the disk
    _require_positive(batch_size=batch_size, workers=workers, max_megapixels=max_megapixels)
    root = Path(output)
    found = _require_some(find_pictures(inputs, recursive=recursive, output=root), inputs, recursive)
    if isinstance(model, str):
        model = load_estimator(model, device=device, batch_size=batch_size, **model_options)
    elif model_options:
        raise InputError(f"a loaded model takes no options here: {', '.join(sorted(model_options))}")
    options = _Options(workers, overwrite, max_megapixels, on_outcome or _ignore, stop or threading.Event())
    sink = FolderSink(root, format=format, preview=preview)
    with Ledger(root, _describe(model, format, preview)) as ledger, sink:
        return _Job(model, sink, ledger, options).run(found)


@dataclass(frozen=True, slots=True)
class _Options:
    """How a run goes about it; nothing that changes its results."""

    workers: int
    overwrite: bool
    max_megapixels: float
    on_outcome: Listener
    stop: threading.Event


class _Job:
    """One run: the queues and counts that `estimate` needs while it lasts."""

    def __init__(
        self, estimator: DepthEstimator, sink: FolderSink, ledger: Ledger, options: _Options
    ) -> None:
        self.estimator = estimator
        self.sink = sink
        self.ledger = ledger
        self.options = options
        self.report = Report()
        self._in_flight = estimator.batch_size + 2 * options.workers
        self._budget = ByteBudget(MEMORY)
        self._batcher: Batcher[tuple[PictureFile, Prepared]] = Batcher(estimator.batch_size, estimator.window)
        self._writing: deque[tuple[PictureFile, Future[Failure | None]]] = deque()

    def run(self, found: Iterable[Found]) -> Report:
        """Take every input to its outcome; the ledger then ends with the counts."""
        started = time.monotonic()
        with ThreadPoolExecutor(self.options.workers, thread_name_prefix="cortexia") as pool:
            try:
                self._run(pool, found)
            except OutputLostError as error:
                error.report = self.report
                raise
            finally:
                pool.shutdown(cancel_futures=True)
                self.report.seconds = time.monotonic() - started
        self.report.interrupted = self.options.stop.is_set()
        counts = {name: getattr(self.report, name) for name in ("found", "done", "skipped", "failed")}
        self.ledger.record_end(
            **counts, interrupted=self.report.interrupted, seconds=round(self.report.seconds, 3)
        )
        return self.report

    def _run(self, pool: ThreadPoolExecutor, found: Iterable[Found]) -> None:
        for item, prepared in self._decode_ahead(pool, found):
            if isinstance(prepared, Failure):
                self._settle(prepared, item)
            else:
                for batch in self._batcher.add(prepared.pixels.shape, (item, prepared)):
                    self._infer(pool, batch)
            if self.options.stop.is_set():
                break
        for batch in self._batcher.flush():
            if not self.options.stop.is_set():
                self._infer(pool, batch)
        self._await_writes(0)

    def _decode_ahead(
        self, pool: ThreadPoolExecutor, found: Iterable[Found]
    ) -> Iterator[tuple[PictureFile, Prepared | Failure]]:
        """Yield the inputs that need work, prepared, in order; others settle here."""
        waiting: deque[tuple[PictureFile, Future[Prepared | Failure]]] = deque()
        for item in found:
            self.report.found += 1
            if isinstance(item, Failure):
                self._settle(item)
            elif self._needs_work(item):
                waiting.append((item, pool.submit(self._prepare, item)))
            if len(waiting) >= self._in_flight:
                first, future = waiting.popleft()
                yield first, future.result()
            if self.options.stop.is_set():
                return
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()

    def _needs_work(self, item: PictureFile) -> bool:
        """Say whether an input is to be done; one that is done, or that must not be, settles here."""
        known = not self.options.overwrite and self.ledger.is_done(item.key, item.source)
        if known and self.ledger.other_source(item.key, item.source) is None:
            self.report.skipped += 1
            self.options.on_outcome(self.report, None)
            return False
        obstacle = self._find_obstacle(item)
        if obstacle:
            self._settle(Failure(item.key, "write", OutputExistsError(obstacle)), item)
        return obstacle is None

    def _find_obstacle(self, item: PictureFile) -> str | None:
        """Say why the outputs of an input must not be placed, if that is so."""
        for name in self.sink.output_names(item.key):
            path = self.sink.root / name
            if self.ledger.owns(item.key, name) or not os.path.lexists(path):
                continue
            if PurePath(name).suffix in IMAGE_SUFFIXES and not is_own_output(path):
                return f"{name} is there already, a picture that is not ours: choose another --output"
            if not self.options.overwrite:
                return f"{name} is there already and the ledger does not know it: --overwrite replaces it"
        other = None if self.options.overwrite else self.ledger.other_source(item.key, item.source)
        return (
            f"its place holds the depth of {other}: choose another --output, or --overwrite"
            if other
            else None
        )

    def _prepare(self, item: PictureFile) -> Prepared | Failure:
        """On a worker: read, decode and preprocess one picture."""
        size = item.source.size
        try:
            data = read_picture(item.source.path) if size <= _KEPT else b""  # a larger one waits on the disk
            with self._budget.hold(size):
                header = read_header(data or read_picture(item.source.path))
            with self._budget.hold(size + header.height * header.width * _DECODE_BYTES):
                return self._decode(item, data)
        except DecodeError as error:
            return Failure(item.key, "decode", error)

    def _decode(self, item: PictureFile, data: bytes) -> Prepared | Failure:
        data = data or read_picture(item.source.path)
        limit = self.options.max_megapixels
        frame = decode(data, item.key, max_megapixels=limit, enough=self.estimator.enough)
        return self.estimator.prepare(frame)

    def _infer(self, pool: ThreadPoolExecutor, batch: list[tuple[PictureFile, Prepared]]) -> None:
        outputs = self.estimator.infer([prepared for _, prepared in batch])
        for (item, prepared), output in zip(batch, outputs, strict=True):
            if isinstance(output, Failure):
                self._settle(output, item)
            else:
                self._writing.append((item, pool.submit(self._write, item, prepared, output)))
        self._await_writes(self._in_flight)

    def _write(self, item: PictureFile, prepared: Prepared, values: NDArray[np.float32]) -> Failure | None:
        """On a worker: enlarge, encode, place and record one depth map."""
        with self._budget.hold(prepared.height * prepared.width * _WRITE_BYTES):
            return self._place(item, self.estimator.finish(prepared, values))

    def _place(self, item: PictureFile, depth: DepthMap | Failure) -> Failure | None:
        if isinstance(depth, Failure):
            return depth
        self.ledger.record_begun(item.key, self.sink.output_names(item.key))
        outputs = self.sink.place(item.key, depth)
        if isinstance(outputs, Failure):
            return outputs
        height, width = depth.values.shape
        facts = {"height": height, "width": width, "kind": depth.kind, "f_px": depth.f_px}
        self.ledger.record_done(item.key, item.source, outputs, **facts, f_source=depth.f_source)
        return None

    def _await_writes(self, at_most: int) -> None:
        """Settle written depth maps, oldest first, until no more than `at_most` are under way."""
        while len(self._writing) > at_most or (self._writing and self._writing[0][1].done()):
            item, future = self._writing.popleft()
            failure = future.result()
            if failure:
                self._settle(failure, item)
            else:
                self.report.done += 1
                self.options.on_outcome(self.report, None)

    def _settle(self, failure: Failure, item: PictureFile | None = None) -> None:
        self.ledger.record_failure(failure, item.source.path if item else None)
        self.report.failed += 1
        if len(self.report.failures) < _FAILURES_KEPT:
            self.report.failures.append(failure)
        self.options.on_outcome(self.report, failure)


def _require_positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise InputError(f"--{name.replace('_', '-')} must be more than 0, not {value}")


def _require_some(
    found: Iterator[Found], inputs: Sequence[str | os.PathLike[str]], recursive: bool
) -> Iterator[Found]:
    """Look at the first input, so that nothing is made for a folder without pictures."""
    first = next(found, None)
    if first is None:
        places = ", ".join(os.fspath(each) for each in inputs)
        hint = "" if recursive else "; folders inside are looked into with --recursive"
        raise InputError(f"no pictures in {places}{hint}")
    return itertools.chain([first], found)


def _describe(estimator: DepthEstimator, format: str, preview: bool) -> dict[str, object]:
    """Say what the outputs depend on: outputs of other settings are not taken for done."""
    model = estimator.model
    named = {"model": model.name, "weights_sha256": model.weights_digest, "kind": model.kind}
    return {**named, "format": format, "preview": preview, **model.settings}


def _ignore(report: Report, failure: Failure | None) -> None:
    """Listen to nothing."""
