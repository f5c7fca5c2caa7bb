"""Errors of depth in space, which need a camera: of surfaces, of point clouds, and of the camera itself."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cortexia_video.errors import explain_import
from cortexia_video.evaluation.metrics.pixel_sums import Array, Mask
from cortexia_video.geometry.normals import depth_to_normals
from cortexia_video.pinhole import Pinhole, to_fov_deg


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


class CloudScore(NamedTuple):
    """Shares of points that have one of the other point cloud near: 1 is perfect.

    Attributes:
        precision: Of the points.
        recall: Of the reference points.
        f_score: 2 P R / (P + R).
    """

    precision: float
    recall: float
    f_score: float


def score_cloud(points: Array, reference: Array, distance: float) -> CloudScore:
    """Compare points with reference points; what is at most `distance` away is near.

    F = 2 P R / (P + R). Points that are not finite are near to none. Source: Knapitsch et al., "Tanks and
    Temples", SIGGRAPH 2017, section 5.

    Args:
        points: (N, 3).
        reference: (M, 3), in the same unit.
        distance: In the same unit.

    Returns:
        Precision, recall and F-score.

    Raises:
        MissingExtraError: scipy is not installed.
        ValueError: There are no reference points.
    """
    if not len(reference):
        raise ValueError("no point to measure against: the reference cloud is empty")
    try:
        from scipy.spatial import KDTree
    except ImportError as error:
        raise explain_import(error, "comparing point clouds needs", "'cortexia-video[evaluation]'") from error
    bound = max(distance, 1e-12) * (1 + 1e-9)  # it leaves out what is as far as it, and all at 0
    shares = []
    for here, there in ((points, reference), (reference, points)):
        finite, targets = (each[np.isfinite(each).all(axis=-1)] for each in (here, there))
        share = 0.0
        if len(finite) and len(targets):
            nearest, _ = KDTree(targets).query(finite, distance_upper_bound=bound)
            share = float(np.count_nonzero(nearest <= distance) / len(here))
        shares.append(share)
    precision, recall = shares
    together = precision + recall
    return CloudScore(precision, recall, 2 * precision * recall / together if together else 0.0)


def focal_length_error(f_px: float, reference_f_px: float) -> float:
    """Return |f - reference| / reference: 0 is perfect. Depth Pro counts shares below 0.25 and 0.5.

    Args:
        f_px: Focal length, pixels.
        reference_f_px: The true one, pixels.

    Returns:
        The relative error.
    """
    return abs(f_px - reference_f_px) / reference_f_px


def field_of_view_error(f_px: float, reference_f_px: float, width: int) -> float:
    """Return the difference of the horizontal fields of view of an image: 0 is perfect.

    Source: Wang et al., "MoGe", CVPR 2025, section 4.

    Args:
        f_px: Focal length, pixels.
        reference_f_px: The true one, pixels.
        width: Of the image, pixels.

    Returns:
        Degrees.
    """
    return abs(to_fov_deg(f_px, width) - to_fov_deg(reference_f_px, width))
