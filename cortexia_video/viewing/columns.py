"""`Column`: one thing to look at, such as the output folder of a run, as images with depth by key."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TypeVar

import numpy as np

from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.depth_estimation import DepthEstimator
from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import Failure, InputError, attempt, printable
from cortexia_video.evaluation.error_map import find_error
from cortexia_video.evaluation.ground_truth import GroundTruth, GroundTruthSet
from cortexia_video.evaluation.predictors import StoredPredictor
from cortexia_video.evaluation.protocol import Protocol
from cortexia_video.formats.maps import DECODE_MAPS, add_maps
from cortexia_video.formats.metadata import Metadata
from cortexia_video.frame import Frame
from cortexia_video.images.decode import decode, read_image_bytes
from cortexia_video.jobs.point_clouds import CloudMaker
from cortexia_video.ledger.artifacts import Line, expand_clip, find_image, read_run_depth, read_run_image
from cortexia_video.ledger.depth_reader import DepthReader, Reading
from cortexia_video.ledger.index import LedgerIndex
from cortexia_video.ledger.lines import LedgerLines
from cortexia_video.ledger.state import LedgerState, list_files
from cortexia_video.pinhole import Pinhole
from cortexia_video.rgbd_sample import RGBDSample
from cortexia_video.sources.depth_files import DepthFiles
from cortexia_video.sources.find import InputFile
from cortexia_video.storage.paths import (
    AnyPath,
    is_folder,
    name_inside,
    to_absolute,
    to_path,
    to_text,
)
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.video.depth_clip import SUFFIX, DepthClip, count_frames, split_frame
from cortexia_video.video.frames import read_frame
from cortexia_video.viewing.steps import (
    ClipLimits,
    MapView,
    Step,
    add_error,
    find_clip_limits,
    fit,
    make_map_view,
    shrink_image,
)

_SOME = 5  # frames of a clip whose colors hold for all
_FAILED = 200  # failures of a run that are listed
VIEWABLE = (
    "run cortexia estimate on images first; give its output folder, depth files, a clip of depth, results of "
    "cortexia evaluate, or a dataset (tum:DIR; the names are those of cortexia dataset info)"
)
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class ViewItem:
    """What is seen of one image: each a value, or the failure in its place; None where there is none.

    camera: of the whole image, where more is known than a focal length. time_s: of a frame of a clip, whose key
    is `clip`. is_truth: the depth is measured; max_m: up to there.
    """

    key: str
    frame: Frame | Failure | None
    depth: DepthMap | Failure
    camera: Pinhole | None = None
    time_s: float | None = None
    clip: str = ""
    is_truth: bool = False
    max_m: float | None = None


Load = Callable[[], ViewItem]  # called on any thread


class Column:
    """One thing to look at. name: of its panels."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._limits: dict[str, ClipLimits | None] = {}

    def list_items(self, count: int) -> Iterator[Load]:
        """Yield what loads its images, at most so many, spread over all, in their order."""
        raise InputError(f"{self.name} is viewed beside others: give it after them")

    def read(self, key: str, frame: Frame | None) -> DepthMap:
        """Return the depth of an image of another column; on any thread. Raises what is wrong."""
        raise InputError(f"{self.name} is viewed alone, or first: give it before the others")

    def find_limits(self, clip: str) -> ClipLimits | None:
        """Return where colors end in all frames of a clip, so that nothing flickers by them; on any thread."""
        if clip not in self._limits:
            frames = [attempt(clip, "decode", each) for each in self.list_some(clip)]
            self._limits[clip] = find_clip_limits([each for each in frames if isinstance(each, DepthMap)])
        return self._limits[clip]

    def list_some(self, clip: str) -> Iterator[Callable[[], DepthMap]]:
        """Yield what reads some frames of a clip, spread over it."""
        return iter(())

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

    def list_items(self, count: int) -> Iterator[Load]:
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
                yield partial(load_line, self._root, each, self._images)

    def read(self, key: str, frame: Frame | None = None) -> DepthMap:
        """See `Column`."""
        clip, _, number = key.rpartition("/")
        for name in (key, clip):
            if self._state.get(name) is not None:
                with self._lock:
                    (line,) = self._lines.at([self._state.place(name)])
                found = {**line, "frame": int(number)} if "clip" in line else line
                return read_run_depth(self._root, found, maps=DECODE_MAPS)
        raise InputError(f"{self.name} has no depth of it")

    def list_some(self, clip: str) -> Iterator[Callable[[], DepthMap]]:
        """See `Column`."""
        if self._state.get(clip) is not None:
            with self._lock:
                (line,) = self._lines.at([self._state.place(clip)])
            yield from (partial(read_run_depth, self._root, each) for each in expand_clip(line, _SOME))

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
        clip, number = split_frame(place) or (place, None)
        self._place, self._images, self._number = clip, images, number
        self._is_clip = clip.suffix.lower() == SUFFIX
        self._files = DepthFiles([to_text(clip)], convention=convention, about=about)
        self._reader = DepthReader(about=about, convention=convention, max_megapixels=float("inf"))

    def list_items(self, count: int) -> Iterator[Load]:
        """See `Column`."""
        if self._is_clip:
            yield from self._list_frames(count)
            return
        total = sum(1 for _ in self._files)
        if not total:
            raise InputError(f"nothing to view in {printable(str(self._place))}: {VIEWABLE}")
        chosen = {*spread(range(total), count)}
        for number, found in enumerate(self._files):
            if number in chosen:
                yield partial(self._load_file, found)

    def _list_frames(self, count: int) -> Iterator[Load]:
        known = find_line(self._place)
        if known:
            every = expand_clip(known[1], count if self._number is None else None)
            for line in every:
                if self._number in (None, line["frame"]):
                    yield partial(load_line, known[0], line, self._images)
            return
        with DepthClip(self._place) as clip:
            times_s = clip.times_s.tolist()
        numbers = spread(range(len(times_s)), count) if self._number is None else [self._number]
        for number in numbers:
            yield partial(self._load_frame, number, dict(enumerate(times_s)).get(number))

    def _load_frame(self, number: int, time_s: float | None) -> ViewItem:
        key, images = f"{self._place.name}/{number:06}", self._images
        depth = attempt(key, "decode", lambda: self.read(key))
        frame = None
        if images is not None:
            frame = attempt(key, "decode", lambda: Frame(key, read_frame(images, number)))
        return ViewItem(key, frame, depth, time_s=time_s, clip=self._place.name)

    def _load_file(self, found: InputFile | Failure) -> ViewItem:
        if isinstance(found, Failure):
            return ViewItem(found.key, None, found)
        key, place = found.key, to_path(found.place)

        def read() -> Reading:
            reading = self._reader.decode(self._reader.read_bytes(place), place)
            return reading._replace(depth=add_maps(reading.depth, reading.read_maps(DECODE_MAPS)))

        reading = attempt(key, "decode", read)
        if isinstance(reading, Failure):
            return ViewItem(key, None, reading)
        line, images, frame = reading.line, self._images, None
        if find_image(line) is not None:
            frame = attempt(key, "decode", lambda: _decode(read_run_image(line, images=images), key))
        elif images is not None:
            beside = images / key if is_folder(images) else images
            frame = attempt(key, "decode", lambda: _decode(read_image_bytes(beside), key))
        return ViewItem(key, frame, reading.depth)

    def read(self, key: str, frame: Frame | None = None) -> DepthMap:
        """See `Column`."""
        number = int(key.rpartition("/")[2]) if self._is_clip else 0
        return self._reader.read(f"{to_text(self._place)}#{number}" if self._is_clip else self._place)

    def list_some(self, clip: str) -> Iterator[Callable[[], DepthMap]]:
        """See `Column`."""
        for number in spread(range(count_frames(self._place)), _SOME):
            yield partial(self.read, f"{clip}/{number:06}")


