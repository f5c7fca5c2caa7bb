"""What `bench.py` keeps of a benchmark: ratios, since a machine's own speed drifts; larger is better.

A time without anything beside it is compared with a yardstick: a fixed piece of work of Python and numpy.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sections import Figure

NOTES = "CORTEXIA_BENCH_NOTES"  # of the environment: the file that notes go to
_RATIOS = ("times as fast", "%")


def note(name: str, values: Sequence[float]) -> None:
    """Keep the ratios of some rounds, where `bench.py` asks for them."""
    if path := os.environ.get(NOTES):
        with Path(path).open("a") as file:
            print(json.dumps({"name": name, "values": [*map(float, values)]}), file=file)


def note_seconds(name: str, seconds: Sequence[float]) -> None:
    """Keep times of some rounds, against the yardstick's."""
    if NOTES in os.environ:
        note(f"{name}, against the yardstick", [measure_yardstick() / each for each in seconds])


def note_figures(section: str, figures: Iterable[Figure]) -> None:
    """Keep the ratios among a table's figures."""
    for figure in figures:
        if figure.unit in _RATIOS:
            note(f"{section}: {figure.what}", figure.values)


@cache
def measure_yardstick() -> float:
    """Return the least core-seconds of a few turns of fixed work."""
    lines = [json.dumps({"key": f"{number:06d}", "values": [number] * 8}) for number in range(4000)]
    numbers = np.random.default_rng(0).random(200_000)

    def turn() -> float:
        started = time.process_time()
        for line in lines:
            json.loads(line)
        np.sort(numbers)
        return time.process_time() - started

    return min(turn() for _ in range(7))
