"""Where depth comes from that is measured: a folder of files, the output of a run, or a model."""

from __future__ import annotations

import json
import math
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import xxhash
from numpy.typing import NDArray

from cortexia_video.depth_estimation import DepthEstimator, PreparedFrame, load_estimators
from cortexia_video.depth_map import DepthKind, DepthMap
from cortexia_video.errors import Failure, InputError, attempt, describe, in_words, output_lost
from cortexia_video.evaluation.ground_truth import WRITERS, bare, find_depth_files, index_depth_files
from cortexia_video.evaluation.reference import EvalItem, Items, PendingItem
from cortexia_video.evaluation.sparse_input import SparseInput
from cortexia_video.formats.decode_depth import decode_depth
from cortexia_video.formats.registry import FORMATS
from cortexia_video.images.decode import decode
from cortexia_video.inference.executor import ItemResult, PipelineExecutor, Skipped
from cortexia_video.ledger.artifacts import (
    Line,
    about_depth,
    expand_clip,
    find_depth,
    find_image,
    read_output,
    read_run_image,
)
from cortexia_video.ledger.lines import read_done
from cortexia_video.ledger.state import list_files, read_depth_json
from cortexia_video.runtime.bounded_map import run_bounded
from cortexia_video.runtime.progress import stage
from cortexia_video.runtime.resources import StageClock
from cortexia_video.storage.listing import remember_listings
from cortexia_video.storage.paths import AnyPath, read_named, to_path
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.storage.retries import RemoteError
from cortexia_video.video.depth_clip import list_numbers, read_frame_file, split_frame
from cortexia_video.video.image_sequence import describe_images, list_images

Outcome = TypeVar("Outcome")
Prediction = DepthMap | Failure | None  # None: there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageWork(Generic[Outcome]):
    """What is done with images. begin, measure: on threads, so many of them. collect: on the calling one.

    begin opens an image, or gives its result without depth; measure takes its depth.
    """

    begin: Callable[[PendingItem], EvalItem | Skipped[Outcome]]
    measure: Callable[[EvalItem, Prediction], Outcome]
    collect: Callable[[Outcome], object]
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
        """Return what the depth of an image depends on, besides the image.

        Args:
            key: Of the image among all sets.

        Returns:
            Any bytes: scores are taken from earlier calls where they are the same.
        """

    def work_through(self, pending: Iterable[PendingItem], work: ImageWork[Outcome]) -> None:
        """Do the work on each image, as they come.

        Args:
            pending: The images, still to be read.
            work: What is done with each, and with its depth.
        """


class ModelPredictor:
    """A model, run on the images of the dataset, full size; reading, the model and measuring overlap.

    Args:
        name: In the table.
        model: A loaded one, or one for each device.
        sparse: What it is given to complete, if it does that.
    """

    needs_images = True

    def __init__(
        self,
        name: str,
        model: DepthEstimator | Sequence[DepthEstimator],
        sparse: SparseInput | None = None,
    ) -> None:
        self.name = name
        self._estimators = load_estimators(model)
        self._sparse = sparse if self.estimator.takes_sparse else None
        identity = {**self.estimator.identity, **(self._sparse.settings if self._sparse else {})}
        self._identity = json.dumps(identity, sort_keys=True, default=str).encode()

    @property
    def estimator(self) -> DepthEstimator:
        """The model, loaded; of several the first."""
        return self._estimators[0]

    def identify(self, key: str) -> bytes:
        """See `Predictor.identify`."""
        return self._identity + (self._sparse.identify(key) if self._sparse else b"")

    def work_through(self, pending: Iterable[PendingItem], work: ImageWork[Outcome]) -> None:
        """See `Predictor`."""
        estimator = self._estimators[0]

        def prepare(image: _Image) -> PreparedFrame | Skipped[Outcome] | Failure:
            begun = work.begin(image.pending)
            if isinstance(begun, Skipped):
                return begun
            image.item = begun
            if self._sparse is None:
                return estimator.prepare(begun.frame)
            frame = attempt(begun.frame.key, "decode", partial(self._sparse.add_to, begun))
            return frame if isinstance(frame, Failure) else estimator.prepare(frame)

        def finish(image: _Image, result: ItemResult) -> Outcome:
            return work.measure(image.opened, estimator.finish(result.origin, result.output))

        executor: PipelineExecutor[_Image, Outcome] = PipelineExecutor(
            self._estimators,
            prepare=prepare,
            finish=finish,
            workers=work.workers,
            stop=threading.Event(),
            clock=StageClock(),
        )
        for image, outcome in executor.run(map(_Image, pending)):
            if isinstance(outcome, Failure):
                outcome = work.measure(image.opened, outcome)
            work.collect(outcome)


