"""Other ways to run our network on a device, beside as it is: compiled, as a CUDA graph, on two streams; nvJPEG.

A graph replays what one call did for one shape, so that the processor launches once where it launched a thousand
times. Where there is no CUDA a double of the graph calls the network again, into the same memory: that shows the
copies, and nothing of the speed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from race import Job
from torch import Tensor, nn

from cortexia_video import DepthEstimator
from cortexia_video.depth_estimation import PreparedFrame
from cortexia_video.errors import ModelError
from cortexia_video.images.decode import decode

_WARM_UP = 3  # calls before a capture, which let libraries choose and allocate
_STREAMS = 2


class ReplayedNetwork(nn.Module):
    """A network whose call is captured once for each shape of its inputs, and replayed."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._known: dict[tuple[Any, ...], tuple[list[Tensor], Callable[[], None], Any]] = {}

    def forward(self, *inputs: Any) -> Any:
        tensors = [each for each in inputs if isinstance(each, Tensor)]
        shape = tuple((each.shape, each.dtype) if isinstance(each, Tensor) else each for each in inputs)
        if shape not in self._known:
            self._known[shape] = self._capture(inputs)
        kept, replay, outputs = self._known[shape]
        for mine, given in zip(kept, tensors, strict=True):
            mine.copy_(given, non_blocking=True)
        replay()
        return _clone(outputs)

    def _capture(self, inputs: Sequence[Any]) -> tuple[list[Tensor], Callable[[], None], Any]:
        """Return the memory that inputs are put in, what runs, and the memory that it leaves its outputs in."""
        mine = [each.clone() if isinstance(each, Tensor) else each for each in inputs]
        kept = [each for each in mine if isinstance(each, Tensor)]
        if kept[0].device.type != "cuda":
            outputs = self.network(*mine)
            return kept, lambda: _copy(outputs, self.network(*mine)), outputs
        aside = torch.cuda.Stream(kept[0].device)
        aside.wait_stream(torch.cuda.current_stream(kept[0].device))
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                self.network(*mine)
        torch.cuda.current_stream(kept[0].device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = self.network(*mine)
        return kept, graph.replay, outputs


def run_on_streams(estimator: DepthEstimator, prepared: PreparedFrame) -> Job:
    """Run batches on two threads with a stream each: one copies while the other computes."""
    batch = estimator.stack([prepared] * estimator.batch_size)
    device = torch.device(estimator.model.device)
    streams = [torch.cuda.Stream(device) if device.type == "cuda" else None for _ in range(_STREAMS)]
    pool = ThreadPoolExecutor(_STREAMS)

    def infer(number: int) -> None:
        stream = streams[number % _STREAMS]
        with _use(stream):
            for answer in estimator.run(batch, prepared.estimate_fov):
                if isinstance(answer, ModelError):
                    raise answer

    def run(photos: Sequence[Path], output: Path) -> None:
        list(pool.map(infer, range(-(-len(photos) // len(batch)))))

    return run


def decode_on(device: torch.device, photos: Sequence[Path]) -> tuple[Job, float] | None:
    """Return what decodes photos by nvJPEG, and how far from libjpeg its pixels are on average, in levels.

    None where torchvision is not installed or the device has no nvJPEG.
    """
    if device.type != "cuda" or not find_spec("torchvision"):
        return None
    from torchvision.io import ImageReadMode, decode_jpeg

    def read(photo: Path) -> Tensor:
        data = torch.frombuffer(bytearray(photo.read_bytes()), dtype=torch.uint8)
        return decode_jpeg(data, mode=ImageReadMode.RGB, device=device)

    exact = decode(photos[0].read_bytes(), photos[0].name).image.astype(np.int16)
    off = float(np.abs(read(photos[0]).permute(1, 2, 0).cpu().numpy() - exact).mean())

    def run(photos: Sequence[Path], output: Path) -> None:
        for photo in photos:
            read(photo)

    return run, off


def _use(stream: Any) -> AbstractContextManager[Any]:
    return torch.cuda.stream(stream) if stream is not None else nullcontext()


def _clone(outputs: Any) -> Any:
    """Copy what a network gives: a tensor, several, or transformers' dict of them."""
    if isinstance(outputs, Tensor):
        return outputs.clone()
    if isinstance(outputs, dict):
        return type(outputs)(**{name: _clone(each) for name, each in outputs.items()})
    return type(outputs)(_clone(each) for each in outputs) if isinstance(outputs, list | tuple) else outputs


def _copy(targets: Any, sources: Any) -> None:
    if isinstance(targets, Tensor):
        targets.copy_(sources)
    elif isinstance(targets, dict):
        for name, each in targets.items():
            _copy(each, sources[name])
    elif isinstance(targets, list | tuple):
        for target, source in zip(targets, sources, strict=True):
            _copy(target, source)
