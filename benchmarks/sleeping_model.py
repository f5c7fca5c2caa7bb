"""A model of a known speed that takes no core: it sleeps, as one on a GPU leaves the cores alone."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from cortexia_video.models.synthetic import SyntheticModel


class SleepingModel(SyntheticModel):
    """The synthetic model at 518 pixels, which takes `seconds` an image."""

    def __init__(self, seconds: float) -> None:
        super().__init__("sleeping", short_side=518)
        self._seconds = seconds

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        ends = time.perf_counter() + self._seconds * len(batch)
        depth = super().infer(batch)
        time.sleep(max(0.0, ends - time.perf_counter()))
        return depth
