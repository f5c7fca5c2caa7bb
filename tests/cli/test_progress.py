"""What stderr shows of stages: bars on a terminal of any width, elsewhere a line every half minute."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import leave_out_progress
from rich.console import Console
from terminals import list_lines, run_in_terminal

from cortexia_video.cli import main
from cortexia_video.cli.progress import SECONDS_BETWEEN_LINES, Lines, draw_bar
from cortexia_video.runtime.progress import Stage

Make = Callable[..., Path]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class StillLines(Lines):
    """Lines whose clock a test moves: its thread never wakes."""

    every_s = 1e9


def train(clock: Clock) -> Stage:
    stage = Stage("training", "steps", 20_000, clock=clock)
    clock.now += 400
    stage.advance(1200, note="loss 0.1234, learning rate 0.0003")
    return stage


def draw(stage: Stage, width: int) -> str:
    console = Console(width=width, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(draw_bar(stage, width))
    return capture.get().rstrip("\n")


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_bar_fits_its_terminal_and_drops_what_does_not(width: int) -> None:
    said = draw(train(Clock()), width)
    assert "\n" not in said and len(said) <= width
    assert said.startswith("training ") and "1,200 of 20,000 steps" in said
    assert ("3.0 per second" in said) == (width > 100)
    assert ("loss 0.1234, learning rate 0.0003" in said) == (width >= 80)
    assert ("1:44:27 left" in said) == (width in (120,)) or "left" in said


def test_a_long_name_leaves_room_for_the_rest() -> None:
    stage = Stage("/".join(["holiday"] * 30) + "/clip.mp4", "frames", 900)
    said = draw(stage, 80)
    assert len(said) <= 80 and "/clip.mp4 " in said and said.endswith("0 of 900 frames")


def test_without_a_total_something_turns() -> None:
    clock = Clock()
    stage = Stage("loading compact", "images", None, clock=clock)
    first = draw(stage, 80)
    clock.now += 0.25
    assert first != draw(stage, 80) and first.startswith("loading compact ")


def test_elsewhere_there_is_a_line_every_half_minute(capsys: pytest.CaptureFixture[str]) -> None:
    assert SECONDS_BETWEEN_LINES == Lines.every_s == 30
    clock, view = Clock(), StillLines()
    stage = Stage("estimating", "images", 60, listener=view.take, clock=clock)
    view.take(stage)
    clock.now += 30
    stage.advance(12)
    assert capsys.readouterr().err == ""  # only the clock brings a line
    view.tick()
    clip = Stage("a\x1b.mp4", "frames", 90, listener=view.take, clock=clock)
    view.take(clip)
    view.tick()
    clip.end()
    stage.end()
    view.tick()
    view.close()
    line = "estimating: 12 of 60 images, 2.5 s each, 2:00 left"
    said = capsys.readouterr().err
    assert said == f"{line}\n{line}; a\\x1b.mp4: 0 of 90 frames\n"
    loading = f"{Stage('loading depth-pro', 'images', None, clock=clock)}\n"
    assert (
        leave_out_progress(f"cortexia: a\n{said}{loading}failed (decode): b\n")
        == "cortexia: a\nfailed (decode): b\n"
    )


def test_a_short_command_prints_no_line(
    tmp_path: Path, make_image: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    make_image(tmp_path / "in/a.jpg")
    with pytest.raises(SystemExit) as ended:
        main(["estimate", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--model", "synthetic"])
    assert (ended.value.code, capsys.readouterr().err) == (0, "")


def test_quiet_says_only_what_went_wrong(
    tmp_path: Path, make_image: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    make_image(tmp_path / "in/a.jpg")
    words = ["estimate", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--model", "synthetic", "--quiet"]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert (ended.value.code, capsys.readouterr()) == (0, ("", ""))
    (tmp_path / "in/b.jpg").write_bytes(b"")
    with pytest.raises(SystemExit) as ended:
        main(words)
    said = capsys.readouterr()
    assert ended.value.code == 1 and "b.jpg: empty file" in said.err and "1 failed" in said.out


def test_verbose_says_what_each_stage_took(
    tmp_path: Path, make_image: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    make_image(tmp_path / "in/a.jpg")
    with pytest.raises(SystemExit):
        main(["-v", "estimate", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--model", "synthetic"])
    said = capsys.readouterr()
    assert "\nspeed: " in said.out and "milliseconds of a core" in said.out
    assert [line.partition(":")[0] for line in said.err.splitlines()][:2] == [
        "loading synthetic",
        "estimating",
    ]
    assert all(line.endswith(" s") for line in said.err.splitlines()[:2])


SEEN = """
import time
from rich.live import Live
shown = []
refresh = Live.refresh
def note(self):
    refresh(self)
    console = self.console
    with console.capture() as capture:
        console.print(self.get_renderable())
    shown.append(capture.get())
Live.refresh = note
def seen(text):
    time.sleep(0.01)
    return any(text in each for each in shown)
"""
PROGRAM = """
from cortexia_video.cli.progress import show_progress
from cortexia_video.cli.streams import open_streams
from cortexia_video.runtime.progress import stage, track
open_streams()
with show_progress():
    with stage("loading compact"):
        while not seen("loading compact"): pass
    for number in track(range(3), "estimating", "images", 3):
        while not seen(f"{number} of 3 images"): pass
        print("done", number)
print("after")
"""


def test_a_bar_on_a_terminal_shows_each_step_and_goes_away(tmp_path: Path) -> None:
    """The program waits for its own terminal to show what it is to show, however slow the machine is."""
    program = tmp_path / "program.py"
    program.write_text(SEEN + PROGRAM)
    code, said = run_in_terminal(program=program)
    lines = list_lines(said)
    assert code == 0
    assert any(line.startswith("loading compact") for line in lines)
    assert [line for line in lines if line.startswith("done")] == ["done 0", "done 1", "done 2"]
    assert all(any(f"{number} of 3 images" in line for line in lines) for number in range(3))
    assert lines[-1] == "after" and said.endswith("after\n")


def test_what_is_piped_is_not_moved_to_the_terminal(tmp_path: Path) -> None:
    """stdout of a command whose stderr is a terminal stays stdout, while a bar is shown, too."""
    program = tmp_path / "program.py"
    program.write_text(SEEN + PROGRAM)
    code, said = run_in_terminal(program=program, stdout=tmp_path / "out")
    assert (code, (tmp_path / "out").read_text()) == (0, "done 0\ndone 1\ndone 2\nafter\n")
    assert "done" not in said and "loading compact" in said
