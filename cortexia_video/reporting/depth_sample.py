"""What the depth maps of a sample of images look like, in a few numbers each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cortexia_video.errors import Failure, attempt
from cortexia_video.ledger.artifacts import find_depth, list_outputs, read_run_depth
from cortexia_video.reporting.ledger_summary import DepthMeaning, Line
from cortexia_video.runtime.bounded_map import map_bounded
from cortexia_video.runtime.progress import track
from cortexia_video.runtime.resources import MemoryBudget
from cortexia_video.storage.paths import AnyPath

MEMORY = 1 << 30  # bytes of files and arrays in work at once, over all workers; a larger one is read alone
PIXELS = 1 << 18  # of a map that are looked at, at most
_BYTES = 5  # a pixel, beside the file: values of another type are converted
_PERCENTILES = (2, 50, 98)


class Measurement(NamedTuple):
    """One depth map: of every k-th row and column, so that it is 2^18 pixels at most.

    low, p2, median, p98, high: of its known values, NaN where there is none. unknown: the share of pixels
    that are. at_low, at_high: the shares of the known that are equal to `low` and to `high`.
    """

    line: Line
    meaning: DepthMeaning
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
    """An image whose depth is not what the ledger says. reason: for people."""

    key: str
    reason: str


@dataclass(slots=True)
class DepthSample:
    """What was found of each image of the sample. views: those that have only views of their depth."""

    measured: list[Measurement] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    views: list[Line] = field(default_factory=list)

    @property
    def images(self) -> int:
        return len(self.measured) + len(self.unreadable) + len(self.views)

    @property
    def readable(self) -> list[Line]:
        """Return the lines of images that have something to look at."""
        return [*(each.line for each in self.measured), *self.views]


def measure_sample(
    root: AnyPath, lines: Sequence[Line], find_meaning: Callable[[Line], DepthMeaning], *, workers: int
) -> DepthSample:
    """Read the depth of lines of the ledger of the folder `root`, and measure it. workers: threads."""
    budget, sample = MemoryBudget(MEMORY), DepthSample()

    def measure(line: Line) -> Measurement | Unreadable | None:
        if find_depth(line) is None:
            return None
        with budget.hold(count_bytes(line)):
            measured = attempt(
                line["key"],
                "decode",
                lambda: measure_depth(line, find_meaning(line), read_run_depth(root, line).values),
            )
        return Unreadable(measured.key, measured.reason) if isinstance(measured, Failure) else measured

    measured = track(map_bounded(lines, measure, workers=workers), "measuring", "depth maps", len(lines))
    for line, found in zip(lines, measured, strict=True):
        if isinstance(found, Measurement):
            sample.measured.append(found)
        elif found:
            sample.unreadable.append(found)
        else:
            sample.views.append(line)
    return sample


def measure_depth(line: Line, meaning: DepthMeaning, values: NDArray[np.float32]) -> Measurement:
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


def count_bytes(line: Line) -> int:
    """Return how much memory the depth of a line takes while it is read."""
    height, width = line.get("height", 0), line.get("width", 0)
    file = 4 * height * width if "frame" in line else sum(each.size for each in list_outputs(line).values())
    return file + _BYTES * height * width
