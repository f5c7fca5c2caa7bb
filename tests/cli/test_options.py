"""One declaration of each option of `estimate`: the function's, the command line's and the run's record agree."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cortexia_video import estimate
from cortexia_video.cli import app, main
from cortexia_video.cli import estimate as command_module
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


@pytest.mark.parametrize("command", ["plan", "evaluate"])
def test_other_commands_take_the_options_of_models_over(command: str) -> None:
    ours, theirs = read_options(command), read_options("estimate")
    for name in ("backend", "precision", "max_error", "kind", "input_size", "batch_size", "device"):
        assert ours[name].field_info.default == theirs[name].field_info.default
        assert ours[name].parameter.help == theirs[name].parameter.help


def test_what_is_given_comes_to_the_function(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(command_module, "run_job", lambda job, find, output: job(None, None))
    monkeypatch.setattr(command_module, "estimate", lambda *_, **options: given.update(options))
    words = "--backend auto --input-size 392x518 --pack tar --pack-size 9 --partition 1/2 --intrinsics a.csv"
    with pytest.raises(SystemExit) as ended:
        main(["estimate", str(tmp_path), "-o", str(tmp_path / "out"), *words.split()])
    assert ended.value.code == 0
    usual = {name: each.default for name, each in inspect.signature(estimate).parameters.items()}
    changed = {name: value for name, value in given.items() if value != usual[name]}
    assert changed == {
        "backend": "auto",
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
