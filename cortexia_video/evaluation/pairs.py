"""`evaluate_pairs`: depth and references in memory, by a protocol: for training loops and notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cortexia_video.depth_map import DepthMap
from cortexia_video.evaluation.ground_truth import hold_truth
from cortexia_video.evaluation.job import measure_predictors
from cortexia_video.evaluation.predictors import HeldPredictor
from cortexia_video.evaluation.protocol import Protocol, load_protocol
from cortexia_video.evaluation.summary import Summary, summarise
from cortexia_video.rgbd_sample import RGBDSample


def evaluate_pairs(
    pairs: Iterable[tuple[DepthMap | None, RGBDSample]],
    protocol: str | Protocol = "real-frames",
    *,
    name: str = "depth",
    max_m: float | None = None,
    metrics: Sequence[str] = (),
    seed: int = 0,
) -> Summary:
    """Measure depth in memory against samples with metric depth, beside the baselines.

    Args:
        pairs: Depth and sample; the keys of the samples must differ. A depth that is None counts as unknown
            everywhere.
        protocol: A name, the path of a TOML file, or a `Protocol`.
        name: Of the depth, in the result.
        max_m: The largest reference depth that counts, in metres, where the protocol leaves that to the
            dataset.
        metrics: More to measure: boundary, edges, normals, points, ordinal, regions.
        seed: Of the confidence intervals.

    Returns:
        `summary.totals[name]["abs_rel"].value` is a number.

    Raises:
        InputError: What `evaluate` raises it for.
    """
    chosen = load_protocol(protocol) if isinstance(protocol, str) else protocol
    listed = list(pairs)
    held = {sample.key: depth for depth, sample in listed if depth is not None}
    truth = hold_truth([sample for _, sample in listed], max_m=max_m)
    found = measure_predictors(truth, [HeldPredictor(name, held)], chosen, metrics=metrics)
    return summarise(found, seed=seed)
