"""`ApplyTransforms`: the dataset guide's function of the same name, for Hugging Face `datasets`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cortexia_video.depth_map import DepthKind, find_usable
from cortexia_video.errors import InputError
from cortexia_video.runtime.resources import keep_freed_memory

_KNOWN = 173  # in the mask while it is augmented: what no border is filled with, and no mixture of 0 and it

_MOVES = {"HorizontalFlip", "VerticalFlip", "Transpose", "RandomRotate90", "D4", "RandomCrop", "CenterCrop"}


@dataclass(frozen=True, slots=True)
class ApplyTransforms:
    """Augment a batch of the columns `image` and `depth_map` by albumentations: for `Dataset.set_transform`.

    The batch gets `pixel_values`, uint8 (H, W, 3); `labels`, depth (H, W) as it was; `valid`, bool (H, W),
    where depth is known and not masked out; and `kind`. Other columns stay.

    Known is what is finite and, of metres and depth up to a factor, above 0: disparity and depth up to a
    shift may be 0 or below. The column `kind` says which it is, and `mask`, where there is one, what is not
    to be used. Where a transform may fill a border or mix pixels, what is known goes through the pipeline as its
    `mask`, so that a border is not.

    Args:
        augment: An albumentations pipeline with `additional_targets={"depth": "mask"}`.
        kind: Of depth, where the column does not say it.

    Raises:
        InputError: An image, its depth and its mask differ in size.
    """

    augment: Callable[..., dict[str, Any]]
    kind: DepthKind = "metric"

    def __call__(self, examples: dict[str, list[Any]]) -> dict[str, list[Any]]:
        keep_freed_memory()
        images, labels, valid, count = [], [], [], len(examples["image"])
        moves_only = _only_moves(self.augment)
        kinds = [kind or self.kind for kind in examples.get("kind") or [None] * count]
        masks = examples.get("mask") or [None] * count
        for image, depth_map, mask, kind in zip(
            examples["image"], examples["depth_map"], masks, kinds, strict=True
        ):
            rgb = np.array(image if image.mode == "RGB" else image.convert("RGB"))
            depth = np.array(depth_map)
            used = None if mask is None else np.array(mask) > 0
            used = used[..., 0] if used is not None and used.ndim == 3 else used
            for what, array in (("depth", depth), ("a mask", used)):
                if array is not None and array.shape != rgb.shape[:2]:
                    raise InputError(
                        f"an image of {rgb.shape[1]} x {rgb.shape[0]} and {what} of {array.shape[1]} x "
                        f"{array.shape[0]} pixels: they must show the same view at the same size"
                    )
            if moves_only and used is None:
                augmented = self.augment(image=rgb, depth=depth)
                moved = find_usable(augmented["depth"], kind)
            else:
                known = find_usable(depth, kind)
                known &= True if used is None else used
                augmented = self.augment(image=rgb, depth=depth, mask=known.view(np.uint8) * np.uint8(_KNOWN))
                moved = augmented["mask"] == _KNOWN  # an array, or after `ToTensorV2` a tensor
                same = np.asarray(moved)  # the tensor's own memory
                same &= find_usable(np.asarray(augmented["depth"]), kind)
            images.append(augmented["image"])
            labels.append(augmented["depth"])
            valid.append(moved)
        return {**examples, "pixel_values": images, "labels": labels, "valid": valid, "kind": kinds}


def _only_moves(augment: object) -> bool:
    """Return whether a pipeline of albumentations leaves or moves depth's pixels: fills no border, mixes none."""
    kinds = [each.__name__ for each in type(augment).__mro__]
    if not type(augment).__module__.startswith("albumentations."):
        return False
    if (steps := getattr(augment, "transforms", None)) is not None:
        return all(map(_only_moves, steps))
    pads = getattr(augment, "pad_if_needed", False)
    return "ImageOnlyTransform" in kinds or (kinds[0] in _MOVES and not pads)
