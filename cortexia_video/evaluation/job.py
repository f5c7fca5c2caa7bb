"""`measure_predictors`: depth of several predictors against one ground truth, by a protocol, beside baselines."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from cortexia_video.depth_map import DepthKind, DepthMap
from cortexia_video.errors import CortexiaError, Failure, InputError, attempt
from cortexia_video.evaluation.baselines import BASELINES
from cortexia_video.evaluation.clip_results import ClipResult, Fits, list_fits, measure_clips, name_clip
from cortexia_video.evaluation.ground_truth import GroundTruth
from cortexia_video.evaluation.image_score import ImageScore, score_baseline, score_image
from cortexia_video.evaluation.metrics.alignment import ALIGNMENTS, Fit
from cortexia_video.evaluation.metrics.registry import choose_groups
from cortexia_video.evaluation.predictors import (
    CachedPredictor,
    FolderPredictor,
    ImageWork,
    Prediction,
    Predictor,
    StoredPredictor,
)
from cortexia_video.evaluation.protocol import Protocol, describe_fitting
from cortexia_video.evaluation.reference import EvalItem, Items, PendingItem, find_digest
from cortexia_video.evaluation.score_file import ScoreFile
from cortexia_video.inference.executor import Skipped
from cortexia_video.runtime.bounded_map import run_bounded
from cortexia_video.runtime.progress import stage
from cortexia_video.runtime.resources import choose_workers

FITTED = " (fitted)"  # behind the name of a column whose metres were fitted, too
Look = Callable[[EvalItem, DepthMap | None, ImageScore], None]
_Found = list[tuple[str, str, list[ImageScore]]]  # of one image: predictor, set, a score for each alignment


@dataclass(slots=True)
class Column:
    """What one predictor, or baseline, scored by one alignment: by set, in the order of the ground truth, then
    of keys.

    predictor: its name; `name` also says the fit where there are two. alignment: "" of baselines.
    """

    name: str
    predictor: str
    alignment: str = ""
    scores: dict[str, list[ImageScore]] = field(default_factory=dict)

    @property
    def is_baseline(self) -> bool:
        return not self.alignment

    def list_scores(self) -> Iterator[ImageScore]:
        """Yield the scores of all images."""
        return chain.from_iterable(self.scores.values())

    def remarks(self) -> list[tuple[str, str]]:
        """Return the images that a person must know of, and why."""
        return [(score.key, score.remark) for score in self.list_scores() if score.remark]

    def count_kinds(self) -> Counter[DepthKind]:
        """Count the images with depth by its kind."""
        return Counter(score.kind for score in self.list_scores() if score.kind)

    def count_lacks(self, groups: Sequence[str]) -> Counter[tuple[str, str]]:
        """Count the images on which groups were not measured, by group and what was missing."""
        every = (score.lacking for score in self.list_scores())
        return Counter((name, each[name]) for each in every for name in groups if name in each)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All scores of an evaluation.

    Attributes:
        protocol: By which depth was measured.
        ground_truth: Where it is: a path or a URL, or the name of a dataset in memory.
        columns: What each predictor, and then each baseline, scored. Metric depth has two where the protocol
            says so: as it is, and fitted.
        counting: Datasets that are in the mean over datasets.
        skipped: Images without a reference that can be used.
        asked: Groups of metrics that a person asked for.
        clips: What each predictor scored on each clip, where the protocol aligns per clip.
    """

    protocol: Protocol
    ground_truth: str
    columns: Sequence[Column]
    counting: Sequence[str]
    skipped: Sequence[Failure]
    asked: Sequence[str] = ()
    clips: Sequence[ClipResult] = ()

    def count_images(self, sets: Sequence[str] | None = None) -> int:
        """Count the images that were measured.

        Args:
            sets: Names of sets of the ground truth; by default all.

        Returns:
            The number of images.
        """
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
        return not self.skipped and not any(column.remarks() for column in self.columns)


