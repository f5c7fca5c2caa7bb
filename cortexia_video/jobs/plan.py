"""`plan`: what a run would cost, from a count of the inputs and a few that are timed."""

from __future__ import annotations

import itertools
import json
import math
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cortexia_video.depth_estimation import DepthEstimator, Size, load_estimators
from cortexia_video.errors import (
    Failure,
    InputError,
    OutputError,
    OutputLostError,
    attempt,
    format_count,
    require_at_least_1,
)
from cortexia_video.formats.registry import FORMATS, choose_maps
from cortexia_video.frame import Frame
from cortexia_video.images.decode import Header
from cortexia_video.inference.backend_selection import BackendSelector
from cortexia_video.inference.batches import BatchSize
from cortexia_video.jobs.backend_choice import WAY, find_kept, load_kept
from cortexia_video.jobs.estimate import Decoding, estimate
from cortexia_video.jobs.input_sample import Tally, find_existing, read_headers
from cortexia_video.jobs.worker import USUAL_TASK, decode_readable
from cortexia_video.ledger.artifacts import find_depth, list_maps, list_outputs
from cortexia_video.ledger.depth_reader import read_depth
from cortexia_video.ledger.entries import CLAIMED
from cortexia_video.ledger.ledger import read_ledger
from cortexia_video.ledger.state import DoneEntry, LedgerState, read_state
from cortexia_video.models.protocol import AUTO
from cortexia_video.runtime.progress import track
from cortexia_video.runtime.resources import Speed
from cortexia_video.sinks.sink import open_sink
from cortexia_video.sources.find import InputFile, find_images, mark_key
from cortexia_video.sparse_depth.source import open_sparse
from cortexia_video.storage.atomic_file import scratch_folder
from cortexia_video.storage.documents import parse_json
from cortexia_video.storage.paths import AnyPath, is_remote, to_path
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.video.clip_index import ClipIndex
from cortexia_video.video.image_sequence import read_any_index

_LISTED = 1000  # objects a request
_LOOKED_AT = 200  # headers
_TIMED = 12  # images that go through the whole job
_TIMED_PIXELS = 200_000_000  # of these together, where they are so large
_LOOKED_AT_CLIPS, _LOOKED_AT_BYTES = 16, 1 << 31  # videos whose packets are read, and their bytes, about
_TIMED_CLIPS, _TIMED_FRAMES = 2, 48  # videos of which so many frames go through the whole job
_APART = 100_000  # inputs, of several and of lists, that are seen to come twice: 30 MB
_ENCODED = 4  # depth maps that go through every format

_Sample = dict[str, tuple[float, float]]  # of one depth map, by format: core-seconds and bytes per pixel


class _Timed(NamedTuple):
    """What some images took that went through the whole job as npy.

    samples: of some of their depth maps. pixels: of a depth map, on average. maps: bytes per pixel beside it, by name.
    """

    speed: Speed
    samples: list[_Sample]
    pixels: float
    maps: dict[str, float]


@dataclass(frozen=True, slots=True)
class FormatCost:
    """What one format would take for all images.

    With several workers hours are those by the clock; each of them takes as many.

    Attributes:
        hours: Of the whole run.
        bytes: Of all outputs, maps beside depth among them.
    """

    hours: float
    bytes: int


