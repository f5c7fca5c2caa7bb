"""What hit points look like: texture, lamps, sun, soft shadows, occlusion, gloss, fog and sky.

Returns linear light; `photograph` turns it into an image. Images are (B, C, H, W).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cortexia_video.scenes.atlas import Atlas, grain_field
from cortexia_video.scenes.bounce import gather_light, smooth_along
from cortexia_video.scenes.description import Material, Scene, Shape, Sun
from cortexia_video.scenes.noise import SIDE, periodic_noise
from cortexia_video.scenes.photo_textures import PHOTO_SHARE
from cortexia_video.scenes.ray_casting import SHELL, Hits, Solids, Views, blocked_share
from cortexia_video.scenes.tiles import Grid

_SHADOWS = 2
"""Lights of a scene that cast shadows, the first ones."""
_BEYOND_M = 1e4


@dataclass(frozen=True, slots=True, eq=False)
class Surfaces:
    """Hit points: point, normal (B, 3, H, W) in world axes; uv (B, 2, H, W), metres along the surface.

    shown: the normal by which light falls, which differs from the true one where meshes stand for what is round.
    """

    point: Tensor
    normal: Tensor
    uv: Tensor
    shown: Tensor


def shade(
    scenes: Sequence[Scene],
    solids: Solids,
    views: Views,
    hits: Hits,
    surfaces: Surfaces,
    seeds: Sequence[int],
    atlas: Atlas,
) -> Tensor:
    """Compute the linear light (B, 3, H, W) that reaches each pixel; seeds: of the soft shadows' noise."""
    table = _material_table(scenes, seeds, atlas).to(hits.distance.device)
    looks = table[hits.surface].movedim(-1, 1)
    albedo = _albedo(looks, views, hits, surfaces, atlas)
    diffuse, highlight = _light(scenes, solids, views, hits, surfaces, seeds)
    for number, triangles in enumerate(solids.triangles):
        if triangles is not None and scenes[number].bounces:
            none = torch.zeros(
                2, len(table), device=table.device
            )  # so coarse that it is the mean of the texture
            mean = atlas.sample(table[:, 4].long(), none, torch.full_like(none[0], SIDE)) * table[:, 5:8]
            sent = torch.cat([mean, table[:, 8:9]], 1)
            diffuse[number] += _bounce(scenes, solids, hits, surfaces, seeds, number, sent)
    light = albedo * (diffuse + looks[:, 8:9]) + looks[:, 9:10] * highlight
    in_sky = mask_sky(scenes, hits)
    for number, scene in enumerate(scenes):
        if scene.sky is not None:
            zenith, horizon = (
                torch.from_numpy(colour).float().to(light.device)[:, None, None]
                for colour in (scene.sky.zenith, scene.sky.horizon)
            )
            clear = torch.exp(-hits.distance[number] / scene.sky.fog_m)
            hazy = light[number] * clear + horizon * (1 - clear)
            # the sky: from horizon to zenith, times noise on a plane overhead
            unit = unit_length(views.direction[number][None])[0]
            noise = periodic_noise(np.random.default_rng(scene.sky.seed), 3, 6)
            scale = SIDE * 0.15 / (unit[1].clamp_min(0) + 0.1)
            rows, columns = (unit[2] * scale).long() % SIDE, (unit[0] * scale).long() % SIDE
            clouds = 1 + scene.sky.clouds * torch.from_numpy(noise).to(unit.device)[rows, columns]
            painted = torch.lerp(horizon, zenith, unit[1].clamp(0, 1) ** 0.6) * clouds
            light[number] = torch.where(in_sky[number], painted, hazy)
    return light


def mask_sky(scenes: Sequence[Scene], hits: Hits) -> Tensor:
    """Return which rays end in the sky: bool (B, H, W)."""
    is_open: list[bool] = []
    for scene in scenes:
        is_open += [material is None for material in scene.materials]
    return torch.tensor(is_open, device=hits.surface.device)[hits.surface]


