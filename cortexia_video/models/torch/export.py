"""Networks of torch written as ONNX graphs: for one size of image each, since a vision transformer's graph
with free sides gives wrong numbers without a word."""

from __future__ import annotations

import io
import logging
import tempfile
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import onnxscript  # noqa: F401 - torch exports by it; its absence is to be noticed now
import torch
from torch import Tensor, nn

from cortexia_video.errors import ModelLoadError
from cortexia_video.models.onnx.session import Graph, Ports, Session, open_session

OPSET = 18
_SESSIONS_KEPT = 8  # each holds the network's weights
_LARGEST_WEIGHTS = 1_900_000_000  # bytes in the file itself, which protobuf limits to 2 GiB


class ExportedNetwork(nn.Module):
    """Run a network by another backend: a graph is exported for each shape of input, when that first comes.

    The graphs of the last few shapes are kept.
    """

    def __init__(self, network: nn.Module, ports: Ports, graph: Graph) -> None:
        super().__init__()
        self.network = network
        self._ports = ports
        self._graph = graph
        self._sessions: OrderedDict[tuple[torch.Size, ...], Session] = OrderedDict()

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return what the network gives."""
        shape = tuple(each.shape[1:] for each in inputs)
        if shape not in self._sessions:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                path = Path(folder) / "graph.onnx"
                write_graph(self.network, inputs, self._ports, path, {})
                self._sessions[shape] = open_session(path, *self._graph)
            if len(self._sessions) > _SESSIONS_KEPT:
                self._sessions.popitem(last=False)
        self._sessions.move_to_end(shape)
        session = self._sessions[shape]
        if self._ports.one_by_one:
            alone = [
                self._run(session, one)
                for one in zip(*(torch.split(each, 1) for each in inputs), strict=True)
            ]
            outputs = tuple(torch.cat(each) for each in zip(*alone, strict=True))
        else:
            outputs = self._run(session, inputs)
        return outputs if len(outputs) > 1 else outputs[0]

    def _run(self, session: Session, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        arrays = dict(zip(self._ports.inputs, (each.numpy() for each in inputs), strict=True))
        return tuple(map(torch.from_numpy, session.run(self._ports.outputs, arrays)))


def write_graph(
    network: nn.Module, inputs: Sequence[Tensor], ports: Ports, path: Path, metadata: Mapping[str, str]
) -> None:
    """Write a network as a graph for inputs of these shapes, with any number of them where that can be.

    Large weights go into a file beside it. Raises `ModelLoadError` for a network that torch cannot export.
    """
    count = 1 if ports.one_by_one else 2
    examples = tuple(each[:1].expand(count, *each.shape[1:]) for each in inputs)
    free = None if ports.one_by_one else ({0: torch.export.Dim("batch", min=1, max=1024)},) * len(examples)
    program = export_graph(network, examples, ports, free)
    program.model.metadata_props.update(metadata)
    weights = sum(each.numel() * each.element_size() for each in network.parameters())
    program.save(path, external_data=weights > _LARGEST_WEIGHTS)


def export_graph(network: nn.Module, examples: tuple[Tensor, ...], ports: Ports, free: Any) -> Any:
    """Return torch's `ONNXProgram` of a network. free: the sizes that may differ, as its `dynamic_shapes`.

    Raises `ModelLoadError` for a network that torch cannot export.
    """
    try:
        with _quietly(), torch.no_grad():
            return torch.onnx.export(
                network,
                examples,
                input_names=[*ports.inputs],
                output_names=[*ports.outputs],
                dynamic_shapes=free,
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except ImportError:
        raise
    except Exception as error:
        cause = error.__cause__ or error
        raise ModelLoadError(
            f"torch cannot export this network as a graph ({type(cause).__name__}): `backend='torch'` runs it"
        ) from error


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep torch from reporting that torchvision is missing, its deprecations, and the graph that failed."""
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
