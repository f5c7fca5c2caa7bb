"""What a hit point looks like: texture, lamps, sun, one soft shadow, occlusion, gloss, fog and sky.

Returns linear light; `photograph` turns it into a picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cortexia_video.scenes.description import Lamp, Material, Scene, Shape, Sky, Sun, Vector
from cortexia_video.scenes.noise import SIDE, periodic_noise
from cortexia_video.scenes.ray_casting import SHELL_FACES, Hits, Solids, View, is_blocked
from cortexia_video.scenes.textures import MIP_SIDES, TEXELS, mip_chain

_MIP_START = torch.tensor([0, *np.cumsum([side * side for side in MIP_SIDES])[:-1].tolist()])


@dataclass(frozen=True, slots=True, eq=False)
class Surfaces:
    """Hit points. point, normal: (3, N) in world axes; uv: (2, N) metres on the surface; surface: (N,)."""

    point: Tensor
    normal: Tensor
    uv: Tensor
    surface: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Lighting:
    """diffuse, gloss: (3, N) light that a white surface sends on, and that a glossy one mirrors."""

    diffuse: Tensor
    gloss: Tensor


def shade(
    scene: Scene, solids: Solids, view: View, hits: Hits, noise: torch.Generator, library: int
) -> Tensor:
    """Compute the linear light (3, H, W) that reaches each pixel.

    noise: what soft shadows are drawn with. library: which textures the materials mean.
    """
    surfaces = _surfaces(solids, view, hits)
    albedo = _albedo(scene, view, hits, surfaces, library)
    lighting = _light(scene, solids, view, hits, surfaces, noise)
    emission, gloss = _per_surface(scene, "emission", surfaces), _per_surface(scene, "gloss", surfaces)
    light = albedo * (lighting.diffuse + emission) + gloss * lighting.gloss
    if scene.sky is not None:
        light = _air_and_sky(scene, scene.sky, view, hits, light)
    return light.view(3, view.height, view.width)


def sky_mask(scene: Scene, hits: Hits) -> Tensor:
    """Say which rays end in the sky: bool (N,)."""
    open_faces = [material is None for material in scene.shell.materials]
    known = torch.tensor(open_faces + [False] * len(scene.primitives))
    return known[hits.surface]


def _surfaces(solids: Solids, view: View, hits: Hits) -> Surfaces:
    point = view.position + hits.distance * view.direction
    turn = solids.rotation[hits.surface]
    local = torch.einsum("nji,jn->in", turn, point - solids.centre[hits.surface].T)
    half = solids.half_size[hits.surface].T
    unit = local / half
    normal, uv = _box_frame(local, unit)
    normal = torch.where(hits.surface < SHELL_FACES, -normal, normal)
    numbers = torch.tensor([-1] * SHELL_FACES + [int(shape) for shape in solids.shapes])[hits.surface]
    for shape, frame in ((Shape.CYLINDER, _cylinder_frame), (Shape.ELLIPSOID, _ellipsoid_frame)):
        mask = numbers == shape
        if mask.any():
            normal[:, mask], uv[:, mask] = frame(local[:, mask], unit[:, mask], half[:, mask])
    return Surfaces(point, torch.einsum("nij,jn->in", turn, normal), uv, hits.surface)


def _box_frame(local: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
    axis = unit.abs().argmax(0)
    sign = unit.gather(0, axis[None]).sign()
    normal = torch.zeros_like(unit).scatter_(0, axis[None], sign)
    u = torch.where(axis == 0, local[2], local[0])
    v = torch.where(axis == 1, local[2], local[1])
    return normal, torch.stack([u, v])


def _cylinder_frame(local: Tensor, unit: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    on_cap = unit[1].abs() > 0.998
    zero = torch.zeros_like(unit[1])
    side = _unit(torch.stack([unit[0] / half[0], zero, unit[2] / half[2]]))
    cap = torch.stack([zero, unit[1].sign(), zero])
    around = torch.stack([torch.atan2(unit[0], unit[2]) * half[0], local[1]])
    return torch.where(on_cap, cap, side), torch.where(on_cap, local[[0, 2]], around)


def _ellipsoid_frame(local: Tensor, unit: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    around = torch.stack([torch.atan2(unit[0], unit[2]) * half[0], local[1]])
    return _unit(unit / half), around


def _materials(scene: Scene) -> list[Material]:
    """List the material of every surface number; sky takes that of the first surface that has one."""
    shell = [material for material in scene.shell.materials if material is not None]
    first = shell[0]
    faces = [material or first for material in scene.shell.materials]
    return faces + [primitive.material for primitive in scene.primitives]


def _per_surface(scene: Scene, name: str, surfaces: Surfaces) -> Tensor:
    """Look up a number of each hit's material: float32 (N,)."""
    values = torch.tensor([float(getattr(material, name)) for material in _materials(scene)])
    return values[surfaces.surface]


