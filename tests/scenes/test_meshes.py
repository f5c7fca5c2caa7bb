"""Meshes are where trimesh's own ray caster finds them, before and behind primitives, and throw shadows."""

from __future__ import annotations

import math

import numpy as np
import pytest
import trimesh

torch = pytest.importorskip("torch")
pytest.importorskip("embreex")
torch.set_num_threads(1)  # small tensors: more threads only wait for each other

from plain_room import PLAIN, make_scene  # noqa: E402

from cortexia_video.scenes.atlas import atlas_of  # noqa: E402
from cortexia_video.scenes.description import (  # noqa: E402
    Camera,
    Material,
    MeshModel,
    Placement,
    Scene,
    Shape,
)
from cortexia_video.scenes.noise import SIDE  # noqa: E402
from cortexia_video.scenes.ray_casting import blocked_share, cast_views, solids_of, views_of  # noqa: E402
from cortexia_video.scenes.rendering import BuiltScene, render_built  # noqa: E402
from cortexia_video.scenes.shading import find_surfaces  # noqa: E402

HEIGHT, WIDTH = 48, 64


def model_of(mesh: trimesh.Trimesh, **more: np.ndarray) -> MeshModel:
    return MeshModel(mesh.triangles.astype(np.float32), np.zeros(len(mesh.faces), np.int64), **more)


def cast_by_trimesh(scene: Scene, height: int, width: int) -> np.ndarray:
    """Depth of a scene's meshes by trimesh's ray caster in float64, without Embree; inf where it finds nothing."""
    meshes = []
    for each in scene.meshes:
        corners = each.model.corners.astype(np.float64) * each.scale @ each.rotation.T + each.position
        meshes.append(trimesh.Trimesh(corners.reshape(-1, 3), np.arange(3 * len(corners)).reshape(-1, 3)))
    caster = trimesh.ray.ray_triangle.RayMeshIntersector(trimesh.util.concatenate(meshes))
    f_px = width / 2 / math.tan(scene.camera.fov / 2)
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    local = np.stack([(columns - width / 2) / f_px, (height / 2 - rows) / f_px, np.ones_like(rows)], -1)
    rays = local.reshape(-1, 3) @ scene.camera.rotation.T
    start = np.broadcast_to(scene.camera.position, rays.shape)
    at, ray, _ = caster.intersects_location(start, rays, multiple_hits=True)
    along = ((at - scene.camera.position) * rays[ray]).sum(1) / (rays[ray] ** 2).sum(1)
    depth = np.full(len(rays), np.inf)
    np.minimum.at(depth, ray, along)
    return depth.reshape(height, width)


def test_depth_of_meshes_is_that_of_another_ray_caster() -> None:
    scene = make_scene(0.2, -0.1, 0.15, at=(0.3, -0.2, 0.1))
    scene.add_mesh(
        Placement(np.array([0.2, -0.4, 4.0]), 0.7), model_of(trimesh.creation.torus(1, 0.4)), [PLAIN]
    )
    ball = model_of(trimesh.creation.icosphere(2, 0.5))
    scene.add_mesh(Placement(np.array([-0.9, 0.6, 3.0])), ball, [PLAIN], (1.0, 2.0, 0.5))
    scene.add_mesh(Placement(np.array([1.4, 0.1, 5.0])), ball, [PLAIN])
    hits = cast_views(solids_of([scene]), views_of([scene.camera], HEIGHT, WIDTH))
    expected = cast_by_trimesh(scene, HEIGHT, WIDTH)
    met = np.isfinite(expected)
    assert 500 < met.sum() < met.size - 500
    on_mesh = hits.triangle[0].numpy() >= 0
    assert (on_mesh != met).sum() <= 2  # rays that graze an edge
    both = on_mesh & met
    assert hits.distance[0].numpy()[both] == pytest.approx(expected[both], rel=1e-5)


