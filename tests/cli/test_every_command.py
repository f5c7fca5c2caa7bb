"""Every command that there is: it says how far it is, and what it prints fits a terminal of 80 and of 60 columns."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from dataset_layouts import make_rgbd, make_scene
from PIL import Image
from rich.console import Console

import cortexia_video as cx
from cortexia_video import DepthEstimator, SyntheticModel
from cortexia_video.cli import app, main
from cortexia_video.cli.streams import Terminal
from cortexia_video.runtime.progress import Stage, watch_progress

WORK = {  # a command line of each command, and the stages that it is in; IN and OUT stand for folders
    "estimate": ("IN/photos -o OUT/x --model synthetic", ["loading synthetic", "estimating"]),
    "info": ("IN/metres", ["counting", "looking"]),
    "report": ("IN/metres --output OUT/x.html", ["measuring", "drawing"]),
    "verify": ("IN/metres", ["checking"]),
    "pointcloud": ("IN/metres --output OUT/x", ["making point clouds"]),
    "convert": ("IN/metres --output OUT/x --format tiff", ["converting"]),
    "align": ("IN/relative -o OUT/x --near-m 1 --far-m 9", ["aligning"]),
    "scenes": ("--count 1 --size 48 64 --kinds close --workers 1 -o OUT/x", ["loading torch", "rendering"]),
    "evaluate": (
        "synthetic --truth IN/set",
        ["loading synthetic", "measuring synthetic", "computing intervals"],
    ),
    "export": (
        "hf:IN/checkpoint --size 28x28 --output OUT/x.onnx",
        ["exporting hf:IN/checkpoint"],
    ),
    "train": ("IN/recipe.toml --output OUT/x", ["loading torch", "training"]),
    "plan": (
        "IN/photos --model synthetic",
        ["counting", "looking", "estimating", "trying formats"],
    ),
    "status": ("IN/metres IN/photos", ["reading the ledger", "looking inputs up"]),
    "view": ("IN/metres --save OUT/x.rrd", ["reading"]),
    "compare": ("IN/metres IN/relative --output OUT/x", ["comparing"]),
    "merge": ("IN/parts", ["joining"]),
    "models check": ("synthetic IN/photos/0.jpg --expect IN/relative/0.jpg.npy", ["loading synthetic"]),
    "dataset build": ("IN/photos --depth IN/metres --output OUT/x", ["building"]),
    "dataset info": ("IN/set", ["looking"]),
    "dataset preview": ("IN/set --output OUT/x.png", ["reading"]),
}
AT_ONCE = {"models": "", "help": "formats", "dataset": ""}  # what these do is done in a moment
SLOW = ("export", "train")
RECIPE = """
name = "tiny"
steps = 2
batch_size = 2
short_sides = [64]
workers = 0
warm_up_steps = 2
bfloat16 = false
[network]
architecture = "hf:{checkpoint}"
[[data]]
dataset = "rgbd"
root = "{root}"
"""


def list_commands() -> set[str]:
    names = {name for name in app if not name.startswith("-")}
    below = {f"{of} {name}" for of in ("dataset", "models") for name in app[of] if not name.startswith("-")}
    return names | below


def test_every_command_is_tried_here() -> None:
    assert list_commands() == {*WORK, *AT_ONCE}, "a new command says how far it is: add it to WORK"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("inputs")
    (root / "photos").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"photos/{number}.jpg")
    metric = DepthEstimator(SyntheticModel(kind="metric"))
    cx.estimate(root / "photos", root / "metres", model=metric, f_px=100)
    cx.estimate(root / "photos", root / "relative", model="synthetic")
    make_rgbd(root / "set", make_scene(), 5)
    return root


class Screen(Terminal):
    """A terminal that keeps what is written to it."""

    def __init__(self) -> None:
        self.kept = io.BytesIO()
        super().__init__(io.BufferedWriter(self.kept), "utf-8", line_buffering=True)  # type: ignore[arg-type]

    def isatty(self) -> bool:
        return True

    def list_wide(self, columns: int) -> list[str]:
        """Return the lines that are too wide, but for those of one word, such as a path."""
        self.flush()
        lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.kept.getvalue().decode()).splitlines()
        assert lines
        return [line for line in lines if len(line.rstrip()) > columns and " " in line.strip()]


def run(
    words: list[str], columns: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[int | str | None, list[str], Screen]:
    """Run a command on a screen; return its exit code, the stages that it was in, and the screen."""
    stages: list[Stage] = []

    @contextlib.contextmanager
    def watch() -> Iterator[None]:
        with watch_progress(lambda stage: stages.append(stage) if stage not in stages else None):
            yield

    screen = Screen()
    monkeypatch.setattr("cortexia_video.cli.show_progress", watch)
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(app, "_console", Console())  # as in a process of its own
    monkeypatch.delenv("NO_COLOR", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(words)
    return ended.value.code, [each.name for each in stages if each.ended], screen


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in WORK]
)
def test_a_command_says_how_far_it_is_and_fits_its_terminal(
    name: str, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if name == "scenes":
        pytest.importorskip("torch")
    if name == "view":
        pytest.importorskip("rerun")
    if name in SLOW:
        checkpoint = request.getfixturevalue("checkpoints")("depth-anything")
        (inputs / "checkpoint").unlink(missing_ok=True)
        (inputs / "checkpoint").symlink_to(checkpoint)
        (inputs / "recipe.toml").write_text(RECIPE.format(checkpoint=checkpoint, root=inputs / "set"))
    if name == "merge":
        for number in (1, 2):
            cx.estimate(inputs / "photos", inputs / "parts", model="synthetic", partition=f"{number}/2")

    def fill(text: str) -> str:
        return text.replace("IN", str(inputs)).replace("OUT", str(tmp_path))

    words, stages = WORK[name]
    code, seen, screen = run([*name.split(), *fill(words).split()], 80, monkeypatch)
    assert code == 0
    assert {*map(fill, stages)} <= {*seen}
    if name != "train":  # it says all on stderr
        assert screen.list_wide(80) == []


@pytest.mark.parametrize("columns", [80, 60])
@pytest.mark.parametrize("name", ["", *WORK, *AT_ONCE])
def test_help_fits_its_terminal(name: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, screen = run([*name.split(), "--help"], columns, monkeypatch)
    assert code == 0 and screen.list_wide(columns) == []


@pytest.mark.parametrize("columns", [80, 60])
@pytest.mark.parametrize("name", AT_ONCE)
def test_what_is_done_at_once_fits_its_terminal(
    name: str, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, seen, screen = run([name, *AT_ONCE[name].split()], columns, monkeypatch)
    assert (code, seen) == (0, [])
    assert [line for line in screen.list_wide(columns) if not line.startswith(" ")] == []
