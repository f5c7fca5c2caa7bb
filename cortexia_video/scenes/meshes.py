"""Where rays meet the triangles of a scene's meshes, found by Embree: the only owner of embreex."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cortexia_video.errors import explain_import

if TYPE_CHECKING:
    from cortexia_video.scenes.description import Mesh, Scene


@dataclass(frozen=True, slots=True, eq=False)
class Triangles:
    """The triangles of a scene in world axes, as Embree searches them.

    corners, normals: float32 (T, 3, 3), normals of the corners. uv_m: (T, 3, 2), NaN where textures are laid on
    from the sides. part: int64 (T,), numbered through all meshes. embree: Embree's scene.
    """

    corners: Tensor
    normals: Tensor
    uv_m: Tensor
    part: Tensor
    embree: Any

    def hit(self, origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Find what rays (3, R) meet first.

        Returns:
            Distance (R,) along each ray, inf where nothing is met; triangle int64 (R,), -1 there; and weights
            (R, 2) of its second and third corner.
        """
        found = self.embree.run(_rows(origin), _rows(direction), output=1)
        triangle = torch.from_numpy(found["primID"]).long()
        distance = torch.from_numpy(found["tfar"]).masked_fill(triangle < 0, torch.inf)
        weights = torch.from_numpy(np.stack([found["u"], found["v"]], 1))
        return distance.to(origin), triangle.to(origin.device), weights.to(origin)

    def at(self, triangle: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the normal (N, 3) of triangles, that between the normals of their corners, and uv (N, 2)."""
        triangle = triangle.to(self.corners.device)
        share = torch.cat([1 - weights.sum(1, keepdim=True), weights], 1).to(self.corners)[:, :, None]
        corners = self.corners[triangle]
        across = torch.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0], dim=1)
        flat = across / across.norm(dim=1, keepdim=True).clamp_min(1e-20)
        smooth = (self.normals[triangle] * share).sum(1)
        smooth = smooth / smooth.norm(dim=1, keepdim=True).clamp_min(1e-20)
        uv_m = (self.uv_m[triangle] * share).sum(1)
        return flat.to(weights), smooth.to(weights), uv_m.to(weights)

    def block(self, origin: Tensor, towards: Tensor, limit: Tensor) -> Tensor:
        """Return which rays (3, R) meet anything within `limit` (R,) of `towards`: bool (R,)."""
        limits = np.ascontiguousarray(limit.cpu().numpy(), np.float32)
        found = self.embree.run(_rows(origin), _rows(towards), dists=limits, query="OCCLUDED")
        return torch.from_numpy(found >= 0).to(origin.device)


def triangles_of(scene: Scene) -> Triangles | None:
    """Return the triangles of a scene, built once; None where it has no meshes."""
    if scene.meshes and scene.triangles is None:
        scene.triangles = _build(scene.meshes)
    return scene.triangles


@lru_cache(maxsize=1)
def get_device() -> Any:
    """Return what Embree builds scenes on; raises `MissingExtraError` where it cannot be imported."""
    try:
        from embreex.rtcore import EmbreeDevice
    except ImportError as error:
        raise explain_import(error, "scenes with meshes need", "'cortexia-video[scenes]'") from error
    return EmbreeDevice()


def _build(meshes: list[Mesh]) -> Triangles:
    device = get_device()
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    corners, normals, uv_m, part, parts = [], [], [], [], 0
    for mesh in meshes:
        model = mesh.model
        to_world = (mesh.rotation * mesh.scale).astype(np.float32)
        placed = model.corners @ to_world.T + mesh.position.astype(np.float32)
        corners.append(placed)
        if model.normals is None:
            across = np.cross(placed[:, 1] - placed[:, 0], placed[:, 2] - placed[:, 0])
            normals.append(np.repeat(across[:, None], 3, 1))
        else:
            normals.append(model.normals @ (mesh.rotation / mesh.scale).astype(np.float32).T)
        flat = np.full((len(placed), 3, 2), np.nan, np.float32)
        uv_m.append(flat if model.uv_m is None else model.uv_m * np.float32(np.cbrt(np.prod(mesh.scale))))
        part.append(model.part + parts)
        parts += len(mesh.materials)
    all_corners = np.ascontiguousarray(np.concatenate(corners), np.float32)
    scene = EmbreeScene(device, robust=True)
    TriangleMesh(scene, all_corners)
    unit = torch.from_numpy(np.concatenate(normals))
    return Triangles(
        torch.from_numpy(all_corners),
        unit / unit.norm(dim=2, keepdim=True).clamp_min(1e-20),
        torch.from_numpy(np.concatenate(uv_m)),
        torch.from_numpy(np.concatenate(part)),
        scene,
    )


def _rows(rays: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(rays.T.cpu().numpy(), np.float32)
