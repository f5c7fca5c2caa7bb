"""`measure_predictors`: depth of several predictors against one ground truth, by a protocol, beside baselines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

import numpy as np

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import CortexiaError, Failure, InputError
from cortexia_video.evaluation.baselines import BASELINES
from cortexia_video.evaluation.eval_items import Destination, EvalItem, Items
from cortexia_video.evaluation.ground_truth import GroundTruth
from cortexia_video.evaluation.image_score import ImageScore, score_baseline, score_image
from cortexia_video.evaluation.metrics.registry import choose_groups
from cortexia_video.evaluation.predictors import FolderPredictor, Prediction, Predictor, Work
from cortexia_video.evaluation.protocol import Protocol
from cortexia_video.evaluation.score_file import ScoreFile, find_digest
from cortexia_video.inference.executor import Skipped
from cortexia_video.runtime.bounded_map import run_bounded
from cortexia_video.runtime.input_boundary import attempt
from cortexia_video.runtime.workers import choose_workers

Progress = Callable[[int], None]
_Scores = tuple[str, list[ImageScore]]  # of one image: its set, and one for each column


@dataclass(slots=True)
class Column:
    """What one predictor, or baseline, scored: by set, in the order of the ground truth, then of keys."""

    name: str
    is_baseline: bool
    scores: dict[str, list[ImageScore]] = field(default_factory=dict)

    def remarks(self) -> list[tuple[str, str]]:
        """Return the images that a person must know of, and why."""
        every = chain.from_iterable(self.scores.values())
        return [(score.key, score.remark) for score in every if score.remark]

    def count_lacks(self, groups: Sequence[str]) -> Counter[tuple[str, str]]:
        """Count the images on which groups were not measured, by group and what was missing."""
        every = (score.lacking for score in chain.from_iterable(self.scores.values()))
        return Counter((name, each[name]) for each in every for name in groups if name in each)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All scores of an evaluation.

    Attributes:
        protocol: By which depth was measured.
        place: Where the ground truth is.
        columns: What each predictor, and then each baseline, scored.
        counting: Datasets that are in the mean over datasets.
        left: Images without a reference that can be used.
        asked: Groups of metrics that a person asked for.
    """

    protocol: Protocol
    place: str
    columns: Sequence[Column]
    counting: Sequence[str]
    left: Sequence[Failure]
    asked: Sequence[str] = ()

    def count_images(self, sets: Sequence[str] | None = None) -> int:
        """Count the images that were measured, of these sets or all."""
        scores = self.columns[-1].scores
        return sum(len(scores[name]) for name in (scores if sets is None else sets))

    @property
    def averaged(self) -> list[str]:
        """The sets whose images are in the mean."""
        sets = self.columns[-1].scores
        if self.protocol.aggregation != "set":
            return list(sets)
        return [name for name in self.counting if name in sets] or list(sets)

    @property
    def is_complete(self) -> bool:
        """Return whether every image had a reference and every predictor depth that could be measured."""
        return not self.left and not any(column.remarks() for column in self.columns)


def measure_predictors(
    truth: GroundTruth,
    predictors: Sequence[Predictor],
    protocol: Protocol,
    *,
    metrics: Sequence[str] = (),
    kept: ScoreFile | None = None,
    workers: int | None = None,
    on_image: Progress = lambda count: None,
) -> Evaluation:
    """Measure every predictor, and the baselines, on every image of the ground truth.

    metrics: groups of `metric_groups` to measure besides the protocol's.
    kept: scores of earlier calls, open, which are not measured again; it gets the new ones.
    workers: threads that read references and measure, while the model works; one a core by default.
    An image without depth, or with depth that cannot be measured, counts as unknown everywhere, with a
    remark.

    Raises `InputError` where a model has no images to look at, a kind does not allow the alignment, two
    predictors have one name, there is no such metric, no image has a reference, or nothing in a folder of
    depth can be measured; `OutputLostError` where a score cannot be kept.
    """
    _require_predictors(truth, predictors)
    job = EvaluateJob(truth, protocol, metrics, choose_workers(workers), on_image)
    job.kept = kept or job.kept
    columns = [job.measure(predictor) for predictor in predictors]
    columns += job.measure_baselines()
    left = job.left
    counting = [each.name for each in truth.sets if each.counts]
    if not any(columns[-1].scores.values()):
        reason = f": {left[0].key}: {left[0].reason}" if left else ""
        raise InputError(f"no image in {truth.place} has a reference that can be used{reason}")
    return Evaluation(protocol, truth.place, columns, counting, left, tuple(metrics))


def _require_predictors(truth: GroundTruth, predictors: Sequence[Predictor]) -> None:
    names = [each.name for each in predictors]
    if len({*names}) < len(names):
        raise InputError(f"{', '.join(names)}: two have one name: give each once")
    blind = [each.name for each in predictors if each.needs_images and not truth.has_images]
    if blind:
        raise InputError(
            f"{truth.place} has no images for {blind[0]} to look at: estimate their depth first and give "
            "its folder, or give a dataset"
        )


