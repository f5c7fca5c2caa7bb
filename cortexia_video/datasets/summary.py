"""What a dataset holds, measured on some of its samples; and a contact sheet of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from cortexia_video.augmentation import RandomTransform
from cortexia_video.datasets.dataset import AnyDataset, Attempt, RGBDDataset
from cortexia_video.datasets.sample_checks import OnProblem, check
from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import Failure, InputError, format_count
from cortexia_video.runtime.progress import track
from cortexia_video.runtime.resources import choose_workers
from cortexia_video.viz.figures import collage

_TAKEN = 2000  # pixels of a sample
_BINS = 12
_BAR = 40  # characters
_CLIPPED = (2.0, 98.0)  # percentiles that the colours of a sheet end at


@dataclass(slots=True)
class Summary:
    """Samples that were looked at. count: in the dataset, or None for a stream. looked_at: of these.

    sizes: (width, height) and how many have it. valid_share: mean. depth: some valid values by kind.
    """

    count: int | None
    looked_at: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    cameras: int = 0
    valid_shares: list[float] = field(default_factory=list)
    depth: dict[DepthKind, list[NDArray[np.float32]]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    @property
    def valid_share(self) -> float:
        return float(np.mean(self.valid_shares)) if self.valid_shares else 0.0

    def add(self, attempt: Attempt) -> None:
        """Count one sample, or what is wrong with it."""
        self.looked_at += 1
        if isinstance(attempt, Failure):
            self.failures.append(attempt)
            return
        height, width = attempt.size
        self.sizes[width, height] += 1
        self.cameras += attempt.camera is not None
        values = attempt.depth.values[attempt.valid]
        self.valid_shares.append(values.size / (height * width))
        self.depth.setdefault(attempt.depth.kind, []).append(values[:: max(1, values.size // _TAKEN)])

    def __str__(self) -> str:
        total = "a stream" if self.count is None else format_count(self.count, "sample")
        usable = self.looked_at - len(self.failures)
        lines = [f"{total}; of {self.looked_at} looked at {usable} can be used, {self.cameras} have a camera"]
        lines += (f"{width} x {height}: {count}" for (width, height), count in self.sizes.most_common())
        lines.append(f"valid pixels: {100 * self.valid_share:.1f} %")
        for kind, some in sorted(self.depth.items()):
            values, unit = np.concatenate(some), " m" if kind == "metric" else ""
            low, middle, high = np.percentile(values, [1, 50, 99])
            said = f"1 % below {low:.4g}{unit}, half below {middle:.4g}{unit}, 99 % below {high:.4g}{unit}"
            lines.append(f"{kind}: {said}")
            if not high > low:
                continue
            counts, edges = np.histogram(values, _BINS, (low, high))
            for count, start, end in zip(counts, edges[:-1], edges[1:], strict=True):
                bar = "#" * round(_BAR * count / counts.max())
                lines.append(
                    f"  {start:8.4g} to {end:<8.4g} {100 * count / values.size:5.1f} % {bar}".rstrip()
                )
        return "\n".join([*lines, *map(str, self.failures)])


def summarise(dataset: AnyDataset, *, samples: int = 200) -> Summary:
    """Look at so many samples, spread over the set, or the first ones of a stream."""
    summary = Summary(len(dataset) if isinstance(dataset, RGBDDataset) else None)
    if isinstance(dataset, RGBDDataset) and len(dataset) > samples:
        chosen = np.linspace(0, len(dataset) - 1, samples).round().astype(np.int64)
        dataset = replace(dataset, entries=[dataset.entries[index] for index in chosen])
    read = islice(dataset.attempt(workers=choose_workers(None)), samples)
    total = len(dataset) if isinstance(dataset, RGBDDataset) else samples
    for attempt in track(read, "looking", "samples", total):
        summary.add(check(attempt, dataset))
    return summary


def make_sheet(
    dataset: AnyDataset,
    on_problem: OnProblem,
    *,
    count: int = 9,
    columns: int = 3,
    augment: RandomTransform | None = None,
    seed: int = 0,
) -> NDArray[np.uint8]:
    """Return images beside their depth on a sheet, uint8 (H, W, 3): drawn from the set, or a stream's first.

    Near is bright, as in a report; the nearest and the farthest 2 % have the colours of the ends.

    augment: a transform of `cortexia_video.augmentation` that each goes through, seeded.
    Raises `InputError` where none of them can be used.
    """
    if isinstance(dataset, RGBDDataset):
        order = np.random.default_rng(seed).permutation(len(dataset))
        dataset = replace(dataset, entries=[dataset.entries[index] for index in np.sort(order[:count])])
    usable, failure = [], None
    for attempt in track(islice(dataset.attempt(), count), "reading", "samples", count):
        checked = check(attempt, dataset)
        if isinstance(checked, Failure):
            failure = checked
            on_problem(checked)
        else:
            usable.append(augment(checked, seed) if augment else checked)
    if not usable:
        raise InputError(
            f"nothing to show: none of {format_count(count, 'sample')} can be used; the last: {failure}"
        )
    pairs = []
    for sample in usable:
        values = np.where(sample.valid, sample.depth.values.astype(np.float64), np.nan)
        if sample.depth.kind in ("metric", "scale_invariant"):
            nearness = 1 / values
        else:
            nearness = values if sample.depth.larger_is_nearer else -values
        pairs.append((sample.frame.image, nearness))
    return collage(pairs, columns=columns, percentiles=_CLIPPED)
