"""Every type of depth network that transformers has, in float32 and bfloat16, against its own processor."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
from onnx_files import write_mean_network
from PIL import Image
from torch.nn.functional import interpolate
from transformers import AutoModelForDepthEstimation
from transformers.models.auto.modeling_auto import MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES
from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil
from transformers.models.glpn.image_processing_pil_glpn import GLPNImageProcessorPil
from transformers.models.zoedepth.image_processing_pil_zoedepth import ZoeDepthImageProcessorPil

from cortexia_video import DepthMap, Frame, load_estimator
from cortexia_video.errors import ModelLoadError
from cortexia_video.images.resampling import average_image
from cortexia_video.models.preprocessing import Preprocessing, read_normalization
from cortexia_video.models.registry import load_model
from cortexia_video.models.torch import huggingface
from cortexia_video.models.torch.model import average_by_torch

Checkpoints = Callable[[str], Path]
Seen = Callable[[Path, np.ndarray], torch.Tensor]

FAMILY = {
    "depth_anything": "depth-anything",
    "depth_pro": "depth-pro",
    "dpt": "dpt",
    "glpn": "glpn",
    "tipsv2_dpt": "tipsv2",
    "zoedepth": "zoedepth-one-domain",  # with two transformers lets a batch vote
}
REFUSED = {
    "chmv2": ("chmv2", "height of trees seen from above, which is no depth"),
}
ELSEWHERE = ("prompt_depth_anything",)  # needs more than an image: test_prompt_depth_anything.py
OPTIONS: dict[str, dict] = {
    "dpt": {"kind": "disparity", "input_size": (64, 64)},  # its file asks for squares
    "tipsv2_dpt": {"input_size": (56, 56)},  # so does its processor
}
KIND = {"depth_anything": "disparity", "dpt": "disparity"}


def make_pixels(height: int, width: int) -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def by_processor(processor: type) -> Seen:
    def see(folder: Path, image: np.ndarray) -> torch.Tensor:
        options = {"do_pad": False} if processor is ZoeDepthImageProcessorPil else {}
        return processor.from_pretrained(folder, **options)(images=image, return_tensors="pt").pixel_values

    return see


def see_as_depth_pro(_: Path, image: np.ndarray) -> torch.Tensor:
    """The steps of `DepthProImageProcessor`, which needs torchvision: torch does here what that does."""
    pixels = (torch.from_numpy(image).permute(2, 0, 1)[None] / 255 - 0.5) / 0.5
    return interpolate(pixels, (128, 128), mode="bilinear", antialias=False)


def see_as_tipsv2(_: Path, image: np.ndarray) -> torch.Tensor:
    """The steps of `Tipsv2DptImageProcessor`, which needs torchvision."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    return interpolate(pixels, (56, 56), mode="bilinear", antialias=True) / 255


SEEN: dict[str, Seen] = {
    "depth_anything": by_processor(DPTImageProcessorPil),
    "depth_pro": see_as_depth_pro,
    "dpt": by_processor(DPTImageProcessorPil),
    "glpn": by_processor(GLPNImageProcessorPil),
    "tipsv2_dpt": see_as_tipsv2,
    "zoedepth": by_processor(ZoeDepthImageProcessorPil),
}


def estimate_by_transformers(model_type: str, folder: Path, image: np.ndarray) -> np.ndarray:
    """Return depth (H, W) as transformers' processor, network and post-processing give it, in float32.

    Its post-processing enlarges by the filter that is named here; ours is bilinear for all.
    """
    network = AutoModelForDepthEstimation.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        output = network(pixel_values=SEEN[model_type](folder, image))
    depth = output.predicted_depth[:, None]
    if model_type == "depth_pro":
        f_px = 0.5 * image.shape[1] / torch.tan(0.5 * torch.deg2rad(output.field_of_view))
        depth = depth * image.shape[1] / f_px.view(-1, 1, 1, 1)
    bilinear = model_type in ("depth_pro", "tipsv2_dpt")
    depth = interpolate(depth, image.shape[:2], mode="bilinear" if bilinear else "bicubic")[0, 0].numpy()
    return 1 / depth.clip(1e-4, 1e4) if model_type == "depth_pro" else depth


def test_every_type_is_here() -> None:
    assert {*FAMILY, *REFUSED, *ELSEWHERE} == {*MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES}


