"""Processes that render: one thread each; none outlives its parent, and Ctrl-C is the parent's alone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import TypeVar

import torch

Part = TypeVar("Part")
Result = TypeVar("Result")


def render_in_processes(
    make: Callable[[Part], Result], parts: Sequence[Part], count: int
) -> Iterator[Result]:
    """Yield what `make` gives for each part, as it is done, in `count` processes.

    When the caller ends early, by an error or by Ctrl-C, what is under way is dropped at once.
    """
    context = multiprocessing.get_context("spawn")
    leash, hand = context.Pipe(duplex=False)
    with leash, hand, ProcessPoolExecutor(count, context, _start, (leash,)) as executor:
        try:
            with _without_interrupts():
                jobs = [executor.submit(make, part) for part in parts]
            for job in as_completed(jobs):
                yield job.result()
        except BaseException:
            hand.close()
            executor.shutdown(cancel_futures=True)
            raise


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Keep SIGINT back for the block; processes started in it never see one, not even while they import.

    Windows cannot keep one back: processes there end with a traceback, after the parent has.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(leash: Connection) -> None:
    """Use one thread, since scenes are too small to share, and end when the other end is let go."""
    torch.set_num_threads(1)

    def end() -> None:
        leash.poll(None)  # nothing is ever sent: it returns when the parent closes its end, or is gone
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
