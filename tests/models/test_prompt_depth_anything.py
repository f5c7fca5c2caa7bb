"""Prompt Depth Anything: transformers' numbers, sensors' maps with and without holes, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
from models.test_torch_models import in_float64 as in_float64
from models.test_torch_models import load_reference, make_pixels, roundings
from transformers.models.prompt_depth_anything.image_processing_pil_prompt_depth_anything import (
    PromptDepthAnythingImageProcessorPil,
)

from cortexia_video import DepthEstimator, DepthMap, Frame, load_estimator
from cortexia_video.errors import InputError, ModelError, ModelLoadError
from cortexia_video.geometry.sparse_map import fill_holes
from cortexia_video.models.registry import load_model
from cortexia_video.models.torch.device import Placement
from cortexia_video.models.torch.huggingface import open_network

Checkpoints = Callable[[str], Path]


@pytest.fixture
def folder(checkpoints: Checkpoints) -> Path:
    return checkpoints("prompt-depth-anything")


def make_millimetres(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(900, 6000, size).astype(np.uint16)


def make_frame(seed: int = 0, size: tuple[int, int] = (90, 120), **given: Any) -> Frame:
    sparse = given.pop("sparse", make_millimetres((18, 24), seed) / np.float32(1000))
    return Frame(f"{seed}", make_pixels(size, seed), sparse=sparse, **given)


@pytest.mark.parametrize(
    ("size", "of_sensor"), [((150, 200), (48, 64)), ((200, 150), (64, 48)), ((64, 80), (64, 80))]
)
def test_the_numbers_are_those_of_transformers(
    size: tuple[int, int], of_sensor: tuple[int, int], folder: Path, in_float64: Placement
) -> None:
    """What the network sees of an image is tested with the others; here it is theirs that goes into ours."""
    model, frame = load_model(f"hf:{folder}"), Frame("a", make_pixels(size))
    measured = make_millimetres(of_sensor)
    seen = model.processed_size(*size)
    image = model.preprocess_frame(make_frame(0, size, sparse=measured / np.float32(1000)), seen)
    processor = PromptDepthAnythingImageProcessorPil.from_pretrained(folder)
    theirs = processor(images=frame.image, prompt_depth=measured, return_tensors="pt")
    ours = model.to_input(image["pixels"], in_float64)
    assert theirs.pixel_values.shape == ours.shape and theirs.prompt_depth.shape[2:] == of_sensor
    with torch.no_grad():
        given = {"pixel_values": ours, "prompt_depth": theirs.prompt_depth.double()}
        expected = load_reference(folder, torch.float64)(**given).predicted_depth[0].numpy()
    assert np.ptp(expected) > 0.1
    found = model.infer(image[None])[0]
    assert roundings(found, expected) < 4  # the prompt's shares, and the range put in again, are in float32


def test_each_of_a_mixed_batch_is_as_it_is_alone(folder: Path) -> None:
    frames = [
        *(make_frame(seed) for seed in range(3)),
        make_frame(3, sparse=make_millimetres((36, 48)) / np.float32(700)),  # another sensor
        make_frame(4, (120, 90), sparse=make_millimetres((24, 18)) / np.float32(700)),
    ]
    together = DepthEstimator(load_model(f"hf:{folder}"), batch_size=4)
    assert len({each.group for each in map(together.prepare, frames)}) == 3
    alone = DepthEstimator(together.model, batch_size=1)
    for frame, depth in zip(frames, together.estimate(frames), strict=True):
        expected = alone(frame)
        assert isinstance(depth, DepthMap) and depth.kind == "metric" and depth.scale_from == "sparse"
        np.testing.assert_allclose(depth.values, expected.values, rtol=1e-5)


def test_depth_is_in_the_metres_of_the_sensor(folder: Path) -> None:
    estimator, frame = load_estimator(f"hf:{folder}"), make_frame()
    depth = estimator(frame)
    assert frame.sparse is not None
    assert frame.sparse.min() <= depth.values.min() < depth.values.max() <= frame.sparse.max()
    far = estimator(make_frame(sparse=frame.sparse * 10 + 5))
    np.testing.assert_allclose(far.values, depth.values * 10 + 5, rtol=1e-4)


def test_holes_are_filled_at_the_size_that_the_network_reads(folder: Path) -> None:
    estimator = load_estimator(f"hf:{folder}", size="native")
    full = make_millimetres((20, 28)) / np.float32(1000)  # 70 x 98 of input, read at 4 in each 14
    holes = np.where(np.random.default_rng(1).random(full.shape) < 0.3, full, np.float32(0))
    filled = fill_holes(np.where(holes > 0, holes, np.float32(np.nan)))
    image = make_pixels((70, 98))
    expected = estimator(Frame("a", image, sparse=filled)).values
    np.testing.assert_array_equal(estimator(Frame("a", image, sparse=holes)).values, expected)
    fine = np.zeros((200, 280), np.float32)
    fine[5::10, 5::10] = holes  # the same points in a map as fine as a projected LiDAR's
    np.testing.assert_array_equal(estimator(Frame("a", image, sparse=fine)).values, expected)
    row, column = np.nonzero(holes)
    samples = np.column_stack([(column + 0.5) * 3.5, (row + 0.5) * 3.5, holes[row, column]])
    np.testing.assert_array_equal(estimator(image, sparse=samples).values, expected)


def test_a_sensors_map_may_be_given_to_one_call(folder: Path) -> None:
    estimator, frame = load_estimator(f"hf:{folder}"), make_frame()
    assert frame.sparse is not None
    one = estimator(frame.image, sparse=DepthMap(frame.sparse, "metric"))
    np.testing.assert_array_equal(one.values, estimator(frame).values)
    assert repr(frame) == "Frame('0', 90x120, with sparse depth)"


def test_in_half_precision_metres_keep_their_digits(folder: Path) -> None:
    sparse = make_millimetres((18, 24)) / np.float32(1000) + 60  # bfloat16 has steps of 0.25 here
    exact, half = (
        load_estimator(f"hf:{folder}", precision=each)(make_frame(sparse=sparse)).values
        for each in ("float32", "bfloat16")
    )
    assert np.abs(half - exact).mean() < 0.05 and np.unique(half).size > 500


def test_a_mirrored_image_has_its_sparse_depth_mirrored(folder: Path) -> None:
    estimator, frame = load_estimator(f"hf:{folder}", thorough=True), make_frame()
    assert estimator.takes_sparse and frame.sparse is not None
    turned = Frame("b", frame.image[:, ::-1].copy(), sparse=frame.sparse[:, ::-1].copy())
    np.testing.assert_allclose(estimator(turned).values[:, ::-1], estimator(frame).values, rtol=1e-5)


def test_what_cannot_be_completed_fails_in_one_line(folder: Path) -> None:
    estimator = load_estimator(f"hf:{folder}")
    for sparse, message in (
        (None, "completes a sensor's depth: give that (`sparse`)"),
        (
            np.full((18, 24), 2.5, np.float32),
            "has one distance, 2.5 m: this network needs a nearer and a farther one",
        ),
        (np.zeros((18, 24), np.float32), "has no point in the image with a distance above 0"),
    ):
        with pytest.raises(ModelError) as raised:
            estimator(make_frame(sparse=sparse))
        assert message in str(raised.value) and "\n" not in str(raised.value)
    with pytest.raises(ModelError, match="compact takes no sparse depth"):
        load_estimator("compact")(make_frame())
    with pytest.raises(InputError, match="of another shape"):
        estimator(make_pixels((90, 120)), sparse=DepthMap(np.ones((24, 24), np.float32), "metric"))
    with pytest.raises(ValueError, match=r"sparse must be float32 \(h, w\) metres, got uint16"):
        make_frame(sparse=make_millimetres((18, 24)))


def test_it_is_neither_trained_nor_exported(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="completes a sensor's depth: it cannot be trained here"):
        open_network(f"hf:{folder}")
    with pytest.raises(ModelLoadError, match="takes sparse depth beside an image"):
        load_model(f"hf:{folder}", input_size=(56, 70)).export(tmp_path / "a.onnx", {})


@pytest.mark.parametrize("backend", [pytest.param("onnx", marks=pytest.mark.slow), "openvino"])  # 15 s each
def test_other_backends_run_it(backend: str, folder: Path) -> None:
    pytest.importorskip("onnxscript")
    frames = [make_frame(seed) for seed in range(2)]
    expected = [load_estimator(f"hf:{folder}")(each).values for each in frames]
    estimator = load_estimator(f"hf:{folder}", backend=backend, precision="float32")
    for depth, values in zip(estimator.estimate(frames), expected, strict=True):
        assert isinstance(depth, DepthMap)
        np.testing.assert_allclose(depth.values, values, rtol=1e-4)