def _require_some_depth(predictor: Predictor, column: Column) -> None:
    """Refuse a folder of which nothing could be measured: the wrong one, or nobody says what it means."""
    scores = [*chain.from_iterable(column.scores.values())]
    if not isinstance(predictor, FolderPredictor) or not scores:
        return
    if all(score.unknown == score.sums.pixels for score in scores):
        remarks = column.remarks()
        raise InputError(
            predictor.explain(*next((pair for pair in remarks if pair[1] != "no depth"), remarks[0]))
        )


class EvaluateJob:
    def __init__(
        self,
        truth: GroundTruth,
        protocol: Protocol,
        metrics: Sequence[str],
        workers: int,
        on_image: Progress,
    ) -> None:
        groups = choose_groups(protocol, metrics)
        self.kept = ScoreFile(None)
        self._items = Items(truth, protocol, groups)
        self._sets = [each.name for each in truth.sets]
        self._protocol, self._groups = protocol, groups
        self._workers, self._on_image = workers, on_image
        self._asked = frozenset(metrics)
        self._done = 0

    @property
    def left(self) -> list[Failure]:
        """What has no reference that can be used."""
        return [self._items.left[key] for key in sorted(self._items.left)]

    def measure(self, predictor: Predictor) -> Column:
        """Measure a predictor on all images; what is kept is not done again."""

        def begin(place: Destination) -> EvalItem | Skipped[_Scores]:
            item = self._items.open(place)
            if item is None:
                return Skipped((place.within.name, []))
            kept = attempt(place.key, "decode", lambda: self._find_kept(predictor, item))
            if not isinstance(kept, ImageScore):
                return item
            return Skipped((place.within.name, [kept._replace(key=place.key)]))

        def measure(item: EvalItem, guess: Prediction) -> _Scores:
            return item.within.name, [self._score(predictor, item, guess)]

        def settle(scores: _Scores) -> None:
            _put(scores, [column])
            self._done += len(scores[1])
            if scores[1]:
                self._on_image(self._done)

        column = Column(predictor.name, is_baseline=False)
        work = Work(begin=begin, measure=measure, settle=settle, workers=self._workers)
        predictor.work_through(self._items.list_places(), work)
        self._arrange(column)
        _require_some_depth(predictor, column)
        return column

    def measure_baselines(self) -> list[Column]:
        """Fit the baselines to each reference, and measure them."""
        columns = [Column(name, is_baseline=True) for name in BASELINES]
        settle = partial(_put, columns=columns)
        run_bounded(self._items.list_places(), self._score_baselines, settle, workers=self._workers)
        for column in columns:
            self._arrange(column)
        return columns

    def _arrange(self, column: Column) -> None:
        """Put the scores, which came as they were done, in the order of sets and keys."""
        column.scores = {name: column.scores[name] for name in self._sets if name in column.scores}
        for scores in column.scores.values():
            scores.sort(key=lambda score: score.key)

    def _score(self, predictor: Predictor, item: EvalItem, guess: Prediction) -> ImageScore:
        """On a worker: measure depth, and keep what it gave."""
        depth = None if isinstance(guess, Failure) else guess
        score = self._measure(depth, item)
        if isinstance(guess, Failure):
            score = score._replace(remark=f"no depth: {guess.reason}")
        if not self._asked & score.lacking.keys():
            score = score._replace(lacking={})  # nobody asked: it would make the file longer
        self.kept.add(self._name(predictor, item), score)
        return score

    def _measure(self, depth: DepthMap | None, item: EvalItem) -> ImageScore:
        """Score depth; where that cannot be, for a reason that is this image's, as if there were none."""
        score = partial(score_image, depth, item.reference, self._protocol, self._groups)
        found = attempt(item.frame.key, "estimate", score)
        if not isinstance(found, Failure):
            return found
        if isinstance(found.error, CortexiaError):  # of its kind, which others have, too
            raise found.error
        missing = score_image(None, item.reference, self._protocol, self._groups)
        return missing._replace(remark=f"cannot be measured: {found.reason}")

    def _find_kept(self, predictor: Predictor, item: EvalItem) -> ImageScore | None:
        return self.kept.get(self._name(predictor, item))

    def _score_baselines(self, place: Destination) -> _Scores:
        item = self._items.open(place)
        if item is None:
            return place.within.name, []
        reference = item.reference
        depth_m = reference.depth_m.astype(np.float64)
        guesses = (guess(depth_m, reference.mask, reference.max_m) for guess in BASELINES.values())
        scores = [score_baseline(each, reference, self._protocol, self._groups) for each in guesses]
        return place.within.name, scores

    def _name(self, predictor: Predictor, item: EvalItem) -> str:
        return find_digest(item.digest.encode(), predictor.identify(item.frame.key))


def _put(found: _Scores, columns: Sequence[Column]) -> None:
    """Add what an image scored, nothing or one score for each column."""
    within, scores = found
    for column, score in zip(columns, scores, strict=bool(scores)):
        column.scores.setdefault(within, []).append(score)
