"""Progress on stderr, of every command alike: bars on a terminal, elsewhere a line every half minute."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cortexia_video.cli.quiet import is_quiet, is_verbose
from cortexia_video.errors import printable
from cortexia_video.runtime.progress import Stage, watch_progress

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

SECONDS_BETWEEN_LINES = 30.0
_SECONDS_BEFORE_BAR = 0.5  # what is over sooner needs none
_SHOWN = 4  # stages at once
_DROPPED = ("rate", "left", "note")  # of a bar's line, in this order, where the terminal is narrow
_LEAST_BAR, _LARGEST_BAR = 8, 40  # characters
_SPINNER = "-\\|/"  # where nobody knows how many there are


@contextmanager
def show_progress() -> Iterator[None]:
    """Show what stages the work inside is in, unless quiet was asked for."""
    if is_quiet():
        yield
        return
    view = Bars() if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else Lines()
    try:
        with watch_progress(view.take):
            yield
    finally:
        view.close()


class Lines:
    """Prints a line for the stages that are on, every half minute; the first after one."""

    every_s = SECONDS_BETWEEN_LINES

    def __init__(self) -> None:
        self.stages: list[Stage] = []  # in the order in which they began
        self._changing = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._counted: set[int] = set()

    def take(self, stage: Stage) -> None:
        """Note a stage that begins, moves on or ends."""
        if stage.ended or stage not in self.stages:
            with self._changing:
                self.stages = [each for each in self.stages if each is not stage]
                self.stages += [] if stage.ended else [stage]
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, daemon=True, name="progress")
                    self._thread.start()
            if stage.ended and is_verbose():
                print(f"{printable(str(stage))}; {stage.seconds:.3f} s", file=sys.stderr, flush=True)
        if not self.stages:
            self.hide()

    def close(self) -> None:
        """Show nothing any more."""
        self._over.set()
        self.stages = []
        self.hide()
        if self._thread:
            self._thread.join(1)

    def tick(self) -> None:
        """Show the stages that are on; who knows no total yet finds it out meanwhile."""
        for each in self.stages:
            if id(each) not in self._counted:
                self._counted.add(id(each))
                threading.Thread(target=each.find_total, daemon=True).start()
        self.show()

    def show(self) -> None:
        if self.stages:
            print("; ".join(printable(str(each)) for each in self.stages), file=sys.stderr, flush=True)

    def hide(self) -> None:
        """Take away what is shown, if it is not to stay."""

    def _run(self) -> None:
        while not self._over.wait(self.every_s):
            self.tick()


class Bars(Lines):
    """Draws a bar for each stage, which goes away with it."""

    every_s = _SECONDS_BEFORE_BAR

    def __init__(self) -> None:
        super().__init__()
        self._live: Live | None = None

    def show(self) -> None:
        from rich.console import Console, Group
        from rich.live import Live

        with self._changing:
            if self._live is None and self.stages and not self._over.is_set():
                console = Console(stderr=True)
                self._live = Live(
                    get_renderable=lambda: Group(
                        *(draw_bar(each, console.width) for each in self.stages[-_SHOWN:])
                    ),
                    console=console,
                    transient=True,
                    redirect_stdout=sys.stdout.isatty(),  # what is piped stays where it was sent
                )
                self._live.start()

    def hide(self) -> None:
        with self._changing:
            if self._live is not None and not self.stages:
                self._live.stop()
                self._live = None


def draw_bar(stage: Stage, width: int) -> Table:
    """Return a stage as one line of a terminal of that width: name, bar, count, rate, time left, note."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    parts = stage.parts()
    name = printable(stage.name)
    name = name if len(name) <= width // 3 else "..." + name[3 - width // 3 :]
    least = _LEAST_BAR if stage.total else 1
    for dropped in (*_DROPPED, "count"):
        said = "  ".join(filter(None, parts.values()))
        room = width - len(name) - len(said) - 3
        if room >= least:
            break
        parts[dropped] = ""
    bar: ProgressBar | Text = Text(_SPINNER[int(4 * stage.seconds) % len(_SPINNER)])
    if stage.total:
        bar = ProgressBar(stage.total, stage.done, width=max(1, min(room, _LARGEST_BAR)))
    line = Table.grid(padding=(0, 1, 0, 0))
    line.add_row(Text(name, no_wrap=True), bar, Text(said, no_wrap=True))
    return line