@dataclass(slots=True)
class _Image:
    """An image on its way through the executor."""

    pending: PendingItem
    item: EvalItem | None = None

    @property
    def opened(self) -> EvalItem:
        if self.item is None:
            raise ValueError(f"{self.pending.key} was not begun")
        return self.item


class StoredPredictor:
    """A predictor whose depth exists: it is read where it is measured. Subclasses say `name`, and how."""

    name: str
    needs_images = False

    def identify(self, key: str) -> bytes:
        """Return what the depth of an image depends on."""
        raise NotImplementedError

    def read(self, key: str) -> Prediction:
        """Return the depth of an image; called from several threads."""
        raise NotImplementedError

    def fetch(self, key: str) -> tuple[bytes, Callable[[], Prediction]]:
        """Return what the depth of an image depends on, and what gives that depth."""
        return self.identify(key), lambda: self.read(key)

    def learn_keys(self, keys: Sequence[str]) -> None:
        """Learn the keys of the images that will be asked for."""

    def work_through(self, pending: Iterable[PendingItem], work: ImageWork[Outcome]) -> None:
        """See `Predictor`."""

        def do(each: PendingItem) -> Outcome:
            begun = work.begin(each)
            if isinstance(begun, Skipped):
                return begun.outcome
            return work.measure(begun, self.read(begun.frame.key))

        run_bounded(pending, do, work.collect, workers=work.workers)


class InMemoryPredictor(StoredPredictor):
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


class CachedPredictor(StoredPredictor):
    """The depth that a predictor gives, run once, in files: for what looks at each map several times."""

    def __init__(self, predictor: Predictor, items: Items, folder: Path, workers: int) -> None:
        self.name, self.identify = predictor.name, predictor.identify  # type: ignore[method-assign]
        self._folder = folder
        self._failures: dict[str, Failure] = {}

        def begin(pending: PendingItem) -> EvalItem | Skipped[None]:
            return items.open(pending) or Skipped(None)

        def keep(item: EvalItem, depth: Prediction) -> None:
            if isinstance(depth, Failure):
                self._failures[item.frame.key] = depth
            elif depth is not None:
                with output_lost(folder):
                    self._place(item.frame.key).write_bytes(b"".join(FORMATS["npz"].encode(depth)))

        with stage(f"running {self.name}") as begun:
            work = ImageWork(begin=begin, measure=keep, collect=lambda _: begun.advance(), workers=workers)
            predictor.work_through(items.list_pending(), work)

    def read(self, key: str) -> Prediction:
        """See `StoredPredictor`."""
        place = self._place(key)
        return decode_depth(place.read_bytes(), key) if place.exists() else self._failures.get(key)

    def _place(self, key: str) -> Path:
        return self._folder / f"{xxhash.xxh3_128_hexdigest(key.encode(errors='surrogatepass'))}.npz"


class DepthSource(NamedTuple):
    """A depth file, and what its numbers mean where it does not say it."""

    path: AnyPath
    about: Mapping[str, Any]
    packed: tuple[AnyPath, str, Line] | None = (
        None  # of a run: folder, name in an archive, line of the ledger
    )

    def read(self) -> bytes:
        """Read it; raises `OSError`, `DepthFileError`."""
        if frame := split_frame(self.path):
            return read_frame_file(*frame, max_megapixels=math.inf)
        return read_output(*self.packed) if self.packed else read_named(self.path)


