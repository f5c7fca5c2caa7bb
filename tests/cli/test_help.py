"""What `--help` shows: commands in groups, each with its whole docstring, options in named panels."""

from __future__ import annotations

import importlib
import inspect
import shlex
import subprocess
import sys

import pytest

from cortexia_video.cli import app, main

COMMANDS = ["estimate", "info", "report", "verify", "pointcloud", "convert", "scenes", "evaluate", "models"]
COMMANDS += ["view", "align", "export", "train", "plan", "status", "merge"]
COMMANDS += ["compare", "help", "dataset build", "dataset info", "dataset preview", "models check"]
PANELS = ["Arguments", "Options", "Output", "Model", "Camera", "Run", "Cluster"]


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("COLUMNS", "120")

    def show(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main([*words, "--help"])
        assert ended.value.code == 0
        return capsys.readouterr().out

    return show


def find_function(name: str):
    module, _, part = name.partition(" ")
    return getattr(importlib.import_module(f"cortexia_video.cli.{module}"), f"{part or module}_command")


def test_commands_are_in_groups_with_a_line_each(show) -> None:
    said = show()
    titles = ["Depth", "Look", "Data", "Models", "Large jobs", "Options"]
    places = [said.index(f"─ {title} ─") for title in titles]
    assert places == sorted(places)
    for name in COMMANDS:
        if " " not in name:
            line = next(line for line in said.splitlines() if line.startswith(f"│ {name} "))
            assert inspect.getdoc(find_function(name)).splitlines()[0] in line
    assert "rescale" not in said and len(show("dataset").split("│ preview")) == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_shows_its_whole_docstring_with_examples_and_exit_codes(name: str, show) -> None:
    text = inspect.getdoc(find_function(name)).partition("\nArgs:")[0]
    said = show(*name.split())
    assert " ".join(text.split()) in " ".join(said.split())
    assert f"\n    cortexia {name}" in text or f"cortexia_video {name}" in text
    assert "Exit code: 0 " in text
    assert "[default: False]" not in said and "=PARAM" not in said


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_described(name: str) -> None:
    command = app.parse_commands(name.split())[1][-1]
    arguments = command.assemble_argument_collection(parse_docstring=True)
    assert [each.name for each in arguments if each.show and not each.parameter.help] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_fit_80_columns_and_parse(name: str) -> None:
    lines = inspect.getdoc(find_function(name)).partition("\nArgs:")[0].splitlines()
    for line in lines:
        assert not line.startswith("    ") or len(line) <= 80, line
        words = shlex.split(line) if line.startswith("    cortexia ") else ["cortexia"]
        app.parse_args(words[1:], exit_on_error=False, print_error=False)


def test_an_option_is_in_the_same_panel_in_each_command() -> None:
    panels = {"workers": "Run", "device": "Run", "batch_size": "Run", "max_megapixels": "Run"}
    panels |= {"near_m": "Meaning", "fov_deg": "Camera", "max_gap": "Points", "precision": "Model"}
    found = set()
    for command in COMMANDS:
        arguments = app.parse_commands(command.split())[1][-1].assemble_argument_collection()
        found |= {
            (each.field_info.name, group.name)
            for each in arguments
            for group in each.parameter.group
            if each.field_info.name in panels and command not in ("align", "export")
        }
    assert found == set(panels.items())  # align is about known distances, export writes what it is told


def test_the_options_of_estimate_are_in_panels_the_common_ones_first(show) -> None:
    said = show("estimate")
    places = [said.index(f"─ {title} ─") for title in PANELS]
    assert places == sorted(places)
    said = " " * places[0] + said[places[0] :]  # without the examples
    assert (
        said.index("--format") < places[2] < said.index("--pack-size") < places[3] < said.index("--backend")
    )
    assert places[5] < said.index("--partition") < places[6] < said.index("--num-workers")


def test_the_list_of_commands_imports_none_of_them() -> None:
    program = (
        "import sys\n"
        "from cortexia_video.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in sys.modules if m.startswith('cortexia_video.cli.')], file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600)
    assert "option_words" in ran.stderr and not any(
        name in ran.stderr for name in ("estimate", "info", "options")
    )
