"""What a training is worth so far: the averaged weights, measured by the evaluation's own code, and shown."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from cortexia_video.depth_estimation import DepthEstimator
from cortexia_video.depth_map import DepthKind, DepthMap
from cortexia_video.errors import Failure, InputError, attempt
from cortexia_video.evaluation.ground_truth import GroundTruth, open_truth
from cortexia_video.evaluation.job import measure_predictors
from cortexia_video.evaluation.predictors import ModelPredictor
from cortexia_video.evaluation.protocol import Protocol, load_protocol
from cortexia_video.evaluation.summary import summarise
from cortexia_video.evaluation.text_table import choose_shown, list_lines
from cortexia_video.images.resampling import fit_short_side, resize_image
from cortexia_video.storage.atomic_file import make_folder, write_atomic
from cortexia_video.storage.paths import to_path
from cortexia_video.training.loop import Training
from cortexia_video.training.recipe import ValidationPlan
from cortexia_video.viz.figures import collage

_log = logging.getLogger(__name__)


class References(NamedTuple):
    """What a recipe's validation measures against, and how."""

    protocol: Protocol
    truths: tuple[GroundTruth, ...]


def open_references(plan: ValidationPlan) -> References:
    """Open the ground truths of a recipe. Raises `InputError` where one is missing or has no images."""
    protocol = load_protocol(plan.protocol)
    truths = tuple(
        open_truth(
            root, protocol, allow_outside=plan.allow_outside, allow_unregistered=plan.allow_unregistered
        )
        for root in plan.truth
    )
    blind = [truth.path for truth in truths if not truth.has_images]
    if blind:
        raise InputError(
            f"{blind[0]} has no images to look at: give a dataset as the validation's ground truth"
        )
    return References(protocol, truths)


class Validation:
    """The references of a recipe, against which a training is measured."""

    def __init__(
        self, training: Training, references: References, output: Path, writer: SummaryWriter
    ) -> None:
        self._training = training
        self._folder = output / "validation"
        self._writer = writer
        self._protocol, self._truths = references

    def is_due(self) -> bool:
        """Return whether this step is one of those to be measured."""
        step, recipe = self._training.step, self._training.recipe
        return bool(self._truths) and (step % recipe.validation.every == 0 or step == recipe.steps)

    def run(self) -> None:
        """Measure the averaged weights beside the baselines, log it, and write a sheet of images.

        Where that cannot be it is said, and the training goes on.
        """
        training, step = self._training, self._training.step

        def measure() -> None:
            with hold_average(training):
                side, unit = min(training.recipe.short_sides), training.trainable.multiple_of
                model = TrainedModel(f"step {step}", training.network, training.trainable.kind, side, unit)
                estimator = DepthEstimator(model)
                for truth in self._truths:
                    self._measure(truth, ModelPredictor(model.name, estimator))
                self._show(estimator)

        ran = attempt(f"step {step}", "estimate", measure)
        if isinstance(ran, Failure):
            _log.warning("step %d is not measured: %s", step, ran.reason)

    def _measure(self, truth: GroundTruth, predictor: ModelPredictor) -> None:
        found = measure_predictors(truth, [predictor], self._protocol)
        summary = summarise(found)
        for line in list_lines(found, summary):
            _log.info("%s", line)
        place = to_path(truth.path).name
        for column, totals in summary.totals.items():
            shown = column.replace(predictor.name, "model")
            for metric in choose_shown(found, summary):
                value = totals[metric].value
                if not math.isnan(value):
                    self._writer.add_scalar(f"{place}/{metric}/{shown}", value, self._training.step)

    def _show(self, estimator: DepthEstimator) -> None:
        frames = []
        for within in chain.from_iterable(truth.sets for truth in self._truths):
            for key, read in islice(within.list_samples(), self._training.recipe.validation.images):
                sample = attempt(key, "decode", read)
                if not isinstance(sample, Failure):  # else it is among what the evaluation has named
                    frames.append(sample.frame)
        pairs = zip(frames, estimator.estimate(frames), strict=True)
        shown = [(frame.image, depth) for frame, depth in pairs if isinstance(depth, DepthMap)]
        if not shown:
            return
        sheet = collage(shown, columns=2)
        make_folder(self._folder)
        with write_atomic(self._folder / f"step_{self._training.step:06d}.jpg") as partial:
            Image.fromarray(sheet).save(partial, "JPEG", quality=90)
        self._writer.add_image("validation", sheet.astype(np.uint8), self._training.step, dataformats="HWC")


@contextmanager
def hold_average(training: Training) -> Iterator[None]:
    """Let the network hold its running average, in evaluation mode, for as long as the block lasts."""
    network = training.network
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(training.average)
    network.eval()
    try:
        yield
    finally:
        network.load_state_dict(kept)
        network.train()


class TrainedModel:
    """A network as `Trainable` has it, in evaluation mode, at a short side of so many pixels."""

    max_batch: int | None = None

    def __init__(
        self, name: str, network: nn.Module, kind: DepthKind, short_side: int, multiple_of: int
    ) -> None:
        self.name = name
        self.kind: DepthKind = kind
        self.weights_digest = name
        self.device = str(next(network.parameters()).device)
        self.settings: Mapping[str, object] = {"input_size": str(short_side)}
        self._network = network
        self._sizes = {"short_side": short_side, "multiple_of": multiple_of}

    def processed_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the nearest size to the image's aspect ratio at the short side."""
        return fit_short_side(height, width, **self._sizes)

    def preprocess(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[Any]:
        """Resize a uint8 (H, W, 3) image to float32 (3, h, w) in [0, 1]."""
        pixels = resize_image(image, *size).astype(np.float32) / 255
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def infer(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Run the network in float32 on (B, 3, h, w); return float32 (B, h, w)."""
        with torch.no_grad():
            values: NDArray[np.float32] = (
                self._network(torch.from_numpy(batch).to(self.device)).float().cpu().numpy()
            )
        return values
