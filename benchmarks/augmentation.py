"""How many pairs per second our transforms make, beside albumentations' same operations.

    python benchmarks/augmentation.py [rotate perspective ...] [--rounds N]

Pairs of 640 x 480. Ours move the camera too, and what is valid as NaN in the depth, and check that sizes
agree; theirs move image and depth. "with a mask": both move a mask besides. "to tensors": on both sides
results become float32 (C, H, W), and what is valid. Ours and theirs run in turns, each in a process of its own as
a worker of a `DataLoader` is, OpenCV with one thread. A Markdown table: pairs per second of a core that the
process had (others on the machine disturb that less than the clock), median (smallest to largest).
"""

from __future__ import annotations

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # no look for a newer version over the network

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from statistics import median
from typing import Any

import albumentations
import cv2
import numpy as np
import torch
from cyclopts import App
from PIL import Image
from record import note

from cortexia_video.augmentation import (
    ApplyTransforms,
    Compose,
    Flip,
    PerspectiveCrop,
    RandomCrop,
    RandomTransform,
    RandomZoom,
    Resize,
    Rotate,
    Sometimes,
    Transform,
)
from cortexia_video.datasets.torch.tensors import to_tensors
from cortexia_video.depth_map import DepthMap
from cortexia_video.frame import Frame
from cortexia_video.pinhole import Pinhole
from cortexia_video.rgbd_sample import RGBDSample

HEIGHT, WIDTH = 480, 640
_SECONDS = 0.12  # of a core, of each turn
_BATCH = 8
Job = Callable[[], object]
Step = Transform | RandomTransform

app = App(help=__doc__)


@app.default
def measure(*names: str, rounds: int = 15) -> None:
    """Measure and print.

    Parameters
    ----------
    names
        Operations, as the table names them; all by default.
    rounds
        Times that each is measured.
    """
    known = list(_make_jobs())
    if unknown := set(names) - set(known):
        raise SystemExit(f"{', '.join(unknown)}: not known, use {', '.join(known)}")
    print("| pairs per second of a core | ours | albumentations | ours / theirs |\n|---|---|---|---|")
    for name, rates in measure_rates(names or known, rounds).items():
        ours, theirs = zip(*rates, strict=True)
        ratios = [one / other for one, other in rates]
        note(name, ratios)
        print(f"| {name} | {_show(ours)} | {_show(theirs)} | {_show(ratios, 2)} |")


