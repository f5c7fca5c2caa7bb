"""Networks of transformers: the reference's numbers, the camera, half precision, and what is refused."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import HANG_S, leave_out_progress
from PIL import Image

pytest.importorskip("transformers")

import torch
from onnx_files import write_mean_network
from torch.nn.functional import interpolate
from torch_checkpoints import COMMIT, put_in_cache, save_checkpoint
from transformers import AutoModelForDepthEstimation, DepthProForDepthEstimation
from transformers.models.dpt.image_processing_pil_dpt import (
    DPTImageProcessorPil,
    get_resize_output_image_size,
)
from transformers.models.zoedepth.image_processing_pil_zoedepth import ZoeDepthImageProcessorPil

from cortexia_video import DepthEstimator, DepthMap, Failure, Frame, estimate, load_estimator
from cortexia_video.errors import ModelLoadError
from cortexia_video.images.resampling import sample_image
from cortexia_video.models.preprocessing import SIGNED, Preprocessing
from cortexia_video.models.registry import load_model
from cortexia_video.models.torch.checkpoint import open_checkpoint, read_licence
from cortexia_video.models.torch.device import Placement, choose_placement

Checkpoints = Callable[[str], Path]
ROOT = Path(__file__).resolve().parents[2]
FAMILIES = ["depth-anything", "depth-anything-metric", "dpt", "dpt-hybrid", "zoedepth", "zoedepth-one-domain"]
SIZES = [
    (131, 97),
    (700, 1000),
    *(pytest.param(each, marks=pytest.mark.slow) for each in ((96, 128), (50, 60), (40, 160))),
]
SQUARE = {"input_size": (64, 64)}  # what transformers' own DPT can do


def options_for(family: str) -> dict:
    return {"kind": "disparity"} if family.startswith("dpt") else {}


def make_pixels(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Return half noise, half soft colours: both fine and coarse things count."""
    rng = np.random.default_rng(seed)
    soft = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(size[::-1])
    noise = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    return np.where(np.arange(size[1])[:, None] < size[1] // 2, noise, np.asarray(soft)).astype(np.uint8)


def see(model, image: np.ndarray) -> np.ndarray:
    return model.preprocess(image, model.processed_size(*image.shape[:2]))[None]


def load_reference(folder: Path, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    return AutoModelForDepthEstimation.from_pretrained(folder, dtype=dtype).eval()


def distance(values: np.ndarray, reference: np.ndarray) -> float:
    """Return the largest difference, as a share of the reference's range."""
    assert values.shape == reference.shape
    return float(np.abs(values - reference).max() / np.ptp(reference))


def roundings(values: np.ndarray, reference: np.ndarray) -> float:
    """Return the largest difference in roundings to float32, each half a unit in the largest's last place."""
    assert values.shape == reference.shape
    return float(np.abs(values - reference).max() / np.abs(reference).max()) * 2**24


@pytest.fixture
def in_float64(monkeypatch: pytest.MonkeyPatch) -> Placement:
    """Load networks in float64, so that what is compared depends on no processor's order of additions.

    In float32 the same network, on two processors or in two libraries, differs by up to 1e-4 of its range;
    in float64 by a billionth of that. Depth comes out as float32 all the same, rounded once.
    """
    placement = Placement(torch.device("cpu"), torch.float64)
    monkeypatch.setattr("cortexia_video.models.torch.huggingface.choose_placement", lambda **_: placement)
    return placement


def position_error(size: tuple[int, int]) -> float:
    """Return how far pixels in 0..1 may differ where they are interpolated at positions in float32.

    A position is a product of two rounded numbers, rounded: off by 3 x 2**-24 of the side at most. Pixels
    change by 1 from one to the next at most, along each of two axes.
    """
    return 2 * 3 * max(size) * 2**-24


# ---- the reference's numbers -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_numbers_are_those_of_transformers(
    family: str, size: tuple[int, int], checkpoints: Checkpoints, in_float64: Placement
) -> None:
    folder = checkpoints(family)
    square = SQUARE if family.startswith("dpt") else {}
    model = load_model(f"hf:{folder}", **options_for(family), **square)
    if family.startswith("zoedepth"):
        processor = ZoeDepthImageProcessorPil.from_pretrained(folder, do_pad=False)
    else:
        processor = DPTImageProcessorPil.from_pretrained(folder)
    image = make_pixels(size)
    pixels = processor(images=image, return_tensors="pt").pixel_values
    seen = see(model, image)
    inputs = model.to_input(seen, in_float64)
    allowed = 3e-6  # a few roundings to float32 of numbers up to 1 / 0.224
    if seen.dtype == np.uint8:  # the filter is torchvision's: Pillow's, which is available, rounds otherwise
        levels = inputs - pixels
        assert levels.abs().max() < 1.01 / 255 / 0.224 and (levels.abs() > 1e-5).double().mean() < 0.25
        pixels = processor(images=seen[0], do_resize=False, return_tensors="pt").pixel_values
    else:
        allowed += 2 * position_error(size) / 0.5  # of both sides
    assert (inputs - pixels).abs().max() < allowed
    with torch.no_grad():
        reference = load_reference(folder, torch.float64)(pixel_values=inputs).predicted_depth[0].numpy()
    assert roundings(model.infer(seen)[0], reference) < 1.1


@pytest.mark.parametrize("family", FAMILIES)
def test_in_float32_the_numbers_are_as_near_as_float32_is(family: str, checkpoints: Checkpoints) -> None:
    """The networks here are off by 1e-6 to 3e-5 of the range, by the processor; in bfloat16 by 2e-2."""
    model = load_model(f"hf:{checkpoints(family)}", precision="float32", **options_for(family))
    seen = see(model, make_pixels((64, 64)))
    inputs = model.to_input(seen, choose_placement("cpu", "float32")).double()
    with torch.no_grad():
        reference = load_reference(checkpoints(family), torch.float64)(pixel_values=inputs).predicted_depth[0]
    assert distance(model.infer(seen)[0], reference.numpy()) < 1e-3


def test_a_batch_is_shared_among_the_cores(checkpoints: Checkpoints) -> None:
    model = load_model(f"hf:{checkpoints('depth-anything')}", device="cpu")
    size = model.processed_size(60, 80)
    batch = np.stack([model.preprocess(make_pixels((60, 80), seed), size) for seed in range(5)])
    alone = np.concatenate([model.infer(batch[index : index + 1]) for index in range(5)])
    seen: list[tuple[int, int]] = []

    def look(network: torch.nn.Module, given: tuple[torch.Tensor]) -> None:
        seen.append((len(given[0]), torch.get_num_threads()))
        if len(seen) > 5:
            raise MemoryError

    model._network.register_forward_pre_hook(look)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        together = model.infer(batch)
        assert sorted(seen) == [(1, 1), (1, 1), (1, 1), (2, 1)]
        model.infer(batch[:1])
        assert seen[-1] == (1, 4)  # one image has all of them
        with pytest.raises(MemoryError):
            model.infer(batch)
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(together, alone, atol=1e-5 * np.ptp(alone))


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize(
    ("old", "new"),
    [((300, 400), (768, 768)), ((900, 4000), (384, 512)), ((97, 131), (64, 64)), ((1, 5), (8, 1))],
)
def test_points_are_sampled_where_torch_samples_them(
    old: tuple[int, int], new: tuple[int, int], corners: bool
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*old, 3), dtype=np.uint8)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].double()
    expected = interpolate(pixels, new, mode="bilinear", align_corners=corners)[0].permute(1, 2, 0)
    allowed = 255 * (1e-6 + position_error(old))
    np.testing.assert_allclose(sample_image(image, *new, corners=corners), expected.numpy(), atol=allowed)


