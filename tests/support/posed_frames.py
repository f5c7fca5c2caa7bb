"""Real frames with poses: where no file has them, by features (ORB) and PnP on the sensor's own depth."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from colmap_files import Model, View
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RGBD = Path(__file__).parents[3] / "shared" / "data" / "rgbd"


@dataclass
class PosedFrames:
    """Frames that look at one place. metres: (H, W), NaN where unknown, by the image's name. model: with the first
    frame's axes as the world's, its points from the first frame's depth."""

    images: dict[str, Path]
    metres: dict[str, Floats]
    model: Model
    f_px: float


def pose_frames(name: str, count: int) -> PosedFrames:
    """Return the first frames of a set of ../shared, with poses and points as an SfM program would have them."""
    import cv2

    said = json.loads((RGBD / name / "set.json").read_text())
    frames = said["frames"][:count]
    k = frames[0].get("intrinsics") or said["intrinsics"]
    matrix = np.array([[k["fx"], 0, k["cx"]], [0, k["fy"], k["cy"]], [0, 0, 1]])
    orb, matcher = cv2.ORB_create(3000), cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True)
    images = {Path(each["rgb"]).name: RGBD / name / each["rgb"] for each in frames}
    metres: dict[str, Floats] = {}
    found = {}
    for key, frame in zip(images, frames, strict=True):
        stored = cv2.imread(str(RGBD / name / frame["depth"]), -1).astype(np.float64)
        metres[key] = np.where(stored > 0, stored / said["depth_scale"], np.nan)
        found[key] = orb.detectAndCompute(cv2.imread(str(images[key]), 0), None)
    first = next(iter(images))
    seen = np.array([each.pt for each in found[first][0]])
    z = metres[first][tuple(np.rint(seen[:, ::-1]).astype(int).T)]
    points = np.column_stack([(seen - (k["cx"], k["cy"])) / (k["fx"], k["fy"]) * z[:, None], z])
    numbers = np.arange(1, len(points) + 1)
    known = np.isfinite(z)
    views = {first: View(np.eye(3), np.zeros(3), seen + 0.5, np.where(known, numbers, -1))}
    for key in [*images][1:]:
        pixels = np.array([each.pt for each in found[key][0]])
        pairs = [
            (each.queryIdx, each.trainIdx)
            for each in matcher.match(found[first][1], found[key][1])
            if known[each.queryIdx]
        ]
        before, after = np.array(pairs).T
        _, turn, shift, inliers = cv2.solvePnPRansac(
            points[before], pixels[after], matrix, None, reprojectionError=2.0
        )
        ids = np.full(len(pixels), -1)
        ids[after[inliers[:, 0]]] = numbers[before[inliers[:, 0]]]
        views[key] = View(cv2.Rodrigues(turn)[0], shift[:, 0], pixels + 0.5, ids)
    height, width = metres[first].shape
    camera = ("PINHOLE", width, height, (k["fx"], k["fy"], k["cx"] + 0.5, k["cy"] + 0.5))
    return PosedFrames(images, metres, Model({1: camera}, views, np.nan_to_num(points)), k["fx"])
