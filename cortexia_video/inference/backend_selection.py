"""`BackendSelector`: what runs a model. Nothing but its reference is used before it was compared with that.

The reference is the first backend of the model's row, in float32. `auto` takes the fastest of all whose depth
is near enough, timed on the images of the run, on batches as large as the run's.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Literal, NamedTuple

from cortexia_video.depth_estimation import (
    DepthEstimator,
    PreparedFrame,
    Size,
    load_estimator,
    load_estimators,
)
from cortexia_video.errors import (
    Failure,
    InputError,
    MissingExtraError,
    ModelError,
    ParityError,
)
from cortexia_video.frame import Frame
from cortexia_video.inference.parity import Parity, compare
from cortexia_video.models.registry import find_model
from cortexia_video.runtime.progress import stage

Backend = Literal["torch", "onnx", "openvino", "auto"]

AUTO = "auto"
FRAMES_COMPARED = 4
MAX_ERROR = 0.02  # of an image's mean difference: well below what any network is wrong by
_FLOAT32 = "float32"
_SIZE = "input_size"
_PRECISIONS = {
    "torch": (_FLOAT32, "bfloat16", "float16"),
    "onnx": (_FLOAT32,),
    "openvino": (_FLOAT32, "bfloat16", "float16"),
}
_ROUNDS = 3
_LARGEST_TIMED = 8  # images in a batch
_ENOUGH_BYTES = 300_000_000  # of images

_log = logging.getLogger(__name__)


class BackendConfig(NamedTuple):
    """A way to run a model."""

    backend: str
    precision: str

    def __str__(self) -> str:
        return f"{self.backend} {self.precision}"


@dataclass(frozen=True, slots=True)
class BackendTrial:
    """The result of one candidate of `auto`: how fast and how near, or why it is out of the question."""

    way: BackendConfig
    images_per_second: float = 0.0
    parity: Parity | None = None
    reason: str = ""

    def __str__(self) -> str:
        if self.reason:
            return f"{self.way}: not used: {self.reason}"
        return f"{self.way}: {self.images_per_second:.3g} images/s; {self.parity or 'the reference'}"


class BackendSelector:
    """How a model by name is to be loaded.

    options: what `load_estimators` takes, with `backend` and `precision` where they are asked for. settings:
    what a ledger is to record; with `auto` no backend, so that another choice changes nothing.
    max_error: largest mean difference of an image that is near enough, as `parity` measures it.
    """

    def __init__(self, model: str, *, max_error: float = MAX_ERROR, **options: Any) -> None:
        if not max_error > 0:
            raise InputError(f"`max_error` must be above 0, such as {MAX_ERROR}, got {max_error}")
        self._model = model
        self._max_error = max_error
        self._backends = find_model(model).backends
        self._options = options
        self._is_auto = options.get("backend") == AUTO
        auto = {"backend": AUTO, "precision": options.get("precision") or AUTO}
        self.settings: Mapping[str, object] = auto if self._is_auto else {}

    def load(self) -> Sequence[DepthEstimator]:
        """Load the model as it was asked for; with `auto`, its reference."""
        return load_estimators(self._model, **(self._reference if self._is_auto else self._options))

    def is_settled(self, loaded: Sequence[DepthEstimator]) -> bool:
        """Return whether what was loaded can be used as it is: it is the reference, or there is no other."""
        if not self._backends:
            return True
        return not self._is_auto and self._find_way(loaded[0]) == self._reference_way

    def settle(self, loaded: Sequence[DepthEstimator], frames: Iterable[Frame]) -> Sequence[DepthEstimator]:
        """Return what is to be used: `loaded`, once it is known to be near enough, or what `auto` finds.

        frames: of the run; as many are taken as it needs. Raises `ParityError` for a backend or precision
        that differs too much, and where the reference can do none of them.
        """
        frames = iter(frames)
        first = None if self.is_settled(loaded) else next(frames, None)
        if first is None:  # where there are none to compare on, the run will find none to do
            return loaded
        frames = chain([first], frames)
        if self._is_auto:
            with stage("choosing a backend"):
                chosen = _choose_frames(loaded[0], frames)
                return self._choose(loaded, chosen) if chosen else loaded
        with stage("comparing with float32"):
            reference = load_estimator(self._model, **self._on_first(self._reference))
            parity = self._compare(loaded[0], reference, _choose_frames(reference, frames))
        _log.info("%s against float32: %s", self._find_way(loaded[0]), parity)
        return loaded

    def check(self, frames: Iterable[Frame]) -> Parity:
        """Return how far the model as it was asked for is from its reference at the model's own input size.

        Raises `ParityError` where that is too far, `InputError` where only the reference was asked for.
        """
        asked = self._on_first(self._options)
        reference = {name: value for name, value in self._on_first(self._reference).items() if name != _SIZE}
        if asked == reference or self._is_auto or not self._backends:
            raise InputError(
                f"{self._model}: give what to compare, one of {', '.join(self._backends) or 'none'}"
            )
        ours, theirs = load_estimator(self._model, **asked), load_estimator(self._model, **reference)
        return self._compare(ours, theirs, frames, "full" if _SIZE in asked else "native")

    @property
    def _reference_way(self) -> BackendConfig:
        return BackendConfig(self._backends[0], _FLOAT32)

    @property
    def _reference(self) -> dict[str, Any]:
        """The options for the reference; a model that has one backend alone is not told which."""
        if self._backends:
            return {**self._options, **self._reference_way._asdict()}
        return {name: value for name, value in self._options.items() if name != "backend"}

    def _on_first(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options for the first of several devices."""
        return {**options, "device": options.get("device", AUTO).split(",")[0].strip()}

    def _find_way(self, estimator: DepthEstimator) -> BackendConfig:
        """Return what a loaded model is run by; what its settings leave out is the reference's."""
        settings = estimator.model.settings
        backend, precision = settings.get("backend", self._backends[0]), settings.get("precision", _FLOAT32)
        return BackendConfig(str(backend), str(precision))

    def _compare(
        self,
        estimator: DepthEstimator,
        reference: DepthEstimator,
        frames: Iterable[Frame],
        size: Size = "native",
    ) -> Parity:
        """Compare as large as the network gives it: enlarging adds nothing, unless the sizes differ."""
        together = min(estimator.batch_size, _LARGEST_TIMED)
        ours = DepthEstimator(estimator.model, batch_size=together, size=size)
        theirs = DepthEstimator(reference.model, batch_size=1, size=size)
        parity = compare(ours, theirs, frames, together=together)
        if parity.worst.mean > self._max_error:
            raise ParityError(
                f"{self._model} by {self._find_way(estimator)} is too far from float32: {parity}; use "
                f"another `backend` or `precision`, or allow it by `max_error={2 * parity.worst.mean:.2g}`"
            )
        return parity

    def _choose(self, loaded: Sequence[DepthEstimator], frames: Sequence[Frame]) -> Sequence[DepthEstimator]:
        """Try the reference, then all else; float16 only where there is a GPU for it."""
        wanted = self._options.get("precision") or AUTO
        too_slow = "float16" if loaded[0].model.device.startswith("cpu") else None
        trials = [BackendTrial(self._reference_way, _time(loaded[0], frames))]
        for way in (BackendConfig(name, each) for name in self._backends for each in _PRECISIONS[name]):
            if way == self._reference_way or wanted not in (AUTO, way.precision) or way.precision == too_slow:
                continue
            try:
                options = self._on_first({**self._options, **way._asdict()})
                estimator = load_estimator(self._model, **options)
                parity = self._compare(estimator, loaded[0], frames)
            except (ModelError, MissingExtraError) as error:
                trials.append(BackendTrial(way, reason=str(error)))
            else:
                trials.append(BackendTrial(way, _time(estimator, frames), parity))
        for trial in trials:
            _log.info("%s", trial)
        best = max(trials, key=lambda trial: trial.images_per_second)
        if best is trials[0]:
            return loaded
        return load_estimators(self._model, **{**self._options, **best.way._asdict()})


