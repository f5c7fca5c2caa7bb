"""Graphs run by ONNX Runtime, in the precision that the file has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort
from numpy.typing import NDArray

from cortexia_video.errors import ModelLoadError
from cortexia_video.models.onnx.session import FLOAT32, Port, first_line

_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "mps": "CoreMLExecutionProvider",
}
_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16"}


class OnnxRuntimeSession:
    """A `Session` of ONNX Runtime."""

    def __init__(self, path: Path, device: str, precision: str) -> None:
        self.precision = choose_precision(precision)
        provider, self.device = choose_provider(device)
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the workers need the cores
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

    def run(self, outputs: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the named outputs as new arrays."""
        arrays: list[NDArray[Any]] = self._session.run([*outputs], {**inputs})
        return arrays


def choose_precision(wanted: str) -> str:
    """Refuse all but float32: a file of another type is run in that, whatever is asked for."""
    if wanted not in ("auto", FLOAT32):
        raise ModelLoadError(
            f"ONNX Runtime computes in what the file has, not in {wanted}: leave `precision` out, or use "
            "`backend='openvino'`"
        )
    return FLOAT32


def choose_provider(device: str) -> tuple[Any, str]:
    """Return ONNX Runtime's provider for a device, and the device's name; refuse what does not exist."""
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
