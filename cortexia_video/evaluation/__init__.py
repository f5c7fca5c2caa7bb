"""How good depth is: metrics, the alignment a kind of depth needs, and trivial baselines to beat.

Doors: `error_map`, `evaluator`, `ground_truth`, `job`, `predictors`, `protocol`, `results`, `side_by_side`,
`summary`, `text_table`.
"""

from typing import TYPE_CHECKING

from cortexia_video.runtime.lazy_names import load_lazily

if TYPE_CHECKING:
    from cortexia_video.evaluation.comparison import Comparison
    from cortexia_video.evaluation.evaluator import EvaluationResult, evaluate, evaluate_pairs
    from cortexia_video.evaluation.ground_truth import GroundTruth, to_ground_truth
    from cortexia_video.evaluation.job import Evaluation
    from cortexia_video.evaluation.metrics.alignment import align
    from cortexia_video.evaluation.metrics.clips import ClipScore, score_clip
    from cortexia_video.evaluation.metrics.depth_metrics import score_pixels
    from cortexia_video.evaluation.metrics.edges import (
        boundary_f1,
        boundary_recall,
        edge_accuracy,
        edge_completeness,
    )
    from cortexia_video.evaluation.metrics.geometry import (
        CloudScore,
        NormalError,
        field_of_view_error,
        focal_length_error,
        measure_normals,
        score_cloud,
    )
    from cortexia_video.evaluation.metrics.ordinal import whdr
    from cortexia_video.evaluation.metrics.pixel_sums import PixelSums, add_sums, measure_pixels
    from cortexia_video.evaluation.metrics.temporal_stability import measure_change, measure_stability
    from cortexia_video.evaluation.predictors import ModelPredictor, Predictor
    from cortexia_video.evaluation.protocol import Protocol, list_protocols, load_protocol
    from cortexia_video.evaluation.side_by_side import compare
    from cortexia_video.evaluation.summary import Interval, Summary

__all__ = [
    "ClipScore",
    "CloudScore",
    "Comparison",
    "Evaluation",
    "EvaluationResult",
    "GroundTruth",
    "Interval",
    "ModelPredictor",
    "NormalError",
    "PixelSums",
    "Predictor",
    "Protocol",
    "Summary",
    "add_sums",
    "align",
    "boundary_f1",
    "boundary_recall",
    "compare",
    "edge_accuracy",
    "edge_completeness",
    "evaluate",
    "evaluate_pairs",
    "field_of_view_error",
    "focal_length_error",
    "list_protocols",
    "load_protocol",
    "measure_change",
    "measure_normals",
    "measure_pixels",
    "measure_stability",
    "score_clip",
    "score_cloud",
    "score_pixels",
    "to_ground_truth",
    "whdr",
]

_HOMES = {
    "evaluation.side_by_side": ("compare",),
    "evaluation.comparison": ("Comparison",),
    "evaluation.evaluator": (
        "EvaluationResult",
        "evaluate",
        "evaluate_pairs",
    ),
    "evaluation.ground_truth": (
        "GroundTruth",
        "to_ground_truth",
    ),
    "evaluation.job": ("Evaluation",),
    "evaluation.metrics.alignment": ("align",),
    "evaluation.metrics.clips": (
        "ClipScore",
        "score_clip",
    ),
    "evaluation.metrics.depth_metrics": ("score_pixels",),
    "evaluation.metrics.edges": (
        "boundary_f1",
        "boundary_recall",
        "edge_accuracy",
        "edge_completeness",
    ),
    "evaluation.metrics.geometry": (
        "CloudScore",
        "NormalError",
        "field_of_view_error",
        "focal_length_error",
        "measure_normals",
        "score_cloud",
    ),
    "evaluation.metrics.ordinal": ("whdr",),
    "evaluation.metrics.pixel_sums": (
        "PixelSums",
        "add_sums",
        "measure_pixels",
    ),
    "evaluation.metrics.temporal_stability": (
        "measure_change",
        "measure_stability",
    ),
    "evaluation.predictors": (
        "ModelPredictor",
        "Predictor",
    ),
    "evaluation.protocol": (
        "Protocol",
        "list_protocols",
        "load_protocol",
    ),
    "evaluation.summary": (
        "Interval",
        "Summary",
    ),
}
__getattr__, __dir__ = load_lazily(__name__, _HOMES)
