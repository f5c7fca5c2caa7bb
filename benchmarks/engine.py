"""How fast, how busy, how large: our job beside the loops of others, and beside what is possible.

    pip install -e '.[benchmark]'
    python benchmarks/engine.py [peers] [gpu] [busy] [memory] [compact] [native] [--quick] [--work FOLDER]

All sections take about a quarter of an hour on two cores and 30 GB of the disk at `--work`. Progress goes to
stderr, a Markdown table to stdout, every run to `engine.json` in `--work`. `--quick` only shows that it runs.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Literal

from arithmetic import ImpossibleFigureError, check_guard
from cyclopts import App
from record import note_figures
from sections import FULL, QUICK, SECTIONS, Answer

from cortexia_video.runtime.resources import count_cores

_PACKAGES = ("numpy", "torch", "transformers", "onnxruntime", "pillow", "opencv-python-headless")
_QUIET = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error"}

app = App(help=__doc__)


@app.default
def measure(
    *sections: Literal["peers", "gpu", "busy", "memory", "compact", "native"],
    work: Path = Path("runs/benchmark"),
    quick: bool = False,
    rounds: int | None = None,
    photos: int | None = None,
) -> None:
    """Measure the sections named, or all.

    Parameters
    ----------
    sections
        What to measure.
    work
        Folder for photos, weights, outputs and engine.json.
    quick
        A few photos and one round.
    rounds
        So many, in place of the usual number.
    photos
        So many a round, in place of the usual number, but for `memory`.
    """
    check_guard()
    os.environ.update(_QUIET)
    scale = QUICK if quick else FULL
    if rounds:
        scale = replace(scale, rounds=rounds, gpu_rounds=rounds)
    if photos:
        scale = replace(scale, photos=photos, gpu_photos=photos, busy_photos=photos)
    answers, refused = dict[str, Answer](), dict[str, str]()
    for name in sections or SECTIONS:
        try:
            answers[name] = SECTIONS[name](work, scale)
        except ImpossibleFigureError as error:  # of this section alone
            refused[name] = str(error)
            continue
        _save(work / "engine.json", answers)
        note_figures(f"engine {name}", answers[name].figures)
    shutil.rmtree(work / "photos")
    if answers:
        print(_table(answers))
    for name, reason in refused.items():
        print(f"\n{name}: no figures, since {reason}: measure it again on a quiet machine")
    sys.exit(1 if refused else 0)


def _save(path: Path, answers: Mapping[str, Answer]) -> None:
    record = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": _machine(),
        "sections": {name: asdict(answer) for name, answer in answers.items()},
    }
    path.write_text(json.dumps(record, indent=1) + "\n")


def _machine() -> dict[str, object]:
    return {
        "processor": _processor(),
        "cores": count_cores(),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
    }


def _processor() -> str:
    """Return the name that Linux knows, or what Python does elsewhere."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _table(answers: Mapping[str, Answer]) -> str:
    """Return the figures as Markdown, each the median (and extremes) of its rounds."""
    machine = ", ".join(f"{name} {value}" for name, value in _machine().items())
    lines = [f"{datetime.date.today()}: {machine}", "", "| | measured | goal |", "|---|---|---|"]
    for answer in answers.values():
        lines += [f"| {figure.what} | {figure} | {figure.goal_text()} |" for figure in answer.figures]
    disturbed = [
        run.disturbed for answer in answers.values() for runs in answer.runs.values() for run in runs
    ]
    lines += ["", f"Others used {median(disturbed):.1%} of the cores (median of {len(disturbed)} runs; "]
    lines[-1] += f"at most {max(disturbed):.1%})."
    return "\n".join(lines)


if __name__ == "__main__":
    app()
