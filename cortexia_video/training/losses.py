"""What a network is punished for: wrong disparity up to factor and shift, or wrong metres, and wrong edges.

Maps are float32 (B, H, W); `valid`, bool (B, H, W), says which pixels count.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SKY_M = 1000.0
"""From here on depth is the sky: of disparity nearly nothing, of no known log depth."""

_SCALES = 4
_CONTOUR = 0.1  # difference of log depth between neighbours
_FARTHEST_DEVIATION = 6.0
_SILOG_MEAN_SHARE = 0.85
_NEAREST_M = 1e-3


@dataclass(frozen=True, slots=True)
class LossWeights:
    """How much each part counts.

    value: disparity without factor and shift. gradient: its differences between neighbours. log_depth: depth
    after the alignment that the evaluation uses. edge: the differences of that between neighbours.
    contour: how many times more of both counts across a contour, where depth jumps by a tenth.
    silog: depth in metres. trim: share of the largest errors in value of each image that do not count.
    """

    value: float = 1.0
    gradient: float = 0.5
    log_depth: float = 0.5
    edge: float = 0.25
    contour: float = 0.0
    silog: float = 1.0
    trim: float = 0.0


def disparity_loss(disparity: Tensor, target: Tensor, valid: Tensor, weights: LossWeights) -> Tensor:
    """Sum the weighted parts for a network that gives disparity: a scalar. target: 1 / metres."""
    limit = _FARTHEST_DEVIATION
    error = normalise(disparity, valid) - normalise(target, valid).clamp(-limit, limit)
    log_error, known = aligned_log_error(disparity, target, valid)
    log_target = target.clamp_min(1 / SKY_M).log()
    return (
        weights.value * trimmed_mean(error.abs(), valid, weights.trim)
        + weights.gradient * gradient_loss(error, valid, log_target, weights.contour)
        + weights.log_depth * mean_of_images(log_error.abs(), known)
        + weights.edge * gradient_loss(log_error, known, log_target, weights.contour)
    )


def metric_loss(depth_m: Tensor, target_m: Tensor, valid: Tensor, weights: LossWeights) -> Tensor:
    """Sum the weighted parts for a network that gives metres: a scalar."""
    ratio = depth_m.clamp_min(_NEAREST_M).log() - target_m.clamp_min(_NEAREST_M).log()
    return weights.silog * silog(ratio, valid) + weights.gradient * gradient_loss(ratio, valid)


def silog(log_ratio: Tensor, valid: Tensor) -> Tensor:
    """Deviation of log depth, in which most of a common factor is forgiven.

    Source: Eigen et al., "Depth map prediction from a single image", NeurIPS 2014, equation 4, with the
    square root and the share of 0.85 of Lee et al., "From big to small", 2019, equation 4 (there times 10).
    """
    weight = valid.float()
    square = _means(log_ratio.square(), weight)
    mean = _means(log_ratio, weight)
    return (square - _SILOG_MEAN_SHARE * mean.square() + 1e-8).sqrt().mean()


def normalise(disparity: Tensor, valid: Tensor) -> Tensor:
    """Subtract each image's median and divide by its mean deviation from it; only valid pixels are asked.

    Source: Ranftl et al., "Towards Robust Monocular Depth Estimation", TPAMI 2020, equations 5 and 6.
    """
    flat, weight = disparity.flatten(1), valid.flatten(1)
    centred = flat - median_of_images(disparity, valid).nan_to_num()
    deviation = (centred.abs() * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp_min(1)
    return (centred / deviation.clamp_min(1e-4)).view_as(disparity)


def trimmed_mean(error: Tensor, valid: Tensor, trim: float) -> Tensor:
    """Average of each image's valid errors but for the largest `trim` of them, which count as nothing.

    Source: Ranftl et al. (as above), equation 7.
    """
    if trim > 0:
        flat = error.detach().flatten(1).masked_fill(~valid.flatten(1), torch.nan)
        largest = flat.nanquantile(1 - trim, dim=1)[:, None, None]
        valid = valid & (error <= largest)
    return mean_of_images(error, valid)


def gradient_loss(
    error: Tensor, valid: Tensor, log_target: Tensor | None = None, contour: float = 0.0
) -> Tensor:
    """Average the differences of an error map between valid neighbours, over four scales.

    contour: how many times more those count between which `log_target` jumps.
    Source: Li and Snavely, "MegaDepth", CVPR 2018, equation 3.
    """
    total = error.new_zeros(())
    for scale in range(_SCALES):
        coarse, known = error[:, :: 2**scale, :: 2**scale], valid[:, :: 2**scale, :: 2**scale]
        for axis, both in ((1, known[:, 1:] & known[:, :-1]), (2, known[:, :, 1:] & known[:, :, :-1])):
            difference = coarse.diff(dim=axis).abs()
            if log_target is not None and contour:
                jump = log_target[:, :: 2**scale, :: 2**scale].diff(dim=axis).abs() > _CONTOUR
                difference = difference * (1 + contour * jump)
            total = total + mean_of_images(difference, both)
    return total


def aligned_log_error(disparity: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Align each image by least squares, as the evaluation does; return errors of log depth, and where known.

    Far things, whose disparity is small, count as much here as near ones. The sky counts as unknown.
    """
    known = valid & (target * SKY_M > 1.001)
    aligned = align(disparity, target, known.float())
    farthest = torch.where(known, target, torch.inf).flatten(1).amin(1)[:, None, None]
    floor = (0.5 * farthest).clamp(1e-3, 1.0)
    return aligned.maximum(floor).log() - target.maximum(floor).log(), known


def align(disparity: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Scale and shift each image's disparity to the weighted least-squares fit of its target."""
    total = weight.sum((1, 2), keepdim=True).clamp_min(1)
    mean = (weight * disparity).sum((1, 2), keepdim=True) / total
    target_mean = (weight * target).sum((1, 2), keepdim=True) / total
    centred = disparity - mean
    variance = (weight * centred * centred).sum((1, 2), keepdim=True) / total
    covariance = (weight * centred * (target - target_mean)).sum((1, 2), keepdim=True) / total
    return centred * (covariance / (variance + 1e-6)) + target_mean


def median_of_images(values: Tensor, valid: Tensor) -> Tensor:
    """Return the median of each image's valid values, (B, H, W) to (B, 1); NaN where there is none."""
    return values.flatten(1).masked_fill(~valid.flatten(1), torch.nan).nanmedian(1, keepdim=True).values


def mean_of_images(error: Tensor, valid: Tensor) -> Tensor:
    """Average each image's valid errors, and these over the batch: a scalar."""
    return _means(error, valid.float()).mean()


def _means(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of each image: (B,). Zero where nothing counts."""
    return (values * weight).sum((1, 2)) / weight.sum((1, 2)).clamp_min(1)
