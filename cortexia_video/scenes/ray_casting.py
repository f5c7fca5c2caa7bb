"""Where rays meet boxes, cylinders, ellipsoids and the shell around them.

Directions are not normalised: a camera ray has 1 along the optical axis, so its distance is z-depth.
Vectors come first in memory, (3, N); float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cortexia_video.scenes.description import Camera, Scene, Shape

SHELL_FACES = 6
"""Surface numbers below this are faces of the shell; primitive `i` has number `SHELL_FACES + i`."""

_NEAREST_M = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Solids:
    """A scene's surfaces as tensors, the shell's faces first.

    shapes: of each primitive. centre, half_size: float32 (S, 3). rotation: float32 (S, 3, 3), local to world.
    """

    shapes: tuple[Shape, ...]
    centre: Tensor
    half_size: Tensor
    rotation: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """distance: float32 (N,) along each ray. surface: int64 (N,), see SHELL_FACES."""

    distance: Tensor
    surface: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A camera's grid of rays: position (3, 1), direction (3, height * width) in world axes, f_px."""

    position: Tensor
    direction: Tensor
    height: int
    width: int
    f_px: float


def solids_of(scene: Scene) -> Solids:
    """Collect a scene's shell and primitives into tensors."""
    shell, primitives = scene.shell, scene.primitives
    centre = [shell.centre] * SHELL_FACES + [primitive.centre for primitive in primitives]
    half_size = [shell.half_size] * SHELL_FACES + [primitive.half_size for primitive in primitives]
    turns = [np.eye(3)] * SHELL_FACES + [primitive.rotation for primitive in primitives]
    shapes = tuple(primitive.shape for primitive in primitives)
    return Solids(shapes, *(torch.from_numpy(np.stack(rows)).float() for rows in (centre, half_size, turns)))


def view_of(camera: Camera, height: int, width: int) -> View:
    """Lay out one ray through the middle of every pixel; the principal point is the middle of the picture."""
    f_px = width / 2 / float(np.tan(camera.fov / 2))
    x = (torch.arange(width) + 0.5 - width / 2) / f_px
    y = -(torch.arange(height) + 0.5 - height / 2) / f_px
    down, across = torch.meshgrid(y, x, indexing="ij")
    local = torch.stack([across, down, torch.ones_like(down)]).reshape(3, -1)
    direction = torch.from_numpy(camera.rotation).float() @ local
    return View(torch.from_numpy(camera.position).float()[:, None], direction, height, width, f_px)


def cast_view(scene: Scene, solids: Solids, view: View) -> Hits:
    """Find what every pixel sees; a primitive is tried only where its corners project."""
    distance, surface = hit_shell(solids, view.position, view.direction)
    grid = (view.height, view.width)
    distance, surface, rays = distance.view(grid), surface.view(grid), view.direction.view(3, *grid)
    for number, (rows, columns) in _windows(scene, solids, view):
        window = rays[:, rows, columns]
        found = _hit_primitive(solids, number, view.position, window.reshape(3, -1)).view(window.shape[1:])
        nearest = distance[rows, columns]
        surface[rows, columns].masked_fill_(found < nearest, SHELL_FACES + number)
        torch.minimum(nearest, found, out=nearest)
    return Hits(distance.reshape(-1), surface.reshape(-1))


def is_blocked(solids: Solids, origin: Tensor, direction: Tensor, limit: float) -> Tensor:
    """Say whether a primitive lies between origin (3, N) and origin + limit * direction: bool (N,)."""
    blocked = torch.zeros(direction.shape[1], dtype=torch.bool)
    for number in range(len(solids.shapes)):
        blocked |= _hit_primitive(solids, number, origin, direction) < limit
    return blocked


