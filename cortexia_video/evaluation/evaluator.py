"""`evaluate`: what `cortexia evaluate` does: names in; the numbers, and a folder of results, out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cortexia_video.depth_estimation import DepthEstimator
from cortexia_video.errors import InputError, OutputLostError
from cortexia_video.evaluation.ground_truth import GroundTruth, open_truth
from cortexia_video.evaluation.job import Evaluation, measure_predictors
from cortexia_video.evaluation.output_guard import PAGE, require_own
from cortexia_video.evaluation.page import write_page
from cortexia_video.evaluation.page_images import make_tiles
from cortexia_video.evaluation.predictors import ModelPredictor, Predictor, open_predictor
from cortexia_video.evaluation.protocol import Protocol, load_protocol
from cortexia_video.evaluation.results_json import replace_file, save_results
from cortexia_video.evaluation.score_file import ScoreFile
from cortexia_video.evaluation.summary import Summary, summarise
from cortexia_video.evaluation.text_table import list_lines
from cortexia_video.storage.paths import AnyPath, PathLike, to_path

AnyPredictor = str | os.PathLike[str] | DepthEstimator | Predictor


class EvaluationResult(NamedTuple):
    """What `evaluate` found; as text it is the tables that the command prints.

    Attributes:
        evaluation: The scores of every image, and the remarks.
        summary: `summary.totals[name]["abs_rel"].value` is a number, with `.low` and `.high`.
    """

    evaluation: Evaluation
    summary: Summary

    @property
    def is_complete(self) -> bool:
        """Whether every image had a reference, and depth by every predictor that could be measured."""
        return self.evaluation.is_complete

    def __str__(self) -> str:
        return "\n".join(list_lines(self.evaluation, self.summary))


def evaluate(
    predictors: AnyPredictor | Sequence[AnyPredictor],
    *,
    truth: PathLike | GroundTruth | None = None,
    protocol: str | Protocol = "real-frames",
    output: PathLike | None = None,
    metrics: Sequence[str] = (),
    convention: str | None = None,
    truth_convention: str | None = None,
    allow_outside: bool = False,
    seed: int = 0,
    workers: int | None = None,
    on_image: Callable[[int], None] = lambda count: None,
    **model_options: Any,
) -> EvaluationResult:
    """Measure depth against ground truth by a protocol, beside baselines that do not look at the image.

    Metrics, alignments and protocols, with formulas and sources: `docs/evaluation.md`. An image without
    depth, or with depth that cannot be measured, counts as unknown everywhere and has a remark.

    Args:
        predictors: One or several: a model's name, a loaded `DepthEstimator`, the output folder of a run, a
            folder of depth files, or a `Predictor`. The first is compared with the others.
        truth: A dataset, a folder of datasets, or a folder of depth files with the same names; a path or a
            URL. By default where the protocol says, if it does: real-frames says ../shared/data/rgbd. In
            Python also samples that `evaluation.hold_truth` holds.
        protocol: A name (a wrong one is answered with all there are), or a TOML file. In Python also a
            `Protocol`.
        output: A folder for results.json, images.csv, page.html and scores.jsonl, from which a later call
            continues: a new one, or that of an evaluation with the same ground truth and protocol. Nothing is
            written without it.
        metrics: More to measure: boundary, edges, normals, points, ordinal, regions.
        convention: Whose files the predictors' are, where they do not say it: tum, kitti, nyu, metres ...
        truth_convention: The same for the ground truth.
        allow_outside: Read also what set.json and lists of the ground truth name outside of its folder.
        seed: Of the confidence intervals.
        workers: Threads that read and measure; one per core by default.
        on_image: Called with the number of images measured so far.
        **model_options: For models by name, as `load_estimator` takes them; `kind` also of depth files.

    Returns:
        The numbers: all scores, and their means with 95 % bootstrap intervals.

    Raises:
        InputError: Nothing to measure, an unknown protocol or metric, a ground truth that is not found, or a kind of
            depth that the alignment cannot take.
        OutputExistsError: `output` holds other files, or an evaluation by another ground truth or protocol.
        OutputLostError: The output is full or unwritable; `report` holds the result where there is one.
        ModelError: A model cannot be loaded.

    Example:
        >>> result = cx.evaluate(["compact", "depth"], truth="indoor")  # doctest: +SKIP
        >>> result.summary.totals["compact"]["abs_rel"].value  # doctest: +SKIP
        0.123
    """
    chosen = load_protocol(protocol) if isinstance(protocol, str) else protocol
    place = to_path(truth.place) if isinstance(truth, GroundTruth) else _find_truth(truth, chosen)
    root = None if output is None else to_path(output)
    if root is not None:
        require_own(root, place, chosen)
    if not isinstance(truth, GroundTruth):
        truth = open_truth(place, chosen, convention=truth_convention, allow_outside=allow_outside)
    if isinstance(predictors, str) or not isinstance(predictors, Sequence):
        predictors = [predictors]
    opened = [_open(each, convention, model_options) for each in predictors]
    with ScoreFile(root) as kept:
        if root is not None:
            require_own(root, place, chosen)  # once more: another evaluation may have ended meanwhile
        groups = [*metrics, *(["regions"] if root is not None else [])]  # the page shows them
        found = measure_predictors(
            truth, opened, chosen, metrics=groups, kept=kept, workers=workers, on_image=on_image
        )
        result = EvaluationResult(found, summarise(found, seed=seed))
        if root is not None:
            _save(result, root, truth, opened[0])
    return result


def _open(predictor: AnyPredictor, convention: str | None, options: dict[str, Any]) -> Predictor:
    if isinstance(predictor, DepthEstimator):
        return ModelPredictor(predictor.model.name, predictor)
    if isinstance(predictor, str | os.PathLike):
        return open_predictor(os.fspath(predictor), convention=convention, **options)
    return predictor


def _find_truth(truth: PathLike | None, protocol: Protocol) -> AnyPath:
    """Return where the ground truth is: as asked, or as the protocol says; `InputError` where that is nowhere."""
    if truth is not None:
        return to_path(truth)
    if protocol.place is None:
        raise InputError(f"protocol {protocol.name} does not say where the truth is: give `truth`")
    place = Path(protocol.place)
    if not place.exists():
        raise InputError(
            f"{place} does not exist: protocol {protocol.name} looks there, from the current folder: "
            "give `truth`"
        )
    return place


def _save(result: EvaluationResult, root: AnyPath, truth: GroundTruth, first: Predictor) -> None:
    """Write results, table and page; where that cannot be, the error has the result as its `report`."""
    try:
        save_results(result.evaluation, result.summary, root)
        page = write_page(*result, *make_tiles(result.evaluation, truth, first))
        replace_file(root / PAGE, lambda file: file.write(page))
    except OutputLostError as error:
        error.report = result
        raise
