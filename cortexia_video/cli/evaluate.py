"""`cortexia evaluate`: how good depth is, or how far one backend's is from another's."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Annotated, Any

from cyclopts import Group, Parameter

from cortexia_video.cli import DONE, SOME_FAILED
from cortexia_video.cli.option_words import to_options
from cortexia_video.cli.options import MEANING, MODEL, MODEL_OPTIONS, OPTIONS, RUN, parse_size, take_options
from cortexia_video.cli.streams import find_width
from cortexia_video.errors import Failure, InputError, ParityError, printable
from cortexia_video.evaluation.evaluator import evaluate
from cortexia_video.evaluation.results import PAGE, RESULTS, TABLE
from cortexia_video.evaluation.text_table import list_lines
from cortexia_video.inference.backend_selection import BackendSelector
from cortexia_video.jobs.estimate import estimate
from cortexia_video.jobs.worker import USUAL_TASK, decode_readable
from cortexia_video.models.registry import find_model
from cortexia_video.sources.find import find_images
from cortexia_video.sparse_depth.source import open_sparse
from cortexia_video.storage.paths import to_path

_PRECISIONS = ("float32", "bfloat16", "float16")
_LISTED = 5  # images that differ most
COMPARE = Group("With --compare", sort_key=20)
_OF_MODELS = tuple(name for name in MODEL_OPTIONS if name != "max_error")

_OF_EVALUATION = (
    "truth",
    "output",
    "protocol",
    "metrics",
    "align_per",
    "sparse",
    "sparse_from",
)
_OF_FILES = ("convention", "truth_convention", "pattern", "allow_outside", "allow_unregistered")
_OF_RUNS = ("seed", "workers")


@take_options(estimate, (COMPARE, ("max_error",)), (MODEL, _OF_MODELS), (RUN, ("batch_size", "device")))
@take_options(evaluate, (OPTIONS, _OF_EVALUATION), (MEANING, _OF_FILES), (RUN, _OF_RUNS))
def evaluate_command(
    predictors: Annotated[list[str], Parameter(name="PREDICTOR")],
    /,
    *,
    compare: Annotated[str | None, Parameter(group=COMPARE)] = None,
    model: Annotated[str, Parameter(group=COMPARE)] = "compact",
    **options: Any,
) -> int:
    """Measure depth against ground truth.

    PREDICTORs are models, folders of depth files, and output folders of runs. They are measured by a
    protocol, beside baselines that do not look at the image. OUTPUT gets results.json, images.csv, page.html
    with the worst and best images of the first predictor, and scores.jsonl, from which the same command
    continues.

        cortexia evaluate compact --truth data/room --output scores
        cortexia evaluate depth other-depth --truth data/room --metrics boundary
        cortexia evaluate depth --truth data/nyu --protocol nyu-eigen
        cortexia evaluate photos --compare openvino,bfloat16 --model compact

    Exit code: 0 every image was measured, 1 some could not be (each is named) or --compare finds too large a
    difference, 2 wrong usage.

    Args:
        predictors: Models; folders of depth files; output folders of runs; also URLs. With --compare: images
            or their folders.
        compare: Measure instead how far depth by a backend, a precision, an input size, or several with commas
            between, is from depth by the reference backend in float32, on images of your own.
        model: The model that --compare runs.
    """
    if compare is not None:
        return _compare(predictors, model, compare, options)

    del options["max_error"]  # that of --compare
    result = evaluate(predictors, **options)
    print(to_options("\n".join(list_lines(*result, width=find_width()))))
    if options["output"] is not None:
        print(f"\n{to_path(options['output'])}: {RESULTS}, {TABLE}, {PAGE}")
    return DONE if result.is_complete else SOME_FAILED


def _compare(images: list[str], model: str, words: str, options: dict[str, Any]) -> int:
    """Print how far the model is from its reference where `words` say; the gate is `BackendSelector`'s.

    words: `openvino,bfloat16,392x518`: a backend, a precision, an input size, in any order.
    """
    backends, max_error = find_model(model).backends, options.pop("max_error")
    given = {
        name: value for name, value in options.items() if name not in (*_OF_EVALUATION, *_OF_FILES, *_OF_RUNS)
    }
    compared: dict[str, Any] = {}
    for word in words.split(","):
        name = "backend" if word in backends else "precision" if word in _PRECISIONS else "input_size"
        if name in compared:
            raise InputError(f"--compare {words}: two of one sort; compare one of each at a time")
        offered = f"--compare: one of {', '.join((*backends, *_PRECISIONS))}; a size"
        compared[name] = parse_size(word, offered) if name == "input_size" else word

    def name_left_out(failure: Failure) -> None:
        print(f"left out: {printable(failure.key)}: {to_options(failure.reason)}", file=sys.stderr)

    choice = BackendSelector(model, max_error=max_error, **{**given, **compared})
    task = replace(USUAL_TASK, sparse=open_sparse(options["sparse"], options["sparse_from"]))
    try:
        parity = choice.check(decode_readable(find_images(images), task, on_failure=name_left_out))
    except ParityError as error:
        print(to_options(str(error)))
        return SOME_FAILED
    print(f"{model} by {words}: {parity}; a mean of at most {max_error:.2%} is allowed")
    worst = {each.key: each for each in sorted(parity.differences, key=lambda each: each.mean)}
    for each in sorted(worst.values(), key=lambda each: -each.mean)[:_LISTED]:
        print(f"  {each.mean:8.3%} mean  {each.most:8.3%} for 99 %  {printable(each.key)}")
    return DONE
