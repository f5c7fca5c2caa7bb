"""Lines that are wider than a terminal go on between words."""

from __future__ import annotations

import io

import pytest

from cortexia_video.cli.streams import Terminal, wrap

WORDS = "what is done is kept: make room (or choose another --output) and run the same command again"


@pytest.mark.parametrize("width", [20, 40, 60, 80])
@pytest.mark.parametrize("line", [WORDS, f"cortexia: {WORDS}", f"  kind        {WORDS}", f"    {WORDS}"])
def test_lines_are_broken_between_words_and_nothing_is_lost(line: str, width: int) -> None:
    lines = wrap(line, width).split("\n")
    assert max(map(len, lines)) <= width
    assert " ".join(" ".join(lines).split()) == " ".join(line.split())
    indents = {len(each) - len(each.lstrip()) for each in lines[1:]}
    assert len(indents) == 1


def test_what_stands_in_two_columns_stays_there() -> None:
    first, second = wrap(
        "  kind        inverse depth up to a factor and a shift, larger is nearer", 50
    ).split("\n")
    assert first.index("inverse") == 14 == len(second) - len(second.lstrip())


@pytest.mark.parametrize("line", ["short", "/a" * 60, "\x1b[31mred " * 30])
def test_what_fits_has_no_spaces_or_is_drawn_is_left_alone(line: str) -> None:
    assert wrap(line, 40) == line


def test_a_terminal_takes_lines_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    raw = io.BytesIO()
    screen = Terminal(raw, "utf-8", line_buffering=True)
    print("one two three", "four five six", sep=" ", file=screen)
    assert raw.getvalue() == b"one two three four\n  five six\n"
    print("wait", end="", file=screen, flush=True)
    assert raw.getvalue().endswith(b"\nwait")
