"""A network that needs a focal length, for tests."""

from __future__ import annotations

import math

import numpy as np

from cortexia_video import SyntheticModel
from cortexia_video.models.protocol import Prediction

FOV_DEG = 60.0
POISON = 13


class Camera(SyntheticModel):
    """Nearness as `SyntheticModel` has it; depth is its inverse times width over focal length.

    The field of view is 60 degrees, or not a number for an image of level 13, until it is run in float32.
    """

    def __init__(self) -> None:
        super().__init__(short_side=32)
        self.kind = "metric"
        self.calls: list[tuple[str, int, bool]] = []

    def infer(self, batch: np.ndarray, *, estimate_fov: bool = False) -> np.ndarray | Prediction:
        self.calls.append(("infer", len(batch), estimate_fov))
        fov_deg = np.where(batch[:, 0, 0, 0] == POISON, np.nan, FOV_DEG)
        return self.predict(batch, fov_deg, estimate_fov)

    def infer_float32(self, batch: np.ndarray, *, estimate_fov: bool = False) -> np.ndarray | Prediction:
        self.calls.append(("infer_float32", len(batch), estimate_fov))
        return self.predict(batch, np.full(len(batch), FOV_DEG), estimate_fov)

    def predict(self, batch: np.ndarray, fov_deg: np.ndarray, estimate_fov: bool) -> np.ndarray | Prediction:
        nearness = (1 / super().infer(batch)).astype(np.float32)
        return Prediction(nearness, fov_deg) if estimate_fov else nearness

    def to_depth(self, values: np.ndarray, fov_deg: float) -> np.ndarray:
        return (1 / (values * 2 * math.tan(math.radians(fov_deg) / 2))).astype(np.float32)


class InPlace(Camera):
    """Writes depth over the numbers that it is made of, as Depth Pro does."""

    def to_depth(self, values: np.ndarray, fov_deg: float) -> np.ndarray:
        values[:] = super().to_depth(values, fov_deg)
        return values
