"""What a device does at most, measured: matrix products and copies; and how work on it is timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_TRIES = 5
_PRODUCTS = 10  # in one try
PRECISIONS = (torch.float32, torch.bfloat16, torch.float16)


def time_work(device: torch.device, work: Callable[[], object]) -> float:
    """Return the seconds of a piece of work, begun and ended with the device at rest."""
    _rest(device)
    started = time.perf_counter()
    work()
    _rest(device)
    return time.perf_counter() - started


def describe_device(device: torch.device) -> str:
    """Return a device's name, for people."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def measure_matrix_rates(device: torch.device) -> dict[torch.dtype, float]:
    """Measure floating-point operations per second of large matrix products; float32 with TF32 allowed.

    Plain float32 networks use TF32 in their convolutions, so that is what bounds them. A processor's is that
    of one core times the threads: threads that wait for each other would measure who else is at work.
    """
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    with _tf32(), _one_thread():
        return {precision: threads * _measure_products(device, precision) for precision in PRECISIONS}


def measure_copies(device: torch.device) -> dict[str, float]:
    """Measure bytes per second: to the device from page-locked memory, back, and there (read and written)."""
    is_cuda = device.type == "cuda"
    count = 1 << (30 if is_cuda else 24)
    host = torch.empty(count, dtype=torch.uint8, pin_memory=is_cuda)
    there, other = (torch.empty(count, dtype=torch.uint8, device=device) for _ in range(2))
    copies = {"to": (there, host, 1), "from": (host, there, 1), "on": (other, there, 2)}
    return {
        name: times * count / _best(device, lambda target=target, source=source: target.copy_(source, True))
        for name, (target, source, times) in copies.items()
    }


def _measure_products(device: torch.device, precision: torch.dtype) -> float:
    side = 8192 if device.type == "cuda" else 128  # some processors are very slow in half precision
    left, right = (torch.randn(side, side, device=device).to(precision) for _ in range(2))
    product = torch.empty_like(left)

    def multiply() -> Tensor:
        for _ in range(_PRODUCTS):
            torch.mm(left, right, out=product)
        return product

    return 2 * side**3 * _PRODUCTS / _best(device, multiply)


def _best(device: torch.device, work: Callable[[], object]) -> float:
    """Return the least seconds of a few tries, after one that does not count."""
    return min([time_work(device, work) for _ in range(1 + _TRIES)][1:])


def _rest(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _tf32() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