def test_sizes_are_those_of_the_reference() -> None:
    preprocessing = Preprocessing((384, 512), 32, "bicubic", *SIGNED)
    for height, width in np.random.default_rng(0).integers(60, 5000, (500, 2)).tolist():
        if max(height, width) < 8 * min(height, width):
            size = get_resize_output_image_size(np.empty((3, height, width)), (384, 512), True, 32)
            assert preprocessing.fit(height, width) == (size.height, size.width)


@pytest.mark.parametrize("f_px", [None, 90.0])
@pytest.mark.parametrize("size", SIZES)
def test_depth_pro_is_the_reference_up_to_the_last_step(
    size: tuple[int, int], f_px: float | None, checkpoints: Checkpoints, in_float64: Placement
) -> None:
    """The steps of `DepthProImageProcessor`, which needs torchvision: torch does here what that does.

    Before: rescale, normalise, then interpolate bilinearly without antialiasing. After: multiply by width
    over focal length, interpolate, hold between 1e-4 and 1e4, invert. It takes no focal length; here it does.
    """
    folder, image = checkpoints("depth-pro"), make_pixels(size)
    estimator = load_estimator(f"hf:{folder}")
    (depth,) = estimator.estimate([Frame("a", image, f_px, "given" if f_px else None)])
    pixels = (torch.from_numpy(image).permute(2, 0, 1)[None].double() / 255 - 0.5) / 0.5
    pixels = interpolate(pixels, (128, 128), mode="bilinear", antialias=False)
    inputs = estimator.model.to_input(see(estimator.model, image), in_float64)
    assert (inputs - pixels).abs().max() < 3e-6 + position_error(size) / 0.5
    network = DepthProForDepthEstimation.from_pretrained(folder, dtype=torch.float64).eval()
    with torch.no_grad():
        output = network(pixel_values=inputs)
    reference_f_px = f_px or 0.5 * size[1] / math.tan(0.5 * math.radians(float(output.field_of_view)))
    nearness = output.predicted_depth[None] * size[1] / reference_f_px
    nearness = interpolate(nearness, size, mode="bilinear")[0, 0].clamp(1e-4, 1e4).numpy()
    assert roundings(1 / depth.values.astype(float), nearness) < 16  # of each step: some twelve
    assert depth.f_px == pytest.approx(reference_f_px, rel=1e-6)
    assert depth.f_source == ("given" if f_px else "estimated")


