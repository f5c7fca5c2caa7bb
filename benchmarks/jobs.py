"""Our jobs: `cortexia_video.estimate` with several models, and models alone, for what they allow at most."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from race import Job

from cortexia_video import DepthEstimator, DepthModel, Frame, estimate, load_estimator
from cortexia_video.depth_estimation import Size
from cortexia_video.depth_map import DepthKind
from cortexia_video.images.decode import decode
from cortexia_video.images.resampling import fit_short_side, resize_image
from cortexia_video.jobs.worker import Decoding
from cortexia_video.models.registry import load_model
from cortexia_video.runtime.resources import count_cores

_GPU_BATCH = 4
_CORE_BATCH = 2  # one image takes as long in a larger one, and the last batch keeps fewer cores waiting


def load_ours(checkpoint: Path) -> Job:
    """Load Depth Anything for our job."""
    return _job(_load_networks(checkpoint))


def load_ours_by(checkpoint: Path, **backend: str) -> Job:
    """Load Depth Anything for our job as `estimate` would: one network on all cores."""
    return _job([DepthEstimator(load_model(f"hf:{checkpoint}", device="cpu", **backend))])


def load_network_alone(checkpoint: Path, photo: Path) -> Job:
    """Load Depth Anything to run it as our job does, and do nothing else."""
    estimators = _load_networks(checkpoint)
    return _alone(estimators[0].model, photo, threads=len(estimators))


def load_compact(*, size: Size = "full", decode: Decoding = "exact", **backend: str) -> Job:
    """Load the built-in model for our job."""
    return _job([load_estimator("compact", size=size, **backend)], decode)


def load_compact_alone(photo: Path) -> Job:
    """Load the built-in model to run it, and do nothing else."""
    return _alone(load_estimator("compact").model, photo, threads=1)


def load_compact_loop() -> Job:
    """Load the built-in model for the loop that people write around a research model."""
    estimator = load_estimator("compact")

    def run(photos: Sequence[Path], output: Path) -> None:
        for photo in photos:
            image = np.asarray(Image.open(photo).convert("RGB"))
            (depth,) = estimator.estimate([Frame(photo.name, image)])
            np.save(output / f"{photo.name}.npy", depth.values)

    return run


def load_simulated_gpu(images_per_second: float) -> Job:
    """Make our job with a model that leaves the processor to others."""
    return _job([DepthEstimator(SimulatedGpu(images_per_second), batch_size=_GPU_BATCH)])


class SimulatedGpu:
    """A model that takes its time elsewhere, and gives the green of the image at a short side of 252."""

    name = "simulated-gpu"
    kind: DepthKind = "disparity"
    weights_digest = "0" * 64
    device = "simulated"
    max_batch = None

    def __init__(self, images_per_second: float) -> None:
        self.images_per_second = images_per_second  # infinite: a model that costs nothing
        self.settings = {"images_per_second": images_per_second}

    def processed_size(self, height: int, width: int) -> tuple[int, int]:
        return fit_short_side(height, width, short_side=252, multiple_of=14)

    def preprocess(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
        return resize_image(image, *size)

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return float32 (B, h, w) from uint8 (B, h, w, 3), when a GPU of this speed would have it."""
        ready = time.perf_counter() + len(batch) / self.images_per_second
        values = batch[..., 1].astype(np.float32)
        time.sleep(max(0.0, ready - time.perf_counter()))
        return values


def _load_networks(checkpoint: Path) -> list[DepthEstimator]:
    """Make each core a device of its own: two networks with a thread each do more than one with two threads.

    The threads of one network wait for each other at every layer, and for the workers that take their core.
    """
    import torch

    torch.set_num_threads(1)
    model = load_model(f"hf:{checkpoint}", device="cpu")
    return [DepthEstimator(model, batch_size=_CORE_BATCH) for _ in range(count_cores())]


def _job(estimators: Sequence[DepthEstimator], decode: Decoding = "exact") -> Job:
    def run(photos: Sequence[Path], output: Path) -> None:
        report = estimate([*photos], output, model=estimators, decode=decode, size=estimators[0].size)
        if report.done != len(photos):
            raise RuntimeError(f"{report}; {report.failures}")

    return run


def _alone(model: DepthModel, photo: Path, *, threads: int) -> Job:
    """Infer one prepared image again and again, as often as there are photos."""
    image = decode(photo.read_bytes(), photo.name).image
    pixels = model.preprocess(image, model.processed_size(*image.shape[:2]))
    pool = ThreadPoolExecutor(threads)

    def run(photos: Sequence[Path], output: Path) -> None:
        counts = [len(photos[at : at + _CORE_BATCH]) for at in range(0, len(photos), _CORE_BATCH)]
        list(pool.map(lambda count: model.infer(np.stack([pixels] * count)), counts))

    return run
