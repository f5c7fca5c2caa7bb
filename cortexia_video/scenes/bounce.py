"""Light that comes from what is lit: one diffuse bounce by a few rays per 2 x 2 pixels, smoothed along surfaces.

Only the shell and meshes send it on; primitives, which few such scenes have, do not. The filter is the edge-avoiding
one of Dammertz et al. (HPG 2010), guided by normals and distance from the plane of each pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from cortexia_video.scenes.meshes import Triangles
from cortexia_video.scenes.ray_casting import Solids, hit_shells

LitBy = Callable[[int, Tensor, Tensor], Tensor]
"""Returns the light (3, R) that falls directly on points of a scene: its number, points and normals (3, R)."""

_LATER = 1.35  # what the bounces after the first add to it


def gather_light(
    solids: Solids,
    number: int,
    triangles: Triangles,
    origin: Tensor,
    normal: Tensor,
    rays: int,
    seed: int,
    sent: Tensor,
    lit_by: LitBy,
) -> Tensor:
    """Return the light (3, R) that surfaces of a scene send to points, by rays of a cosine's density.

    origin, normal: (3, R) of the points. sent: (S, 4), albedo of each surface and its emission by albedo.
    """
    count = origin.shape[1]
    noise = torch.randn((rays, 3, count), generator=torch.Generator().manual_seed(seed)).to(origin)
    way = normal + noise / noise.norm(dim=1, keepdim=True).clamp_min(1e-6) * 0.999
    way = way.transpose(0, 1).flatten(1)
    start = origin.repeat(1, rays)
    shells = len(solids.first)
    shell_m, face = (
        each[number] for each in hit_shells(solids, *(each.expand(shells, -1, -1) for each in (start, way)))
    )
    mesh_m, triangle, weights = triangles.hit(start, way)
    on_mesh = mesh_m < shell_m
    row = torch.where(on_mesh, triangles.part.to(face.device)[triangle] + solids.first_part[number], face)
    axis = (face - solids.first[number]) // 2
    facing = F.one_hot(axis, 3).T.to(way) * -torch.sign(way.gather(0, axis[None]))
    flat, _, _ = triangles.at(triangle.clamp_min(0), weights)
    facing = torch.where(on_mesh, flat.T * -torch.sign((flat.T * way).sum(0)), facing)
    point = start + torch.minimum(mesh_m, shell_m) * way + 2e-3 * facing
    albedo, emission = sent[row, :3].T, sent[row, 3]
    light = albedo * (lit_by(number, point, facing) + emission)
    return _LATER * light.view(3, rays, count).mean(1).clamp_max(20)


def smooth_along(
    image: Tensor, point: Tensor, normal: Tensor, distance: Tensor, steps: tuple[int, ...]
) -> Tensor:
    """Average (C, H, W) over neighbours on the same surface; point, normal: (3, H, W), distance: (H, W)."""
    reach = max(steps)
    guides = F.pad(torch.cat([point, normal])[None], [reach] * 4, mode="replicate")[0]
    scale = 1 / (0.01 * distance + 0.002)
    height, width = distance.shape
    for step in steps:
        around = F.pad(image[None], [step] * 4, mode="replicate")[0]
        total, weights = torch.zeros_like(image), torch.zeros_like(distance)
        for down, across in product((-1, 0, 1), repeat=2):
            top, left = reach + down * step, reach + across * step
            other = guides[:, top : top + height, left : left + width]
            aside = ((other[:3] - point) * normal).sum(0).abs() * scale
            alike = (other[3:] * normal).sum(0).clamp_min(0) ** 8
            weight = alike * torch.exp(-aside) * (0.5 ** (abs(down) + abs(across)))
            top, left = step + down * step, step + across * step
            total += weight * around[:, top : top + height, left : left + width]
            weights += weight
        image = total / weights.clamp_min(1e-6)
    return image
