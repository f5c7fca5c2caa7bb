"""`Placement`: what runs a network of torch's, where and in what precision; arrays there and back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cortexia_video.errors import ModelLoadError, explain_import, not_known
from cortexia_video.models.onnx.session import GRAPH_BACKENDS, Graph, Ports, choose_graph
from cortexia_video.runtime.bounded_map import map_bounded

_Values = NDArray[np.float32]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
_counting = threading.Lock()  # torch's number of threads is the process's: who changes it is alone


class _Tf32:
    """Whether convolutions on CUDA may use TF32, which is the process's: threads that want the same are in together."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside, self._waiting, self._allowed, self._flags = 0, 0, False, ExitStack()

    @contextmanager
    def set_to(self, allowed: bool) -> Iterator[None]:
        """Have it so inside, once nobody is in who has it otherwise; as it was when all have left.

        Who comes while somebody waits, waits, too: those who are alike would else keep the others out for ever.
        """
        with self._changed:
            self._waiting += 1
            self._changed.wait_for(
                lambda: not self._inside or (self._allowed == allowed and self._waiting == 1)
            )
            self._waiting -= 1
            self._changed.notify_all()
            if not self._inside:
                cudnn = torch.backends.cudnn
                as_it_is = {name: getattr(cudnn, name) for name in ("enabled", "benchmark", "deterministic")}
                self._flags.enter_context(cudnn.flags(**as_it_is, allow_tf32=allowed))
            self._inside, self._allowed = self._inside + 1, allowed
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                if not self._inside:
                    self._flags.close()
                    self._changed.notify_all()


_TF32 = _Tf32()


@dataclass(frozen=True, slots=True)
class Placement:
    """A device and the type that the network computes in; compiled or not, or by what other backend's graphs.

    With `graph` tensors are float32 in the processor's memory, whatever the graph's device and precision.
    Half precision is everywhere but in the last layer, which a network keeps in float32 so that depth has no
    steps. Float32 means float32: on CUDA, TF32 is off.
    """

    device: torch.device
    dtype: torch.dtype
    compiled: bool = False
    graph: Graph | None = None

    @property
    def is_half(self) -> bool:
        return self.dtype.itemsize < torch.float32.itemsize

    @property
    def name(self) -> str:
        """The device, for people."""
        return self.graph.device if self.graph else str(self.device)

    def describe(self) -> dict[str, object]:
        """Return what depth depends on, as a model's `settings`."""
        if self.graph:
            return {"precision": self.graph.precision, "backend": self.graph.backend}
        return {"precision": str(self.dtype).removeprefix("torch.")}

    def make_ready(self, network: nn.Module, ports: Ports) -> nn.Module:
        """Return a loaded network as it is to be run."""
        if self.graph:
            return import_export().ExportedNetwork(network, ports, self.graph)
        if self.compiled:
            network.compile()
        return network

    def in_float32(self) -> Placement:
        """Return the same device with float32."""
        return replace(self, dtype=torch.float32)

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return memory for a batch; page-locked for CUDA, so that the device fetches it by itself."""
        if self.device.type != "cuda":
            return np.empty(shape, dtype)
        count = int(np.prod(shape)) * dtype.itemsize
        memory: NDArray[Any] = torch.empty(count, dtype=torch.uint8, pin_memory=True).numpy()
        return memory.view(dtype).reshape(shape)

    def to_device(self, batch: NDArray[Any]) -> Tensor:
        """Copy an array to the device; from memory of `allocate` without waiting for it."""
        return torch.from_numpy(np.require(batch, requirements=("C", "W"))).to(self.device, non_blocking=True)

    def to_host(self, values: Tensor) -> NDArray[np.float32]:
        """Copy what the network gave back, as float32; waits until it has arrived."""
        values = values.float()
        if self.device.type != "cuda":
            return values.cpu().numpy()
        host = torch.empty(values.shape, dtype=torch.float32, pin_memory=True)
        host.copy_(values, non_blocking=True)
        torch.cuda.current_stream(self.device).synchronize()
        return host.numpy()

    def run_in_parts(self, run: Callable[[NDArray[Any]], _Values], batch: NDArray[Any]) -> _Values:
        """Run parts of a batch side by side on the processor's cores; where that cannot be, all of it at once.

        Threads of one network wait for each other at every layer, and for whoever else needs their core.
        """
        if self.device.type != "cpu" or self.graph or self.compiled:
            return run(batch)
        with _counting:  # a thread that is new to torch takes the number that stands now, for good
            cores = torch.get_num_threads()
            parts = min(cores, len(batch))
            if parts > 1:

                def run_part(part: NDArray[Any]) -> _Values:
                    torch.set_num_threads(cores // parts)
                    return run(part)

                try:
                    return np.concatenate(
                        [*map_bounded(np.array_split(batch, parts), run_part, workers=parts)]
                    )
                finally:
                    torch.set_num_threads(cores)  # it is half the thread's and half the process's
        return run(batch)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run a network inside: nothing is kept for gradients.

        Not in inference mode: transformers keeps tensors made there (BEiT's positions) for other networks,
        which then cannot be trained in this process.
        """
        if self.device.type != "cuda":  # the flags are the process's, and parts of a batch would mix them up
            with torch.no_grad():
                yield
            return
        with torch.no_grad(), _TF32.set_to(self.is_half):
            yield


def choose_placement(
    device: str = "auto", precision: str = "auto", backend: str = "torch", compile: bool = False
) -> Placement:
    """Turn `auto`, `cpu`, `cuda`, `cuda:1` or `mps`, a precision and a backend into a placement.

    `auto` precision is bfloat16 on CUDA, where the device has it, and float32 elsewhere; other backends have
    their own. Raises `ModelLoadError` for what is unknown or not found, and `MissingExtraError` for a backend
    that is not installed.
    """
    if backend not in ("torch", *GRAPH_BACKENDS):
        raise ModelLoadError(f"unknown backend {backend!r}: use torch, {', '.join(GRAPH_BACKENDS)} or auto")
    if precision not in get_args(Precision):
        raise ModelLoadError(not_known("precision", precision, get_args(Precision)))
    if backend != "torch":
        if compile:
            raise ModelLoadError(f"`compile` is torch's, not the backend {backend}'s: leave one of them out")
        return Placement(torch.device("cpu"), torch.float32, graph=choose_graph(backend, device, precision))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    family, _, index = device.partition(":")
    known = family in ("cpu", "cuda", "mps")
    if not known or (":" in device and not index.isdecimal()) or (index and family != "cuda"):
        raise ModelLoadError(f"unknown device {device!r}: use auto, cpu, cuda, cuda:1 or mps")
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if int(index or 0) >= count[family]:
        raise ModelLoadError(
            f"device {device!r} cannot be used: torch {torch.__version__} finds {count[family]} of its kind "
            "(`device='cpu'` always works)"
        )
    chosen = torch.device(device)
    if precision == "auto":
        fast = chosen.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bfloat16" if fast else "float32"
    return Placement(chosen, getattr(torch, precision), compiled=compile)


def import_export() -> Any:
    """Return the module `export`, which needs packages of an extra; raises `MissingExtraError`."""
    try:
        from cortexia_video.models.torch import export
    except ImportError as error:
        what = "exporting networks of torch needs"
        raise explain_import(error, what, "'cortexia-video[export]'") from error
    return export
