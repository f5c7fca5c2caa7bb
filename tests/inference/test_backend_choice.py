"""Which backend a run takes where none is named: short runs, long ones, those that go on, machines that differ."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from onnx_files import write_mean_network

from cortexia_video import estimate as estimate_folder
from cortexia_video import load_estimator, plan, read_depth, read_ledger
from cortexia_video.errors import MissingExtraError, ModelLoadError
from cortexia_video.inference import backend_selection
from cortexia_video.jobs.backend_choice import InputCount
from cortexia_video.jobs.clip_output import VideoOptions
from cortexia_video.jobs.estimate import LocalExecutor, LookAhead, RunSpec
from cortexia_video.jobs.outcomes import Report
from cortexia_video.jobs.ray_cluster import _load_settings
from cortexia_video.sources.find import find_images

pytest.importorskip("onnx")
pytest.importorskip("openvino")

LONG = 3  # images, here
Estimate = Callable[..., Report]
Speeds = dict[tuple[str, str], float | list[float]]
ABOUT = {"kind": "disparity", "short_side": "64", "multiple_of": "32", "normalize": "unit"}


@pytest.fixture
def speeds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Speeds:
    """Let three images be a long run, and each backend have these speeds, in one round or several."""
    told: Speeds = {("onnx", "float32"): 10.0, ("openvino", "float32"): 20.0}

    def look_up(estimator: object, frames: object) -> list[float]:
        settings = estimator.model.settings  # type: ignore[attr-defined]
        found = told.get((settings.get("backend", "onnx"), settings.get("precision", "float32")), 0.01)
        return found if isinstance(found, list) else [found]

    monkeypatch.setattr(backend_selection, "_time", look_up)
    monkeypatch.setattr(backend_selection, "LONG_RUN", LONG)
    monkeypatch.setattr("cortexia_video.jobs.estimate.LONG_RUN", LONG)
    monkeypatch.setattr(backend_selection, "_LONG_S", 0.1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return told


@pytest.fixture
def photos(tmp_path: Path, make_image: Callable[..., Path]) -> Path:
    for index in range(LONG):
        make_image(tmp_path / f"photos/{index}.png", (48, 64), seed=index)
    return tmp_path / "photos"


@pytest.fixture
def model(tmp_path: Path) -> str:
    return f"onnx:{write_mean_network(tmp_path / 'mean.onnx', metadata=ABOUT)}"


@pytest.fixture
def estimate(model: str) -> Estimate:
    """Return `estimate` with a model that takes no time."""
    return partial(estimate_folder, model=model)


def settings_of(output: Path) -> Iterator[str]:
    """Yield what each run of a folder was made by."""
    for line in read_ledger(output):
        if "settings" in line:
            yield f"{line['settings'].get('backend')} {line['settings'].get('precision')}"


def test_a_long_run_takes_what_is_fastest_and_the_next_one_keeps_it(
    model: str,
    estimate: Estimate,
    speeds: Speeds,
    photos: Path,
    tmp_path: Path,
    make_image: Callable[..., Path],
) -> None:
    out = tmp_path / "depth"
    assert estimate(photos, out, size="native").done == LONG
    speeds["onnx", "float32"] = 99.0  # of another day
    (tmp_path / "cache").rename(tmp_path / "elsewhere")  # and another machine
    make_image(photos / "new.png", (48, 64), seed=9)
    (photos / "0.png").unlink()
    (photos / "1.png").unlink()  # a short run
    report = estimate(photos, out, size="native")
    assert (report.done, report.skipped) == (1, 1)
    assert [*settings_of(out)] == ["openvino None"] * 2
    named = load_estimator(model, backend="openvino", precision="float32", size="native")
    assert np.array_equal(read_depth(out / "new.png.npy").values, named(photos / "new.png").values)
    assert (
        estimate(photos, out, size="native", backend="reference").done == 2
    )  # made again, since it is named
    assert [*settings_of(out)][-1] == "None None"


def test_a_short_run_is_the_references(
    model: str, estimate: Estimate, speeds: Speeds, photos: Path, tmp_path: Path
) -> None:
    estimate([photos / "0.png", photos / "1.png"], tmp_path / "few")
    speeds["onnx", "float32"] = 1e3  # three images take no time
    estimate(photos, tmp_path / "fast")
    speeds["onnx", "float32"] = 10.0
    estimate(photos, tmp_path / "part", partition="1/1")  # other machines could choose another
    for name in ("few", "fast", "part"):
        assert [*settings_of(tmp_path / name)] == ["None None"], name
    assert not (tmp_path / "cache").exists()
    expected = load_estimator(model, backend="reference")(photos / "0.png").values
    assert np.array_equal(read_depth(tmp_path / "few/0.png.npy").values, expected)


def test_a_choice_is_remembered_with_its_trial(
    estimate: Estimate, speeds: Speeds, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    estimate(photos, tmp_path / "first")
    (kept,) = (tmp_path / "cache/cortexia_video/backends").iterdir()
    assert "openvino float32: 20 images/s; mean difference 0.00%" in kept.read_text()
    before = backend_selection._time
    monkeypatch.setattr(backend_selection, "_time", None)  # nothing is timed
    estimate(photos, tmp_path / "second")
    assert [*settings_of(tmp_path / "second")] == ["openvino None"]
    monkeypatch.setattr(backend_selection, "_time", before)
    kept.write_text('{"chosen": "openvino float32"')  # damaged
    speeds["onnx", "float32"] = 29.0
    estimate(photos, tmp_path / "third")
    assert [*settings_of(tmp_path / "third")] == ["None None"]
    estimate(photos, tmp_path / "fourth", max_error=0.5)  # other terms: tried again
    assert len([*kept.parent.iterdir()]) == 2


@pytest.mark.parametrize(
    ("reference", "other", "is_kept"),
    [
        ([10.0, 9.5], [20.0, 16.0], True),  # twice as fast, where rounds differ by a quarter
        ([10.0, 4.0], [20.0, 19.0], False),  # the reference was slowed by others: by how much, nobody knows
        ([10.0, 9.9], [30.0, 10.0], False),
        ([10.0, 9.8], [10.2, 10.0], True),  # as fast as each other
        ([10.0, 7.0], [10.2, 10.0], False),
    ],
)
def test_a_choice_that_is_chance_is_not_remembered(
    estimate: Estimate,
    speeds: Speeds,
    photos: Path,
    tmp_path: Path,
    reference: list[float],
    other: list[float],
    is_kept: bool,
) -> None:
    speeds["onnx", "float32"], speeds["openvino", "float32"] = reference, other
    estimate(photos, tmp_path / "out", precision="float32")
    (made_by,) = settings_of(tmp_path / "out")
    assert made_by.startswith("openvino" if other[0] > 11 else "None")  # in this run it is taken all the same
    assert (tmp_path / "cache/cortexia_video/backends").exists() is is_kept


def test_what_is_too_far_off_or_little_faster_is_not_taken(
    estimate: Estimate,
    speeds: Speeds,
    photos: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from cortexia_video.models.onnx.session_openvino import OpenVinoSession

    caplog.set_level(logging.INFO)
    run = OpenVinoSession.run
    with monkeypatch.context() as patch:  # a graph that is wrong
        patch.setattr(OpenVinoSession, "run", lambda *given: [1.1 * each for each in run(*given)])
        estimate(photos, tmp_path / "near")
    assert "by openvino float32 is too far" in caplog.text
    speeds["openvino", "float32"] = 10.5
    estimate(photos, tmp_path / "equal", max_error=0.3)
    for name in ("near", "equal"):
        assert [*settings_of(tmp_path / name)] == ["None None"]


def test_what_the_reference_made_stays_its_however_long_the_run_becomes(
    estimate: Estimate, speeds: Speeds, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    estimate([photos / "0.png", photos / "1.png"], out)
    report = estimate(photos, out)
    assert (report.done, report.skipped) == (1, 2) and speeds
    assert [*settings_of(out)] == ["None None"] * 2


def test_a_precision_that_is_asked_for_comes_before_that_of_the_folder(
    estimate: Estimate, speeds: Speeds, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def choose(wanted: str, device: str) -> str:  # as on a processor that has bfloat16
        return "bfloat16" if wanted == "auto" else wanted

    monkeypatch.setattr("cortexia_video.models.onnx.session_openvino.choose_precision", choose)
    speeds["openvino", "bfloat16"] = 30.0
    out = tmp_path / "out"
    estimate(photos, out, max_error=0.5)
    assert [*settings_of(out)] == ["openvino bfloat16"]
    estimate(photos, out, precision="float32", max_error=0.5)
    assert [*settings_of(out)][-1] == "openvino None"


def test_a_choice_is_of_the_device_that_auto_stands_for(
    estimate: Estimate, speeds: Speeds, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    estimate(photos, tmp_path / "here")
    gpu = property(lambda model: "cuda:0", lambda model, device: None)
    monkeypatch.setattr("cortexia_video.models.onnx.model.OnnxModel.device", gpu, raising=False)
    estimate(photos, tmp_path / "there")
    assert len([*(tmp_path / "cache/cortexia_video/backends").iterdir()]) == 2 and speeds


@pytest.mark.parametrize("lacks_home", (False, True))
def test_a_cache_that_cannot_be_written_costs_nothing(
    lacks_home: bool,
    estimate: Estimate,
    speeds: Speeds,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "cache").write_text("a file")
    if lacks_home:
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which its specification says to ignore
        monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as of a user that nobody knows
    assert estimate(photos, tmp_path / "out").done == LONG
    assert [*settings_of(tmp_path / "out")] == ["openvino None"] and speeds


def test_a_folder_of_a_backend_that_is_not_here_says_what_to_do(
    estimate: Estimate, speeds: Speeds, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    estimate(photos, tmp_path / "out")
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "cortexia_video.models.onnx.session_openvino", raising=False)
    monkeypatch.delattr("cortexia_video.models.onnx.session_openvino", raising=False)
    with pytest.raises(MissingExtraError, match=r"made by openvino float32: .*\[openvino\].*`backend='ref"):
        estimate(photos, tmp_path / "out")
    assert estimate(photos, tmp_path / "other", max_error=0.4).done == LONG  # by the reference
    assert [*settings_of(tmp_path / "other")] == ["None None"] and speeds


def test_a_plan_is_of_the_backend_that_the_run_takes(
    model: str, estimate: Estimate, speeds: Speeds, photos: Path, tmp_path: Path
) -> None:
    estimate(photos, tmp_path / "out")
    assert plan(photos, model=model, output=tmp_path / "out").done == LONG and speeds
    assert plan(photos, model=model, output=tmp_path / "out", backend="reference").done == 0


def test_auto_and_reference_are_words_of_every_model(photos: Path) -> None:
    usual = load_estimator("compact").identity
    assert load_estimator("compact", backend="auto", precision="auto").identity == usual
    assert load_estimator("compact", backend="reference").identity == usual
    assert load_estimator("synthetic", backend="reference").model.name == "synthetic"  # has no other
    with pytest.raises(ModelLoadError, match="computes in float32, not in bfloat16"):
        load_estimator("compact", backend="reference", precision="bfloat16")


def test_workers_of_a_cluster_can_load_what_one_chose(photos: Path, tmp_path: Path) -> None:
    class Asking(LocalExecutor):
        def prepare(self, spec: RunSpec, inputs: LookAhead) -> Mapping[str, object]:
            answer = _load_settings(spec, [*inputs.look()])
            assert not isinstance(answer, str)
            settings, chosen = answer
            self._spec = replace(spec, asked={**spec.asked, **chosen})
            self._selector, self._estimators = self._spec.load()
            return settings

    for model in ("synthetic", "compact"):  # the first has no backends
        for _ in range(2):  # also into a folder that holds depth
            report = estimate_folder(photos, tmp_path / model, model=model, executor=Asking())
        assert report.skipped == LONG


def test_frames_of_clips_count(tmp_path: Path, make_image: Callable[..., Path]) -> None:
    pytest.importorskip("av")
    from cortexia_video.video.frames import write_frames

    for number in range(4):
        make_image(tmp_path / f"in/{number}.png", (16, 16))
    with (tmp_path / "in/clip.mkv").open("w+b") as file:
        write_frames(file, [np.zeros((16, 16, 3), np.uint8)] * 50, 25)
    (tmp_path / "in/cut.mp4").write_bytes(b"no video at all")
    found = [*find_images([tmp_path / "in"], videos=True)]
    assert InputCount(found, VideoOptions()).has(54) and not InputCount(found, VideoOptions()).has(55)
    assert not InputCount(found, VideoOptions(every=5)).has(15)
