"""How good depth is: metrics, the alignment a kind of depth needs, and trivial baselines to beat."""

from cortexia_video.evaluation.metrics.alignment import align
from cortexia_video.evaluation.metrics.boundary import boundary_f1, boundary_recall
from cortexia_video.evaluation.metrics.depth_metrics import score_pixels
from cortexia_video.evaluation.metrics.pixel_sums import PixelSums, add_sums, measure_pixels

__all__ = [
    "PixelSums",
    "add_sums",
    "align",
    "boundary_f1",
    "boundary_recall",
    "measure_pixels",
    "score_pixels",
]
