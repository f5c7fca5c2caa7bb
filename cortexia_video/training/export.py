"""A trained network as an ONNX file that says what its numbers mean: written, and read to be trained on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cortexia_video.errors import ModelLoadError
from cortexia_video.models.onnx.session import Ports, first_line
from cortexia_video.models.registry import describe_model
from cortexia_video.models.torch.export import export_graph
from cortexia_video.storage.atomic_file import write_atomic
from cortexia_video.training.backbone import LITE0
from cortexia_video.training.data import SCENES
from cortexia_video.training.network import COMPACT, STRIDE, DepthNetwork, EncoderConv, hold_compact
from cortexia_video.training.recipe import Recipe

_FLOAT16 = "_float16"  # ends the name of a tensor that is stored so
_OUR_STARTS = (None, COMPACT, LITE0)  # what our own weights started from
_SMALLEST_FP16_TENSOR = 256  # smaller ones stay float32: they cost nothing


def compact_metadata(short_side: int, source: str) -> dict[str, str]:
    """Return what a `compact` network's numbers mean, its size, its source, and the terms of weights of ours."""
    return {
        "cortexia.kind": "disparity",
        "cortexia.short_side": str(short_side),
        "cortexia.multiple_of": str(STRIDE),
        "cortexia.normalize": "unit",
        "cortexia.resampling": "reduced",
        "cortexia.float32_convolutions": "6",
        "cortexia.licence_code": "Apache-2.0",
        "cortexia.licence_weights": "Apache-2.0",
        "cortexia.commercial": "yes",
        "cortexia.source": source,
    }


def save_compact(state: Mapping[str, Tensor], path: Path, recipe: Recipe) -> str:
    """Write trained weights as the ONNX file that runs; return the model's name."""
    network = hold_compact(state, "the training")
    short_side = recipe.network.short_side or min(recipe.short_sides)
    export_onnx(network, path, compact_metadata(short_side, describe_source(recipe)) | describe_terms(recipe))
    return f"onnx:{path}"


def read_compact(path: Path) -> DepthNetwork:
    """Return the network in an ONNX file that `save_compact` wrote, as it runs: its norms are in its weights.

    Raises `ModelLoadError` for any other file.
    """
    try:
        model = onnx.load(path)
    except Exception as error:
        raise ModelLoadError(f"{path} is no ONNX file that can be read: {first_line(error)}") from error
    state = {
        each.name.removesuffix(_FLOAT16): torch.from_numpy(numpy_helper.to_array(each).astype(np.float32))
        for each in model.graph.initializer
        if each.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16)
    }
    # torch names all parameters in a graph but those of a group norm, which it writes as a Mul and an Add
    for node in model.graph.node:
        name = {"Mul": "weight", "Add": "bias"}.get(node.op_type)
        values = [state.pop(each) for each in node.input if each.startswith("val_") and each in state]
        if name and values and values[0].ndim == 3:
            state[f"head.attention.norm.{name}"] = values[0].flatten()
    return hold_compact({name: value for name, value in state.items() if "." in name}, str(path))


def describe_source(recipe: Recipe) -> str:
    """Return in one line what the weights come from."""
    start = recipe.network.weights or recipe.network.encoder
    began = f"started from {Path(start).name}" if start else "started from noise"
    data = ", ".join(f"{plan.dataset} {Path(plan.root).name}" for plan in recipe.data)
    images = recipe.steps * recipe.batch_size
    return f"trained by cortexia train on {images} windows of {data}; {began}"


def describe_terms(recipe: Recipe) -> dict[str, str]:
    """Return what a file says of all that its weights were made with.

    The licence of our own weights is theirs only where that is ours: rendered scenes, and what `compact` started
    from. Elsewhere none is stated: data, a teacher, or the weights before may bind them.
    """
    start = recipe.network.weights or recipe.network.encoder
    made = [f"{plan.dataset} {Path(plan.root).name}" for plan in recipe.data]
    if recipe.teacher:
        made.append(f"depth by {recipe.teacher} ({describe_model(recipe.teacher).trained_from})")
    if start == COMPACT or (start or "").endswith(".onnx"):
        before = describe_model(start if start == COMPACT else f"onnx:{start}").trained_from
        made.append(f"on from {Path(start or '').name} ({before})")
    elif start:
        made.append(f"on from {Path(start).name}")
    ours = {plan.dataset for plan in recipe.data} <= {SCENES} and not recipe.teacher
    said = {"cortexia.trained_from": "; ".join(made)}
    if not (ours and start in _OUR_STARTS):
        said |= {"cortexia.licence_weights": "not stated", "cortexia.commercial": "unknown"}
    return said


def export_onnx(network: DepthNetwork, path: Path, metadata: Mapping[str, str]) -> None:
    """Write `network`, which is changed, as one ONNX file that appears at `path` atomically.

    Input `image` float32 (B, 3, H, W) in [0, 1], output `disparity` float32 (B, H, W); B, H, W free, H and W
    multiples of 32. Weights are stored as float16 and cast to float32 when the file is loaded.
    metadata: what goes into `metadata_props`.
    """
    fold_batch_norm(network.eval())
    example = torch.zeros(2, 3, 3 * STRIDE, 4 * STRIDE)
    batch = torch.export.Dim("batch", min=1, max=256)
    height = STRIDE * torch.export.Dim("height_blocks", min=1, max=256)
    width = STRIDE * torch.export.Dim("width_blocks", min=1, max=256)
    ports = Ports(("image",), ("disparity",))
    exported = export_graph(network, (example,), ports, ({0: batch, 2: height, 3: width},))
    model: onnx.ModelProto = exported.model_proto
    _store_weights_as_float16(model)
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    with write_atomic(path) as partial:
        partial.write_bytes(model.SerializeToString())


def fold_batch_norm(module: nn.Module) -> None:
    """Multiply every batch norm that follows a convolution into it."""
    for child in module.children():
        fold_batch_norm(child)
    if isinstance(module, EncoderConv) and isinstance(module.norm, nn.BatchNorm2d):
        module.convolution, module.norm = fuse_conv_bn_eval(module.convolution, module.norm), nn.Identity()
    if isinstance(module, nn.Sequential) and len(module) > 1 and isinstance(module[1], nn.BatchNorm2d):
        convolution, norm = module[0], module[1]
        assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        module[0], module[1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()


def _store_weights_as_float16(model: onnx.ModelProto) -> None:
    """Turn each large float32 initializer into a float16 one and a Cast that gives it back under its name."""
    casts = []
    for initializer in model.graph.initializer:
        if initializer.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(initializer)
        if values.size < _SMALLEST_FP16_TENSOR:
            continue
        name, stored = initializer.name, f"{initializer.name}{_FLOAT16}"
        initializer.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