@pytest.mark.parametrize(
    "precision", ["float32", "bfloat16", pytest.param("float16", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("model_type", FAMILY)
def test_depth_is_what_transformers_gives(model_type: str, precision: str, checkpoints: Checkpoints) -> None:
    folder, image = checkpoints(FAMILY[model_type]), make_pixels(150, 210)
    options = OPTIONS.get(model_type, {})
    estimator = load_estimator(f"hf:{folder}", precision=precision, **options)
    assert estimator.model.kind == KIND.get(model_type, "metric")
    (depth,) = estimator.estimate([Frame("a", image)])
    assert isinstance(depth, DepthMap) and depth.values.shape == (150, 210)
    expected = estimate_by_transformers(model_type, folder, image)
    spread = np.ptp(expected)
    assert spread > 0.01
    # a level of 255 where the filter is Pillow's, and bicubic overshoot; in bfloat16 three digits
    allowed = 0.01 if precision == "float32" else 0.05
    assert np.abs(depth.values - expected).mean() < allowed * spread
    assert np.corrcoef(depth.values.ravel(), expected.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("model_type", FAMILY)
@pytest.mark.parametrize("size", [(240, 320), (500, 300), (97, 131)])
def test_what_the_network_sees_is_what_transformers_processor_makes(
    model_type: str, size: tuple[int, int], checkpoints: Checkpoints
) -> None:
    folder, image = checkpoints(FAMILY[model_type]), make_pixels(*size)
    model = load_model(f"hf:{folder}", **OPTIONS.get(model_type, {}))
    seen = model.preprocess(image, model.processed_size(*size))
    inputs = model.to_input(seen[None], model._placement)
    expected = SEEN[model_type](folder, image)
    assert inputs.shape == expected.shape
    assert (inputs - expected).abs().max() < 1.01 / 255 / 0.224  # a level, where the filter is Pillow's


@pytest.mark.parametrize("model_type", FAMILY)
def test_an_exported_file_is_fed_exactly_as_its_network(
    model_type: str, checkpoints: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what `export` writes into a file; without torch, and to the bit."""
    size = (128, 128) if model_type == "depth_pro" else (56, 70) if "any" in model_type else (64, 96)
    options = {**OPTIONS.get(model_type, {}), "input_size": (56, 70) if "tips" in model_type else size}
    if model_type == "depth_pro":
        del options["input_size"]
    network = load_model(f"hf:{checkpoints(FAMILY[model_type])}", **options)
    said: dict[str, str] = {}
    exporter = SimpleNamespace(write_graph=lambda *arguments: said.update(arguments[-1]))
    monkeypatch.setattr("cortexia_video.models.torch.model.import_export", lambda: exporter)
    shape = [1, 3, *network.export(tmp_path / "net.onnx", {})]
    about = {key.removeprefix("cortexia."): text for key, text in said.items() if "numbers" not in key}
    file = load_model(f"onnx:{write_mean_network(tmp_path / 'net.onnx', shape=shape, metadata=about)}")
    for image in (make_pixels(150, 210), make_pixels(31, 40), make_pixels(1200, 900)):
        at = network.processed_size(*image.shape[:2])
        assert at == file.processed_size(*image.shape[:2])
        inputs = network.to_input(network.preprocess(image, at)[None], network._placement)
        np.testing.assert_array_equal(file.preprocess(image, at), inputs[0].numpy())


def test_numbers_of_a_normalization_survive_a_file() -> None:
    mean, std = (0.48145466, 0.4578275, 1 / 3), (0.26862954, 0.1 + 0.2, 0.225)
    text = Preprocessing(None, 1, "bilinear", mean, std).describe()["normalize"]
    assert read_normalization(str(text)) == (mean, std)


@pytest.mark.parametrize(("size", "expected"), [((240, 320), (224, 320)), ((500, 300), (480, 288))])
def test_glpn_takes_the_multiple_below(
    size: tuple[int, int], expected: tuple[int, int], checkpoints: Checkpoints
) -> None:
    assert load_model(f"hf:{checkpoints('glpn')}").processed_size(*size) == expected


def test_a_divisor_in_the_file_is_followed(checkpoints: Checkpoints, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoints("glpn"), tmp_path / "glpn")
    (folder / "preprocessor_config.json").write_text(json.dumps({"size_divisor": 64}))
    assert load_model(f"hf:{folder}").processed_size(500, 300) == (448, 256)


@pytest.mark.parametrize("size", [(70, 70), (100, 70), (75, 173)])
def test_images_are_padded_as_the_file_says_and_depth_is_not(
    size: tuple[int, int], checkpoints: Checkpoints, tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoints("depth-anything"), tmp_path / "padded")
    config = {"do_resize": False, "do_pad": True, "size_divisor": 14, "ensure_multiple_of": 1}
    config |= {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    (folder / "preprocessor_config.json").write_text(json.dumps(config))
    image, model = make_pixels(*size), load_model(f"hf:{folder}")
    expected = DPTImageProcessorPil.from_pretrained(folder)(images=image, return_tensors="pt").pixel_values
    seen = model.preprocess(image, model.processed_size(*size))[None]
    inputs = model.to_input(seen, model._placement)
    assert model.processed_size(*size) == size and inputs.shape == expected.shape
    assert (inputs - expected).abs().max() < 3e-6
    network = AutoModelForDepthEstimation.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        padded = network(pixel_values=expected).predicted_depth[0].numpy()
    top, left = ((new - old) // 2 for new, old in zip(padded.shape, size, strict=True))
    whole = padded[top : top + size[0], left : left + size[1]]
    np.testing.assert_allclose(model.infer(seen)[0], whole, atol=1e-3 * np.ptp(whole))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"ensure_multiple_of": 7}, "multiples of 7, where the network's patches are of 14"),
        ({"do_pad": True, "size_divisor": 16}, "multiples of 16, where the network's patches are of 14"),
        ({"do_center_crop": True}, r"crops images \(do_center_crop\)"),
        ({"do_pad": True, "pad_size": {"height": 90, "width": 90}}, r"pads images to one size \(pad_size\)"),
    ],
)
def test_what_is_not_followed_is_refused(
    config: dict, message: str, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoints("depth-anything"), tmp_path / "other")
    (folder / "preprocessor_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelLoadError, match=message):
        load_model(f"hf:{folder}")


def test_a_type_that_is_not_known_yet_is_fed_as_its_files_say(
    checkpoints: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(huggingface._PUBLISHED, "tipsv2_dpt")
    folder = shutil.copytree(checkpoints("tipsv2"), tmp_path / "new")
    model = load_model(f"hf:{folder}")
    assert model.processed_size(300, 450) == (56, 84)
    assert model.settings["multiple_of"] == 14 and model.settings["normalize"] == "mean 0 0 0 std 1 1 1"
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ModelLoadError, match=r"needs a preprocessor_config.json, and a patch_size"):
        load_model(f"hf:{folder}")


@pytest.mark.parametrize("model_type", REFUSED)
def test_what_gives_no_depth_of_an_image_is_refused_by_name(
    model_type: str, checkpoints: Checkpoints
) -> None:
    family, message = REFUSED[model_type]
    with pytest.raises(ModelLoadError, match=message):
        load_model(f"hf:{checkpoints(family)}", kind="metric")


def test_in_half_precision_tipsv2_keeps_its_bins(checkpoints: Checkpoints) -> None:
    half = load_model(f"hf:{checkpoints('tipsv2')}", precision="bfloat16")._network.network
    exact = load_model(f"hf:{checkpoints('tipsv2')}")._network.network
    assert torch.equal(half.bin_regressor.bin_centers, exact.bin_regressor.bin_centers)


@pytest.mark.parametrize("filter", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((480, 640), (252, 336)),
        ((70, 51), (518, 392)),
        ((97, 1999), (98, 14)),
        ((5, 3), (64, 2)),
        ((9, 9), (1, 4)),
    ],
)
def test_the_filter_is_torchs_to_the_bit(old: tuple[int, int], new: tuple[int, int], filter: str) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (*old, 3), dtype=np.uint8)
    for image in (noise, np.where(noise > 127, np.uint8(255), np.uint8(0)), np.full_like(noise, 255)):
        np.testing.assert_array_equal(
            average_image(image, *new, filter), average_by_torch(image, *new, filter)
        )


@pytest.mark.slow
@pytest.mark.parametrize("filter", ["bilinear", "bicubic"])
def test_the_filter_is_torchs_at_any_size(filter: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(150):
        height, width, tall, wide = np.exp(rng.uniform(0, np.log(1200), 4)).astype(int)
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        expected = average_by_torch(image, tall, wide + 1, filter)
        np.testing.assert_array_equal(average_image(image, tall, wide + 1, filter), expected)
    image = rng.integers(0, 2, (40, 50_000, 3), dtype=np.uint8) * 255  # sums that only float64 holds
    expected = average_by_torch(image, 20, 224, filter)
    np.testing.assert_array_equal(average_image(image, 20, 224, filter), expected)
