"""One declaration of each option of `estimate`: function, command line and record agree."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cortexia_video as cx
from cortexia_video import estimate
from cortexia_video.cli import app, main
from cortexia_video.cli import estimate as command_module
from cortexia_video.cli.option_words import to_pages
from cortexia_video.errors import InputError
from cortexia_video.jobs.ray_cluster import RayExecutor
from cortexia_video.ledger.ledger import read_ledger

IN_PYTHON_ALONE = {"on_outcome", "stop", "model_options"}
WORDS = {
    "format": "npz", "preview": True, "size": "native", "decode": "fast", "kind": "metric", "f_px": 50.0,
}  # fmt: skip
NOT_OPTIONS = {"model", "weights_sha256", "short_side"}  # what the model says of itself


def read_options(command: str) -> dict[str, Any]:
    arguments = app.parse_commands([command])[1][-1].assemble_argument_collection(parse_docstring=True)
    return {each.keys[-1] if each.keys else each.field_info.name: each for each in arguments}


def test_the_command_line_offers_what_the_function_does() -> None:
    declared = dict(inspect.signature(estimate).parameters)
    options = read_options("estimate")
    cluster = dict(inspect.signature(RayExecutor).parameters)
    assert {*options} == {*declared} - IN_PYTHON_ALONE | {*cluster}
    for name, parameter in {**declared, **cluster}.items():
        if name in options and name != "executor":
            assert options[name].field_info.default == parameter.default, name
            assert options[name].name in (f"--{name.replace('_', '-')}", "INPUT")


@pytest.mark.parametrize(
    "function",
    [cx.convert, cx.evaluate, cx.export, cx.inspect, cx.plan, cx.report, cx.status, cx.train, cx.verify],
)
def test_a_command_has_the_defaults_and_the_help_of_its_function(function: Callable[..., Any]) -> None:
    command = "info" if function is cx.inspect else function.__name__
    declared = inspect.signature(function).parameters
    texts = [to_pages(" ".join((each.__doc__ or "").split())) for each in (function, estimate)]
    shared = {name: each for name, each in read_options(command).items() if name in declared}
    options = {name: each for name, each in shared.items() if each.name.startswith("--") and name != "output"}
    assert options
    for name, option in options.items():
        assert option.field_info.default == declared[name].default, name
        assert any(f"{name}: {option.parameter.help}" in text for text in texts), name


def test_words_and_sizes_are_read_as_the_functions_take_them(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []

    def take(*_: object, **options: Any) -> Any:
        given.append(options)
        raise InputError("seen")

    monkeypatch.setattr("cortexia_video.cli.evaluate.evaluate", take)
    monkeypatch.setattr("cortexia_video.cli.export.export", take)
    monkeypatch.setattr("cortexia_video.cli.info.inspect", take)
    for words in (
        "evaluate depth --metrics boundary,edges --from kitti --truth-from nyu",
        "export net -o net.onnx --size 392x518",
        "info a.png --kind metric --scale 0.001 --unknown 0 --unknown 65535 --f-px 50 --from metres",
    ):
        with pytest.raises(SystemExit):
            main(words.split())
    measured, exported, looked = given
    assert measured["metrics"] == ["boundary", "edges"]
    assert (measured["convention"], measured["truth_convention"]) == ("kitti", "nyu")
    assert exported["size"] == (392, 518)
    about = {"kind": "metric", "scale": 0.001, "unknown": [0, 65535], "f_px": 50, "f_source": "given"}
    assert looked == {"about": about, "convention": "metres", "max_megapixels": 200}


@pytest.mark.parametrize("command", ["plan", "evaluate"])
def test_other_commands_take_the_options_of_models_over(command: str) -> None:
    ours, theirs = read_options(command), read_options("estimate")
    for name in ("backend", "precision", "max_error", "kind", "input_size", "batch_size", "device"):
        assert ours[name].field_info.default == theirs[name].field_info.default
        assert ours[name].parameter.help == theirs[name].parameter.help


def test_what_is_given_comes_to_the_function(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(command_module, "run_job", lambda job, output: job(None, None))
    monkeypatch.setattr(command_module, "estimate", lambda *_, **options: given.update(options))
    words = (
        "--backend openvino --input-size 392x518 --pack tar --pack-size 9 --partition 1/2 --intrinsics a.csv"
    )
    with pytest.raises(SystemExit) as ended:
        main(["estimate", str(tmp_path), "-o", str(tmp_path / "out"), *words.split()])
    assert ended.value.code == 0
    usual = {name: each.default for name, each in inspect.signature(estimate).parameters.items()}
    changed = {name: value for name, value in given.items() if value != usual[name]}
    assert changed == {
        "backend": "openvino",
        "input_size": (392, 518),
        "pack": "tar",
        "pack_size": 9,
        "partition": "1/2",
        "intrinsics": "a.csv",
    }


def test_a_run_records_options_by_their_names(tmp_path: Path, make_image: Callable[..., Path]) -> None:
    make_image(tmp_path / "photos/a.jpg")
    estimate(tmp_path / "photos", tmp_path / "out", model="synthetic", **WORDS)
    settings = next(line for line in read_ledger(tmp_path / "out") if "settings" in line)["settings"]
    names = {*inspect.signature(estimate).parameters}
    assert {name: settings[name] for name in WORDS} == WORDS
    assert {*settings} - names <= NOT_OPTIONS
