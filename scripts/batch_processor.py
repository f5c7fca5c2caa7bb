"""Batches of a folder's images through a depth estimator, with the console lines of the batch script.

Core of `batch_depth_estimation.py`. The work is the package's: decoding, estimation, whole-or-nothing files,
and what says what the files are (depth.json, ledger.jsonl), so that `cortexia` understands the folder.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from cortexia_video import DepthEstimator, DepthMap, Failure, Frame, decode, load_estimator
from cortexia_video.errors import DecodeError, OutputExistsError, attempt, printable
from cortexia_video.formats.registry import is_own_output
from cortexia_video.images.decode import read_image_bytes
from cortexia_video.jobs.outcomes import facts_of
from cortexia_video.ledger.entries import Source
from cortexia_video.ledger.ledger import Ledger
from cortexia_video.sinks.sink import FolderSink

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
OUTPUT_SUFFIX = "_depth_new"


@dataclass(slots=True)
class Counts:
    """The results of a run: found == saved + skipped + failed."""

    found: int = 0
    saved: int = 0
    skipped: int = 0
    failed: int = 0


@lru_cache(maxsize=1)
def get_estimator(model: str, batch_size: int, device: str = "auto") -> DepthEstimator:
    """Load a model once; later calls give the same instance."""
    return load_estimator(model, batch_size=batch_size, device=device)


def find_images(folder: str) -> list[str]:
    """List the JPEG and PNG files directly in a folder, sorted by name, without depth maps saved before."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if _is_image(entry)]
    return sorted(names, key=os.fsencode)


def find_subfolders(folder: str) -> Iterator[str]:
    """Yield every folder below `folder`, as a path relative to it, in order."""
    for path, subfolders, _ in os.walk(folder):
        subfolders[:] = sorted((name for name in subfolders if not name.startswith(".")), key=os.fsencode)
        if path != folder:
            yield os.path.relpath(path, folder)


def name_outputs(names: Sequence[str]) -> dict[str, str]:
    """Return each image the stem of its output: `a.jpg` -> `a_depth_new`.

    Where that would meet another image's (`a.jpg` and `a.png`), the whole name: `a.jpg_depth_new`.
    """
    stems = {name: Path(name).stem for name in names}
    uses = Counter(stems.values())
    clear = {name for name, stem in stems.items() if uses[stem] == 1 and stem not in stems}
    return {name: (stems[name] if name in clear else name) + OUTPUT_SUFFIX for name in names}


def process_folder(
    folder: str, names: Sequence[str], estimator: DepthEstimator, *, save_format: str, counts: Counts
) -> None:
    """Estimate and save depth for the images `names` of one folder, in batches.

    No more than two batches of images are in memory. An image that fails is named and left out; the
    others go on. Raises `OutputError` where nothing can be saved in the folder.
    """
    settings = {**estimator.identity, "format": save_format, "by": "scripts/batch_depth_estimation.py"}
    outputs, saved, began = name_outputs(names), counts.saved, time.monotonic()
    with ExitStack() as stack:
        sink = FolderSink(Path(folder), format=save_format)
        ledger = stack.enter_context(Ledger(Path(folder), settings, sink=sink))
        stack.enter_context(sink)
        pool = stack.enter_context(ThreadPoolExecutor())
        stack.callback(
            lambda: _record_end(ledger, len(names), counts.saved - saved, time.monotonic() - began)
        )
        print("Loading images into buffer...")
        loaded = []
        for name, failure in zip(names, pool.map(lambda name: _try_decode(folder, name), names), strict=True):
            if failure is None:
                loaded.append(name)
                continue
            counts.skipped += 1
            ledger.record_failure(failure, os.path.abspath(_join(folder, name)))  # noqa: PTH100 - links stay
            print(f"Skipped {printable(_join(folder, name))}: {failure.reason}")
        print(f"Loaded {len(loaded)} images")
        if not loaded:
            return
        ledger.keep_depth_json(sink)
        print(f"Starting batch processing for folder {_base_name(folder)}...")
        size = estimator.batch_size
        batches = [loaded[start : start + size] for start in range(0, len(loaded), size)]
        for number, (batch, frames) in enumerate(_decode_ahead(pool, folder, batches), start=1):
            print(f"Processing batch {number}/{len(batches)}")
            depths = process_batch(frames, estimator)
            save = partial(_save, sink, ledger, folder)
            for line in pool.map(save, batch, [outputs[name] for name in batch], depths):
                _report(line, counts)


