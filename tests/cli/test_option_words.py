"""The library names parameters; the command line says options."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cortexia_video.cli import app, main
from cortexia_video.cli.option_words import set_command, to_options
from cortexia_video.cli.quiet import open_log

PACKAGE = Path(__file__).resolve().parents[2] / "cortexia_video"


@pytest.mark.parametrize(
    ("command", "message", "said"),
    [
        ("estimate x -o y", "`batch_size` must be at least 1", "--batch-size must be at least 1"),
        ("estimate x -o y", "use `device='cpu'`, or `overwrite=True`", "use --device cpu, or --overwrite"),
        ("estimate x -o y", "allow it by `max_error=0.04`", "allow it by --max-error 0.04"),
        ("convert x -o y", "give its `convention`", "give its --from"),
        ("evaluate x", "its `truth_convention` or `scale`", "its --truth-from or cortexia convert --scale"),
        ("dataset info x", "`allow_outside=True`, or `kind`", "--allow-outside, or --kind"),
        ("pointcloud x -o y", "give `fov_deg` or `intrinsics`", "give --fov-deg or --intrinsics"),
        ("merge x", "choose another `output`", "choose another DIR"),
        ("estimate x -o y", "see `cortexia models`, `nobody`", "see `cortexia models`, `nobody`"),
        ("nothing", "choose another `output`", "choose another `output`"),
    ],
)  # fmt: skip
def test_parameters_become_the_options_of_the_command(command: str, message: str, said: str) -> None:
    set_command(app, command.split())
    assert to_options(message) == said


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("--engine", "--backend (what runs the network) or --executor ray (where it runs)"),
        ("--shard", "--partition"),
    ],
)
def test_an_option_of_before_is_answered_with_the_one_of_now(
    old: str, new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["estimate", "photos", "--output", "out", f"{old}=x"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said == f"cortexia: {old} is now {new}\n"


def test_what_is_logged_names_options_too(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    log = logging.getLogger("cortexia_video")
    monkeypatch.setattr(log, "handlers", [])
    set_command(app, ["convert", "x", "-o", "y"])
    open_log(verbose=False)
    log.warning("`allow_loss=True` writes it")
    assert capsys.readouterr().err == "cortexia: --allow-loss writes it\n"


def test_no_message_of_the_library_names_an_option() -> None:
    """Commands that are named whole are no options of ours, nor are those of other programs."""
    others = re.compile(
        r"cortexia (verify|convert|align|dataset build|report DIR) |ray start|--revision|without --sparse"
        "|cortexia convert RUN|tar --sort=name|train with --depth-unit-scale-factor"
        r"|options = \[|command = \[|(pip|pipx|tool) install --force"
    )
    found = [
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        if "cli" not in path.relative_to(PACKAGE).parts
        for line in path.read_text().splitlines()
        if re.search(r'"[^"]*--[a-z][a-z-]+', line) and not others.search(line)
    ]
    assert found == []


COMMANDS = (
    *(
        "estimate",
        "info",
        "report",
        "verify",
        "pointcloud",
        "align",
        "convert",
        "scenes",
        "evaluate",
        "models",
    ),
    *(
        "view",
        "compare",
        "export",
        "train",
        "plan",
        "status",
        "merge",
        "dataset build",
        "dataset info",
        "dataset preview",
    ),
)
IN_PYTHON_ALONE = {
    "datasets",
    "numbers",
    "poses",
    "ray_remote_args",
    "read_depth",
    "read_image",
}  # packages, functions and such
OF_BUILDING = {"depth", "output", "shard_size"}  # nothing else of the dataset commands writes shards


def list_texts() -> Iterator[tuple[str, str]]:
    """Yield the texts of the package that are no documentation, each with its file."""
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        bare = {id(each.value) for each in ast.walk(tree) if isinstance(each, ast.Expr)}
        for each in ast.walk(tree):
            if isinstance(each, ast.Constant) and isinstance(each.value, str) and id(each) not in bare:
                yield path.relative_to(PACKAGE).as_posix(), each.value


def list_options(command: str) -> dict[str, Any]:
    arguments = app.parse_commands(command.split())[1][-1].assemble_argument_collection(parse_docstring=False)
    return {
        name: each for each in arguments for name in ((each.keys or (each.field_info.name,))[-1], each.name)
    }


def test_what_a_message_names_is_an_option_of_some_command() -> None:
    options = {name for command in COMMANDS for name in list_options(command)}
    named = {
        name: path
        for path, text in list_texts()
        for name in re.findall(r"`([a-z][a-z0-9_]*)(?:=[^`]*)?`", text)
    }
    assert {*named} - options == IN_PYTHON_ALONE & {*named}, {
        name: named[name] for name in {*named} - options
    }


@pytest.mark.parametrize("command", ["dataset build", "dataset info", "dataset preview"])
def test_what_readers_of_datasets_ask_for_can_be_given(command: str) -> None:
    """Of every message about a file, a depth map or a dataset: by an option, or by what `convert` is told."""
    set_command(app, [*command.split(), "x"])
    rooms = (
        "datasets/readers/",
        "datasets/row_schema",
        "datasets/registry",
        "datasets/sample_checks",
        "formats/",
    )
    asked = {
        match[0]
        for path, text in list_texts()
        if path.startswith((*rooms, "storage/paths"))
        and "exports" not in path
        and "registry" not in path[:17]
        for match in re.finditer(r"`([a-z][a-z0-9_]*)(?:=[^`]*)?`", text)
        if match[1] not in OF_BUILDING | IN_PYTHON_ALONE
    }
    left = {name for name in asked if to_options(name) == name}
    assert len(asked) > 10 and not left


def test_a_command_that_a_message_names_has_the_options_that_it_names() -> None:
    pattern = re.compile(r"cortexia (dataset \w+|\w+)((?: [^-`\s]\S*)*)((?: --[a-z-]+(?: [A-Z0-9.]+)?)+)")
    found = [
        (match[1], option)
        for _, text in list_texts()
        for match in pattern.finditer(text)
        if match[1] in COMMANDS
        for option in re.findall(r"--[a-z-]+", match[3])
    ]
    assert len(found) > 3
    wrong = [(command, option) for command, option in found if option not in list_options(command)]
    assert wrong == []