class FolderPredictor(StoredPredictor):
    """Depth files by the names of images. readings: what the files may be called, each way files by key.

    `learn_keys` chooses the way by which most images have depth; of equal ones the first. Of images whose keys
    nobody knows before, those of a stream, each has the first file that is called so.
    convention: as `decode_depth` takes it. run: the output folder whose ledger knows the images.
    """

    def __init__(
        self,
        name: str,
        readings: Sequence[Mapping[str, DepthSource]],
        convention: str | None = None,
        *,
        run: AnyPath | None = None,
    ) -> None:
        self.name, self.run = name, run
        self._readings = readings
        self._names: dict[str, str] = {}
        self._convention = convention

    def learn_keys(self, keys: Sequence[str]) -> None:
        """See `StoredPredictor`."""
        if keys:
            found = [(match_names(files, keys), files) for files in self._readings]
            self._names, best = max(found, key=lambda each: len(each[0]))
            self._readings = [best]

    def identify(self, key: str) -> bytes:
        return self.fetch(key)[0]

    def read(self, key: str) -> Prediction:
        return self.fetch(key)[1]()

    def fetch(self, key: str) -> tuple[bytes, Callable[[], Prediction]]:
        """See `StoredPredictor`; a file of this machine is read once for both."""
        source = self._find(key)
        if source is None:
            return b"", lambda: None
        facts = json.dumps([self._convention, dict(source.about)], sort_keys=True).encode()
        if source.packed:
            line = source.packed[2]
            made_of = repr(line["inside"] if "inside" in line else [line["outputs"], line["frame"]])
            return facts + made_of.encode(), lambda: self._decode(key, source)
        if isinstance(source.path, RemotePath):
            stat = attempt(key, "decode", source.path.stat)
            return facts + repr(stat).encode(), lambda: self._decode(key, source)
        data = attempt(key, "decode", source.read)
        return facts + (b"" if isinstance(data, Failure) else data), lambda: self._decode(key, source, data)

    def _decode(self, key: str, source: DepthSource, data: bytes | Failure | None = None) -> Prediction:
        def decode() -> DepthMap:
            content = source.read() if data is None else data
            if isinstance(content, Failure):
                raise content.error
            about, convention = source.about, self._convention
            return decode_depth(content, str(source.path), about=about, convention=convention, strict=False)

        prediction = attempt(key, "decode", decode)
        if not isinstance(prediction, Failure):
            return prediction
        if isinstance(prediction.error, FileNotFoundError):
            return None
        if isinstance(prediction.error, OSError):
            return replace(
                prediction, error=InputError(f"cannot read {source.path}: {describe(prediction.error)}")
            )
        name = source.packed[1] if source.packed else source.path
        said = prediction.reason.removeprefix(f"{name}: ")  # the key says which: reasons can be counted
        return replace(prediction, error=InputError(said))

    def explain(self, key: str, remark: str) -> str:
        """Return why nothing in the folder can be measured, by an image of the ground truth and its outcome."""
        source = self._find(key)
        if source is not None:
            return f"no depth in {self.name} can be measured: {source.path} for {key} of the ground truth: {remark}"
        return (
            f"no depth in {self.name} belongs to an image of the ground truth: found {next(iter(self._readings[0]))}, "
            f"the ground truth has {key}: give the folder below which names and subfolders are the ground truth's, or "
            "`pattern`, such as '{key}_depth.npy'"
        )

    def name_of(self, key: str) -> str:
        """Return the name here of an image of the ground truth."""
        return self._names.get(bare(key), bare(key))

    def _find(self, key: str) -> DepthSource | None:
        name = self.name_of(key)
        return next((files[name] for files in self._readings if name in files), None)


def find_photos(
    predictors: Iterable[Predictor], keys: Collection[str]
) -> Iterator[tuple[str, NDArray[np.uint8] | str]]:
    """Yield the images of keys that ledgers of runs know, uint8 (H, W, 3) RGB, or why they cannot be read."""
    missing = {*keys}
    for each in predictors:
        if not missing or not isinstance(each, FolderPredictor) or each.run is None:
            continue
        names = {each.name_of(key): key for key in missing}
        for called, line in _read_named(each.run):
            key = next((names[name] for name in called if name in names), None)
            if key is not None and find_image(line) is not None:
                missing.discard(key)
                image = attempt(key, "decode", partial(_read_photo, line))
                yield key, image.reason if isinstance(image, Failure) else image


def _read_photo(line: Line) -> NDArray[np.uint8]:
    return decode(read_run_image(line), line["key"]).image


