"""What is wrong with a sample that can be read; and what is done with those that cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from cortexia_video.datasets.dataset import AnyDataset, Attempt, count_bytes, list_all
from cortexia_video.depth_map import find_usable
from cortexia_video.errors import CortexiaError, DepthFileError, Failure, InputError
from cortexia_video.rgbd_sample import RGBDSample
from cortexia_video.runtime.bounded_map import map_bounded
from cortexia_video.runtime.resources import choose_workers

NEAREST_M, FARTHEST_M = 0.01, 1000.0  # between which a median in metres lies
_KEPT = 1000  # failures
_ENOUGH, _FEW = 4000, 500  # pixels

OnProblem = Callable[[Failure], None]


def find_problem(sample: RGBDSample, *, scale_is_said: bool = False) -> CortexiaError | None:
    """Return what is wrong with a sample's depth, with the remedy.

    Nothing known is a `DepthFileError`, of that sample; metres that are none an `InputError`, of its set:
    unless the set itself says its scale, when depth may be that of teeth, or of a flight.
    """
    # some of the pixels, where enough of them are valid: all would take most of the time of reading a sample
    values, mask = sample.depth.values.ravel(), None if sample.mask is None else sample.mask.ravel()
    for step in (max(1, values.size // _ENOUGH), 1):
        usable = find_usable(values[::step], sample.depth.kind)
        valid = values[::step][usable if mask is None else usable & mask[::step]]
        if valid.size > _FEW:
            break
    if not valid.size:
        return DepthFileError("no pixel of its depth can be used: all unknown, out of range or masked out")
    if scale_is_said or sample.depth.kind != "metric":
        return None
    median = float(np.median(valid))
    said = f"its median depth is {median:g} metres"
    if median > FARTHEST_M:
        return InputError(
            f"{said}: these may be millimetres; give the set's convention (`convention`) or `scale`"
        )
    if median < NEAREST_M:
        return InputError(
            f"{said}: the scale is too small; give the set's convention (`convention`) or `scale`"
        )
    return None


def raise_problem(failure: Failure) -> None:
    """End at the first sample that cannot be used.

    Args:
        failure: What is wrong with it.

    Raises:
        InputError: Always.
    """
    raise InputError(f"{failure.key}: {failure.reason}") from failure.error


class ProblemCount:
    """Leave out what cannot be used, and count it: an `on_problem` for `usable_samples` and `Mixture.batches`.

    Attributes:
        total: How many there were.
        failures: The first 1000 of them.
    """

    def __init__(self) -> None:
        self.total = 0
        self.failures: list[Failure] = []

    def __call__(self, failure: Failure) -> None:
        """Count a sample that cannot be used.

        Args:
            failure: What is wrong with it.
        """
        self.total += 1
        if len(self.failures) < _KEPT:
            self.failures.append(failure)


def check(attempt: Attempt, dataset: AnyDataset) -> Attempt:
    """Return a sample of a dataset, or a `Failure` where it cannot be used."""
    if isinstance(attempt, Failure):
        return attempt
    problem = find_problem(attempt, scale_is_said=dataset.scale_is_said)
    return attempt if problem is None else Failure(attempt.key, "decode", problem)


def usable_samples(
    dataset: AnyDataset, on_problem: OnProblem = raise_problem, *, workers: int | None = None
) -> Iterator[RGBDSample]:
    """Yield the samples of a dataset that can be read and used, in order, some read ahead.

    Args:
        dataset: Such as `open_dataset` opens.
        on_problem: What to do with each other one: `raise_problem`, a `ProblemCount`, or a function of yours.
        workers: Threads; one for each core by default.

    Yields:
        The samples.

    Raises:
        InputError: By `raise_problem`, at the first that cannot be used.

    Example:
        >>> skipped = cx.datasets.ProblemCount()
        >>> samples = list(cx.datasets.usable_samples(dataset, skipped))  # doctest: +SKIP
    """
    checks = map_bounded(
        list_all(dataset),
        lambda load: check(load(), dataset),
        workers=choose_workers(workers),
        size_of=count_bytes,
    )
    for checked in checks:
        if isinstance(checked, Failure):
            on_problem(checked)
        else:
            yield checked
