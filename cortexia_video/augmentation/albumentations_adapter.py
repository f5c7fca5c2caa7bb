"""`ApplyTransforms`: the dataset guide's function of the same name, for Hugging Face `datasets`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import InputError

_KNOWN = 173  # in the mask while it is augmented: what no border is filled with, and no mixture of 0 and it


@dataclass(frozen=True, slots=True)
class ApplyTransforms:
    """Augment a batch of the columns `image` and `depth_map` by albumentations: for `Dataset.set_transform`.

    The batch gets `pixel_values`, uint8 (H, W, 3); `labels`, depth (H, W) as it was; `valid`, bool (H, W),
    where depth is known and not masked out; and `kind`. Other columns stay.

    Known is what is finite and, of metres and depth up to a factor, above 0: disparity and depth up to a
    shift may be 0 or below. The column `kind` says which it is, and `mask`, where there is one, what is not
    to be used. What is known goes through the pipeline as its `mask`, so that a border that a transform fills
    is not.

    Args:
        augment: An albumentations pipeline with `additional_targets={"depth": "mask"}`.
        kind: Of depth, where the column does not say it.

    Raises:
        InputError: An image, its depth and its mask differ in size.
    """

    augment: Callable[..., dict[str, Any]]
    kind: DepthKind = "metric"

    def __call__(self, examples: dict[str, list[Any]]) -> dict[str, list[Any]]:
        images, labels, valid, count = [], [], [], len(examples["image"])
        kinds = [kind or self.kind for kind in examples.get("kind") or [None] * count]
        masks = examples.get("mask") or [None] * count
        for image, depth_map, mask, kind in zip(
            examples["image"], examples["depth_map"], masks, kinds, strict=True
        ):
            rgb = np.array(image if image.mode == "RGB" else image.convert("RGB"))
            depth = np.array(depth_map)
            known = _find_known(depth, kind)
            used = known if mask is None else np.array(mask) > 0
            used = used[..., 0] if used.ndim == 3 else used
            for what, size in (("depth", depth.shape), ("a mask", used.shape)):
                if size != rgb.shape[:2]:
                    raise InputError(
                        f"an image of {rgb.shape[1]} x {rgb.shape[0]} and {what} of {size[1]} x {size[0]} pixels: "
                        "they must show the same view at the same size"
                    )
            known &= used
            augmented = self.augment(image=rgb, depth=depth, mask=known.view(np.uint8) * np.uint8(_KNOWN))
            images.append(augmented["image"])
            labels.append(augmented["depth"])
            moved = augmented["mask"] == _KNOWN  # an array, or after `ToTensorV2` a tensor
            same = np.asarray(moved)  # the tensor's own memory
            same &= _find_known(np.asarray(augmented["depth"]), kind)
            valid.append(moved)
        return {**examples, "pixel_values": images, "labels": labels, "valid": valid, "kind": kinds}


def _find_known(depth: NDArray[Any], kind: str) -> NDArray[np.bool_]:
    """Return where depth is a number that its kind can have."""
    known = np.isfinite(depth)
    if kind in ("metric", "scale_invariant"):
        known &= depth > 0
    return known
