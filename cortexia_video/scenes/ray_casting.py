"""Where rays meet boxes, cylinders, cones, ellipsoids, meshes and the shell around them, for a batch of scenes.

Directions are not normalised: a camera ray has 1 along the optical axis, so its distance is z-depth.
float32; images are (B, 3, H, W), rays of tiles (T, 3, R).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cortexia_video.scenes.description import Camera, Mesh, Primitive, Scene, Shape, Shell
from cortexia_video.scenes.meshes import Triangles, triangles_of
from cortexia_video.scenes.tiles import TILE, Grid, project_boxes

SHELL_FACES = 6
"""The first rows of a scene's surfaces are the faces of its shell; its primitives and parts of meshes follow."""
SHELL, MESH = -1, -2
"""What `Solids.shape` says of a face of the shell, and of a part of a mesh."""

_NEAREST_M = 1e-3
_RAYS_AT_ONCE = {"cpu": 1 << 17, "cuda": 1 << 23}


@dataclass(frozen=True, slots=True, eq=False)
class Solids:
    """The surfaces of all scenes of a batch, one row each: faces of the shell, primitives, parts of meshes.

    shape: int64 (S,), a `Shape`, SHELL or MESH. centre, half_size: float32 (S, 3). rotation: (S, 3, 3), local to
    world. taper: (S,), see `Primitive`. scene: int64 (S,), whose it is. first: first row of each scene;
    first_part: that of its meshes. triangles: those of each scene that has meshes.
    """

    shape: Tensor
    centre: Tensor
    half_size: Tensor
    rotation: Tensor
    taper: Tensor
    scene: Tensor
    first: Tensor
    first_part: Sequence[int]
    triangles: Sequence[Triangles | None]

    @property
    def to_unit(self) -> Tensor:
        """Matrices (S, 3, 3) from world axes to the axes in which a solid fills [-1, 1]^3."""
        return self.rotation.transpose(1, 2) / self.half_size[:, :, None]


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """distance: float32 (B, H, W) along each ray. surface: int64 (B, H, W), a row of `Solids`.

    triangle: int64 (B, H, W) of the scene's, -1 where it is none; weights: (B, H, W, 2) of its second and third
    corner. None where no scene has meshes.
    """

    distance: Tensor
    surface: Tensor
    triangle: Tensor | None = None
    weights: Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """Cameras: position (B, 3), rotation (B, 3, 3) to world, f_px (B,), and rays, direction (B, 3, H, W)."""

    position: Tensor
    rotation: Tensor
    f_px: Tensor
    direction: Tensor

    @property
    def grid(self) -> Grid:
        """The tiles of the images."""
        return Grid(*self.direction.shape[2:])


def solids_of(scenes: Sequence[Scene], device: torch.device | str = "cpu") -> Solids:
    """Collect the shells, primitives and meshes of scenes into tensors."""
    rows: list[Primitive | Mesh | Shell] = []
    owner, first, first_part = [], [], []
    for number, scene in enumerate(scenes):
        parts = [mesh for mesh in scene.meshes for _ in mesh.materials]
        first.append(len(rows))
        rows += [*[scene.shell] * SHELL_FACES, *scene.primitives]
        first_part.append(len(rows))
        rows += parts
        owner += [number] * (len(rows) - first[-1])
    shape = [
        int(each.shape) if isinstance(each, Primitive) else MESH if isinstance(each, Mesh) else SHELL
        for each in rows
    ]
    centre = [each.position if isinstance(each, Mesh) else each.centre for each in rows]
    half_size = [np.ones(3) if isinstance(each, Mesh) else each.half_size for each in rows]
    turn = [np.eye(3) if isinstance(each, Shell) else each.rotation for each in rows]
    taper = [each.taper if isinstance(each, Primitive) else 1.0 for each in rows]
    return Solids(
        shape=torch.tensor(shape, device=device),
        centre=torch.from_numpy(np.stack(centre)).float().to(device),
        half_size=torch.from_numpy(np.stack(half_size)).float().to(device),
        rotation=torch.from_numpy(np.stack(turn)).float().to(device),
        taper=torch.tensor(taper, dtype=torch.float32, device=device),
        scene=torch.tensor(owner, device=device),
        first=torch.tensor(first, device=device),
        first_part=first_part,
        triangles=[triangles_of(scene) for scene in scenes],
    )


def views_of(cameras: Sequence[Camera], height: int, width: int, device: torch.device | str = "cpu") -> Views:
    """Lay out one ray through the middle of every pixel; the principal point is the middle of the image."""
    f_px = torch.tensor([width / 2 / np.tan(camera.fov / 2) for camera in cameras]).float()
    x = torch.arange(width) + 0.5 - width / 2
    y = -(torch.arange(height) + 0.5 - height / 2)
    down, across = torch.meshgrid(y, x, indexing="ij")
    slope = torch.stack([across, down]) / f_px[:, None, None, None]
    local = torch.cat([slope, torch.ones_like(slope[:, :1])], 1)
    rotation = torch.from_numpy(np.stack([camera.rotation for camera in cameras])).float()
    direction = (rotation @ local.flatten(2)).view_as(local)
    position = torch.from_numpy(np.stack([camera.position for camera in cameras])).float()
    return Views(*(each.to(device) for each in (position, rotation, f_px, direction)))


