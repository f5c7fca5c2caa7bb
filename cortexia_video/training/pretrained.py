"""Start the encoder from a quantised MobileNetV2 classifier in TensorFlow Lite format.

The classifier's batch norm is folded into its convolutions, so the encoder has to be built with `no_norm`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cortexia_video.errors import MissingExtraError, ModelLoadError
from cortexia_video.training.network import Encoder

_CONV_2D, _DEPTHWISE_CONV_2D = 3, 4  # tflite.BuiltinOperator
_DTYPES = {0: np.float32, 2: np.int32, 3: np.uint8, 9: np.int8}  # tflite.TensorType


def load_mobilenet(encoder: Encoder, path: Path) -> None:
    """Copy a MobileNetV2 classifier's convolutions into `encoder`, in order; its last layers are left out.

    Raises MissingExtraError without the package `tflite`, ModelLoadError where the file is no such network.
    """
    found = read_convolutions(path)
    wanted = list(encoder.convolutions())
    if len(found) < len(wanted):
        raise ModelLoadError(f"{path}: {len(found)} convolutions, MobileNetV2 1.0 has at least {len(wanted)}")
    for convolution, (weight, bias) in zip(wanted, found, strict=False):
        if tuple(convolution.weight.shape) != weight.shape or convolution.bias is None:
            raise ModelLoadError(
                f"{path}: a convolution of shape {weight.shape} where MobileNetV2 1.0 has "
                f"{tuple(convolution.weight.shape)}; use tf2_mobilenet_v2_1.0_224_ptq.tflite"
            )
        with torch.no_grad():
            convolution.weight.copy_(torch.from_numpy(weight))
            convolution.bias.copy_(torch.from_numpy(bias))


def read_convolutions(path: Path) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Read float32 weights (outputs, inputs per group, kernel, kernel) and biases (outputs,), in order."""
    try:
        import tflite  # type: ignore[import-untyped,unused-ignore]
    except ImportError as error:
        raise MissingExtraError("reading .tflite needs: pip install 'cortexia-video[train]'") from error
    data = path.read_bytes()
    if data[4:8] != b"TFL3":
        raise ModelLoadError(f"{path} is not a TensorFlow Lite file")
    model = tflite.Model.GetRootAsModel(data, 0)
    graph = model.Subgraphs(0)
    operators = [graph.Operators(index) for index in range(graph.OperatorsLength())]
    codes = [model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode() for operator in operators]
    return [
        _read_convolution(model, operator, code)
        for operator, code in zip(operators, codes, strict=True)
        if code in (_CONV_2D, _DEPTHWISE_CONV_2D)
    ]


def _read_convolution(
    model: Any, operator: Any, code: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Turn TensorFlow's axes, outputs first and depthwise outputs last, into torch's."""
    _, weight_index, bias_index = operator.InputsAsNumpy()[:3]
    weight = _read_tensor(model, int(weight_index))
    axes = (0, 3, 1, 2) if code == _CONV_2D else (3, 0, 1, 2)
    return np.ascontiguousarray(weight.transpose(axes)), _read_tensor(model, int(bias_index))


def _read_tensor(model: Any, index: int) -> NDArray[np.float32]:
    """Read one tensor as real numbers: (stored - zero point) * scale, per tensor or per channel."""
    tensor = model.Subgraphs(0).Tensors(index)
    raw = model.Buffers(tensor.Buffer()).DataAsNumpy().tobytes()
    stored = np.frombuffer(raw, _DTYPES[tensor.Type()]).reshape(tensor.ShapeAsNumpy())
    quantization = tensor.Quantization()
    scale, zero = quantization.ScaleAsNumpy(), quantization.ZeroPointAsNumpy()
    if len(scale) > 1:
        shape = [1] * stored.ndim
        shape[quantization.QuantizedDimension()] = -1
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    real: NDArray[np.float32] = ((stored.astype(np.float64) - zero) * scale).astype(np.float32)
    return real
