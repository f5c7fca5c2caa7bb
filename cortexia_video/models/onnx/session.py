"""`OpenedFile`: a network's ONNX file, its digest and a `Session`: its graph made ready to run by a backend.

ONNX Runtime is here, as the one that every installation has; OpenVINO has a file of its own.
"""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, get_args

from numpy.typing import NDArray

from cortexia_video.errors import ModelLoadError, explain_import, put_in_words, redact
from cortexia_video.runtime.resources import count_cores
from cortexia_video.storage.paths import open_named

GraphBackend = Literal["onnx", "openvino"]
GRAPH_BACKENDS: tuple[GraphBackend, ...] = get_args(GraphBackend)
FLOAT32 = "float32"
_SMALL = 1 << 26  # bytes of a file
_FOR_DEVELOPERS = re.compile(  # where in their code it was, and headings of what follows
    r"\[ONNXRuntimeError\] : \d+ : \w+ : |Exception from .*|Check '.*' failed.*|FrontEnd API failed.*"
    r"|Model wasn't fully converted\.|Summary:|-- "
)
_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "mps": "CoreMLExecutionProvider",
}
_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16"}


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
    enough_pixels: in one call, from which on more images at once bring no speed, and take memory; None: not known.
    """

    device: str
    precision: str
    enough_pixels: int | None
    metadata: Mapping[str, str]
    inputs: Sequence[Port]
    outputs: Sequence[Port]

    @property
    def on_one_thread(self) -> Session | None:
        """The same graph, for as many callers at once as there are cores; None where that brings nothing."""
        ...

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
        return OnnxRuntimeSession(path, device, precision)
    return _import_openvino().OpenVinoSession(path, device, precision)


def choose_graph(backend: str, device: str, precision: str) -> Graph:
    """Return what `auto` means for a backend, or refuse what does not exist; raises what `open_session` does."""
    if backend == "onnx":
        return Graph(backend, _choose_provider(device)[1], _require_float32(precision))
    return Graph(backend, "cpu", _import_openvino().choose_precision(precision, device))


def _import_openvino() -> Any:
    try:
        from cortexia_video.models.onnx import session_openvino as openvino
    except ImportError as error:
        what = "the backend openvino needs"
        raise explain_import(error, what, "'cortexia-video[openvino]'") from error
    return openvino


class OnnxRuntimeSession:
    """A `Session` of ONNX Runtime, in the precision that the file has. threads: by default one a core."""

    enough_pixels: int | None = None

    def __init__(self, path: Path, device: str, precision: str, *, threads: int | None = None) -> None:
        import onnxruntime as ort

        self.precision = _require_float32(precision)
        provider, self.device = _choose_provider(device)
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the workers need the cores
        if threads:
            options.intra_op_num_threads = threads
        on_cpu = provider[0] == _PROVIDERS["cpu"]
        try:
            self._session = ort.InferenceSession(  # which would try a broken file twice, and print that
                path, options, providers=[provider], enable_fallback=not on_cpu
            )
            self.metadata: Mapping[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
            self.inputs: Sequence[Port] = [_describe(node) for node in self._session.get_inputs()]
            self.outputs: Sequence[Port] = [_describe(node) for node in self._session.get_outputs()]
        except Exception as error:
            reason = first_line(error)
            raise ModelLoadError(f"{path} is not a network that ONNX Runtime can load: {reason}") from error
        self._path = path
        size = sum(each.stat().st_size for each in _list_parts(path))
        self._can_share = on_cpu and not threads and size <= _SMALL

    @cached_property
    def on_one_thread(self) -> Session | None:
        """The same graph on one thread: its weights again, so of small ones alone."""
        if not self._can_share or count_cores() == 1:
            return None
        return OnnxRuntimeSession(self._path, self.device, self.precision, threads=1)

    def run(self, outputs: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the named outputs as new arrays."""
        arrays: list[NDArray[Any]] = self._session.run([*outputs], {**inputs})
        return arrays


def _require_float32(wanted: str) -> str:
    """Refuse all but float32: a file of another type is run in that, whatever is asked for."""
    if wanted not in ("auto", FLOAT32):
        raise ModelLoadError(
            f"ONNX Runtime computes in what the file has, not in {wanted}: leave `precision` out, or use "
            "`backend='openvino'`"
        )
    return FLOAT32


def _choose_provider(device: str) -> tuple[Any, str]:
    """Return ONNX Runtime's provider for a device, and the device's name; refuse what does not exist."""
    import onnxruntime as ort

    available = ort.get_available_providers()
    if device == "auto":
        device = "cuda" if _PROVIDERS["cuda"] in available else "cpu"
    family, _, index = device.partition(":")
    if family not in _PROVIDERS or (index and not index.isdecimal()) or (index and family != "cuda"):
        raise ModelLoadError(f"unknown device {device!r}: use auto, cpu, cuda, cuda:1 or mps")
    if _PROVIDERS[family] not in available:
        raise ModelLoadError(
            f"device {device!r} cannot be used: this ONNX Runtime is built without it "
            f"(pip install onnxruntime-gpu for cuda, or `device='cpu'`)"
        )
    return (_PROVIDERS[family], {"device_id": index} if index else {}), device


def _describe(node: Any) -> Port:
    shape = tuple(side if isinstance(side, int) else None for side in node.shape)
    return Port(node.name, _DTYPES.get(node.type, node.type), shape)


def first_line(error: Exception) -> str:
    """Return the first line of a backend's error that is not for its developers."""
    lines = [_FOR_DEVELOPERS.sub("", line).strip() for line in str(error).splitlines()]
    return next(filter(None, lines), type(error).__name__)[:300]


class OpenedFile(NamedTuple):
    """weights_digest: of the file, and of those beside it that hold its weights. backend: what runs it.

    settings: how it is run, as a model's `settings` say it: what is not usual.
    """

    weights_digest: str
    session: Session
    backend: str
    settings: Mapping[str, object]


def _list_parts(path: Path) -> list[Path]:
    """Return a graph's file, and those beside it that exporters put its weights into."""
    return [path, *sorted(path.parent.glob(f"{glob.escape(path.name)}[._]data*"))]


def open_file(path: Path, backend: str | None, device: str, precision: str | None) -> OpenedFile:
    """Open a file in the backend that is asked for, or else the one it was exported for."""
    session, digest = None, hashlib.sha256()
    try:
        for part in _list_parts(path):
            with open_named(part) as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise put_in_words(error, f"cannot read the model {path}", kind=ModelLoadError) from error
    if backend is None:
        session = open_session(path, "onnx", device, "auto")
        backend = session.metadata.get("cortexia.backend", "onnx")
        precision = precision or session.metadata.get("cortexia.precision")
        if backend != "onnx" or precision not in (None, "auto", session.precision):
            session = None
    session = session or open_session(path, backend, device, precision or "auto")
    usual = {"backend": "onnx", "precision": FLOAT32}
    chosen = {"backend": backend, "precision": session.precision}
    settings = {key: value for key, value in chosen.items() if value != usual[key]}
    return OpenedFile(digest.hexdigest(), session, backend, settings)


def name_file(path: Path) -> str:
    """Return the name of a model that is a file; a download can be called like its URL, with secrets."""
    return redact(f"onnx:{path.name}")