def _albedo(scene: Scene, view: View, hits: Hits, surfaces: Surfaces, library: int) -> Tensor:
    """Look up the texture at every hit: float32 (3, N)."""
    materials = _materials(scene)
    names = sorted({(material.kind, material.variant) for material in materials})
    atlas = torch.cat([mip_chain(library, *name) for name in names])
    rows = [
        [
            1 / material.period_m,
            *material.offset,
            material.turned,
            names.index((material.kind, material.variant)),
        ]
        for material in materials
    ]
    per_metre, u0, v0, turned, texture = torch.tensor(rows, dtype=torch.float32)[surfaces.surface].T
    u, v = surfaces.uv[0] * per_metre + u0, -surfaces.uv[1] * per_metre + v0
    u, v = torch.where(turned > 0, v, u), torch.where(turned > 0, u, v)
    facing = (-(_unit(view.direction) * surfaces.normal).sum(0)).clamp_min(0.08)
    texels_per_pixel = hits.distance / view.f_px / facing.sqrt() * per_metre * SIDE
    tint = torch.from_numpy(np.stack([material.tint for material in materials])).float()
    return (_sample(atlas, texture.long(), u, v, texels_per_pixel) * tint[surfaces.surface]).T


def _sample(atlas: Tensor, texture: Tensor, u: Tensor, v: Tensor, texels_per_pixel: Tensor) -> Tensor:
    """Interpolate bilinearly in the nearest mip level: float32 (N, 3)."""
    level = texels_per_pixel.clamp_min(1).log2().round().clamp_max(len(MIP_SIDES) - 1).long()
    side = torch.tensor(MIP_SIDES)[level]
    start = _MIP_START[level] + texture * TEXELS
    x, y = (u - u.floor()) * side - 0.5, (v - v.floor()) * side - 0.5
    left, top = x.floor(), y.floor()
    across, down = (x - left)[:, None], (y - top)[:, None]
    left, top = left.long() % side, top.long() % side
    right, bottom = (left + 1) % side, (top + 1) % side
    upper_row, lower_row = start + top * side, start + bottom * side
    upper = torch.lerp(atlas[upper_row + left].float(), atlas[upper_row + right].float(), across)
    lower = torch.lerp(atlas[lower_row + left].float(), atlas[lower_row + right].float(), across)
    return torch.lerp(upper, lower, down)


def _light(
    scene: Scene, solids: Solids, view: View, hits: Hits, surfaces: Surfaces, noise: torch.Generator
) -> Lighting:
    """Add up ambient light and every lamp; only the first casts a shadow."""
    openness = _openness(scene, view, hits, surfaces)
    diffuse = (0.6 * scene.ambient * (0.75 + 0.25 * surfaces.normal[1]) * openness).expand(3, -1).clone()
    gloss = torch.zeros_like(diffuse)
    to_eye = _unit(-view.direction)
    for index, light in enumerate(scene.lights):
        towards, reach = _towards(light, surfaces.point)
        direction = _unit(towards)
        strength = reach * (1.6 if index == 0 else 1.0)
        if index == 0:
            strength = strength * _soft_shadow(solids, view, hits, surfaces, light, noise)
        colour = torch.from_numpy(light.colour).float()[:, None]
        diffuse += (direction * surfaces.normal).sum(0).clamp_min(0) * strength * colour
        halfway = _unit(direction + to_eye)
        gloss += (halfway * surfaces.normal).sum(0).clamp_min(0) ** 40 * strength * colour
    return Lighting(diffuse, gloss)


