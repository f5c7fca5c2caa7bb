"""`run_bounded`: many small jobs on threads, of which only a few are looked for before they are begun."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

_AT_ONCE = 16  # objects that are looked at


_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def map_bounded(items: Sequence[_Item], work: Callable[[_Item], _Result], *, workers: int) -> list[_Result]:
    """Return what `work` gives for each item, in their order; otherwise as `run_bounded`."""
    found: dict[int, _Result] = {}
    run_bounded(
        range(len(items)),
        lambda number: (number, work(items[number])),
        lambda result: found.__setitem__(*result),
        workers=workers,
    )
    return [found[number] for number in range(len(items))]


def run_bounded(
    items: Iterable[_Item],
    work: Callable[[_Item], _Result],
    settle: Callable[[_Result], object],
    *,
    workers: int,
) -> None:
    """Call `work` for each item on one of `workers` threads, and `settle` with what it gives on this thread.

    Results are settled as they come: one slow item holds up nobody. Of items that are not settled there are
    two a worker, no more, so that memory does not grow with their number. An error of `work` is raised here,
    and then, as after any error, what waits is not begun and what was begun is waited for.
    """
    finished: SimpleQueue[Future[_Result]] = SimpleQueue()
    waiting = 0
    with ThreadPoolExecutor(workers, thread_name_prefix="cortexia") as pool:
        try:
            for item in items:
                if waiting >= 2 * workers:
                    settle(finished.get().result())
                    waiting -= 1
                pool.submit(work, item).add_done_callback(finished.put)
                waiting += 1
            for _ in range(waiting):
                settle(finished.get().result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def map_in_order(work: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """Yield `work` of each item, in order; a few are worked on ahead, on threads."""
    waiting: deque[Future[_Result]] = deque()
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="cortexia") as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= _AT_ONCE:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
