"""`cortexia evaluate`: how good depth is, or how far one backend's is from another's."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from cyclopts import Parameter

from cortexia_video.cli import DONE, SOME_FAILED
from cortexia_video.cli.estimate import ModelOptions, parse_size
from cortexia_video.cli.option_words import to_options
from cortexia_video.errors import Failure, InputError, ParityError, printable
from cortexia_video.frame import Frame
from cortexia_video.images.decode import decode
from cortexia_video.inference.backend_selection import BackendSelector
from cortexia_video.inference.batch_size import BatchSize
from cortexia_video.models.registry import find_model
from cortexia_video.runtime.input_boundary import attempt
from cortexia_video.sources.find import InputFile, find_images, read_image
from cortexia_video.storage.paths import to_path

Switch = Annotated[bool, Parameter(negative=())]
_AS_THE_MODEL_SAYS = ModelOptions()
_PRECISIONS = ("float32", "bfloat16", "float16")
_LISTED = 5  # images that differ most


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class MeasuringOptions:
    """What is compared with what, and how.

    Parameters
    ----------
    protocol
        A name (a wrong one is answered with all there are), or a file, mine.toml.
    truth
        A dataset, a folder of sets with set.json, or a folder of depth files with the same names: a path, or
        an address such as s3://bucket/set. Without it, where the protocol says, if it does: real-frames says
        ../shared/data/rgbd.
    output
        Folder for the results, also by an address; none are written without. A new one, or that of an
        evaluation with the same truth and protocol.
    metrics
        More to measure, with commas: boundary, edges, normals, points, ordinal, regions. Focal lengths
        always are, where a predictor estimates them and the truth knows them.
    convention
        What the predictors' depth files mean, where they do not say it: tum, kitti, nyu, metres...
    truth_convention
        The same for the truth.
    allow_outside
        Read also what set.json and lists of the truth name outside of its folder.
    seed
        Of the confidence intervals.
    workers
        Threads that read and measure; one a core by default.
    """

    protocol: str = "real-frames"
    truth: str | None = None
    output: Annotated[str | None, Parameter(alias="-o")] = None
    metrics: str = ""
    convention: str | None = None
    truth_convention: str | None = None
    allow_outside: Switch = False
    seed: int = 0
    workers: int | None = None

    def list_metrics(self) -> list[str]:
        """Return the groups to measure."""
        return [word.strip() for word in self.metrics.split(",") if word.strip()]


_AS_USUAL = MeasuringOptions()


def evaluate_command(
    predictors: Annotated[list[str], Parameter(name="CONTESTANT", negative=(), json_list=False)],
    /,
    *,
    measuring: MeasuringOptions = _AS_USUAL,
    batch_size: BatchSize = 4,
    device: str = "auto",
    compare: str | None = None,
    model: str = "compact",
    options: ModelOptions = _AS_THE_MODEL_SAYS,
) -> int:
    """Measure CONTESTANTs against the truth by a protocol, beside baselines that do not look at the image.

    cortexia evaluate compact --protocol real-frames --truth DATA --output RESULTS
    cortexia evaluate DEPTH_FOLDER OTHER_FOLDER --truth TRUTH_FOLDER --protocol nyu-eigen
    cortexia evaluate photos --compare openvino,bfloat16 --model compact

    OUTPUT gets results.json, images.csv, page.html with the worst and best images of the first
    predictor, and scores.jsonl, from which the same command goes on. Exit code: 0 every image was
    measured, 1 some could not be (each is named) or --compare finds too large a difference, 2 wrong usage.

    Parameters
    ----------
    predictors
        Models; folders of depth files; --output folders of runs; also by addresses. With --compare: images
        or their folders.
    batch_size
        Images in one call of a model.
    device
        auto, cpu, cuda, cuda:1 or mps.
    compare
        A backend, a precision, an input size, or several with commas: how far the model's depth by it is
        from its depth by the reference backend, in float32, on images of your own.
    model
        For --compare.
    """
    given = {**options.given(), "batch_size": batch_size, "device": device}
    del given["max_error"]
    if compare is not None:
        return _compare(predictors, model, compare, options.max_error, given)
    return _evaluate(predictors, measuring, given)


def _evaluate(names: list[str], asked: MeasuringOptions, given: dict[str, Any]) -> int:
    from cortexia_video.evaluation.evaluator import evaluate
    from cortexia_video.evaluation.output_guard import PAGE, RESULTS, TABLE

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
    return decode(read_image(image.place), image.key)
