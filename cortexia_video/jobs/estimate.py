"""The job: every image of the inputs gets depth in the output folder, or an entry that says why not.

What is done about an input is decided here; where and how the work is done is an `Executor`'s business.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

from cortexia_video.depth_estimation import DepthEstimator, Size
from cortexia_video.errors import (
    Failure,
    InputError,
    OutputLostError,
)
from cortexia_video.geometry.intrinsics import load_intrinsics
from cortexia_video.inference.backend_selection import MAX_ERROR
from cortexia_video.inference.batch_size import BatchSize
from cortexia_video.jobs.image_task import Decoding as Decoding
from cortexia_video.jobs.image_task import RecordBegun, TaskOptions
from cortexia_video.jobs.outcomes import Changed, Listener, Outcomes, Report
from cortexia_video.jobs.run_spec import Executor, RunSpec
from cortexia_video.jobs.worker import Worker
from cortexia_video.ledger.depth_json import keep_depth_json
from cortexia_video.ledger.entries import ItemDone, Source
from cortexia_video.ledger.ledger import Ledger
from cortexia_video.ledger.partition import parse_partition
from cortexia_video.runtime.stage_clock import ChromeTrace
from cortexia_video.runtime.throughput import Usage
from cortexia_video.runtime.workers import choose_workers, count_cores
from cortexia_video.sinks.archives import Packing
from cortexia_video.sinks.sink import Sink
from cortexia_video.sources.find import Found, InputFile, find_images
from cortexia_video.storage.paths import AnyPath, is_remote, to_path, to_text
from cortexia_video.storage.remote_path import RemotePath

_THREADS_A_CORE = 4  # that wait for addresses

_log = logging.getLogger(__name__)


def estimate(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    model: str | DepthEstimator | Sequence[DepthEstimator] = "compact",
    recursive: bool = False,
    format: str = "npy",
    preview: bool = False,
    size: Size = "full",
    decode: Decoding = "exact",
    f_px: float | None = None,
    intrinsics: str | os.PathLike[str] | None = None,
    batch_size: BatchSize = 4,
    device: str = "auto",
    workers: int | None = None,
    overwrite: bool = False,
    changed: Changed = "redo",
    partition: str | None = None,
    max_megapixels: float = 200.0,
    commercial_only: bool = False,
    max_error: float = MAX_ERROR,
    profile: str | os.PathLike[str] | None = None,
    on_outcome: Listener | None = None,
    stop: threading.Event | None = None,
    executor: Executor | None = None,
    packing: Packing | None = None,
    **model_options: object,
) -> Report:
    """Estimate depth for every image of `inputs` into the folder `output`; do what is missing or changed.

    inputs: image files, folders and lists, as `sources.files.find_images` takes them.
    model: a name, or estimators already loaded, one for each device, with a size and batch size of their own.
    format: `npy` (float32), `png` (8-bit view) or another of docs/formats.md. preview: also a coloured JPEG.
    size: `full`, each map as large as its image, or `native`, as large as the network gives it.
    decode: `exact`, or `fast`: large JPEGs at 1/2, 1/4 or 1/8, not below twice what the network sees.
    f_px: focal length of every image, in its pixels. intrinsics: a CSV or JSON file of focal lengths by key
    (`intrinsics`). Then comes what EXIF says, then what the model estimates.
    batch_size: images in one call of the model, or `auto`. device: one, or several with commas between.
    workers: threads that decode, and as many that write; as many as cores by default, four times as many
    where addresses must be waited for.
    overwrite: redo what is done, and replace files that no ledger knows.
    changed: what becomes of outputs made with other settings: `redo`, `keep` them, or `refuse` to run.
    partition: "3/16" does the third of sixteen parts; sixteen such runs, anywhere, do all.
    commercial_only: refuse a model by name whose weights are not known to be free for use in a product.
    max_error: a backend or a precision other than the model's reference is refused where its depth differs
    by more, on average over one of the first images; with backend `auto` it is not chosen.
    profile: file for a trace of the run in Chrome's format, with the pieces of all workers.
    on_outcome: called after each input with the report so far and its failure, if it failed.
    stop: set it to end early; what the model has taken is finished.
    executor: where the work is done, by default in this process; `jobs.ray_cluster.RayExecutor`: in many.
    packing: put depth into archives, many maps a file, where each would have a file of its own.

    Raises `InputError`, `ModelError`, `MissingExtraError` or `OutputError` before any depth is written,
    `OutputLostError` when the output can take no more (its `report` says what was done); a later call goes on
    from there.
    """
    inputs = [inputs] if isinstance(inputs, str | os.PathLike) else inputs
    root, stop = to_path(output), stop or threading.Event()
    workers = _choose_threads(workers, [*inputs, root])
    _require_positive(max_megapixels=max_megapixels)
    _require_one_of(decode=(decode, Decoding), changed=(changed, Changed))
    spec = RunSpec(
        inputs=[to_text(each) for each in inputs],
        root=root,
        recursive=recursive,
        partition=parse_partition(partition) if partition else None,
        model=model,
        asked={"device": device, "batch_size": batch_size, "size": size, **model_options},
        commercial_only=commercial_only,
        max_error=max_error,
        format=format,
        preview=preview,
        task=TaskOptions(workers, decode, load_intrinsics(f_px, intrinsics), max_megapixels),
        packing=packing.check() if packing else None,
    )
    _require_some(inputs, recursive, root)
    executor, sink = executor or LocalExecutor(), spec.open_sink()
    settings = executor.prepare(spec)
    refused = _list_sources(spec.find()) if changed == "refuse" and not overwrite else ()
    with ExitStack() as stack:
        ledger = Ledger(root, settings, spec.partition, sink=sink, refuse_changed=refused)
        stack.enter_context(ledger)
        stack.enter_context(sink)
        keep_depth_json(sink, ledger)
        trace = stack.enter_context(ChromeTrace(Path(profile))) if profile else None
        outcomes = Outcomes(
            sink, ledger, overwrite=overwrite, changed=changed, on_outcome=on_outcome, stop=stop
        )
        passed_over = Counter[str]()
        report = _run(executor, outcomes, spec.find(passed_over), trace, stop)
    if passed_over:
        _log.warning("no inputs, passed over: %s", _list_kinds(passed_over))
    return report


def _run(
    executor: Executor,
    outcomes: Outcomes,
    found: Iterator[Found],
    trace: ChromeTrace | None,
    stop: threading.Event,
) -> Report:
    """Take every input to its outcome; the ledger then ends with the counts and the speed."""
    ledger, report = outcomes.ledger, outcomes.report
    claim = ledger.claim_groups if executor.claims_ahead else ledger.claim
    results = executor.run(
        claim(outcomes.needing_work(found)),
        sink=outcomes.sink,
        record_begun=ledger.record_begun,
        trace=trace,
        stop=stop,
    )
    outcomes.slowest = lambda: executor.usage().slowest
    started = time.monotonic()
    try:
        with contextlib.closing(results):
            for item, result in results:
                if isinstance(result, ItemDone):
                    ledger.record_done(item.key, item.source, result.outputs, **result.facts)
                outcomes.settle(item, None if isinstance(result, ItemDone) else result)
    except OutputLostError as error:
        error.report = report
        raise
    finally:
        outcomes.end(time.monotonic() - started)
    usage = executor.usage()
    report.speed = usage.measure(report.done + report.failed, report.seconds) if report.done else None
    ledger.record_end(
        **report.counts,
        interrupted=report.interrupted,
        seconds=round(report.seconds, 3),
        images_per_second=round(report.images_per_second, 3),
        batch_sizes=usage.batch_sizes,
        speed=report.speed.as_dict() if report.speed else None,
    )
    return report


class LocalExecutor:
    """An `Executor`: threads of this process."""

    claims_ahead = False

    def prepare(self, spec: RunSpec) -> Mapping[str, object]:
        self._spec = spec
        self._selector, self._estimators = spec.load()
        return spec.describe(self._selector, self._estimators[0])

    def run(
        self,
        items: Iterator[InputFile],
        *,
        sink: Sink,
        record_begun: RecordBegun,
        trace: ChromeTrace | None,
        stop: threading.Event,
    ) -> Generator[tuple[InputFile, ItemDone | Failure], None, None]:
        items, first = itertools.tee(items)
        estimators = self._spec.choose_backend(self._selector, self._estimators, first)
        self._worker = Worker(self._spec, estimators, sink, record_begun, trace)
        return self._worker.run(items, stop)

    def usage(self) -> Usage:
        return self._worker.usage()


def _choose_threads(given: int | None, places: Iterable[str | os.PathLike[str] | RemotePath]) -> int:
    """Return the number of threads: more than cores where they mostly wait for other machines."""
    if given is None and any(map(is_remote, places)):
        return _THREADS_A_CORE * count_cores()
    return choose_workers(given)


def _require_positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise InputError(f"--{name.replace('_', '-')} must be more than 0, not {value}")


def _require_one_of(**given: tuple[str, object]) -> None:
    for name, (value, choices) in given.items():
        if value not in get_args(choices):
            raise InputError(f"--{name} must be one of {', '.join(get_args(choices))}, not {value!r}")


def _list_kinds(passed_over: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(passed_over.items()))


def _require_some(inputs: Sequence[str | os.PathLike[str]], recursive: bool, root: AnyPath) -> None:
    """Look for a first input, so that nothing is made for a folder without images, or a lost mount."""
    passed_over = Counter[str]()
    found = find_images(inputs, recursive=recursive, output=root, passed_over=passed_over)
    if next(found, None) is None:
        places = ", ".join(str(to_path(each)) for each in inputs)
        folders = not recursive and any(is_remote(each) or Path(each).is_dir() for each in inputs)
        hint = "; folders inside are looked into with --recursive" if folders else ""
        seen = f"; passed over: {_list_kinds(passed_over)}" if passed_over else ""
        raise InputError(f"no images in {places}{hint}; what cortexia wrote is never an input{seen}")


def _list_sources(found: Iterable[Found]) -> Iterator[tuple[str, Source]]:
    return ((each.key, each.source) for each in found if isinstance(each, InputFile))
