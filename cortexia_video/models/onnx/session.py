"""`Session`: an ONNX graph made ready to run by a backend, ONNX Runtime or OpenVINO; a file for each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, get_args

from numpy.typing import NDArray

from cortexia_video.errors import ModelLoadError, explain_import

GraphBackend = Literal["onnx", "openvino"]
GRAPH_BACKENDS: tuple[GraphBackend, ...] = get_args(GraphBackend)
FLOAT32 = "float32"
_FOR_DEVELOPERS = re.compile(  # where in their code it was, and headings of what follows
    r"\[ONNXRuntimeError\] : \d+ : \w+ : |Exception from .*|Check '.*' failed.*|FrontEnd API failed.*"
    r"|Model wasn't fully converted\.|Summary:|-- "
)


class Port(NamedTuple):
    """An input or output of a graph. dtype: as NumPy names it. shape: None where a side is free."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


class Ports(NamedTuple):
    """What goes into a network and what comes out, by name and in order.

    one_by_one: its graph holds for the number of images that it was exported with, so it takes one.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    one_by_one: bool = False


class Session(Protocol):
    """A graph on a device.

    device: where it runs, for people. precision: what it computes in. metadata: what the file says of itself.
    """

    device: str
    precision: str
    metadata: Mapping[str, str]
    inputs: Sequence[Port]
    outputs: Sequence[Port]

    def run(self, outputs: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the named outputs as new arrays. Runs on one thread."""
        ...


class Graph(NamedTuple):
    """By what backend a graph is run, on what device, in what precision; `auto` is the backend's fastest."""

    backend: str
    device: str
    precision: str


def open_session(path: Path, backend: str, device: str, precision: str) -> Session:
    """Open a graph of a plain file, since a backend would wait for the writer of a pipe.

    backend, device, precision: as in `Graph`.

    Raises `ModelLoadError` for a broken file, and for a backend, device or precision that does not exist, and
    `MissingExtraError` for a backend that is not installed.
    """
    if backend not in GRAPH_BACKENDS:
        raise ModelLoadError(
            f"unknown backend {backend!r} for {path.name}: use {' or '.join(GRAPH_BACKENDS)}"
        )
    if backend == "onnx":
        from cortexia_video.models.onnx.session_onnxruntime import OnnxRuntimeSession

        return OnnxRuntimeSession(path, device, precision)
    return _import_openvino().OpenVinoSession(path, device, precision)


def choose_graph(backend: str, device: str, precision: str) -> Graph:
    """Return what `auto` means for a backend, or refuse what does not exist; raises what `open_session` does."""
    if backend == "onnx":
        from cortexia_video.models.onnx import session_onnxruntime as onnx_runtime

        return Graph(
            backend, onnx_runtime.choose_provider(device)[1], onnx_runtime.choose_precision(precision)
        )
    return Graph(backend, "cpu", _import_openvino().choose_precision(precision, device))


def _import_openvino() -> Any:
    try:
        from cortexia_video.models.onnx import session_openvino as openvino
    except ImportError as error:
        what = "the backend openvino needs"
        raise explain_import(error, what, "'cortexia-video[openvino]'") from error
    return openvino


def first_line(error: Exception) -> str:
    """Return the first line of a backend's error that is not for its developers."""
    lines = [_FOR_DEVELOPERS.sub("", line).strip() for line in str(error).splitlines()]
    return next(filter(None, lines), type(error).__name__)[:300]