def test_meshes_and_primitives_hide_each_other_by_distance() -> None:
    scene = make_scene(0.2, -0.1, 0.15, at=(0.3, -0.2, 0.1))
    scene.camera = Camera(np.zeros(3), 0.0, 0.0, 0.0, math.radians(60))
    box = model_of(trimesh.creation.box((0.5, 9, 0.2)))
    scene.add_mesh(Placement(np.array([0.0, 0.0, 3.1])), box, [PLAIN])
    scene.add(Shape.BOX, (0, 1, 2.1), (9, 0.3, 0.1), PLAIN)  # before it
    scene.add(Shape.BOX, (0, -1, 4.1), (9, 0.3, 0.1), PLAIN)  # behind it
    distance = cast_views(solids_of([scene]), views_of([scene.camera], HEIGHT, WIDTH)).distance[0]
    middle, beside = ({round(float(each), 4) for each in distance[:, at]} for at in (WIDTH // 2, 2))
    assert middle >= {2.0, 3.0}
    assert max(middle) == 3.0  # what is behind the mesh is not seen
    assert beside >= {2.0, 4.0, 10.0}
    assert 3.0 not in beside


def test_a_mesh_blocks_light_and_what_is_beside_it_does_not() -> None:
    scene = make_scene(0.2, -0.1, 0.15, at=(0.3, -0.2, 0.1))
    scene.add_mesh(Placement(np.array([0.0, 1.0, 0.0])), model_of(trimesh.creation.box((1, 0.1, 1))), [PLAIN])
    solids = solids_of([scene])
    origin = torch.tensor([[[0.0, 0.9, 0.0, 0.4], [0.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.4]]])
    up = torch.tensor([0.0, 3.0, 0.0])[None, :, None].expand(1, 3, 4)
    blocked = blocked_share(solids, origin, up, torch.ones(1), torch.zeros(1, dtype=torch.int64))
    assert blocked[0].tolist() == [True, False, False, True]


def test_each_scene_of_a_batch_has_its_own_meshes() -> None:
    scenes = [make_scene(0.2, -0.1, 0.15, at=(0.3, -0.2, 0.1)) for _ in range(3)]
    ball = model_of(trimesh.creation.icosphere(2, 0.5))
    scenes[0].add_mesh(Placement(np.array([0.0, 0.0, 3.0])), ball, [PLAIN])
    scenes[2].add_mesh(Placement(np.array([0.5, 0.0, 5.0])), ball, [PLAIN])
    together = render_built([BuiltScene(scene, 0, "test") for scene in scenes], HEIGHT, WIDTH)
    for scene, among in zip(scenes, together, strict=True):
        (alone,) = render_built([BuiltScene(scene, 0, "test")], HEIGHT, WIDTH)
        assert np.array_equal(alone.depth_m, among.depth_m)


def test_normals_are_those_of_the_triangles_and_light_falls_by_those_of_the_corners() -> None:
    ball = trimesh.creation.icosphere(2, 1.0)
    scene = make_scene(0.2, -0.1, 0.15, at=(0.3, -0.2, 0.1))
    smooth = ball.vertex_normals[ball.faces].astype(np.float32)
    scene.add_mesh(Placement(np.array([0.2, 0.0, 4.0])), model_of(ball, normals=smooth), [PLAIN])
    solids, views = solids_of([scene]), views_of([scene.camera], HEIGHT, WIDTH)
    hits = cast_views(solids, views)
    surfaces = find_surfaces(solids, views, hits)
    on_ball = hits.triangle[0] >= 0
    true, shown = (each[0][:, on_ball].numpy() for each in (surfaces.normal, surfaces.shown))
    assert true == pytest.approx(ball.face_normals[hits.triangle[0][on_ball]].T, abs=1e-4)
    outward = surfaces.point[0][:, on_ball].numpy() - np.array([[0.2], [0.0], [4.0]])
    outward /= np.linalg.norm(outward, axis=0)
    assert (shown * outward).sum(0).min() > 0.999
    assert 0.95 < (true * outward).sum(0).min() < 0.999


def test_a_texture_lies_where_the_corners_say() -> None:
    """A square of 2 m wears an image of four colours once: each quarter of it has the one that the file shows."""
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    half = SIDE // 2
    image[:half, :half], image[:half, half:], image[half:, :half] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    square = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32)
    corners = square[[[0, 1, 2], [0, 2, 3]]]
    model = MeshModel(corners, np.zeros(2, np.int64), uv_m=corners[:, :, :2] + 1)
    wears = Material("image", 0, 2.0, (0.0, 0.0), False, np.ones(3), image=image)
    scene = make_scene(0.2, -0.1, 0.15, at=(0.3, -0.2, 0.1))
    scene.camera = Camera(np.zeros(3), 0.0, 0.0, 0.0, math.radians(60))
    scene.add_mesh(Placement(np.array([0.0, 0.0, 3.0])), model, [wears])
    solids, views = solids_of([scene]), views_of([scene.camera], HEIGHT, WIDTH)
    uv = find_surfaces(solids, views, cast_views(solids, views)).uv[0]
    atlas = atlas_of(0, torch.device("cpu"))
    (place,) = atlas.place([wears])
    rows, columns = torch.tensor([16, 16, 32, 32]), torch.tensor([22, 42, 22, 42])
    seen = uv[:, rows, columns] * torch.tensor([[0.5], [-0.5]])
    colour = atlas.sample(torch.full((4,), place), seen, torch.ones(4))
    assert colour.round().tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]
