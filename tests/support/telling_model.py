"""A network that tells more than depth, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from cortexia_video import SyntheticModel
from cortexia_video.models.protocol import MAPS, Prediction

SKY, HIDDEN, POISON = 250, 5, 13  # grey levels: brighter is sky, darker unknown; normals of this one overflow
FOV_DEG = 90.0
NORMAL = (0.6, 0.0, -0.8)  # of every pixel
WRONG = 7.0  # depth where there is none


def write_photo(folder: Path, size: tuple[int, int]) -> Path:
    """Write one photo of (height, width) into a new folder: sky above, something dark below on the right."""
    folder.mkdir()
    image = np.full((*size, 3), 120, np.uint8)
    image[:10], image[30:, 40:] = SKY, HIDDEN
    image[12:28:4] = 60
    Image.fromarray(image).save(folder / "a.png")
    return folder


class Telling(SyntheticModel):
    """Depth as `SyntheticModel` has it, with mask, normals and a confidence that is the grey level over 255.

    What is nearly white is sky, what is nearly black unknown; depth is 7 there. Normals of an image of level 13 are
    not a number, until it is run in float32.
    """

    maps = MAPS

    def __init__(self, kind: str = "metric", fov_deg: float | None = FOV_DEG) -> None:
        super().__init__("telling", kind=kind, short_side=32)
        self.fov_deg = fov_deg
        self.asked: list[frozenset[str]] = []

    def infer(self, batch: np.ndarray, *, also: frozenset[str] = frozenset()) -> Prediction:
        told = self.infer_float32(batch, also=also)
        if told.normals is not None:
            told.normals[batch[:, 0, 0, 0] == POISON] = np.nan
        return told

    def infer_float32(self, batch: np.ndarray, *, also: frozenset[str] = frozenset()) -> Prediction:
        self.asked.append(also)
        values, level = super().infer(batch), batch[..., 1]
        sky, valid = level >= SKY, level > HIDDEN
        values[sky | ~valid] = WRONG
        fov_deg = None if self.fov_deg is None else np.full(len(batch), self.fov_deg)
        normals = np.full((*values.shape, 3), NORMAL, np.float32) if "normals" in also else None
        confidence = (level / np.float32(255)).astype(np.float32) if "confidence" in also else None
        return Prediction(values, fov_deg, valid, sky, confidence, normals)
