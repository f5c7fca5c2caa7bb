"""`ApplyTransforms`: the dataset guide's function of the same name, for Hugging Face `datasets`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cortexia_video.errors import InputError


@dataclass(frozen=True, slots=True)
class ApplyTransforms:
    """Augment a batch of the columns `image` and `depth_map` by albumentations: for `Dataset.set_transform`.

    The batch gets `pixel_values`, uint8 (H, W, 3), `labels`, depth (H, W) as it was, and `valid`, bool (H,
    W): where depth is finite and above 0. Other columns stay.

    Args:
        augment: An albumentations pipeline with `additional_targets={"depth": "mask"}`.

    Raises:
        InputError: An image and its depth differ in size.
    """

    augment: Callable[..., dict[str, Any]]

    def __call__(self, examples: dict[str, list[Any]]) -> dict[str, list[Any]]:
        images, depths = [], []
        for image, depth_map in zip(examples["image"], examples["depth_map"], strict=True):
            if image.size != depth_map.size:
                raise InputError(
                    f"an image of {image.width} x {image.height} and depth of {depth_map.width} x "
                    f"{depth_map.height} pixels: they must show the same view at the same size"
                )
            rgb = image if image.mode == "RGB" else image.convert("RGB")
            augmented = self.augment(image=np.array(rgb), depth=np.array(depth_map))
            images.append(augmented["image"])
            depths.append(augmented["depth"])
        valid = [(depth > 0) & (depth < np.inf) for depth in depths]
        return {**examples, "pixel_values": images, "labels": depths, "valid": valid}
