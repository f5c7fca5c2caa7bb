"""Moves of the camera through a scene: images with exact depth and pose, for clips whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cortexia_video.scenes.description import Camera, rotation
from cortexia_video.scenes.layouts import build_scene
from cortexia_video.scenes.plan import Move
from cortexia_video.scenes.rendering import BuiltScene, RGBDScene, render_built

RATE = 24  # frames per second

_FLIP = np.diag([1.0, -1.0, 1.0])  # between axes with y up, as scenes have them, and y down
_NEAR = 0.35  # of the distance of what is near: so far the camera goes, all in all
_PAN = math.radians(14)
_ORBIT = math.radians(12)  # at most, about the middle of what is seen


class Shot(NamedTuple):
    """A frame of a move. pose: camera to world (4, 4), metres; x right, y down, z forward."""

    scene: RGBDScene
    pose: NDArray[np.float64]


def render_move(
    seed: int,
    move: Move,
    frames: int,
    height: int,
    width: int,
    layouts: Sequence[str] | None = None,
    device: str = "cpu",
    textures: Path | None = None,
    furniture: Path | None = None,
) -> Iterator[Shot]:
    """Render a move of the camera through the scene of a seed, each frame with noise of its own.

    The distances that it covers follow from what is seen, so that the camera stays clear of things. All else
    is as of `render_scene`.
    """
    name, scene = build_scene(seed, layouts, furniture)
    depth_m = render_built([BuiltScene(scene, seed, name)], max(2, height // 8), max(2, width // 8), device)[
        0
    ].depth_m
    known = depth_m[np.isfinite(depth_m)]
    nearest_m, middle_m = (
        (float(each) for each in np.quantile(known, (0.02, 0.5))) if known.size else (1.0, 9.0)
    )
    for number in range(frames):
        share = number / max(1, frames - 1) - 0.5
        camera = _MOVES[move](scene.camera, share, nearest_m, middle_m)
        built = BuiltScene(replace(scene, camera=camera), seed, name, number)
        (rendered,) = render_built([built], height, width, device, textures)
        yield Shot(rendered, pose_of(camera))


def pose_of(camera: Camera) -> NDArray[np.float64]:
    """Return camera to world, (4, 4), metres; x right, y down, z forward."""
    pose = np.eye(4)
    pose[:3, :3] = _FLIP @ camera.rotation @ _FLIP
    pose[:3, 3] = _FLIP @ camera.position
    return pose


def describe_poses(poses: Sequence[NDArray[np.float64]]) -> str:
    """Return poses as TUM RGB-D writes them: timestamp tx ty tz qx qy qz qw, camera to world, metres."""
    lines = ["# timestamp tx ty tz qx qy qz qw"]
    for number, pose in enumerate(poses):
        turn = pose[
            :3, :3
        ]  # qx, qy, qz, qw: the eigenvector of Bar-Itzhack 2000, which is exact for a rotation
        xx, yy, zz = turn.diagonal()
        symmetric = np.array(
            [
                [xx - yy - zz, turn[1, 0] + turn[0, 1], turn[2, 0] + turn[0, 2], turn[2, 1] - turn[1, 2]],
                [turn[1, 0] + turn[0, 1], yy - xx - zz, turn[2, 1] + turn[1, 2], turn[0, 2] - turn[2, 0]],
                [turn[2, 0] + turn[0, 2], turn[2, 1] + turn[1, 2], zz - xx - yy, turn[1, 0] - turn[0, 1]],
                [turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1], xx + yy + zz],
            ]
        )
        found = np.linalg.eigh(symmetric)[1][:, -1]
        numbers = [number / RATE, *pose[:3, 3], *(found if found[3] >= 0 else -found)]
        lines.append(" ".join(f"{each:.9f}" for each in numbers))
    return "\n".join([*lines, ""])


def _pan(camera: Camera, share: float, nearest_m: float, middle_m: float) -> Camera:
    return replace(camera, yaw=camera.yaw + share * _PAN)


def _dolly(camera: Camera, share: float, nearest_m: float, middle_m: float) -> Camera:
    forward = camera.rotation @ np.array([0.0, 0.0, 1.0])
    return replace(camera, position=camera.position + (share - 0.5) * _NEAR * nearest_m * forward)


def _orbit(camera: Camera, share: float, nearest_m: float, middle_m: float) -> Camera:
    angle = share * min(_ORBIT, _NEAR * nearest_m / middle_m)
    forward = rotation(camera.yaw) @ np.array([0.0, 0.0, 1.0])
    turned = rotation(camera.yaw + angle) @ np.array([0.0, 0.0, 1.0])
    return replace(camera, position=camera.position + middle_m * (forward - turned), yaw=camera.yaw + angle)


_MOVES = {"orbit": _orbit, "dolly": _dolly, "pan": _pan}