def cast_views(solids: Solids, views: Views) -> Hits:
    """Find what every pixel sees; a primitive is tried only in tiles where its corners project."""
    grid = views.grid
    shell_m, face = hit_shells(solids, views.position[:, :, None, None], views.direction)
    nearest = _pack(grid.cut(shell_m[:, None]), grid.cut(face[:, None].double()).long())[:, 0]
    rays = grid.cut(views.direction)
    start = views.position[solids.scene][:, :, None]
    signs = torch.tensor([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]).to(solids.centre)
    corners = torch.einsum("sij,scj->sci", solids.rotation, signs * solids.half_size[:, None])
    corners = corners + (solids.centre - views.position[solids.scene])[:, None]
    corners = torch.einsum("sci,sij->scj", corners, views.rotation[solids.scene])
    seen = project_boxes(corners, views.f_px[solids.scene], grid).flatten(1)
    pair_row, pair_tile = (seen & (solids.shape >= 0)[:, None]).nonzero(as_tuple=True)
    pair_tile = pair_tile + solids.scene[pair_row] * grid.count
    for row, tile in _portions(solids, pair_row, pair_tile, TILE * TILE):
        found = _enter(solids, row, start[row], rays[tile])
        index = tile[:, None].expand(-1, TILE * TILE)
        nearest.scatter_reduce_(0, index, _pack(found, row[:, None]), "amin")
    joined = grid.join(nearest)
    distance = (joined >> 32).int().view(torch.float32)
    hits = Hits(distance, joined & 0xFFFFFFFF)
    return _cast_at_meshes(solids, views, hits) if any(solids.triangles) else hits


def _cast_at_meshes(solids: Solids, views: Views, hits: Hits) -> Hits:
    """Put what rays meet of meshes in place of what they meet behind it."""
    distance, surface = hits.distance.clone(), hits.surface.clone()
    triangle = torch.full_like(surface, -1)
    weights = distance.new_zeros(*distance.shape, 2)
    for number, triangles in enumerate(solids.triangles):
        if triangles is None:
            continue
        direction = views.direction[number].flatten(1)
        found_m, found, at = triangles.hit(views.position[number][:, None].expand_as(direction), direction)
        nearer = (found_m < distance[number].flatten()) & (found_m > _NEAREST_M)
        pixels = nearer.view_as(distance[number])
        distance[number][pixels] = found_m[nearer]
        triangle[number][pixels] = found[nearer]
        weights[number][pixels] = at[nearer]
        surface[number][pixels] = triangles.part.to(found.device)[found[nearer]] + solids.first_part[number]
    return Hits(distance, surface, triangle, weights)


def _pack(distance: Tensor, surface: Tensor) -> Tensor:
    """Pack distance before surface into one int64: the bits of floats above 0 are in their order."""
    return (distance.view(torch.int32).long() << 32) | surface


