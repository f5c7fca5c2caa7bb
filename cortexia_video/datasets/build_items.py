"""`BuildItem`: a sample of a dataset to be built; from any dataset, or from the output folder of a run."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import xxhash

from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.depth_map import require_perspective
from cortexia_video.errors import Failure
from cortexia_video.frame import Frame
from cortexia_video.images.decode import decode
from cortexia_video.images.resampling import resize_image
from cortexia_video.images.sniff import sniff
from cortexia_video.ledger.artifacts import (
    Line,
    expand_clip,
    find_depth,
    read_run_depth,
    read_run_image,
    read_time_s,
)
from cortexia_video.ledger.lines import LedgerLines
from cortexia_video.ledger.state import LedgerState
from cortexia_video.pinhole import Pinhole
from cortexia_video.rgbd_sample import RGBDSample
from cortexia_video.sources.find import Found, InputFile, find_images
from cortexia_video.sources.sequences import find_sequences
from cortexia_video.storage.paths import AnyPath, to_path, to_text

_OF_MODEL = ("model", "weights_sha256")
NO_DEPTH, VIEW_ONLY = "without depth in the run", "with only a view of their depth"


@dataclass(frozen=True, slots=True)
class BuildItem:
    """A sample before it is read.

    fingerprint: of all that it depends on. load: returns the sample, and the file that its image came as if
    that file holds the same pixels; raises a `CortexiaError` for what cannot be read. scale_is_said: as of
    `RGBDDataset`.
    """

    key: str
    fingerprint: str
    load: Callable[[], tuple[RGBDSample, bytes | None]]
    scale_is_said: bool = False


def list_dataset_items(dataset: RGBDDataset) -> Iterator[BuildItem]:
    """Yield an item for each sample; that files changed under the same key is not noticed."""
    for index, key in enumerate(dataset.keys):
        yield BuildItem(key, key, partial(_load_sample, dataset, index), dataset.scale_is_said)


def _load_sample(dataset: RGBDDataset, index: int) -> tuple[RGBDSample, bytes | None]:
    sample = dataset[index]
    file = dataset.read_file(dataset.entries[index]) if dataset.read_file else None
    if file is None or sniff(file[:64]) != "JPEG":
        return sample, None
    pixels = decode(file, sample.key, max_megapixels=math.inf).image  # some readers reduce images
    return sample, file if np.array_equal(pixels, sample.frame.image) else None


def list_run_items(
    images: AnyPath, run: AnyPath, skipped: Counter[str], passed_over: Counter[str] | None = None
) -> Iterator[BuildItem | Failure]:
    """Yield an item for each image that the run in the folder `run` has done, in the order of the keys.

    images: what was given to `cortexia estimate`. skipped: how many images get no item, by reason. passed_over:
    counts files that are no inputs, by type. Raises `InputError` where there are no images or no ledger.
    """
    origin, given, has_clips, clips = images.resolve().name, [to_text(images)], False, set[str]()

    def look(lines: Iterable[bytes]) -> Iterator[bytes]:
        nonlocal has_clips
        for line in lines:
            has_clips = has_clips or b'"clip"' in line
            yield line

    def find_inputs(state: LedgerState) -> Iterator[Found]:
        """Yield images and videos; folders of frames that the run took for clips are clips, too."""
        if has_clips and isinstance(images, Path) and images.is_dir():
            for each in find_sequences(given, recursive=True, output=run):
                if state.get(each.key) and isinstance(each, InputFile):
                    clips.add(each.source.path)
                    yield each
        for each in find_images(given, recursive=True, output=run, passed_over=passed_over, videos=True):
            if isinstance(each, Failure) or each.is_clip or os.path.dirname(each.source.path) not in clips:  # noqa: PTH120
                yield each

    with LedgerLines(run) as ledger:
        state = LedgerState(look(ledger))
        for image in find_inputs(state):
            if isinstance(image, Failure):
                yield image
                continue
            place = [state.place(image.key)] if state.get(image.key) else []
            line = next(ledger.at(place), None)
            if line is None or not any(map(find_depth, expand_clip(line, 1))):
                skipped[NO_DEPTH if line is None else VIEW_ONLY] += 1
                continue
            settings = state.settings(line["run"]) or {}
            line |= {name: line.get(name, settings.get(name)) for name in _OF_MODEL}
            for each in expand_clip(line):
                # what the row depends on: the image as the run found it, and the files that the run wrote
                facts = [each["key"], origin, line["source"], line["outputs"], line["kind"], line.get("f_px")]
                facts += [line[name] for name in _OF_MODEL]
                fingerprint = xxhash.xxh3_128_hexdigest(json.dumps(facts).encode())
                load = partial(_load_result, each["key"], to_path(image.place), run, each, origin)
                yield BuildItem(each["key"], fingerprint, load, scale_is_said=True)


def _load_result(
    key: str, path: AnyPath, run: AnyPath, line: Line, origin: str
) -> tuple[RGBDSample, bytes | None]:
    """Return the sample of an image and its depth; where depth is smaller, the image is reduced to its size."""
    file = read_run_image(line, path)
    frame = decode(file, key, max_megapixels=math.inf)  # once it was allowed
    depth = read_run_depth(run, line, maps=("mask",))
    require_perspective(depth, "datasets")
    height, width = depth.values.shape
    camera = Pinhole.centred(depth.f_px, frame.width, frame.height) if depth.f_px else None
    reduced = depth.full_size == (frame.height, frame.width)
    image = np.ascontiguousarray(resize_image(frame.image, height, width)) if reduced else frame.image
    camera = camera.resized(width, height) if camera and reduced else camera
    f_px = (camera.fx + camera.fy) / 2 if camera else None
    words = {name: getattr(depth, name) or line[name] for name in _OF_MODEL}
    mask = depth.valid
    depth = replace(depth.without_maps(), f_px=f_px, full_size=None, **words)
    time_s = read_time_s(run, line) if "frame" in line else None
    frame = Frame(key, image, f_px, depth.f_source, time_s)
    sample = RGBDSample(frame, depth, camera, mask, origin=origin)
    return sample, None if reduced or "frame" in line else file
