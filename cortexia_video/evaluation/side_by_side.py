"""`compare`: models on the same images, side by side, without a ground truth."""

from __future__ import annotations

import heapq
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import xxhash

from cortexia_video.depth_estimation import DepthEstimator, load_estimator
from cortexia_video.errors import Failure, InputError, OutputExistsError, attempt
from cortexia_video.evaluation.comparison import (
    ComparedImage,
    ComparedModel,
    Comparison,
    find_agreement,
    read_maps,
)
from cortexia_video.evaluation.comparison_page import write_comparison
from cortexia_video.evaluation.metrics.pixel_sums import Floats
from cortexia_video.inference.batches import BatchSize
from cortexia_video.jobs.estimate import estimate
from cortexia_video.jobs.outcomes import Listener
from cortexia_video.ledger.artifacts import expand_clip
from cortexia_video.ledger.state import LedgerState, list_files, read_state
from cortexia_video.runtime.bounded_map import map_bounded
from cortexia_video.runtime.progress import track
from cortexia_video.runtime.resources import choose_workers
from cortexia_video.sinks.sink import open_sink
from cortexia_video.storage.atomic_file import write_atomic
from cortexia_video.storage.paths import AnyPath, is_folder, to_path, to_text

PAGE = "compare.html"
MOST_SHOWN = 1000
_FRAMES = 4  # of a clip
_KEPT = 100  # of what could not be compared


def compare(
    models: Sequence[str | os.PathLike[str] | DepthEstimator],
    *,
    output: str | os.PathLike[str],
    images: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    recursive: bool = False,
    sparse: str | os.PathLike[str] | None = None,
    sparse_from: str | None = None,
    shown: int = 24,
    device: str = "auto",
    batch_size: BatchSize = 4,
    workers: int | None = None,
    on_outcome: Listener | None = None,
) -> Comparison:
    """Let models look at the same images, and write a page with their depth side by side.

    There is no ground truth: what is measured is how far the models agree, not which is right. Each map is
    aligned to that of one model: the first that is metric, else up to a factor, else the first, whose nearest
    and farthest are then called 1 and 10. Metric maps are compared as they are where that is metric.

    Args:
        models: Two or more: names that `cortexia models` lists, onnx:FILE, hf:FOLDER; or output folders of runs
            on the same images, which are taken as they are. In Python also loaded estimators.
        output: A folder: compare.html, and a run of each model, which a second call continues.
        images: What models look at: files, folders or lists, as `estimate` takes them.
        recursive: Look into the folders inside, too.
        sparse: Folder of sensors' depth of the images, for those of the models that complete it.
        sparse_from: Whose files the sparse ones are, where they do not say it: tum, kitti, nyu, scannet ...
        shown: Images on the page at most, up to 1000: those on which the models disagree most.
        device: auto, cpu, cuda, cuda:1 or mps.
        batch_size: Images in one call of a model, or auto: what proves fastest.
        workers: Threads; one per core by default.
        on_outcome: Called after each image of each run, with the run so far.

    Returns:
        Agreement of each two models, their speed, and the images on which they disagree most.

    Raises:
        InputError: There are not two models, or no image has depth by all.
        OutputExistsError: OUTPUT/compare.html is somebody else's.
        ModelError: A model cannot be loaded.

    Example:
        >>> cx.evaluation.compare(["compact", "depth"], images="photos", output="compared")  # doctest: +SKIP
    """
    root, threads = to_path(output), choose_workers(workers)
    named = [each if isinstance(each, DepthEstimator) else os.fspath(each) for each in models]
    if len(named) < 2:
        raise InputError("one model is nothing to compare: give two or more")
    if not 1 <= shown <= MOST_SHOWN:
        raise InputError(f"`shown` must be 1 to {MOST_SHOWN}, got {shown}")
    sink = open_sink(root)
    if sink.holds(PAGE) and not sink.holds_own(PAGE):
        raise OutputExistsError(f"{root / PAGE} exists and is no page of ours: choose another `output`")
    folders: dict[str, AnyPath] = {}
    completes = False
    for model in named:
        name = model if isinstance(model, str) else model.model.name
        if name in folders:
            raise InputError(f"{name} is given twice: give each model once")
        folder = to_path(name)
        if not (is_folder(name) and list_files(folder)):  # a model, not a run: it gets a run of its own
            plain = re.sub(r"[^\w.-]+", "-", name).strip("-.")
            unlike = f"{plain[-80:]}-{xxhash.xxh32_hexdigest(name.encode())}"
            own = root / plain  # which a later call would take for a run, where it is called as the model is
            folder = own if plain == name and own.resolve() != folder.resolve() else root / unlike
            if images is None:
                raise InputError(f"{name} is no output folder of a run: give `images` for it to look at")
            if sparse is not None and isinstance(model, str):  # loaded, it says whether it completes that
                model = load_estimator(model, device=device, batch_size=batch_size, size="native")
            options: dict[str, Any] = {"recursive": recursive, "device": device, "batch_size": batch_size}
            options |= {"size": "native" if isinstance(model, str) else model.size, "workers": workers}
            if isinstance(model, DepthEstimator) and model.takes_sparse:
                options |= {"sparse": sparse, "sparse_from": sparse_from}
                completes = True
            estimate(images, to_text(folder), model=model, on_outcome=on_outcome, **options)
        folders[name] = folder
    if (sparse is not None or sparse_from) and not completes:
        raise InputError("none of these models takes sparse depth: leave `sparse` out")
    states = [read_state(folder) for folder in folders.values()]
    found = _measure(states, [*folders.values()], threads, shown)
    if not found.images:
        reason = f": {found.skipped[0].key}: {found.skipped[0].reason}" if found.skipped else ""
        raise InputError(f"no image has depth by all of {', '.join(folders)}{reason}")
    columns = [_describe(*each) for each in zip(folders, folders.values(), states, strict=True)]
    agreement = dict(zip(combinations(folders, 2), (found.sums / found.images).tolist(), strict=True))
    result = Comparison(root / PAGE, columns, found.images, agreement, found.worst, found.skipped)
    with write_atomic(result.path) as file:
        file.write_bytes(write_comparison(result).encode())
    return result


