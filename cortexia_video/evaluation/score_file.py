"""`ScoreFile`: scores of pictures that are kept, so that the same command goes on where it was stopped.

One JSON object a line. A score is known by a digest of all it depends on: protocol, reference, picture,
depth.
"""

from __future__ import annotations

import json
import threading
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

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
        self._known: dict[str, PictureScore] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        if self._path:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._known = dict(_read(self._path)) if self._path.exists() else {}
                self._file = self._path.open("a", encoding="utf-8")
            except OSError as error:
                raise OutputError(f"cannot write {self._path}: {error.strerror}") from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._path:
            self._file.close()

    def get(self, digest: str) -> PictureScore | None:
        return self._known.get(digest)

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


def _read(path: Path) -> list[tuple[str, PictureScore]]:
    """Read the scores of a file; a line that was cut short is left out: its picture is done again."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            words = json.loads(line)
            sums = words.pop("sums")
            sums["within"] = tuple(sums["within"])
            found.append((words.pop("digest"), PictureScore(sums=PixelSums(**sums), **words)))
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
    return found