def test_depth_pro_is_what_the_reference_processor_gives(checkpoints: Checkpoints) -> None:
    pytest.importorskip("torchvision")
    from transformers import DepthProImageProcessor

    folder, image = checkpoints("depth-pro"), make_pixels((300, 400))
    processor = DepthProImageProcessor.from_pretrained(folder)
    network = DepthProForDepthEstimation.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        output = network(**processor(images=image, return_tensors="pt"))
    (expected,) = processor.post_process_depth_estimation(output, target_sizes=[(300, 400)])
    (depth,) = load_estimator(f"hf:{folder}").estimate([Frame("a", image)])
    np.testing.assert_allclose(depth.values, expected["predicted_depth"].numpy(), rtol=1e-3)  # in float32


@pytest.mark.usefixtures("in_float64")
def test_native_size_is_metres_at_the_networks_resolution(checkpoints: Checkpoints) -> None:
    folder, image = checkpoints("depth-pro"), make_pixels((131, 97))
    frames = [Frame("known", image, 90.0, "exif"), Frame("unknown", image)]
    full = list(load_estimator(f"hf:{folder}").estimate(frames))
    native = list(load_estimator(f"hf:{folder}", size="native").estimate(frames))
    for large, small in zip(full, native, strict=True):
        side = small.values.shape[0]
        assert small.values.shape == (side, side) and small.full_size == (131, 97)
        assert (small.f_px, small.f_source) == (large.f_px, large.f_source)
        nearness = torch.from_numpy(1 / small.values.astype(float))[None, None]
        resized = interpolate(nearness, (131, 97), mode="bilinear")[0, 0].numpy()
        assert roundings(1 / large.values.astype(float), resized) < 16  # of each step: some fifteen at most


@pytest.mark.parametrize("family", ["dpt", "dpt-hybrid"])
def test_dpt_keeps_the_aspect_ratio_where_transformers_takes_squares(
    family: str, checkpoints: Checkpoints
) -> None:
    model = load_model(f"hf:{checkpoints(family)}", kind="disparity")
    assert model.processed_size(300, 450) == (64, 96)
    wide = model.infer(see(model, make_pixels((300, 450))))[0]
    assert wide.shape == (64, 96)
    square = make_pixels((64, 64))
    beside = np.concatenate([square, square], axis=1)
    assert np.ptp(model.infer(see(model, beside))[0]) > 0


# ---- the batch ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("in_float64")
def test_mixed_sizes_and_cameras_give_what_they_give_alone(checkpoints: Checkpoints) -> None:
    estimator = load_estimator(f"hf:{checkpoints('depth-pro')}", batch_size=3)
    sizes = [(48, 64), (64, 48), (48, 64), (30, 90), (48, 64), (64, 48)]
    frames = [
        Frame(
            str(index), make_pixels(size, index), 60.0 if index % 2 else None, "exif" if index % 2 else None
        )
        for index, size in enumerate(sizes)
    ]
    for frame, depth in zip(frames, estimator.estimate(frames), strict=True):
        (alone,) = estimator.estimate([frame])
        np.testing.assert_allclose(depth.values, alone.values, rtol=1e-6)
        assert depth.f_px == pytest.approx(alone.f_px, rel=1e-6)