class TruthColumn(Column):
    """A dataset, or several: images, and measured depth."""

    def __init__(self, name: str, truth: GroundTruth) -> None:
        super().__init__(name)
        self.truth = truth

    def list_items(self, count: int) -> Iterator[Load]:
        """See `Column`; of a stream the first."""
        is_known = all(isinstance(each.dataset, RGBDDataset) for each in self.truth.sets)
        places = (
            partial(_load_sample, self.truth.name(within, key), read, within)
            for within in self.truth.sets
            for key, read in within.list_samples()
        )
        yield from spread([*places], count) if is_known else islice(places, count)


def _load_sample(key: str, read: Callable[[], RGBDSample], within: GroundTruthSet) -> ViewItem:
    sample = attempt(key, "decode", read)
    if isinstance(sample, Failure):
        return ViewItem(key, None, sample)
    values = np.where(sample.valid, sample.depth.values, np.float32(np.nan))
    depth = replace(sample.depth, values=values)
    frame = replace(sample.frame, key=key) if within.has_images else None
    max_m = within.max_m
    return ViewItem(key, frame, depth, sample.camera, sample.frame.timestamp_s, is_truth=True, max_m=max_m)


class StoredColumn(Column):
    """Depth in a run or a folder of files that is found by the keys of another column's images."""

    def __init__(self, name: str, predictor: StoredPredictor, keys: Sequence[str]) -> None:
        super().__init__(name)
        self._predictor = predictor
        predictor.learn_keys(keys)

    def read(self, key: str, frame: Frame | None = None) -> DepthMap:
        """See `Column`."""
        found = self._predictor.read(key)
        if isinstance(found, Failure):
            raise found.error
        if found is None:
            raise InputError(f"{self.name} has no depth of it")
        return found