def hit_shell(solids: Solids, origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Leave the shell from inside: distance (N,) and face (N,) in the order of `Shell.materials`."""
    safe = torch.where(direction.abs() < 1e-7, torch.full_like(direction, 1e-7), direction)
    from_middle = origin - solids.centre[0][:, None]
    exits = (safe.sign() * solids.half_size[0][:, None] - from_middle) / safe
    distance, axis = exits.min(0)
    forward = direction.gather(0, axis[None])[0] > 0
    return distance, axis * 2 + forward.long()


def _hit_primitive(solids: Solids, number: int, origin: Tensor, direction: Tensor) -> Tensor:
    """Return the distance (N,) at which rays enter a primitive, inf where they miss it or start inside."""
    index = SHELL_FACES + number
    to_local = solids.rotation[index].T
    half = solids.half_size[index][:, None]
    start = (to_local @ (origin - solids.centre[index][:, None])) / half
    ray = (to_local @ direction) / half
    enter, leave = _CROSSINGS[solids.shapes[number]](start, ray)
    hit = (enter < leave) & (enter > _NEAREST_M)
    return torch.where(hit, enter, torch.inf)


def _cross_box(start: Tensor, ray: Tensor) -> tuple[Tensor, Tensor]:
    """Cross the cube [-1, 1]^3 by slabs (Kay and Kajiya, SIGGRAPH 1986)."""
    inverse = _inverse(ray)
    middle, reach = -start * inverse, inverse.abs()
    return (middle - reach).amax(0), (middle + reach).amin(0)


def _inverse(component: Tensor) -> Tensor:
    """Divide 1 by it; a ray along a slab has 0 there, and 0 * inf would be no number."""
    return torch.where(component == 0, 1e-12, component).reciprocal()


def _cross_sphere(start: Tensor, ray: Tensor) -> tuple[Tensor, Tensor]:
    """Cross the unit sphere."""
    return _cross_quadric((ray * ray).sum(0), (ray * start).sum(0), (start * start).sum(0) - 1)


def _cross_cylinder(start: Tensor, ray: Tensor) -> tuple[Tensor, Tensor]:
    """Cross the unit cylinder along y between its caps at -1 and 1."""
    x, z, from_x, from_z = ray[0], ray[2], start[0], start[2]
    side_in, side_out = _cross_quadric(
        x * x + z * z + 1e-12, x * from_x + z * from_z, from_x * from_x + from_z * from_z - 1
    )
    inverse = _inverse(ray[1])
    middle, reach = -start[1] * inverse, inverse.abs()
    return torch.maximum(side_in, middle - reach), torch.minimum(side_out, middle + reach)


def _cross_quadric(a: Tensor, half_b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Solve a t^2 + 2 half_b t + c = 0; where it has no solution, leave before entering."""
    discriminant = half_b * half_b - a * c
    root = discriminant.clamp_min(0).sqrt()
    enter, leave = (-half_b - root) / a, (-half_b + root) / a
    return enter, torch.where(discriminant > 0, leave, -torch.inf)


_CROSSINGS = {Shape.BOX: _cross_box, Shape.CYLINDER: _cross_cylinder, Shape.ELLIPSOID: _cross_sphere}


def _windows(scene: Scene, solids: Solids, view: View) -> Iterator[tuple[int, tuple[slice, slice]]]:
    """Yield each primitive that can be seen with the rows and columns its bounding box projects into."""
    if not solids.shapes:
        return
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    half, centre = solids.half_size[SHELL_FACES:].numpy(), solids.centre[SHELL_FACES:].numpy()
    corners = np.einsum("kij,kcj->kci", solids.rotation[SHELL_FACES:].numpy(), signs * half[:, None])
    seen = (corners + centre[:, None] - scene.camera.position) @ scene.camera.rotation
    z = seen[..., 2]
    crosses = z.min(1) < _NEAREST_M
    safe_z = np.maximum(z, _NEAREST_M)
    columns = seen[..., 0] / safe_z * view.f_px + view.width / 2
    rows = -seen[..., 1] / safe_z * view.f_px + view.height / 2
    for number in np.flatnonzero(z.max(1) > _NEAREST_M):
        if crosses[number]:
            yield int(number), (slice(0, view.height), slice(0, view.width))
            continue
        row, column = _span(rows[number], view.height), _span(columns[number], view.width)
        if row.stop > row.start and column.stop > column.start:
            yield int(number), (row, column)


def _span(positions: np.ndarray[tuple[int], np.dtype[np.float64]], size: int) -> slice:
    low, high = int(np.floor(positions.min())) - 1, int(np.ceil(positions.max())) + 1
    return slice(max(low, 0), min(max(high, 0), size))
