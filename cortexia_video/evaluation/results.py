"""The folder of an evaluation's results: results.json for programs, images.csv for tables, and whose it is.

Other files and other reports in it are nobody's to replace.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from itertools import chain
from typing import Any, TextIO

from cortexia_video.errors import Failure, OutputExistsError, attempt, printable
from cortexia_video.evaluation.image_score import list_hidden
from cortexia_video.evaluation.job import Evaluation
from cortexia_video.evaluation.protocol import Protocol
from cortexia_video.evaluation.score_file import MARKS, SCORES
from cortexia_video.evaluation.summary import METRICS, Summary
from cortexia_video.formats.registry import HEAD_BYTES, is_own_head
from cortexia_video.ledger.ledger import has_line
from cortexia_video.storage.atomic_file import write_atomic
from cortexia_video.storage.documents import parse_json
from cortexia_video.storage.own_folder import require_own_folder
from cortexia_video.storage.paths import LARGEST_TEXT, AnyPath, read_named, to_path
from cortexia_video.storage.spreadsheet import write_rows

RESULTS, TABLE, PAGE = "results.json", "images.csv", "page.html"
_OURS = {
    RESULTS: lambda head: head.startswith(b'{\n "protocol": {'),
    TABLE: lambda head: head.startswith(b"predictor,set,key,"),
    PAGE: lambda head: is_own_head(head[:HEAD_BYTES]),
    SCORES: lambda head: has_line(head, MARKS),
}
_CSV_HEAD = ("predictor", "set", "key", "pixels", "unknown", "remark", "fit", "at or below 0 m", *METRICS)


def require_own(output: AnyPath, place: AnyPath, protocol: Protocol) -> None:
    """Refuse a folder that holds other people's files, or results by another ground truth or protocol.

    place: where the ground truth is. Other predictors are welcome. Raises `OutputExistsError`.
    """
    require_own_folder(output, "an evaluation", _OURS)
    path = output / RESULTS

    def read() -> tuple[str, str]:
        words = parse_json(read_named(path, limit=LARGEST_TEXT), path)
        return str(words["protocol"]["digest"]), str(words["truth"])

    results = attempt(path.name, "find", read)
    if isinstance(results, Failure):
        if isinstance(results.error, FileNotFoundError):
            return
        raise OutputExistsError(f"{path} cannot be read: remove it, or choose another `output`")
    digest, truth = results
    how = ""
    if digest != protocol.digest:
        how = f"by another protocol than {protocol.name}"
    elif str(to_path(truth).resolve()) != str(place.resolve()):
        how = f"against {truth}, not {place}"
    if how:
        raise OutputExistsError(
            printable(f"{output} holds an evaluation {how}, which would be lost: choose another `output`")
        )


def save_results(evaluation: Evaluation, summary: Summary, root: AnyPath) -> None:
    """Write `results.json` and `images.csv`, each atomically; raises `OutputLostError`."""
    document = json.dumps(describe(evaluation, summary), indent=1, ensure_ascii=True) + "\n"
    rows = (
        (
            *(column.name, name, score.key, score.sums.pixels, score.unknown, score.remark),
            *(column.alignment or "baseline", score.raised),
            *("" if each in list_hidden(column.alignment) else metrics.get(each, "") for each in METRICS),
        )
        for column in evaluation.columns
        for name, scores in column.scores.items()
        for score in scores
        for metrics in [score.metrics]
    )
    replace_file(root / RESULTS, lambda file: file.write(document))
    replace_file(root / TABLE, lambda file: write_rows(file, chain([_CSV_HEAD], rows)))


def describe(evaluation: Evaluation, summary: Summary) -> dict[str, Any]:
    """Return everything that `results.json` says; what was not measured is null."""
    protocol = evaluation.protocol
    facts = {name: "inf" if value == math.inf else value for name, value in asdict(protocol).items()}
    remarks = {column.name: column.remarks() for column in evaluation.columns}
    raised = {
        column.name: {score.key: score.raised for score in column.list_scores() if score.raised}
        for column in evaluation.columns
        if not column.is_baseline
    }
    return {
        "protocol": {**facts, "digest": protocol.digest},
        "software": f"cortexia-video {version('cortexia-video')}",
        "truth": evaluation.ground_truth,
        "fit": {column.name: column.alignment or "baseline" for column in evaluation.columns},
        "totals": _clean(summary.totals, ("value", "low", "high")),
        "sets": _clean(summary.sets),
        "comparisons": [
            {
                "first": each.first,
                "other": each.other,
                "differences": _clean(each.differences, ("value", "low", "high")),
                "share of draws in which the first is better": _clean(each.better),
            }
            for each in summary.comparisons
        ],
        "not measured": {
            column.name: [
                {"metrics": group, "reason": lack, "images": count}
                for (group, lack), count in column.count_lacks(evaluation.asked).items()
            ]
            for column in evaluation.columns
        },
        "remarks": {name: dict(pairs) for name, pairs in remarks.items() if pairs},
        "pixels at or below 0 m": {name: counts for name, counts in raised.items() if counts},
        "clips": [
            {
                **{name: getattr(each, name) for name in ("predictor", "clip", "alignment", "lacks")},
                **_clean(each.score._asdict() | {"scale": each.fit.scale, "shift": each.fit.shift}),
            }
            for each in evaluation.clips
        ],
        "without reference": {failure.key: failure.reason for failure in evaluation.skipped},
    }


def _clean(values: Any, names: tuple[str, ...] = ()) -> Any:
    """Return null for NaN, which JSON has no word for, and name the parts of intervals."""
    if isinstance(values, Mapping):
        return {key: _clean(value, names) for key, value in values.items()}
    if isinstance(values, tuple):
        return {name: _clean(value) for name, value in zip(names, values, strict=True)}
    return None if math.isnan(values) else values


def replace_file(path: AnyPath, write: Callable[[TextIO], object]) -> None:
    """Write a file atomically, as `write` fills it; raises `OutputLostError`."""
    with (
        write_atomic(path) as partial,
        partial.open("w", encoding="utf-8", errors="backslashreplace") as file,
    ):
        write(file)