class ModelColumn(Column):
    """A model, run on the images of a dataset while they are looked at."""

    def __init__(self, name: str, estimator: DepthEstimator) -> None:
        super().__init__(name)
        self._estimator, self._lock = estimator, threading.Lock()

    def read(self, key: str, frame: Frame | None = None) -> DepthMap:
        """See `Column`."""
        if frame is None:
            raise InputError(f"{self.name} has no image of it to run on")
        with self._lock:
            return self._estimator(frame)


def find_line(place: AnyPath) -> tuple[AnyPath, Line] | None:
    """Return the run that wrote a file, and its line about it; None where no ledger in a folder above knows it."""
    place = to_absolute(place)
    for root in () if isinstance(place, RemotePath) else place.parents:
        if list_files(root):
            lines = LedgerIndex(root).find(name_inside(place, root))
            return next(((root, line) for line in lines if line.get("outcome") == "done"), None)
    return None


def load_line(root: AnyPath, line: Line, images: AnyPath | None) -> ViewItem:
    """Read the depth of a line of a run's ledger, and its image."""
    key = line["key"]
    depth = attempt(key, "decode", lambda: read_run_depth(root, line, maps=DECODE_MAPS))
    frame = attempt(key, "decode", lambda: _decode(read_run_image(line, images=images), key))
    time_s = line["frame"] / line["clip"]["rate"] if "frame" in line else None
    clip = key.rpartition("/")[0] if "frame" in line else ""
    return ViewItem(key, frame if find_image(line) else None, depth, time_s=time_s, clip=clip)


def _decode(data: bytes, key: str) -> Frame:
    return decode(data, key, max_megapixels=float("inf"), enough=fit)


def make_step(columns: Sequence[Column], maker: CloudMaker, protocol: Protocol, load: Load) -> Step:
    """Load an image of the first column, and its depth in all; on any thread. What is wrong takes its place.

    protocol: by which depth is measured where the first column has the truth.
    """
    item = load()
    key, frame = item.key, item.frame
    problem = f"no image: {frame.reason}" if isinstance(frame, Failure) else None
    seen = frame if isinstance(frame, Frame) else None
    maps: list[MapView | Failure] = []
    limits = None
    truth = item.depth.values if item.is_truth and isinstance(item.depth, DepthMap) else None
    for number, column in enumerate(columns):
        depth = attempt(key, "decode", partial(column.read, key, seen)) if number else item.depth
        if isinstance(depth, Failure):
            maps.append(depth)
            continue
        held = column.find_limits(item.clip) if item.clip else None
        shown = attempt(key, "decode", partial(make_map_view, depth, seen, item.camera, maker, limits, held))
        if isinstance(shown, MapView):
            limits = limits or (shown.limits if shown.is_metric else None)  # of the first: colors compare
            if number and truth is not None:
                shown = add_error(shown, partial(find_error, depth, truth, protocol, max_m=item.max_m))
        maps.append(shown)
    image = shrink_image(seen) if seen else None
    return Step(key, image, maps, problem, item.time_s, item.clip)


def spread(items: Sequence[_Item], count: int) -> list[_Item]:
    """Return at most `count` items, evenly spread over all, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    return [items[number] for number in np.linspace(0, len(items) - 1, count).round().astype(int).tolist()]
