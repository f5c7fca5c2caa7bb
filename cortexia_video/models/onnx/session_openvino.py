"""Graphs run by OpenVINO on the processor, in float32 or the half precision that it has instructions for.

OpenVINO itself would take bfloat16 silently where the processor is fast at it; here the precision is always
set, and said. Its telemetry belongs to its command-line tools, which are not used.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

import openvino
from numpy.typing import NDArray

from cortexia_video.errors import ModelLoadError
from cortexia_video.models.onnx.session import FLOAT32, Port, first_line

_HINTS = {FLOAT32: "f32", "bfloat16": "bf16", "float16": "f16"}
_CAPABILITIES = {FLOAT32: "FP32", "bfloat16": "BF16", "float16": "FP16"}
_DTYPES = {"f32": "float32", "f16": "float16"}
# how many convolutions, from the first on, a file says must not be computed in less
_SENSITIVE = "cortexia.float32_convolutions"
_ISAS_WITHOUT_BFLOAT16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI")


class OpenVinoSession:
    """A `Session` of OpenVINO.

    A free batch size stays free: with fixed ones an image's numbers would depend on them.
    """

    enough_pixels: int | None = 1 << 16  # docs/decisions/video.md
    on_one_thread = None

    def __init__(self, path: Path, device: str, precision: str) -> None:
        core = openvino.Core()
        self.device = "cpu"
        self.precision = choose_precision(precision, device)
        try:
            graph = core.read_model(path)
        except Exception as error:
            raise ModelLoadError(
                f"{path} is not a network that OpenVINO can load: {first_line(error)}"
            ) from error
        about = graph.get_rt_info(["framework"]).value if graph.has_rt_info(["framework"]) else {}
        self.metadata: Mapping[str, str] = {key: str(value) for key, value in about.items()}
        sensitive = self.metadata.get(_SENSITIVE, "0")
        if self.precision != FLOAT32 and sensitive.isdecimal():
            graph = _keep_in_float32(core, graph, int(sensitive))
        self.inputs: Sequence[Port] = [_describe(port) for port in graph.inputs]
        self.outputs: Sequence[Port] = [_describe(port) for port in graph.outputs]
        hints = {"INFERENCE_PRECISION_HINT": _HINTS[self.precision], "PERFORMANCE_HINT": "LATENCY"}
        try:
            self._request = core.compile_model(graph, "CPU", hints).create_infer_request()
        except Exception as error:
            raise ModelLoadError(f"{path} cannot be run by OpenVINO: {first_line(error)}") from error

    def run(self, outputs: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the named outputs as new arrays."""
        self._request.infer(dict(inputs))
        return [self._request.get_tensor(name).data.copy() for name in outputs]


def _keep_in_float32(core: openvino.Core, graph: openvino.Model, count: int) -> openvino.Model:
    """Return a graph whose first convolutions are computed in float32 whatever the hint.

    OpenVINO has a mark for that, which from Python can only be read with a file.
    """
    with TemporaryDirectory() as folder:
        described, weights = Path(folder, "graph.xml"), Path(folder, "graph.bin")
        openvino.serialize(graph, described, weights)
        tree = ElementTree.parse(described).getroot()
        layers = [
            each for each in tree.iterfind("layers/layer") if each.get("type", "").endswith("Convolution")
        ]
        for layer in layers[:count]:
            about = layer.find("rt_info")
            about = ElementTree.SubElement(layer, "rt_info") if about is None else about
            ElementTree.SubElement(about, "attribute", name="precise", version="0")
        return core.read_model(ElementTree.tostring(tree), weights.read_bytes())


def choose_precision(wanted: str, device: str) -> str:
    """Take the precision that is wanted, where the processor has instructions for it; `auto` is bfloat16."""
    if device not in ("auto", "cpu"):
        raise ModelLoadError(
            f"the backend openvino runs on the processor, not on {device!r}: use `device='cpu'`"
        )
    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    there = [precision for precision, name in _CAPABILITIES.items() if name in capabilities]
    if os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in _ISAS_WITHOUT_BFLOAT16 and "bfloat16" in there:
        there.remove("bfloat16")  # the processor has it and may not use it: OpenVINO does not see that
    if wanted == "auto":
        return "bfloat16" if "bfloat16" in there else FLOAT32
    if wanted not in there:
        raise ModelLoadError(
            f"OpenVINO has no precision {wanted!r} on this processor: use one of {', '.join(there)}"
        )
    return wanted


def _describe(port: Any) -> Port:
    shape = tuple(side.get_length() if side.is_static else None for side in port.partial_shape)
    dtype = port.element_type.get_type_name()
    return Port(port.any_name, _DTYPES.get(dtype, dtype), shape)