def _choose_frames(reference: DepthEstimator, frames: Iterable[Frame]) -> list[Frame]:
    """Take the first frames that the reference can do, fewer where they are huge."""
    alone = DepthEstimator(reference.model, batch_size=1, size="native")
    chosen: list[Frame] = []
    for frame in frames:
        if not any(isinstance(each, Failure) for each in alone.estimate([frame])):
            chosen.append(frame)
        if len(chosen) == FRAMES_COMPARED or sum(each.image.size for each in chosen) > _ENOUGH_BYTES:
            break
    return chosen


def _time(estimator: DepthEstimator, frames: Sequence[Frame]) -> float:
    """Return the images per second of the model alone, on batches of the commonest shape; best of a few."""
    prepared = [each for each in map(estimator.prepare, frames) if not isinstance(each, Failure)]
    if not prepared:
        return 0.0
    group, _ = Counter(each.group for each in prepared).most_common(1)[0]
    alike = [each for each in prepared if each.group == group]
    count = min(estimator.batch_size, _LARGEST_TIMED)
    batch: list[PreparedFrame] = list(islice(alike * count, count))
    stacked = estimator.stack(batch)
    seconds = []
    for _ in range(1 + _ROUNDS):
        started = time.perf_counter()
        estimator.run(stacked, batch[0].estimate_fov)
        seconds.append(time.perf_counter() - started)
    return len(batch) / min(seconds[1:])
