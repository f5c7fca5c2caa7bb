"""Jobs on a device: our model alone and in our job, the plain transformers network alone and in a loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from race import Job
from torch.nn.functional import interpolate
from transformers import AutoModelForDepthEstimation, PreTrainedModel

from cortexia_video import DepthEstimator, Failure, estimate
from cortexia_video.depth_estimation import ModelResult, PreparedFrame, Size
from cortexia_video.errors import ModelError
from cortexia_video.images.decode import decode
from cortexia_video.models.registry import load_model


def load_ours(
    checkpoint: Path, device: torch.device, batch_size: int, precision: str = "bfloat16"
) -> DepthEstimator:
    """Load a checkpoint as our users do."""
    model = load_model(f"hf:{checkpoint}", device=str(device), precision=precision)
    return DepthEstimator(model, batch_size=batch_size)


def prepare_photo(estimator: DepthEstimator, photo: Path, f_px: float | None = None) -> PreparedFrame:
    """Make a photo ready for the network. f_px: as of `run_job`."""
    frame = decode(photo.read_bytes(), photo.name)
    prepared = estimator.prepare(frame if f_px is None else replace(frame, f_px=f_px, f_source="given"))
    if isinstance(prepared, Failure):
        raise prepared.error
    return prepared


def run_alone(estimator: DepthEstimator, prepared: PreparedFrame) -> Job:
    """Run batches of one prepared image as the engine does: copied there, normalised, and copied back."""
    batch = estimator.stack([prepared] * estimator.batch_size)
    for answer in estimator.run(batch, prepared.estimate_fov):
        _require_depth(estimator.check(answer))  # what is refused would be done again, in float32

    def run(photos: Sequence[Path], output: Path) -> None:
        for start in range(0, len(photos), len(batch)):
            for answer in estimator.run(batch[: len(photos) - start], prepared.estimate_fov):
                _require_depth(answer)

    return run


def _require_depth(answer: ModelResult) -> None:
    if isinstance(answer, ModelError):
        raise answer


def run_job(estimator: DepthEstimator, size: Size, f_px: float | None = None) -> Job:
    """Make `.npy` files of photos by our job, as large as the photo or as the network gives.

    f_px: for a network that must know it.
    """
    sized = DepthEstimator(estimator.model, batch_size=estimator.batch_size, size=size)

    def run(photos: Sequence[Path], output: Path) -> None:
        report = estimate([*photos], output, model=sized, f_px=f_px)
        if report.done != len(photos):
            raise RuntimeError(f"{report}; {report.failures}")

    return run


def load_plain(checkpoint: Path, device: torch.device, precision: torch.dtype) -> PreTrainedModel:
    """Load a checkpoint as transformers' manual says."""
    return AutoModelForDepthEstimation.from_pretrained(checkpoint, dtype=precision).eval().to(device)


def run_plain_alone(network: PreTrainedModel, size: tuple[int, int], batch_size: int) -> Job:
    """Run batches that are on the device and stay there."""
    batch = torch.rand(batch_size, 3, *size, device=network.device, dtype=network.dtype)

    def run(photos: Sequence[Path], output: Path) -> None:
        with torch.inference_mode():
            for start in range(0, len(photos), len(batch)):
                network(pixel_values=batch[: len(photos) - start])

    return run


def run_plain_loop(network: PreTrainedModel, size: tuple[int, int]) -> Job:
    """Do one photo after the other, all but decoding and saving on the device: the loop at its best."""

    def run(photos: Sequence[Path], output: Path) -> None:
        for photo in photos:
            image = torch.from_numpy(np.array(Image.open(photo).convert("RGB"))).to(network.device)
            pixels = image.permute(2, 0, 1)[None].float() / 127.5 - 1
            with torch.inference_mode():
                small = interpolate(pixels, size, mode="bilinear").to(network.dtype)
                depth = network(pixel_values=small).predicted_depth.float()
                full = interpolate(depth[:, None], pixels.shape[-2:], mode="bilinear")
            np.save(output / f"{photo.name}.npy", full[0, 0].cpu().numpy())

    return run