def measure_predictors(
    truth: GroundTruth,
    predictors: Sequence[Predictor],
    protocol: Protocol,
    *,
    metrics: Sequence[str] = (),
    kept: ScoreFile | None = None,
    workers: int | None = None,
    look: Look = lambda item, depth, score: None,
) -> Evaluation:
    """Measure every predictor, and the baselines, on every image of the ground truth.

    metrics: groups of `metrics/registry.py` to measure besides the protocol's.
    kept: scores of earlier calls, open, which are not measured again; it gets the new ones.
    workers: threads that read references and measure, while the model works; one a core by default.
    look: called on these threads with each image of the first predictor that is measured, its depth and score.
    An image without depth, or with depth that cannot be measured, counts as unknown everywhere, with a
    remark.

    The ground truth is read once, and once more for each model after the first; stored depth once.
    Raises `InputError` where a model has no images to look at, a kind does not allow the alignment, two
    predictors have one name, there is no such metric, no image has a reference, or nothing in a folder of
    depth can be measured; `OutputLostError` where a score cannot be kept.
    """
    names = [each.name for each in predictors]
    if len({*names}) < len(names):
        raise InputError(f"{', '.join(names)}: two have one name: give each once")
    blind = [each.name for each in predictors if each.needs_images and not truth.has_images]
    if blind:
        raise InputError(
            f"{truth.path} has no images for {blind[0]} to look at: estimate their depth first and give "
            "its folder, or give a dataset"
        )
    stored = [each for each in predictors if isinstance(each, StoredPredictor)]
    models = [each for each in predictors if not isinstance(each, StoredPredictor)]
    for each in stored:
        each.learn_keys(truth.list_keys())
    workers = choose_workers(workers)
    if protocol.align_per == "clip" and models:
        with tempfile.TemporaryDirectory(prefix="cortexia-") as work:
            folders = [Path(tempfile.mkdtemp(dir=work)) for _ in models]
            items = Items(truth, protocol)
            kept_depth = {
                each.name: CachedPredictor(each, items, folder, workers)
                for each, folder in zip(models, folders, strict=True)
            }
            run = [kept_depth.get(each.name, each) for each in predictors]
            return measure_predictors(
                truth, run, protocol, metrics=metrics, kept=kept, workers=workers, look=look
            )
    clips: list[ClipResult] = []
    if protocol.align_per == "clip":
        with stage("fitting clips"):
            clips = measure_clips(truth, protocol, stored, workers)
    job = EvaluateJob(
        truth,
        protocol,
        metrics,
        kept or ScoreFile(None),
        first=predictors[0].name,
        look=look,
        workers=workers,
        fits=list_fits(clips),
    )
    job.work_through(models[0] if models else None, stored, [*BASELINES])
    for model in models[1:]:
        job.work_through(model, [], [])
    columns = list(chain.from_iterable(map(job.make_columns, predictors)))
    baselines = [Column(name, name, "", job.arrange(name)) for name in BASELINES]
    if not any(baselines[-1].scores.values()):
        reason = f": {job.skipped[0].key}: {job.skipped[0].reason}" if job.skipped else ""
        raise InputError(f"no image in {truth.path} has a reference that can be used{reason}")
    counting = [each.name for each in truth.sets if each.counts]
    every = [*columns, *baselines]
    return Evaluation(protocol, truth.path, every, counting, job.skipped, tuple(metrics), clips)


