"""`Stage`: a piece of work that people wait for. The library says how far it is, to who watches; else nobody hears."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import TypeVar

_Item = TypeVar("_Item")


class Stage:
    """How far one piece of work is; as text one line, like `estimating: 12 of 60 images, 3.1 per second, 0:15 left`.

    Attributes:
        name: What is done, such as "estimating".
        unit: What is counted, such as "images"; "bytes" are shown as MB.
        total: How many there are; None where nobody knows.
        done: How many of them are through.
        note: What else there is to say now, such as the loss of a training.
        ended: Whether it is over.
    """

    def __init__(
        self,
        name: str,
        unit: str,
        total: int | None,
        *,
        count: Callable[[], int] | None = None,
        listener: Callable[[Stage], None] = lambda stage: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.unit, self.total = name, unit, total
        self.done, self.note, self.ended = 0, "", False
        self._worked = 0  # of `done`; what was skipped says nothing about what follows
        self._count, self._listener, self._clock = count, listener, clock
        self._began = self._working_since = clock()

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count so many more that are through."""
        self._worked += count
        self._change(count, note)

    def skip(self, count: int = 1) -> None:
        """Count so many more that needed no work."""
        if not self._worked:
            self._working_since = self._clock()
        self._change(count, "")

    def end(self) -> None:
        """End it."""
        if not self.ended:
            self.ended = True
            self._listener(self)

    def find_total(self) -> None:
        """Find out how many there are, where that takes a while: called by who shows it, on a thread of its own."""
        count, self._count = self._count, None
        if count and self.total is None:
            with contextlib.suppress(Exception):  # the work itself raises it, or there is nothing to count
                self.total = count()

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        return self._clock() - self._began

    @property
    def rate(self) -> float | None:
        """How many are worked on per second; None before the first."""
        seconds = self._clock() - self._working_since
        return self._worked / seconds if self._worked and seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds that the others take at this rate; None where total or rate is not known."""
        rate = self.rate
        return None if rate is None or self.total is None else max(0, self.total - self.done) / rate

    def parts(self) -> dict[str, str]:
        """Return what there is to say, in words: `count`, `rate`, `left`, `note`; "" where there is nothing."""
        if self.total is not None and self.done > self.total:
            self.total = None  # what was counted has changed since
        of = f"{self.total:,}" if self.total is not None else ""
        done, unit = f"{self.done:,}", f" {self.unit}"
        if self.unit == "bytes":
            done, unit = f"{self.done / 1e6:,.0f}", " MB"
            of = f"{self.total / 1e6:,.0f}" if self.total is not None else ""
        left, rate, per_second = self.seconds_left, self.rate, ""
        if rate is not None and self.unit == "bytes":
            per_second = f"{rate / 1e6:.1f} MB per second"
        elif rate is not None:
            per_second = f"{rate:.1f} per second" if rate >= 0.5 else f"{1 / rate:.1f} s each"
        return {
            "count": f"{done} of {of}{unit}" if of else f"{done}{unit}" if self.done else "",
            "rate": per_second,
            "left": f"{format_clock(left)} left" if left is not None and not self.ended else "",
            "note": self.note,
        }

    def __str__(self) -> str:
        said = ", ".join(filter(None, self.parts().values())) or format_clock(self.seconds)
        return f"{self.name}: {said}"

    def _change(self, count: int, note: str) -> None:
        self.done += count
        self.note = note or self.note
        self._listener(self)


_listener: ContextVar[Callable[[Stage], None] | None] = ContextVar("listener", default=None)


@contextlib.contextmanager
def watch_progress(listener: Callable[[Stage], None]) -> Iterator[None]:
    """Call a function with each stage of what is done inside: when it begins, moves on and ends.

    Args:
        listener: Takes the `Stage`, on whatever thread works on it; it must be quick. What it raises ends the work.

    Returns:
        A context manager around the work.

    Example:
        >>> with cx.watch_progress(print):  # doctest: +SKIP
        ...     cx.verify("depth")
        checking: 0 of 120 outputs
    """
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def begin_stage(
    name: str, unit: str = "images", total: int | None = None, *, count: Callable[[], int] | None = None
) -> Stage:
    """Begin a stage, which somebody else ends. count: finds the total, if anybody asks for it."""
    listener = _listener.get()
    stage = Stage(name, unit, total, count=count, listener=listener or (lambda stage: None))
    if listener:
        listener(stage)
    return stage


@contextlib.contextmanager
def stage(
    name: str, unit: str = "images", total: int | None = None, *, count: Callable[[], int] | None = None
) -> Iterator[Stage]:
    """Begin a stage, which ends with the block."""
    begun = begin_stage(name, unit, total, count=count)
    try:
        yield begun
    finally:
        begun.end()


def track(
    items: Iterable[_Item], name: str, unit: str = "images", total: int | None = None
) -> Iterator[_Item]:
    """Yield items; each counts once the next one is asked for."""
    with stage(name, unit, total) as begun:
        for item in items:
            yield item
            begun.advance()


def format_clock(seconds: float) -> str:
    """Write seconds as 0:09, 12:34 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
