"""`Column`: one thing to look at, such as the output folder of a run, as images with depth by key."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from cortexia_video.datasets.dataset import AnyDataset, Attempt, RGBDDataset, list_all
from cortexia_video.datasets.registry import DATASETS, open_dataset, recognise
from cortexia_video.depth_map import DepthKind, DepthMap
from cortexia_video.errors import Failure, InputError, attempt, printable
from cortexia_video.evaluation.predictors import StoredPredictor, open_predictor
from cortexia_video.formats.metadata import Metadata
from cortexia_video.frame import Frame
from cortexia_video.images.decode import decode, read_image_bytes
from cortexia_video.images.sniff import IMAGE_SUFFIXES
from cortexia_video.jobs.point_clouds import CloudMaker
from cortexia_video.ledger.artifacts import Line, expand_clip, find_image, read_run_depth, read_run_image
from cortexia_video.ledger.depth_reader import DepthReader
from cortexia_video.ledger.index import LedgerIndex
from cortexia_video.ledger.lines import LedgerLines
from cortexia_video.ledger.state import LedgerState, list_files
from cortexia_video.pinhole import Pinhole
from cortexia_video.sources.depth_files import DepthFiles
from cortexia_video.sources.find import InputFile
from cortexia_video.storage.paths import AnyPath, is_folder, name_inside, to_absolute, to_path, to_text
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.video.depth_clip import SUFFIX, DepthClip, split_frame
from cortexia_video.video.frames import read_frame
from cortexia_video.viewing.steps import MapView, Step, fit, make_map_view, shrink_image

_FAILED = 200  # failures of a run that are listed
_VIEWABLE = (
    "give an output folder of cortexia estimate, depth files, a clip of depth, results of cortexia evaluate, or a "
    "dataset (tum:DIR; the names are those of cortexia dataset info)"
)
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Look:
    """What is seen of one image: each a value, or the failure in its place; None where there is none.

    camera: of the whole image, where more is known than a focal length. time_s: of a frame of a clip, whose key
    is `clip`.
    """

    key: str
    frame: Frame | Failure | None
    depth: DepthMap | Failure
    camera: Pinhole | None = None
    time_s: float | None = None
    clip: str = ""


Load = Callable[[], Look]  # called on any thread


class Column:
    """One thing to look at. name: of its panels."""

    is_truth = False  # its depth is measured, not estimated

    def __init__(self, name: str) -> None:
        self.name = name

    def list_looks(self, count: int) -> Iterator[Load]:
        """Yield what loads its images, at most so many, spread over all, in their order."""
        raise InputError(f"{self.name} is viewed beside others: give it after them")

    def read(self, key: str) -> DepthMap:
        """Return the depth of an image of another column; on any thread. Raises what is wrong."""
        raise InputError(f"{self.name} is viewed alone, or first")

    def list_failed(self) -> Iterator[str]:
        """Yield what failed when its depth was made, for people."""
        return iter(())


class RunColumn(Column):
    """The output folder of a run, by its ledger. images: the folder that has the images now."""

    def __init__(self, name: str, root: AnyPath, images: AnyPath | None, opened: ExitStack) -> None:
        super().__init__(name)
        self._root, self._images, self._lock = root, images, threading.Lock()
        self._lines = opened.enter_context(LedgerLines(root))
        self._state = LedgerState(self._lines)

    def list_looks(self, count: int) -> Iterator[Load]:
        """See `Column`: by their keys. What images leave of the count is for the frames of clips."""
        keys = sorted(key for key, _ in self._state.done())
        if not keys:
            raise InputError(f"no image is done in {printable(str(self._root))}: run cortexia estimate first")
        with self._lock:
            lines = [*self._lines.at(map(self._state.place, spread(keys, count)))]
        clips = sum("clip" in line for line in lines)
        frames = (count - len(lines) + clips) // clips if clips else 1
        for line in lines:
            for each in expand_clip(line, frames):
                yield partial(look_at_line, self._root, each, self._images)

    def read(self, key: str) -> DepthMap:
        """See `Column`."""
        clip, _, number = key.rpartition("/")
        for name in (key, clip):
            if self._state.get(name) is not None:
                with self._lock:
                    (line,) = self._lines.at([self._state.place(name)])
                return read_run_depth(self._root, {**line, "frame": int(number)} if "clip" in line else line)
        raise InputError(f"{self.name} has no depth of it")

    def list_failed(self) -> Iterator[str]:
        """See `Column`."""
        places = sorted(self._state.failed.values())
        with self._lock:
            lines = [*self._lines.at(places[:_FAILED])]
        for line in lines:
            yield f"{line['key']}: {line.get('reason')}"
        if len(places) > _FAILED:
            yield f"and {len(places) - _FAILED} more, which cortexia report lists"


class FilesColumn(Column):
    """A depth file, a clip of depth, or a folder of files; the run that wrote one knows its image.

    images: the image, the video, or the folder that has the images by their keys.
    """

    def __init__(
        self, name: str, place: AnyPath, images: AnyPath | None, about: Metadata, convention: str | None
    ) -> None:
        super().__init__(name)
        self._place, self._images = place, images
        self._files = DepthFiles([to_text(place)], convention=convention, about=about)
        self._reader = DepthReader(about=about, convention=convention, max_megapixels=float("inf"))

    def list_looks(self, count: int) -> Iterator[Load]:
        """See `Column`."""
        if self._place.suffix.lower() == SUFFIX:
            yield from self._list_frames(count)
            return
        total = sum(1 for _ in self._files)
        if not total:
            raise InputError(f"nothing to view in {printable(str(self._place))}: {_VIEWABLE}")
        chosen = {*spread(range(total), count)}
        for number, found in enumerate(self._files):
            if number in chosen:
                yield partial(self._look, found)

    def _list_frames(self, count: int) -> Iterator[Load]:
        known = find_line(self._place)
        if known:
            for line in expand_clip(known[1], count):
                yield partial(look_at_line, known[0], line, self._images)
            return
        with DepthClip(self._place) as clip:
            times_s = clip.times_s.tolist()
        for number in spread(range(len(times_s)), count):
            yield partial(self._look_at_frame, number, times_s[number])

    def _look_at_frame(self, number: int, time_s: float) -> Look:
        key, images = f"{self._place.name}/{number:06}", self._images
        depth = attempt(key, "decode", lambda: self.read(key))
        frame = None
        if images is not None:
            frame = attempt(key, "decode", lambda: Frame(key, read_frame(images, number)))
        return Look(key, frame, depth, time_s=time_s, clip=self._place.name)

    def _look(self, found: InputFile | Failure) -> Look:
        if isinstance(found, Failure):
            return Look(found.key, None, found)
        key, place = found.key, to_path(found.place)
        reading = attempt(key, "decode", lambda: self._reader.decode(self._reader.read_bytes(place), place))
        if isinstance(reading, Failure):
            return Look(key, None, reading)
        return Look(key, self._read_image(key, reading.line), reading.depth)

    def _read_image(self, key: str, line: Line) -> Frame | Failure | None:
        images = self._images
        if find_image(line) is not None:
            return attempt(key, "decode", lambda: _decode(read_run_image(line, images=images), key))
        if images is None:
            return None
        place = images / key if is_folder(images) else images
        return attempt(key, "decode", lambda: _decode(read_image_bytes(place), key))

    def read(self, key: str) -> DepthMap:
        """See `Column`."""
        is_clip = self._place.suffix.lower() == SUFFIX
        number = int(key.rpartition("/")[2]) if is_clip else 0
        return self._reader.read(f"{to_text(self._place)}#{number}" if is_clip else self._place)


class DatasetColumn(Column):
    """A dataset: its images, and its depth as ground truth."""

    is_truth = True

    def __init__(self, name: str, dataset: AnyDataset) -> None:
        super().__init__(name)
        self._dataset = dataset

    @property
    def keys(self) -> Sequence[str]:
        """Of its samples, where they are known before."""
        return self._dataset.keys if isinstance(self._dataset, RGBDDataset) else ()

    def list_looks(self, count: int) -> Iterator[Load]:
        """See `Column`; of a stream the first."""
        dataset = self._dataset
        if isinstance(dataset, RGBDDataset):
            dataset = replace(dataset, entries=spread(dataset.entries, count))
        for load in islice(list_all(dataset), count):
            yield partial(_look_at_sample, load)


def _look_at_sample(load: Callable[[], Attempt]) -> Look:
    sample = load()
    if isinstance(sample, Failure):
        return Look(sample.key, None, sample)
    values = np.where(sample.valid, sample.depth.values, np.float32(np.nan))
    depth = replace(sample.depth, values=values)
    return Look(sample.key, sample.frame, depth, sample.camera, sample.frame.timestamp_s)


class StoredColumn(Column):
    """Depth in a run or a folder of files that is found by the keys of another column's images."""

    def __init__(self, name: str, predictor: StoredPredictor, keys: Sequence[str]) -> None:
        super().__init__(name)
        self._predictor = predictor
        predictor.learn_keys(keys)

    def read(self, key: str) -> DepthMap:
        """See `Column`."""
        found = self._predictor.read(key)
        if isinstance(found, Failure):
            raise found.error
        if found is None:
            raise InputError(f"{self.name} has no depth of it")
        return found