@dataclass(frozen=True, slots=True)
class ClipCost:
    """What a run over all videos would take, each kept as one file, of the network's size.

    Attributes:
        found: Videos.
        done: Of these, those that `output` has already.
        unreadable: Of those looked at, those that cannot be read.
        bytes: Of the videos' files.
        frames: Of all; where not all were looked at, by their bytes.
        seconds: How long they last together, likewise.
        timed: Frames that were estimated.
        hours: Of the run.
        output_bytes: Of the depth of those that are not done.
    """

    found: int
    done: int
    unreadable: int
    bytes: int
    frames: int
    seconds: float
    timed: int
    hours: float
    output_bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run over all images would take.

    Attributes:
        found: Images.
        done: Of these, those that `output` has already, made of the same images with these settings.
        lost: Inputs that cannot be opened.
        bytes: Of the images' files.
        looked_at: Headers that were read.
        unreadable: Of these.
        smallest: (width, height) among those looked at.
        largest: (width, height) among those looked at.
        megapixels: On average.
        timed: Images that were estimated.
        formats: What each would take, by name.
        num_workers: Machines such as this one that share the work.
        requests: To object stores, by kind.
        clips: What the videos among them would take; None where there are none.
        maps: Bytes of the maps beside depth, by name.
    """

    found: int
    done: int
    lost: int
    bytes: int
    looked_at: int
    unreadable: int
    smallest: tuple[int, int]
    largest: tuple[int, int]
    megapixels: float
    timed: int
    formats: dict[str, FormatCost]
    num_workers: int
    requests: dict[str, int]
    clips: ClipCost | None = None
    maps: dict[str, int] = field(default_factory=dict)


def plan(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    output: str | os.PathLike[str] | None = None,
    model: str | DepthEstimator = "compact",
    recursive: bool = False,
    size: Size = "full",
    also: Sequence[str] = (),
    f_px: float | None = None,
    intrinsics: str | os.PathLike[str] | None = None,
    sparse: str | os.PathLike[str] | None = None,
    sparse_from: str | None = None,
    decode: Decoding = "exact",
    batch_size: BatchSize = 4,
    device: str = "auto",
    num_workers: int = 1,
    **model_options: Any,
) -> Plan:
    """Count the inputs and foretell hours and bytes for each format; nothing is written to the output.

    A few images chosen at random, twelve at most, are estimated into a temporary folder, beside `output`
    where that is given. Hours are those that the slowest of model, cores and disk would take alone: a long
    run comes close to it. What an earlier run has done in `output`, by the same model of the same size, is taken
    off; of the format, which is not asked for here, nothing is looked at. Of videos, sixteen at most, the packets are
    read, and the first frames of two are estimated. Of several inputs, and of a list, the first 100,000 files are
    remembered: what comes again after these counts again.

    Args:
        inputs: Image files, folders and lists, as `estimate` takes them; so are those below.
        output: Where the outputs would go: says whether there is room.
        model: A name, or a loaded estimator.
        recursive: Descend into the folders inside.
        size: full or native.
        also: Maps to write beside each depth file, as `estimate` takes them.
        f_px: Focal length of every image, in its pixels.
        intrinsics: File of focal lengths by key.
        sparse: Folder of sensors' depth, for models that complete it.
        sparse_from: Whose files these are.
        decode: exact or fast.
        batch_size: Images in one call of the model, or `auto`.
        device: One, or several with commas between.
        num_workers: Machines such as this one that would share the work evenly, and not slow each other down.
        **model_options: As `load_estimator` takes them.

    Returns:
        Counts, sizes, and for each format hours and bytes.

    Raises:
        InputError: There is nothing to do, or no sample can be read.
        OutputError: There is no room for the samples.
        ModelError: The model cannot be loaded.

    Example:
        >>> cx.plan("photos", recursive=True).formats["npy"].hours  # doctest: +SKIP
        3.2
    """
    inputs = [inputs] if isinstance(inputs, str | os.PathLike) else inputs
    require_at_least_1(num_workers=num_workers)
    root = to_path(output) if output else None
    state = read_state(root) if root else LedgerState()
    found = _count(inputs, recursive, root, state)
    images, clips, samples = found.images, found.clips, found.images.shuffle()
    if not (samples or clips.found):
        why = f"none of {format_count(found.lost, 'input')} can be opened" if found.lost else "no images"
        raise InputError(f"{why} in {', '.join(str(to_path(each)) for each in inputs)}")
    headers = read_headers(track(samples, "looking", total=len(samples)))
    if samples and not headers:
        several = format_count(len(samples), "image")
        raise InputError(f"none of {several} looked at can be read, such as {samples[0].key}")
    maps = choose_maps(also)
    asked: dict[str, Any] = {"device": device, "batch_size": batch_size, "size": size, **model_options}
    asked |= {"also": tuple(each for each in maps if each != "points")} if maps else {}
    run: dict[str, Any] = {"decode": decode, "f_px": f_px, "intrinsics": intrinsics}
    run |= {"sparse": sparse, "sparse_from": sparse_from}
    chosen = _choose(headers)
    if isinstance(model, str):  # as a run would load it, by the backend that it would settle on
        task = replace(USUAL_TASK, sparse=open_sparse(sparse, sparse_from))
        frames = decode_readable(chosen or clips.shuffle(), task)
        estimators = _load(model, asked, root, frames, images, clips)
    else:
        estimators = load_estimators(model, **asked)
    ours = {**estimators[0].identity, "decode": decode, **({"also": maps} if maps else {})}
    fitting = _find_fitting(state, ours)
    left = images.found - sum(found.done[name] for name in fitting)
    # on the disk that the output would be on, if that can be written
    beside = find_existing(root) if isinstance(root, Path) else None
    beside = beside if beside and os.access(beside, os.W_OK) else None
    sides = sorted(((each.width, each.height) for each in headers.values()), key=math.prod) or [(0, 0)]
    mean = sum(map(math.prod, sides)) / len(sides)
    count, formats, of_maps = 0, dict[str, FormatCost](), dict[str, int]()
    if chosen:
        timed = _time(chosen, estimators, beside, also=maps, **run)
        of_map = mean if estimators[0].size == "full" else timed.pixels
        count, formats = timed.speed.images, _foretell(left / num_workers, left, timed, of_map)
        of_maps = {name: round(left * of_map * each) for name, each in timed.maps.items()}
    clip_cost = None
    if clips.found:
        finished = sum(found.done_clips[name] for name in fitting)
        clip_cost = _plan_clips(clips, finished, estimators, beside, num_workers, run)
    return Plan(
        found=images.found,
        done=images.found - left,
        lost=found.lost,
        bytes=images.bytes,
        looked_at=len(samples),
        unreadable=len(samples) - len(headers),
        smallest=sides[0],
        largest=sides[-1],
        megapixels=mean / 1e6,
        timed=count,
        formats=formats,
        num_workers=num_workers,
        requests=_count_requests(images.found + clips.found, left, inputs, root),
        clips=clip_cost,
        maps=of_maps,
    )


@dataclass(slots=True)
class _Count:
    """What inputs there are. done, done_clips: how many `output` has, by the run that did them. lost: how many cannot
    be opened."""

    images: Tally
    clips: Tally
    done: Counter[str] = field(default_factory=Counter)
    done_clips: Counter[str] = field(default_factory=Counter)
    lost: int = 0


def _count(
    inputs: Sequence[str | os.PathLike[str]], recursive: bool, root: AnyPath | None, state: LedgerState
) -> _Count:
    found, sink = _Count(Tally(_LOOKED_AT), Tally(_LOOKED_AT)), open_sink(root) if root else None
    listed = find_images(inputs, recursive=recursive, output=root, videos=True, apart=_APART)
    for item in track(listed, "counting", "inputs"):
        if isinstance(item, Failure):
            found.lost += 1
            continue
        entry = _find_entry(item, state) if sink else None
        if sink and entry:
            whole = all(sink.size_of(name) == each.size for name, each in entry.outputs.items())
            (found.done_clips if item.is_clip else found.done)[entry.run] += whole
        (found.clips if item.is_clip else found.images).add(item)
    return found


def _find_entry(item: InputFile, state: LedgerState) -> DoneEntry | None:
    """Return what is known of an input that is done, also where another input has its key."""
    for key in (item.key, mark_key(item.key, item.place)):
        if (entry := state.get(key)) and entry.made_of(item.source):
            return entry
    return None


def _choose(headers: Mapping[InputFile, Header]) -> list[InputFile]:
    """Choose a few images to time, fewer where they are huge, at least one."""
    pixels = itertools.accumulate(each.width * each.height for each in headers.values())
    few = itertools.takewhile(lambda seen: seen[1] <= _TIMED_PIXELS, zip(headers, pixels, strict=True))
    return [image for image, _ in itertools.islice(few, _TIMED)] or [*headers][:1]


def _find_fitting(state: LedgerState, ours: Mapping[str, object]) -> list[str]:
    """Return the runs whose settings are these, whatever else they were told."""
    settings = parse_json(json.dumps(ours, default=str), "settings", finite=False)
    settings |= {name: settings.get(name) for name in WAY}
    theirs = {name: {**dict.fromkeys(WAY), **each.settings} for name, each in state.runs.items()}
    return [name for name, each in theirs.items() if settings.items() <= each.items()]


def _count_requests(
    found: int, left: int, inputs: Iterable[str | os.PathLike[str]], root: AnyPath | None
) -> dict[str, int]:
    """Return what object stores will be asked: they charge for it."""
    remote, stored = any(is_remote(each) for each in inputs), isinstance(root, RemotePath)
    return {
        "LIST": math.ceil(found * (remote + stored) / _LISTED),
        "GET": left if remote else 0,
        "PUT": left + 2 * math.ceil(left / CLAIMED) if stored else 0,
    }


def _load(
    model: str,
    asked: Mapping[str, Any],
    root: AnyPath | None,
    frames: Iterable[Frame],
    images: Tally,
    clips: Tally,
) -> Sequence[DepthEstimator]:
    """Load a model by the backend that a run would settle on. A clip counts as a long run."""
    selector = BackendSelector(model, **asked)
    loaded = selector.load()
    if (asked.get("backend") or AUTO) == AUTO:
        if root and (kept := find_kept(root, loaded[0], model, asked.get("precision"))):
            return load_kept(selector, loaded, kept, root)
        if chosen := selector.choose(loaded, frames, lambda count: clips.found > 0 or images.found >= count):
            return chosen
    return selector.resolve(loaded, frames)


def _plan_clips(
    clips: Tally,
    done: int,
    estimators: Sequence[DepthEstimator],
    place: Path | None,
    num_workers: int,
    run: Mapping[str, Any],
) -> ClipCost:
    """Look at the packets of some videos, and estimate the first frames of a few. run: options of `estimate`."""
    indices: dict[InputFile, ClipIndex] = {}
    unreadable = read = 0
    for each in track(clips.shuffle()[:_LOOKED_AT_CLIPS], "looking", "videos"):
        if read > _LOOKED_AT_BYTES:
            break
        index = attempt(each.key, "decode", partial(read_any_index, to_path(each.place)))
        read += each.source.size
        unreadable += isinstance(index, Failure)
        if not isinstance(index, Failure):
            indices[each] = index
    if not indices:
        raise InputError(
            f"none of {format_count(unreadable, 'video')} looked at can be read: estimate one to see why"
        )
    share = 1.0 if len(indices) + unreadable == clips.found else clips.bytes / max(1, read)
    frames = round(share * sum(each.frames for each in indices.values()))
    chosen = [*indices][:_TIMED_CLIPS]
    with scratch_folder(place) as folder:
        report = estimate(
            [each.place for each in chosen], folder, model=estimators, frames=f"0:{_TIMED_FRAMES}", **run
        )
        if not report.done or not report.speed:
            raise InputError(
                f"none of {format_count(len(chosen), 'video')} tried went through: {report.failures[0]}"
            )
        lines = [line for line in read_ledger(folder) if line.get("outcome") == "done"]
    timed = sum(line["clip"]["frames"] for line in lines)
    size = sum(bytes for line in lines for bytes, _ in line["outputs"].values())
    speed = report.speed
    cores = sum(speed.core_seconds.values()) / speed.cores
    seconds = max(speed.busy_seconds / speed.devices, cores, speed.disk_seconds) / timed
    left = frames * (1 - done / clips.found)
    return ClipCost(
        found=clips.found,
        done=done,
        unreadable=unreadable,
        bytes=clips.bytes,
        frames=frames,
        seconds=share * sum(each.seconds for each in indices.values()),
        timed=timed,
        hours=seconds * left / num_workers / 3600,
        output_bytes=round(size / timed * left),
    )


def _time(
    images: Sequence[InputFile],
    estimators: Sequence[DepthEstimator],
    place: Path | None,
    **run: Any,
) -> _Timed:
    """Estimate some images, and try every format on some of their depth. run: options of `estimate`."""
    paths = [each.place for each in images]
    with scratch_folder(place) as folder:
        try:
            report = estimate(paths, folder, model=estimators, **run)
        except OutputLostError as error:
            raise OutputError(
                f"no room for a few samples in {place or tempfile.gettempdir()}: {error}"
            ) from error
        if not report.done or not report.speed:
            raise InputError(
                f"none of {format_count(len(images), 'image')} tried went through: {report.failures[0]}"
            )
        done = [line for line in read_ledger(folder) if line.get("outcome") == "done"]
        names = [found[0] for line in done[:_ENCODED] if (found := find_depth(line))]
        samples = []
        # core-seconds and bytes per pixel in every format
        for name in track(names, "trying formats", "depth maps", len(names)):
            depth = read_depth(
                folder / name, about={"kind": estimators[0].model.kind}, max_megapixels=math.inf
            )
            costs: _Sample = {}
            for format, form in FORMATS.items():
                if form.is_installed:
                    started = time.thread_time()
                    size = sum(len(chunk) for chunk in form.encode(depth))
                    seconds = time.thread_time() - started
                    costs[format] = (seconds / depth.values.size, size / depth.values.size)
            samples.append(costs)
    pixels = sum(line["height"] * line["width"] for line in done)
    maps = Counter[str]()
    for line in done:
        for name, output in list_maps(line).items():
            maps[name] += list_outputs(line)[output].size
    return _Timed(
        report.speed, samples, pixels / len(done), {name: size / pixels for name, size in maps.items()}
    )


def _foretell(share: float, found: int, timed: _Timed, pixels: float) -> dict[str, FormatCost]:
    """Return what each format costs. share: images of a worker. pixels: of a depth map, on average."""
    speed, samples = timed.speed, timed.samples
    each = {name: used / speed.images for name, used in speed.core_seconds.items()}
    model = speed.busy_seconds / speed.images / speed.devices
    beside = pixels * sum(timed.maps.values())
    encoded, plain = (pixels * float(np.mean([sample["npy"][part] for sample in samples])) for part in (0, 1))
    maps = max(0.0, each.get("encode", 0.0) * pixels / timed.pixels - encoded) if beside else 0.0
    costs = {}
    for name in samples[0]:
        encoding, size = (
            pixels * float(np.mean([sample[name][part] for sample in samples])) for part in (0, 1)
        )
        cores = sum(used for stage, used in each.items() if stage not in ("encode", "write"))
        size += beside
        cores += encoding + maps + each["write"] * size / (plain + beside)
        disk = speed.disk_seconds / speed.images * size / (plain + beside)
        seconds = share * max(model, cores / speed.cores, disk)
        costs[name] = FormatCost(seconds / 3600, round(found * size))
    return costs
