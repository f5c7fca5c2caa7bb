"""How good a depth map is: metrics, the alignment a kind of depth needs, and trivial baselines to beat."""

from cortexia_video.evaluation.alignment import align_disparity
from cortexia_video.evaluation.metrics import abs_rel, delta1

__all__ = ["abs_rel", "align_disparity", "delta1"]
