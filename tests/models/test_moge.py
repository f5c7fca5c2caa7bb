"""MoGe-2: the authors' numbers, known and estimated focal lengths, and checkpoints that are none."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
from moge_checkpoints import TOKENS, make_moge, save_moge
from PIL import Image

from cortexia_video import DepthEstimator, DepthMap, Frame, export, load_estimator
from cortexia_video.errors import ModelLoadError
from cortexia_video.models.point_maps import fit_tokens
from cortexia_video.models.registry import load_model
from cortexia_video.models.torch.device import Placement

SIZE = (96, 128)
# Of the authors' own code (microsoft/MoGe at 0744441, in development): `MoGeModel(**model_config).double()` with the
# weights of `make_moge()`, `infer` with num_tokens=48, of the image that `draw` gives, fed to it in the 8 bits that
# our filter has at 84 x 112. Image and network's output are of one size, so nothing is enlarged. Their solver was run
# to the end (SciPy's `least_squares` with tolerances of 1e-15); as they call it, it stops at a thousandth of the sum of
# squares, which is 2e-4 of the depth off here.
F_PX = 0.5931351780891418 * 128
ESTIMATED = [
    [3.667814016342163, 3.3813815116882324, 2.7710137367248535, 2.7176260948181152],
    [4.138594150543213, 3.332841157913208, 2.861417293548584, 2.557077169418335],
    [3.8657565116882324, 3.3019657135009766, 2.8638367652893066, 2.592435359954834],
    [3.771212339401245, 3.1139414310455322, 2.832994222640991, 2.6143155097961426],
]
WITH_50_DEGREES = [
    [6.251781940460205, 5.9653496742248535, 5.354981899261475, 5.301594257354736],
    [6.722561836242676, 5.91680908203125, 5.445385456085205, 5.141045093536377],
    [6.449724197387695, 5.885933876037598, 5.447804927825928, 5.176403522491455],
    [6.355180740356445, 5.697909355163574, 5.416962146759033, 5.198283672332764],
]
NORMALS = [
    [
        [0.23570939898490906, -0.8216391205787659, -0.518989622592926],
        [-0.6048346161842346, -0.20873279869556427, 0.768508791923523],
    ],
    [
        [0.35585299134254456, -0.9275162220001221, -0.11437760293483734],
        [-0.2645008862018585, -0.2632511854171753, 0.9277597069740295],
    ],
]
VALID = 9107  # pixels
SAMPLED, NORMALS_SAMPLED = np.s_[::31, ::37], np.s_[::60, ::80]


def draw(size: tuple[int, int] = SIZE, phase: float = 0.0) -> np.ndarray:
    row, column, channel = np.mgrid[: size[0], : size[1], :3]
    waves = 60 * np.sin(column / 9 + channel + phase) + 60 * np.cos(row / 7 - channel)
    return np.rint(127.5 + waves).astype(np.uint8)


def to_f_px(fov_deg: float, width: int) -> float:
    return 0.5 * width / math.tan(math.radians(fov_deg) / 2)


@pytest.fixture(autouse=True)
def hub(use_hub_cache: Path) -> Path:
    return use_hub_cache


@pytest.fixture
def in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    placement = Placement(torch.device("cpu"), torch.float64)
    monkeypatch.setattr("cortexia_video.models.torch.moge.choose_placement", lambda **_: placement)


# ---- the authors' numbers ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("in_float64")
def test_depth_mask_normals_and_focal_length_are_the_authors() -> None:
    estimator = load_estimator("moge-2-vits", sky="keep")
    depth = estimator(Frame("a", draw()))
    assert (depth.f_px, depth.f_source) == (pytest.approx(F_PX, rel=1e-5), "estimated")
    np.testing.assert_allclose(depth.values[SAMPLED], ESTIMATED, rtol=1e-5)
    assert depth.valid.sum() == pytest.approx(VALID, abs=1)
    model = estimator.model
    told = model.infer(model.preprocess(draw(), model.processed_size(*SIZE))[None], also={"normals"})
    np.testing.assert_allclose(told.normals[0][NORMALS_SAMPLED], NORMALS, atol=1e-5)


@pytest.mark.usefixtures("in_float64")
def test_a_known_focal_length_is_used_and_only_shifts() -> None:
    estimator = load_estimator("moge-2-vits", sky="keep")
    depth = estimator(Frame("a", draw(), to_f_px(50, 128), "exif"))
    assert (depth.f_px, depth.f_source) == (pytest.approx(to_f_px(50, 128)), "exif")
    np.testing.assert_allclose(depth.values[SAMPLED], WITH_50_DEGREES, rtol=3e-6)
    shift = np.subtract(WITH_50_DEGREES, ESTIMATED)
    assert np.ptp(shift) < 1e-5 * shift.max()  # so it is no factor: `convert --f-px` has to leave it alone
    assert not estimator.uses_focal_length


def test_in_float32_the_numbers_are_as_near_as_float32_is() -> None:
    depth = load_estimator("moge-2-vits", sky="keep")(Frame("a", draw(), to_f_px(50, 128), "given"))
    np.testing.assert_allclose(depth.values[SAMPLED], WITH_50_DEGREES, rtol=1e-4)


def test_an_image_has_as_many_tokens_as_the_authors_give_it() -> None:
    """What `forward` of theirs computes, for each of these sizes and numbers of tokens."""
    wanted = {(1000, 1500, 3600): (49, 73), (1500, 1000, 3600): (73, 49), (480, 640, 1200): (30, 40)}
    wanted |= {(97, 131, 1800): (37, 49), (1, 1, 3600): (60, 60)}
    for (height, width, tokens), grid in wanted.items():
        assert fit_tokens(height, width, tokens) == grid
    assert fit_tokens(1, 1_000_000, 3600) == (1, 3600)  # a strip does not fill the memory
    model = load_model("moge-2-vits")
    assert model.processed_size(*SIZE) == (84, 112)
    assert model.settings["input_size"] == f"{TOKENS} tokens"
    assert load_model("moge-2-vits", input_size=70).processed_size(96, 192) == (70, 140)
    assert load_model("moge-2-vits", input_size=(70, 98)).processed_size(96, 192) == (70, 98)


# ---- what is told beside depth -----------------------------------------------------------------------------


def test_where_the_mask_is_false_depth_is_unknown() -> None:
    image = draw()
    depth = load_estimator("moge-2-vits")(Frame("a", image))
    np.testing.assert_array_equal(np.isnan(depth.values), ~depth.valid)
    kept = load_estimator("moge-2-vits", sky="keep")(Frame("a", image))
    np.testing.assert_array_equal(depth.values[depth.valid], kept.values[depth.valid])


@pytest.mark.parametrize(
    ("name", "maps"),
    [
        ("moge-2-vits", ("normals", "mask")),
        ("moge-2-vitb", ("normals", "mask")),
        ("moge-2-vitl", ("mask",)),
        ("moge-2-vitl-normal", ("normals", "mask")),
    ],
)
def test_each_row_has_the_maps_that_it_is_published_with(name: str, maps: tuple[str, ...]) -> None:
    assert load_model(name).maps == maps
    assert load_estimator(name, commercial_only=True).model.kind == "metric"


def test_normals_are_the_same_depth_and_left_out_where_nobody_asks() -> None:
    frame = Frame("a", draw((100, 140)))
    with_normals, without = load_estimator("moge-2-vits", also=["normals"]), load_estimator("moge-2-vits")
    depth, alone = with_normals(frame), without(frame)
    np.testing.assert_array_equal(depth.values, alone.values)
    assert alone.normals is None and depth.normals.shape == (100, 140, 3)
    np.testing.assert_allclose(np.linalg.norm(depth.normals[depth.valid], axis=-1), 1, atol=1e-5)


# ---- batches -----------------------------------------------------------------------------------------------


def test_mixed_shapes_and_cameras_give_what_they_give_alone() -> None:
    estimator = load_estimator("moge-2-vits", batch_size=4)
    sizes = [(96, 128), (90, 120), (128, 96), (96, 130), (50, 300), (96, 128), (1, 1)]
    frames = [
        Frame(
            f"{at}", draw(size, at), to_f_px(40 + at, size[1]) if at % 2 else None, "exif" if at % 2 else None
        )
        for at, size in enumerate(sizes)
    ]
    calls: list[int] = []
    infer = estimator.model.infer
    estimator.model.infer = lambda batch, **asked: (calls.append(len(batch)), infer(batch, **asked))[1]
    for frame, depth in zip(frames, estimator.estimate(frames), strict=True):
        assert isinstance(depth, DepthMap)
        (alone,) = DepthEstimator(load_model("moge-2-vits")).estimate([frame])
        np.testing.assert_allclose(depth.values, alone.values, rtol=1e-4)
        assert depth.f_px == pytest.approx(alone.f_px, rel=1e-4)
    assert max(calls) == 4  # known and unknown focal lengths, and nearly equal shapes, share one


def test_a_full_device_halves_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    estimator = load_estimator("moge-2-vits", batch_size=4)
    network = estimator.model._network

    def fill(image: torch.Tensor, aspect: torch.Tensor) -> Any:
        if len(image) > 1:
            raise MemoryError("full")
        return network(image, aspect)

    monkeypatch.setattr(estimator.model, "_network", fill)
    frames = [Frame(f"{at}", draw(phase=at)) for at in range(4)]
    assert all(isinstance(each, DepthMap) for each in estimator.estimate(frames))


# ---- precision and other backends --------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_close_and_has_no_steps(precision: str) -> None:
    frame = Frame("a", draw(), to_f_px(60, 128), "given")
    exact = load_estimator("moge-2-vits", also=["normals"])(frame)
    half = load_estimator("moge-2-vits", also=["normals"], precision=precision)
    depth = half(frame)
    both = depth.valid & exact.valid
    assert both.mean() > 0.9 * exact.valid.mean()
    assert np.abs(depth.values / exact.values - 1)[both].mean() < 0.02
    assert len(np.unique(depth.values[both])) > 0.5 * len(np.unique(exact.values[both]))
    again = half.model.infer_float32(half.prepare(frame).pixels[None])
    wanted = load_model("moge-2-vits").infer(half.prepare(frame).pixels[None])
    np.testing.assert_allclose(again.values, wanted.values, rtol=1e-4)


@pytest.mark.slow  # a graph takes some 5 s to export
@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_other_backends_and_exported_files_give_the_same(backend: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime" if backend == "onnx" else "openvino")
    Image.fromarray(draw()).save(tmp_path / "a.png")
    frames = [
        Frame(f"{at}", draw(phase=at), 90.0 if at else None, "given" if at else None) for at in range(3)
    ]
    loaded = {"precision": "float32", "also": ["normals"]}
    reference = list(load_estimator("moge-2-vits", **loaded).estimate(frames))
    done = export(
        "moge-2-vits",
        tmp_path / "net.onnx",
        backend=backend,
        precision="float32",
        size=(84, 112),
        check=tmp_path / "a.png",
    )
    assert done.parity.worst.mean < 1e-4
    ways = {f"onnx:{tmp_path / 'net.onnx'}": {}, "moge-2-vits": {"backend": backend}}
    for name, options in ways.items():
        estimator = load_estimator(name, batch_size=3, **loaded, **options)
        for depth, expected in zip(estimator.estimate(frames), reference, strict=True):
            np.testing.assert_array_equal(depth.valid, expected.valid)
            np.testing.assert_allclose(depth.values, expected.values, rtol=1e-4)
            np.testing.assert_allclose(depth.normals, expected.normals, atol=1e-3)
            assert depth.f_px == pytest.approx(expected.f_px, rel=1e-4)


# ---- checkpoints -------------------------------------------------------------------------------------------


def change(key: str, **values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda made: made[key].update(values)


WEIGHT = "points_head.output_blocks.4.weight"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda made: made["model"].pop(WEIGHT), rf"weights: {WEIGHT} is missing$"),
        (change("model", extra=torch.ones(1)), "weights: extra belongs to nothing$"),
        (
            change("model", **{WEIGHT: torch.ones(3, 9, 1, 1)}),
            r"weight is \(3, 9, 1, 1\), not \(3, 8, 1, 1\)$",
        ),
        (lambda made: made["model"].pop("encoder.backbone.pos_embed"), "holds no DINOv2: .*pos_embed"),
        (lambda made: made["model_config"].pop("scale_head"), "no checkpoint of MoGe-2 .* lacks scale_head$"),
        (lambda made: made["model_config"].update(remap_output="sinh"), "by 'sinh': only 'exp' is known$"),
        (lambda made: made["model_config"]["neck"].update(resamplers="max_pool"), "resampler 'max_pool'"),
        (
            lambda made: made.update(model_config=[1]),
            "is no checkpoint of MoGe: its model_config is no mapping$",
        ),
        (lambda made: made.pop("model_config"), "is no checkpoint of MoGe: it lacks model and model_config$"),
        (change("model", extra=1), "no checkpoint of MoGe: its model holds something else than weights$"),
        *(
            (lambda made, say=say: say(made["model_config"]), message)
            for say, message in (
                (
                    lambda said: said.update(encoder="vits"),
                    "of MoGe-2: encoder in its model_config is 'vits'$",
                ),
                (lambda said: said.update(num_tokens_range=[1, "x"]), r"num_tokens_range .* is \[1, 'x'\]$"),
                (lambda said: said["encoder"].update(intermediate_layers=99), "is not understood: "),
                (lambda said: said["neck"].update(dim_in=[3]), "is not understood: "),
                (lambda said: said["neck"].update(num_res_blocks="two"), "is not understood: "),
                (lambda said: said["neck"].update(dim_res_blocks=[-1] * 5), "is not understood: "),
                (
                    lambda said: said["points_head"]["dim_out"].__setitem__(4, 4),
                    r"points is \(1, 32, 48, 4\)",
                ),
            )
        ),
        (
            lambda made: made["model_config"]["encoder"].update(backbone="dinov2_vitb14"),
            "is built on dinov2_vitb14: that is not moge-2-vits$",
        ),
    ],
)
def test_unusable_checkpoints_say_why(
    spoil: Callable[[dict[str, Any]], object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_moge()
    spoil(made)
    torch.save(made, tmp_path / "model.pt")
    refuse_with(message, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as weights of torch .* it may be cut off; download it again$"),
        (None, "cannot be read as weights of torch .* it may be cut off; download it again$"),
        (b"cos\nsystem\n(S'echo no'\ntR.", "cannot be read as weights of torch"),
    ],
    ids=["empty", "half", "a pickle that runs code"],
)
def test_a_file_that_is_cut_off_or_no_weights_is_one_line(
    content: bytes | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_moge(tmp_path) / "model.pt"
    path.write_bytes(path.read_bytes()[:5000] if content is None else content)
    refuse_with(message, tmp_path, monkeypatch)


def refuse_with(message: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(source: str, revision: str | None, name: str) -> tuple[Path, None, None]:
        return folder, None, None

    monkeypatch.setattr("cortexia_video.models.torch.moge.open_folder", find)
    with pytest.raises(ModelLoadError, match=message) as caught:
        load_model("moge-2-vits")
    assert "\n" not in str(caught.value)


def test_offline_one_line_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelLoadError, match=r"'hf download Ruicheng/moge-2-vits-normal'") as caught:
        load_model("moge-2-vits")
    assert "\n" not in str(caught.value)


def test_a_folder_as_it_is_downloaded_and_the_hub_id_are_taken(tmp_path: Path) -> None:
    folder = save_moge(tmp_path / "mine")
    model = load_model(f"hf:{folder}")
    assert (model.name, model.kind) == ("hf:mine", "metric")
    named = load_model("moge-2-vits")
    assert model.weights_digest == load_model("hf:Ruicheng/moge-2-vits-normal").weights_digest
    assert model.settings["config_sha256"] == named.settings["config_sha256"]
    assert load_estimator(f"hf:{folder}", commercial_only=True).model.maps == ("normals", "mask")
    with pytest.raises(ModelLoadError, match="gives metric, not disparity: leave `kind` out"):
        load_model(f"hf:{folder}", kind="disparity")
