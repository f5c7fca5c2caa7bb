"""`RunSpec`: what `estimate` was asked for, settled and checked; and the `Executor` that carries it out."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cortexia_video.depth_estimation import DepthEstimator, load_estimators
from cortexia_video.inference.backend_selection import BackendSelector
from cortexia_video.jobs.image_task import TaskOptions
from cortexia_video.jobs.outcomes import Outcomes, Report
from cortexia_video.ledger.partition import Partition
from cortexia_video.sinks.archives import Packing
from cortexia_video.sinks.open import open_sink
from cortexia_video.sinks.sink import Sink
from cortexia_video.sources.find import Found, find_images
from cortexia_video.storage.paths import AnyPath


@dataclass(frozen=True, slots=True)
class RunSpec:
    """A run as it was asked for. It can be pickled, and so be carried out by other processes.

    asked: what `load_estimators` takes beside the model. The others are those of `pipeline.estimate`.
    """

    inputs: Sequence[str]
    root: AnyPath
    recursive: bool
    partition: Partition | None
    model: str | DepthEstimator | Sequence[DepthEstimator]
    asked: Mapping[str, Any]
    commercial_only: bool
    max_error: float
    format: str
    preview: bool
    steps: TaskOptions
    packing: Packing | None = None

    def find(self, passed_over: Counter[str] | None = None) -> Iterator[Found]:
        """Find the inputs of this part. passed_over: counts what is none, as `find_images` does."""
        return find_images(
            self.inputs,
            recursive=self.recursive,
            output=self.root,
            partition=self.partition,
            passed_over=passed_over,
        )

    def open_sink(self) -> Sink:
        sink = open_sink(self.root, format=self.format, preview=self.preview)
        sink.packed = self.packing is not None
        return sink

    def load(self) -> tuple[BackendSelector | None, Sequence[DepthEstimator]]:
        """Load the model; the choice of a backend, which may not be settled, is that of a model by name."""
        if not isinstance(self.model, str):
            return None, load_estimators(self.model, **self.asked)
        terms: dict[str, Any] = {"max_error": self.max_error, "commercial_only": self.commercial_only}
        choice = BackendSelector(self.model, **terms, **self.asked)
        return choice, choice.load()

    def describe(self, choice: BackendSelector | None, estimator: DepthEstimator) -> dict[str, object]:
        """Return what the outputs depend on: outputs of other settings are not taken for done."""
        own = {"format": self.format, "preview": self.preview, "decode": self.steps.decode}
        settings = {**estimator.identity, **own, **self.steps.given.settings}
        return settings | {**(choice.settings if choice else {})}


class Executor(Protocol):
    """Who carries out an order: this process, or those of a cluster."""

    def prepare(self, order: RunSpec) -> Mapping[str, object]:
        """Load the model, and say what the outputs depend on; raises before anything is written."""

    def work(self, outcomes: Outcomes, found: Iterator[Found], stop: threading.Event) -> Report:
        """Take every input to its outcome; the ledger then ends with the counts and the speed."""
