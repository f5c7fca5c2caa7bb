"""`FocalLengths`: those of all images of a folder, as numbers; and the most unusual ones whole."""

from __future__ import annotations

import heapq
import math
from array import array
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cortexia_video.images.exif import FILM_DIAGONAL_MM

_EXTREMES_KEPT = 50  # at each end


class FocalLength(NamedTuple):
    """film_mm: the focal length that gives the same diagonal field of view on 36 x 24 mm film, mm.

    It does not change when an image is resized. f_px: in pixels of the image. line: of the ledger.
    """

    film_mm: float
    f_px: float
    source: str
    line: Mapping[str, Any]


class FocalLengths:
    """Takes in lines of a ledger. unknown: how many images had none. A million take 16 MB."""

    def __init__(self) -> None:
        self.unknown = 0
        self._film_mm: dict[str, array[float]] = {}
        self._f_px: dict[str, array[float]] = {}
        self._shortest: list[tuple[float, int, FocalLength]] = []
        self._longest: list[tuple[float, int, FocalLength]] = []

    def add(self, line: Mapping[str, Any]) -> None:
        """Count a line that says `done`; where it is no good, its image has no focal length."""
        f_px, size = line.get("f_px"), line.get("full_size") or (line.get("height"), line.get("width"))
        try:
            diagonal = math.hypot(*size)
        except TypeError:
            diagonal = 0.0
        if not isinstance(f_px, int | float) or not 0 < f_px < math.inf or not diagonal:
            self.unknown += 1
            return
        focal = FocalLength(f_px * FILM_DIAGONAL_MM / diagonal, f_px, str(line.get("f_source")), line)
        self._film_mm.setdefault(focal.source, array("d")).append(focal.film_mm)
        self._f_px.setdefault(focal.source, array("d")).append(focal.f_px)
        _keep(self._longest, focal.film_mm, focal, len(self))
        _keep(self._shortest, -focal.film_mm, focal, len(self))

    def __len__(self) -> int:
        return sum(map(len, self._f_px.values()))

    @property
    def film_mm(self) -> dict[str, NDArray[np.float64]]:
        """Return the 35 mm equivalents, mm, of each source, the source with most images first."""
        return _as_arrays(self._film_mm)

    @property
    def f_px(self) -> dict[str, NDArray[np.float64]]:
        """Return the focal lengths in pixels of each source, in the order of `film_mm`."""
        return _as_arrays(self._f_px)

    def extremes(self) -> Iterator[FocalLength]:
        """Yield the shortest, then the longest: up to 50 each, without doubles."""
        seen = set()
        for _, number, focal in (*sorted(self._shortest, reverse=True), *sorted(self._longest, reverse=True)):
            if number not in seen:
                seen.add(number)
                yield focal


def _keep(heap: list[tuple[float, int, FocalLength]], rank: float, focal: FocalLength, number: int) -> None:
    """Keep what ranks highest."""
    if len(heap) < _EXTREMES_KEPT:
        heapq.heappush(heap, (rank, number, focal))
    elif rank > heap[0][0]:
        heapq.heapreplace(heap, (rank, number, focal))


def _as_arrays(numbers: Mapping[str, array[float]]) -> dict[str, NDArray[np.float64]]:
    return {
        source: np.frombuffer(values)
        for source, values in sorted(numbers.items(), key=lambda each: (-len(each[1]), each[0]))
    }
