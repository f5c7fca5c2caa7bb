"""`Parity`: how far one backend's, precision's or size's depth is from another's, on real images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, tee

import numpy as np

from cortexia_video.depth_estimation import DepthEstimator
from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import Failure, ParityError, format_count
from cortexia_video.frame import Frame

_MOST_UNLIKE = 0.01  # share of the pixels that one knows and the other does not


@dataclass(frozen=True, slots=True)
class Difference:
    """How far an image's depth is from the reference's.

    mean, most: of the pixels' differences, as `measure_difference` has them; `most` is exceeded by 1 %.
    """

    key: str
    mean: float
    most: float


@dataclass(frozen=True, slots=True)
class Parity:
    """The differences of some images."""

    differences: Sequence[Difference]

    @property
    def worst(self) -> Difference:
        """Return the image with the largest mean."""
        return max(self.differences, key=lambda each: each.mean)

    def __str__(self) -> str:
        worst = self.worst
        return (
            f"mean difference {worst.mean:.2%}, 99 % of the pixels within {worst.most:.2%} "
            f"(worst of {format_count(len({each.key for each in self.differences}), 'image')}: {worst.key})"
        )


def measure_difference(depth: DepthMap, reference: DepthMap, key: str = "") -> Difference:
    """Compare depth with a reference of the same kind and size, unscaled, where both are known.

    What one of them takes for sky and the other for depth may be 1 % of the pixels.

    Metric and scale-invariant depth: |d - r| / r. Depth that has a free shift: |d - r| over the spread of the
    reference, its 98th less its 2nd percentile. Raises `ParityError` where they cannot be compared.
    """
    if (depth.kind, depth.values.shape) != (reference.kind, reference.values.shape):
        raise ParityError(
            f"{depth.kind} depth {depth.values.shape} cannot be compared with {reference.kind} depth "
            f"{reference.values.shape}: both must be of one kind and one size"
        )
    ours, theirs = depth.values.astype(np.float64), reference.values.astype(np.float64)
    known = np.isfinite(theirs) & np.isfinite(ours)
    if not known.any() or (np.isfinite(theirs) != np.isfinite(ours)).mean() > _MOST_UNLIKE:
        raise ParityError(f"{key or 'an image'} has no depth to compare, or is unknown where it must not be")
    ours, theirs = ours[known], theirs[known]
    if reference.kind in ("metric", "scale_invariant"):
        scale = theirs
    else:
        low, high = np.percentile(theirs, (2, 98))
        scale = high - low
    errors = np.abs(ours - theirs) / np.maximum(scale, np.finfo(np.float32).tiny)
    return Difference(key, float(errors.mean()), float(np.percentile(errors, 99)))


def compare(
    estimator: DepthEstimator, reference: DepthEstimator, frames: Iterable[Frame], *, together: int = 1
) -> Parity:
    """Estimate frames by both and measure the differences.

    together: copies of a frame that the first estimator gets, so that its batches are full: a graph may be
    right for one image and wrong for several. Each copy is compared. Frames that the reference fails on are
    left out. Raises `ParityError` where only the first fails, or no frame is left.
    """
    frames, ours, theirs = tee(frames, 3)  # none is kept longer than until both have done it
    found = estimator.estimate(frame for frame in ours for _ in range(together))
    differences: list[Difference] = []
    failed = ""
    for frame, expected in zip(frames, reference.estimate(theirs), strict=True):
        for depth in islice(found, together):
            if isinstance(expected, Failure):
                failed = f": {expected.reason}"
                continue
            if not np.isfinite(expected.values).any():
                continue
            if isinstance(depth, Failure):
                raise ParityError(depth.reason) from depth.error
            differences.append(measure_difference(depth, expected, frame.key))
    if not differences:
        raise ParityError(f"none of the images to compare on can be estimated{failed}")
    return Parity(differences)
