"""Video Depth Anything: the authors' numbers, of windows, clips and images, and checkpoints that are none."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
from torch_checkpoints import make_video_depth_anything

from cortexia_video import load_estimator
from cortexia_video.errors import ModelLoadError
from cortexia_video.models.registry import load_model
from cortexia_video.video.windows import Stitch, fill_window

Checkpoints = Callable[[str], Path]
FILE, METRIC = "video_depth_anything_vits.pth", "metric_video_depth_anything_vits.pth"
SIZE = (42, 56)

# Of the authors' code (DepthAnything/Video-Depth-Anything at 4f5ae23, in development), with the weights of
# `make_video_depth_anything`, which follow from their names: `forward` in float64, and `infer_video_depth`.
OF_WINDOW = [
    [
        [1.09529634, 0.51022458, 0.0, 0.87333885],
        [0.82303192, 1.47899008, 3.41245106, 4.13712068],
        [0.41953144, 0.47578286, 1.19862985, 2.78529887],
    ],
    [
        [1.98316373, 0.84013549, 0.0, 0.0],
        [0.25548866, 2.73772456, 5.52943497, 3.23955507],
        [0.15851573, 0.69418165, 0.90633729, 1.92523177],
    ],
    [
        [3.04129791, 0.0, 0.0, 0.0],
        [0.01976068, 1.93644308, 3.47332205, 2.98101642],
        [1.13656223, 1.49616121, 1.879591, 1.13633559],
    ],
]
OF_IMAGE = [
    [1.05721466, 2.73856303, 1.24834409, 3.0294827],
    [0.0, 0.0, 3.52040805, 2.76839414],
    [1.40106577, 1.18338918, 3.5154349, 2.04045739],
]
OF_CLIP = [  # of the frames 0, 25, 31, 40 and 69 of 70: four windows
    [
        [1.300114, 0.0, 0.0, 0.0],
        [0.244575, 0.954459, 5.911516, 5.743124],
        [0.8039, 1.566255, 2.55524, 4.009454],
    ],
    [
        [0.11398, 0.11398, 0.148368, 0.537232],
        [0.195112, 1.387524, 3.86668, 4.03776],
        [0.220265, 0.830241, 1.495905, 3.232076],
    ],
    [
        [0.797863, 0.797863, 1.59495, 3.363836],
        [0.797863, 1.142588, 4.063294, 4.806596],
        [0.797863, 2.142538, 2.275453, 2.012487],
    ],
    [
        [1.155226, 1.32801, 1.478603, 4.206939],
        [1.324656, 0.797863, 0.797863, 3.669553],
        [2.037605, 2.278549, 0.797863, 0.797863],
    ],
    [
        [1.80653, 1.764241, 1.820467, 1.873876],
        [1.624771, 1.680455, 2.005127, 1.580096],
        [1.742635, 1.97236, 1.826234, 1.843023],
    ],
]
SAMPLED = np.s_[::20, ::18]


def draw(count: int) -> np.ndarray:
    """Return images (count, 42, 56, 3) in which two waves move."""
    row, column, channel, frame = np.mgrid[: SIZE[0], : SIZE[1], :3, :count].astype(float)
    waves = 60 * np.sin(column / 9 + channel + frame / 5) + 60 * np.cos(row / 7 - channel + frame / 11)
    return np.rint(127.5 + waves).astype(np.uint8).transpose(3, 0, 1, 2)


@pytest.fixture
def copy(checkpoints: Checkpoints, tmp_path: Path) -> Callable[[str], Path]:
    """Return copy(file): a folder of a checkpoint that may be changed."""
    return lambda file: Path(shutil.copytree(checkpoints(file), tmp_path / "copy"))


def test_the_network_gives_the_authors_numbers() -> None:
    pixels = np.random.default_rng(0).standard_normal((32, 3, *SIZE)).astype(np.float32)
    network = make_video_depth_anything()
    with torch.no_grad():
        window, image = network(torch.from_numpy(pixels)), network(torch.from_numpy(pixels[:1]))
    assert window.shape == (32, *SIZE) and image.shape == (1, *SIZE)
    np.testing.assert_allclose(window[[0, 13, 31]][:, *SAMPLED], OF_WINDOW, atol=2e-4)
    np.testing.assert_allclose(image[0, *SAMPLED], OF_IMAGE, atol=2e-4)


def test_a_clip_gets_the_authors_depth(checkpoints: Checkpoints) -> None:
    model = load_model(f"hf:{checkpoints(FILE)}", input_size=SIZE)
    stitch, carried, rest, found = Stitch(model.window, model.kind), [], list(draw(70)), []
    while len(found) < 70:
        pixels = fill_window(model.window, carried, rest[: 32 - len(carried)])
        rest, carried = rest[32 - len(carried) :], pixels[[*model.window.carried]]
        found += [*stitch.add(model.infer(pixels[None])[0].reshape(32, *SIZE))]
    np.testing.assert_allclose(np.array(found)[[0, 25, 31, 40, 69]][:, *SAMPLED], OF_CLIP, atol=5e-4)


@pytest.mark.parametrize(
    ("image", "seen"),  # by the authors' `Resize`, as `infer_video_depth` calls it
    [
        ((480, 640), (518, 686)),
        ((1080, 1920), (518, 924)),
        ((1920, 1080), (924, 518)),
        ((800, 1920), (378, 910)),
        ((436, 1024), (392, 924)),
        ((100, 777), (112, 868)),
        ((300, 200), (784, 518)),
        ((1, 1), (518, 518)),
    ],
)
def test_the_short_side_becomes_518_and_less_of_what_is_long(
    image: tuple[int, int], seen: tuple[int, int], checkpoints: Checkpoints
) -> None:
    model = load_model(f"hf:{checkpoints(FILE)}")
    assert model.processed_size(*image) == seen
    assert load_model(f"hf:{checkpoints(FILE)}", input_size=(56, 70)).processed_size(*image) == (56, 70)


def test_an_image_is_a_clip_of_it_alone(checkpoints: Checkpoints) -> None:
    estimator = load_estimator(f"hf:{checkpoints(FILE)}", input_size=SIZE)
    image = draw(1)[0]
    window = estimator.model.infer(np.repeat(image[None, None], 32, axis=1))
    np.testing.assert_allclose(estimator(image).values, window[0, : SIZE[0]], atol=1e-4)


def test_the_rows_load_and_say_what_they_are(use_hub_cache: Path) -> None:
    relative, metric = (load_model(f"video-depth-anything-{each}small") for each in ("", "metric-"))
    assert (relative.kind, metric.kind) == ("disparity", "metric")
    assert relative.max_batch == 1 and relative.window.frames == 32
    assert relative.settings["input_size"] == "518x518" and "config_sha256" not in relative.settings


def test_half_precision_is_close(checkpoints: Checkpoints) -> None:
    exact, half = (
        load_estimator(f"hf:{checkpoints(FILE)}", input_size=SIZE, precision=each)(draw(1)[0]).values
        for each in ("float32", "bfloat16")
    )
    assert np.abs(half - exact).mean() < 0.03 * np.ptp(exact)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "metric"}, "gives disparity, not metric: leave `kind` out"),
        ({"input_size": (56, 71)}, "multiples of 14, not 56x71"),
    ],
)
def test_options_that_do_not_fit(options: dict, message: str, checkpoints: Checkpoints) -> None:
    with pytest.raises(ModelLoadError, match=message):
        load_model(f"hf:{checkpoints(FILE)}", **options)


def test_it_is_not_exported_and_run_by_torch_alone(checkpoints: Checkpoints, tmp_path: Path) -> None:
    model = load_model(f"hf:{checkpoints(FILE)}", input_size=SIZE)
    with pytest.raises(ModelLoadError, match="sees 32 frames at once, and a graph one"):
        model.export(tmp_path / "a.onnx", {})
    pytest.importorskip("openvino")
    with pytest.raises(ModelLoadError, match="run by torch alone"):
        load_model(f"hf:{checkpoints(FILE)}", backend="openvino")


def test_each_weight_has_its_place(copy: Callable[[str], Path]) -> None:
    folder = copy(FILE)
    weights = torch.load(folder / FILE)
    key = "head.motion_modules.2.temporal_transformer.transformer_blocks.0.attention_blocks.1.to_k.weight"
    for change, message in (
        ({key: None}, f"{key} is missing"),
        ({key: torch.zeros(3, 3)}, r"to_k.weight is \(3, 3\), not \(32, 32\)"),
        ({"head.more": torch.zeros(1)}, "head.more belongs to nothing"),
        ({"head.projects.0.bias": None}, "holds no Video Depth Anything: it lacks 'head.projects.0.bias'"),
        ({"pretrained.pos_embed": None}, "holds no DINOv2: 'pretrained.pos_embed'"),
        ({"head.more": "text"}, "holds something else than weights"),
    ):
        changed = {name: each for name, each in (weights | change).items() if each is not None}
        torch.save(changed, folder / FILE)
        with pytest.raises(ModelLoadError, match=message):
            load_model(f"hf:{folder}")


def test_a_file_that_is_cut_off_or_of_another_model(copy: Callable[[str], Path], use_hub_cache: Path) -> None:
    folder = copy(METRIC)
    (snapshot,) = use_hub_cache.glob("hub/models--depth-anything--Video-Depth-Anything-Small/snapshots/*")
    assert (snapshot / FILE).exists() and load_model(f"hf:{folder}").kind == "metric"
    (folder / METRIC).write_bytes((folder / METRIC).read_bytes()[:10_000])
    with pytest.raises(ModelLoadError, match="may be cut off"):
        load_model(f"hf:{folder}")
    (folder / METRIC).unlink()
    with pytest.raises(ModelLoadError, match="no config.json"):
        load_model(f"hf:{folder}")
