"""What is wrong with a sample that can be read; and what becomes of those that cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from cortexia_video.datasets.dataset import AnyDataset, Attempt
from cortexia_video.errors import Failure, InputError
from cortexia_video.rgbd_sample import RGBDSample

NEAREST_M, FARTHEST_M = 0.01, 1000.0  # between which a median in metres lies
_KEPT = 1000  # failures

OnProblem = Callable[[Failure], None]


def find_problem(sample: RGBDSample) -> str | None:
    """Say what is wrong with a sample's depth, with the remedy: nothing known, or not the unit it says."""
    values = sample.depth.values[sample.valid]
    if not values.size:
        return "no pixel of its depth can be used: all unknown, out of range or masked out"
    if sample.depth.kind != "metric":
        return None
    median = float(np.median(values))
    if median > FARTHEST_M:
        return (
            f"its median depth is {median:g} metres: these may be millimetres; give the dialect of the set, "
            "or scale=0.001"
        )
    if median < NEAREST_M:
        return f"its median depth is {median:g} metres: the scale is too small; give the dialect of the set"
    return None


def raise_problem(failure: Failure) -> None:
    """End at the first sample that cannot be used."""
    raise InputError(f"{failure.key}: {failure.reason}") from failure.error


class ProblemCount:
    """Leave out what cannot be used, and count it: `count.total`; the first 1000 are in `count.failures`."""

    def __init__(self) -> None:
        self.total = 0
        self.failures: list[Failure] = []

    def __call__(self, failure: Failure) -> None:
        self.total += 1
        if len(self.failures) < _KEPT:
            self.failures.append(failure)


def check(attempt: Attempt) -> Attempt:
    """Give a sample, or a `Failure` where it cannot be used."""
    problem = None if isinstance(attempt, Failure) else find_problem(attempt)
    return attempt if problem is None else Failure(attempt.key, "decode", InputError(problem))


def usable_samples(
    dataset: AnyDataset, on_problem: OnProblem = raise_problem, *, workers: int | None = None
) -> Iterator[RGBDSample]:
    """Yield the samples of a data set that can be read and used, in order, some read ahead.

    on_problem: what to do with each other one: `raise_problem`, or a `ProblemCount`, or a function of yours.
    """
    for attempt in dataset.attempt(workers=workers):
        checked = check(attempt)
        if isinstance(checked, Failure):
            on_problem(checked)
        else:
            yield checked
