"""`BackendSelector`: what runs a model. Nothing but its reference is used before it was compared with that.

The reference is the first backend of the model's row, in float32. In a long run `auto` takes the fastest of all whose
depth is near enough, timed on the images of the run, on batches as large as the run's; in a short one the model's own
way, which is the reference nearly always.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    require_positive,
)
from cortexia_video.frame import Frame
from cortexia_video.inference.machine_memory import MachineMemory
from cortexia_video.inference.parity import Parity, compare
from cortexia_video.models.protocol import AUTO, REFERENCE
from cortexia_video.models.readiness import can_run
from cortexia_video.models.registry import find_model
from cortexia_video.runtime.progress import stage

Backend = Literal["auto", "reference", "torch", "onnx", "openvino"]

FRAMES_COMPARED = 4
MAX_ERROR = 0.02  # of an image's mean difference: well below what any network is wrong by
LONG_RUN = 200  # images: in a run of fewer a trial costs more than it brings
_LONG_S = 60  # seconds of the reference: in a shorter run, too
_FLOAT32 = "float32"
_SIZE = "input_size"
_PRECISIONS = {
    "torch": (_FLOAT32, "bfloat16", "float16"),
    "onnx": (_FLOAT32,),
    "openvino": (_FLOAT32, "bfloat16", "float16"),
}
_ROUNDS = 3  # of a trial; two where these take long:
_ENOUGH_S = 2
_WORTH_IT = (
    1.1  # times the reference's speed, from which another backend is taken; what rounds may differ by, too
)
_LARGEST_TIMED = 8  # images in a batch
_ENOUGH_BYTES = 300_000_000  # of images

_log = logging.getLogger(__name__)


class BackendConfig(NamedTuple):
    """A way to run a model."""

    backend: str
    precision: str

    def __str__(self) -> str:
        return f"{self.backend} {self.precision}"


def read_config(settings: Mapping[str, Any], model: str) -> BackendConfig:
    """Return what ran a model by name, as the settings of its outputs say; what they leave out is the reference's."""
    backend = settings.get("backend", next(iter(find_model(model).backends), ""))
    return BackendConfig(str(backend), str(settings.get("precision", _FLOAT32)))


