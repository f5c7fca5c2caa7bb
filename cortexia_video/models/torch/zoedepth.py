"""ZoeDepth from transformers, made so that an image's depth does not depend on those beside it.

Bhat et al., ZoeDepth: Zero-shot Transfer by Combining Relative and Metric Depth, 2023. With heads for several
domains (nyu and kitti) the network lets a batch vote on one head for all of it; here each image chooses.

The authors' `infer` pads images by reflection, and averages with a mirrored copy, against artefacts at the
borders. The network was trained without either and needs neither; both are left out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class OneByOne(nn.Module):
    """Run a metric head on one image at a time; its input is a few feature maps, so little is lost."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(
        self,
        outconv_activation: Tensor,
        bottleneck: Tensor,
        feature_blocks: list[Tensor],
        relative_depth: Tensor,
    ) -> tuple[Tensor, Any]:
        depths, domains = [], []
        for index in range(len(bottleneck)):
            one = slice(index, index + 1)
            depth, domain = self.head(
                outconv_activation=outconv_activation[one],
                bottleneck=bottleneck[one],
                feature_blocks=[feature[one] for feature in feature_blocks],
                relative_depth=relative_depth[one],
            )
            depths.append(depth)
            domains.append(domain)
        return torch.cat(depths), None if domains[0] is None else torch.cat(domains)
