"""`evaluate`: what `cortexia evaluate` does: names in; the numbers, and a folder of results, out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from cortexia_video.depth_estimation import DepthEstimator
from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import InputError, OutputLostError, printable, require_one_of
from cortexia_video.evaluation.ground_truth import GroundTruth, open_truth, to_ground_truth
from cortexia_video.evaluation.job import Evaluation, measure_predictors
from cortexia_video.evaluation.page import TileMaker, write_page
from cortexia_video.evaluation.predictors import InMemoryPredictor, ModelPredictor, Predictor, open_predictor
from cortexia_video.evaluation.protocol import AlignPer, Protocol, load_protocol
from cortexia_video.evaluation.results import PAGE, replace_file, require_own, save_results
from cortexia_video.evaluation.score_file import ScoreFile
from cortexia_video.evaluation.sparse_input import open_sparse_input
from cortexia_video.evaluation.summary import Summary, summarise
from cortexia_video.evaluation.text_table import list_lines
from cortexia_video.html.notebook import write_text
from cortexia_video.rgbd_sample import RGBDSample
from cortexia_video.runtime.progress import stage
from cortexia_video.storage.paths import PathLike, to_path

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

    def __repr__(self) -> str:
        return (
            f"EvaluationResult({printable(self.evaluation.protocol.name)}, {', '.join(self.summary.totals)})"
        )

    def _repr_html_(self) -> str:
        return write_text(str(self))

    def __str__(self) -> str:
        return "\n".join(list_lines(self.evaluation, self.summary))


def evaluate(
    predictors: AnyPredictor | Sequence[AnyPredictor],
    *,
    truth: PathLike | GroundTruth | None = None,
    protocol: str | Protocol = "real-frames",
    output: PathLike | None = None,
    metrics: Sequence[str] = (),
    align_per: AlignPer = "image",
    convention: str | None = None,
    truth_convention: str | None = None,
    pattern: str | None = None,
    sparse: PathLike | None = None,
    sparse_from: str | None = None,
    allow_outside: bool = False,
    allow_unregistered: bool = False,
    seed: int = 0,
    workers: int | None = None,
    **model_options: Any,
) -> EvaluationResult:
    """Measure depth against ground truth by a protocol, beside baselines that do not look at the image.

    Metrics, alignments and protocols, with formulas and sources: `docs/evaluation.md`. An image without
    depth, or with depth that cannot be measured, counts as unknown everywhere and has a remark.

    Args:
        predictors: One or several: a model's name, a loaded `DepthEstimator`, the output folder of a run, a
            folder of depth files, or a `Predictor`. The first is compared with the others.
        truth: A dataset, a folder of datasets, or a folder of depth files with the same names; a path or a
            URL. By default the `truth` of a protocol of your own. In Python also samples that
            `evaluation.to_ground_truth` holds.
        protocol: A name (a wrong one is answered with all there are), or a TOML file. In Python also a
            `Protocol`.
        output: A folder for results.json, images.csv, page.html and scores.jsonl, from which a later call
            continues: a new one, or that of an evaluation with the same ground truth and protocol. Nothing is
            written without it.
        metrics: More to measure, such as boundary,normals: boundary, edges, normals, points, ordinal, regions.
        align_per: image: each image is aligned by itself. clip: the frames of a clip, which are the images of one
            folder of the ground truth, are aligned as one; AbsRel of each clip is then shown, and, where poses are
            known, how its depth changes along the true motion, and the TAE.
        convention: Whose files the predictors' are, where they do not say it: tum, kitti, nyu, metres ...
        truth_convention: Whose files the ground truth's are, where they do not say it.
        pattern: What the predictors' depth files are called, `{key}` standing for the image:
            `{key}_raw_depth_meter.npy`. By default those of Depth Anything V2, Marigold and MoGe are known, and
            names or ends of paths that only one image has.
        sparse: For models that complete a sensor's depth, such as prompt-depth-anything-small: a folder of maps of the
            images, as `estimate` takes it; or truth:500, so many pixels of each ground truth, drawn at random.
        sparse_from: Whose files the sparse ones are, where they do not say it: tum, kitti, nyu, scannet ...
        allow_outside: Also read what set.json and lists of the ground truth name outside of its folder.
        allow_unregistered: Measure also against depth that does not lie on its image.
        seed: Seed of the confidence intervals.
        workers: Threads that read and measure; one per core by default.
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
    if isinstance(predictors, str) or not isinstance(predictors, Sequence):
        predictors = [predictors]
    for each in predictors:
        if not isinstance(each, str | os.PathLike | DepthEstimator) and not hasattr(each, "work_through"):
            raise TypeError(
                f"a predictor must be a name, a path or a loaded model, got {type(each).__name__}"
            )
    chosen = load_protocol(protocol) if isinstance(protocol, str) else protocol
    require_one_of(align_per=(align_per, AlignPer))
    if align_per != "image":
        chosen = replace(chosen, align_per=align_per)
    if truth is None:
        if chosen.truth is None:
            raise InputError(f"protocol {chosen.name} does not say where the ground truth is: give `truth`")
        if not Path(chosen.truth).exists():
            raise InputError(
                f"{chosen.truth} does not exist: protocol {chosen.name} looks there, from the current folder: "
                "give `truth`"
            )
        truth = chosen.truth
    place = to_path(truth.path if isinstance(truth, GroundTruth) else truth)
    root = None if output is None else to_path(output)
    if root is not None:
        require_own(root, place, chosen)
    if not isinstance(truth, GroundTruth):
        truth = open_truth(
            place,
            chosen,
            convention=truth_convention,
            allow_outside=allow_outside,
            allow_unregistered=allow_unregistered,
        )
    given = open_sparse_input(sparse, sparse_from)
    options = {"convention": convention, "pattern": pattern, "sparse": given, **model_options}
    opened = [_open(each, options) for each in predictors]
    loaded = [each.estimator for each in opened if isinstance(each, ModelPredictor)]
    for estimator in loaded:
        estimator.require_sparse(given=estimator.takes_sparse and given is not None)
    if given and not any(each.takes_sparse for each in loaded):
        raise InputError("none of these models takes sparse depth: leave `sparse` out")
    with ScoreFile(root) as kept:
        if root is None:
            groups, tiles = [*metrics], None
        else:
            require_own(root, place, chosen)  # once more: another evaluation may have ended meanwhile
            groups, tiles = [*metrics, "regions"], TileMaker(chosen)  # the page shows them
        look = {"look": tiles.look} if tiles else {}
        found = measure_predictors(truth, opened, chosen, metrics=groups, kept=kept, workers=workers, **look)
        with stage("computing intervals"):
            result = EvaluationResult(found, summarise(found, seed=seed))
        if root is not None and tiles is not None:
            try:
                save_results(found, result.summary, root)
                page = write_page(*result, *tiles.choose(found.columns[0], truth, opened))
                replace_file(root / PAGE, lambda file: file.write(page))
            except OutputLostError as error:
                error.report = result
                raise
        return result


