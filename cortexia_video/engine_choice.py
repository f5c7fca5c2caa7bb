"""`EngineChoice`: what runs a model. Nothing but its reference is used before it was compared with that.

The reference is the first engine of the model's row, in float32. `auto` takes the fastest of all whose depth
is near enough, timed on the pictures of the run, on batches as large as the run's.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from cortexia_video.depth_estimation import DepthEstimator, Prepared, load_estimator, load_estimators
from cortexia_video.errors import Failure, InputError, MissingExtraError, ModelError, ParityError
from cortexia_video.frame import Frame
from cortexia_video.models.table import find_model
from cortexia_video.parity import Parity, compare

AUTO = "auto"
FRAMES_COMPARED = 4
MAX_ERROR = 0.02  # of a picture's mean difference: well below what any network is wrong by
_FLOAT32 = "float32"
_PRECISIONS = {
    "torch": (_FLOAT32, "bfloat16", "float16"),
    "onnx": (_FLOAT32,),
    "openvino": (_FLOAT32, "bfloat16", "float16"),
}
_ROUNDS = 3
_LARGEST_TIMED = 8  # pictures

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of one candidate of `auto`: how fast and how near, or why it is out of the question."""

    engine: str
    precision: str
    images_per_second: float = 0.0
    parity: Parity | None = None
    reason: str = ""

    def __str__(self) -> str:
        name = f"{self.engine} {self.precision}"
        if self.reason:
            return f"{name}: not used: {self.reason}"
        return f"{name}: {self.images_per_second:.3g} images/s; {self.parity or 'the reference'}"


class EngineChoice:
    """How a model by name is to be loaded.

    options: what `load_estimators` takes, with `engine` and `precision` where they are asked for.
    max_error: largest mean difference of a picture that is near enough, as `parity` measures it.
    """

    def __init__(self, model: str, *, max_error: float = MAX_ERROR, **options: Any) -> None:
        if not max_error > 0:
            raise InputError(f"--max-error must be more than 0, such as {MAX_ERROR}, not {max_error}")
        self._model = model
        self._max_error = max_error
        self._engines = find_model(model).engines
        self._options = options
        self._is_auto = options.get("engine") == AUTO

    @property
    def settings(self) -> Mapping[str, object]:
        """What a ledger is to record: with `auto` no engine, so that another run's choice changes nothing."""
        if not self._is_auto:
            return {}
        return {"engine": AUTO, "precision": self._options.get("precision") or AUTO}

    def load(self) -> Sequence[DepthEstimator]:
        """Load the model as it was asked for; with `auto`, its reference."""
        return load_estimators(self._model, **(self._reference if self._is_auto else self._options))

    def is_settled(self, loaded: Sequence[DepthEstimator]) -> bool:
        """Say that what was loaded can be used as it is: it is the reference, or there is no other."""
        return not self._engines or (self._is_reference(loaded[0]) and not self._is_auto)

    def settle(self, loaded: Sequence[DepthEstimator], frames: Sequence[Frame]) -> Sequence[DepthEstimator]:
        """Give what is to be used: `loaded`, once it is known to be near enough, or what `auto` finds.

        frames: of the run. Raises `ParityError` for an engine or precision that differs too much.
        """
        if not frames or self.is_settled(loaded):
            return loaded
        if self._is_auto:
            return self._choose(loaded, frames)
        parity = self._compare(
            loaded[0], load_estimator(self._model, **self._on_first(self._reference)), frames
        )
        _log.info("%s against float32: %s", self._name(loaded[0]), parity)
        return loaded

    @property
    def _reference(self) -> dict[str, Any]:
        engine = {"engine": self._engines[0], "precision": _FLOAT32} if self._engines else {"engine": None}
        return {name: value for name, value in {**self._options, **engine}.items() if value is not None}

    def _on_first(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Give the options for the first of several devices."""
        return {**options, "device": options.get("device", AUTO).split(",")[0].strip()}

    def _is_reference(self, estimator: DepthEstimator) -> bool:
        settings = estimator.model.settings
        engine, precision = settings.get("engine", self._engines[0]), settings.get("precision", _FLOAT32)
        return (engine, precision) == (self._engines[0], _FLOAT32)

    def _name(self, estimator: DepthEstimator) -> str:
        settings = estimator.model.settings
        return f"{settings.get('engine', self._engines[0])} {settings.get('precision', _FLOAT32)}"

    def _compare(
        self, estimator: DepthEstimator, reference: DepthEstimator, frames: Sequence[Frame]
    ) -> Parity:
        parity = compare(estimator, reference, frames)
        if parity.worst.mean > self._max_error:
            raise ParityError(
                f"{self._model} by {self._name(estimator)} is too far from float32: {parity}; use another "
                f"--engine or --precision, or allow it by --max-error {2 * parity.worst.mean:.2g}"
            )
        return parity

    def _choose(self, loaded: Sequence[DepthEstimator], frames: Sequence[Frame]) -> Sequence[DepthEstimator]:
        trials = [
            self._try(engine, precision, loaded[0], frames) for engine, precision in self._candidates(loaded)
        ]
        for trial in trials:
            _log.info("%s", trial)
        best = max(trials, key=lambda trial: trial.images_per_second)
        if best is trials[0]:
            return loaded
        chosen = {**self._options, "engine": best.engine, "precision": best.precision}
        return load_estimators(self._model, **chosen)

    def _candidates(self, loaded: Sequence[DepthEstimator]) -> Iterator[tuple[str, str]]:
        """Yield the reference first, then all else; float16 only where there is a GPU for it."""
        wanted = self._options.get("precision") or AUTO
        on_processor = loaded[0].model.device.startswith("cpu")
        for engine in self._engines:
            for precision in _PRECISIONS[engine]:
                is_reference = (engine, precision) == (self._engines[0], _FLOAT32)
                slow = precision == "float16" and on_processor
                if is_reference or (wanted in (AUTO, precision) and not slow):
                    yield engine, precision

    def _try(self, engine: str, precision: str, reference: DepthEstimator, frames: Sequence[Frame]) -> Trial:
        if (engine, precision) == (self._engines[0], _FLOAT32):
            return Trial(engine, precision, _time(reference, frames))
        options = self._on_first({**self._options, "engine": engine, "precision": precision})
        try:
            estimator = load_estimator(self._model, **options)
            parity = self._compare(estimator, reference, frames)
        except (ModelError, MissingExtraError) as error:
            return Trial(engine, precision, reason=str(error))
        return Trial(engine, precision, _time(estimator, frames), parity)


def _time(estimator: DepthEstimator, frames: Sequence[Frame]) -> float:
    """Give the pictures a second of the model alone, on batches of the commonest shape; the best of a few."""
    prepared = [each for each in map(estimator.prepare, frames) if not isinstance(each, Failure)]
    group, _ = Counter(each.group for each in prepared).most_common(1)[0]
    alike = [each for each in prepared if each.group == group]
    count = min(estimator.batch_size, _LARGEST_TIMED)
    batch: list[Prepared] = list(islice(alike * count, count))
    stacked = estimator.stack(batch)
    seconds = []
    for _ in range(1 + _ROUNDS):
        started = time.perf_counter()
        estimator.run(stacked, batch[0].estimate_fov)
        seconds.append(time.perf_counter() - started)
    return len(batch) / min(seconds[1:])
