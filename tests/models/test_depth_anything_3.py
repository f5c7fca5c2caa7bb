"""Depth Anything 3 for one image: the authors' numbers, its sky, the focal length, and what is refused."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
from safetensors.torch import load_file, save_file
from torch_checkpoints import make_depth_anything_3, put_in_cache

from cortexia_video import DepthMap, Failure, Frame, load_estimator
from cortexia_video.errors import ModelLoadError
from cortexia_video.images.resampling import resize_depth
from cortexia_video.models.catalog import find_published
from cortexia_video.models.registry import load_model

Checkpoints = Callable[[str], Path]
MONO, METRIC = "da3mono-large", "da3metric-large"


def make_frame(size: tuple[int, int] = (60, 80), f_px: float | None = 90.0) -> Frame:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Frame("a", image, f_px, "given" if f_px else None)


def see(model, image: np.ndarray) -> np.ndarray:
    return model.preprocess(image, model.processed_size(*image.shape[:2]))[None]


def test_the_network_gives_the_authors_numbers() -> None:
    """Once computed by their code (2c21ea8) in float64 with these weights, which follow from their names."""
    pixels = np.random.default_rng(0).standard_normal((1, 3, 42, 56)).astype(np.float32)
    with torch.no_grad():
        depth, sky = make_depth_anything_3()(torch.from_numpy(pixels))
    expected_depth = [
        [1.16097, 0.84201, 0.74594, 0.75259],
        [1.39075, 0.84998, 0.90616, 0.79423],
        [0.61636, 1.18367, 0.93141, 0.82935],
    ]
    expected_sky = [[0, 0.36773, 0, 0], [1.48519, 1.61071, 0.4929, 0], [0.64992, 0.13157, 0.05716, 0]]
    np.testing.assert_allclose(depth[0, ::20, ::18], expected_depth, atol=1e-4)
    np.testing.assert_allclose(sky[0, ::20, ::18], expected_sky, atol=1e-4)


@pytest.mark.parametrize(
    ("image", "seen"),  # by the authors' InputProcessor
    [
        ((480, 640), (378, 504)),
        ((1080, 1920), (280, 504)),
        ((4000, 3000), (504, 378)),
        ((300, 200), (504, 336)),
        ((1332, 2048), (322, 504)),
        ((504, 287), (504, 294)),
        ((504, 504), (504, 504)),
        ((1, 1), (504, 504)),
    ],
)
def test_the_long_side_becomes_504(
    image: tuple[int, int], seen: tuple[int, int], checkpoints: Checkpoints
) -> None:
    assert load_model(f"hf:{checkpoints(MONO)}").processed_size(*image) == seen


def test_a_long_side_or_a_size_can_be_given(checkpoints: Checkpoints) -> None:
    name = f"hf:{checkpoints(MONO)}"
    assert load_model(name, input_size=280).processed_size(480, 640) == (210, 280)
    assert load_model(name, input_size=(56, 70)).processed_size(480, 640) == (56, 70)
    with pytest.raises(ModelLoadError, match="multiples of 14, not 56x71"):
        load_model(name, input_size=(56, 71))


def test_metres_are_the_networks_numbers_by_the_focal_length_of_what_it_sees(
    checkpoints: Checkpoints,
) -> None:
    frame, name = make_frame(), f"hf:{checkpoints(METRIC)}"
    estimator = load_estimator(name, input_size=(56, 84), size="native", sky="keep")
    (depth,) = estimator.estimate([frame])
    pixels = estimator.model.to_input(see(estimator.model, frame.image), estimator.model._placement)
    with torch.no_grad():
        given, sky = make_depth_anything_3()(pixels)
    no_sky = sky[0].numpy() < 0.3
    f_px_seen = 90.0 * 84 / 80  # of an image 80 wide, seen 84 wide
    expected = given[0].numpy() * f_px_seen / 300
    np.testing.assert_allclose(depth.values[no_sky], expected[no_sky], rtol=1e-4)
    (farther,) = estimator.estimate([make_frame(f_px=270.0)])
    np.testing.assert_allclose(farther.values, 3 * depth.values, rtol=1e-6)
    assert (depth.kind, depth.f_px, estimator.uses_focal_length) == ("metric", 90.0, True)


def test_metres_are_the_same_at_the_images_size_and_at_the_networks(checkpoints: Checkpoints) -> None:
    name = f"hf:{checkpoints(METRIC)}"
    (native,) = load_estimator(name, size="native", sky="keep", input_size=70).estimate([make_frame()])
    (full,) = load_estimator(name, sky="keep", input_size=70).estimate([make_frame()])
    np.testing.assert_allclose(full.values, resize_depth(native.values, 60, 80), rtol=1e-5)


def test_an_image_without_focal_length_fails_and_the_others_go_on(checkpoints: Checkpoints) -> None:
    estimator = load_estimator(f"hf:{checkpoints(METRIC)}", input_size=70)
    unknown, known = estimator.estimate([make_frame(f_px=None), make_frame()])
    assert isinstance(unknown, Failure) and isinstance(known, DepthMap)
    assert unknown.reason == (
        f"hf:{METRIC} estimates no focal length, and gives metres only with one: images need it in EXIF, or given "
        "(`f_px`, `intrinsics`)"
    )
    (mono,) = load_estimator(f"hf:{checkpoints(MONO)}", input_size=70).estimate([make_frame(f_px=None)])
    assert mono.kind == "affine_invariant"


def test_sky_is_unknown_or_as_far_as_the_authors_put_it(checkpoints: Checkpoints) -> None:
    name, frame = f"hf:{checkpoints(MONO)}", make_frame()
    (unknown,) = load_estimator(name, size="native", input_size=70).estimate([frame])
    (kept,) = load_estimator(name, size="native", input_size=70, sky="keep").estimate([frame])
    sky = ~unknown.valid
    assert 0.05 < sky.mean() < 0.95
    np.testing.assert_array_equal(np.isnan(unknown.values), sky)
    np.testing.assert_array_equal(kept.values[~sky], unknown.values[~sky])
    np.testing.assert_array_equal(kept.values[sky], np.quantile(kept.values[~sky], 0.99))


@pytest.mark.slow
def test_an_exported_file_gives_the_same_depth_and_sky(checkpoints: Checkpoints, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    folder, frame = checkpoints(METRIC), make_frame()
    torch_one = load_estimator(f"hf:{folder}", input_size=(56, 70))
    torch_one.model.export(tmp_path / "da3.onnx", {})
    exported = load_estimator(f"onnx:{tmp_path / 'da3.onnx'}")
    assert exported.model.max_batch is None  # a graph for any number of images
    (ours,), (theirs,) = torch_one.estimate([frame]), exported.estimate([frame])
    same = ours.valid == theirs.valid
    assert same.mean() > 0.99 and theirs.kind == "metric" and theirs.valid.mean() < 0.95
    both = ours.valid & theirs.valid
    np.testing.assert_allclose(theirs.values[both], ours.values[both], rtol=1e-3)
    (unknown,) = exported.estimate([make_frame(f_px=None)])
    assert isinstance(unknown, Failure) and "estimates no focal length" in unknown.reason


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_close_and_has_no_steps(precision: str, checkpoints: Checkpoints) -> None:
    name, frame = f"hf:{checkpoints(METRIC)}", make_frame()
    (exact,) = load_estimator(name, input_size=70, sky="keep").estimate([frame])
    (half,) = load_estimator(name, input_size=70, sky="keep", precision=precision).estimate([frame])
    assert np.abs(half.values - exact.values).mean() < 0.02 * np.ptp(exact.values)
    assert len(np.unique(half.values)) > 0.5 * len(np.unique(exact.values))


def spoil(folder: Path, change: Callable[[dict], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


LAST = "model.head.scratch.output_conv2.2.bias"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: spoil(folder, lambda each: each.pop(LAST)), "head.scratch.output_conv2.2.bias"),
        (lambda folder: spoil(folder, lambda each: each.update(extra=torch.zeros(1))), "extra"),
        (
            lambda folder: spoil(folder, lambda each: each.update({LAST: torch.zeros(2)})),
            "output_conv2.2.bias",
        ),
        (
            lambda folder: spoil(folder, lambda each: each.pop("model.head.projects.2.bias")),
            "lacks 'head.projects.2.bias'",
        ),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(
                (folder / "model.safetensors").read_bytes()[:-100]
            ),
            "half written",
        ),
        (
            lambda folder: (folder / "config.json").write_text(json.dumps({"model_name": "da3-giant"})),
            "a network called 'da3-giant'",
        ),
        (
            lambda folder: (folder / "config.json").write_text(json.dumps({"model_name": MONO})),
            "gives affine_invariant, not metric",
        ),
    ],
)
def test_a_checkpoint_that_is_not_the_names_is_refused(
    change: Callable[[Path], object],
    message: str,
    checkpoints: Checkpoints,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = shutil.copytree(checkpoints(METRIC), tmp_path / "spoilt")
    change(folder)
    info = find_published("da3-metric-large")
    put_in_cache(folder, info.hub_id, info.revision or "main", tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(ModelLoadError) as caught:
        load_model("da3-metric-large")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_field_of_view_gives_the_focal_length_of_what_is_seen(checkpoints: Checkpoints) -> None:
    model = load_model(f"hf:{checkpoints(METRIC)}", input_size=(56, 70))
    values = model.infer(see(model, make_frame().image)).values[0]
    f_px_seen = 70 / 2 / math.tan(math.radians(60) / 2)
    metres = model.to_depth(values.copy(), 60.0)
    np.testing.assert_allclose(metres, values * 300 / 70 * f_px_seen / 300, rtol=1e-5)