def test_each_image_chooses_its_own_domain_in_zoedepth(
    checkpoints: Checkpoints, tmp_path: Path, in_float64: Placement
) -> None:
    """In transformers the images of a batch vote on one."""
    images = [make_pixels((96, 128), seed) for seed in range(4)]
    folder = shutil.copytree(checkpoints("zoedepth"), tmp_path / "zoe")
    network, model = load_reference(folder, torch.float64), load_model(f"hf:{folder}")
    batch = np.concatenate([see(model, each) for each in images])
    pixels = model.to_input(batch, in_float64)
    with torch.no_grad():
        logits = torch.cat([network(pixel_values=each[None]).domain_logits for each in pixels])
        lead = (logits[:, 1] - logits[:, 0]).sort().values
        last = [each for each in network.metric_head.mlp_classifier.modules() if hasattr(each, "bias")][-1]
        last.bias[0] += lead[1:3].mean()  # now two of the four choose either
    network.save_pretrained(folder)
    together = load_model(f"hf:{folder}").infer(batch)
    with torch.no_grad():
        by_vote = network(pixel_values=pixels).predicted_depth.numpy()
        alone = np.concatenate([network(pixel_values=each[None]).predicted_depth.numpy() for each in pixels])
    assert max(roundings(*each) for each in zip(together, alone, strict=True)) < 1.1
    assert max(distance(*each) for each in zip(by_vote, alone, strict=True)) > 1e-2


# ---- the field of view -------------------------------------------------------------------------------------


def test_the_field_of_view_encoder_is_read_only_when_an_image_needs_it(checkpoints: Checkpoints) -> None:
    folder = checkpoints("depth-pro")
    estimator = load_estimator(f"hf:{folder}")
    reference = load_reference(folder)

    def count(*networks: torch.nn.Module) -> int:
        return sum(each.numel() for network in networks for each in network.parameters())

    def count_loaded() -> int:
        return count(estimator.model._network, *estimator.model._fov_networks.values())

    assert isinstance(next(estimator.estimate([Frame("a", make_pixels((48, 64)), 60.0, "exif")])), DepthMap)
    names = [name for name, _ in estimator.model._network.named_parameters()]
    assert not any("fov" in name for name in names)
    assert count_loaded() == count(reference) - count(reference.fov_model)
    assert isinstance(next(estimator.estimate([Frame("b", make_pixels((48, 64)))])), DepthMap)
    assert count_loaded() == count(reference)


def test_a_checkpoint_without_that_encoder_takes_known_focal_lengths_alone(checkpoints: Checkpoints) -> None:
    estimator = load_estimator(f"hf:{checkpoints('depth-pro-without-fov')}")
    known, unknown = estimator.estimate(
        [Frame("a", make_pixels((48, 64)), 60.0, "exif"), Frame("b", make_pixels((48, 64)))]
    )
    assert isinstance(known, DepthMap)
    assert isinstance(unknown, Failure) and "estimates no focal length" in unknown.reason


# ---- precision ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["bfloat16", pytest.param("float16", marks=pytest.mark.slow)])
@pytest.mark.parametrize("family", ["depth-pro", "depth-anything", "dpt-hybrid", "zoedepth"])
def test_half_precision_is_close_and_has_no_steps(
    family: str, precision: str, checkpoints: Checkpoints
) -> None:
    name, frame = f"hf:{checkpoints(family)}", Frame("a", make_pixels((96, 128)))
    (exact,) = load_estimator(name, **options_for(family), size="native").estimate([frame])
    half = load_estimator(name, precision=precision, **options_for(family), size="native")
    (depth,) = half.estimate([frame])
    assert half.model.settings["precision"] == precision
    assert np.abs(depth.values - exact.values).mean() < 0.01 * np.ptp(exact.values)
    assert len(np.unique(depth.values)) > 0.5 * len(np.unique(exact.values))
    again = half.model.infer_float32(see(half.model, frame.image))
    wanted = load_model(name, **options_for(family)).infer(see(half.model, frame.image))
    np.testing.assert_allclose(again, wanted, rtol=1e-3)


