"""The job: every image of the inputs gets depth in the output folder, or an entry that says why not.

What is done about an input is decided here; where and how the work is done is an `Executor`'s business.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import shutil
import threading
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from cortexia_video.depth_estimation import DepthEstimator, Size, Sky, load_estimators
from cortexia_video.depth_map import Alignment, DepthKind, Projection
from cortexia_video.errors import (
    Failure,
    InputError,
    ModelError,
    printable,
    require_one_of,
    require_positive,
)
from cortexia_video.formats.registry import FormatName, choose_maps
from cortexia_video.geometry.intrinsics import NO_INTRINSICS, load_intrinsics
from cortexia_video.geometry.normals import SHAPED
from cortexia_video.images.decode import read_image_bytes
from cortexia_video.inference.backend_selection import LONG_RUN, MAX_ERROR, Backend, BackendSelector
from cortexia_video.inference.batches import BatchSize
from cortexia_video.inference.maps import find_maps
from cortexia_video.jobs.aligner import Aligner, AlignTo, FitErrors
from cortexia_video.jobs.clip_output import MAX_FPS, VideoOptions, parse_frames
from cortexia_video.jobs.clip_parts import FOLDER as PARTS
from cortexia_video.jobs.clip_parts import remove_parts
from cortexia_video.jobs.input_sample import COUNTED, PLENTY, describe_need
from cortexia_video.jobs.outcomes import Changed, Listener, Outcomes, Report
from cortexia_video.jobs.worker import Decoding as Decoding
from cortexia_video.jobs.worker import NoteFrames, RecordBegun, TaskOptions, Worker, decode_readable
from cortexia_video.ledger.entries import CLAIMED, ItemDone, Source
from cortexia_video.ledger.ledger import Ledger
from cortexia_video.ledger.partition import Partition, parse_partition
from cortexia_video.ledger.state import DEPTH_JSON
from cortexia_video.models.protocol import AUTO, CommercialOnly, InputSize
from cortexia_video.runtime.resources import Usage, choose_workers, count_cores, share_heaps
from cortexia_video.runtime.trace import ChromeTrace
from cortexia_video.sinks.archives import ArchiveSink, Packing, PackName
from cortexia_video.sinks.sink import Sink, open_sink
from cortexia_video.sources.find import Found, InputFile, find_images
from cortexia_video.sources.inputs import list_passed_over
from cortexia_video.sources.sequences import find_sequences
from cortexia_video.sparse_depth.source import open_sparse
from cortexia_video.storage.paths import AnyPath, to_path, to_places
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.video.container import VIDEO_SUFFIXES, require_video
from cortexia_video.video.steady import SteadyMode

VideoFormat = Literal["mkv", "frames"]
_NO_CLIPS = "a video has no other maps than depth: leave `also` out, or take its frames as images"
_THREADS_A_CORE = 4  # that wait for URLs
_HELD = "%s: %d of %d frames have no depth, or cannot be decoded: they show that of the one before"
_BYTES_A_MEGAPIXEL = PLENTY * 4_000_000  # that are to be free
_WITH_MAPS = 7  # times as many, at most

_log = logging.getLogger(__name__)


def estimate(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    model: str | DepthEstimator | Sequence[DepthEstimator] = "compact",
    recursive: bool = False,
    format: FormatName = "npy",
    preview: bool = False,
    overwrite: bool = False,
    size: Size = "full",
    also: Sequence[str] = (),
    sky: Sky = "unknown",
    projection: Projection = "perspective",
    steady: SteadyMode = "mean",
    video_size: Size = "native",
    video_format: VideoFormat = "mkv",
    every: int = 1,
    frames: str | None = None,
    sequence: bool = False,
    fps: float = 24.0,
    changed: Changed = "redo",
    pack: PackName | None = None,
    pack_size: int = 256,
    pack_images: bool = False,
    backend: Backend = "auto",
    precision: str | None = None,
    max_error: float = MAX_ERROR,
    compile: bool = False,
    kind: DepthKind | None = None,
    input_size: InputSize | None = None,
    multiple_of: int | None = None,
    normalize: str | None = None,
    output_name: str | None = None,
    canonical_f: float | None = None,
    thorough: bool = False,
    commercial_only: CommercialOnly = False,
    align_to: str | AlignTo | None = None,
    drop_relative: bool = False,
    sparse: str | os.PathLike[str] | None = None,
    sparse_from: str | None = None,
    f_px: float | None = None,
    intrinsics: str | os.PathLike[str] | None = None,
    batch_size: BatchSize = 4,
    device: str = "auto",
    workers: int | None = None,
    decode: Decoding = "exact",
    max_megapixels: float = 200.0,
    partition: str | None = None,
    profile: str | os.PathLike[str] | None = None,
    executor: Executor | None = None,
    on_outcome: Listener | None = None,
    stop: threading.Event | None = None,
    **model_options: object,
) -> Report:
    """Estimate depth for every image and video of `inputs` into the folder `output`; do what is missing or changed.

    The command `cortexia estimate` takes its options, their defaults and their help from here.

    Args:
        inputs: Image and video files, folders, or lists: list.txt or @list, one path per line. Paths, or URLs such as
            s3://bucket/photos.
        output: Folder for the results; may be the input folder.
        model: A name that `cortexia models` lists, onnx:FILE, hf:FOLDER or hf:org/name of the hub. In Python
            also estimators that are loaded, one for each device, with a size and batch size of their own.
        recursive: Look into the folders inside, too.
        format: npy: float32 as the model gives it. npz, tiff, exr, pfm: float32, too. png16, jxl: 16-bit
            steps. exr16: half floats. png: 8-bit view, nearer darker, scaled for each image. See
            docs/formats.md.
        preview: Also write a coloured JPEG of each depth map.
        overwrite: Redo what is done, and replace files that the ledger does not know.
        size: full: as large as the image. native: as large as the network gives it, some 60 times fewer
            bytes.
        also: Maps to write beside each depth file, such as normals,mask: normals, mask, confidence, points
            (docs/formats.md). Mask and confidence are the model's; normals and points of other models need metres
            and a focal length.
        sky: unknown: where the model sees sky, depth is unknown, and disparity 0. keep: depth there is what the
            network gives.
        projection: equirectangular: inputs are panorama images, twice as wide as high; they are estimated in twelve
            perspective views, and what is written are distances along their rays (docs/panoramas.md).
        steady: Against flicker of videos: mean takes the running mean along the motion; align first takes away
            changes of scale and shift, for models whose depth jumps; off keeps depth as the model gives it.
        video_size: Of the depth of videos. full: as large as the frames. native: as large as the network gives it.
        video_format: mkv: depth of a video is one file, lossless, 16 bits. frames: it is a folder with a file for
            each frame, of the format that images get.
        every: Take only every n-th frame of videos.
        frames: Which frames of videos to take: 0:500 the first 500, 100: all from frame 100 on.
        sequence: Take each folder that is given as one video, whose frames are its images in natural order.
        fps: Frames per second of folders that are taken as videos.
        changed: Outputs that were made with other settings (model, format...): redo them, keep them, or
            refuse to run.
        pack: Put depth into archives, tar (WebDataset) or parquet, so that a million maps are a few thousand
            files.
        pack_size: Images per archive.
        pack_images: Put the images into the archives, too.
        backend: What runs the network, where the model allows it: torch, onnx (ONNX Runtime), openvino. auto: what
            proves fastest and near enough, where the run is long; reference, where it is short, and what made the
            depth that is there already. reference: float32 by torch, or by ONNX Runtime of ONNX files.
        precision: float32, bfloat16, float16, or auto: bfloat16 for torch on CUDA and for openvino, else
            float32.
        max_error: Refuse a backend or a precision whose depth differs by more from that of the reference in
            float32, on average over one of the first images.
        compile: Let torch.compile make models of torch faster; each new shape then takes a minute.
        kind: For onnx: and hf: models that do not say it: what their numbers mean.
        input_size: 518 (short side) or 392x518 (height x width), for onnx: files that do not say it, hf: and
            most others. In Python 518 or (392, 518).
        multiple_of: For onnx: files that take any size and do not say it: what both sides must be multiples
            of, such as 14. Without it a few are tried.
        normalize: For onnx: files that do not say it: imagenet (the default), unit (0..1), signed (-1..1),
            bytes (0..255), or six numbers, 'mean 0.5 0.5 0.5 std 0.5 0.5 0.5'.
        output_name: For onnx: files with several outputs: the name of the one that is depth, where names leave it
            open.
        canonical_f: For onnx: files whose depth is metres at one focal length: that, in pixels (Depth Anything 3
            metric: 300, Metric3D: 1000).
        thorough: Take the mean of each image and its mirror image: twice the time, somewhat better depth.
        commercial_only: Refuse models whose weights are not known to be free for use in a product;
            strict: also those whose training data, or teachers, are not.
        align_to: Make depth metric by distances that are known: a CSV of points, a COLMAP model, a
            transforms.json or a folder of sparse depth, as `cortexia align --to` takes them. In Python also an
            `AlignTo`.
        drop_relative: Do not keep the depth before its alignment in KEY.relative.
        sparse: Folder of sensors' depth of the same images, coarse or with holes, for models that complete it, such as
            prompt-depth-anything-small (docs/completion.md).
        sparse_from: Whose files the sparse ones are, where they do not say it: tum, kitti, nyu, scannet ...
        f_px: Focal length of every image, in its pixels. Without it EXIF says it, or the model estimates it.
        intrinsics: CSV (key,f_px or key,fx,fy,width,height) or JSON file of focal lengths by key; * stands
            for all others.
        batch_size: Images in one call of the model, or auto: what proves fastest.
        device: auto, cpu, cuda, cuda:1 or mps; several with commas between: cuda:0,cuda:1.
        workers: Threads that decode, and as many that write. By default one per core, four per core for URLs.
        decode: exact: every pixel. fast: large JPEGs at a half, a quarter or an eighth of their sides, not
            below twice what the network sees.
        max_megapixels: Refuse larger images.
        partition: 3/16 does the third of sixteen parts, the same part on every machine; sixteen such runs do
            all.
        profile: Write a trace of the run to this file, for ui.perfetto.dev or chrome://tracing.
        executor: Where the run is done, by default in this process; a `RayExecutor` is many.
        on_outcome: Called after each input with the report so far and its failure, if it failed.
        stop: Set it to end early; what the model has taken is finished.
        model_options: What a model of a plugin takes besides.

    Returns:
        How many inputs were found, done, skipped and failed, with the first failures.

    Raises:
        InputError, ModelError, MissingExtraError, OutputError: Before any depth is written.
        OutputLostError: The output is full or unwritable (its `report` says what was done); a later call goes on
            from there.

    Example:
        report = estimate("photos", "depth", recursive=True, format="png16")
        print(report)
    """
    inputs = [inputs] if isinstance(inputs, str | os.PathLike) else inputs
    root, stop, passed_over = to_path(output), stop or threading.Event(), Counter[str]()
    places = [*to_places(inputs).values()]
    is_remote = any(isinstance(each, RemotePath) for each in (root, *places))
    if workers is None and is_remote:
        workers = _THREADS_A_CORE * count_cores()
    numbers = {"max_megapixels": max_megapixels, "max_error": max_error, "every": every}
    if not (all(each > 0 for each in numbers.values()) and 0 < fps <= MAX_FPS):
        require_positive(**numbers)
        require_positive(fps=fps, most=MAX_FPS)
    words: dict[str, tuple[object, object]] = {"decode": (decode, Decoding), "changed": (changed, Changed)}
    words |= {"sky": (sky, Sky), "projection": (projection, Projection), "steady": (steady, SteadyMode)}
    words |= {"video_size": (video_size, Size), "video_format": (video_format, VideoFormat)}
    if any(each not in get_args(choices) for each, choices in words.values()):
        require_one_of(**words)
    given = NO_INTRINSICS
    if f_px is not None or intrinsics is not None:
        given = load_intrinsics(f_px, intrinsics)
        given.require_square()
    maps = choose_maps(also) if also else ()
    if sequence:
        require_video()
    taken = parse_frames(frames) if frames else (0, None)
    files = format if video_format == "frames" else None
    video = VideoOptions(steady, video_size, every, taken, fps, files)
    asked: dict[str, object] = {"device": device, "batch_size": batch_size, "size": size, **model_options}
    asked |= {"backend": backend, "precision": precision, "compile": compile, "kind": kind}
    asked |= {"input_size": input_size, "multiple_of": multiple_of, "normalize": normalize}
    asked |= {"output_name": output_name, "canonical_f": canonical_f, "thorough": thorough}
    asked |= {"also": tuple(each for each in maps if each != "points"), "sky": sky, "projection": projection}
    to = AlignTo(to=align_to) if isinstance(align_to, str) else align_to
    is_given = sparse is not None or sparse_from  # else nothing of it is needed
    aligner, known = Aligner(to) if to else None, open_sparse(sparse, sparse_from) if is_given else None
    task = TaskOptions(choose_workers(workers), decode, given, max_megapixels, video, aligner, maps, known)
    spec = RunSpec(
        inputs=[*inputs],
        root=root,
        recursive=recursive,
        partition=parse_partition(partition) if partition else None,
        model=model,
        asked=asked,
        commercial_only=commercial_only,
        max_error=max_error,
        format=format,
        preview=preview,
        task=task,
        drop_relative=drop_relative,
        packing=Packing(pack, pack_size, pack_images).check() if pack else None,
        sequence=sequence,
    )
    found = LookAhead(_find_some(spec, places, passed_over), stop)
    more: dict[str, Any] = {"overwrite": overwrite, "changed": changed, "profile": profile}
    more |= {"on_outcome": on_outcome, "stop": stop, "may_lack_room": size == "full" and not is_remote}
    report = _run(spec, executor or LocalExecutor(), found, passed_over, **more)
    if given.settings and (unused := given.describe_unused()):
        _log.warning("%s", unused)
    return report


def _find_some(spec: RunSpec, places: Sequence[AnyPath], passed_over: Counter[str]) -> Iterator[Found]:
    """Return the inputs, once there is one, so that nothing is made for a folder without images, or a lost mount.

    Of a partition it may be another's.
    """
    videos = [each for each in places if each.suffix.lower() in VIDEO_SUFFIXES]
    if not all(isinstance(each, Path) and each.is_dir() for each in videos):
        require_video()
    if videos and spec.task.also:
        raise InputError(f"{printable(str(videos[0]))}: {_NO_CLIPS}")
    found = spec.find(passed_over)
    if spec.partition is None and (first := next(found, None)) is not None:
        return itertools.chain([first], found)
    seen = passed_over if spec.partition is None else Counter[str]()
    if spec.partition is not None and next(replace(spec, partition=None).find(seen), None) is not None:
        return found
    folders = not spec.recursive and any(isinstance(each, RemotePath) or each.is_dir() for each in places)
    hint = "; folders inside are looked into with `recursive=True`" if folders else ""
    kinds = f"; passed over: {list_passed_over(seen)}" if seen else ""
    raise InputError(
        f"no images in {', '.join(map(str, places))}{hint}; what cortexia wrote is never an input{kinds}"
    )


def _warn_of_need(spec: RunSpec, root: Path, found: Iterable[Found], ledger: Ledger) -> None:
    """Warn of how much the run will write, where that is much of what is free."""
    first, free = [*itertools.islice(found, COUNTED)], shutil.disk_usage(root).free
    most = spec.task.max_megapixels * _BYTES_A_MEGAPIXEL * (_WITH_MAPS if spec.task.also else 1)
    if len(first) * most <= free:
        return
    missing = [each for each in first if ledger.state.get(each.key) is None]
    if len(missing) * most > free and (
        need := describe_need(missing, free, root, (spec.format, *spec.task.also))
    ):
        _log.warning("%s", need)


def _run(
    spec: RunSpec,
    executor: Executor,
    found: LookAhead,
    passed_over: Counter[str],
    *,
    may_lack_room: bool,
    profile: str | os.PathLike[str] | None,
    changed: Changed,
    stop: threading.Event,
    **of_outcomes: Any,
) -> Report:
    """Work on every input until its outcome is recorded; the ledger then ends with the counts and the speed."""
    root, sink, settings = spec.root, spec.open_sink(), executor.prepare(spec, found)
    refused: Iterable[tuple[str, Source]] = ()
    if changed == "refuse" and not of_outcomes["overwrite"]:
        refused = ((each.key, each.source) for each in spec.find() if isinstance(each, InputFile))
    with ExitStack() as stack:
        ledger = stack.enter_context(
            Ledger(root, settings, spec.partition, sink=sink, refuse_changed=refused)
        )
        stack.enter_context(sink)
        ledger.keep_depth_json(sink)
        trace = stack.enter_context(ChromeTrace(Path(profile))) if profile else None
        of_outcomes |= {
            "changed": changed,
            "stop": stop,
            "beside": spec.task.find_beside if spec.task.sparse else None,
        }
        outcomes = Outcomes(sink, ledger, doing="estimating", count=spec.find, **of_outcomes)
        errors = FitErrors() if spec.task.aligner else None
        outcomes.report.passed_over, outcomes.slowest = passed_over, lambda: executor.usage().slowest
        with outcomes:
            (inputs,) = itertools.tee(found, 1)
            work = outcomes.needing_work(inputs)
            if may_lack_room and isinstance(root, Path) and (first := next(work, None)):
                work = itertools.chain([first], work)
                ahead = itertools.takewhile(lambda _: not stop.is_set(), itertools.tee(inputs)[1])
                _warn_of_need(spec, root, itertools.chain([first], ahead), ledger)
                del ahead  # or what is worked on would be kept
            work = ledger.claim(work, ahead=CLAIMED if executor.claims_ahead else 1)
            context = RunContext(sink, ledger.record_begun, outcomes.note_frames, trace, stop)
            with contextlib.closing(executor.run(work, context)) as results:
                for item, result in results:
                    _settle(outcomes, item, result, errors)
        if errors:
            errors.log()
        report, usage = outcomes.report, executor.usage()
        report.speed = usage.measure(report.images + report.failed, report.seconds) if report.done else None
        speed = report.speed.as_dict() if report.speed else None
        outcomes.record_end(batch_sizes=usage.batch_sizes, speed=speed)
        has_parts = isinstance(root, Path) and (root / PARTS).exists()
        if has_parts and spec.partition is None and not report.interrupted:
            remove_parts(sink)  # of clips: a kill may have left some beside what is done
    return report


def _settle(
    outcomes: Outcomes, item: InputFile, result: ItemDone | Failure, errors: FitErrors | None
) -> None:
    """Record and count the outcome of an input, and how far known distances are from its fit."""
    if isinstance(result, Failure):
        outcomes.record(item, result)
        return
    facts = {**result.facts, **outcomes.beside.get(item.key, {})}
    outcomes.ledger.record_done(item.key, item.source, result.outputs, **facts)
    if errors and (aligned := result.facts.get("alignment")):
        errors.add(item.key, Alignment.from_dict(aligned))
    clip: Any = result.facts.get("clip", {})
    if clip.get("held"):
        _log.warning(_HELD, printable(item.key), clip["held"], clip["frames"])
    outcomes.record(item, None, clip.get("frames", 1))


class LookAhead:
    """Inputs of which the first can be looked at before they are worked on; nothing is found twice.

    stop: once it is set, no more are looked for.
    """

    def __init__(self, found: Iterator[Found], stop: threading.Event) -> None:
        self._found, self._stop = found, stop
        self._seen: list[Found] = []

    def look(self) -> Iterator[Found]:
        """Yield the inputs from the first one on, and keep them."""
        for number in itertools.count():
            if number == len(self._seen):
                following = None if self._stop.is_set() else next(self._found, None)
                if following is None:
                    return
                self._seen.append(following)
            yield self._seen[number]

    def is_one_image(self) -> bool:
        """Return whether there is one input, and that is no video."""
        some = [*itertools.islice(self.look(), 2)]
        return len(some) < 2 and not any(isinstance(each, InputFile) and each.is_clip for each in some)

    def __iter__(self) -> Iterator[Found]:
        """Yield all inputs, once."""
        return itertools.chain(self._seen, self._found)


@dataclass(frozen=True, slots=True)
class RunSpec:
    """A run as it was asked for. It can be pickled, for workers in other processes.

    asked: what `load_estimators` takes beside the model. The others are those of `estimate`.
    """

    inputs: Sequence[str | os.PathLike[str]]
    root: AnyPath
    recursive: bool
    partition: Partition | None
    model: str | DepthEstimator | Sequence[DepthEstimator]
    asked: Mapping[str, Any]
    commercial_only: CommercialOnly
    max_error: float
    format: str
    preview: bool
    task: TaskOptions
    packing: Packing | None = None
    sequence: bool = False
    drop_relative: bool = False

    def __post_init__(self) -> None:
        if self.task.also and self.sequence:
            raise InputError(_NO_CLIPS)
        if self.task.also and self.packing and self.packing.name == "parquet":
            raise InputError("`pack='parquet'` has no column for other maps (`also`): use `pack='tar'`")
        if self.task.aligner and self.packing and not self.drop_relative:
            raise InputError(
                "`pack` has no room for the depth before its alignment: give `drop_relative=True`"
            )

    def find(self, passed_over: Counter[str] | None = None) -> Iterator[Found]:
        """Find the inputs of this part. passed_over: counts what is none, as `find_images` does."""
        if self.sequence:
            return find_sequences(
                self.inputs,
                recursive=self.recursive,
                output=self.root,
                partition=self.partition,
                passed_over=passed_over,
            )
        found = find_images(
            self.inputs,
            recursive=self.recursive,
            output=self.root,
            partition=self.partition,
            passed_over=passed_over,
            videos=True,
        )
        return map(_refuse_clip, found) if self.task.also else found

    def open_sink(self) -> Sink:
        """Return the sink, not yet entered, that the outputs go to."""
        relative = self.task.aligner is not None and not self.drop_relative
        clip_files = self.task.video.files is not None
        sink = open_sink(
            self.root,
            format=self.format,
            preview=self.preview,
            relative=relative,
            also=self.task.also,
            clip_files=clip_files,
        )
        if self.packing is None:
            return sink
        return ArchiveSink(sink, self.packing, lambda item: read_image_bytes(item.place))

    def load(self) -> tuple[BackendSelector | None, Sequence[DepthEstimator]]:
        """Load the model; of one by name also what its backend is compared by, unless it is the reference."""
        share_heaps()  # before threads have heaps of their own
        if not isinstance(self.model, str):
            return None, load_estimators(self.model, **self.asked)
        asked: dict[str, Any] = {"commercial_only": self.commercial_only, **self.asked}
        estimators = load_estimators(self.model, **asked)
        if not {"backend", "precision"} & estimators[0].model.settings.keys():  # it is the reference
            return None, estimators
        return BackendSelector(self.model, max_error=self.max_error, **asked), estimators

    def may_choose(self, inputs: LookAhead) -> bool:
        """Return whether the backend is not named, and the folder holds depth already, or the run may be long."""
        if not isinstance(self.model, str) or self.asked["backend"] != AUTO:
            return False
        if isinstance(self.root, RemotePath) or (self.root / DEPTH_JSON).exists():
            return True
        some = [*itertools.islice(inputs.look(), LONG_RUN)]
        return len(some) == LONG_RUN or any(isinstance(each, InputFile) and each.is_clip for each in some)

    def choose_backend(
        self, estimators: Sequence[DepthEstimator], inputs: LookAhead, *, goes_on: bool = False
    ) -> tuple[BackendSelector | None, Sequence[DepthEstimator]]:
        """Return, of a model by name, what is to run, and what that is to be compared by, if it still is.

        goes_on: there are more inputs than these, how many is not known.
        """
        from cortexia_video.jobs.backend_choice import InputCount, find_kept, load_kept

        assert isinstance(self.model, str)
        selector = BackendSelector(
            self.model, max_error=self.max_error, commercial_only=self.commercial_only, **self.asked
        )
        if kept := find_kept(self.root, estimators[0], self.model, self.asked["precision"]):
            return selector, load_kept(selector, estimators, kept, self.root)
        if self.partition is None:
            has = (lambda _: True) if goes_on else InputCount(inputs.look(), self.task.video).has
            frames = decode_readable(inputs.look(), self.task)
            if chosen := selector.choose(estimators, frames, has):
                return None, chosen
        return selector, estimators

    def compare_backend(
        self, selector: BackendSelector, estimators: Sequence[DepthEstimator], items: Iterable[InputFile]
    ) -> None:
        """Compare what is to run with the reference, by as many of the inputs as need be decoded for that."""
        selector.resolve(estimators, decode_readable(items, self.task))

    def remember_limits(self, estimator: DepthEstimator) -> None:
        """Let a model by name begin with what earlier runs found to fit in memory, and keep what it finds."""
        if isinstance(self.model, str):
            asked = {"on": estimator.model.device, "also": sorted(estimator.also)}
            estimator.limits.remember({**estimator.identity, **asked})

    def describe(self, estimator: DepthEstimator) -> dict[str, object]:
        """Return what the outputs depend on: outputs of other settings are not taken for done.

        Raises `InputError` where no map that is asked for beside depth can follow from it, and where sparse depth is
        needed and not given, or the other way round.
        """
        try:
            estimator.require_sparse(given=self.task.sparse is not None)
        except ModelError as error:
            raise InputError(str(error)) from None
        if estimator.projection == "equirectangular" and self.task.given.settings:
            raise InputError(
                "a panorama (`projection`) has no focal length: leave `f_px` and `intrinsics` out"
            )
        own = {"format": self.format, "preview": self.preview, "decode": self.task.decode}
        settings = {**estimator.identity, **own, **self.task.known_settings}
        if aligner := self.task.aligner:
            more = {"drop_relative": True} if self.drop_relative else {}
            settings |= {"aligned_by": aligner.by, **aligner.settings, **more, "kind": "metric"}
        if self.task.also:
            settings |= {"also": [*self.task.also]}
            following = {*self.task.also} & {"normals", "points"} - {*find_maps(estimator.model)}
            if following and settings["kind"] not in SHAPED:
                raise InputError(
                    f"{' and '.join(sorted(following))} (`also`) follow from metric or scale_invariant depth, and "
                    f"{printable(estimator.model.name)} gives {settings['kind']}: take another model, or `align_to`"
                )
        return settings | ({"video": self.task.video.settings} if self.task.video != VideoOptions() else {})


@dataclass(frozen=True, slots=True)
class RunContext:
    """What the work of a run reaches.

    sink: open. record_begun: to be called before files are placed, unless the executor `claims_ahead`.
    note_frames: to be told how far clips are, where that can be. trace: to be told of each stage. stop: ends the
    run early.
    """

    sink: Sink
    record_begun: RecordBegun
    note_frames: NoteFrames
    trace: ChromeTrace | None
    stop: threading.Event


class Executor(Protocol):
    """Where the work of a run is done: in this process, or in those of a cluster.

    claims_ahead: workers do not reach the ledger, so that inputs are to be recorded as begun before they
    are handed over.
    """

    claims_ahead: bool

    def prepare(self, spec: RunSpec, inputs: LookAhead) -> Mapping[str, object]:
        """Load the model, and return what the outputs depend on; raises before anything is written."""

    def run(
        self, items: Iterator[InputFile], context: RunContext
    ) -> Generator[tuple[InputFile, ItemDone | Failure], None, None]:
        """Yield inputs with their outcomes, each when its files are in place; after `stop`, those under way.

        Raises `OutputLostError` where the output is full or unwritable.
        """

    def usage(self) -> Usage:
        """Return what the workers have used since `run` was called."""


def _refuse_clip(found: Found) -> Found:
    if isinstance(found, InputFile) and found.is_clip:
        return Failure(found.key, "find", InputError(_NO_CLIPS))
    return found


class LocalExecutor:
    """An `Executor`: threads of this process."""

    claims_ahead = False

    def prepare(self, spec: RunSpec, inputs: LookAhead) -> Mapping[str, object]:
        self._spec = spec
        self._selector, self._estimators = spec.load()
        if spec.may_choose(inputs):
            self._selector, self._estimators = spec.choose_backend(self._estimators, inputs)
        if not inputs.is_one_image():  # of which no batch is made
            spec.remember_limits(self._estimators[0])
        return spec.describe(self._estimators[0])

    def run(
        self, items: Iterator[InputFile], context: RunContext
    ) -> Generator[tuple[InputFile, ItemDone | Failure], None, None]:
        if self._selector:
            items, first = itertools.tee(items)
            self._spec.compare_backend(self._selector, self._estimators, first)
        sink, record_begun, trace = context.sink, context.record_begun, context.trace
        self._worker = Worker(
            self._spec.task, self._estimators, sink, record_begun, trace, note_frames=context.note_frames
        )
        return self._worker.run(items, context.stop)

    def usage(self) -> Usage:
        return self._worker.usage()
