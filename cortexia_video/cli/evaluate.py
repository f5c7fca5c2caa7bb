"""`cortexia evaluate`: how good depth is, or how far one backend's is from another's."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from cyclopts import Parameter

from cortexia_video.cli import DONE, SOME_FAILED
from cortexia_video.cli.option_words import to_options
from cortexia_video.cli.options import MODEL, MODEL_OPTIONS, RUN, parse_size, take_options
from cortexia_video.errors import Failure, InputError, ParityError, printable
from cortexia_video.frame import Frame
from cortexia_video.images.decode import decode
from cortexia_video.images.read import read_image_bytes
from cortexia_video.inference.backend_selection import BackendSelector
from cortexia_video.jobs.estimate import estimate
from cortexia_video.models.registry import find_model
from cortexia_video.runtime.input_boundary import attempt
from cortexia_video.sources.find import InputFile, find_images
from cortexia_video.storage.paths import to_path

_PRECISIONS = ("float32", "bfloat16", "float16")
_LISTED = 5  # images that differ most


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class MeasuringOptions:
    """What is compared with what, and how.

    Args:
        protocol: A name (a wrong one is answered with all there are), or a file, mine.toml.
        truth: A dataset, a folder of sets with set.json, or of depth files with the same names, also a URL.
            Without it, where the protocol says, if it does: real-frames says ../shared/data/rgbd.
        output: Folder for the results, also a URL; none are written without. A new one, or that of an
            evaluation with the same ground truth and protocol.
        metrics: More to measure, with commas: boundary, edges, normals, points, ordinal, regions.
        convention: Whose files the predictors' are, where they do not say it: tum, kitti, nyu, metres...
        truth_convention: The same for the ground truth.
        pattern: Of the names of depth files, {key} standing for the image: '{key}_raw_depth_meter.npy'. Those
            of Depth Anything V2, Marigold and MoGe are known.
        allow_outside: Read also what set.json and lists of the ground truth name outside of its folder.
        allow_unregistered: Measure also against depth that does not lie on its images.
        seed: Of the confidence intervals.
        workers: Threads that read and measure; one per core by default.
    """

    protocol: str = "real-frames"
    truth: str | None = None
    output: Annotated[str | None, Parameter(alias="-o")] = None
    metrics: str = ""
    convention: Annotated[str | None, Parameter(name="--from")] = None
    truth_convention: Annotated[str | None, Parameter(name="--truth-from")] = None
    pattern: str | None = None
    allow_outside: bool = False
    allow_unregistered: bool = False
    seed: int = 0
    workers: int | None = None

    def list_metrics(self) -> list[str]:
        """Return the groups to measure."""
        return [word.strip() for word in self.metrics.split(",") if word.strip()]


_AS_USUAL = MeasuringOptions()


@take_options(estimate, (MODEL, MODEL_OPTIONS), (RUN, ("batch_size", "device")))
def evaluate_command(
    predictors: Annotated[list[str], Parameter(name="PREDICTOR")],
    /,
    *,
    measuring: MeasuringOptions = _AS_USUAL,
    compare: str | None = None,
    model: str = "compact",
    **options: Any,
) -> int:
    """Measure depth against ground truth.

    PREDICTORs are models, folders of depth files, and output folders of runs. They are measured by a
    protocol, beside baselines that do not look at the image. OUTPUT gets results.json, images.csv, page.html
    with the worst and best images of the first predictor, and scores.jsonl, from which the same command
    continues.

        cortexia evaluate compact --protocol real-frames --truth DATA --output RESULTS
        cortexia evaluate DEPTH_FOLDER OTHER_FOLDER --truth TRUTH_FOLDER --protocol nyu-eigen
        cortexia evaluate photos --compare openvino,bfloat16 --model compact

    Exit code: 0 every image was measured, 1 some could not be (each is named) or --compare finds too large a
    difference, 2 wrong usage.

    Args:
        predictors: Models; folders of depth files; output folders of runs; also URLs. With --compare: images
            or their folders.
        compare: A backend, a precision, an input size, or several with commas: how far the model's depth by
            it is from its depth by the reference backend, in float32, on images of your own.
        model: For --compare.
    """
    max_error = options.pop("max_error")
    if compare is not None:
        return _compare(predictors, model, compare, max_error, options)
    return _evaluate(predictors, measuring, options)


def _evaluate(names: list[str], asked: MeasuringOptions, given: dict[str, Any]) -> int:
    from cortexia_video.evaluation.evaluator import evaluate
    from cortexia_video.evaluation.results import PAGE, RESULTS, TABLE

    options = {**vars(asked), "metrics": asked.list_metrics(), **given}
    result = evaluate(names, **options, on_image=_show_progress)
    print(to_options(str(result)))
    if asked.output is not None:
        print(f"\n{to_path(asked.output)}: {RESULTS}, {TABLE}, {PAGE}")
    return DONE if result.is_complete else SOME_FAILED


def _show_progress(done: int) -> None:
    if done % 100 == 0:
        print(f"{done} images measured", file=sys.stderr, flush=True)


def _compare(images: list[str], model: str, words: str, max_error: float, given: dict[str, Any]) -> int:
    """Print how far the model is from its reference where `words` say; the gate is `BackendSelector`'s."""
    way = _parse_way(words, find_model(model).backends)
    choice = BackendSelector(model, max_error=max_error, **{**given, **way})
    try:
        parity = choice.check(_read_frames(images))
    except ParityError as error:
        print(to_options(str(error)))
        return SOME_FAILED
    print(f"{model} by {words}: {parity}; a mean of at most {max_error:.2%} is allowed")
    worst = {each.key: each for each in sorted(parity.differences, key=lambda each: each.mean)}
    for each in sorted(worst.values(), key=lambda each: -each.mean)[:_LISTED]:
        print(f"  {each.mean:8.3%} mean  {each.most:8.3%} for 99 %  {printable(each.key)}")
    return DONE


def _parse_way(words: str, backends: Sequence[str]) -> dict[str, Any]:
    """Read `openvino,bfloat16,392x518`: a backend, a precision, an input size, in any order.

    backends: of the model.
    """
    way: dict[str, Any] = {}
    for word in words.split(","):
        name = "backend" if word in backends else "precision" if word in _PRECISIONS else "input_size"
        if name in way:
            raise InputError(f"--compare {words}: two of one sort; compare one way at a time")
        offered = f"--compare: one of {', '.join((*backends, *_PRECISIONS))}; a size"
        way[name] = parse_size(word, offered) if name == "input_size" else word
    return way


def _read_frames(images: list[str]) -> Iterator[Frame]:
    """Yield the images; those that cannot be decoded are named on stderr and left out."""
    for found in find_images(images):
        frame = found if isinstance(found, Failure) else attempt(found.key, "decode", partial(_decode, found))
        if isinstance(frame, Failure):
            print(f"left out: {printable(frame.key)}: {to_options(frame.reason)}", file=sys.stderr)
        else:
            yield frame


def _decode(image: InputFile) -> Frame:
    return decode(read_image_bytes(image.place), image.key)