@dataclass(slots=True)
class _Found:
    """sums: of delta1 of each pair."""

    sums: Floats
    images: int
    worst: list[ComparedImage]
    skipped: list[Failure]


def _measure(states: Sequence[LedgerState], folders: Sequence[AnyPath], workers: int, most: int) -> _Found:
    """Compare what all runs have done; a number is kept of each image, and `most` images."""
    count = len(states) * (len(states) - 1) // 2
    found = _Found(np.zeros(count), 0, [], [])

    def list_images() -> Iterator[ComparedImage]:
        for key, _ in states[0].done():
            if all(state.get(key) for state in states):
                lines = [state.read_line(state.place(key)) for state in states]
                for each in zip(*(expand_clip(line, _FRAMES) for line in lines), strict=False):
                    yield ComparedImage(each[0]["key"], each, ())

    def measure(image: ComparedImage) -> ComparedImage | Failure:
        return attempt(
            image.key, "decode", lambda: image._replace(agreement=find_agreement(read_maps(image, folders)))
        )

    def count_all() -> Iterator[ComparedImage]:
        for image in track(map_bounded(list_images(), measure, workers=workers), "comparing"):
            if isinstance(image, ComparedImage):
                found.images += 1
                found.sums += image.agreement
                yield image
            elif len(found.skipped) < _KEPT:
                found.skipped.append(image)

    found.worst = heapq.nsmallest(most, count_all(), key=lambda image: (image.mean, image.key))
    return found


def _describe(name: str, folder: AnyPath, state: LedgerState) -> ComparedModel:
    """Return a model with the speed of the run that did most images."""

    def read(words: Mapping[str, object] | None, word: str) -> float:
        value = (words or {}).get(word)
        return float(value) if isinstance(value, int | float) else 0.0

    run = max(
        (each for each in state.runs.values() if each.end),
        key=lambda each: read(each.end, "done"),
        default=None,
    )
    speed = run.speed if run else None
    stages = speed.get("core_seconds_an_image") if speed else None
    kinds = {str(run.settings.get("kind")) for run in state.runs.values()}
    model_s = read(stages if isinstance(stages, dict) else None, "model")
    return ComparedModel(
        name,
        folder,
        ", ".join(sorted(kinds)),
        done=sum(1 for _ in state.done()),
        failed=len(state.failed),
        images_per_second=read(run.end, "images_per_second") if run and model_s else 0.0,
        model_ms=1000 * model_s,
    )
