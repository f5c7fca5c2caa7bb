"""`find_error`: where a depth map is wrong, pixel by pixel, as an evaluation measures it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import InputError
from cortexia_video.evaluation.image_score import align_image, clip_depth, score_image
from cortexia_video.evaluation.metrics.alignment import ALIGNMENTS
from cortexia_video.evaluation.metrics.depth_metrics import abs_rel
from cortexia_video.evaluation.protocol import Protocol
from cortexia_video.evaluation.reference import find_reference


class ErrorMap(NamedTuple):
    """Where depth is wrong.

    relative: float32 (H, W), depth / reference - 1, NaN where nothing is measured. abs_rel: of the image, as
    `evaluate` measures it. fit: for people, how depth was brought to the reference.
    """

    relative: NDArray[np.float32]
    abs_rel: float
    fit: str


def find_error(
    depth: DepthMap, reference_m: NDArray[np.float32], protocol: Protocol, *, max_m: float | None = None
) -> ErrorMap:
    """Compare depth with a reference, (H, W) metres, NaN where unknown, by the first fit that its kind allows.

    max_m: the largest depth that counts, where the protocol leaves that to the dataset. Raises `InputError`
    where nothing can be measured.
    """
    alignment = protocol.list_alignments({depth.kind})[0]
    chosen = protocol if alignment == protocol.alignment else protocol.plain
    reference = find_reference("", reference_m, chosen, set_max_m=max_m)
    score = score_image(depth, reference, chosen)
    if score.remark:
        raise InputError(score.remark)
    measured = clip_depth(align_image(depth, reference, chosen), reference.limit_m, chosen)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(reference.mask, measured / reference.depth_m - 1, np.nan)
    return ErrorMap(relative.astype(np.float32), abs_rel(score.sums), ALIGNMENTS[alignment].describe())