def find_surfaces(solids: Solids, views: Views, hits: Hits) -> Surfaces:
    """Find where rays end, which way the surface faces there, and how far along it that is."""
    point = views.position[:, :, None, None] + hits.distance[:, None] * views.direction
    turn = solids.rotation[hits.surface]
    from_middle = point - solids.centre[hits.surface].movedim(-1, 1)
    local = torch.einsum("bhwji,bjhw->bihw", turn, from_middle)
    half = solids.half_size[hits.surface].movedim(-1, 1)
    unit, shape = local / half, solids.shape[hits.surface]
    # boxes, and the shell, which is seen from inside
    axis = unit.abs().argmax(1, keepdim=True)
    normal = torch.zeros_like(unit).scatter_(1, axis, unit.gather(1, axis).sign())
    normal = torch.where((shape == SHELL)[:, None], -normal, normal)
    u = torch.where(axis == 0, local[:, 2:], local[:, :1])
    v = torch.where(axis == 1, local[:, 2:], local[:, 1:2])
    uv = torch.cat([u, v], 1)
    # cylinders and cones: the side, or a cap
    x, y, z = unit.unbind(1)
    slope = (solids.taper[hits.surface] - 1) / 2
    radius = (solids.taper[hits.surface] + 1) / 2 + slope * y
    on_cap = (1 - y.abs()) < (radius - (x * x + z * z).sqrt()).abs()  # rounding leaves it off both
    side = unit_length(torch.stack([x, -slope * radius, z], 1) / half)
    zero = torch.zeros_like(y)
    cap = torch.stack([zero, y.sign(), zero], 1)
    around = torch.stack([torch.atan2(x, z) * half[:, 0], local[:, 1]], 1)
    is_round, on_cap = (shape == Shape.CYLINDER)[:, None], on_cap[:, None]
    normal = torch.where(is_round, torch.where(on_cap, cap, side), normal)
    uv = torch.where(is_round, torch.where(on_cap, local[:, ::2], around), uv)
    is_round = (shape == Shape.ELLIPSOID)[:, None]
    normal = torch.where(is_round, unit_length(unit / half), normal)
    uv = torch.where(is_round, around, uv)
    normal = torch.einsum("bhwij,bjhw->bihw", turn, normal)
    surfaces = Surfaces(point, normal, uv, normal)
    return surfaces if hits.triangle is None else _find_on_meshes(solids, views, hits, surfaces, turn, local)


def _find_on_meshes(
    solids: Solids, views: Views, hits: Hits, surfaces: Surfaces, turn: Tensor, local: Tensor
) -> Surfaces:
    """Put what triangles say in the places of those that were hit; turn, local: of all hits."""
    normal, uv, shown = (each.clone() for each in (surfaces.normal, surfaces.uv, surfaces.shown))
    assert hits.triangle is not None and hits.weights is not None
    for number, triangles in enumerate(solids.triangles):
        pixels = hits.triangle[number] >= 0
        if triangles is None or not pixels.any():
            continue
        hit = hits.triangle[number][pixels]
        true, smooth, laid = triangles.at(hit, hits.weights[number][pixels])
        to_eye = -views.direction[number][:, pixels].T
        true = true * torch.where((true * to_eye).sum(1, keepdim=True) < 0, -1.0, 1.0)
        smooth = smooth * torch.where((smooth * true).sum(1, keepdim=True) < 0, -1.0, 1.0)
        # textures without coordinates are laid on from the side that the surface faces, as on boxes
        axis = torch.einsum("nji,nj->ni", turn[number][pixels], true).abs().argmax(1)
        x, y, z = local[number][:, pixels]
        side = torch.stack([torch.where(axis == 0, z, x), torch.where(axis == 1, z, y)], 1)
        normal[number][:, pixels], shown[number][:, pixels] = true.T, smooth.T
        uv[number][:, pixels] = torch.where(laid.isnan(), side, laid).T
    return Surfaces(surfaces.point, normal, uv, shown)


def _material_table(scenes: Sequence[Scene], seeds: Sequence[int], atlas: Atlas) -> Tensor:
    """List numbers of the material of every surface (S, 11); sky takes those of the ground.

    Some materials show an image of the user's textures, where there are any; the same material stays the same.
    """
    materials: list[Material] = []
    for scene, seed in zip(scenes, seeds, strict=True):
        known = [material for material in scene.shell.materials if material is not None]
        wears = [material or known[0] for material in scene.materials]
        if atlas.photos:
            rng = np.random.default_rng([seed, 2000])
            drawn = {id(each): (rng.random(), int(rng.integers(len(atlas.photos)))) for each in wears}
            wears = [
                replace(each, kind="photo", variant=drawn[id(each)][1], image=None)
                if drawn[id(each)][0] < PHOTO_SHARE
                else each
                for each in wears
            ]
        materials += wears
    places = atlas.place(materials)
    rows = [
        [
            1 / each.period_m,
            *each.offset,
            each.turned,
            place,
            *each.tint,
            each.emission,
            each.gloss,
            each.grain,
        ]
        for each, place in zip(materials, places, strict=True)
    ]
    return torch.tensor(np.array(rows, np.float64)).float()


