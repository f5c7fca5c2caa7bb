"""Errors of depth against a reference, each a function of `PixelSums`; `measure_pixels` gives these.

So all metrics share one pass, and hold for one image or, over sums that were added, for all pixels of many.
d is depth, r the reference, "mean" is over the measured pixels. Source, where no other is named: Eigen,
Puhrsch and Fergus, "Depth Map Prediction from a Single Image using a Multi-Scale Deep Network", NeurIPS 2014.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

from cortexia_video.evaluation.metrics.pixel_sums import RATIOS, PixelSums


def abs_rel(sums: PixelSums) -> float:
    """Average |d - r| / r: 0 is perfect."""
    return sums.relative / sums.pixels


def sq_rel(sums: PixelSums) -> float:
    """Average (d - r)^2 / r, in the unit of depth: 0 is perfect."""
    return sums.squared_relative / sums.pixels


def rmse(sums: PixelSums) -> float:
    """Return sqrt(mean (d - r)^2), in the unit of depth: 0 is perfect."""
    return math.sqrt(sums.squared / sums.pixels)


def rmse_log(sums: PixelSums) -> float:
    """Return sqrt(mean (ln d - ln r)^2): 0 is perfect."""
    return math.sqrt(sums.log_squared / sums.pixels)


def log10(sums: PixelSums) -> float:
    """Average |log10 d - log10 r|: 0 is perfect. Saxena et al., "Make3D", TPAMI 2009."""
    return sums.log_absolute / sums.pixels / math.log(10)


def silog(sums: PixelSums) -> float:
    """Return 100 sqrt(mean g^2 - (mean g)^2), g = ln d - ln r: 0 is perfect, the same for any factor on d.

    As the KITTI depth benchmark has it: Uhrig et al., "Sparsity Invariant CNNs", 3DV 2017. Eigen's own has no
    root, no 100, and takes off half of the second part in its loss.
    """
    return 100 * math.sqrt(sums.log_spread / sums.pixels)


def mae(sums: PixelSums) -> float:
    """Average |d - r|, in the unit of depth: 0 is perfect."""
    return sums.absolute / sums.pixels


def irmse(sums: PixelSums) -> float:
    """Return 1000 sqrt(mean (1 / d - 1 / r)^2), in 1 / km for metres: 0 is perfect. Source as `silog`."""
    return 1000 * math.sqrt(sums.inverse_squared / sums.pixels)


def delta_105(sums: PixelSums) -> float:
    """Return the share of pixels with max(d / r, r / d) < 1.05: 1 is perfect."""
    return _share_within(sums, 1.05)


def delta_110(sums: PixelSums) -> float:
    """Return the share of pixels with max(d / r, r / d) < 1.10: 1 is perfect."""
    return _share_within(sums, 1.10)


def delta1(sums: PixelSums) -> float:
    """Return the share of pixels with max(d / r, r / d) < 1.25: 1 is perfect."""
    return _share_within(sums, 1.25)


def delta2(sums: PixelSums) -> float:
    """Return the share of pixels with max(d / r, r / d) < 1.25^2: 1 is perfect."""
    return _share_within(sums, 1.25**2)


def delta3(sums: PixelSums) -> float:
    """Return the share of pixels with max(d / r, r / d) < 1.25^3: 1 is perfect."""
    return _share_within(sums, 1.25**3)


def coverage(sums: PixelSums) -> float:
    """Return the share of pixels whose depth is known: 1 is all. The others count as far wrong as can be."""
    return 1 - sums.unknown / sums.pixels


def _share_within(sums: PixelSums, ratio: float) -> float:
    return sums.within[RATIOS.index(ratio)] / sums.pixels


class Metric(NamedTuple):
    """A metric of a table: how it is measured, which way is better, and its unit."""

    measure: Callable[[PixelSums], float]
    better: Literal["smaller", "larger"]
    unit: str = ""


PIXEL_METRICS: dict[str, Metric] = {
    "coverage": Metric(coverage, "larger"),
    "abs_rel": Metric(abs_rel, "smaller"),
    "sq_rel": Metric(sq_rel, "smaller", "m"),
    "rmse": Metric(rmse, "smaller", "m"),
    "rmse_log": Metric(rmse_log, "smaller"),
    "log10": Metric(log10, "smaller"),
    "silog": Metric(silog, "smaller"),
    "mae": Metric(mae, "smaller", "m"),
    "irmse": Metric(irmse, "smaller", "1/km"),
    "delta_105": Metric(delta_105, "larger"),
    "delta_110": Metric(delta_110, "larger"),
    "delta1": Metric(delta1, "larger"),
    "delta2": Metric(delta2, "larger"),
    "delta3": Metric(delta3, "larger"),
}


def score_pixels(sums: PixelSums) -> dict[str, float]:
    """Return the metrics of depth, by name: abs_rel, rmse, silog, delta1 ... (docs/evaluation.md).

    Formula and source of each: the functions of `evaluation/metrics/depth_metrics.py`.

    Args:
        sums: From `measure_pixels` or `add_sums`.

    Returns:
        The values, float64.
    """
    return {name: metric.measure(sums) for name, metric in PIXEL_METRICS.items()}
