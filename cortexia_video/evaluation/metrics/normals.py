"""How far the surfaces of depth are turned from those of a reference."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cortexia_video.evaluation.metrics.pixel_sums import Array, Mask
from cortexia_video.geometry.normals import depth_to_normals
from cortexia_video.pinhole import Pinhole


class NormalError(NamedTuple):
    """Angles between normals, and the share of pixels below three of them.

    Attributes:
        mean_deg: The mean angle, degrees.
        median_deg: The median angle, degrees.
        within_11: The share below 11.25 degrees.
        within_22: The share below 22.5 degrees.
        within_30: The share below 30 degrees.
    """

    mean_deg: float
    median_deg: float
    within_11: float
    within_22: float
    within_30: float


def measure_normals(depth: Array, reference: Array, camera: Pinhole, mask: Mask | None = None) -> NormalError:
    """Compare the normals of depth with those of a reference: 0 is perfect.

    Shares below 11.25, 22.5 and 30 degrees: Fouhey, Gupta and Hebert, "Data-Driven 3D Primitives", ICCV 2013.

    Args:
        depth: (H, W), up to a factor.
        reference: (H, W).
        camera: Of these pixels.
        mask: bool (H, W), True where to measure (default: wherever the reference has a normal). A normal that
            depth lacks there counts as 180 degrees off.

    Returns:
        Mean and median angle in degrees, and the shares.

    Raises:
        ValueError: There is none to measure.
    """
    ours, theirs = (
        depth_to_normals(each.astype(np.float32), camera).astype(np.float64) for each in (depth, reference)
    )
    known = np.isfinite(theirs).all(axis=-1) & (True if mask is None else mask)
    if not known.any():
        raise ValueError("no pixel to measure: the reference has no normal in the mask")
    one, two = ours[known], theirs[known]
    crossed = np.linalg.norm(np.cross(one, two), axis=-1)
    angles = np.degrees(np.arctan2(crossed, np.einsum("nc,nc->n", one, two)))
    angles = np.where(np.isfinite(angles), angles, 180.0)
    shares = (float(np.mean(angles < limit)) for limit in (11.25, 22.5, 30.0))
    return NormalError(float(angles.mean()), float(np.median(angles)), *shares)
