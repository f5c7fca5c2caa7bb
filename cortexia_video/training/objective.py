"""`Objective`: the loss that fits what a network gives and what a batch's labels mean."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import InputError
from cortexia_video.training.losses import LossWeights, disparity_loss, median_of_images, metric_loss

_NEAREST_M = 1e-3
_USUAL_M = 3.0
_LABELS: dict[DepthKind, tuple[DepthKind, ...]] = {
    "disparity": ("metric", "scale_invariant", "disparity"),
    "metric": ("metric",),
}


@dataclass(frozen=True, slots=True)
class Objective:
    """What a network of a kind is trained for."""

    kind: DepthKind
    weights: LossWeights

    def require_labels(self, name: str, kind: DepthKind | None) -> None:
        """Raise `InputError` for a dataset whose labels say nothing of what the network gives."""
        if kind not in _LABELS[self.kind]:
            raise InputError(
                f"dataset {name!r} has {kind} depth, from which a network that gives {self.kind} "
                f"learns nothing: it needs {' or '.join(_LABELS[self.kind])}"
            )

    def measure(self, values: Tensor, batch: dict[str, Any]) -> Tensor:
        """Return the loss, a scalar, of values, float32 (B, H, W), for a batch of `rgbd_loading`."""
        labels, valid = batch["labels"][:, 0], batch["valid"][:, 0]
        (kind,) = set(batch["kind"])
        if self.kind == "metric":
            return metric_loss(values, labels, valid, self.weights)
        if kind == "disparity":  # its shift is unknown, and so are ratios of depth
            return disparity_loss(values, labels, valid, replace(self.weights, log_depth=0.0, edge=0.0))
        if kind != "metric":
            # Depth up to a factor is brought to where a room is in metres. The losses do not ask for the
            # factor, but know what is too near or too far to be told apart; an image without depth has NaN.
            median = median_of_images(labels, valid)[..., None]
            labels = labels * torch.where(median > 0, _USUAL_M / median, 1)
        target = torch.where(valid, 1 / labels.clamp_min(_NEAREST_M), 0)
        return disparity_loss(values, target, valid, self.weights)
