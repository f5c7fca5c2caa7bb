"""ONNX Runtime and OpenVINO beside torch: equal numbers, files that say what they are, what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from conftest import HANG_S
from onnx_files import write_mean_network
from PIL import Image

from cortexia_video import DepthMap, Failure, Frame, estimate, load_estimator
from cortexia_video.cli import main
from cortexia_video.errors import (
    InputError,
    MissingExtraError,
    ModelLoadError,
    OutputExistsError,
    ParityError,
)
from cortexia_video.inference.backend_selection import BackendSelector
from cortexia_video.inference.parity import compare, measure_difference
from cortexia_video.jobs.export import export

onnx = pytest.importorskip("onnx")
pytest.importorskip("openvino")
pytest.importorskip("onnxscript")
pytest.importorskip("transformers")

pytestmark = pytest.mark.slow  # graphs are exported: three minutes of a core

Checkpoints = Callable[[str], Path]
BACKENDS = ["onnx", "openvino"]
SIZE = (70, 98)
# Of a network's range. Float32 has 24 bits, so these are off by 1e-6 by any backend on any processor,
# whatever its order of additions; float16 and bfloat16 have 11 and 8, and are off by 1e-3 and more.
IN_FLOAT32 = 2e-4
MEAN = {"kind": "disparity", "short_side": "64", "multiple_of": "32", "normalize": "unit"}


def frame(height: int, width: int, seed: int = 0, f_px: float | None = None) -> Frame:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Frame(key=f"{seed}.png", image=image, f_px=f_px, f_source="given" if f_px else None)


def depths(model: str, frames: list[Frame], **options: object) -> list[np.ndarray]:
    found = load_estimator(model, **options).estimate(frames)
    return [each.values for each in found if not isinstance(each, Failure)]


def distance(values: np.ndarray, reference: np.ndarray) -> float:
    return float(np.abs(values - reference).max() / np.ptp(reference))


# ---- equal numbers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_network_gives_torchs_numbers_by_other_backends(backend: str, checkpoints: Checkpoints) -> None:
    model = f"hf:{checkpoints('depth-anything')}"
    frames = [frame(84, 112, 0), frame(84, 112, 1)]
    frames += [frame(112, 84, 2)] if backend == "onnx" else []  # a second graph
    expected = depths(model, frames, precision="float32")
    found = depths(model, frames, backend=backend, precision="float32")
    assert len(found) == len(expected) == len(frames)
    for values, reference in zip(found, expected, strict=True):
        assert distance(values, reference) < IN_FLOAT32


def test_depth_pro_keeps_its_camera_by_another_backend(checkpoints: Checkpoints) -> None:
    model = f"hf:{checkpoints('depth-pro')}"
    frames = [frame(96, 120, 0), frame(120, 96, 1), frame(96, 120, 2, f_px=90.0)]
    reference = load_estimator(model, precision="float32").estimate(frames)
    for depth, expected in zip(
        load_estimator(model, backend="onnx").estimate(frames), reference, strict=True
    ):
        assert isinstance(depth, DepthMap) and isinstance(expected, DepthMap)
        assert depth.f_px == pytest.approx(expected.f_px, rel=IN_FLOAT32)
        assert distance(1 / depth.values, 1 / expected.values) < IN_FLOAT32


def test_an_image_does_not_depend_on_its_batch_in_openvinos_bfloat16(checkpoints: Checkpoints) -> None:
    from cortexia_video.models.onnx.session_openvino import choose_precision

    if choose_precision("auto", "cpu") != "bfloat16":
        pytest.skip("this processor has no bfloat16")
    model = load_estimator(
        f"hf:{checkpoints('depth-anything')}", backend="openvino", precision="bfloat16"
    ).model
    inputs = np.stack([model.preprocess(frame(84, 112, seed).image, (70, 98)) for seed in range(5)])
    alone = np.concatenate([model.infer(each[None]) for each in inputs])
    assert distance(model.infer(inputs), alone) < IN_FLOAT32


def test_openvino_says_what_precision_it_took(tmp_path: Path) -> None:
    model = f"onnx:{write_mean_network(tmp_path / 'mean.onnx', metadata=MEAN)}"
    for precision in ("float32", "bfloat16"):
        try:
            chosen = load_estimator(model, backend="openvino", precision=precision)
        except ModelLoadError as error:  # a processor without bfloat16
            assert "use one of float32" in str(error)
            continue
        assert chosen.identity["backend"] == "openvino"
        assert chosen.identity.get("precision", "float32") == precision
    assert "backend" not in load_estimator(model).identity  # what was made before still counts as done


# ---- files -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(checkpoints: Checkpoints, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    model, path = f"hf:{checkpoints('depth-anything')}", tmp_path_factory.mktemp("export") / "net.onnx"
    made = export(model, path, backend="openvino", precision="float32", size=SIZE)
    assert made.size == SIZE and made.bytes == path.stat().st_size and made.parity is None
    assert [each.name for each in path.parent.iterdir()] == ["net.onnx"]
    return model, path


def test_a_file_says_what_it_is_and_gives_the_networks_numbers(exported: tuple[str, Path]) -> None:
    model, path = exported
    frames = [frame(*SIZE), frame(133, 201), frame(500, 700)]  # of any size: it is fed as the network is
    reference = load_estimator(model, input_size=SIZE, precision="float32")
    loaded = load_estimator(f"onnx:{path}", commercial_only=True)  # the test's README says Apache-2.0
    assert loaded.identity["backend"] == "openvino" and loaded.model.kind == "disparity"
    for depth, expected in zip(loaded.estimate(frames), reference.estimate(frames), strict=True):
        assert isinstance(depth, DepthMap) and isinstance(expected, DepthMap)
        assert distance(depth.values, expected.values) < IN_FLOAT32
    about = {each.key: each.value for each in onnx.load(path).metadata_props}
    assert about["cortexia.weights_sha256"] == reference.model.weights_digest
    assert about["cortexia.licence_weights"] == "apache-2.0"
    onnx.checker.check_model(str(path), full_check=True)


def test_a_file_can_be_run_by_the_other_backend(exported: tuple[str, Path]) -> None:
    frames = [frame(90, 130)]
    one, other = (
        depths(f"onnx:{exported[1]}", frames, backend=backend, precision="float32") for backend in BACKENDS
    )
    assert distance(one[0], other[0]) < IN_FLOAT32


def test_an_exported_depth_pro_is_metres_with_and_without_a_focal_length(
    checkpoints: Checkpoints, tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    model, path = f"hf:{checkpoints('depth-pro')}", tmp_path / "pro.onnx"
    make_image(tmp_path / "photos/a.png", (96, 120))
    made = export(model, path, check=tmp_path / "photos")
    assert made.parity is not None and made.parity.worst.mean < IN_FLOAT32
    frames = [frame(96, 120, 0), frame(96, 120, 1, f_px=80.0)]
    reference = load_estimator(model, precision="float32").estimate(frames)
    for depth, expected in zip(load_estimator(f"onnx:{path}").estimate(frames), reference, strict=True):
        assert isinstance(depth, DepthMap) and isinstance(expected, DepthMap)
        assert (depth.kind, depth.f_source) == ("metric", expected.f_source)
        assert depth.f_px == pytest.approx(expected.f_px, rel=IN_FLOAT32)
        assert distance(1 / depth.values, 1 / expected.values) < IN_FLOAT32


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"resampling": "nearest"}, "unknown resampling 'nearest'"),
        ({"normalize": "mean 1 2 std 3"}, "or six numbers, like"),
        ({"normalize": "mean 0 0 0 std 1 0 1"}, "or six numbers, like"),
        ({"backend": "tensorrt"}, "unknown backend 'tensorrt'"),
    ],
)
def test_a_file_that_says_what_is_not_known_is_refused(
    said: Mapping[str, str], message: str, tmp_path: Path
) -> None:
    path = write_mean_network(tmp_path / "mean.onnx", metadata={**MEAN, **said})
    with pytest.raises(ModelLoadError, match=message):
        load_estimator(f"onnx:{path}")


# ---- what is refused ---------------------------------------------------------------------------------------


def test_an_export_that_is_too_far_off_is_not_written(
    exported: tuple[str, Path],
    tmp_path: Path,
    make_image: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_graph = (
        "cortexia_video.models.torch.export.write_graph"  # the same graph once more would take seconds
    )
    monkeypatch.setattr(write_graph, lambda *given: shutil.copyfile(exported[1], given[3]))
    make_image(tmp_path / "photos/a.png", (96, 120))
    make_image(tmp_path / "photos/b.png", (120, 96), seed=1)
    model, path = exported[0], tmp_path / "out/net.onnx"
    with pytest.raises(ParityError, match=r"too far from it: mean difference .*worst of 2 images: [ab]\.png"):
        export(model, path, size=SIZE, check=tmp_path / "photos", max_error=1e-9)
    assert [*path.parent.iterdir()] == []


def test_what_cannot_be_exported_is_named(checkpoints: Checkpoints, tmp_path: Path) -> None:
    model, path = f"hf:{checkpoints('depth-anything')}", tmp_path / "net.onnx"
    with pytest.raises(ModelLoadError, match="is for one size of image: give it"):
        export(model, path)
    with pytest.raises(ModelLoadError, match="multiples of 14, not 70x100"):
        export(model, path, size=(70, 100))
    with pytest.raises(ModelLoadError, match="'compact' is no network of torch's"):
        export("compact", path)
    with pytest.raises(ModelLoadError, match=r"torch cannot export this network .*`backend='torch'` runs it"):
        export(f"hf:{checkpoints('zoedepth')}", path, size=(64, 96))  # images choose between two heads
    with pytest.raises(InputError, match=r"no-such-folder"):
        export(model, path, size=SIZE, check=tmp_path / "no-such-folder")
    path.write_text("mine")
    with pytest.raises(OutputExistsError, match=r"net\.onnx exists already"):
        export(model, path, size=SIZE)
    assert path.read_text() == "mine" and len([*tmp_path.iterdir()]) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "tpu"}, "unknown backend 'tpu'"),
        ({"backend": "onnx", "precision": "bfloat16"}, "not in bfloat16"),
        ({"backend": "openvino", "device": "cuda"}, "runs on the processor, not on 'cuda'"),
        ({"backend": "openvino", "precision": "int4"}, "'int4'"),
    ],
)
def test_a_backend_that_cannot_do_it_says_so(
    options: dict[str, str], message: str, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    files = f"onnx:{write_mean_network(tmp_path / 'mean.onnx', metadata=MEAN)}"
    for model in (files, f"hf:{checkpoints('depth-anything')}"):
        with pytest.raises(ModelLoadError, match=message):
            load_estimator(model, **options)
    with pytest.raises(ModelLoadError, match="`compile` is torch's"):
        load_estimator(f"hf:{checkpoints('depth-anything')}", backend="onnx", compile=True)


def test_a_backend_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "cortexia_video.models.onnx.session_openvino", raising=False)
    monkeypatch.delattr("cortexia_video.models.onnx.session_openvino", raising=False)
    with pytest.raises(MissingExtraError, match=r"install '.*\[openvino\]'"):
        load_estimator("compact", backend="openvino")


# ---- compared before use -----------------------------------------------------------------------------------


def test_a_difference_is_relative_to_depth_or_to_the_spread() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(1, 9, (40, 50)).astype(np.float32)
    other = (truth * rng.uniform(0.9, 1.1, truth.shape)).astype(np.float32)
    truth[3, 4] = np.nan  # unknown in the reference: not compared
    known = np.isfinite(truth)
    errors = np.abs(other - truth)[known].astype(np.float64)
    metric = measure_difference(DepthMap(other, "metric"), DepthMap(truth, "metric"))
    assert metric.mean == pytest.approx(np.mean(errors / truth[known]), rel=1e-6)
    spread = np.quantile(truth[known], 0.98) - np.quantile(truth[known], 0.02)
    relative = measure_difference(DepthMap(other, "disparity"), DepthMap(truth, "disparity"))
    assert relative.mean == pytest.approx(np.mean(errors) / spread, rel=1e-5)
    assert relative.most == pytest.approx(np.quantile(errors, 0.99) / spread, rel=1e-5)
    assert measure_difference(DepthMap(truth, "metric"), DepthMap(truth, "metric")).most == 0.0


def test_depth_that_cannot_be_compared_is_refused() -> None:
    flat = np.ones((4, 5), np.float32)
    holes = flat.copy()
    holes[0] = np.nan
    for depth in (DepthMap(flat, "disparity"), DepthMap(flat[:2], "metric"), DepthMap(holes, "metric")):
        with pytest.raises(ParityError):
            measure_difference(depth, DepthMap(flat, "metric"))


def test_an_image_that_only_the_other_backend_cannot_do_counts() -> None:
    class Broken:
        def __getattr__(self, name: str) -> object:
            return getattr(sound.model, name)

        def infer(self, batch: np.ndarray) -> np.ndarray:
            return np.full((len(batch), 4, 4), np.nan, np.float32)

    sound = load_estimator("synthetic")
    broken = type(sound)(Broken())  # type: ignore[arg-type]
    with pytest.raises(ParityError, match="NaN"):
        compare(broken, sound, [frame(20, 30)])
    with pytest.raises(ParityError, match="none of the images"):
        compare(sound, broken, [frame(20, 30)])


def test_a_run_refuses_a_backend_that_is_too_far_off(
    checkpoints: Checkpoints, tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    make_image(tmp_path / "photos/a.png")
    (tmp_path / "photos/b.png").write_bytes(b"no image")
    model = f"hf:{checkpoints('depth-anything')}"
    with pytest.raises(ParityError, match=r"by torch bfloat16 is too far from float32: .* `max_error="):
        estimate(tmp_path / "photos", tmp_path / "depth", model=model, precision="bfloat16", max_error=1e-7)
    assert not [*(tmp_path / "depth").glob("*.npy")]
    report = estimate(
        tmp_path / "photos", tmp_path / "depth", model=model, precision="bfloat16", max_error=0.5
    )
    assert (report.done, report.failed) == (1, 1)
    with pytest.raises(InputError, match="`max_error` must be above 0"):
        estimate(tmp_path / "photos", tmp_path / "depth", max_error=0.0)


def test_a_backend_is_compared_however_many_images_are_broken_or_black(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    photos = tmp_path / "photos"
    for index in range(20):
        make_image(photos / f"a{index:02}.png").write_bytes(b"broken")
        Image.new("RGB", (64, 48)).save(photos / f"b{index:02}.png")  # constant depth, by any backend
    for index in range(2):
        make_image(photos / f"c{index}.png", seed=index)
    model = f"onnx:{write_mean_network(tmp_path / 'mean.onnx', metadata=MEAN)}"
    asked = {"model": model, "backend": "openvino", "precision": "float32"}
    report = estimate(photos, tmp_path / "depth", **asked, max_error=1e-3)
    assert (report.done, report.failed) == (2, 40)
    for index in range(2):
        (photos / f"c{index}.png").unlink()
    with pytest.raises(ParityError, match="none of the images"):
        estimate(photos, tmp_path / "third", **asked)


def test_a_backend_that_is_wrong_for_several_at_once_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from cortexia_video.models.onnx.session_openvino import OpenVinoSession

    run = OpenVinoSession.run

    def run_wrong(
        self: OpenVinoSession, outputs: list[str], inputs: dict[str, np.ndarray]
    ) -> list[np.ndarray]:
        found = run(self, outputs, inputs)
        ramp = np.linspace(0.5, 1.5, found[0].shape[-1], dtype=np.float32)
        return [each * ramp for each in found] if len(found[0]) > 1 else found

    monkeypatch.setattr(OpenVinoSession, "run", run_wrong)
    monkeypatch.setattr(OpenVinoSession, "enough_pixels", None)  # else images of this size come one by one
    choice = BackendSelector("compact", backend="openvino", precision="float32")
    with pytest.raises(ParityError, match="too far"):
        choice.resolve(choice.load(), [frame(96, 128)])


def test_compact_takes_batches_by_either_backend() -> None:
    """OpenVINO made a graph for one image of what belonged to all images of a batch."""
    frames = [frame(96, 128, seed) for seed in range(3)]
    found = [depths("compact", frames, backend=each, precision="float32") for each in BACKENDS]
    for one, other in zip(*found, strict=True):
        assert distance(one, other) < IN_FLOAT32


def test_the_commands_say_how_near_it_is(
    checkpoints: Checkpoints,
    tmp_path: Path,
    make_image: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    make_image(tmp_path / "photos/a.png", (70, 98))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        return ended.value.code, *capfd.readouterr()

    export = ["export", f"hf:{checkpoints('depth-anything')}", "--size", "70x98", "--output", "net.onnx"]
    code, out, err = run(*export, "--check", "photos")
    assert code == 0 and "in float32: mean difference 0.00%" in out, err
    command = [sys.executable, "-m", "cortexia_video", "estimate", "photos", "-o", "depth"]
    command += ["--model", "onnx:net.onnx", "--backend", "openvino"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S)  # its stderr is the log
    assert ran.returncode == 0 and "against float32: mean difference" in ran.stderr, ran.stderr
    line = json.loads((tmp_path / "depth/ledger.jsonl").read_text().splitlines()[0])
    assert line["settings"]["backend"] == "openvino"
    code, out, err = run(*export)
    assert code == 2 and "net.onnx exists already" in err


def test_bfloat16_is_not_taken_where_the_processor_may_not_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO goes by what the processor has, oneDNN, which computes, by what its variable allows."""
    from cortexia_video.models.onnx.session_openvino import choose_precision

    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert choose_precision("auto", "cpu") == "float32"
    with pytest.raises(ModelLoadError, match="use one of float32"):
        choose_precision("bfloat16", "cpu")
