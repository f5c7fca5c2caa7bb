"""`ScoreFile`: scores of images that are kept, so that the same command goes on where it was stopped.

One JSON object a line, of one image and predictor. Its scores are known by a digest of all they depend on:
protocol, reference, image, depth. At a URL the file is put atomically, each minute and at the end; until then
it lies in the system's folder for what is temporary.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from types import TracebackType
from typing import Self

from cortexia_video.errors import Failure, OutputError, attempt, in_words
from cortexia_video.evaluation.image_score import ImageScore
from cortexia_video.evaluation.metrics.alignment import Fit
from cortexia_video.evaluation.metrics.pixel_sums import PixelSums
from cortexia_video.ledger.copied_log import open_log
from cortexia_video.storage.documents import parse_json
from cortexia_video.storage.paths import AnyPath, open_named

_LONGEST_S = 60.0  # for which scores may wait to be put at a URL
SCORES = "scores.jsonl"
MARKS = (b'{"digest": ',)


class ScoreFile:
    """The file `scores.jsonl` of an output folder, or nothing where there is none. A context manager.

    It knows the scores that were there when it was entered, and keeps other evaluations off the folder.
    Raises `OutputError` on entering where another one runs, or nothing can be written.
    """

    def __init__(self, root: AnyPath | None) -> None:
        self._path = root / SCORES if root else None
        self._known: dict[str, int] = {}  # by digest: where its line begins
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        if self._path is None:
            return self
        with ExitStack() as stack:
            self._log = stack.enter_context(
                open_log(self._path, MARKS, "evaluates into", longest_s=_LONGEST_S)
            )
            with in_words(f"cannot read {self._path}", kind=OutputError):
                self._kept = stack.enter_context(open_named(self._log.path))
                place = 0
                for line in self._kept:  # one that was cut short is left out: its image is done again
                    found = attempt(SCORES, "find", partial(_parse, line))
                    if not isinstance(found, Failure):
                        self._known[found[0]] = place
                    place += len(line)
            self._opened = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._path is not None:
            self._opened.__exit__(kind, error, trace)

    def get(self, digest: str) -> list[ImageScore]:
        """Return the scores that were kept, one for each alignment; none where none were."""
        place = self._known.get(digest)
        if place is None:
            return []
        with self._lock:
            self._kept.seek(place)
            line = self._kept.readline()
        return _parse(line)[1]

    def add(self, digest: str, scores: Sequence[ImageScore]) -> None:
        """Keep scores; raises `OutputLostError` when no more can be."""
        if self._path is None:
            return
        words = [
            {
                **score._asdict(),
                "sums": asdict(score.sums),
                "more": dict(score.more),
                "lacking": dict(score.lacking),
            }
            for score in scores
        ]
        with self._lock:
            self._log.append({"digest": digest, "scores": words})


def _parse(line: bytes) -> tuple[str, list[ImageScore]]:
    words = parse_json(line, SCORES, finite=False)
    scores = []
    for each in words["scores"]:
        sums = {**each.pop("sums")}
        sums["within"] = tuple(sums["within"])
        fit = each.pop("fit", None)
        scores.append(ImageScore(sums=PixelSums(**sums), fit=fit and Fit(*fit), **each))
    return words["digest"], scores
