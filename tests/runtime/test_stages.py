"""Stages say how far they are, at which rate, and what is left; only who watches hears of them."""

from __future__ import annotations

import threading

import pytest

import cortexia_video as cx
from cortexia_video.runtime.progress import Stage, begin_stage, format_clock, stage, track


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_rate_and_time_left_are_those_of_the_work_done() -> None:
    clock = Clock()
    each = Stage("estimating", "images", 60, clock=clock)
    assert str(each) == "estimating: 0 of 60 images"
    clock.now += 4
    each.advance(12)
    assert (each.rate, each.seconds_left) == (3.0, 16.0)
    assert str(each) == "estimating: 12 of 60 images, 3.0 per second, 0:16 left"
    clock.now += 96
    assert str(each) == "estimating: 12 of 60 images, 8.3 s each, 6:40 left"


def test_what_was_skipped_says_nothing_about_the_rate() -> None:
    clock = Clock()
    each = Stage("estimating", "images", 1000, clock=clock)
    clock.now += 5
    each.skip(900)
    assert each.rate is None and each.seconds_left is None
    clock.now += 10
    each.advance(20, note="1 failed")
    assert str(each) == "estimating: 920 of 1,000 images, 2.0 per second, 0:40 left, 1 failed"


@pytest.mark.parametrize(
    ("total", "done", "unit", "said"),
    [
        (None, 0, "images", "x: 0:30"),
        (None, 3000, "files", "x: 3,000 files, 100.0 per second"),
        (1_900_000_000, 300_000_000, "bytes", "x: 300 of 1,900 MB, 10.0 MB per second, 2:40 left"),
        (2, 3, "images", "x: 3 images, 10.0 s each"),  # more than were counted: nobody knows how many
    ],
)
def test_what_is_not_known_is_left_out(total: int | None, done: int, unit: str, said: str) -> None:
    clock = Clock()
    each = Stage("x", unit, total, clock=clock)
    clock.now += 30
    if done:
        each.advance(done)
    assert str(each) == said


def test_times_are_written_as_clocks_show_them() -> None:
    assert [format_clock(each) for each in (0.4, 59.6, 754, 3723)] == ["0:00", "1:00", "12:34", "1:02:03"]


def test_a_listener_is_called_at_each_step_and_nobody_else_is() -> None:
    seen: list[str] = []

    def note(each: Stage) -> None:
        seen.append(f"{each.name} {each.done} {each.ended}")

    with cx.watch_progress(note), stage("outer", total=2) as outer:
        assert [*track("ab", "inner", "letters", 2)] == ["a", "b"]
        outer.advance()
    with stage("unseen"):
        pass
    inner = ["inner 0 False", "inner 1 False", "inner 2 False", "inner 2 True"]
    assert seen == ["outer 0 False", *inner, "outer 1 False", "outer 1 True"]


def test_a_stage_moves_on_from_other_threads_too() -> None:
    seen: list[int] = []
    with cx.watch_progress(lambda each: seen.append(each.done)):
        begun = begin_stage("frames", total=1)
        thread = threading.Thread(target=begun.advance)
        thread.start()
        thread.join()
        begun.end()
        begun.end()
    assert seen == [0, 1, 1]


def test_a_stage_ends_with_its_error() -> None:
    ended: list[bool] = []
    with (
        pytest.raises(ValueError, match="no"),
        cx.watch_progress(lambda each: ended.append(each.ended)),
        stage("x"),
    ):
        raise ValueError("no")
    assert ended == [False, True]


def test_the_total_is_counted_for_who_asks_and_once() -> None:
    counted: list[int] = []

    def count() -> int:
        counted.append(1)
        return 7

    each = Stage("x", "images", None, count=count)
    assert each.total is None
    each.find_total()
    each.find_total()
    assert (each.total, counted) == (7, [1])

    def fail() -> int:
        raise OSError("gone")

    broken = Stage("x", "images", None, count=fail)
    broken.find_total()  # the work itself says what is wrong
    assert broken.total is None