class BackendSelector:
    """How a model by name is to be loaded.

    options: what `load_estimators` takes, with `backend` and `precision` where they are asked for.
    max_error: largest mean difference of an image that is near enough, as `parity` measures it.
    """

    def __init__(self, model: str, *, max_error: float = MAX_ERROR, **options: Any) -> None:
        require_positive(max_error=max_error)
        self._model = model
        self._max_error = max_error
        self._backends = find_model(model).backends
        self._options = options

    def load(self) -> Sequence[DepthEstimator]:
        """Load the model as it was asked for; with `auto` its own way."""
        return load_estimators(self._model, **self._options)

    def is_resolved(self, loaded: Sequence[DepthEstimator]) -> bool:
        """Return whether what was loaded can be used as it is: it is the reference, or there is no other."""
        return not self._backends or self.find_config(loaded[0]) == self._reference_config

    def resolve(self, loaded: Sequence[DepthEstimator], frames: Iterable[Frame]) -> Sequence[DepthEstimator]:
        """Return what was loaded, once it is known to be near enough.

        frames: of the run; as many are taken as it needs. Raises `ParityError` for a backend or precision
        that differs too much, and where the reference can do none of them.
        """
        frames = iter(frames)
        first = None if self.is_resolved(loaded) else next(frames, None)
        if first is None:  # where there are none to compare on, the run will find none to do
            return loaded
        with stage("comparing with float32"):
            reference = load_estimator(self._model, **self._on_first(self._reference))
            chosen = _choose_frames(reference, chain([first], frames))
            parity = self._compare(loaded[0], reference, chosen)
        _log.info("%s against float32: %s", self.find_config(loaded[0]), parity)
        return loaded

    def choose(
        self, loaded: Sequence[DepthEstimator], frames: Iterable[Frame], has: Callable[[int], bool]
    ) -> Sequence[DepthEstimator] | None:
        """Return what is fastest and near enough, by this run's images or by what is remembered of others.

        loaded: the model, its own way. has: tells whether the run has so many images. None where the run is too
        short for a trial, or there is nothing to choose from.
        """
        configs = self._list_configs(loaded[0])
        frames = iter(frames)
        if not configs or not has(LONG_RUN) or (first := next(frames, None)) is None:
            return None
        is_own = self.find_config(loaded[0]) == self._reference_config
        reference = loaded[0] if is_own else load_estimator(self._model, **self._on_first(self._reference))
        memory = self._open_memory(reference, first)
        config, tried = _parse_config(memory.read()), None
        if config is None:
            some = _choose_frames(reference, chain([first], frames))
            rounds = _time(reference, some) if some else []
            if not rounds or not has(math.ceil(_LONG_S * max(rounds))):
                return None
            with stage("choosing a backend"):
                config, tried = self._try(configs, reference, some, rounds, memory)
        _log.info("the network is run by %s, which proved fastest here", config)
        if config == self.find_config(loaded[0]):
            return loaded
        return [tried] if tried and len(loaded) == 1 else self.load_by(config)

    def load_by(self, config: BackendConfig) -> Sequence[DepthEstimator]:
        """Load the model to be run in a way of which it is known that it is near enough."""
        return load_estimators(self._model, **{**self._options, **config._asdict()})

    def find_config(self, estimator: DepthEstimator) -> BackendConfig:
        """Return what a loaded model is run by; what its settings leave out is the reference's."""
        return read_config(estimator.model.settings, self._model)

    def check(self, frames: Iterable[Frame]) -> Parity:
        """Return how far the model as it was asked for is from its reference at the model's own input size.

        Raises `ParityError` where that is too far, `InputError` where only the reference was asked for.
        """
        asked = self._on_first(self._options)
        reference = {name: value for name, value in self._on_first(self._reference).items() if name != _SIZE}
        if asked == reference or not self._backends:
            raise InputError(
                f"{self._model}: give what to compare, one of {', '.join(self._backends) or 'none'}"
            )
        ours, theirs = load_estimator(self._model, **asked), load_estimator(self._model, **reference)
        return self._compare(ours, theirs, frames, "full" if _SIZE in asked else "native")

    @property
    def _reference_config(self) -> BackendConfig:
        return BackendConfig(self._backends[0], _FLOAT32)

    @property
    def _reference(self) -> dict[str, Any]:
        """The options for the reference."""
        return {**self._options, "backend": REFERENCE, "precision": None}

    def _on_first(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options for the first of several devices."""
        return {**options, "device": options.get("device", AUTO).split(",")[0].strip()}

    def _list_configs(self, loaded: DepthEstimator) -> list[BackendConfig]:
        """Return the ways beside the reference that may be faster, the likely ones first.

        float16 only where there is a GPU for it.
        """
        wanted = self._options.get("precision") or AUTO
        too_slow = "float16" if loaded.model.device.startswith("cpu") else None
        configs = [BackendConfig(name, each) for name in self._backends for each in _PRECISIONS[name]]
        return [
            config
            for config in reversed(configs)
            if config != self._reference_config
            and wanted in (AUTO, config.precision)
            and config.precision != too_slow
            and can_run(config.backend, exported=self._backends[0] == "torch")
        ]

    def _open_memory(self, reference: DepthEstimator, frame: Frame) -> MachineMemory:
        asked = {name: self._options.get(name) for name in ("device", "precision", "compile")}
        size = reference.model.processed_size(frame.height, frame.width)
        most = {"batch_size": reference.batch_size, "max_error": self._max_error}
        on = reference.model.device  # what `auto` stands for today
        return MachineMemory("backends", {**reference.identity, **asked, **most, "on": on, "input": size})

    def _try(
        self,
        configs: Iterable[BackendConfig],
        reference: DepthEstimator,
        frames: Sequence[Frame],
        rounds: Sequence[float],
        memory: MachineMemory,
    ) -> tuple[BackendConfig, DepthEstimator]:
        """Time each config, compare those that would win, and remember what came out, unless that was chance.

        rounds: the reference's, as `_time` gives them. It is timed once more at the end.
        """
        best, winner = self._reference_config, reference
        timed = {best: rounds}
        trials = [f"{best}: {max(rounds):.3g} images/s; the reference"]
        for config in configs:
            try:
                least = max(timed[best]) * (_WORTH_IT if best == self._reference_config else 1)
                found, said, faster = self._try_one(config, reference, frames, least)
                timed[config] = found
                if faster:
                    best, winner = config, faster
                trials.append(f"{config}: {max(found, default=0):.3g} images/s; {said}")
            except (ModelError, MissingExtraError) as error:
                trials.append(f"{config}: not used: {error}")
        timed[self._reference_config] = [*rounds, *_time(reference, frames)]
        for trial in trials:
            _log.info("%s", trial)
        if _is_clear(timed, best):
            memory.write(str(best), trials=trials)
        else:
            _log.info("the machine is too busy for this to say much: a later run tries again")
        return best, winner

    def _try_one(
        self, config: BackendConfig, reference: DepthEstimator, frames: Sequence[Frame], least: float
    ) -> tuple[list[float], str, DepthEstimator | None]:
        """Return a config's rounds, what is said of it, and the model if it is faster; of a loser nothing is kept."""
        estimator = load_estimator(self._model, **self._on_first({**self._options, **config._asdict()}))
        rounds = _time(estimator, frames)
        if max(rounds, default=0) <= least:
            return rounds, "slower", None
        return rounds, str(self._compare(estimator, reference, frames)), estimator

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
                f"{self._model} by {self.find_config(estimator)} is too far from float32: {parity}; use "
                f"another `backend` or `precision`, or allow it by `max_error={2 * parity.worst.mean:.2g}`"
            )
        return parity


