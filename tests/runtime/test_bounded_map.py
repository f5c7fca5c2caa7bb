"""Work on threads is looked for only so far ahead, settled as it comes, and ends where something is wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from conftest import HANG_S

from cortexia_video.runtime.bounded_map import MEMORY, map_bounded, run_bounded


def test_every_item_is_recorded_once_and_few_wait() -> None:
    found, settled, most = 0, [], 0

    def find() -> Iterator[int]:
        nonlocal found, most
        for number in range(500):
            found += 1
            most = max(most, found - len(settled))
            yield number

    run_bounded(find(), lambda number: -number, settled.append, workers=3)
    assert sorted(settled) == [-number for number in reversed(range(500))]
    assert most <= 7  # two a worker, and the one that is just found


def test_a_slow_item_holds_up_nobody() -> None:
    last = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert last.wait(HANG_S)
        if number == 3:
            last.set()
        return number

    order: list[int] = []
    run_bounded(range(4), work, order.append, workers=2)
    assert order == [1, 2, 3, 0]


def test_an_error_is_raised_and_what_waits_is_not_begun() -> None:
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        raise OSError(number)

    with pytest.raises(OSError, match="0"):
        run_bounded(range(1000), work, lambda _: None, workers=1)
    assert len(begun) <= 3


def test_results_come_in_order_and_few_items_are_taken() -> None:
    taken: list[int] = []

    def find() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    given: list[int] = []
    for result in map_bounded(find(), lambda number: -number, workers=2):
        given.append(result)
        assert len(taken) - len(given) <= 4  # two a worker
    assert given == [-number for number in range(100)]


def test_who_ends_early_leaves_no_thread_and_begins_nothing_more() -> None:
    before, begun = threading.active_count(), []
    results = map_bounded(range(1000), begun.append, workers=2)
    next(results)
    results.close()
    assert threading.active_count() == before
    assert len(begun) <= 5


def test_an_error_in_what_finds_or_collects_leaves_no_thread() -> None:
    def find() -> Iterator[int]:
        yield 1
        raise ValueError("found wrong")

    before = threading.active_count()
    with pytest.raises(ValueError, match="found wrong"):
        run_bounded(find(), str, lambda _: None, workers=2)
    with pytest.raises(KeyError):
        run_bounded([1], str, {}.__getitem__, workers=2)
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("size", "at_most"), [(1, 8), (MEMORY // 100, 8), (MEMORY // 3, 3), (MEMORY, 1), (4 * MEMORY, 1)]
)
def test_results_that_tell_their_size_fit_into_memory_together(size: int, at_most: int) -> None:
    """Begun and not yet taken: as many as fit, whatever the workers; at first one, whose size nobody knows."""
    lock, held, most = threading.Lock(), 0, [0]

    def work(number: int) -> int:
        nonlocal held
        with lock:
            held += 1
            most.append(held)
        return number

    for number in map_bounded(range(60), work, workers=4, size_of=lambda _: size):
        with lock:
            held -= 1
        assert number < 60
    assert most[1] == 1 and max(most) <= at_most
    if at_most > 1:
        assert max(most) > 1, "several at once where they fit"


def test_a_large_result_among_small_ones_holds_back_the_others() -> None:
    """From the first large one on no two are held; before it, all that fit by what was known."""
    lock, held, after = threading.Lock(), 0, []

    def work(number: int) -> int:
        nonlocal held
        with lock:
            held += 1
        return number

    for number in map_bounded(range(60), work, workers=4, size_of=lambda n: MEMORY if n == 20 else 1):
        with lock:
            held -= 1
            if number >= 30:
                after.append(held)
    assert len(after) == 30 and max(after) <= 1
