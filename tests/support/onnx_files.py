"""Small ONNX networks for tests: nearness is the mean of the channels, so the right answer is known."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

Shape = list[int | str]


def write_mean_network(
    path: Path,
    *,
    shape: Shape | None = None,
    keep_channel: bool = False,
    metadata: dict[str, str] | None = None,
    nodes: list[onnx.NodeProto] | None = None,
    sky: bool = False,
) -> Path:
    """Write a network image (B, 3, H, W) -> depth (B, H, W), or (B, 1, H, W) where `keep_channel`.

    sky: with an output of that name, which is the same.
    """
    shape = shape or ["B", 3, "H", "W"]
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    node = helper.make_node("ReduceMean", ["image", "axes"], ["depth"], keepdims=int(keep_channel))
    rank = None if nodes else [shape[0], 1, *shape[2:]] if keep_channel else [shape[0], *shape[2:]]
    outputs = ["depth", "sky"] if sky else ["depth"]
    graph = helper.make_graph(
        [*(nodes or [node]), *([helper.make_node("Identity", ["depth"], ["sky"])] if sky else [])],
        "mean",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, rank) for name in outputs],
        [axes],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    for key, value in (metadata or {}).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = f"cortexia.{key}", value
    onnx.save(model, path)
    return path
