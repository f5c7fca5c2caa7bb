"""`check_model`: a model's depth of one image against depth that was made elsewhere, as by its authors' code."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cortexia_video.depth_estimation import DepthEstimator, load_estimator
from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import InputError, require_positive
from cortexia_video.geometry.intrinsics import load_intrinsics
from cortexia_video.geometry.sparse_map import to_sparse_map
from cortexia_video.images.decode import read_image
from cortexia_video.inference.backend_selection import MAX_ERROR
from cortexia_video.inference.parity import Difference, measure_difference
from cortexia_video.ledger.depth_reader import read_depth
from cortexia_video.models.protocol import InputSize
from cortexia_video.storage.paths import to_path


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """How far a model's depth is from what was expected.

    Attributes:
        difference: Its mean, and what 99 % of the pixels are within: shares of the expected depth, or of its spread
            where it has a free shift.
        ours: The smallest and the largest number of the model's.
        expected: Those of the file.
        compared: Share of pixels that the file knows.
        max_error: What the mean may be.
    """

    difference: Difference
    ours: tuple[float, float]
    expected: tuple[float, float]
    compared: float
    max_error: float

    @property
    def passed(self) -> bool:
        """Return whether the mean difference is small enough."""
        return self.difference.mean <= self.max_error

    def __str__(self) -> str:
        ours, expected = ("{:.6g} to {:.6g}".format(*each) for each in (self.ours, self.expected))
        word = "the same" if self.passed else "not the same"
        return (
            f"{word}: mean difference {self.difference.mean:.3%}, 99 % of the pixels within "
            f"{self.difference.most:.3%}, of {self.compared:.1%} of them; {ours}, expected {expected}"
        )


def check_model(
    model: str,
    image: str | os.PathLike[str],
    *,
    expect: str | os.PathLike[str],
    sparse: str | os.PathLike[str] | None = None,
    sparse_from: str | None = None,
    f_px: float | None = None,
    max_error: float = MAX_ERROR,
    kind: str | None = None,
    input_size: InputSize | None = None,
    canonical_f: float | None = None,
    device: str = "auto",
    precision: str | None = None,
) -> ModelCheck:
    """Run a model on an image and compare its depth with a file's, made elsewhere of the same image.

    Args:
        model: As of `estimate`.
        image: An image file.
        expect: Depth of it, in any format that is read: as large as the image or as the network gives it. A .npy
            says no kind: the model's is taken. What is NaN or infinite in it is not compared.
        sparse: A sensor's depth of it, for a model that completes that.
        sparse_from: Whose file that is, where it does not say it: tum, kitti, nyu, scannet ...
        f_px: Focal length of the image, in its pixels. Without it EXIF says it, or the model estimates it.
        max_error: The largest mean difference that passes: a share of depth, or of its spread.
        kind: For onnx: and hf: models that do not say it: what their numbers mean.
        input_size: 518 (short side) or 392x518 (height x width), as `estimate` takes it.
        canonical_f: Focal length in pixels at which the depth of an onnx: file is metres.
        device: auto, cpu, cuda, cuda:1 or mps.
        precision: float32, bfloat16, float16, or auto.

    Returns:
        The difference, and whether it is small enough.

    Raises:
        InputError: The image or the file cannot be used.
        ModelError: The model cannot be loaded, or fails.
        ParityError: The two cannot be compared.
    """
    given = load_intrinsics(f_px)
    require_positive(max_error=max_error)
    options: dict[str, Any] = {"kind": kind, "input_size": input_size, "canonical_f": canonical_f}
    loaded = load_estimator(model, device=device, precision=precision, **options).model
    frame = given.apply(read_image(image))
    if sparse is not None:
        about = None if sparse_from else {"kind": "metric"}
        measured = read_depth(sparse, about=about, convention=sparse_from)
        frame = replace(frame, sparse=to_sparse_map(measured, frame.width, frame.height))
    expected = read_depth(expect, about={"kind": loaded.kind, "unknown": ["inf"]})  # MoGe's authors': masked
    found = [DepthEstimator(loaded, size=size, sky="keep")(frame) for size in ("native", "full")]
    depth = next((each for each in found if each.values.shape == expected.values.shape), None)
    if depth is None:
        sizes = ["{}x{}".format(*each.values.shape) for each in (expected, *found)]
        raise InputError(
            f"{to_path(expect)} is {sizes[0]}: {model} gives {sizes[1]}, and the image is {sizes[2]} (`input_size`)"
        )
    known = np.isfinite(expected.values)
    depth = replace(depth, values=np.where(known, depth.values, np.float32(np.nan)))
    difference = measure_difference(depth, expected, to_path(image).name)
    return ModelCheck(difference, _range(depth), _range(expected), float(known.mean()), max_error)


def _range(depth: DepthMap) -> tuple[float, float]:
    return float(np.nanmin(depth.values)), float(np.nanmax(depth.values))