def _parse_config(text: str | None) -> BackendConfig | None:
    """Return what `str` of it gave; None of anything else."""
    backend, _, precision = (text or "").partition(" ")
    return BackendConfig(backend, precision) if precision in _PRECISIONS.get(backend, ()) else None


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


def _is_clear(timed: Mapping[BackendConfig, Sequence[float]], best: BackendConfig) -> bool:
    """Return whether a trial would come out so again: rounds of one config differ by less than the best wins by.

    Or by less than what is worth it: ways that are as fast as each other need no other trial.
    """
    noise = max(max(rounds) / min(rounds) for rounds in timed.values() if rounds)
    others = [max(rounds) for config, rounds in timed.items() if rounds and config != best]
    return noise <= _WORTH_IT or noise < max(timed[best]) / max(others, default=math.inf)


def _time(estimator: DepthEstimator, frames: Sequence[Frame]) -> list[float]:
    """Return the images per second of the model alone, on batches of the commonest shape, in each of a few rounds."""
    prepared = [each for each in map(estimator.prepare, frames) if not isinstance(each, Failure)]
    if not prepared:
        return []
    group, _ = Counter(each.group for each in prepared).most_common(1)[0]
    alike = [each for each in prepared if each.group == group]
    count = min(estimator.batch_size, _LARGEST_TIMED)
    batch: list[PreparedFrame] = list(islice(alike * count, count))
    stacked = estimator.stack(batch)
    seconds: list[float] = []
    while len(seconds) <= _ROUNDS and (len(seconds) < 3 or sum(seconds[1:]) < _ENOUGH_S):
        started = time.perf_counter()
        estimator.run(stacked, batch[0].estimate_fov)
        seconds.append(time.perf_counter() - started)
    return [len(batch) / each for each in seconds[1:]]
