"""`convert`: depth files in another format, or metres for another focal length, with all that is known.

Depth Pro's metres, and those of models like it (the ledger says `f_px_used`), are proportional to the focal
length that they were made with, so another one needs no network: values times new over old.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, Literal, cast

import numpy as np

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import (
    DepthFileError,
    Failure,
    InputError,
    LossError,
    OutputError,
    OutputExistsError,
    attempt,
    not_known,
    printable,
    require_positive,
)
from cortexia_video.formats.conventions import PER_METRE
from cortexia_video.formats.exports import EXPORTS
from cortexia_video.formats.maps import add_maps
from cortexia_video.formats.metadata import Metadata
from cortexia_video.formats.raw_depth import Chunks
from cortexia_video.formats.registry import FORMATS, MAPS, Format, FormatName
from cortexia_video.geometry.intrinsics import Intrinsics, load_intrinsics
from cortexia_video.geometry.normals import stretch_normals
from cortexia_video.jobs.clip_files import choose_format
from cortexia_video.jobs.clip_output import MAX_FPS
from cortexia_video.jobs.convert_clips import (
    CLIP_FORMS,
    LEROBOT,
    convert_clips,
    find_clip_form,
    find_clips,
)
from cortexia_video.jobs.outcomes import Listener, Report, facts_of, open_outcomes
from cortexia_video.ledger.artifacts import find_image, list_maps, list_outputs
from cortexia_video.ledger.depth_reader import DepthReader, Reading
from cortexia_video.ledger.state import complete_depth_json, read_depth_json
from cortexia_video.runtime.bounded_map import run_bounded
from cortexia_video.runtime.resources import MemoryBudget, choose_workers
from cortexia_video.sinks.sink import Sink, open_sink
from cortexia_video.sources.depth_files import DepthFiles
from cortexia_video.sources.find import Found, InputFile
from cortexia_video.storage.paths import AnyPath, is_inside, is_remote, is_same_folder, to_path
from cortexia_video.video.depth_clip import read_about, split_frame

MEMORY = 1 << 30  # bytes of files and arrays in work at once, over all workers; a larger one is done alone
_BYTES = 16  # a pixel: its value as it was read and in float32, and another file
_MAP_BYTES = 48  # a pixel, of normals and points at the worst moment
_KEPT = 1 << 24  # bytes of a file that may wait in memory; a larger one is read twice, once for its header
_KEPT_REMOTE = 1 << 26  # the same at a URL, where to read twice costs more
_TIMES = (1 << 63) - 1  # what a ledger can hold; of objects they are hashes, whose sum can be more
_SAME = 1e-9  # relative: what a focal length loses on its way through text
_OF_THE_RUN = ("f_px_used", "rescaled_from", "in_float32")  # of a ledger's line; no format holds them

NOT_METRIC = "not metric"
NOT_USED = "the model used no focal length"
NOT_KNOWN = "no ledger says whether the model used the focal length"
NOT_RECORDED = "the focal length that the model used is not recorded"
NONE_GIVEN = "none is given for it"
PANORAMA = "a panorama has none"

_log = logging.getLogger(__name__)


def convert(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    format: Literal[FormatName, "mkv", "mp4"] | None = None,
    to: str | None = None,
    fps: float = 24.0,
    f_px: float | None = None,
    intrinsics: str | os.PathLike[str] | None = None,
    convention: str | None = None,
    about: Metadata | None = None,
    allow_loss: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
    max_megapixels: float = 200.0,
    on_outcome: Listener | None = None,
    stop: threading.Event | None = None,
) -> Report:
    """Write depth files into a folder, in another format or for another camera.

    The kind of depth never changes. Outcomes, the ledger and what a second call does (only what is missing or
    changed) are those of `estimate`. Metres that a model made with another focal length (`f_px_used`) are
    multiplied by the given one over that: exact but for what the model's limits cut off, 0.1 mm and 10 km,
    and scaled like other values. Depth that has no focal length gets the given one. All other depth keeps its
    own, and is counted by reason in a warning. Normals, masks, confidence and points that a run wrote beside depth
    go along, made anew where they follow from what changed; not into clips, and not with `to`.

    Args:
        inputs: Depth files, folders with all that is in them, and lists; paths or URLs. Keys keep the tree:
            `trip/a.jpg.npy` becomes `trip/a.jpg` and the format's ending.
        output: The folder to write.
        format: npy, npz, tiff, exr, pfm: float32. png16, jxl: 16-bit steps. exr16: half floats. png: 8-bit
            view. mkv: a clip of 16 bits of each folder of frames. mp4: a clip in colours, to look at. By default
            that of the run whose output folder is converted.
        to: Whose files to write, as that convention reads them: tum, kitti, nyu, scannet, 7scenes, sunrgbd,
            middlebury, metres, depth-pro, moge, iw3, colmap, carla, shift; of clips lerobot. What does not fit is
            refused.
        fps: Frames per second of clips made of folders without a depth.txt, which says the times.
        f_px: Focal length of every image, in its pixels.
        intrinsics: CSV or JSON file of focal lengths by key, as for `cortexia estimate`.
        convention: Whose files these are, where neither they nor their folder say it: tum, kitti, nyu,
            scannet, 7scenes, sunrgbd, middlebury, metres, depth-pro, moge, iw3, colmap, carla, shift; lerobot, of
            videos, which become mkv.
        about: What the values mean, where nobody says it: kind, scale, unknown, f_px ...
        allow_loss: Write also what loses more than docs/formats.md allows, such as an 8-bit view. What is
            lost is logged before the first such file is written, and in the ledger's line of each.
        overwrite: Redo what is done, and replace files that the ledger does not know; never an input.
        workers: Threads; one per core by default.
        max_megapixels: Refuse larger maps.
        on_outcome: Called after each input with the report so far and its failure, if it failed.
        stop: Set it to end early; what has been begun is finished.

    Returns:
        How many were found, done, skipped and failed, and the first failures.

    Raises:
        InputError: There is nothing to convert, or nobody says to what.
        LossError: A file would lose something, and `allow_loss` does not say that it may.
        MissingExtraError: The format needs a package that is not installed.
        OutputError: The output cannot be written; nothing has been.
        OutputLostError: The output is full or unwritable; a second call goes on.

    Example:
        >>> cx.convert("depth", "depth-tiff", format="tiff")  # doctest: +SKIP
    """
    inputs = [inputs] if isinstance(inputs, str | os.PathLike) else inputs
    workers, root, stop = choose_workers(workers), to_path(output), stop or threading.Event()
    if about and about.get("along") == "ray" and f_px:  # then it is needed to read them
        about = {**about, "f_px": f_px, "f_source": "given"}
    own = None if convention == LEROBOT else convention
    reader = DepthReader(about=about, convention=own, max_megapixels=max_megapixels)
    given = load_intrinsics(f_px, intrinsics)
    given.require_square()
    open_folders(reader, inputs, root)
    more: dict[str, Any] = {"overwrite": overwrite, "on_outcome": on_outcome, "stop": stop}
    name = str(to or format)
    is_clip = name in CLIP_FORMS or convention == LEROBOT
    require_positive(fps=fps, most=MAX_FPS)
    settings: dict[str, object] = {
        "job": "convert",
        "format": format,
        "convention": to,
        "from": convention,
        "fps": fps if is_clip else None,
        "about": {**(about or {})},
        **given.settings,
    }
    if is_clip:
        if not (name in CLIP_FORMS or format in FORMATS) or (to and format) or given.settings:
            raise InputError(
                "clips are written by `format` or `to` lerobot, one of them, with the focal length that they have; "
                "to another convention what was written is converted again"
            )
        clips = find_clips(inputs, root, convention, about)
        sink = open_sink(
            root, format=name if name in FORMATS else "npy", suffixes=find_clip_form(name).suffixes
        )
        opened = open_outcomes(root, settings, sink, doing="converting", count=lambda: clips, **more)
        also: dict[str, Any] = {"allow_loss": allow_loss, "max_megapixels": max_megapixels}
        return convert_clips(
            clips, name, reader, opened, workers=workers, lerobot=convention == LEROBOT, fps=fps, **also
        )
    bare = to in EXPORTS and not EXPORTS[to].keeps_ending
    found = DepthFiles(inputs, output=root, convention=convention, about=about, bare=bare)
    files = require_depth_files(found, inputs)
    format = format or (None if to else find_run_format(inputs))
    whose = {convention or read_depth_json(to_path(each)).get("convention") for each in inputs}
    whole = PER_METRE.get(str(whose.pop())) if len(whose) == 1 else None
    step = 1 / whole if whole else (about or {}).get("scale")
    forms = _choose_formats(format, to, step)
    sink = open_sink(root, format=forms)
    if forms[0].decode is None and not allow_loss:
        raise LossError(
            f"{format} is a view in 256 steps to look at, scaled for each map: no depth can be read from it. "
            "`allow_loss=True` writes it all the same; png16 keeps depth"
        )
    settings["format"] = format
    change = _FocalLength(given, {"convention": to, **EXPORTS[to].facts} if to else {})
    job = DepthFileJob(reader, forms[0], change, allow_loss, maps=() if to else tuple(MAPS))
    report = job.run(found, files, sink, settings, doing="converting", workers=workers, **more)
    if unused := given.describe_unused():
        _log.warning("%s", unused)
    for reason, count in sorted(change.kept.items()):
        _log.warning("not scaled to the given focal length: %d (%s)", count, reason)
    return report


class DepthFileJob:
    """Depth files read, changed and written anew, each an input with one outcome.

    change: gives of what was read what is to be written, and what else the ledger's line says; called on threads.
    maps: those of `MAPS` that go along, where a run wrote them beside depth.
    """

    def __init__(
        self,
        reader: DepthReader,
        form: Format,
        change: Callable[[InputFile, Reading], tuple[DepthMap, Mapping[str, object]]],
        allow_loss: bool,
        maps: Collection[str] = tuple(MAPS),
    ) -> None:
        self._maps = frozenset(maps)
        self._reader = reader
        self._form = form
        self._change = change
        self._allow_loss = allow_loss
        self._told = False  # what is lost
        self._budget = MemoryBudget(MEMORY)

    def run(
        self,
        found: DepthFiles,
        files: Iterable[Found],
        sink: Sink,
        settings: Mapping[str, object],
        *,
        workers: int,
        **of_outcomes: Any,
    ) -> Report:
        """Work on every input until its outcome is recorded in the sink's folder; its ledger then ends with the counts.

        files: what was found. The others are those of `open_outcomes`.
        """
        self._sink, self._root = sink, sink.root.resolve()
        count = partial(copy, found)  # which counts the images that are none by itself
        with open_outcomes(sink.root, settings, sink, follows=True, count=count, **of_outcomes) as outcomes:
            self._outcomes, self._ledger = outcomes, outcomes.ledger
            with outcomes:
                run_bounded(
                    self._find_work(files),
                    lambda item: (item, attempt(item.key, "decode", lambda: self._convert(item))),
                    lambda result: outcomes.record(*result),
                    workers=workers,
                )
                complete_depth_json(sink, outcomes.ledger.state)
            outcomes.record_end()
        found.warn_of_images()
        return outcomes.report

    def _find_work(self, found: Iterable[Found]) -> Iterator[InputFile]:
        """Yield what is to be done; before the first, depth.json leaves to the ledger what is not known."""

        def add_beside(item: Found) -> Found:  # a file is done again, too, when its calibration changes
            if isinstance(item, Failure):
                return item
            changed = (item.source.mtime_ns + self._reader.time_beside(item.place)) & _TIMES
            return replace(item, source=item.source._replace(mtime_ns=changed))

        dated = (attempt(each.key, "find", partial(add_beside, each)) for each in found)
        work = self._outcomes.claimed(dated)
        first = next(work, None)
        if first:
            self._ledger.keep_depth_json(self._sink)
            yield first
            yield from work

    def _convert(self, item: InputFile) -> Failure | None:
        """On a worker: take one file to its outcome."""
        place, size = to_path(item.place).resolve(), item.source.size
        if str(place).endswith(self._form.suffix) and is_inside(place, self._root):
            raise OutputExistsError(  # it could be taken for an output of this run: no input is ever replaced
                f"it lies in the output folder and is {self._form.suffix} already: choose another `output`"
            )
        read = partial(self._reader.read_bytes, item.place)
        kept = _KEPT_REMOTE if is_remote(item.place) else _KEPT
        data = read() if size <= kept else b""  # a larger one waits where it is
        with self._budget.hold(size):
            pixels = self._reader.count_pixels(data or read(), item.place)
        needed = size + pixels * _BYTES
        with self._budget.hold(needed):
            reading = self._reader.decode(data or read(), item.place)
            if reading.changed:
                raise DepthFileError(
                    f"{printable(item.source.path)}: it is not what was written: `cortexia verify --requeue` "
                    "lets the next run make it again; if you changed it, copy it elsewhere and say what it is"
                )
            maps = [name for each, name in list_maps(reading.line).items() if each in self._maps]
            if not maps:
                return attempt(item.key, "write", lambda: self._place(item, reading, {}))
        outputs = list_outputs(reading.line)
        with self._budget.hold(needed + pixels * _MAP_BYTES + sum(outputs[name].size for name in maps)):
            beside = reading.read_maps(self._maps)
            reading = bound_by_mask(reading, beside)
            return attempt(item.key, "write", lambda: self._place(item, reading, beside))

    def _place(self, item: InputFile, reading: Reading, beside: Mapping[str, bytes]) -> None:
        depth, more = self._change(item, reading)
        form, clip = self._form, reading.line.get("clip", {})
        about: Mapping[str, Any] = {**clip["coding"], "unknown": 0, "clip": clip} if "coding" in clip else {}
        if frame := split_frame(item.place):
            about = read_about(frame[0], item.source.mtime_ns)
        if about and depth.values is reading.depth.values:  # of a clip, which says it of all its frames
            form = choose_format(form, about)
        lost = form.lost(depth) if form.lost else None
        if lost and not self._allow_loss:
            raise LossError(
                f"{lost}: `allow_loss=True` writes it all the same, or choose another `format` or `to`"
            )
        if lost and not self._told:
            self._told = True
            _log.warning(
                "%s: %s; the ledger says of each file what it lost", printable(item.source.path), lost
            )
        maps = _carry(beside, reading.depth, depth)
        files = self._sink.encode(item.key, depth, form)
        files |= {item.key + MAPS[name].suffix: chunks for name, chunks in maps.items()}
        self._outcomes.require_own(item.key, [*files])
        self._ledger.record_begun(item.key, list(files), unclaimed=bool(maps))
        outputs = self._sink.place(files)
        facts = {**facts_of(depth), "model": depth.model, "weights_sha256": depth.weights_sha256}
        facts |= {**more, "lost": lost} if lost else more
        facts["made_of"] = "depth"  # its source is no image
        image = find_image(reading.line)
        facts |= {"image": image} if image else {}
        self._ledger.record_done(item.key, item.source, outputs, **facts)


def bound_by_mask(reading: Reading, beside: Mapping[str, bytes]) -> Reading:
    """Return what was read with the mask among the files beside it, if one is there: depth ends where that does."""
    mask = {name: data for name, data in beside.items() if name == "mask"}
    return reading._replace(depth=add_maps(reading.depth, mask)) if mask else reading


def _carry(beside: Mapping[str, bytes], before: DepthMap, depth: DepthMap) -> dict[str, Chunks]:
    """Return the files beside depth, by their names in `MAPS`: as they are, or anew by what changed from `before`."""
    moved, scaled = depth.f_px != before.f_px, depth.values is not before.values
    anew = {*beside} if moved else {"points"} if scaled else set()
    if anew & beside.keys():
        depth = add_maps(depth, beside)
    if moved and scaled and depth.normals is not None and depth.f_px and before.f_px:
        depth = replace(depth, normals=stretch_normals(depth.normals, depth.f_px / before.f_px))
    return {name: MAPS[name].encode(depth) if name in anew else [data] for name, data in beside.items()}


class _FocalLength:
    """Changes metres to those of the given focal length. kept: how many stay those of another, by reason.

    facts: what the ledger says of each map besides.
    """

    def __init__(self, given: Intrinsics, facts: Mapping[str, object]) -> None:
        self.kept: Counter[str] = Counter()
        self._given = given
        self._facts = facts
        self._counting = threading.Lock()

    def __call__(self, item: InputFile, reading: Reading) -> tuple[DepthMap, Mapping[str, object]]:
        depth, kept = self._scale(item, reading) if self._given.settings else (reading.depth, "")
        if kept:
            with self._counting:
                self.kept[kept] += 1
        facts = {name: reading.line[name] for name in _OF_THE_RUN if name in reading.line}
        facts.update(self._facts)
        before = reading.depth.f_px
        return depth, facts if before in (None, depth.f_px) else {**facts, "rescaled_from": before}

    def _scale(self, item: InputFile, reading: Reading) -> tuple[DepthMap, str]:
        """Return the depth for the focal length that is given; or, with the reason, as it is."""
        depth, line = reading.depth, reading.line
        height, width = depth.full_size or depth.values.shape
        f_px, is_used = self._given.find(line.get("key", item.key), width, height), line.get("f_px_used")
        if f_px is None:
            return depth, NONE_GIVEN
        if depth.projection == "equirectangular":
            return depth, PANORAMA
        if depth.f_px is None:
            return (depth, NOT_RECORDED) if is_used else (replace(depth, f_px=f_px, f_source="given"), "")
        if math.isclose(f_px, depth.f_px, rel_tol=_SAME):
            return depth, ""
        if depth.kind != "metric":
            return depth, NOT_METRIC
        if not is_used:
            return depth, NOT_USED if line else NOT_KNOWN
        factor = np.float64(f_px / depth.f_px)  # in float64, so that values are rounded once
        values = (depth.values * factor).astype(np.float32)
        return replace(depth, values=values, f_px=f_px, f_source="given"), ""


def open_folders(reader: DepthReader, inputs: Iterable[str | os.PathLike[str]], root: AnyPath) -> None:
    """Let a reader know the folders of a job's inputs: each of their files would fail if that cannot be.

    Raises `InputError` for one that is the output folder `root`, and what `DepthReader.open_folder` does.
    """
    for each in inputs:
        if is_same_folder(root, each):
            raise InputError(f"{printable(str(to_path(each)))} is input and output: choose another `output`")
        reader.open_folder(each)


def find_run_format(inputs: Sequence[str | os.PathLike[str]]) -> FormatName:
    """Return the format that the depth.json of every input says, if that is one that depth is read from."""
    formats = {str(read_depth_json(to_path(each)).get("format")) for each in inputs}
    format = formats.pop() if len(formats) == 1 else ""
    if format not in FORMATS or FORMATS[format].decode is None:
        raise InputError("the inputs are not output folders of one format that could be kept: give `format`")
    return cast(FormatName, format)


def _choose_formats(format: str | None, to: str | None, step: float | None) -> tuple[Format, ...]:
    """Return the formats of the files of a key. step: of a sensor's whole numbers, which are kept."""
    if to is not None:
        if to not in EXPORTS:
            raise InputError(not_known("convention", to, EXPORTS))
        if format is not None:
            raise InputError("`to` says the format: leave `format` out")
        return EXPORTS[to].formats
    if format not in FORMATS:
        raise OutputError(not_known("format", str(format), FORMATS))
    form = FORMATS[format]
    return (form if step is None else form.with_steps(step),)


def require_depth_files(found: DepthFiles, inputs: Sequence[str | os.PathLike[str]]) -> Iterator[Found]:
    """Return all inputs, once there is a first, so that nothing is made for a folder without any."""
    files = iter(found)
    first = next(files, None)
    if first is None:
        places = ", ".join(printable(str(to_path(each))) for each in inputs)
        images = f"; {found.images} PNG of 8 bits or in colour are no depth" if found.images else ""
        raise InputError(f"no depth files in {places}{images}: give depth files, or folders of them")
    return chain([first], files)