class EvaluateJob:
    """Scores of all images, as they come. first: of whose images `look` is called. fits: of clips."""

    def __init__(
        self,
        truth: GroundTruth,
        protocol: Protocol,
        metrics: Sequence[str],
        kept: ScoreFile,
        *,
        first: str,
        look: Look,
        workers: int,
        fits: Fits,
    ) -> None:
        self._fits = fits
        self._first, self._look, self._workers = first, look, workers
        self._groups = choose_groups(protocol, metrics)
        self._items = Items(truth, protocol, self._groups)
        self._total = len(truth.list_keys()) or None  # of streams nobody knows
        self._sets = [each.name for each in truth.sets]
        self._protocol, self._kept = protocol, kept
        self._asked = frozenset(metrics)
        self._scores: dict[str, dict[str, list[list[ImageScore]]]] = {}  # by predictor and set

    @property
    def skipped(self) -> list[Failure]:
        """What has no reference that can be used."""
        return [self._items.skipped[key] for key in sorted(self._items.skipped)]

    def work_through(
        self, model: Predictor | None, stored: Sequence[StoredPredictor], baselines: Sequence[str]
    ) -> None:
        """Measure a model, depth that is stored, and baselines on all images, each of which is read once."""

        def measure_stored(item: EvalItem) -> _Found:
            reference, within = item.reference, item.within.name
            found: _Found = []
            for name in baselines:
                depth_m = reference.depth_m.astype(np.float64)
                fitted = BASELINES[name](depth_m, reference.mask, reference.max_m)
                score = score_baseline(fitted, reference, self._protocol, self._groups)
                found.append((name, within, [score]))
            for each in stored:
                identity, decode = each.fetch(item.frame.key)
                found.append(
                    self._find_kept(each.name, item, identity)
                    or self._measure(each.name, item, identity, decode())
                )
            return found

        def begin(pending: PendingItem) -> EvalItem | Skipped[_Found]:
            item = self._items.open(pending)
            if item is None:
                return Skipped([])
            if model is None:
                return Skipped(measure_stored(item))
            kept = self._find_kept(model.name, item, model.identify(item.frame.key))
            return item if kept is None else Skipped([kept, *measure_stored(item)])

        def measure(item: EvalItem, prediction: Prediction) -> _Found:
            name, identity = (model.name, model.identify(item.frame.key)) if model else ("", b"")
            return [self._measure(name, item, identity, prediction), *measure_stored(item)]

        def collect(found: _Found) -> None:
            for name, within, scores in found:
                self._scores.setdefault(name, {}).setdefault(within, []).append(scores)
            begun.advance()

        def measure_pending(pending: PendingItem) -> _Found:
            begun = begin(pending)
            return begun.outcome if isinstance(begun, Skipped) else []

        pending = self._items.list_pending()
        with stage(f"measuring {model.name}" if model else "measuring", total=self._total) as begun:
            if model is None:
                run_bounded(pending, measure_pending, collect, workers=self._workers)
            else:
                model.work_through(
                    pending, ImageWork(begin=begin, measure=measure, collect=collect, workers=self._workers)
                )

    def make_columns(self, predictor: Predictor) -> list[Column]:
        """Return what a predictor scored, a column for each way in which its kind of depth is measured.

        Raises `InputError` for a folder of which nothing could be measured: the wrong one, or nobody says what
        its numbers mean.
        """
        name = predictor.name
        every = [score for scores in self._scores.get(name, {}).values() for score in chain(*scores)]
        alignments = self._protocol.list_alignments({score.kind for score in every if score.kind})
        names = [name, f"{name}{FITTED}"]
        columns = [
            Column(title, name, each, self.arrange(name, each))
            for title, each in zip(names, alignments, strict=False)
        ]
        if isinstance(predictor, FolderPredictor) and all(
            score.unknown == score.sums.pixels for score in every
        ):
            remarks = columns[0].remarks()
            if remarks:
                named = next((pair for pair in remarks if pair[1] != "no depth"), remarks[0])
                raise InputError(predictor.explain(*named))
        return columns

    def arrange(self, name: str, alignment: str = "") -> dict[str, list[ImageScore]]:
        """Return the scores by one alignment, which came as they were done, in the order of sets and keys."""
        found = self._scores.get(name, {})
        return {
            within: sorted(
                (score for each in found[within] for score in each if score.alignment == alignment),
                key=lambda score: score.key,
            )
            for within in self._sets
            if within in found
        }

    def _find_kept(
        self, name: str, item: EvalItem, identity: bytes
    ) -> tuple[str, str, list[ImageScore]] | None:
        kept = attempt(item.frame.key, "decode", lambda: self._kept.get(self._digest(name, item, identity)))
        if isinstance(kept, Failure) or not kept:
            return None
        return name, item.within.name, [score._replace(key=item.frame.key) for score in kept]

    def _measure(
        self, name: str, item: EvalItem, identity: bytes, prediction: Prediction
    ) -> tuple[str, str, list[ImageScore]]:
        """On a worker: measure depth in each way that its kind allows, and keep what it gave.

        Where it cannot be measured, for a reason that is this image's, it counts as if there were none.
        """
        depth = None if isinstance(prediction, Failure) else prediction
        kinds: set[DepthKind] = {"metric"} if depth is None else {depth.kind}
        scores = []
        for alignment in self._protocol.list_alignments(kinds):
            protocol = self._protocol if alignment == self._protocol.alignment else self._protocol.plain
            if depth is not None and depth.kind not in ALIGNMENTS[alignment].kinds:
                raise InputError(
                    f"{depth.kind} depth does not allow the alignment {alignment!r} of protocol {protocol.name}; "
                    f"{describe_fitting(item.within.layout, [depth.kind])}"
                )
            score = attempt(
                item.frame.key,
                "estimate",
                partial(
                    score_image,
                    depth,
                    item.reference,
                    protocol,
                    self._groups,
                    self._find_fit(name, alignment, item),
                ),
            )
            if isinstance(score, Failure):
                if isinstance(score.error, CortexiaError):
                    raise score.error
                missing = score_image(None, item.reference, protocol, self._groups)
                score = missing._replace(remark=f"cannot be measured: {score.reason}")
            if isinstance(prediction, Failure):
                score = score._replace(remark=f"no depth: {prediction.reason}")
            if not self._asked & score.lacking.keys():
                score = score._replace(lacking={})  # nobody asked: it would make the file longer
            scores.append(score)
        self._kept.add(self._digest(name, item, identity), scores)
        if name == self._first:
            self._look(item, depth, scores[0])
        return name, item.within.name, scores

    def _find_fit(self, name: str, alignment: str, item: EvalItem) -> Fit | None:
        """Return the fit of all frames of the clip that an image is of, where clips are aligned as one."""
        return self._fits.get((name, alignment, name_clip(item.frame.key)))

    def _digest(self, name: str, item: EvalItem, identity: bytes) -> str:
        fits = [self._find_fit(name, alignment, item) for alignment in ALIGNMENTS] if self._fits else []
        return find_digest(item.digest.encode(), identity, *([repr(fits).encode()] if fits else []))