def hit_shells(solids: Solids, origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Leave each scene's shell from inside: distance and surface row (B, ...) of rays (B, 3, ...)."""
    shape = (-1, 3) + (1,) * (direction.dim() - 2)
    centre, half_size = solids.centre[solids.first].view(shape), solids.half_size[solids.first].view(shape)
    safe = torch.where(direction.abs() < 1e-7, torch.full_like(direction, 1e-7), direction)
    exits = (safe.sign() * half_size - (origin - centre)) / safe
    distance, axis = exits.min(1)
    forward = direction.gather(1, axis[:, None])[:, 0] > 0
    first = solids.first.view(shape[:1] + shape[2:])
    return distance, first + axis * 2 + forward.long()


def blocked_share(solids: Solids, origin: Tensor, towards: Tensor, limit: Tensor, scene: Tensor) -> Tensor:
    """Return which points have a primitive or a mesh between them and a light: bool (T, R).

    origin, towards: (T, 3, R) of tiles of points. limit: (T,), how far along `towards`. scene: (T,).

    The box around a tile's points moves towards the light: it meets a primitive where a line from its middle
    meets the primitive's box, made larger by it. Only those pairs are tried ray by ray.
    """
    low, high = origin.amin(2), origin.amax(2)
    ends = origin + towards * limit[:, None, None]
    end_low, end_high = ends.amin(2), ends.amax(2)
    middle, end = (low + high) / 2, (end_low + end_high) / 2
    reach = torch.maximum((high - low).norm(dim=1), (end_high - end_low).norm(dim=1).clamp_max(1.0)) / 2
    primitive = (solids.shape >= 0).nonzero()[:, 0]
    number, pair_tile = (solids.scene[primitive][:, None] == scene).nonzero(as_tuple=True)
    pair_row = primitive[number]
    turn = solids.rotation[pair_row].transpose(1, 2)
    start = (turn @ (middle[pair_tile] - solids.centre[pair_row])[:, :, None])[:, :, 0]
    ray = (turn @ (end - middle)[pair_tile][:, :, None])[:, :, 0]
    half = solids.half_size[pair_row] + reach[pair_tile][:, None]
    enter, leave = _cross_box(start[:, :, None] / half[:, :, None], ray[:, :, None] / half[:, :, None])
    meets = ((enter < leave) & (enter < 1) & (leave > 0))[:, 0]
    blocked = torch.zeros_like(origin[:, 0])
    for row, tile in _portions(solids, pair_row[meets], pair_tile[meets], origin.shape[2]):
        found = _enter(solids, row, origin[tile], towards[tile])
        blocked.index_add_(0, tile, (found < limit[tile][:, None]).float())
    for which, triangles in enumerate(solids.triangles):
        if triangles is not None:
            tiles = (scene == which).nonzero()[:, 0]
            starts, ways = (each[tiles].transpose(0, 1).flatten(1) for each in (origin, towards))
            found = triangles.block(starts, ways, limit[tiles].repeat_interleave(origin.shape[2]))
            blocked[tiles] += found.view(len(tiles), -1).float()
    return blocked > 0


def _portions(solids: Solids, row: Tensor, tile: Tensor, rays: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Part pairs by shape, then into portions that fit the cache of a processor, or fill a GPU."""
    most = max(1, _RAYS_AT_ONCE.get(row.device.type, 1 << 20) // rays)
    shapes = solids.shape[row]
    for shape in Shape:
        chosen = (shapes == shape).nonzero()[:, 0]
        for part in torch.split(chosen, most):
            if len(part):
                yield row[part], tile[part]


def _enter(solids: Solids, row: Tensor, origin: Tensor, direction: Tensor) -> Tensor:
    """Return the distance (K, R) at which rays enter primitives of one shape; inf: missed, or begun inside.

    row: (K,). origin: (K, 3, 1) or (K, 3, R). direction: (K, 3, R).
    """
    to_unit = solids.to_unit[row]
    start = torch.bmm(to_unit, origin - solids.centre[row][:, :, None])
    ray = torch.bmm(to_unit, direction)
    shape = Shape(int(solids.shape[row[0]]))
    if shape == Shape.BOX:
        enter, leave = _cross_box(start, ray)
    elif shape == Shape.ELLIPSOID:
        a, half_b = (ray * ray).sum(1), (ray * start).sum(1)
        discriminant = half_b * half_b - a * ((start * start).sum(1) - 1)
        root = discriminant.clamp_min(0).sqrt_()
        enter, leave = (-half_b - root) / a, (root - half_b) / a
        leave = leave.masked_fill_(discriminant <= 0, -torch.inf)
    else:
        enter, leave = _cross_cone(start, ray, solids.taper[row][:, None])
    missed = (enter >= leave) | (enter <= _NEAREST_M) | enter.isnan()
    return enter.masked_fill_(missed, torch.inf)


def _cross_box(start: Tensor, ray: Tensor) -> tuple[Tensor, Tensor]:
    """Cross the cube [-1, 1]^3 by slabs (Kay and Kajiya, SIGGRAPH 1986)."""
    inverse = _inverse(ray)
    middle, reach = -start * inverse, inverse.abs()
    return (middle - reach).amax(1), (middle + reach).amin(1)


def _inverse(component: Tensor) -> Tensor:
    """Divide 1 by it; a ray along a slab has 0 there, and 0 * inf would be no number."""
    return component.masked_fill(component == 0, 1e-12).reciprocal_()


def _cross_cone(start: Tensor, ray: Tensor, taper: Tensor) -> tuple[Tensor, Tensor]:
    """Cross the part between y = -1 and 1 of x^2 + z^2 = r(y)^2, where r runs from 1 to taper.

    A ray steeper than the side (a < 0) crosses both nappes of the whole cone: it is inside the one that
    counts after its later crossing if it runs to where the cone is wider, else before its earlier one.
    """
    slope = (taper - 1) / 2
    radius, growth = (taper + 1) / 2 + slope * start[:, 1], slope * ray[:, 1]
    a = ray[:, 0] ** 2 + ray[:, 2] ** 2 - growth**2
    half_b = ray[:, 0] * start[:, 0] + ray[:, 2] * start[:, 2] - growth * radius
    c = start[:, 0] ** 2 + start[:, 2] ** 2 - radius**2
    a = torch.where(a.abs() < 1e-12, 1e-12, a)
    discriminant = half_b * half_b - a * c
    root = discriminant.clamp_min(0).sqrt_()
    first, second = (-half_b - root) / a, (root - half_b) / a
    early, late = torch.minimum(first, second), torch.maximum(first, second)
    steep, down = a < 0, growth > 0
    side_in = torch.where(steep, torch.where(down, late, -torch.inf), early)
    side_out = torch.where(steep, torch.where(down, torch.inf, early), late)
    side_out = side_out.masked_fill_(discriminant <= 0, -torch.inf)
    inverse = _inverse(ray[:, 1])
    middle, reach = -start[:, 1] * inverse, inverse.abs()
    return torch.maximum(side_in, middle - reach), torch.minimum(side_out, middle + reach)
