"""`Processes`: the trainers that torchrun started, or the one that nobody did; each with its device."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

_PATIENCE = timedelta(days=1)  # the first process may render, label and measure while the others wait


@dataclass(frozen=True, slots=True)
class Processes:
    """rank: of this one, the first writes files. count: of all. device: what this one trains on."""

    rank: int
    count: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """Let the first process do the block before the others do it."""
        if self.count > 1 and not self.is_first:
            distributed.barrier()
        yield
        if self.count > 1 and self.is_first:
            distributed.barrier()

    def share(self, network: nn.Module) -> nn.Module:
        """Return a network whose gradients become the mean of all processes'."""
        if self.count == 1:
            return network
        devices = [self.device] if self.device.type == "cuda" else None
        # DPT has weights that nothing runs
        return DistributedDataParallel(network, devices, find_unused_parameters=True)

    def mean(self, value: Tensor) -> float:
        """Return the mean of a scalar over all processes."""
        if self.count > 1:
            value = value.clone()
            distributed.all_reduce(value)
        return float(value) / self.count


@contextmanager
def join_processes() -> Iterator[Processes]:
    """Join the processes that torchrun started, as the environment says, until the end of the block."""
    count, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")
    if count == 1:
        yield Processes(0, 1, device)
        return
    distributed.init_process_group("nccl" if cuda else "gloo", timeout=_PATIENCE)
    try:
        yield Processes(rank, count, device)
    finally:
        distributed.destroy_process_group()
