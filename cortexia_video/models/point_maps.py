"""Affine point maps, as MoGe-2's networks give them, and metres, masks, normals and cameras of them.

Wang et al., MoGe-2: Accurate Monocular Geometry with Metric Scale and Sharp Details, 2025. A network of this
kind gives points that are right up to a shift along the optical axis and one scale, which it gives as well. The
shift follows from the focal length, known or not (`geometry.point_map`); so depth is not proportional to it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cortexia_video.frame import Frame
from cortexia_video.geometry.point_map import place_pixels, solve_camera
from cortexia_video.models.protocol import Prediction
from cortexia_video.pinhole import to_fov_deg

POINTS, MASK, METRIC_SCALE, NORMALS = (
    "points",
    "mask",
    "metric_scale",
    "normal",
)  # as the authors' files call them
PATCH = 14  # pixels that one token sees, along each side
MASK_THRESHOLD = 0.5

_SAMPLES = 64  # along each side, of the points that the camera is solved for; as the authors do
_NEAREST = 1e-6  # of the network's unit, for what is not in front of the camera


def fit_tokens(height: int, width: int, tokens: int) -> tuple[int, int]:
    """Return in how many rows and columns about so many tokens cover an image of this height and width."""
    aspect = width / height
    rows, columns = (tokens / aspect) ** 0.5, (tokens * aspect) ** 0.5
    return min(max(1, round(rows)), tokens), min(max(1, round(columns)), tokens)


def pack_input(pixels: NDArray[Any], aspect: float, fov_deg: float | None) -> NDArray[Any]:
    """Return a network's input that holds, beside its pixels, what else of the image its depth depends on.

    One element with the fields `pixels`; `aspect`, width over height as the network takes it; and `fov_deg`,
    the horizontal field of view, NaN where it is not known.
    """
    fields = [("pixels", pixels.dtype, pixels.shape), ("aspect", np.float32), ("fov_deg", np.float32)]
    packed = np.empty(1, np.dtype(fields))
    packed["pixels"], packed["aspect"] = pixels, aspect
    packed["fov_deg"] = math.nan if fov_deg is None else fov_deg
    return packed


def find_fov(frame: Frame) -> float | None:
    """Return the horizontal field of view of a frame, degrees, where its focal length is known."""
    _, width = frame.full_size or frame.image.shape[:2]
    return None if frame.f_px is None else to_fov_deg(frame.f_px, width)


def to_prediction(
    inputs: NDArray[Any],
    points: NDArray[np.float32],
    mask: NDArray[np.float32],
    metric_scale: NDArray[np.float32],
    normals: NDArray[np.float32] | None = None,
) -> Prediction:
    """Turn what a network gave for a batch into depth in metres and what belongs to it.

    inputs: of `pack_input`, (B, 1). points: float32 (B, h, w, 3), affine. mask: (B, h, w), how sure it is that
    there is depth, 0..1. metric_scale: (B,), metres of the points' unit. normals: (B, h, w, 3), unit vectors.
    Where the mask is 0.5 or less, or a point is behind the camera, depth is unknown.
    """
    valid = mask > MASK_THRESHOLD
    depth, fov_deg = np.empty(mask.shape, np.float32), np.empty(len(mask))
    for index, (one, known) in enumerate(zip(points, inputs["fov_deg"][:, 0], strict=True)):
        fov_deg[index], shift = _find_camera(one, valid[index], inputs["aspect"][index, 0], float(known))
        np.add(one[..., 2], np.float32(shift), out=depth[index])
    valid &= depth > 0
    lost = np.isnan(mask) | np.isnan(depth)  # a network's failure, and none of what it was shown
    valid |= lost
    depth[lost] = np.nan
    np.maximum(depth, _NEAREST, out=depth)
    depth *= metric_scale[:, None, None]
    return Prediction(depth, fov_deg, valid=valid, normals=normals)


def _find_camera(
    points: NDArray[np.float32], valid: NDArray[np.bool_], aspect: float, fov_deg: float
) -> tuple[float, float]:
    """Return the horizontal field of view, degrees, and the shift of a point map, from some of its points."""
    height, width = valid.shape
    rows, columns = np.arange(_SAMPLES) * height // _SAMPLES, np.arange(_SAMPLES) * width // _SAMPLES
    grid = np.ix_(rows, columns)
    known = valid[grid] & np.isfinite(points[grid]).all(axis=-1)
    places = place_pixels(height, width, aspect)[grid][known]
    focal = None if math.isnan(fov_deg) else 0.5 / math.tan(math.radians(fov_deg) / 2)
    focal, shift = solve_camera(points[grid][known], places, focal)
    return math.degrees(2 * math.atan2(0.5, focal)), shift
