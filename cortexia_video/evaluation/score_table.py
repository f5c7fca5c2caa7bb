"""`ScoreTable`: the scores of many images in little memory, each made when it is asked for."""

from __future__ import annotations

import operator
from array import array
from collections.abc import Iterator
from typing import NamedTuple

from cortexia_video.evaluation.image_score import ImageScore
from cortexia_video.evaluation.metrics.pixel_sums import ADDED, RATIOS, PixelSums

_SUMS = len(RATIOS) + len(ADDED) + 1  # numbers of a `PixelSums` beside its pixels


class _Words(NamedTuple):
    """What images share with many others. measured: metrics of groups. lacking: groups, and why."""

    measured: tuple[str, ...]
    lacking: tuple[tuple[str, str], ...]
    remark: str


class ScoreTable:
    """Scores of images, as a sequence: 184 bytes each beside the key, and 8 for each metric of a group."""

    def __init__(self) -> None:
        self._keys: list[str] = []
        self._numbers: list[bytes] = []  # float64: one array of all would be copied wherever it grows
        self._words: list[_Words] = []
        self._shared: dict[_Words, _Words] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[ImageScore]:
        return map(self.__getitem__, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ScoreTable):
            return NotImplemented
        return len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __getitem__(self, place: int) -> ImageScore:
        words = self._words[place]
        pixels, unknown, *rest = array("d", self._numbers[place])
        within = tuple(map(int, rest[: len(RATIOS)]))
        return ImageScore(
            self._keys[place],
            PixelSums(int(pixels), within, *rest[len(RATIOS) : _SUMS]),
            dict(zip(words.measured, rest[_SUMS:], strict=True)),
            dict(words.lacking),
            int(unknown),
            words.remark,
        )

    def add(self, score: ImageScore) -> None:
        """Keep a score, behind all others."""
        sums, more = score.sums, score.more
        added = (*(getattr(sums, name) for name in ADDED), sums.log_spread)
        numbers = (sums.pixels, score.unknown, *sums.within, *added, *more.values())
        words = _Words(tuple(more), tuple(score.lacking.items()), score.remark)
        self._keys.append(score.key)
        self._numbers.append(array("d", numbers).tobytes())
        self._words.append(self._shared.setdefault(words, words))

    def sort(self) -> None:
        """Put the images in the order of their keys."""
        order = sorted(range(len(self)), key=self._keys.__getitem__)
        self._keys = [self._keys[place] for place in order]
        self._numbers = [self._numbers[place] for place in order]
        self._words = [self._words[place] for place in order]

    def list_remarks(self) -> Iterator[tuple[str, str]]:
        """Yield the images that a person must know of, and why."""
        pairs = zip(self._keys, self._words, strict=True)
        return ((key, words.remark) for key, words in pairs if words.remark)
