"""Batches of a folder's images through a depth estimator, with the console lines of the batch script.

Core of `batch_depth_estimation.py`. The work is the package's: decoding, estimation, whole-or-nothing files.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cortexia_video import DepthEstimator, DepthMap, Failure, Frame, decode, load_estimator
from cortexia_video.errors import DecodeError, OutputExistsError, OutputLostError, printable
from cortexia_video.formats.registry import is_own_output
from cortexia_video.images.decode import read_header, read_image_bytes
from cortexia_video.sinks.sink import FolderSink

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
OUTPUT_SUFFIX = "_depth_new"


@dataclass(slots=True)
class Counts:
    """The results of a run: found == saved + failed."""

    found: int = 0
    saved: int = 0
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
    print("Loading images into buffer...")
    loaded = [name for name in names if _can_be_read(folder, name, counts)]
    print(f"Loaded {len(loaded)} images")
    if not loaded:
        return
    print(f"Starting batch processing for folder {_base_name(folder)}...")
    outputs = name_outputs(names)
    batches = [
        loaded[start : start + estimator.batch_size] for start in range(0, len(loaded), estimator.batch_size)
    ]
    with ExitStack() as stack:
        sink = stack.enter_context(FolderSink(Path(folder), format=save_format))
        pool = stack.enter_context(ThreadPoolExecutor())
        for number, (batch, frames) in enumerate(_decode_ahead(pool, folder, batches), start=1):
            print(f"Processing batch {number}/{len(batches)}")
            depths = process_batch(frames, estimator)
            keys = [outputs[name] for name in batch]
            for line in pool.map(lambda key, depth: _save(sink, folder, key, depth), keys, depths):
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
        return decode(read_image_bytes(os.path.join(folder, name)), name)  # noqa: PTH118 - keeps a leading ./
    except DecodeError as error:
        return Failure(name, "decode", error)


def _can_be_read(folder: str, name: str, counts: Counts) -> bool:
    """Read an image's header, not its pixels; say why where that fails."""
    path = os.path.join(folder, name)  # noqa: PTH118 - keeps a leading ./
    try:
        read_header(read_image_bytes(path))
    except DecodeError as error:
        counts.failed += 1
        print(f"Skipped {printable(path)}: {error}")
        return False
    return True


def _save(sink: FolderSink, folder: str, key: str, depth: DepthMap | Failure) -> str | Failure:
    if isinstance(depth, Failure):
        return depth
    (name,) = sink.output_names(key)
    path = Path(folder, name)
    if path.is_file() and not is_own_output(path):
        return Failure(key, "write", OutputExistsError(f"{name} exists already and is no depth map"))
    try:
        sink.write(key, depth)
    except OutputLostError:
        raise
    except Exception as error:  # noqa: BLE001 - an encoder or the system can raise anything
        return Failure(key, "write", error)
    return os.path.join(folder, name)  # noqa: PTH118 - keeps ./


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


def _base_name(folder: str) -> str:
    return printable(Path(folder).resolve().name)
