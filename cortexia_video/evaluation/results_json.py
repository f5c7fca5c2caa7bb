"""The files of an evaluation: results.json for programs, images.csv for tables."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, TextIO

from cortexia_video.evaluation.job import Evaluation
from cortexia_video.evaluation.output_guard import RESULTS, TABLE
from cortexia_video.evaluation.summary import METRICS, Summary
from cortexia_video.storage.atomic_file import write_atomic
from cortexia_video.storage.paths import AnyPath
from cortexia_video.storage.spreadsheet import write_rows

_CSV_HEAD = ("predictor", "set", "key", "pixels", "unknown", "remark", *METRICS)


def save_results(evaluation: Evaluation, summary: Summary, root: AnyPath) -> None:
    """Write `results.json` and `images.csv`, each atomically; raises `OutputLostError`."""
    document = json.dumps(describe(evaluation, summary), indent=1, ensure_ascii=True) + "\n"
    replace_file(root / RESULTS, lambda file: file.write(document))
    replace_file(root / TABLE, lambda file: write_rows(file, _list_rows(evaluation)))


def describe(evaluation: Evaluation, summary: Summary) -> dict[str, Any]:
    """Return everything that `results.json` says; what was not measured is null."""
    protocol = evaluation.protocol
    remarks = {column.name: column.remarks() for column in evaluation.columns}
    return {
        "protocol": {**asdict(protocol), "digest": protocol.digest},
        "software": f"cortexia-video {version('cortexia-video')}",
        "truth": evaluation.place,
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
        "without reference": {failure.key: failure.reason for failure in evaluation.left},
    }


def _clean(values: Any, names: tuple[str, ...] = ()) -> Any:
    """Return null for NaN, which JSON has no word for, and name the parts of intervals."""
    if isinstance(values, Mapping):
        return {key: _clean(value, names) for key, value in values.items()}
    if isinstance(values, tuple):
        return {name: _clean(value) for name, value in zip(names, values, strict=True)}
    return None if math.isnan(values) else values


def _list_rows(evaluation: Evaluation) -> Iterator[tuple[object, ...]]:
    yield _CSV_HEAD
    for column in evaluation.columns:
        for name, scores in column.scores.items():
            for score in scores:
                about = (column.name, name, score.key, score.sums.pixels, score.unknown, score.remark)
                metrics = score.metrics
                yield (*about, *(metrics.get(each, "") for each in METRICS))


def replace_file(path: AnyPath, write: Callable[[TextIO], object]) -> None:
    """Write a file atomically, as `write` fills it; raises `OutputLostError`."""
    with (
        write_atomic(path) as partial,
        partial.open("w", encoding="utf-8", errors="backslashreplace") as file,
    ):
        write(file)