def match_names(names: Collection[str], keys: Iterable[str]) -> dict[str, str]:
    """Return the name of depth for each key that has one.

    A name belongs to a key that it equals, also but for a folder `rgb` in it, as a run over a folder of sets
    has it. Else it does where one of the two ends in the other, part by part, and in no other.
    """
    by_end: dict[str, list[str]] = {}
    for name in names:
        by_end.setdefault(name.rpartition("/")[2], []).append(name)
    found: dict[str, str] = {}
    by_tail: dict[str, str] = {}
    for key in map(bare, keys):
        folder, _, end = key.rpartition("/")
        inside = f"{folder}/rgb/{end}" if folder else f"rgb/{end}"
        exact = next((each for each in (key, inside) if each in names), None)
        if exact is not None:
            found[key] = exact
            continue
        fitting = [
            name for name in by_end.get(end, ()) if f"/{name}".endswith(f"/{key}") or key.endswith(f"/{name}")
        ]
        if len(fitting) == 1:
            by_tail[key] = fitting[0]
    claims = Counter([*found.values(), *by_tail.values()])
    return found | {key: name for key, name in by_tail.items() if claims[name] == 1}


def open_predictor(
    name: str,
    *,
    kind: DepthKind | None = None,
    convention: str | None = None,
    pattern: str | None = None,
    sparse: SparseInput | None = None,
    **options: Any,
) -> Predictor:
    """Return what a name stands for: a folder that exists, of a run or of depth files; a URL of such a folder;
    else a model.

    kind, convention: of depth files that do not say it. pattern: of their names, by default those that others
    write, or that of the image. sparse: for models that complete it. options: as `load_estimators` takes them.
    Raises `InputError` for a folder without depth, and what `load_estimators` raises.
    """
    root = to_path(name)
    if isinstance(root, Path) and not root.is_dir():
        given = options if kind is None else {**options, "kind": kind}
        return ModelPredictor(name, load_estimators(name, **given), sparse)
    name = str(root) if isinstance(root, RemotePath) else name  # without secrets: it is written down
    if list_files(root):
        return FolderPredictor(name, [_RunFiles(root)], run=root)
    about = {} if kind is None else {"kind": kind}
    with in_words(f"cannot read {root}", of=RemoteError), remember_listings():
        found = find_depth_files(root)
    if not found:
        raise InputError(
            f"no depth files in {root}: give the output folder of a run, depth files, or a model"
        )
    indexed = [
        index_depth_files(found, each) for each in ((*WRITERS, "{key}") if pattern is None else (pattern,))
    ]
    readings = [{key: DepthSource(path, about) for key, path in each.items()} for each in indexed if each]
    if not readings:
        raise InputError(f"no file in {root} fits `pattern` {pattern!r}: found {next(iter(found))}")
    return FolderPredictor(name, readings, convention)


class _RunFiles(Mapping[str, DepthSource]):
    """The depth that a run has done; views, that are to look at only, are left out.

    Of a million only what differs is kept: paths are made when they are asked for.
    """

    def __init__(self, root: AnyPath) -> None:
        made_by = read_depth_json(root).get("model")
        model = {"model": made_by} if isinstance(made_by, str) else {}
        self._root = root
        self._found: dict[str, tuple[str, Mapping[str, Any], Line | None]] = {}
        alike: dict[str, Mapping[str, Any]] = {}
        for names, line in _read_named(root):
            found = find_depth(line)
            if found is not None:
                said = {**model, **about_depth(line)}
                about = alike.setdefault(repr(said), said)
                packed = line if "inside" in line or "frame" in line else None
                self._found.update(dict.fromkeys(names, (found[0], about, packed)))
        if not self._found:
            raise InputError(f"no depth in {root} that can be measured: only views, or nothing is done")

    def __getitem__(self, key: str) -> DepthSource:
        name, about, line = self._found[key]
        packed = None if line is None else (self._root, name, line)
        return DepthSource(self._root / name, about, packed)

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def _read_named(root: AnyPath) -> Iterator[tuple[list[str], Line]]:
    """Yield the lines of what a run has done, of each frame of a clip its own, with the names of their images."""
    for whole in read_done(root):
        images: list[str] = []  # names, of a clip that was a folder of images
        if "clip" in whole and (folder := Path(whole.get("path") or "")).is_dir():
            found = list_images(folder)
            images = [each.name for each in found] if [*describe_images(found)] == whole["source"] else []
        for line in expand_clip(whole):
            names = [line["key"]]
            if "frame" in line:
                number = list_numbers(line["clip"])[line["frame"]]
                names = [f"{whole['key']}/{each}" for each in (f"{number:06}", *images[number : number + 1])]
            yield [bare(name) for name in names], line