def _towards(light: Lamp | Sun, point: Tensor) -> tuple[Tensor, Tensor]:
    """Give the vector (3, N) from points to a light, and the share (N,) of its light that arrives."""
    if isinstance(light, Sun):
        return _column(light.direction).expand_as(point), torch.ones(point.shape[1])
    towards = _column(light.position) - point
    return towards, 1 / (0.4 + 0.25 * (towards * towards).sum(0))


def _unit(vectors: Tensor) -> Tensor:
    """Scale vectors (3, N) to length 1; several times as fast as torch's normalize along the first axis."""
    x, y, z = vectors
    return vectors * (x * x + y * y + z * z).clamp_min(1e-20).rsqrt()


def _column(vector: Vector) -> Tensor:
    return torch.from_numpy(vector).float()[:, None]


def _soft_shadow(
    solids: Solids, view: View, hits: Hits, surfaces: Surfaces, light: Lamp | Sun, noise: torch.Generator
) -> Tensor:
    """Give the share (N,) of a light that is not blocked: one jittered ray per 2 x 2 pixels, smoothed."""
    grid = (view.height, view.width)
    lifted = surfaces.point + surfaces.normal * 2e-3 * hits.distance.clamp_max(5)
    origin = lifted.view(3, *grid)[:, ::2, ::2].reshape(3, -1)
    towards, _ = _towards(light, origin)
    spread, limit = (0.02, 1e9) if isinstance(light, Sun) else (0.06, 0.98)
    towards = towards + spread * torch.randn(origin.shape, generator=noise)
    blocked = is_blocked(solids, origin, towards, limit)
    half_grid = (math.ceil(view.height / 2), math.ceil(view.width / 2))
    clear = box_blur((~blocked).float().view(1, 1, *half_grid), 1)
    return F.interpolate(clear, size=grid, mode="bilinear").view(-1)


def box_blur(image: Tensor, radius: int) -> Tensor:
    """Average (B, C, H, W) over squares, first down, then across: what lies outside repeats the border."""
    padded = F.pad(image, [radius] * 4, mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(padded, (2 * radius + 1, 1), 1), (1, 2 * radius + 1), 1)


def _openness(scene: Scene, view: View, hits: Hits, surfaces: Surfaces) -> Tensor:
    """Estimate the share (N,) of ambient light that arrives: less where depth exceeds its surroundings'."""
    log_depth = hits.distance.clamp(1e-3, 1e3).log().view(1, 1, view.height, view.width)
    open_share = torch.ones_like(log_depth)
    for size in (60, 20):
        behind = log_depth - box_blur(log_depth, max(1, view.height // size))
        open_share = open_share * (1 - 0.9 * behind.clamp(0, 0.25))
    contact_m = 0.15 if scene.sky is None else 0.4
    above_floor = (surfaces.point[1] / contact_m).clamp(0, 1)
    upright = surfaces.normal[1] < 0.7
    return open_share.view(-1) * torch.where(upright, 0.7 + 0.3 * above_floor, torch.ones_like(above_floor))


def _air_and_sky(scene: Scene, sky: Sky, view: View, hits: Hits, light: Tensor) -> Tensor:
    """Lay fog over everything and paint the sky where nothing was hit."""
    horizon, zenith = _column(sky.horizon), _column(sky.zenith)
    clear = torch.exp(-hits.distance / sky.fog_m)
    hazy = light * clear + horizon * (1 - clear)
    unit = _unit(view.direction)
    height = unit[1].clamp(0, 1) ** 0.6
    clouds = _clouds(sky, unit)
    return torch.where(sky_mask(scene, hits), torch.lerp(horizon, zenith, height) * clouds, hazy)


def _clouds(sky: Sky, unit: Tensor) -> Tensor:
    """Project noise on a plane overhead: a factor (N,)."""
    picture = torch.from_numpy(periodic_noise(np.random.default_rng(sky.seed), 3, 6))
    scale = SIDE * 0.15 / (unit[1].clamp_min(0) + 0.1)
    rows, columns = (unit[2] * scale).long() % SIDE, (unit[0] * scale).long() % SIDE
    return 1 + sky.clouds * picture[rows, columns]