def open_columns(
    paths: Sequence[str],
    opened: ExitStack,
    *,
    images: AnyPath | None,
    kind: DepthKind | None,
    convention: str | None,
) -> list[Column]:
    """Return what the paths are: a dataset first, wherever it stands, since its images and keys are everyone's.

    Raises `InputError` for a path at which there is nothing to look at.
    """
    names = name_apart(paths)
    is_plain = kind is None and convention is None  # else they are files whose meaning is given
    datasets = [
        _open_dataset(name, each) if is_plain else None for name, each in zip(names, paths, strict=True)
    ]
    first = next((each for each in datasets if each), None)
    columns: list[Column] = [first] if first else []
    for name, path, dataset in zip(names, paths, datasets, strict=True):
        if dataset:
            if dataset is not first:
                raise InputError(f"{path} is a second dataset: view one at a time, with depth of its images")
            continue
        place = _require_viewable(path)
        if is_folder(place) and columns and (first or not list_files(place)):
            predictor = open_predictor(path, kind=kind, convention=convention)
            keys = first.keys if first else ()
            columns.append(StoredColumn(name, predictor, keys))  # type: ignore[arg-type] # a folder's
        elif is_folder(place) and list_files(place):
            columns.append(RunColumn(name, place, images, opened))
        else:
            about: Metadata = {"kind": kind} if kind else {}
            columns.append(FilesColumn(name, place, images, about, convention))
    return columns


