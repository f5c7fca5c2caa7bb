"""The loops that people write around the same network, as they are used: from photos to `.npy` files."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from depth_anything import PATCH, SHORT_SIDE, load_network, make_processor
from PIL import Image
from torch.nn import functional
from transformers import pipeline

Peer = Callable[[Sequence[Path], Path], None]
_BATCH = 4


def load_script_loop(checkpoint: Path) -> Peer:
    """Do as the specification's script says: load the whole folder, then infer and save batch by batch."""
    network, processor = load_network(checkpoint), make_processor()

    def run(photos: Sequence[Path], output: Path) -> None:
        images = [Image.open(photo).convert("RGB") for photo in photos]
        for start in range(0, len(images), _BATCH):
            batch = images[start : start + _BATCH]
            with torch.no_grad():
                outputs = network(**processor(images=batch, return_tensors="pt"))
            sizes = [image.size[::-1] for image in batch]
            depths = processor.post_process_depth_estimation(outputs, target_sizes=sizes)
            for photo, depth in zip(photos[start:], depths, strict=False):
                np.save(output / f"{photo.stem}_depth_new.npy", depth["predicted_depth"].numpy())
            gc.collect()

    return run


def load_pipeline(checkpoint: Path, batch_size: int) -> Peer:
    """Use `transformers.pipeline` as its manual recommends for many files: it reads a dataset of paths."""
    estimate = pipeline("depth-estimation", model=str(checkpoint))

    def run(photos: Sequence[Path], output: Path) -> None:
        results = estimate(_Paths(photos), batch_size=batch_size)
        for photo, result in zip(photos, results, strict=True):
            np.save(output / f"{photo.stem}.npy", result["predicted_depth"].numpy())

    return run


class _Paths(torch.utils.data.Dataset[str]):
    """Given a list, the pipeline would keep every result in memory; given a dataset, it streams."""

    def __init__(self, photos: Sequence[Path]) -> None:
        self._photos = photos

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, index: int) -> str:
        return str(self._photos[index])


def load_run_py(checkpoint: Path) -> Peer:
    """Do what run.py of Depth-Anything-V2 does to one image after the other, saving numbers, no colours."""
    network = load_network(checkpoint)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])

    def run(photos: Sequence[Path], output: Path) -> None:
        for photo in photos:
            pixels = cv2.imread(str(photo))
            height, width = pixels.shape[:2]
            image = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) / 255.0
            image = cv2.resize(image, _lower_bound(height, width)[::-1], interpolation=cv2.INTER_CUBIC)
            chw = np.ascontiguousarray(((image - mean) / std).transpose(2, 0, 1), dtype=np.float32)
            with torch.no_grad():
                depth = network(pixel_values=torch.from_numpy(chw)[None]).predicted_depth[:, None]
                full = functional.interpolate(depth, (height, width), mode="bilinear", align_corners=True)
            np.save(output / f"{photo.stem}.npy", full[0, 0].numpy())

    return run


def _lower_bound(height: int, width: int) -> tuple[int, int]:
    """Return the (height, width) of run.py's `Resize`: the short side fits, both divide by the patch."""
    scale = max(SHORT_SIDE / height, SHORT_SIDE / width)
    return round(height * scale / PATCH) * PATCH, round(width * scale / PATCH) * PATCH
