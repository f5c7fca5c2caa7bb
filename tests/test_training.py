"""The network is trained as the recipe says, resumes exactly, and its ONNX file gives what torch gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # small tensors: more threads only wait for each other
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

import onnxruntime as ort  # noqa: E402
from PIL import Image  # noqa: E402

from cortexia_video.errors import InputError, ModelLoadError  # noqa: E402
from cortexia_video.training.batches import SHORT_SIDE, draw_batch, recolour  # noqa: E402
from cortexia_video.training.export import (  # noqa: E402
    compact_metadata,
    export_onnx,
    fold_batch_norm,
    round_weights_to_float16,
)
from cortexia_video.training.loop import Recipe, indices_of_step, start_training, train  # noqa: E402
from cortexia_video.training.losses import (  # noqa: E402
    LossWeights,
    align,
    depth_loss,
    gradient_loss,
    log_depth_loss,
    normalise,
)
from cortexia_video.training.network import STRIDE, DepthNetwork, batch_norm, no_norm  # noqa: E402
from cortexia_video.training.pool import Pool, PoolPlan, load_pool, make_pool  # noqa: E402
from cortexia_video.training.pretrained import load_mobilenet, read_convolutions  # noqa: E402

MOBILENET = Path(__file__).parents[2] / "shared/data/models/mobilenet_v2/tf2_mobilenet_v2_1.0_224_ptq.tflite"
SHIPPED = Path(__file__).parents[1] / "cortexia_video/models/compact.onnx"
SIZES = [(1, 32, 32), (1, 192, 256), (3, 64, 160), (2, 320, 96), (1, 192, 640)]


@pytest.fixture(scope="module")
def network() -> DepthNetwork:
    """A network with weights and batch statistics that are not the initial ones."""
    torch.manual_seed(3)
    network = DepthNetwork(batch_norm).train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(4, 3, 64, 96))
    return network.eval()


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("export") / "deep" / "compact.onnx"
    copy = DepthNetwork(batch_norm)
    copy.load_state_dict(network.state_dict())
    export_onnx(copy, path, compact_metadata(192, "a test"))
    return path


@pytest.fixture(scope="module")
def pool() -> Pool:
    """Pictures whose disparity is their brightness: something that can be learnt in a few steps."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0.2, 1, 48)[:, None] * np.ones((48, 64))
    disparities = np.stack([ramp * rng.uniform(0.5, 2) for _ in range(10)])
    images = (disparities / disparities.max() * 255).astype(np.uint8)[..., None].repeat(3, -1)
    return Pool(images, disparities.astype(np.float16))


def run(path: Path, image: np.ndarray) -> np.ndarray:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": image})[0]


# --- network


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 32, 64), (2, 96, 32)])
def test_disparity_has_the_size_of_the_image(network, batch, height, width):
    with torch.no_grad():
        assert network(torch.rand(batch, 3, height, width)).shape == (batch, height, width)


def test_a_picture_does_not_depend_on_its_batch_mates(network):
    images = torch.rand(3, 3, 64, 64)
    with torch.no_grad():
        together, alone = network(images), network(images[1:2])
    assert torch.allclose(together[1], alone[0], atol=1e-5)


# --- export


@pytest.mark.parametrize(("batch", "height", "width"), SIZES)
def test_onnx_gives_what_torch_gives(network, exported, batch, height, width):
    """Nearly, with the trained weights; but for rounding, with the weights that the file holds."""
    image = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(height))
    stored = DepthNetwork(batch_norm).eval()
    stored.load_state_dict(network.state_dict())
    fold_batch_norm(stored)
    round_weights_to_float16(stored)
    with torch.no_grad():
        trained, rounded = network(image).numpy(), stored(image).numpy()
    found = run(exported, image.numpy())
    assert found.shape == (batch, height, width)
    assert found.dtype == np.float32
    assert np.abs(found - trained).max() < 5e-3 * np.abs(trained).max(), "float16 weights cost little"
    assert found == pytest.approx(rounded, rel=1e-4, abs=1e-5)


