"""What the network is punished for: wrong disparity up to factor and shift, wrong edges, wrong aligned depth.

Disparities are float32 (B, H, W), larger is nearer; targets are 1 / metres with 0 for the sky.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_SCALES = 4
_FARTHEST_DEVIATION = 6.0


@dataclass(frozen=True, slots=True)
class LossWeights:
    """How much each part counts."""

    value: float = 1.0
    gradient: float = 0.25
    log_depth: float = 0.5


def depth_loss(disparity: Tensor, target: Tensor, weights: LossWeights) -> Tensor:
    """Sum the weighted parts: a scalar."""
    error = normalise(disparity) - normalise(target).clamp(-_FARTHEST_DEVIATION, _FARTHEST_DEVIATION)
    return (
        weights.value * error.abs().mean()
        + weights.gradient * gradient_loss(error)
        + weights.log_depth * log_depth_loss(disparity, target)
    )


def normalise(disparity: Tensor) -> Tensor:
    """Subtract each picture's median and divide by its mean deviation from it.

    Source: Ranftl et al., "Towards Robust Monocular Depth Estimation", TPAMI 2020, equations 5 and 6.
    """
    flat = disparity.flatten(1)
    centred = flat - flat.median(1, keepdim=True).values
    return (centred / centred.abs().mean(1, keepdim=True).clamp_min(1e-4)).view_as(disparity)


def gradient_loss(error: Tensor) -> Tensor:
    """Average the differences of an error map between neighbours, over four scales.

    Source: Li and Snavely, "MegaDepth", CVPR 2018, equation 3.
    """
    total = error.new_zeros(())
    for scale in range(_SCALES):
        coarse = error[:, :: 2**scale, :: 2**scale]
        total = total + coarse.diff(dim=1).abs().mean() + coarse.diff(dim=2).abs().mean()
    return total


def log_depth_loss(disparity: Tensor, target: Tensor) -> Tensor:
    """Align each picture by least squares, as the evaluation does, and average |log depth| errors.

    Far things, whose disparity is small, count as much here as near ones.
    """
    known = (target > 0).float()
    aligned = align(disparity, target, known)
    nearest_to_zero = torch.where(target > 0, target, torch.inf).flatten(1).amin(1)[:, None, None]
    floor = (0.5 * nearest_to_zero).clamp(1e-3, 1.0)
    error = (aligned.maximum(floor).log() - target.maximum(floor).log()).abs() * known
    return (error.sum((1, 2)) / known.sum((1, 2)).clamp_min(1)).mean()


def align(disparity: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Scale and shift each picture's disparity to the weighted least-squares fit of its target."""
    total = weight.sum((1, 2), keepdim=True).clamp_min(1)
    mean = (weight * disparity).sum((1, 2), keepdim=True) / total
    target_mean = (weight * target).sum((1, 2), keepdim=True) / total
    centred = disparity - mean
    variance = (weight * centred * centred).sum((1, 2), keepdim=True) / total
    covariance = (weight * centred * (target - target_mean)).sum((1, 2), keepdim=True) / total
    return centred * (covariance / (variance + 1e-6)) + target_mean
