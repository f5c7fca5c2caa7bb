"""What is torch's of the whole process stays as it is wanted where several threads run networks."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import torch

from cortexia_video.models.torch.device import Placement


def test_one_image_has_all_threads_while_another_batch_is_run_in_parts() -> None:
    placement, usual = Placement(torch.device("cpu"), torch.float32), torch.get_num_threads()
    begun, go_on = threading.Event(), threading.Event()
    threads: dict[str, int] = {}

    def run_slowly(part: Any) -> Any:
        begun.set()
        assert go_on.wait(60)
        threads["part"] = torch.get_num_threads()
        return part

    def run(batch: Any) -> Any:
        threads["alone"] = torch.get_num_threads()
        return batch

    torch.set_num_threads(2)
    try:
        with ThreadPoolExecutor(2) as pool:  # threads that are new to torch
            first = pool.submit(placement.run_in_parts, run_slowly, np.zeros((2, 3), np.float32))
            assert begun.wait(60)
            second = pool.submit(placement.run_in_parts, run, np.zeros((1, 3), np.float32))
            with pytest.raises(TimeoutError):
                second.result(0.3)
            go_on.set()
            assert (len(first.result(60)), len(second.result(60))) == (2, 1)
        assert threads == {"part": 1, "alone": 2}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(usual)


def test_tf32_is_off_for_float32_whatever_runs_beside_it() -> None:
    """The flag can be looked at without CUDA."""
    half, whole = (Placement(torch.device("cuda"), each) for each in (torch.bfloat16, torch.float32))
    usual, seen = torch.backends.cudnn.allow_tf32, []
    inside, leave = threading.Barrier(2), threading.Event()

    def hold(placement: Placement) -> None:
        with placement.running():
            inside.wait(60)
            assert leave.wait(60)
            seen.append((placement.is_half, torch.backends.cudnn.allow_tf32))

    def pass_through() -> None:
        with whole.running():
            seen.append((False, torch.backends.cudnn.allow_tf32))

    with ThreadPoolExecutor(3) as pool:
        two = [pool.submit(hold, half) for _ in range(2)]  # they are in at the same time
        other = pool.submit(pass_through)
        with pytest.raises(TimeoutError):
            other.result(0.3)
        leave.set()
        for each in (*two, other):
            each.result(60)
    assert sorted(seen) == [(False, False), (True, True), (True, True)]
    assert torch.backends.cudnn.allow_tf32 == usual
