"""The library names parameters; the command line says options."""

from __future__ import annotations

import logging
import re
from pathlib import Path

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
    assert said.endswith(f"{old} is now {new}.\n") and said.count("\n") == 1


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
        r"cortexia (verify|convert|dataset build) |ray start|--revision|without --sparse|cortexia convert RUN"
        "|tar --sort=name"
    )
    found = [
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        if "cli" not in path.relative_to(PACKAGE).parts
        for line in path.read_text().splitlines()
        if re.search(r'"[^"]*--[a-z][a-z-]+', line) and not others.search(line)
    ]
    assert found == []
