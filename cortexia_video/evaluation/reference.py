"""`Reference`: what an image is measured against, and where it counts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cortexia_video.errors import InputError
from cortexia_video.evaluation.metrics.pixel_sums import Array, Mask
from cortexia_video.evaluation.protocol import Protocol
from cortexia_video.pinhole import Pinhole

_DENSE = 0.5  # share of known pixels from which neighbours of a reference mean something


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What an image is measured against: depth (H, W) metres, where it counts, and up to where.

    registered: its edges lie where the image's do. camera: of these pixels, where it is known.
    """

    key: str
    depth_m: Array
    mask: Mask
    max_m: float
    registered: bool = True
    camera: Pinhole | None = None

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.depth_m.shape
        return height, width

    @property
    def is_dense(self) -> bool:
        """Return whether more than half of the pixels are known."""
        return bool(np.count_nonzero(self.mask) > _DENSE * self.mask.size)


def find_reference(
    key: str,
    depth_m: Array,
    protocol: Protocol,
    *,
    mask: Mask | None = None,
    set_max_m: float | None = None,
    registered: bool = True,
    camera: Pinhole | None = None,
) -> Reference:
    """Prepare the reference of an image, (H, W) in metres, not finite or 0 where unknown.

    mask: True for pixels that the dataset lets be used. camera: of all of these pixels. Raises `InputError`
    where no pixel is to be measured.
    """
    depth = protocol.cut(depth_m)
    exact = depth.astype(np.float64)
    max_m = protocol.find_max_m(exact, set_max_m)
    counts = protocol.find_mask(exact, max_m)
    if mask is not None:
        counts &= protocol.cut(mask)
    known = int(np.count_nonzero(counts))
    if known < protocol.min_pixels:
        raise InputError(
            f"{known} valid pixels of the reference by protocol {protocol.name}, which needs "
            f"{protocol.min_pixels}: is its unit metres?"
        )
    if not math.isfinite(max_m):
        max_m = float(exact[counts].max())
    return Reference(key, depth, counts, max_m, registered, camera and protocol.cut_camera(camera))
