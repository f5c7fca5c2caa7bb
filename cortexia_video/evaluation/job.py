"""`evaluate`: depth of several contestants against one truth, by a protocol, beside the baselines."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from cortexia_video.errors import Failure, InputError
from cortexia_video.evaluation.baselines import BASELINES
from cortexia_video.evaluation.items import Item, Items
from cortexia_video.evaluation.picture_score import PictureScore, score_aligned, score_picture
from cortexia_video.evaluation.predictions import Contestant, Guess
from cortexia_video.evaluation.protocol import Protocol
from cortexia_video.evaluation.score_file import ScoreFile, find_digest
from cortexia_video.evaluation.truth import Truth
from cortexia_video.frame import Frame
from cortexia_video.speed import choose_workers

Progress = Callable[[int], None]


@dataclass(slots=True)
class Column:
    """What one contestant, or baseline, scored: by set, in the order of the truth."""

    name: str
    is_baseline: bool
    scores: dict[str, list[PictureScore]] = field(default_factory=dict)

    def remarks(self) -> list[tuple[str, str]]:
        """Give the pictures that a person must know of, and why."""
        every = (score for scores in self.scores.values() for score in scores)
        return [(score.key, score.remark) for score in every if score.remark]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All scores. counting: sets that are in the mean of sets. left: pictures without a usable reference."""

    protocol: Protocol
    place: str
    columns: Sequence[Column]
    counting: Sequence[str]
    left: Sequence[Failure]

    @property
    def is_complete(self) -> bool:
        """Say that every picture had a reference and every contestant depth that could be measured."""
        return not self.left and not any(column.remarks() for column in self.columns)


def evaluate(
    truth: Truth,
    contestants: Sequence[Contestant],
    protocol: Protocol,
    *,
    output: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    on_picture: Progress = lambda count: None,
) -> Evaluation:
    """Measure every contestant, and the baselines, on every picture of the truth.

    output: a folder for `scores.jsonl`, from which the same call goes on; nothing is kept without.
    workers: threads that read references and measure, while the model works; one a core by default.
    A picture without depth, or with depth that cannot be measured, counts as unknown everywhere, with a
    remark.

    Raises `InputError` where a model has no pictures to look at, a kind does not allow the alignment, two
    contestants have one name, or no picture has a reference; `OutputError` where nothing can be written.
    """
    _require_contestants(truth, contestants)
    job = _Job(truth, protocol, choose_workers(workers), on_picture)
    with ScoreFile(Path(output) if output else None) as kept:
        job.kept = kept
        columns = [job.measure(contestant) for contestant in contestants]
        columns += job.measure_baselines()
    _sort(columns)
    left = job.left
    counting = [each.name for each in truth.sets if each.counts]
    if not any(columns[-1].scores.values()):
        reason = f": {left[0].key}: {left[0].reason}" if left else ""
        raise InputError(f"no picture in {truth.place} has a reference that can be used{reason}")
    return Evaluation(protocol, truth.place, columns, counting, left)


def _require_contestants(truth: Truth, contestants: Sequence[Contestant]) -> None:
    names = [each.name for each in contestants]
    if len({*names}) < len(names):
        raise InputError(f"{', '.join(names)}: two have one name: give each once")
    blind = [each.name for each in contestants if each.needs_pictures and not truth.has_pictures]
    if blind:
        raise InputError(
            f"{truth.place} has no pictures for {blind[0]} to look at: estimate their depth first and give "
            "its folder, or give a data set"
        )


def _sort(columns: Sequence[Column]) -> None:
    """Put the pictures of all into one order: what was kept comes before what is new."""
    for column in columns:
        for scores in column.scores.values():
            scores.sort(key=lambda score: score.key)


class _Job:
    def __init__(self, truth: Truth, protocol: Protocol, workers: int, on_picture: Progress) -> None:
        self.kept = ScoreFile(None)
        self._items = Items(truth, protocol, workers=workers)
        self._protocol = protocol
        self._workers = workers
        self._on_picture = on_picture
        self._done = 0

    @property
    def left(self) -> list[Failure]:
        """What has no reference that can be used."""
        return list(self._items.left.values())

    def measure(self, contestant: Contestant) -> Column:
        """Measure a contestant on all pictures; what is kept is not done again."""
        column = Column(contestant.name, False)
        with ThreadPoolExecutor(self._workers, thread_name_prefix="cortexia") as pool:
            waiting: deque[tuple[Item, PictureScore | Future[PictureScore]]] = deque()
            for item, outcome in self._follow(contestant, pool):
                waiting.append((item, outcome))
                if len(waiting) > 4 * self._workers:
                    self._settle(column, *waiting.popleft())
            while waiting:
                self._settle(column, *waiting.popleft())
        return column

    def measure_baselines(self) -> list[Column]:
        """Fit the baselines to each reference, and measure them."""
        columns = [Column(name, True) for name in BASELINES]
        with ThreadPoolExecutor(self._workers, thread_name_prefix="cortexia") as pool:
            waiting: deque[tuple[Item, Future[list[PictureScore]]]] = deque()

            def settle() -> None:
                item, future = waiting.popleft()
                for column, score in zip(columns, future.result(), strict=True):
                    column.scores.setdefault(item.within.name, []).append(score)

            for item in self._items.read():
                waiting.append((item, pool.submit(self._score_baselines, item)))
                if len(waiting) > 2 * self._workers:
                    settle()
            while waiting:
                settle()
        return columns

    def _follow(
        self, contestant: Contestant, pool: ThreadPoolExecutor
    ) -> Iterator[tuple[Item, PictureScore | Future[PictureScore]]]:
        """Yield each picture with its score, or with what will be that; only what is not kept is guessed.

        The contestant reads frames ahead: they are asked for here, and pictures that are kept go by.
        """
        asked: deque[Item] = deque()
        known: deque[tuple[Item, PictureScore]] = deque()

        def ask() -> Iterator[Frame]:
            for item in self._items.read():
                score = self.kept.get(self._name(contestant, item))
                if score is None:
                    asked.append(item)
                    yield item.frame
                else:
                    known.append((item, score._replace(key=item.frame.key)))

        for guess in contestant.guess(ask()):
            while known:
                yield known.popleft()
            item = asked.popleft()
            yield item, pool.submit(self._score, contestant, item, guess)
        yield from known

    def _settle(self, column: Column, item: Item, outcome: PictureScore | Future[PictureScore]) -> None:
        score = outcome if isinstance(outcome, PictureScore) else outcome.result()
        column.scores.setdefault(item.within.name, []).append(score)
        self._done += 1
        self._on_picture(self._done)

    def _score(self, contestant: Contestant, item: Item, guess: Guess) -> PictureScore:
        """On a worker: measure depth, and keep what it gave."""
        depth = None if isinstance(guess, Failure) else guess
        score = score_picture(depth, item.reference, self._protocol)
        if isinstance(guess, Failure):
            score = score._replace(remark=f"no depth: {guess.reason}")
        self.kept.add(self._name(contestant, item), score)
        return score

    def _score_baselines(self, item: Item) -> list[PictureScore]:
        reference = item.reference
        return [
            score_aligned(
                baseline(reference.depth_m, reference.mask, reference.max_m), reference, self._protocol
            )
            for baseline in BASELINES.values()
        ]

    def _name(self, contestant: Contestant, item: Item) -> str:
        return find_digest(item.digest.encode(), contestant.identify(item.frame.key))
