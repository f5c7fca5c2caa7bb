"""One contract for every model, and what an ONNX file may be."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx_files import write_mean_network

from cortexia_video import (
    DepthMap,
    DepthModel,
    Failure,
    Frame,
    ModelInfo,
    SyntheticModel,
    list_models,
    load_estimator,
)
from cortexia_video.depth_map import KINDS
from cortexia_video.errors import MissingExtraError, ModelLoadError, UnknownModelError
from cortexia_video.models.catalog import PUBLISHED
from cortexia_video.models.protocol import Prediction
from cortexia_video.models.registry import load_model

FULL = {"kind": "disparity", "short_side": "64", "multiple_of": "32", "normalize": "unit"}


LOADED: dict[str, DepthModel] = {}
PLUGIN_EXAMPLE = "example-multi-view"
PUBLISHED_NAMES = [info.name for info in PUBLISHED]


@pytest.fixture(params=["compact", "synthetic", "onnx", PLUGIN_EXAMPLE, *PUBLISHED_NAMES])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> DepthModel:
    if request.param == "onnx":
        return load_model(f"onnx:{write_mean_network(tmp_path / 'mean.onnx', metadata=FULL)}")
    if request.param in PUBLISHED_NAMES:
        request.getfixturevalue("use_hub_cache")
    if request.param == PLUGIN_EXAMPLE:
        request.getfixturevalue("use_plugin_example")
    if request.param not in LOADED:
        of_frames = request.param.startswith("video-depth")  # 32 at once: half a minute at full size
        small = {"input_size": (42, 56)} if of_frames else {}
        LOADED[request.param] = load_model(request.param, **small)
    return LOADED[request.param]


def see(model: DepthModel, image: np.ndarray) -> np.ndarray:
    size = model.processed_size(*image.shape[:2])
    if getattr(model, "takes_sparse", False):
        sparse = np.linspace(1, 6, 48, dtype=np.float32).reshape(6, 8)
        return model.preprocess_frame(Frame("a", image, sparse=sparse), size)  # type: ignore[attr-defined]
    return model.preprocess(image, size)


def infer(model: DepthModel, batch: np.ndarray) -> Prediction:
    given = model.infer(batch)
    return given if isinstance(given, Prediction) else Prediction(given)


def test_the_table_says_what_a_person_must_know(model: DepthModel) -> None:
    assert model.kind in KINDS
    assert len(bytes.fromhex(model.weights_digest)) == 32
    for info in list_models():
        assert info.summary and info.licence_code and info.licence_weights and info.weights
        assert info.trained_from and (info.trained_from != "unknown" or info.free_training is None)


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (480, 640), (333, 217)])
def test_any_image_size(model: DepthModel, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    before = image.copy()
    given = infer(model, see(model, image)[None])
    output = given.values
    assert output.dtype == np.float32
    assert output.ndim == 3 and output.shape[0] == 1
    assert np.isfinite(output).all()
    assert given.sky is None or (given.sky.dtype == bool and given.sky.shape == output.shape)
    np.testing.assert_array_equal(image, before)


def test_an_image_never_depends_on_its_batch(model: DepthModel) -> None:
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (96, 128, 3), dtype=np.uint8) for _ in range(4)]
    images.append(np.full((96, 128, 3), 255, np.uint8))
    inputs = [see(model, image) for image in images]
    alone = [infer(model, each[None]) for each in inputs]
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [4, 2, 0], [3, 3, 1], [2, 4]):
        together = infer(model, np.stack([inputs[index] for index in order]))
        for place, index in enumerate(order):
            output, expected = together.values[place], alone[index].values[0]
            same = np.ones(output.shape, bool)
            if together.sky is not None:
                same = together.sky[place] == alone[index].sky[0]
                assert same.mean() > 0.99
            tolerance = 1e-3 * max(np.ptp(expected), 1e-3)  # float32: by the order of additions alone
            np.testing.assert_allclose(output[same], expected[same], rtol=0, atol=tolerance)


def test_compact_gives_an_image_the_same_bits_in_any_batch() -> None:
    model = load_model("compact")
    for height, width in ((224, 320), (320, 224), (224, 416), (64, 32)):
        images = np.random.default_rng(height).random((5, 3, height, width), dtype=np.float32)
        alone = np.concatenate([model.infer(image[None]) for image in images])
        for batch in (2, 3, 5):
            np.testing.assert_array_equal(model.infer(images[:batch]), alone[:batch])


def test_compact_is_small_free_and_gives_disparity() -> None:
    import cortexia_video.models as package

    assert (Path(package.__file__).parent / "compact.onnx").stat().st_size <= 8_000_000
    (info,) = (info for info in list_models() if info.name == "compact")
    assert (info.kind, info.commercial, info.licence_weights) == ("disparity", True, "Apache-2.0")
    assert load_model("compact").kind == "disparity"


def test_the_synthetic_model_follows_its_formula() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 32:] = 255
    output = SyntheticModel().infer(image[None])[0]
    assert output[0, 0] == pytest.approx(0.1 + 0.6 * 0.5 / 64)
    assert output[63, 63] == pytest.approx(0.1 + 0.6 * 63.5 / 64 + 0.3)
    np.testing.assert_allclose(SyntheticModel(kind="metric").infer(image[None])[0], 1 / output, rtol=1e-6)


def test_unknown_names_say_what_there_is() -> None:
    with pytest.raises(UnknownModelError, match=r"did you mean compact\? there are compact, depth-pro"):
        load_model("compct")
    with pytest.raises(UnknownModelError, match=r"did you mean depth-pro\?"):
        load_model("depthpro")


def test_options_a_model_does_not_take_are_named() -> None:
    with pytest.raises(ModelLoadError, match="does not take all of these options: kind"):
        load_model("compact", kind="metric")
    with pytest.raises(ModelLoadError, match="unknown kind of depth 'metres'"):
        load_model("synthetic", kind="metres")


@pytest.mark.parametrize("device", ["gpu", "cpu:1", "cuda:x", "mps:0", ""])
def test_unknown_devices_are_named(device: str) -> None:
    with pytest.raises(ModelLoadError, match="use auto, cpu, cuda, cuda:1 or mps"):
        load_model("compact", device=device)


def test_a_device_that_is_not_there_says_what_to_do() -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has it")
    with pytest.raises(ModelLoadError, match="pip install onnxruntime-gpu"):
        load_model("compact", device="cuda:0")


@pytest.mark.parametrize("keep_channel", [False, True])
@pytest.mark.parametrize("shape", [["B", 3, "H", "W"], [1, 3, 32, 48], [3, 3, 32, 32]])
def test_an_onnx_file_gives_its_numbers(tmp_path: Path, shape: list[int | str], keep_channel: bool) -> None:
    path = write_mean_network(tmp_path / "m.onnx", shape=shape, keep_channel=keep_channel, metadata=FULL)
    estimator = load_estimator(f"onnx:{path}", batch_size=4)
    levels = (0, 51, 102, 153, 255)
    images = [np.full((40, 60, 3), level, np.uint8) for level in levels]
    for image in images:
        image[:, 30:] = 200
    frames = [Frame(f"{level}", image) for level, image in zip(levels, images, strict=True)]
    for frame, depth in zip(frames, estimator.estimate(frames), strict=True):
        assert isinstance(depth, DepthMap) and depth.values.shape == (40, 60)
        np.testing.assert_allclose(depth.values[:, :20], int(frame.key) / 255, atol=1e-6)
        np.testing.assert_allclose(depth.values[:, 40:], 200 / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("normalize", "expected"),
    [("unit", 0.6), ("signed", 0.2), ("imagenet", np.mean([0.5022, 0.6429, 0.8622]))],
)
def test_normalisation_can_be_given(tmp_path: Path, normalize: str, expected: float) -> None:
    path = write_mean_network(tmp_path / "m.onnx")
    model = load_model(f"onnx:{path}", kind="metric", input_size=32, normalize=normalize)
    output = model.infer(see(model, np.full((32, 32, 3), 153, np.uint8))[None])
    assert output.mean() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("size", "expected"), [(64, (64, 96)), ((32, 40), (32, 40))])
def test_sizes_can_be_given(tmp_path: Path, size: int | tuple[int, int], expected: tuple[int, int]) -> None:
    path = write_mean_network(tmp_path / "m.onnx", metadata={"multiple_of": "32"})
    model = load_model(f"onnx:{path}", kind="metric", input_size=size)
    assert see(model, np.zeros((200, 300, 3), np.uint8)).shape == (3, *expected)


def break_file(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize(
    ("arguments", "options", "spoil", "message"),
    [
        ({}, {}, None, "does not say its kind: give it"),
        ({}, {"kind": "metres"}, None, "unknown kind 'metres'"),
        ({}, {"kind": "metric"}, None, "takes any size and does not say which"),
        ({"metadata": FULL}, {"kind": "metric"}, None, "says its kind is disparity, not metric"),
        ({"metadata": {**FULL, "short_side": "big"}}, {}, None, "cortexia.short_side = 'big'"),
        ({"metadata": {**FULL, "normalize": "x"}}, {}, None, "unknown normalize 'x'"),
        ({"shape": ["B", 3, 32, 48], "metadata": FULL}, {"input_size": 64}, None, "takes 32x48 only, not 64"),
        ({"shape": ["B", 1, "H", "W"], "metadata": FULL}, {}, None, "takes one float"),
        ({"metadata": FULL}, {}, break_file, "is not a network that ONNX Runtime can load"),
        ({"metadata": FULL}, {}, Path.unlink, "cannot read the model"),
        ({"metadata": FULL}, {}, lambda path: path.write_bytes(b""), "is not a network"),
    ],
)
def test_unusable_onnx_files_say_why(
    tmp_path: Path, arguments: dict, options: dict, spoil: Callable[[Path], object] | None, message: str
) -> None:
    path = write_mean_network(tmp_path / "m.onnx", **arguments)
    if spoil:
        spoil(path)
    with pytest.raises(ModelLoadError, match=message):
        load_model(f"onnx:{path}", **options)


def test_a_network_that_is_no_depth_network_is_refused_before_the_first_image(tmp_path: Path) -> None:
    from onnx import helper

    node = helper.make_node("ReduceMean", ["image"], ["depth"], keepdims=0)
    path = write_mean_network(tmp_path / "m.onnx", nodes=[node], metadata=FULL)
    with pytest.raises(ModelLoadError, match=r"gives an array of shape \(\)"):
        load_model(f"onnx:{path}")


def install_plugin(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    point = importlib.metadata.EntryPoint("plugged", value, "cortexia_video.models")
    monkeypatch.setattr("cortexia_video.models.registry.entry_points", lambda group: [point])


PLUGIN = ModelInfo(
    name="plugged",
    summary="a test's model",
    kind="metric",
    licence_code="MIT",
    licence_weights="MIT",
    commercial=True,
    weights="none",
    needs="",
    load=lambda name, device: SyntheticModel(name, kind="metric"),
)
LACKING = dataclasses.replace(
    PLUGIN, needs="'some-package[extra]'", load="package_that_is_not_installed.model:load"
)


def test_an_installed_package_adds_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    install_plugin(monkeypatch, "test_registry:PLUGIN")
    assert PLUGIN in list_models()
    estimator = load_estimator("plugged")
    (depth,) = estimator.estimate([Frame("a", np.zeros((8, 8, 3), np.uint8))])
    assert not isinstance(depth, Failure)
    assert depth.kind == "metric"


class Lacking:
    name, kind = "plugged", "metric"


HALF = dataclasses.replace(PLUGIN, load=lambda name, device: Lacking())
MISNAMED = dataclasses.replace(PLUGIN, name="another")


def test_a_half_made_model_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    install_plugin(monkeypatch, "test_registry:HALF")
    with pytest.raises(ModelLoadError, match="is no DepthModel: it lacks weights_digest, device, max_batch"):
        load_model("plugged")


def test_a_model_whose_package_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    install_plugin(monkeypatch, "test_registry:LACKING")
    with pytest.raises(MissingExtraError, match=r"pip install 'some-package\[extra\]'"):
        load_model("plugged")


@pytest.mark.parametrize("value", ["not_there:x", "test_registry:FULL", "test_registry:MISNAMED"])
def test_a_broken_package_spoils_its_own_row_only(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    install_plugin(monkeypatch, value)
    assert "broken" in list_models()[-1].summary
    with pytest.raises(ModelLoadError, match="of an installed package is broken"):
        load_model("plugged")
    assert load_model("synthetic").name == "synthetic"
