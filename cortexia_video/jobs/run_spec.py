"""`RunSpec`: what `estimate` was asked for, checked; and the `Executor` that does the work."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cortexia_video.depth_estimation import DepthEstimator, load_estimators
from cortexia_video.errors import Failure
from cortexia_video.images.read import read_image_bytes
from cortexia_video.inference.backend_selection import BackendSelector
from cortexia_video.jobs.worker import RecordBegun, TaskOptions, decode_readable
from cortexia_video.ledger.entries import ItemDone
from cortexia_video.ledger.partition import Partition
from cortexia_video.runtime.throughput import Usage
from cortexia_video.runtime.trace import ChromeTrace
from cortexia_video.sinks.archives import ArchiveSink, Packing
from cortexia_video.sinks.open import open_sink
from cortexia_video.sinks.sink import Sink
from cortexia_video.sources.find import Found, InputFile, find_images
from cortexia_video.sources.sequences import find_sequences
from cortexia_video.storage.paths import AnyPath


@dataclass(frozen=True, slots=True)
class RunSpec:
    """A run as it was asked for. It can be pickled, for workers in other processes.

    asked: what `load_estimators` takes beside the model. The others are those of `estimate`.
    """

    inputs: Sequence[str | os.PathLike[str]]
    root: AnyPath
    recursive: bool
    partition: Partition | None
    model: str | DepthEstimator | Sequence[DepthEstimator]
    asked: Mapping[str, Any]
    commercial_only: bool
    max_error: float
    format: str
    preview: bool
    task: TaskOptions
    packing: Packing | None = None
    sequence: bool = False
    drop_relative: bool = False

    def find(self, passed_over: Counter[str] | None = None) -> Iterator[Found]:
        """Find the inputs of this part. passed_over: counts what is none, as `find_images` does."""
        if self.sequence:
            return find_sequences(
                self.inputs, recursive=self.recursive, output=self.root, partition=self.partition
            )
        return find_images(
            self.inputs,
            recursive=self.recursive,
            output=self.root,
            partition=self.partition,
            passed_over=passed_over,
            videos=self.packing is None and self.task.aligner is None,
        )

    def open_sink(self) -> Sink:
        """Return the sink, not yet entered, that the outputs go to."""
        relative = self.task.aligner is not None and not self.drop_relative
        clip_files = self.task.video.files is not None
        sink = open_sink(
            self.root, format=self.format, preview=self.preview, relative=relative, clip_files=clip_files
        )
        if self.packing is None:
            return sink
        return ArchiveSink(sink, self.packing, lambda item: read_image_bytes(item.place))

    def load(self) -> tuple[BackendSelector | None, Sequence[DepthEstimator]]:
        """Load the model; of one by name also what is to choose its backend by the first images."""
        if not isinstance(self.model, str):
            return None, load_estimators(self.model, **self.asked)
        terms: dict[str, Any] = {"max_error": self.max_error, "commercial_only": self.commercial_only}
        selector = BackendSelector(self.model, **terms, **self.asked)
        return selector, selector.load()

    def choose_backend(
        self,
        selector: BackendSelector | None,
        estimators: Sequence[DepthEstimator],
        items: Iterable[InputFile],
    ) -> Sequence[DepthEstimator]:
        """Return what is to run, by as many of the inputs as need be decoded for that; often none."""
        if selector is None or selector.is_settled(estimators):
            return estimators
        frames = decode_readable(items, max_megapixels=self.task.max_megapixels)
        return selector.settle(estimators, map(self.task.given.apply, frames))

    def describe(self, selector: BackendSelector | None, estimator: DepthEstimator) -> dict[str, object]:
        """Return what the outputs depend on: outputs of other settings are not taken for done."""
        own = {"format": self.format, "preview": self.preview, "decode": self.task.decode}
        settings = {**estimator.identity, **own, **self.task.given.settings}
        if aligner := self.task.aligner:
            more = {"drop_relative": True} if self.drop_relative else {}
            settings |= {"aligned_by": aligner.by, **aligner.settings, **more, "kind": "metric"}
        settings |= {"video": video} if (video := self.task.video.settings) else {}
        return settings | {**(selector.settings if selector else {})}


class Executor(Protocol):
    """Where the work of a run is done: in this process, or in those of a cluster.

    claims_ahead: workers do not reach the ledger, so that inputs are to be recorded as begun before they
    are handed over.
    """

    claims_ahead: bool

    def prepare(self, spec: RunSpec) -> Mapping[str, object]:
        """Load the model, and return what the outputs depend on; raises before anything is written."""

    def run(
        self,
        items: Iterator[InputFile],
        *,
        sink: Sink,
        record_begun: RecordBegun,
        trace: ChromeTrace | None,
        stop: threading.Event,
    ) -> Generator[tuple[InputFile, ItemDone | Failure], None, None]:
        """Yield inputs with their outcomes, each when its files are in place; after `stop`, those under way.

        sink: of the run, open. record_begun: to be called before files are placed, unless `claims_ahead`.
        trace: to be told of each stage. Raises `OutputLostError` where the output is full or unwritable.
        """

    def usage(self) -> Usage:
        """Return what the workers have used since `run` was called."""
