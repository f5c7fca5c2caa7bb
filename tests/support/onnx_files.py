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


def write_point_network(
    path: Path, *, f: float, shift: float, shape: Shape | None = None, drop: tuple[str, ...] = ()
) -> Path:
    """Write a network with the ports of MoGe-2's files, whose answer is known.

    Its depth is 1 + the mean of the channels, in units of `num_tokens` / 1800 metres (without that port: 2 m); what
    it gives is moved back by `shift`, as a camera of `f` widths sees it. The mask is false where red is above
    0.9; every surface faces the camera. drop: outputs that it does not have.
    """
    sides = [shape[0], *shape[2:]] if shape else ["B", "H", "W"]
    make = helper.make_node
    numbers: dict[str, tuple[int, list[int], list[float]]] = {
        "one": (TensorProto.FLOAT, [], [1]),
        "half": (TensorProto.FLOAT, [], [0.5]),
        "bright": (TensorProto.FLOAT, [], [0.9]),
        "f": (TensorProto.FLOAT, [], [f]),
        "shift": (TensorProto.FLOAT, [], [shift]),
        "usual": (TensorProto.FLOAT, [], [1800]),
        "two": (TensorProto.FLOAT, [], [2]),
        "facing": (TensorProto.FLOAT, [3], [0, 0, -1]),
        "from": (TensorProto.INT64, [], [0]),
        "by": (TensorProto.INT64, [], [1]),
        "at_1": (TensorProto.INT64, [1], [1]),
        "at_2": (TensorProto.INT64, [], [2]),
        "at_3": (TensorProto.INT64, [], [3]),
        "down": (TensorProto.INT64, [1], [-1]),
    }
    nodes = [
        make("ReduceMean", ["image", "at_1"], ["grey"], keepdims=0),
        make("Add", ["grey", "one"], ["depth"]),
        make("Shape", ["image"], ["shape"]),
    ]
    for side, at in (("width", "at_3"), ("height", "at_2")):
        nodes += [
            make("Gather", ["shape", at], [side], axis=0),
            make("Cast", [side], [f"{side}_f"], to=TensorProto.FLOAT),
            make("Range", ["from", side, "by"], [f"{side}_i"]),
            make("Cast", [f"{side}_i"], [f"{side}_c"], to=TensorProto.FLOAT),
            make("Add", [f"{side}_c", "half"], [f"{side}_m"]),
            make("Mul", [f"{side}_f", "half"], [f"{side}_h"]),
            make("Sub", [f"{side}_m", f"{side}_h"], [f"{side}_p"]),
            make("Div", [f"{side}_p", "width_f"], [f"{side}_w"]),
            make("Div", [f"{side}_w", "f"], [f"{side}_r"]),
        ]
    nodes += [
        make("Unsqueeze", ["height_r", "at_1"], ["column"]),
        make("Mul", ["depth", "width_r"], ["x"]),
        make("Mul", ["depth", "column"], ["y"]),
        make("Sub", ["depth", "shift"], ["z"]),
        *(make("Unsqueeze", [each, "down"], [f"{each}_1"]) for each in "xyz"),
        make("Concat", ["x_1", "y_1", "z_1"], ["points"], axis=-1),
        make("Shape", ["points"], ["points_shape"]),
        make("Expand", ["facing", "points_shape"], ["normal"]),
        make("Gather", ["image", "from"], ["red"], axis=1),
        make("Less", ["red", "bright"], ["dark"]),
        make("Cast", ["dark"], ["mask"], to=TensorProto.FLOAT),
        make("Shape", ["image"], ["count"], start=0, end=1),
    ]
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape or ["B", 3, "H", "W"])]
    scale = "two"
    if shape is None:
        inputs.append(helper.make_tensor_value_info("num_tokens", TensorProto.INT64, []))
        nodes += [
            make("Cast", ["num_tokens"], ["tokens"], to=TensorProto.FLOAT),
            make("Div", ["tokens", "usual"], ["scale"]),
        ]
        scale = "scale"
    nodes.append(make("Expand", [scale, "count"], ["metric_scale"]))
    given = {"points": [*sides, 3], "normal": [*sides, 3], "mask": sides, "metric_scale": sides[:1]}
    graph = helper.make_graph(
        nodes,
        "points",
        inputs,
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in given.items() if k not in drop],
        [helper.make_tensor(name, *each) for name, each in numbers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
