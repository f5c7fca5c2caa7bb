"""Memory that is too small beside others: the same once more, alone."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortexia_video import DepthEstimator, SyntheticModel, estimate
from cortexia_video.formats.quantization import INTERVALS, to_values
from cortexia_video.jobs import worker

Make = Callable[..., Path]


class Forgetful(DepthEstimator):
    """Has no memory for the first `count` calls of one of its steps."""

    def __init__(self, step: str, count: int) -> None:
        super().__init__(SyntheticModel(), batch_size=2)
        self.step, self.left = step, count

    def _fail(self, step: str) -> None:
        if step == self.step and self.left:
            self.left -= 1
            raise MemoryError

    def finish(self, *args: Any) -> Any:
        self._fail("finish")
        return super().finish(*args)


@pytest.mark.parametrize(("count", "done"), [(1, 3), (6, 0)])
def test_depth_that_finds_no_memory_is_finished_alone(
    tmp_path: Path, make_image: Make, count: int, done: int
) -> None:
    for name in "abc":
        make_image(tmp_path / f"in/{name}.jpg")
    report = estimate(tmp_path / "in", tmp_path / "out", model=Forgetful("finish", count))
    assert (report.found, report.done, report.failed) == (3, done, 3 - done)


def test_an_image_that_finds_no_memory_is_decoded_alone(
    tmp_path: Path, make_image: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        make_image(tmp_path / f"in/{name}.jpg")
    decode, left = worker.decode, ["once"]

    def decode_next_time(*args: Any, **options: Any) -> Any:
        if left:
            left.clear()
            raise MemoryError
        return decode(*args, **options)

    monkeypatch.setattr(worker, "decode", decode_next_time)
    report = estimate(tmp_path / "in", tmp_path / "out", model=DepthEstimator(SyntheticModel()))
    assert (report.found, report.done, report.failed) == (3, 3, 0)


@pytest.mark.parametrize(
    ("metadata", "value"),
    [
        ({"near": 1.0, "far": 100.0, "unknown": 0}, 100.0 ** (9 / INTERVALS)),
        ({"scale": 0.5, "offset": 2.0, "unknown": [0, 7]}, 7.0),
    ],
)
def test_numbers_become_values_in_little_more_memory(metadata: dict[str, Any], value: float) -> None:
    numbers = np.full((1000, 3000), 10, np.int32)
    numbers[0, 0] = 0
    tracemalloc.start()
    values = to_values(numbers, metadata)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.isnan(values[0, 0])
    assert values.dtype == np.float32
    np.testing.assert_allclose(values.ravel()[1:], value, rtol=1e-6)
    assert peak < values.nbytes + 8_000_000