def test_the_file_keeps_its_contract(exported):
    model = onnx.load(exported)
    onnx.checker.check_model(model, full_check=True)
    (image,), (disparity,) = model.graph.input, model.graph.output
    assert (image.name, disparity.name) == ("image", "disparity")
    for value, free in ((image, (0, 2, 3)), (disparity, (0, 1, 2))):
        dims = value.type.tensor_type.shape.dim
        assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        assert [index for index, dim in enumerate(dims) if not dim.HasField("dim_value")] == list(free)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata == compact_metadata(192, "a test")
    assert exported.stat().st_size < 8_000_000
    assert list(exported.parent.iterdir()) == [exported], "no partial file is left"


def test_the_shipped_model_is_one_of_these():
    model = onnx.load(SHIPPED)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata | {"cortexia.source": ""} == compact_metadata(SHORT_SIDE, "")
    assert "MobileNetV2" in metadata["cortexia.source"]
    assert SHIPPED.stat().st_size <= 8_000_000
    large = [each for each in model.graph.initializer if np.prod(each.dims) >= 256]
    assert {each.data_type for each in large} == {onnx.TensorProto.FLOAT16}
    image = np.random.default_rng(0).random((2, 3, 64, 96), np.float32)
    assert np.isfinite(run(SHIPPED, image)).all()


# --- pretrained encoder


@pytest.fixture
def mobilenet() -> Path:
    pytest.importorskip("tflite")
    if not MOBILENET.exists():
        pytest.skip(f"{MOBILENET} is not here")
    return MOBILENET


def test_mobilenet_fills_the_encoder_in_order(mobilenet):
    network = DepthNetwork(no_norm)
    load_mobilenet(network.encoder, mobilenet)
    found = read_convolutions(mobilenet)
    convolutions = list(network.encoder.convolutions())
    assert len(found) == 53 and len(convolutions) == 51  # the last two are the classifier's
    for convolution, (weight, bias) in zip(convolutions, found, strict=False):
        assert np.array_equal(convolution.weight.detach().numpy(), weight)
        assert np.array_equal(convolution.bias.detach().numpy(), bias)


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("kitten-on-lawn.jpg", {282, 283, 284, 286}),  # cats; ImageNet's classes from 1, 0 is background
        ("oakland-zoo-otters.jpg", {361}),
        ("fragrant-chamomile.jpg", {986}),  # daisy
    ],
)
def test_the_encoder_recognises_what_it_was_trained_on(mobilenet, name, classes):
    """With its own last two layers, it names photographs: axes, scales, padding and input range are right."""
    path = MOBILENET.parents[2] / "photos" / "budgie-backgrounds" / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    network = DepthNetwork(no_norm)
    load_mobilenet(network.encoder, mobilenet)
    image = np.array(Image.open(path).convert("RGB").resize((224, 224)), np.float32)
    (widen, widen_bias), (classify, classify_bias) = map(as_matrix, read_convolutions(mobilenet)[51:])
    with torch.no_grad():
        coarsest = network.encoder(torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1)[0]
    pixels = coarsest[0].flatten(1)
    features = (widen @ pixels + widen_bias[:, None]).clamp(0, 6).mean(1)
    assert int((classify @ features + classify_bias).argmax()) in classes


