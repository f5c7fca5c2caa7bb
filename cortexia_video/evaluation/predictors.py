"""Where depth comes from that is measured: a folder of files, the output of a run, or a model."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from cortexia_video.depth_estimation import DepthEstimator, PreparedFrame, load_estimators
from cortexia_video.depth_map import DepthKind, DepthMap
from cortexia_video.errors import Failure, InputError, describe
from cortexia_video.evaluation.eval_items import Destination, EvalItem
from cortexia_video.evaluation.ground_truth import bare, list_depth_files
from cortexia_video.formats.decode_depth import decode_depth
from cortexia_video.inference.executor import ItemResult, PipelineExecutor, Skipped
from cortexia_video.ledger.artifacts import Line, about_depth, find_depth, read_output
from cortexia_video.ledger.lines import read_done
from cortexia_video.ledger.state import list_files
from cortexia_video.runtime.bounded_map import run_bounded
from cortexia_video.runtime.input_boundary import attempt
from cortexia_video.runtime.throughput import StageClock
from cortexia_video.storage.listing import remember_listings
from cortexia_video.storage.named_file import read_named
from cortexia_video.storage.paths import AnyPath, to_path
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.storage.retries import RemoteError

Outcome = TypeVar("Outcome")
Prediction = DepthMap | Failure | None  # None: there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class Work(Generic[Outcome]):
    """What is done with images. begin, measure: on threads, so many of them. settle: on the calling one.

    begin opens an image, or says what became of it without depth; measure takes its depth.
    """

    begin: Callable[[Destination], EvalItem | Skipped[Outcome]]
    measure: Callable[[EvalItem, Prediction], Outcome]
    settle: Callable[[Outcome], object]
    workers: int


class Predictor(Protocol):
    """What is measured.

    Attributes:
        name: In the table.
        needs_images: It looks at them.
    """

    name: str
    needs_images: bool

    def identify(self, key: str) -> bytes:
        """Return what the depth of an image depends on, besides the image."""

    def work_through(self, places: Iterable[Destination], work: Work[Outcome]) -> None:
        """Take each image through the work, as they come."""


class ModelPredictor:
    """A model, run on the images of the dataset, full size; reading, the model and measuring overlap.

    Args:
        name: In the table.
        model: A loaded one, or one for each device.
    """

    needs_images = True

    def __init__(self, name: str, model: DepthEstimator | Sequence[DepthEstimator]) -> None:
        self.name = name
        self._estimators = load_estimators(model)
        self._identity = json.dumps(self._estimators[0].identity, sort_keys=True, default=str).encode()

    def identify(self, key: str) -> bytes:
        """See `Predictor`."""
        return self._identity

    def work_through(self, places: Iterable[Destination], work: Work[Outcome]) -> None:
        """See `Predictor`."""
        estimator = self._estimators[0]

        def prepare(image: _Image) -> PreparedFrame | Skipped[Outcome] | Failure:
            begun = work.begin(image.place)
            if isinstance(begun, Skipped):
                return begun
            image.item = begun
            return estimator.prepare(begun.frame)

        def finish(image: _Image, result: ItemResult) -> Outcome:
            return work.measure(image.opened, estimator.finish(result.origin, result.values))

        engine: PipelineExecutor[_Image, Outcome] = PipelineExecutor(
            self._estimators,
            prepare=prepare,
            finish=finish,
            workers=work.workers,
            stop=threading.Event(),
            clock=StageClock(),
        )
        for image, outcome in engine.run(map(_Image, places)):
            if isinstance(outcome, Failure):
                outcome = work.measure(image.opened, outcome)
            work.settle(outcome)


@dataclass(slots=True)
class _Image:
    """An image on its way through the engine."""

    place: Destination
    item: EvalItem | None = None

    @property
    def opened(self) -> EvalItem:
        if self.item is None:
            raise ValueError(f"{self.place.key} was not begun")
        return self.item


class StoredPredictor:
    """A predictor whose depth is there: it is read where it is measured. Subclasses say `name`, and how."""

    name: str
    needs_images = False

    def identify(self, key: str) -> bytes:
        """Return what the depth of an image depends on."""
        raise NotImplementedError

    def read(self, key: str) -> Prediction:
        """Return the depth of an image; called from several threads."""
        raise NotImplementedError

    def work_through(self, places: Iterable[Destination], work: Work[Outcome]) -> None:
        def do(place: Destination) -> Outcome:
            begun = work.begin(place)
            if isinstance(begun, Skipped):
                return begun.outcome
            return work.measure(begun, self.read(begun.frame.key))

        run_bounded(places, do, work.settle, workers=work.workers)


class HeldPredictor(StoredPredictor):
    """Depth in memory, by key."""

    def __init__(self, name: str, depths: Mapping[str, DepthMap]) -> None:
        self.name = name
        self._depths = depths

    def identify(self, key: str) -> bytes:
        depth = self._depths.get(key)
        if depth is None:
            return b""
        facts = repr((depth.kind, depth.f_px, depth.f_source, depth.values.shape)).encode()
        return facts + depth.values.tobytes()

    def read(self, key: str) -> Prediction:
        return self._depths.get(key)


class DepthSource(NamedTuple):
    """A depth file, and what its numbers mean where it does not say it."""

    path: AnyPath
    about: Mapping[str, Any]
    packed: tuple[AnyPath, str, Line] | None = None  # of a run: folder, name in a shard, line of the ledger

    def read(self) -> bytes:
        """Read it; raises `OSError`, `DepthFileError`."""
        return read_output(*self.packed) if self.packed else read_named(self.path)

    def identify(self) -> bytes:
        """Return its content, or what changes with it at a URL or in a shard; raises `OSError`."""
        if self.packed:
            return repr(self.packed[2]["inside"]).encode()
        if isinstance(self.path, RemotePath):
            return repr(tuple(self.path.stat())).encode()
        return read_named(self.path)


class FolderPredictor(StoredPredictor):
    """Depth files, by key. convention: as `decode_depth` takes it."""

    def __init__(self, name: str, files: Mapping[str, DepthSource], convention: str | None = None) -> None:
        self.name = name
        self._files = files
        self._convention = convention

    def identify(self, key: str) -> bytes:
        source = self._find(key)
        if source is None:
            return b""
        meaning = json.dumps([self._convention, dict(source.about)], sort_keys=True)
        content = attempt(key, "decode", source.identify)
        return meaning.encode() + (b"" if isinstance(content, Failure) else content)

    def read(self, key: str) -> Prediction:
        source = self._find(key)
        if source is None:
            return None
        guess = attempt(key, "decode", lambda: self._decode(source))
        if not isinstance(guess, Failure):
            return guess
        name = source.packed[1] if source.packed else source.path
        said = guess.reason.removeprefix(f"{name}: ")  # the key says which: reasons can be counted
        return None if isinstance(guess.error, FileNotFoundError) else replace(guess, error=InputError(said))

    def _decode(self, source: DepthSource) -> DepthMap:
        try:
            data = source.read()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise InputError(f"cannot read {source.path}: {describe(error)}") from error
        return decode_depth(data, str(source.path), about=source.about, convention=self._convention)

    def explain(self, key: str, remark: str) -> str:
        """Return why nothing in the folder can be measured, by an image of the ground truth and its outcome."""
        source = self._find(key)
        if source is not None:
            return f"no depth in {self.name} can be measured: {source.path} for {key} of the truth: {remark}"
        return (
            f"no depth in {self.name} belongs to an image of the truth: {next(iter(self._files))} is there, "
            f"the truth has {key}: give the folder below which names and subfolders are the truth's"
        )

    def _find(self, key: str) -> DepthSource | None:
        """Find the file of a key; a run over a folder of sets has `rgb/` in its keys."""
        folder, _, name = bare(key).rpartition("/")
        inside = f"{folder}/rgb/{name}" if folder else f"rgb/{name}"
        return self._files.get(bare(key)) or self._files.get(inside)


def open_predictor(
    name: str, *, kind: DepthKind | None = None, convention: str | None = None, **options: Any
) -> Predictor:
    """Return what a name stands for: a folder that is there, of a run or of depth files; a URL of such a
    folder; else a model.

    kind, convention: of depth files that do not say it. options: as `load_estimators` takes them.
    Raises `InputError` for a folder without depth, and what `load_estimators` raises.
    """
    root = to_path(name)
    if isinstance(root, Path) and not root.is_dir():
        given = options if kind is None else {**options, "kind": kind}
        return ModelPredictor(name, load_estimators(name, **given))
    name = str(root) if isinstance(root, RemotePath) else name  # without secrets: it is written down
    if list_files(root):
        return FolderPredictor(name, _list_run(root))
    about = {} if kind is None else {"kind": kind}
    files = {key: DepthSource(path, about) for key, path in _list_files(root).items()}
    if not files:
        raise InputError(
            f"no depth files in {root}: give the output folder of a run, depth files, or a model"
        )
    return FolderPredictor(name, files, convention)


def _list_files(root: AnyPath) -> dict[str, AnyPath]:
    try:
        with remember_listings():
            return list_depth_files(root)
    except RemoteError as error:
        raise InputError(f"cannot read {root}: {error.strerror}") from error


def _list_run(root: AnyPath) -> dict[str, DepthSource]:
    """Return the depth that a run has done; views, that are to look at only, are left out."""
    files = {}
    for line in read_done(root):
        found = find_depth(line)
        if found is not None:
            packed = (root, found[0], line) if "inside" in line else None
            files[bare(line["key"])] = DepthSource(root / found[0], about_depth(line), packed)
    if not files:
        raise InputError(f"no depth in {root} that can be measured: only views, or nothing is done")
    return files
