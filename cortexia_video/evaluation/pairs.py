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
    """Measure depth against samples with metric depth, beside the baselines.

    `summary.totals[name]["abs_rel"].value` is the number. A depth that is None counts as unknown everywhere.
    The keys of the samples must differ. max_m: the largest reference depth that counts, where the protocol
    leaves that to the set. metrics: groups of `metric_groups` besides the protocol's. seed: of the intervals.
    Raises as `evaluate` does.
    """
    chosen = load_protocol(protocol) if isinstance(protocol, str) else protocol
    listed = list(pairs)
    held = {sample.key: depth for depth, sample in listed if depth is not None}
    truth = hold_truth([sample for _, sample in listed], max_m=max_m)
    found = measure_predictors(truth, [HeldPredictor(name, held)], chosen, metrics=metrics)
    return summarise(found, seed=seed)