def process_batch(frames: Sequence[Frame | Failure], estimator: DepthEstimator) -> list[DepthMap | Failure]:
    """Estimate depth for frames; a failed one keeps its place as a `Failure`."""
    print(f"Infering {sum(isinstance(frame, Frame) for frame in frames)} images")
    depths = list(estimator.estimate(frames))
    print(f"Infered {sum(isinstance(depth, DepthMap) for depth in depths)} images")
    return depths


def _decode_ahead(
    pool: ThreadPoolExecutor, folder: str, batches: Sequence[Sequence[str]]
) -> Iterator[tuple[Sequence[str], list[Frame | Failure]]]:
    """Yield each batch with its decoded frames, while the workers decode the next."""
    following = None
    for batch in batches:
        decoding = [pool.submit(_read_frame, folder, name) for name in batch]
        if following:
            yield following[0], [future.result() for future in following[1]]
        following = batch, decoding
    if following:
        yield following[0], [future.result() for future in following[1]]


def _read_frame(folder: str, name: str) -> Frame | Failure:
    try:
        return decode(read_image_bytes(_join(folder, name)), name)
    except DecodeError as error:
        return Failure(name, "decode", error)


def _try_decode(folder: str, name: str) -> Failure | None:
    """Return why an image cannot be read to its end, if that is so; a JPEG's pixels are made at an eighth."""

    def read() -> None:
        decode(read_image_bytes(_join(folder, name)), name, enough=lambda height, width: (1, 1))

    return attempt(name, "decode", read)


def _save(
    sink: FolderSink, ledger: Ledger, folder: str, name: str, output: str, depth: DepthMap | Failure
) -> str | Failure:
    """Write one depth map, and its line in the ledger; give its path, or what went wrong."""
    image = os.path.abspath(_join(folder, name))  # noqa: PTH100 - resolve() would follow links
    (file,) = sink.output_names(output)
    path = Path(folder, file)
    if isinstance(depth, DepthMap) and path.is_file() and not is_own_output(path):
        depth = Failure(output, "write", OutputExistsError(f"{file} exists already and is no depth map"))
    if isinstance(depth, DepthMap):
        status = os.stat(image)  # noqa: PTH116
        ledger.record_begun(name, [file])
        placed = attempt(output, "write", partial(sink.write, output, depth))
        if not isinstance(placed, Failure):
            source = Source(image, status.st_size, status.st_mtime_ns)
            ledger.record_done(name, source, placed, **facts_of(depth))
            return _join(folder, file)
        depth = placed
    ledger.record_failure(replace(depth, key=name), image)
    return depth


def _record_end(ledger: Ledger, found: int, done: int, seconds: float) -> None:
    """Append the counts; those of a run that was interrupted, too."""
    ended: dict[str, Any] = {"found": found, "done": done, "skipped": 0, "failed": found - done}
    ledger.record_end(**ended, interrupted=False, seconds=round(seconds, 3))


def _report(outcome: str | Failure, counts: Counts) -> None:
    if isinstance(outcome, Failure):
        counts.failed += 1
        print(f"Failed ({outcome.stage}) {printable(outcome.key)}: {outcome.reason}")
    else:
        counts.saved += 1
        print(f"Saved {printable(outcome)}")


def _is_image(entry: os.DirEntry[str]) -> bool:
    named = Path(entry.name).suffix.lower() in IMAGE_SUFFIXES
    return named and entry.is_file() and not is_own_output(entry.path)


def _join(folder: str, name: str) -> str:
    return os.path.join(folder, name)  # noqa: PTH118 - keeps a leading ./


def _base_name(folder: str) -> str:
    return printable(Path(folder).resolve().name)
