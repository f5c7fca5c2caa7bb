"""How well points in space cover those of a reference."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cortexia_video.errors import explain_import
from cortexia_video.evaluation.metrics.pixel_sums import Array


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
    precision, recall = (_share_near(*pair, distance) for pair in ((points, reference), (reference, points)))
    together = precision + recall
    return CloudScore(precision, recall, 2 * precision * recall / together if together else 0.0)


def _share_near(points: Array, others: Array, distance: float) -> float:
    try:
        from scipy.spatial import KDTree
    except ImportError as error:
        raise explain_import(error, "comparing point clouds needs", "'cortexia-video[evaluation]'") from error
    finite, targets = (each[np.isfinite(each).all(axis=-1)] for each in (points, others))
    if not len(finite) or not len(targets):
        return 0.0
    bound = max(distance, 1e-12) * (1 + 1e-9)  # it leaves out what is as far as it, and all at 0
    nearest, _ = KDTree(targets).query(finite, distance_upper_bound=bound)
    return float(np.count_nonzero(nearest <= distance) / len(points))