def measure_rates(names: Sequence[str], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Return the rates of ours and theirs in every round; the first round does not count."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    context = get_context("spawn")
    with (
        ProcessPoolExecutor(1, context, _prepare) as ours,
        ProcessPoolExecutor(1, context, _prepare) as theirs,
    ):
        for _ in range(rounds + 1):
            for name in names:
                rates = (
                    pool.submit(_count, name, which).result() for which, pool in enumerate((ours, theirs))
                )
                found[name].append((next(rates), next(rates)))
    return {name: rates[1:] for name, rates in found.items()}


def _show(values: Sequence[float], digits: int = 0) -> str:
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


# ---- in the processes --------------------------------------------------------------------------------------

_jobs: dict[str, tuple[Job, Job]] = {}


def _prepare() -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    _jobs.update(_make_jobs())


def _count(name: str, which: int) -> float:
    """Return how many pairs this process does per second of a core."""
    run, done = _jobs[name][which], 0
    start = time.process_time()
    while (seconds := time.process_time() - start) < _SECONDS:
        run()
        done += 1
    return done / seconds


def _make_jobs() -> dict[str, tuple[Job, Job]]:
    """Give, for each operation, ours and theirs."""
    masked = _make_sample()
    plain = replace(masked, mask=None)
    half, zoom = (HEIGHT // 2, WIDTH // 2), {"scale": (0.25, 1), "ratio": (4 / 3, 4 / 3), "p": 1}
    look = PerspectiveCrop(HEIGHT, WIDTH, 45, yaw_deg=5, pitch_deg=-5)
    steps: dict[str, tuple[Step, list[Any]]] = {
        "flip": (Flip(), [albumentations.HorizontalFlip(p=1)]),
        "vertical flip": (Flip("vertical"), [albumentations.VerticalFlip(p=1)]),
        "random crop to 448 x 576": (RandomCrop(448, 576), [albumentations.RandomCrop(448, 576)]),
        "random crop to 224 x 224": (RandomCrop(224, 224), [albumentations.RandomCrop(224, 224)]),
        "resize to 240 x 320": (Resize(*half), [albumentations.Resize(*half)]),
        "resize to 384 x 512": (Resize(384, 512), [albumentations.Resize(384, 512)]),
        "resize to 720 x 960": (Resize(720, 960), [albumentations.Resize(720, 960)]),
        "zoom by 1 to 2": (RandomZoom((1, 2)), [albumentations.RandomResizedCrop((HEIGHT, WIDTH), **zoom)]),
        "rotate": (Rotate(10), [albumentations.Rotate((10, 10), p=1)]),
        "perspective": (look, [albumentations.Perspective(p=1)]),
    }
    several = (
        Compose([Sometimes(Flip()), RandomZoom((1, 2)), RandomCrop(448, 576)]),
        [
            albumentations.HorizontalFlip(p=0.5),
            albumentations.RandomResizedCrop((HEIGHT, WIDTH), **zoom),
            albumentations.RandomCrop(448, 576),
        ],
    )
    jobs = {name: _make_pair(plain, *pair) for name, pair in steps.items()}
    jobs["flip, zoom, crop"] = _make_pair(plain, *several)
    for name in ("flip", "random crop to 448 x 576", "resize to 384 x 512", "zoom by 1 to 2"):
        jobs[f"{name}, with a mask"] = _make_pair(masked, *steps[name])
    for name, pair in {"flip": steps["flip"], "flip, zoom, crop": several}.items():
        jobs[f"{name}, to tensors"] = _make_pair(plain, *pair, finish=True)
    jobs["the guide's pipeline, eight at a time"] = _make_guide(plain)
    return jobs


def _make_pair(sample: RGBDSample, ours: Step, theirs: list[Any], *, finish: bool = False) -> tuple[Job, Job]:
    compose = albumentations.Compose(theirs, additional_targets={"depth": "mask"}, seed=0)
    rng = np.random.default_rng(0)
    arrays = {"image": sample.frame.image, "depth": sample.depth.values}
    if sample.mask is not None:
        arrays["mask"] = sample.mask.view(np.uint8)
    if finish:
        return lambda: to_tensors(ours(sample, rng)), lambda: _to_tensors(compose(**arrays))
    return lambda: ours(sample, rng), lambda: compose(**arrays)


def _to_tensors(result: dict[str, Any]) -> tuple[torch.Tensor, ...]:
    """Do for theirs what `to_tensors` does for ours."""
    image = np.array(result["image"].transpose(2, 0, 1), np.float32, order="C")
    image /= 255
    valid = np.isfinite(result["depth"])
    valid &= result["depth"] > 0
    labels = np.where(valid, result["depth"], np.float32(0))[None]
    return torch.from_numpy(image), torch.from_numpy(labels), torch.from_numpy(valid[None])


def _make_guide(sample: RGBDSample) -> tuple[Job, Job]:
    """Return the guide's function, ours and as it stands there, on batches of eight PIL images."""
    examples = {
        "image": [Image.fromarray(sample.frame.image)] * _BATCH,
        "depth_map": [Image.fromarray(sample.depth.values)] * _BATCH,
    }
    augment = albumentations.Compose(
        [
            albumentations.HorizontalFlip(p=0.5),
            albumentations.RandomCrop(448, 576),
            albumentations.RandomBrightnessContrast(),
            albumentations.RandomGamma(),
            albumentations.HueSaturationValue(),
        ],
        additional_targets={"depth": "mask"},
        seed=0,
    )
    ours = ApplyTransforms(augment)

    def theirs() -> dict[str, list[Any]]:
        done = [
            augment(image=np.array(image), depth=np.array(depth))
            for image, depth in zip(examples["image"], examples["depth_map"], strict=True)
        ]
        labels = [each["depth"] for each in done]
        return {**examples, "pixel_values": [each["image"] for each in done], "labels": labels}

    return lambda: ours(examples), theirs


def _make_sample() -> RGBDSample:
    """Return a smooth image with a little noise, and depth with a tenth unknown and a mask."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
    image = np.clip(smooth + random.normal(0, 3, smooth.shape), 0, 255).astype(np.uint8)
    depth = random.uniform(1, 10, (HEIGHT, WIDTH)).astype(np.float32)
    depth[random.random(depth.shape) < 0.1] = np.nan
    mask = np.zeros(depth.shape, bool)
    mask[44:471, 40:601] = True
    camera = Pinhole(518.9, 519.5, 325.6, 253.7, WIDTH, HEIGHT)
    return RGBDSample(Frame("a", image, 519.0, "given"), DepthMap(depth, "metric"), camera, mask)


if __name__ == "__main__":
    app()
