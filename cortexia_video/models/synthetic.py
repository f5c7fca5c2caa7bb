"""A model without a network: what it gives follows from the image by a formula. For tests and dry runs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import KINDS, DepthKind, larger_is_nearer
from cortexia_video.errors import ModelLoadError, not_known
from cortexia_video.images.resampling import fit_short_side, resize_image


class SyntheticModel:
    """Nearness that grows down the rows and with brightness, as the chosen kind: for tests and examples.

    With r the row's centre in 0..1 from top to bottom and g the mean of red, green and blue in 0..1, nearness
    n = 0.1 + 0.6 r + 0.3 g. `disparity` is n; every other kind is 1 / n (so 1 to 10).

    Args:
        name: What it is called in ledgers.
        kind: What the values mean.
        short_side: Pixels of the short side at which it sees images.

    Example:
        >>> cx.DepthEstimator(cx.SyntheticModel())(np.zeros((48, 64, 3), np.uint8))
        DepthMap(48x64, disparity, 0.106..0.694, synthetic)
    """

    weights_digest = "0" * 64
    device = "cpu"
    max_batch: int | None = None

    def __init__(
        self, name: str = "synthetic", *, kind: DepthKind = "disparity", short_side: int = 64
    ) -> None:
        self.name = name
        self.kind: DepthKind = kind
        self.short_side = short_side
        self.settings = {"short_side": short_side}

    def processed_size(self, height: int, width: int) -> tuple[int, int]:
        """Return at what size it sees an image.

        Args:
            height: Of the image, pixels.
            width: Of the image, pixels.

        Returns:
            Height and width in pixels: multiples of 8, the shorter near `short_side`.
        """
        return fit_short_side(height, width, short_side=self.short_side, multiple_of=8)

    def preprocess(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
        """Resize an image.

        Args:
            image: uint8 (H, W, 3) RGB.
            size: What `processed_size` gave.

        Returns:
            uint8 (h, w, 3) RGB.
        """
        return resize_image(image, *size)

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute depth by the formula.

        Args:
            batch: uint8 (B, h, w, 3) RGB.

        Returns:
            float32 (B, h, w) of `kind`.
        """
        height = batch.shape[1]
        row = ((np.arange(height, dtype=np.float32) + 0.5) / height)[:, None]
        grey = batch.mean(axis=3, dtype=np.float32) / 255
        nearness = (0.1 + 0.6 * row + 0.3 * grey).astype(np.float32)
        return nearness if larger_is_nearer(self.kind) else 1 / nearness


def load_synthetic(name: str, *, device: str = "auto", kind: str = "disparity") -> SyntheticModel:
    """Load the formula; it runs on the processor whatever `device` says."""
    if kind not in KINDS:
        raise ModelLoadError(not_known("kind of depth", kind, KINDS))
    return SyntheticModel(name, kind=kind)