def _open(given: AnyPredictor, options: Mapping[str, Any]) -> Predictor:
    """Return what is measured of a name, a path or a loaded model; a predictor as it is."""
    if isinstance(given, DepthEstimator):
        return ModelPredictor(given.model.name, given, options["sparse"])
    return open_predictor(os.fspath(given), **options) if isinstance(given, str | os.PathLike) else given


def evaluate_pairs(
    pairs: Iterable[tuple[DepthMap | None, RGBDSample]],
    protocol: str | Protocol = "real-frames",
    *,
    name: str = "depth",
    max_m: float | None = None,
    metrics: Sequence[str] = (),
    seed: int = 0,
) -> Summary:
    """Measure depth in memory against samples with metric depth, beside the baselines.

    Args:
        pairs: Depth and sample; the keys of the samples must differ. A depth that is None counts as unknown
            everywhere.
        protocol: A name, the path of a TOML file, or a `Protocol`.
        name: Of the depth, in the result.
        max_m: The largest reference depth that counts, in metres, where the protocol leaves that to the
            dataset.
        metrics: More to measure: boundary, edges, normals, points, ordinal, regions.
        seed: Of the confidence intervals.

    Returns:
        `summary.totals[name]["abs_rel"].value` is a number.

    Raises:
        InputError: What `evaluate` raises it for.
    """
    chosen = load_protocol(protocol) if isinstance(protocol, str) else protocol
    listed = list(pairs)
    held = {sample.key: depth for depth, sample in listed if depth is not None}
    truth = to_ground_truth([sample for _, sample in listed], max_m=max_m)
    found = measure_predictors(truth, [InMemoryPredictor(name, held)], chosen, metrics=metrics)
    return summarise(found, seed=seed)
