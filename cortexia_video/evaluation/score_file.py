"""`ScoreFile`: scores of pictures that are kept, so that the same command goes on where it was stopped.

One JSON object a line. A score is known by a digest of all it depends on: protocol, reference, picture,
depth.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import xxhash

from cortexia_video.errors import OutputError, OutputLostError
from cortexia_video.evaluation.picture_score import PictureScore
from cortexia_video.evaluation.pixels import PixelSums

VERSION = b"2"  # of how scores are computed; another one makes those that are kept old


class ScoreFile:
    """The file `scores.jsonl` of an output folder, or nothing where there is none. A context manager.

    It knows the scores that were there when it was entered.
    """

    def __init__(self, root: Path | None) -> None:
        self._path = root / "scores.jsonl" if root else None
        self._known: dict[str, int] = {}  # by digest: where its line begins
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        if self._path:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("a", encoding="utf-8")
                self._kept = self._path.open("rb")
                self._known = dict(_find_scores(self._kept))
            except OSError as error:
                raise OutputError(f"cannot write {self._path}: {error.strerror}") from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._path:
            self._file.close()
            self._kept.close()

    def get(self, digest: str) -> PictureScore | None:
        """Give the score that was kept, if one was."""
        place = self._known.get(digest)
        if place is None:
            return None
        with self._lock:
            self._kept.seek(place)
            line = self._kept.readline()
        return _parse(line)[1]

    def add(self, digest: str, score: PictureScore) -> None:
        """Keep a score; raises `OutputLostError` when no more can be."""
        if self._path:
            words = {
                **score._asdict(),
                "sums": asdict(score.sums),
                "more": dict(score.more),
                "lacking": dict(score.lacking),
            }
            try:
                with self._lock:
                    self._file.write(json.dumps({"digest": digest, **words}) + "\n")
                    self._file.flush()
            except OSError as error:
                raise OutputLostError(self._path, error) from error


def find_digest(*parts: bytes) -> str:
    """Give one digest of all that a score depends on."""
    digest = xxhash.xxh3_128(VERSION)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def _find_scores(file: BinaryIO) -> Iterator[tuple[str, int]]:
    """Yield the digest of each score, and where its line begins.

    A line that was cut short is left out: its picture is done again.
    """
    place = 0
    for line in file:
        with suppress(ValueError, TypeError, KeyError, AttributeError):
            yield _parse(line)[0], place
        place += len(line)


def _parse(line: bytes) -> tuple[str, PictureScore]:
    words = json.loads(line)
    sums = words.pop("sums")
    sums["within"] = tuple(sums["within"])
    return words.pop("digest"), PictureScore(sums=PixelSums(**sums), **words)
