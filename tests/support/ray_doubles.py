"""Models that misbehave, for tests of clusters: they travel to workers with all that they are."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cortexia_video.models.synthetic import SyntheticModel


class PoisonedModel(SyntheticModel):
    """Ends its process where an image is white."""

    def preprocess(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
        if image.min() == 255:
            os._exit(17)
        return super().preprocess(image, size)


class MortalModel(SyntheticModel):
    """Kills its process once, in the middle of a run: the first that makes `mark` does it."""

    def __init__(self, mark: Path, after: int) -> None:
        super().__init__()
        self.mark, self.after = mark, after
        self.count = 0

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.count += len(batch)
        if self.count >= self.after:
            try:
                self.mark.touch(exist_ok=False)
            except FileExistsError:
                return super().infer(batch)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().infer(batch)


class SlowModel(SyntheticModel):
    """Takes a while for each image, and says once that it has begun."""

    def __init__(self, seconds: float, mark: Path | None = None) -> None:
        super().__init__()
        self.seconds, self.mark = seconds, mark

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self.mark:
            self.mark.touch()
        time.sleep(self.seconds * len(batch))
        return super().infer(batch)
