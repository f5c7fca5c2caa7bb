"""Measure the accuracy of a model on frames with known depth, beside three baselines that do not look.

    python benchmarks/compact_accuracy.py --data ../shared/data/rgbd

Per picture: the model's disparity is aligned to the reference by least squares (scale and shift, see
`evaluation.alignment`), AbsRel and delta1 are taken over all pixels with 0 < depth <= the set's max_depth_m,
and averaged over the pictures of a set; the last line averages the real sets. The table goes to stdout.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cyclopts import App
from numpy.typing import NDArray
from PIL import Image

from cortexia_video.depth_estimation import DepthEstimator, load_estimator
from cortexia_video.errors import Failure
from cortexia_video.evaluation.alignment import align_disparity
from cortexia_video.evaluation.baselines import BASELINES
from cortexia_video.evaluation.metrics import score_pixels
from cortexia_video.evaluation.pixels import known_mask, measure_pixels
from cortexia_video.frame import Frame

Score = NDArray[np.float64]  # (2,): AbsRel, delta1

app = App(help="Measure a model's accuracy on RGB-D sets beside trivial baselines.")


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """One frame and its depth: image uint8 (H, W, 3), depth_m float32 (H, W), 0 = unknown."""

    name: str
    image: NDArray[np.uint8]
    depth_m: NDArray[np.float32]
    max_depth_m: float


@app.default
def measure(*, data: Path = Path("../shared/data/rgbd"), model: str = "compact", batch_size: int = 4) -> None:
    """Print one line per set and the mean of the real sets, as a Markdown table.

    Parameters
    ----------
    data
        Folder of sets, each with a set.json.
    model
        Model to measure, as `--model` of the command line takes it.
    batch_size
        Pictures a forward pass.
    """
    folders = sorted(path.parent for path in data.glob("*/set.json"))
    if not folders:
        sys.exit(f"{data} holds no */set.json: name the folder of RGB-D sets with --data")
    estimator = load_estimator(model, batch_size=batch_size)
    columns = [model, *BASELINES]
    print(f"| set | kind | frames | {' | '.join(columns)} |")
    print("|---" * (3 + len(columns)) + "|")
    real = []
    for folder in folders:
        about = json.loads((folder / "set.json").read_text())
        references = list(read_set(folder, about))
        scores = score_set(estimator, references)
        print(f"| {about['name']} | {about['kind']} | {len(references)} | {_cells(scores)} |")
        if about["kind"] == "real":
            real.append(scores)
    if real:
        print(f"| mean of real sets | real | | {_cells(np.mean(real, axis=0))} |")


def read_set(folder: Path, about: dict[str, Any]) -> Iterator[Reference]:
    """Read the frames of a set in their order."""
    for frame in about["frames"]:
        image = np.asarray(Image.open(folder / frame["rgb"]).convert("RGB"))
        stored = np.asarray(Image.open(folder / frame["depth"]))
        depth_m = (stored.astype(np.float64) / about["depth_scale"]).astype(np.float32)
        yield Reference(frame["name"], image, depth_m, float(about["max_depth_m"]))


def score_set(estimator: DepthEstimator, references: list[Reference]) -> Score:
    """Average the scores of the model and of each baseline over a set: (1 + baselines, 2)."""
    frames = [Frame(reference.name, reference.image) for reference in references]
    rows = []
    for reference, depth in zip(references, estimator.estimate(frames), strict=True):
        if isinstance(depth, Failure):
            raise depth.error
        rows.append(_score_frame(reference, depth.values))
    return np.asarray(np.mean(rows, axis=0))


def _score_frame(reference: Reference, disparity: NDArray[np.float32]) -> Score:
    depth_m, limit = reference.depth_m, reference.max_depth_m
    mask = known_mask(depth_m, limit)
    guesses = [align_disparity(disparity, depth_m, mask, max_depth_m=limit)]
    guesses += [baseline(depth_m, mask, limit) for baseline in BASELINES.values()]
    found = [score_pixels(measure_pixels(np.maximum(guess, 1e-3), depth_m, mask)) for guess in guesses]
    return np.array([[each["abs_rel"], each["delta1"]] for each in found])


def _cells(scores: Score) -> str:
    return " | ".join(f"{error:.3f} / {share:.3f}" for error, share in scores)


if __name__ == "__main__":
    app()