def as_matrix(layer: tuple[np.ndarray, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    weight, bias = layer
    return torch.from_numpy(weight[:, :, 0, 0]), torch.from_numpy(bias)


def test_a_file_that_is_no_mobilenet_is_refused(tmp_path):
    pytest.importorskip("tflite")
    path = tmp_path / "x.tflite"
    path.write_bytes(b"not a model at all")
    with pytest.raises(ModelLoadError, match="x.tflite is not a TensorFlow Lite file"):
        load_mobilenet(DepthNetwork(no_norm).encoder, path)


# --- losses


def test_losses_do_not_see_scale_and_shift():
    target = torch.rand(2, 32, 48) + 0.2
    assert depth_loss(3 * target + 5, target, LossWeights()) == pytest.approx(0, abs=2e-4)


def test_losses_see_errors():
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(2, 32, 48, generator=generator) + 0.2
    off = target + 0.1 * torch.rand(2, 32, 48, generator=generator)
    further_off = target + 0.5 * torch.rand(2, 32, 48, generator=generator)
    weights = LossWeights()
    assert 0.01 < depth_loss(off, target, weights) < depth_loss(further_off, target, weights)


def test_normalise_gives_median_zero_and_deviation_one():
    normal = normalise(torch.rand(3, 31, 33) * 7 - 2)
    assert normal.flatten(1).median(1).values.abs().max() < 1e-6
    assert normal.flatten(1).abs().mean(1) == pytest.approx([1, 1, 1])


def test_alignment_of_the_loss_is_that_of_the_evaluation():
    from cortexia_video.evaluation.alignment import fit_scale_and_shift

    disparity, target = torch.rand(1, 9, 11), torch.rand(1, 9, 11)
    known = torch.rand(1, 9, 11) < 0.6
    scale, shift = fit_scale_and_shift(disparity[0].numpy(), target[0].numpy(), known[0].numpy())
    expected = scale * disparity + shift
    assert torch.allclose(align(disparity, target, known.float()), expected, atol=1e-3)


def test_sky_does_not_count_as_depth():
    target = torch.rand(1, 16, 16) + 0.2
    disparity = target.clone()
    target[:, :4] = 0
    disparity[:, :4] = 9
    assert log_depth_loss(disparity, target) == pytest.approx(0, abs=1e-4)


def test_gradient_loss_of_a_ramp_is_its_slope():
    ramp = torch.arange(16.0).repeat(16, 1)[None]
    assert gradient_loss(ramp) == pytest.approx(1 + 2 + 4 + 8)


def test_loss_of_a_flat_or_broken_target_is_finite():
    for target in (torch.zeros(1, 16, 16), torch.ones(1, 16, 16)):
        disparity = torch.rand(1, 16, 16, requires_grad=True)
        loss = depth_loss(disparity, target, LossWeights())
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(disparity.grad).all()


# --- batches


def test_batches_are_ready_for_the_network(pool):
    for seed in range(8):
        batch = draw_batch(pool, np.array([0, 3]), np.random.default_rng(seed))
        count, channels, height, width = batch.image.shape
        assert (count, channels) == (2, 3)
        assert min(height, width) == SHORT_SIDE and height % STRIDE == width % STRIDE == 0
        assert batch.disparity.shape == (2, height, width)
        assert batch.image.min() >= 0 and batch.image.max() <= 1
        known = np.unique(pool.disparities[[0, 3]].astype(np.float32))
        assert np.isin(batch.disparity.numpy(), known).all(), "depth is never interpolated across edges"


def test_a_batch_depends_on_its_generator_only(pool):
    first, again = (draw_batch(pool, np.array([1, 2]), np.random.default_rng(4)) for _ in range(2))
    assert torch.equal(first.image, again.image) and torch.equal(first.disparity, again.disparity)


def test_image_and_disparity_are_cut_alike():
    """Disparity that equals brightness still does after crop and mirror."""
    rng = np.random.default_rng(0)
    values = np.sort(rng.random((40, 60)), axis=1)
    pool = Pool(
        (values * 255).astype(np.uint8)[None, ..., None].repeat(3, -1), values[None].astype(np.float16)
    )
    batch = draw_batch(pool, np.array([0]), np.random.default_rng(3))
    grey = batch.image[0].mean(0).flatten()
    assert torch.corrcoef(torch.stack([grey, batch.disparity[0].flatten()]))[0, 1] > 0.9


def test_recolouring_keeps_the_range():
    image = torch.rand(4, 3, 8, 8)
    changed = recolour(image, np.random.default_rng(0))
    assert changed.shape == image.shape and not torch.equal(changed, image)
    assert changed.min() >= 0 and changed.max() <= 1


# --- pool


def test_a_pool_is_rendered_once_and_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr("cortexia_video.training.pool.SHARD_SIZE", 2)
    plan = PoolPlan(count=4, height=16, width=24)
    pool = make_pool(tmp_path, plan, workers=1)
    assert pool.images.shape == (4, 16, 24, 3) and pool.disparities.shape == (4, 16, 24)
    assert np.isfinite(pool.disparities).all() and (pool.disparities >= 0).all()
    kept, lost = sorted(tmp_path.glob("seed_*.npz"))
    written = kept.stat().st_mtime_ns
    lost.unlink()
    (tmp_path / "seed_000002.partial").write_bytes(b"half a shard")
    again = make_pool(tmp_path, plan, workers=1)
    assert np.array_equal(again.images, pool.images)
    assert kept.stat().st_mtime_ns == written, "a shard that is there is not rendered again"
    assert not list(tmp_path.glob("*.partial"))
    assert np.array_equal(load_pool(tmp_path, plan).disparities, pool.disparities)


def test_a_pool_of_another_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("cortexia_video.training.pool.SHARD_SIZE", 1)
    make_pool(tmp_path, PoolPlan(1, 16, 24), workers=1)
    with pytest.raises(InputError, match="'width': 24"):
        make_pool(tmp_path, PoolPlan(1, 16, 32), workers=1)


# --- loop

RECIPE = Recipe(steps=5, batch_size=2, warm_up_steps=2, checkpoint_steps=2)


def start(recipe: Recipe = RECIPE):
    torch.manual_seed(0)
    return start_training(DepthNetwork(batch_norm), recipe)


def test_training_resumes_to_the_same_losses_and_weights(pool, tmp_path):
    whole = start()
    expected = train(whole, pool, tmp_path / "whole.pt").state_dict()
    stopped = start()
    train(stopped, pool, tmp_path / "stopped.pt", should_stop=lambda: stopped.step == 3)
    assert len(stopped.losses) == 3
    torch.manual_seed(99)
    resumed = start_training(DepthNetwork(batch_norm), RECIPE)
    found = train(resumed, pool, tmp_path / "stopped.pt").state_dict()
    assert resumed.losses == whole.losses
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_finished_training_is_not_repeated(pool, tmp_path):
    recipe = replace(RECIPE, steps=1)
    first = train(start(recipe), pool, tmp_path / "c.pt").state_dict()
    written = (tmp_path / "c.pt").stat().st_mtime_ns
    again = train(start(recipe), pool, tmp_path / "c.pt").state_dict()
    assert (tmp_path / "c.pt").stat().st_mtime_ns == written
    assert all(torch.equal(again[name], value) for name, value in first.items())


def test_a_checkpoint_of_another_recipe_is_refused(pool, tmp_path):
    train(start(replace(RECIPE, steps=1)), pool, tmp_path / "c.pt")
    with pytest.raises(InputError, match="'steps': 1"):
        train(start(replace(RECIPE, steps=2)), pool, tmp_path / "c.pt")


def test_each_pass_sees_every_scene_once():
    seen = np.concatenate([indices_of_step(step, 3, 7, seed=0) for step in range(7)])
    passes = seen.reshape(3, 7)
    assert all(sorted(one) == list(range(7)) for one in passes)
    assert not np.array_equal(passes[0], passes[1])
    assert not np.array_equal(seen[:3], indices_of_step(0, 3, 7, seed=1))


def test_learning_rate_warms_up_and_fades():
    recipe = Recipe(steps=1000, warm_up_steps=10)
    rates = [recipe.rate_at(step) for step in range(1000)]
    assert rates[0] < 0.2 * rates[9]
    assert max(rates) == pytest.approx(1, abs=0.01)
    assert rates[-1] < 0.01


# --- the command


def test_one_command_makes_a_model_from_nothing(tmp_path):
    command = [sys.executable, "-m", "cortexia_video.training", "--output", str(tmp_path / "model.onnx")]
    command += ["--work", str(tmp_path / "work"), "--scenes", "1", "--steps", "1", "--workers", "1"]
    plan = {"height": 256, "width": 336, "first_seed": 0}
    folder = tmp_path / "work" / "pool"
    folder.mkdir(parents=True)
    (folder / "pool.json").write_text(json.dumps(plan))
    small = np.ones((100, 256, 336))
    np.savez(
        folder / "seed_000000.npz",
        images=np.zeros((100, 256, 336, 3), np.uint8),
        disparities=(small * np.linspace(0.1, 1, 336)).astype(np.float16),
    )
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    model = onnx.load(tmp_path / "model.onnx")
    source = {entry.key: entry.value for entry in model.metadata_props}["cortexia.source"]
    assert "12 crops of 100 procedural scenes" in source
    assert "noise" in source
