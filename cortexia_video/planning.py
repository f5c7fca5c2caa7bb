"""`plan`: what a run would cost, from a count of the inputs and a few that are timed."""

from __future__ import annotations

import contextlib
import math
import os
import random
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cortexia_video.batch_limits import BatchSize
from cortexia_video.decode import Header, read_header
from cortexia_video.depth_estimation import DepthEstimator, Size, load_estimator
from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import DecodeError, InputError
from cortexia_video.formats.table import FORMATS, Format
from cortexia_video.ledger import read_ledger
from cortexia_video.pipeline import Decoding, estimate
from cortexia_video.sources.files import Found, PictureFile, find_pictures, read_picture
from cortexia_video.speed import Speed

_LOOKED_AT = 200  # headers
_TIMED = 12  # pictures that go through the whole job
_ENCODED = 4  # depth maps that go through every format


@dataclass(frozen=True, slots=True)
class FormatCost:
    """What one format would take for all pictures. hours: of the whole run. bytes: of all outputs."""

    hours: float
    bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run over all pictures would take.

    found: pictures. bytes: of their files. looked_at: headers that were read, unreadable: of these.
    smallest, largest: (width, height) among those looked at. megapixels: on average.
    timed: pictures that were estimated. formats: what each would take, by name.
    """

    found: int
    bytes: int
    looked_at: int
    unreadable: int
    smallest: tuple[int, int]
    largest: tuple[int, int]
    megapixels: float
    timed: int
    formats: dict[str, FormatCost]


def plan(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    output: str | os.PathLike[str] | None = None,
    model: str | DepthEstimator = "compact",
    recursive: bool = False,
    size: Size = "full",
    decode: Decoding = "exact",
    batch_size: BatchSize = 4,
    device: str = "auto",
    **model_options: Any,
) -> Plan:
    """Count the inputs and foretell hours and bytes for each format; nothing is written to the output.

    The arguments are those of `estimate`. Twelve pictures, chosen at random, are estimated into a temporary
    folder. Hours are at the speed of `Speed`'s bound, which a long run comes close to. What an earlier run
    has done is not taken off.

    Raises `InputError` where there is nothing to do or no sample can be read, and `ModelError`.
    """
    inputs = [inputs] if isinstance(inputs, str | os.PathLike) else inputs
    root = Path(output) if output else None
    found, total, samples = _count(find_pictures(inputs, recursive=recursive, output=root))
    if not samples:
        raise InputError(f"no pictures in {', '.join(os.fspath(each) for each in inputs)}")
    headers = _look_at(samples)
    if isinstance(model, str):
        model = load_estimator(model, device=device, batch_size=batch_size, size=size, **model_options)
    speed, depths, pixels = _time(list(headers)[:_TIMED], model, decode)
    sides = sorted(((each.width, each.height) for each in headers.values()), key=math.prod)
    mean = sum(map(math.prod, sides)) / len(sides)
    return Plan(
        found=found,
        bytes=total,
        looked_at=len(samples),
        unreadable=len(samples) - len(headers),
        smallest=sides[0],
        largest=sides[-1],
        megapixels=mean / 1e6,
        timed=speed.images,
        formats=_foretell(found, speed, depths, mean if model.size == "full" else pixels),
    )


def _count(found: Iterable[Found]) -> tuple[int, int, list[PictureFile]]:
    """Give the number of pictures, the bytes of their files, and some of them by reservoir sampling."""
    chance = random.Random(0)
    count, total = 0, 0
    samples: list[PictureFile] = []
    for each in found:
        if not isinstance(each, PictureFile):
            continue
        count += 1
        total += each.source.size
        if len(samples) < _LOOKED_AT:
            samples.append(each)
        elif (place := chance.randrange(count)) < _LOOKED_AT:
            samples[place] = each
    chance.shuffle(samples)
    return count, total, samples


def _look_at(samples: Sequence[PictureFile]) -> dict[str, Header]:
    """Give the headers that can be read, by path."""
    headers = {}
    for each in samples:
        with contextlib.suppress(DecodeError):
            headers[each.source.path] = read_header(read_picture(each.source.path))
    if not headers:
        raise InputError(
            f"none of the {len(samples)} pictures looked at can be read, such as {samples[0].key}"
        )
    return headers


def _time(
    paths: Sequence[str], estimator: DepthEstimator, decoding: Decoding
) -> tuple[Speed, list[DepthMap], float]:
    """Estimate some pictures; give the speed, a few depth maps, and how many pixels maps have on average."""
    with tempfile.TemporaryDirectory(prefix="cortexia-plan-") as folder:
        report = estimate(paths, folder, model=estimator, decode=decoding)
        if not report.done or not report.speed:
            raise InputError(f"none of the {len(paths)} pictures tried went through: {report.failures[0]}")
        done = [line for line in read_ledger(Path(folder)) if line.get("outcome") == "done"]
        names = [name for line in done[:_ENCODED] for name in line["outputs"]]
        depths = [DepthMap(np.load(Path(folder, name)), estimator.model.kind) for name in names]
    return report.speed, depths, sum(line["height"] * line["width"] for line in done) / len(done)


def _foretell(found: int, speed: Speed, depths: Sequence[DepthMap], pixels: float) -> dict[str, FormatCost]:
    """Give what each format costs. pixels: of a depth map, on average over the run."""
    each = {name: used / speed.images for name, used in speed.core_seconds.items()}
    model = speed.busy_seconds / speed.images / speed.devices
    plain_bytes = _measure(FORMATS["npy"], depths)[1]
    costs = {}
    for name, format in FORMATS.items():
        encoding, size = (pixels * cost for cost in _measure(format, depths))
        cores = sum(used for stage, used in each.items() if stage not in ("encode", "write"))
        cores += encoding + each["write"] * size / (pixels * plain_bytes)
        costs[name] = FormatCost(found * max(model, cores / speed.cores) / 3600, round(found * size))
    return costs


def _measure(format: Format, depths: Sequence[DepthMap]) -> tuple[float, float]:
    """Give the core-seconds and bytes that one pixel takes on average."""
    started = time.thread_time()
    files = [format.encode(depth) for depth in depths]
    seconds = time.thread_time() - started
    pixels = sum(depth.values.size for depth in depths)
    return seconds / pixels, sum(len(chunk) for chunks in files for chunk in chunks) / pixels