def test_what_overflows_in_float16_is_done_again_in_float32(checkpoints: Checkpoints, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoints("depth-pro"), tmp_path / "loud")
    network = load_reference(folder)
    with torch.no_grad():
        network.head.layers[0].weight *= 1e6
        network.head.layers[0].bias *= 1e6
        network.head.layers[1].weight /= 1e6
    network.save_pretrained(folder)
    frames = [Frame("known", make_pixels((48, 64)), 60.0, "exif"), Frame("unknown", make_pixels((48, 64)))]
    half = load_estimator(f"hf:{folder}", precision="float16")
    assert not hasattr(load_estimator(f"hf:{folder}").model, "infer_float32")
    assert isinstance(half.check(half.run(half.stack([half.prepare(frames[0])]))[0]), Exception)
    exact = list(load_estimator(f"hf:{folder}").estimate(frames))
    for depth, wanted in zip(half.estimate(frames), exact, strict=True):
        np.testing.assert_allclose(depth.values, wanted.values, rtol=1e-2)


def test_the_ledger_says_what_was_done_again_in_float32(
    checkpoints: Checkpoints, tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    from cortexia_video import read_ledger

    folder = shutil.copytree(checkpoints("depth-anything"), tmp_path / "loud")
    network = load_reference(folder)
    with torch.no_grad():
        network.head.conv1.weight *= 1e4
        network.head.conv2.weight *= 1e4
    network.save_pretrained(folder)
    make_image(tmp_path / "photos/a.jpg")
    report = estimate(
        tmp_path / "photos", tmp_path / "depth", model=f"hf:{folder}", precision="float16", input_size=70
    )
    assert (report.done, report.failed) == (1, 0)
    (line,) = [line for line in read_ledger(tmp_path / "depth") if line.get("outcome") == "done"]
    assert line["in_float32"] is True


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int8"}, "unknown precision 'int8': use one of auto, float32, bfloat16, float16"),
        ({"device": "gpu"}, "unknown device 'gpu': use auto, cpu, cuda, cuda:1 or mps"),
        ({"device": "cuda:99"}, "device 'cuda:99' cannot be used"),
        ({"normalize": "unit"}, "does not take all of these options: normalize"),
        ({"kind": "metric"}, "gives disparity, not metric: leave `kind` out"),
        ({"input_size": (60, 70)}, "sides that are multiples of 14, not 60x70"),
    ],
)
def test_options_that_cannot_be_are_named(options: dict, message: str, checkpoints: Checkpoints) -> None:
    with pytest.raises(ModelLoadError, match=message):
        load_model(f"hf:{checkpoints('depth-anything')}", **options)


# ---- checkpoints -------------------------------------------------------------------------------------------


@pytest.fixture
def copy(checkpoints: Checkpoints, tmp_path: Path) -> Callable[[str], Path]:
    return lambda family: shutil.copytree(checkpoints(family), tmp_path / family)


def change_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def drop_weight(folder: Path, name: str) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights[name]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda at: (at / "config.json").unlink(), "holds no config.json"),
        (lambda at: (at / "config.json").write_text("{"), r"config.json, line 1: not JSON"),
        (
            lambda at: (at / "model.safetensors").rename(at / "model.bin"),
            "holds model.bin and no .safetensors",
        ),
        (
            lambda at: (at / "model.safetensors").write_bytes(b"no"),
            "cannot be loaded by transformers: .*: damaged or half written; download it again",
        ),
        (
            lambda at: drop_weight(at, "head.conv3.bias"),
            "1 weight missing, or of another shape, such as head.conv3.bias",
        ),
        (lambda at: change_json(at / "config.json", auto_map={"AutoModel": "m.M"}), "wants code of its own"),
        (lambda at: change_json(at / "config.json", model_type="vit"), "of type 'vit', which is no depth"),
        (lambda at: change_json(at / "config.json", model_type="chmv2"), "height of trees"),
        (lambda at: change_json(at / "preprocessor_config.json", resample=1), "resamples by filter 1"),
        (
            lambda at: change_json(at / "preprocessor_config.json", rescale_factor=1.0),
            "rescales pixels by 1.0",
        ),
    ],
)
def test_unusable_checkpoints_say_why(
    spoil: Callable[[Path], object], message: str, copy: Callable[[str], Path]
) -> None:
    folder = copy("depth-anything")
    spoil(folder)
    with pytest.raises(ModelLoadError, match=message):
        load_model(f"hf:{folder}")