def _open_dataset(name: str, path: str) -> DatasetColumn | None:
    """Open a path that is a dataset, or says of which layout it is; None for others."""
    layout, _, root = path.partition(":")
    if layout in DATASETS and root:
        return DatasetColumn(name, open_dataset(layout, root))
    place = to_path(path)
    if not is_folder(place) or list_files(place):
        return None
    with suppress(InputError):
        layout = recognise(place)
        return DatasetColumn(name, open_dataset(layout, place))
    return None


def _require_viewable(path: str) -> AnyPath:
    place = to_path(path)
    if isinstance(place, Path) and split_frame(place) is None:
        if not place.exists():
            raise InputError(f"{printable(path)} does not exist: {_VIEWABLE}")
        if (
            place.is_file()
            and place.name.lower().endswith(tuple(IMAGE_SUFFIXES))
            and place.suffix.lower() != ".png"
        ):
            raise InputError(f"{printable(path)} is an image: run cortexia estimate on it first")
    return place


def find_line(place: AnyPath) -> tuple[AnyPath, Line] | None:
    """Return the run that wrote a file, and its line about it; None where no ledger in a folder above knows it."""
    place = to_absolute(place)
    for root in () if isinstance(place, RemotePath) else place.parents:
        if list_files(root):
            lines = LedgerIndex(root).find(name_inside(place, root))
            return next(((root, line) for line in lines if line.get("outcome") == "done"), None)
    return None


def look_at_line(root: AnyPath, line: Line, images: AnyPath | None) -> Look:
    """Read the depth of a line of a run's ledger, and its image."""
    key = line["key"]
    depth = attempt(key, "decode", lambda: read_run_depth(root, line))
    frame = attempt(key, "decode", lambda: _decode(read_run_image(line, images=images), key))
    time_s = line["frame"] / line["clip"]["rate"] if "frame" in line else None
    clip = key.rpartition("/")[0] if "frame" in line else ""
    return Look(key, frame if find_image(line) else None, depth, time_s=time_s, clip=clip)


def _decode(data: bytes, key: str) -> Frame:
    return decode(data, key, max_megapixels=float("inf"), enough=fit)


def make_step(columns: Sequence[Column], maker: CloudMaker, load: Load) -> Step:
    """Load an image of the first column, and its depth in all; on any thread. What is wrong takes its place."""
    look = load()
    key, frame = look.key, look.frame
    problem = f"no image: {frame.reason}" if isinstance(frame, Failure) else None
    seen = frame if isinstance(frame, Frame) else None
    maps: list[MapView | Failure] = []
    limits = None
    for number, column in enumerate(columns):
        depth = attempt(key, "decode", partial(column.read, key)) if number else look.depth
        shown = (
            depth
            if isinstance(depth, Failure)
            else attempt(key, "decode", partial(make_map_view, depth, seen, look.camera, maker, limits))
        )
        maps.append(shown)
        if isinstance(shown, MapView) and shown.is_metric:
            limits = limits or shown.limits  # those of the first, so that colors compare
    image = shrink_image(seen) if seen else None
    return Step(key, image, maps, problem, look.time_s, look.clip)


def spread(items: Sequence[_Item], count: int) -> list[_Item]:
    """Return at most `count` items, evenly spread over all, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    return [items[number] for number in np.linspace(0, len(items) - 1, count).round().astype(int).tolist()]


def name_apart(paths: Sequence[str]) -> list[str]:
    """Return short names for paths: the last part, or as many of the last as tell them apart."""
    parts = [each.rstrip("/").split("/") for each in paths]
    longest = max(map(len, parts))
    for taken in range(1, longest + 1):
        names = ["/".join(each[-taken:]) for each in parts]
        if len({*names}) == len(names):
            return names
    raise InputError(f"{', '.join(paths)}: one is given twice: give each once")
