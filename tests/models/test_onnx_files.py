"""Networks that other people made: which output is depth, which sizes they take, in which range."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from cortexia_video import DepthMap, Frame, estimate, load_estimator, read_ledger
from cortexia_video.errors import ModelLoadError, ModelOutputError
from cortexia_video.models.onnx.model import choose_output, covers
from cortexia_video.models.onnx.session import Port
from cortexia_video.models.registry import load_model

MAP: list[int | str] = ["b", 1, "h", "w"]
RAMP = np.tile((np.arange(640) * 255 // 639).astype(np.uint8)[None, :, None], (480, 1, 3))
METRIC = {"kind": "metric", "normalize": "unit"}


def constant(name: str, values: object) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, np.float32), name)


def write(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    outputs: Sequence[str],
    *,
    shape: Sequence[int | str] = ("b", 3, "h", "w"),
    constants: Sequence[onnx.TensorProto] = (),
) -> Path:
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, MAP) for name in outputs]
    taken = helper.make_tensor_value_info("image", TensorProto.FLOAT, [*shape])
    graph = helper.make_graph([*nodes], "network", [taken], given, [*constants])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def write_several(path: Path, outputs: Sequence[str], depth: str) -> Path:
    """Write a network of several outputs: depth = 2 + mean, all others 0.25 x mean."""
    nodes = [helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1], keepdims=1)]
    for name in outputs:
        how = ("Add", "two") if name == depth else ("Mul", "quarter")
        nodes.append(helper.make_node(how[0], ["mean", how[1]], [name]))
    return write(path, nodes, outputs, constants=[constant("two", [2]), constant("quarter", [0.25])])


def write_patches(path: Path, patch: int, *, drops: bool, cells: bool = False) -> Path:
    """Write a network of patches: depth = 2 + the mean of each, at full size or a number for each (`cells`).

    drops: what is beyond a multiple of the patch is left out, silently; else such a size fails.
    """
    weights = constant("weights", np.full((1, 3, patch, patch), 1 / (3 * patch * patch)))
    nodes = [
        helper.make_node("Conv", ["image", "weights"], ["c"], strides=[patch] * 2, kernel_shape=[patch] * 2),
        helper.make_node("Add", ["c", "two"], ["d"]),
    ]
    constants = [weights, constant("two", [2]), constant("scale", [1, 1, patch, patch]), constant("none", 0)]
    nodes.append(helper.make_node("Identity", ["d"], ["depth"])) if cells else None
    last = "depth" if drops else "large"
    if not cells:
        nodes.append(helper.make_node("Resize", ["d", "", "scale"], [last], mode="nearest"))
        if not drops:  # added to what has the size of the image
            nodes += [
                helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1], keepdims=1),
                helper.make_node("Mul", ["mean", "none"], ["nothing"]),
                helper.make_node("Add", ["large", "nothing"], ["depth"]),
            ]
    return write(path, nodes, ["depth"], constants=constants)


# ---- outputs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outputs", "depth"),
    [
        (["depth_conf", "depth"], "depth"),
        (["depth", "depth_conf"], "depth"),
        (["confidence", "predicted_depth", "normals"], "predicted_depth"),
        (["out_conf", "out_depth", "out_mask"], "out_depth"),
        (["normal", "uncertainty", "output"], "output"),
        (["DepthConfidence", "DepthMap"], "DepthMap"),
        (["disparity", "depth"], "depth"),
        (["log_depth", "depth_std", "metric_depth"], "metric_depth"),
        (["normalized_depth", "depth_valid"], "normalized_depth"),
    ],
)
def test_depth_is_the_output_that_is_called_so(tmp_path: Path, outputs: list[str], depth: str) -> None:
    path = write_several(tmp_path / "net.onnx", outputs, depth)
    model = load_model(f"onnx:{path}", input_size=64, **METRIC)
    assert model.settings["output_name"] == depth
    values = model.infer(model.preprocess(RAMP, model.processed_size(480, 640))[None])
    np.testing.assert_allclose(values[0, 30, [0, -1]], [2, 3], atol=0.01)


@pytest.mark.parametrize(
    "outputs",
    [
        ["out_0", "out_1"],
        ["confidence", "mask"],
        ["near_depth", "far_depth"],
        ["conf"],
        ["depth", "pred_depth"],
    ],
)
def test_outputs_that_leave_it_open_are_listed(tmp_path: Path, outputs: list[str]) -> None:
    path = write_several(tmp_path / "net.onnx", outputs, outputs[-1])
    with pytest.raises(ModelLoadError, match=r"which of its outputs is depth.*\(`output_name`\)") as caught:
        load_model(f"onnx:{path}", input_size=64, **METRIC)
    assert all(f"{name} (?, 1, ?, ?)" in str(caught.value) for name in outputs)
    model = load_model(f"onnx:{path}", input_size=64, output_name=outputs[-1], **METRIC)
    assert model.infer(np.ones((1, 3, 64, 64), np.float32)).min() == 3
    with pytest.raises(ModelLoadError, match=r"has no output 'no': it gives"):
        load_model(f"onnx:{path}", input_size=64, output_name="no", **METRIC)


def test_of_depth_and_disparity_the_kind_decides() -> None:
    outputs = [Port("disparity", "float32", (1, 32, 32)), Port("depth", "float32", (1, 32, 32))]
    assert choose_output(outputs, "metric", None, "") == "depth"
    assert choose_output(outputs, "disparity", None, "") == "disparity"


def test_arrays_of_other_shapes_are_no_depth() -> None:
    others = [Port("fov", "float32", (1,)), Port("points", "float32", (1, 3, None, None))]
    others += [Port("out", "float32", (None, None, None, 3)), Port("metric_scale", "float32", (None,))]
    others += [Port("index", "int64", (1, 32, 32)), Port("pose", "float32", (1, 4, 4))]
    assert choose_output([*others, Port("y", "float32", (1, 1, None, None))], "metric", None, "") == "y"


def test_a_file_with_one_output_may_call_it_anything(tmp_path: Path) -> None:
    path = write_several(tmp_path / "net.onnx", ["y"], "y")
    assert "output_name" not in load_model(f"onnx:{path}", input_size=64, **METRIC).settings


# ---- sizes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
@pytest.mark.parametrize(
    ("patch", "drops", "cells"), [(14, True, False), (14, False, False), (32, True, True)]
)
def test_what_sides_must_be_multiples_of_is_found_by_trying(
    tmp_path: Path, patch: int, drops: bool, cells: bool, backend: str
) -> None:
    pytest.importorskip(backend.replace("onnx", "onnxruntime"))
    path = write_patches(tmp_path / "net.onnx", patch, drops=drops, cells=cells)
    estimator = load_estimator(f"onnx:{path}", input_size=518, backend=backend, precision="float32", **METRIC)
    assert estimator.model.settings["multiple_of"] == patch
    height, width = estimator.model.processed_size(768, 1024)
    assert height % patch == width % patch == 0
    wide = np.tile((np.arange(1024) * 255 // 1023).astype(np.uint8)[None, :, None], (768, 1, 3))
    (depth,) = estimator.estimate([Frame("a", wide)])
    assert isinstance(depth, DepthMap)
    expected = 2 + np.arange(1024) / 1023  # of a patch's middle: 0.5 patch off at most, nothing is stretched
    assert np.abs(depth.values[384] - expected).max() < 0.75 * patch / width + 0.01


def test_in_half_precision_compact_gives_nearly_the_same() -> None:
    """Its first convolutions, where rounding costs most, stay in float32: 1 % of the spread was lost, now 0.3 %."""
    openvino = pytest.importorskip("openvino")
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor has no bfloat16")
    images = sorted((Path(__file__).parents[2] / "examples").glob("*.jpg"))[:6]
    exact, half = (
        [*load_estimator("compact", backend="openvino", precision=each, size="native").estimate(images)]
        for each in ("float32", "bfloat16")
    )
    for one, other in zip(exact, half, strict=True):
        assert isinstance(one, DepthMap) and isinstance(other, DepthMap)
        assert 0 < np.abs(one.values - other.values).mean() < 0.01 * np.ptp(one.values)


@pytest.mark.parametrize("drops", [True, False])
def test_a_network_of_any_size_takes_any_size(tmp_path: Path, drops: bool) -> None:
    path = write_several(tmp_path / "net.onnx", ["depth"], "depth")
    model = load_model(f"onnx:{path}", input_size=65, **METRIC)
    assert "multiple_of" not in model.settings
    assert model.processed_size(650, 1010) == (65, 101)


def test_a_multiple_can_be_given_and_is_then_not_tried(tmp_path: Path) -> None:
    path = write_patches(tmp_path / "net.onnx", 24, drops=True)
    with pytest.raises(ModelLoadError, match="does not run at 448x448|leaves a part out|give `multiple_of`"):
        load_model(f"onnx:{path}", input_size=518, **METRIC)
    model = load_model(f"onnx:{path}", input_size=518, multiple_of=24, **METRIC)
    assert model.processed_size(768, 1024) == (528, 696)
    assert model.settings["multiple_of"] == 24
    with pytest.raises(ModelLoadError, match="`multiple_of` must be at least 1, got 0"):
        load_model(f"onnx:{path}", input_size=518, multiple_of=0, **METRIC)
    with pytest.raises(ModelLoadError, match=r"takes multiples of 24 .* not 240x250"):
        load_model(f"onnx:{path}", input_size=(240, 250), multiple_of=24, **METRIC)


def test_depth_of_a_part_of_the_image_is_an_error(tmp_path: Path) -> None:
    """A size that the network drops a part of: 691 columns of which it sees 686."""
    path = write_patches(tmp_path / "net.onnx", 14, drops=True)
    with pytest.raises(ModelLoadError, match="gives depth of 518x686 for an input of 518x691"):
        load_model(f"onnx:{path}", input_size=(518, 691), **METRIC)
    model = load_model(f"onnx:{path}", input_size=518, multiple_of=1, **METRIC)  # 518x518, when it is loaded
    with pytest.raises(ModelOutputError, match="gives depth of 518x686 for an input of 518x691: it leaves"):
        model.infer(model.preprocess(RAMP, (518, 691))[None])


@pytest.mark.parametrize(
    ("seen", "given", "whole"),
    [
        ((518, 686), (518, 686), True),
        ((518, 691), (518, 686), False),
        ((518, 691), (37, 49), False),  # a number for each patch
        ((520, 691), (512, 672), False),
        ((56, 70), (32, 48), True),  # TIPSv2 of 4 x 5 patches
        ((384, 672), (192, 336), True),
        ((383, 671), (192, 336), True),
        ((384, 672), (256, 256), True),  # resized to a fixed size
    ],
)
def test_whole_patches_alone_are_a_part(seen: tuple[int, int], given: tuple[int, int], whole: bool) -> None:
    assert covers(seen, given, None) == whole


@pytest.mark.parametrize("side", [97, 98, 99])
def test_rounding_of_a_smaller_output_is_no_part_left_out(tmp_path: Path, side: int) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1], keepdims=1),
        helper.make_node(
            "AveragePool", ["mean"], ["depth"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1
        ),
    ]
    path = write(tmp_path / "net.onnx", nodes, ["depth"])
    model = load_model(f"onnx:{path}", input_size=side, **METRIC)
    assert "multiple_of" not in model.settings
    assert model.infer(np.ones((1, 3, side, 131), np.float32)).shape == (1, (side + 1) // 2, 66)


# ---- range -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("normalize", "expected"),
    [
        ("bytes", 153),
        ("unit", 0.6),
        ("mean 0.5 0.5 0.5 std 0.25 0.25 0.25", 0.4),
        ("mean 0 0 0 std 0.00392156862745098 0.00392156862745098 0.00392156862745098", 153),
    ],
)
def test_the_range_of_the_input_can_be_given(tmp_path: Path, normalize: str, expected: float) -> None:
    path = write_several(tmp_path / "net.onnx", ["depth"], "depth")
    model = load_model(f"onnx:{path}", kind="metric", input_size=32, normalize=normalize)
    grey = model.preprocess(np.full((32, 32, 3), 153, np.uint8), (32, 32))[None]
    np.testing.assert_allclose(model.infer(grey), 2 + expected, rtol=1e-6)


# ---- a run -------------------------------------------------------------------------------------------------


def test_a_run_records_what_was_chosen(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(RAMP).save(tmp_path / "photos/a.png")
    path = write_several(tmp_path / "net.onnx", ["depth_conf", "depth"], "depth")
    report = estimate(tmp_path / "photos", tmp_path / "out", model=f"onnx:{path}", input_size=64, **METRIC)
    assert report.done == 1
    settings = next(line["settings"] for line in read_ledger(tmp_path / "out") if "settings" in line)
    assert settings["output_name"] == "depth"
    values = np.load(tmp_path / "out/a.png.npy")
    assert values[240, 0] == pytest.approx(2, abs=0.01) and values[240, -1] == pytest.approx(3, abs=0.01)
