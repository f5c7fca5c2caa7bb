"""`map_bounded`: work on threads, of which only a few items are taken before their results are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

AT_ONCE = 16
"""Threads for work that waits for a disk or the network, not for a core."""
MEMORY = 1 << 30
"""Bytes of results whose sizes are told, over all that are worked on or wait to be taken."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def map_bounded(
    items: Iterable[_Item],
    work: Callable[[_Item], _Result],
    *,
    workers: int,
    ordered: bool = True,
    size_of: Callable[[_Result], int] | None = None,
) -> Iterator[_Result]:
    """Yield what `work` gives for each item, on threads: in the items' order, or each as soon as it is done.

    Two items a worker are taken and not yet given back, no more, so that memory does not grow with their
    number. An error of `work` is raised in its result's place. After any error, and where the caller ends
    early, what waits is not begun and what was begun is waited for.

    Args:
        items: Looked for on the calling thread.
        work: Called on one of the threads.
        workers: Number of threads.
        ordered: False where one slow item is to hold up nobody.
        size_of: Returns the bytes that a result took. The first item is then worked on alone, and after it no
            more at once than fit into `MEMORY`, were all as large as the largest so far.
    """
    results: SimpleQueue[Future[_Result]] = SimpleQueue()
    waiting, most, largest = 0, 1 if size_of else 2 * workers, 1
    with ThreadPoolExecutor(workers, thread_name_prefix="cortexia") as pool:
        try:
            for item in items:
                while waiting >= most:
                    result = results.get().result()
                    waiting -= 1
                    if size_of:
                        largest = max(largest, size_of(result))
                        most = max(1, min(2 * workers, MEMORY // largest))
                    yield result
                future = pool.submit(work, item)
                if ordered:
                    results.put(future)
                else:
                    future.add_done_callback(results.put)
                waiting += 1
            for _ in range(waiting):
                yield results.get().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def run_bounded(
    items: Iterable[_Item],
    work: Callable[[_Item], _Result],
    collect: Callable[[_Result], object],
    *,
    workers: int,
) -> None:
    """Call `work` for each item on threads, and `collect` with each result, as they come, on this one."""
    for result in map_bounded(items, work, workers=workers, ordered=False):
        collect(result)