def test_another_network_in_the_place_of_a_name_is_refused(
    checkpoints: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_cache(checkpoints("zoedepth"), "depth-anything/Depth-Anything-V2-Small-hf", "main", tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(
        ModelLoadError, match="of type zoedepth, and depth-anything-v2-small is depth_anything: another"
    ):
        load_model("depth-anything-v2-small")


def test_weights_that_nothing_runs_may_be_missing(copy: Callable[[str], Path]) -> None:
    folder = copy("depth-anything")
    drop_weight(folder, "neck.fusion_stage.layers.0.residual_layer1.convolution1.weight")
    assert load_model(f"hf:{folder}").kind == "disparity"


def test_without_a_preprocessor_config_the_published_values_count(copy: Callable[[str], Path]) -> None:
    for family, size in (("depth-anything", (518, 686)), ("dpt", (384, 512)), ("zoedepth", (384, 512))):
        folder = copy(family)
        (folder / "preprocessor_config.json").unlink()
        model = load_model(f"hf:{folder}", **options_for(family))
        assert model.processed_size(1536, 2048) == size


def test_a_dpt_checkpoint_does_not_tell_its_kind(checkpoints: Checkpoints) -> None:
    with pytest.raises(ModelLoadError, match="does not say what its numbers mean: give it"):
        load_model(f"hf:{checkpoints('dpt')}")


def test_the_digest_is_the_weights_and_settings_tell_the_rest(copy: Callable[[str], Path]) -> None:
    folder = copy("depth-anything-metric")
    first = load_model(f"hf:{folder}")
    change_json(folder / "config.json", max_depth=80)
    second = load_model(f"hf:{folder}")
    assert first.weights_digest == second.weights_digest
    assert first.settings != second.settings
    save_checkpoint("depth-anything-metric", folder, seed=1)
    assert load_model(f"hf:{folder}").weights_digest != first.weights_digest


def test_a_checkpoint_of_the_hub_is_found_in_its_cache(use_hub_cache: Path) -> None:
    model = load_model("hf:apple/DepthPro-hf")
    assert (model.name, model.settings["revision"]) == ("hf:apple/DepthPro-hf", COMMIT)
    assert model.weights_digest == load_model("depth-pro").weights_digest
    assert open_checkpoint("apple/DepthPro-hf@main").revision == COMMIT
    assert load_model("hf:Intel/dpt-large@bc15f29aa3a80d532f2ed650b5e16ac48d8958f9").kind == "disparity"


@pytest.mark.parametrize("name", ["depth-pro", "hf:apple/DepthPro-hf"])
def test_offline_one_line_says_what_to_do(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        ModelLoadError, match=r"'hf download apple/DepthPro-hf'.*`model='hf:FOLDER'`"
    ) as caught:
        load_model(name)
    assert "\n" not in str(caught.value)


def test_a_download_that_was_cut_off_is_not_taken_for_whole(
    hub_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = shutil.copytree(
        hub_cache / "hub/models--apple--DepthPro-hf", tmp_path / "models--apple--DepthPro-hf"
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    load_model("depth-pro")
    (cached / "snapshots" / COMMIT / "config.json").unlink()
    with pytest.raises(ModelLoadError, match="is not on this machine and cannot be downloaded"):
        load_model("depth-pro")


@pytest.mark.parametrize("name", ["hf:nowhere", "hf:a/b/c", "hf:"])
def test_what_is_no_checkpoint_is_named(name: str) -> None:
    with pytest.raises(ModelLoadError, match="no such folder: .*; nor is it a hub id like org/name"):
        load_model(name)


# ---- terms -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("front", "licence"),
    [
        ("---\nlicense: apache-2.0\n---\n", "apache-2.0"),
        ("---\ntags:\n- a\nlicense: 'cc-by-nc-4.0'\n---\ntext", "cc-by-nc-4.0"),
        ("---\nbase: x\n---\nlicense: mit", None),
        ("license: mit", None),
        (None, None),
    ],
)
def test_a_folders_licence_is_what_its_readme_names(
    front: str | None, licence: str | None, tmp_path: Path
) -> None:
    if front is not None:
        (tmp_path / "README.md").write_text(front)
    assert read_licence(f"hf:{tmp_path}") == licence


def test_commercial_only_takes_what_is_known_to_be_free(
    copy: Callable[[str], Path], use_hub_cache: Path, tmp_path: Path
) -> None:
    folder = copy("depth-anything")
    for name in ("compact", "depth-anything-v2-small", "zoedepth", f"hf:{folder}", "hf:apple/DepthPro-hf"):
        assert load_estimator(name, commercial_only=True).model.kind  # the test's README says Apache-2.0
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    for name, said in (
        ("depth-pro", "apple-amlr"),
        ("depth-anything-v2-large", "CC-BY-NC-4.0"),
        (f"hf:{folder}", "cc-by-nc-4.0"),
        (f"onnx:{write_mean_network(tmp_path / 'net.onnx')}", "unknown"),
    ):
        with pytest.raises(ModelLoadError, match=rf"is refused \(`commercial_only`\).* is {said}"):
            load_estimator(name, commercial_only=True)
    (folder / "README.md").unlink()
    with pytest.raises(ModelLoadError, match="is unknown"):
        load_estimator(f"hf:{folder}", commercial_only=True)


def test_a_run_refuses_before_anything_is_written(tmp_path: Path, make_image: Callable[..., Path]) -> None:
    make_image(tmp_path / "photos/a.jpg")
    command = [sys.executable, "-m", "cortexia_video", "estimate", "photos", "--output", "depth"]
    ran = subprocess.run(
        [*command, "--model", "depth-pro", "--commercial-only"], capture_output=True, text=True, cwd=tmp_path
    )
    assert ran.returncode == 2
    assert "apple-amlr (research only)" in ran.stderr and len(ran.stderr.splitlines()) == 1
    assert not (tmp_path / "depth").exists()


def test_a_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from cortexia_video.errors import MissingExtraError

    monkeypatch.setitem(sys.modules, "transformers", None)
    for name in [name for name in sys.modules if name.startswith("cortexia_video.models.")]:
        if name.rpartition(".")[2] in ("huggingface", "depth_pro", "transformers_network"):
            monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtraError, match=r"install '.*\[torch\]'"):
        load_model("depth-pro")


# ---- the specification's script ----------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path: Path, make_image: Callable[..., Path]) -> Path:
    make_image(tmp_path / "photos/plain.jpg", (48, 64))
    with Image.open(make_image(tmp_path / "photos/camera.jpg", (64, 48))) as image:
        exif = image.getexif()
        exif.get_ifd(0x8769)[0xA405] = 50  # mm, 35 mm equivalent
        image.save(tmp_path / "photos/camera.jpg", exif=exif)
    return tmp_path


def run_script(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts/batch_depth_estimation.py"), "--folder", "./photos"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, cwd=folder, timeout=HANG_S)


def test_the_scripts_default_is_depth_pro_in_metres(photos: Path, use_hub_cache: Path) -> None:
    ran = run_script(photos)
    assert (ran.returncode, leave_out_progress(ran.stderr)) == (0, "")
    assert "Saved ./photos/plain_depth_new.npy\n" in ran.stdout
    assert (
        ran.stdout.splitlines()[-1]
        == "2 found, 2 saved, 0 skipped, 0 failed; depth-pro gives metric, larger is farther"
    )
    estimator = DepthEstimator(load_model("depth-pro"))
    for name, f_px in (("plain", None), ("camera", 50 * 80 / math.hypot(36, 24))):
        with Image.open(photos / f"photos/{name}.jpg") as image:
            frame = Frame(name, np.asarray(image), f_px, "exif" if f_px else None)
        (depth,) = estimator.estimate([frame])
        saved = np.load(photos / f"photos/{name}_depth_new.npy")
        assert saved.dtype == np.float32
        np.testing.assert_allclose(saved, depth.values, rtol=1e-3)  # decoders of JPEG differ by a level or so


@pytest.mark.slow
def test_the_script_takes_a_checkpoints_folder(photos: Path, checkpoints: Checkpoints) -> None:
    ran = run_script(photos, "--model", f"hf:{checkpoints('depth-pro')}", "--save_format", "png")
    assert (ran.returncode, leave_out_progress(ran.stderr)) == (0, "")
    assert ran.stdout.splitlines()[-1].endswith("hf:depth-pro gives metric, larger is farther")