def _albedo(looks: Tensor, views: Views, hits: Hits, surfaces: Surfaces, atlas: Atlas) -> Tensor:
    """Look up the texture at every hit, with fine grain on it: (B, 3, H, W)."""
    per_metre, offset, turned = looks[:, 0], looks[:, 1:3], looks[:, 3:4] > 0
    metres = surfaces.uv * torch.tensor([1.0, -1.0], device=looks.device)[:, None, None]
    uv = metres * per_metre[:, None] + offset
    uv = torch.where(turned, uv.flip(1), uv)
    facing = (-(unit_length(views.direction) * surfaces.normal).sum(1)).clamp_min(0.08)
    metres_per_pixel = hits.distance / views.f_px[:, None, None] / facing.sqrt()
    texels = (metres_per_pixel * per_metre * SIDE).flatten()
    flat = atlas.sample(looks[:, 4].long().flatten(), uv.movedim(1, 0).reshape(2, -1), texels)
    colour = flat.view(*hits.distance.shape, 3).movedim(-1, 1) * looks[:, 5:8]
    # fine noise at the scale of the pixels, whatever the distance: a texel is about a pixel
    scale = torch.exp2(-(metres_per_pixel.clamp_min(1e-4).log2().round()))
    columns, rows = (metres * scale[:, None] * 0.7).long().remainder(SIDE).unbind(1)
    return colour * (1 + looks[:, 10:11] * grain_field(metres.device)[rows, columns][:, None])


