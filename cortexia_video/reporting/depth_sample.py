"""What the depth maps of a sample of pictures look like, in a few numbers each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from cortexia_video.byte_budget import ByteBudget
from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import CortexiaError, DepthFileError, printable
from cortexia_video.formats.reading import decode_depth
from cortexia_video.reporting.ledger_summary import Line, Meaning
from cortexia_video.run_files import find_depth
from cortexia_video.sinks.sink import Placed

MEMORY = 1 << 30  # bytes of files and arrays in work at once, over all workers; a larger one is read alone
PIXELS = 1 << 18  # of a map that are looked at, at most
_BYTES = 5  # a pixel, beside the file: values of another type are converted
_PERCENTILES = (2, 50, 98)
_ABOUT = ("kind", "f_px", "f_source", "full_size")  # what a line says of its depth


class Measurement(NamedTuple):
    """One depth map: of every k-th row and column, so that it is 2^18 pixels at most.

    low, p2, median, p98, high: of its known values, NaN where there is none. unknown: the share of pixels
    that are. at_low, at_high: the shares of the known that are equal to `low` and to `high`.
    """

    line: Line
    meaning: Meaning
    low: float
    p2: float
    median: float
    p98: float
    high: float
    unknown: float
    at_low: float
    at_high: float

    @property
    def key(self) -> str:
        key: str = self.line["key"]
        return key


class Unreadable(NamedTuple):
    """A picture whose depth is not what the ledger says. reason: for people."""

    key: str
    reason: str


@dataclass(slots=True)
class DepthSample:
    """What was found of each picture of the sample. views: those that have only views of their depth."""

    measured: list[Measurement] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    views: list[Line] = field(default_factory=list)

    @property
    def pictures(self) -> int:
        return len(self.measured) + len(self.unreadable) + len(self.views)

    @property
    def readable(self) -> list[Line]:
        """Give the lines of pictures that have something to look at."""
        return [*(each.line for each in self.measured), *self.views]


def measure_sample(
    root: Path, lines: Sequence[Line], find_meaning: Callable[[Line], Meaning], *, workers: int
) -> DepthSample:
    """Read the depth of lines of the ledger of the folder `root`, and measure it. workers: threads."""
    budget, sample = ByteBudget(MEMORY), DepthSample()

    def measure(line: Line) -> Measurement | Unreadable | None:
        with budget.hold(count_bytes(line)):
            try:
                depth = read_done_depth(root, line)
            except CortexiaError as error:  # damaged, or of a format whose package is not installed
                return Unreadable(line["key"], str(error))
            return measure_depth(line, find_meaning(line), depth.values) if depth else None

    with ThreadPoolExecutor(workers, thread_name_prefix="cortexia") as pool:
        for line, found in zip(lines, pool.map(measure, lines), strict=True):
            if isinstance(found, Measurement):
                sample.measured.append(found)
            elif found:
                sample.unreadable.append(found)
            else:
                sample.views.append(line)
    return sample


def measure_depth(line: Line, meaning: Meaning, values: NDArray[np.float32]) -> Measurement:
    """Measure float32 (H, W), NaN where unknown."""
    step = math.ceil(math.sqrt(values.size / PIXELS))
    seen = values[::step, ::step]
    known = seen[~np.isnan(seen)]
    unknown = 1 - known.size / seen.size
    if not known.size:
        none = math.nan
        return Measurement(line, meaning, none, none, none, none, none, unknown, 0.0, 0.0)
    low, high = known.min(), known.max()
    p2, median, p98 = map(float, np.percentile(known, _PERCENTILES))
    at_low, at_high = (float((known == end).mean()) for end in (low, high))
    return Measurement(line, meaning, float(low), p2, median, p98, float(high), unknown, at_low, at_high)


def read_done_depth(root: Path, line: Line) -> DepthMap | None:
    """Read the depth of a line that says `done`; None where it has only views.

    Raises `DepthFileError` where it is not what was written, and what `decode_depth` raises.
    """
    name = find_depth(line)
    if name is None:
        return None
    about = {word: line.get(word) for word in _ABOUT}
    return decode_depth(read_output(root, name, line), name, about=about, max_megapixels=math.inf)


def read_output(root: Path, name: str, line: Line) -> bytes:
    """Read an output of a line; `DepthFileError` where it is not what was written."""
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise DepthFileError(f"{printable(name)}: its name leads out of the folder")
    try:
        data = (root / name).read_bytes()
    except FileNotFoundError as error:
        raise DepthFileError(f"{printable(name)}: it is not there") from error
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        reason = getattr(error, "strerror", None) or error
        raise DepthFileError(f"{printable(name)}: it cannot be read: {reason}") from error
    if Placed(len(data), xxhash.xxh3_128_hexdigest(data)) != Placed(*line["outputs"][name]):
        raise DepthFileError(f"{printable(name)}: it is not what was written")
    return data


def count_bytes(line: Line) -> int:
    """Say how much memory the depth of a line takes while it is read."""
    height, width = line.get("height", 0), line.get("width", 0)
    return sum(size for size, _ in line["outputs"].values()) + _BYTES * height * width