def _light(
    scenes: Sequence[Scene],
    solids: Solids,
    views: Views,
    hits: Hits,
    surfaces: Surfaces,
    seeds: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """Add up ambient light and every lamp: what a white surface sends on, and what a glossy one mirrors."""
    device = hits.distance.device
    ambient = torch.tensor([scene.ambient for scene in scenes], device=device).view(-1, 1, 1, 1)
    sky_side = 0.75 + 0.25 * surfaces.normal[:, 1:2]
    diffuse = (0.6 * ambient * sky_side * _openness(scenes, hits, surfaces)).expand(-1, 3, -1, -1).clone()
    highlight = torch.zeros_like(diffuse)
    to_eye = unit_length(-views.direction)
    for index, light in enumerate(_light_table(scenes).to(device).unbind(1)):
        towards, strength = _reach(light[:, :, None, None], surfaces.point)
        strength = strength * (1.6 if index == 0 else 1.0)
        if index < _SHADOWS or any(scene.bounces for scene in scenes):
            clear = _soft_shadow(solids, hits, surfaces, light, [seed + index for seed in seeds])
            strength = strength * clear[:, None]
        direction, colour = unit_length(towards), light[:, 3:6, None, None]
        diffuse += (direction * surfaces.shown).sum(1, keepdim=True).clamp_min(0) * strength * colour
        halfway = unit_length(direction + to_eye)
        highlight += (halfway * surfaces.shown).sum(1, keepdim=True).clamp_min(0) ** 40 * strength * colour
    return diffuse, highlight


def _light_table(scenes: Sequence[Scene]) -> Tensor:
    """List lights (B, L, 8): position or direction, colour, sun or not, radius; black where there are fewer."""
    table = np.zeros((len(scenes), max(1, *(len(scene.lights) for scene in scenes)), 8), np.float32)
    for lights, scene in zip(table, scenes, strict=True):
        for row, lamp in zip(lights, scene.lights, strict=False):
            is_sun = isinstance(lamp, Sun)
            radius = 0.0 if isinstance(lamp, Sun) else lamp.radius_m
            row[:] = (
                *(lamp.direction if isinstance(lamp, Sun) else lamp.position),
                *lamp.colour,
                is_sun,
                radius,
            )
    return torch.from_numpy(table)


def _reach(light: Tensor, point: Tensor) -> tuple[Tensor, Tensor]:
    """Return the way from points (B, 3, ...) to lights (B, 8, 1...), and how much of each one's light gets there."""
    sun = light[:, 6:7] > 0
    towards = light[:, :3] - point * ~sun
    reach = 1 / (0.4 + 0.25 * (towards * towards).sum(1, keepdim=True))
    return towards, torch.where(sun, 1.0, reach)


def _bounce(
    scenes: Sequence[Scene],
    solids: Solids,
    hits: Hits,
    surfaces: Surfaces,
    seeds: Sequence[int],
    number: int,
    sent: Tensor,
) -> Tensor:
    """Return the light (3, H, W) that falls on what is seen of a scene from its other surfaces."""
    triangles, scene = solids.triangles[number], scenes[number]
    assert triangles is not None
    lights = _light_table([scene]).to(sent.device)[0]

    def lit_by(_: int, point: Tensor, normal: Tensor) -> Tensor:
        light = torch.full_like(point, 0.6 * scene.ambient)
        for index, row in enumerate(lights):
            towards, strength = (each[0] for each in _reach(row[None, :, None], point[None]))
            cosine = (unit_length(towards[None])[0] * normal).sum(0).clamp_min(0)
            clear = ~triangles.block(
                point, towards * (_BEYOND_M if row[6] > 0 else 1), cosine.new_full(cosine.shape, 0.98)
            )
            light += row[3:6, None] * (strength * cosine * clear * (1.6 if index == 0 else 1.0))
        return light

    point, normal, shown = (each[number] for each in (surfaces.point, surfaces.normal, surfaces.shown))
    distance = hits.distance[number].clamp_max(1e3)
    lifted = (point + normal * (2e-3 * distance.clamp_max(5)))[:, ::2, ::2]
    half = shown[:, ::2, ::2]
    light = gather_light(
        solids,
        number,
        triangles,
        lifted.flatten(1),
        half.flatten(1),
        scene.bounces,
        seeds[number],
        sent,
        lit_by,
    )
    smooth = smooth_along(light.view_as(half), point[:, ::2, ::2], half, distance[::2, ::2], (1, 2, 4, 8))
    full = F.interpolate(smooth[None], size=distance.shape, mode="nearest")[0]
    return smooth_along(full, point, shown, distance, (1,))


def unit_length(vectors: Tensor) -> Tensor:
    """Scale vectors (B, 3, ...) to length 1; several times as fast as torch's normalize along that axis."""
    x, y, z = vectors.unbind(1)
    return vectors * (x * x + y * y + z * z).clamp_min(1e-20).rsqrt_()[:, None]


def _soft_shadow(
    solids: Solids, hits: Hits, surfaces: Surfaces, light: Tensor, seeds: Sequence[int]
) -> Tensor:
    """Return the share (B, H, W) of a light (B, 8) that arrives: a jittered ray per 2 x 2, smoothed."""
    lifted = surfaces.point + surfaces.normal * (2e-3 * hits.distance.clamp_max(5))[:, None]
    origin, sun = lifted[:, :, ::2, ::2], light[:, 6] > 0
    position = light[:, :3, None, None]
    towards = torch.where(sun[:, None, None, None], position * _BEYOND_M, position - origin)
    spread = torch.where(sun, 0.02 * _BEYOND_M, light[:, 7])[:, None, None, None]
    # each scene's jitter from its own seed, the same on every device
    jitter = [torch.randn(origin.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    towards = towards + spread * torch.stack(jitter).to(origin.device)
    grid = Grid(*origin.shape[2:])
    limit = torch.where(sun, 1.0, 0.98).repeat_interleave(grid.count)
    scene = torch.arange(len(seeds), device=sun.device).repeat_interleave(grid.count)
    blocked = blocked_share(solids, grid.cut(origin), grid.cut(towards), limit, scene)
    clear = box_blur(1 - grid.join(blocked.float())[:, None], 1)
    return F.interpolate(clear, size=hits.distance.shape[1:], mode="bilinear")[:, 0]


def box_blur(image: Tensor, radius: int) -> Tensor:
    """Average (B, C, H, W) over squares: what lies outside repeats the border."""
    size = 2 * radius + 1
    padded = F.pad(image, [radius + 1, radius, radius + 1, radius], mode="replicate")
    down = padded.cumsum(2)
    rows = (down[:, :, size:] - down[:, :, :-size]).cumsum(3)
    return (rows[..., size:] - rows[..., :-size]) / (size * size)


def _openness(scenes: Sequence[Scene], hits: Hits, surfaces: Surfaces) -> Tensor:
    """Estimate the share (B, 1, H, W) of ambient light that arrives: less where all around is nearer."""
    log_depth = hits.distance.clamp(1e-3, 1e3).log()[:, None]
    half = log_depth[:, :, ::2, ::2]
    height = half.shape[2]
    open_share = torch.ones_like(half)
    for size in (60, 20):
        behind = half - box_blur(half, max(1, height // size))
        open_share = open_share * (1 - 0.9 * behind.clamp(0, 0.25))
    open_share = F.interpolate(open_share, size=log_depth.shape[2:], mode="bilinear")
    contact_m = torch.tensor([0.15 if scene.sky is None else 0.4 for scene in scenes], device=half.device)
    above_floor = (surfaces.point[:, 1:2] / contact_m.view(-1, 1, 1, 1)).clamp(0, 1)
    upright = surfaces.normal[:, 1:2] < 0.7
    return open_share * torch.where(upright, 0.7 + 0.3 * above_floor, 1.0)
