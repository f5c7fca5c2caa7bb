"""Scenes are exact, reproducible and varied."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # small tensors: more threads only wait for each other

from plain_room import PLAIN, make_scene  # noqa: E402

from cortexia_video.scenes import LAYOUTS, landscape, render_scene, render_scenes, vehicles  # noqa: E402  # noqa: E402
from cortexia_video.scenes.atlas import MIP_SIDES, TEXELS, atlas_of, mip_chain  # noqa: E402
from cortexia_video.scenes.description import (  # noqa: E402
    Camera,
    Lamp,
    Scene,
    Shape,
    Shell,
    Sky,
    rotation,
)
from cortexia_video.scenes.layouts import NEED_MODELS, build_scene, is_inside, is_worth_showing  # noqa: E402
from cortexia_video.scenes.noise import SIDE, periodic_noise  # noqa: E402
from cortexia_video.scenes.ray_casting import blocked_share, cast_views, solids_of, views_of  # noqa: E402
from cortexia_video.scenes.rendering import BuiltScene, render_built  # noqa: E402
from cortexia_video.scenes.shading import find_surfaces, shade  # noqa: E402
from cortexia_video.scenes.textures import PAINTERS, paint_texture  # noqa: E402
from cortexia_video.scenes.tiles import Grid  # noqa: E402

HEIGHT, WIDTH = 48, 64


def depth_of(scene: Scene) -> np.ndarray:
    return cast_views(solids_of([scene]), views_of([scene.camera], HEIGHT, WIDTH)).distance[0].numpy()


def pixel_rays() -> tuple[np.ndarray, np.ndarray]:
    """x and y of every pixel's ray in camera axes (y up) at depth 1, worked out apart from the renderer."""
    f_px = WIDTH / 2 / math.tan(math.radians(30))
    columns, rows = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    return (columns - WIDTH / 2) / f_px, -(rows - HEIGHT / 2) / f_px


def test_depth_of_a_wall_is_z_not_distance_along_the_ray():
    assert depth_of(make_scene()) == pytest.approx(np.full((HEIGHT, WIDTH), 10.0), rel=1e-6)


def test_depth_of_a_slanted_wall_is_a_plane_in_disparity():
    yaw = 0.3
    x, _ = pixel_rays()
    expected = 10 / (math.cos(yaw) - x * math.sin(yaw))
    depth = depth_of(make_scene(yaw=yaw))
    ahead = expected * (x * math.cos(yaw) + math.sin(yaw)) < 10  # where that wall ends, the next begins
    assert ahead.mean() > 0.8
    assert depth[ahead] == pytest.approx(expected[ahead], rel=1e-5)


def test_depth_of_a_floor_follows_the_row():
    scene = make_scene(pitch=-0.4)
    _, y = pixel_rays()
    down = -(y * math.cos(0.4) - math.sin(0.4))
    expected = 10 / down
    on_floor = (down > 0) & (expected * (math.cos(0.4) + y * math.sin(0.4)) < 10)
    depth = depth_of(scene)
    assert on_floor.any()
    assert depth[on_floor] == pytest.approx(expected[on_floor], rel=1e-5)


def test_depth_of_a_sphere_solves_its_equation():
    scene = make_scene()
    centre, radius = np.array([0.3, -0.2, 4.0]), 1.2
    scene.add(Shape.ELLIPSOID, centre, (radius,) * 3, PLAIN)
    x, y = pixel_rays()
    rays = np.stack([x, y, np.ones_like(x)], -1)
    a, half_b, c = (rays**2).sum(-1), rays @ centre, centre @ centre - radius**2
    discriminant = half_b**2 - a * c
    inside = discriminant > 1e-3
    expected = np.where(inside, (half_b - np.sqrt(np.abs(discriminant))) / a, 10.0)
    sure = np.abs(discriminant) > 1e-3
    assert inside.sum() > 100
    assert depth_of(scene)[sure] == pytest.approx(expected[sure], rel=1e-4)


def test_depth_of_a_turned_box_is_that_of_its_nearest_plane():
    scene = make_scene()
    centre, half, turn = np.array([-0.4, 0.2, 5.0]), np.array([0.8, 0.5, 0.6]), rotation(0.6, 0.3, -0.2)
    scene.add(Shape.BOX, centre, half, PLAIN, turn)
    x, y = pixel_rays()
    rays = np.stack([x, y, np.ones_like(x)], -1)
    expected = np.full(x.shape, 10.0)
    for axis in range(3):
        for sign in (-1, 1):
            normal = sign * turn[:, axis]
            t = (normal @ centre + half[axis]) / (rays @ normal)
            local = (rays * t[..., None] - centre) @ turn
            on_face = (np.abs(local) <= half + 1e-9).all(-1) & (t > 0)
            expected = np.where(on_face, np.minimum(expected, t), expected)
    differs = np.abs(depth_of(scene) - expected) > 1e-3
    assert (expected < 10).sum() > 100
    assert differs.sum() <= 2  # rays that graze an edge


def test_depth_of_a_cylinder_seen_from_the_side_and_from_above():
    scene = make_scene()
    scene.add(Shape.CYLINDER, (0, 0, 4), (1, 0.5, 1), PLAIN)
    x, y = pixel_rays()
    middle = np.abs(x) < 0.02
    level = middle & (np.abs(y) < 0.1)
    expected = (4 - np.sqrt(1 - 15 * x[level] ** 2)) / (1 + x[level] ** 2)
    assert depth_of(scene)[level] == pytest.approx(expected, rel=1e-5)
    from_above = make_scene(pitch=-math.pi / 2 + 1e-6)
    from_above.add(Shape.CYLINDER, (0, -4, 0), (1, 0.5, 1), PLAIN)
    assert depth_of(from_above)[HEIGHT // 2, WIDTH // 2] == pytest.approx(3.5, rel=1e-4)


def radius_of(local: np.ndarray, half: np.ndarray, taper: float) -> np.ndarray:
    """How far points (..., 3) are from a cone's axis, in its radii at their height; inside is below 1."""
    unit = local / half
    return np.hypot(unit[..., 0], unit[..., 2]) / (1 + (taper - 1) * (unit[..., 1] + 1) / 2)


@pytest.mark.parametrize("taper", [0.0, 0.3, 1.0, 1.7])
@pytest.mark.parametrize("pitch", [0.3, 1.2, -1.3])
def test_depth_of_a_cone_is_where_marching_along_the_ray_firstis_inside(taper, pitch):
    scene = make_scene()
    centre, half, turn = np.array([0.2, -0.1, 4.0]), np.array([0.8, 1.0, 0.5]), rotation(0.4, pitch, 0.2)
    scene.add(Shape.CYLINDER, centre, half, PLAIN, turn, taper)
    depth = depth_of(scene)
    x, y = pixel_rays()
    rays = np.stack([x, y, np.ones_like(x)], -1)
    steps = np.linspace(2.0, 6.0, 1001)
    local = (rays[..., None, :] * steps[:, None] - centre) @ turn
    inside = (radius_of(local, half, taper) < 1) & (np.abs(local[..., 1]) < half[1])
    hit = inside.any(-1)
    expected = steps[inside.argmax(-1)]
    assert hit.sum() > 100
    assert (hit == (depth < 9)).mean() > 0.99
    both = hit & (depth < 9)
    late = expected[both] - depth[both]
    assert np.quantile(late, 0.01) > -1e-4 and np.quantile(late, 0.98) < 0.005


def test_a_rod_runs_from_one_point_to_the_other():
    scene = make_scene()
    start, end = np.array([-1.0, -0.5, 5.0]), np.array([1.2, 0.8, 4.0])
    scene.rod(start, end, 0.2, PLAIN)
    depth = depth_of(scene)
    f_px = WIDTH / 2 / math.tan(math.radians(30))
    for share in (0.05, 0.5, 0.95):
        x, y, z = start + share * (end - start)
        column, row = int(f_px * x / z + WIDTH / 2), int(-f_px * y / z + HEIGHT / 2)
        assert 0 < z - depth[row, column] < 0.35


@pytest.mark.parametrize("shape", list(Shape))
def test_normals_are_those_of_the_depth(shape):
    """Cross products of neighbours' differences, worked out apart from the renderer, agree."""
    scene = make_scene()
    scene.add(shape, (0.1, -0.1, 4.0), (1.3, 0.9, 1.1), PLAIN, rotation(0.5, 0.4, 0.3), 0.6)
    built = BuiltScene(scene, 1, "test")
    rendered = render_built([built], 4 * HEIGHT, 4 * WIDTH)[0]
    rows, columns = np.mgrid[0 : 4 * HEIGHT, 0 : 4 * WIDTH] + 0.5
    f_px, depth = rendered.f_px, rendered.depth_m.astype(np.float64)
    points = np.stack([(columns - 2 * WIDTH) / f_px, (rows - 2 * HEIGHT) / f_px, np.ones_like(rows)], -1)
    points = points * depth[..., None]
    across, down = points[1:-1, 2:] - points[1:-1, :-2], points[2:, 1:-1] - points[:-2, 1:-1]
    expected = np.cross(down, across)
    expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
    normals = rendered.normals[1:-1, 1:-1]
    assert np.linalg.norm(normals, axis=-1) == pytest.approx(np.ones(normals.shape[:2]), abs=1e-5)
    on_it = depth[1:-1, 1:-1] < 6
    agreement = (normals * expected).sum(-1)[on_it]
    assert on_it.sum() > 2000
    assert (agreement > 0.995).mean() > 0.93  # the others lie on edges
    assert (normals * points[1:-1, 1:-1]).sum(-1).max() < 1e-3, "normals look at the camera"


def test_tiles_cut_and_join_give_the_image_back():
    image = torch.rand(2, 1, 37, 50)
    grid = Grid(37, 50)
    assert grid.cut(image).shape == (2 * grid.count, 1, 256)
    assert torch.equal(grid.join(grid.cut(image)[:, 0]), image[:, 0])


def test_tiles_lose_nothing():
    """Casting only where corners project gives what casting everywhere gives."""
    scenes = [build_scene(seed)[1] for seed in range(4)]
    solids = solids_of(scenes)
    views = views_of([scene.camera for scene in scenes], HEIGHT, WIDTH)
    hits = cast_views(solids, views)
    assert (solids.shape[hits.surface] >= 0).float().mean() > 0.1
    origin = views.position[:, :, None].expand(-1, -1, HEIGHT * WIDTH)
    towards = (views.direction * hits.distance[:, None]).flatten(2)
    nearer = blocked_share(solids, origin, towards, torch.full((4,), 0.9999), torch.arange(4))
    assert not nearer.any()


def test_scenes_of_a_batch_are_those_rendered_alone():
    together = list(render_scenes(range(3), 40, 56, batch_size=3))
    for scene in together:
        alone = render_scene(scene.seed, 40, 56)
        assert scene.layout == alone.layout
        assert scene.depth_m == pytest.approx(alone.depth_m, rel=1e-5, nan_ok=True)
        differs = np.abs(scene.image.astype(int) - alone.image.astype(int))
        assert (differs > 2).mean() < 0.001


def test_one_seed_gives_one_scene_whatever_came_before():
    first = render_scene(5, 40, 56)
    list(render_scenes([900, 6], 24, 32))
    again = render_scene(5, 40, 56)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.depth_m, again.depth_m, equal_nan=True)


@pytest.mark.parametrize("layout", [None, pytest.param("driving", marks=pytest.mark.slow)])
def test_another_process_renders_the_same_bytes(layout):
    code = (
        "import hashlib, torch; from cortexia_video.scenes import render_scene; torch.set_num_threads(1);"
        f"scene = render_scene(5, 40, 56, {layout!r});"
        "print(hashlib.sha256(scene.image.tobytes() + scene.depth_m.tobytes()).hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    scene = render_scene(5, 40, 56, layout)
    assert there.strip() == hashlib.sha256(scene.image.tobytes() + scene.depth_m.tobytes()).hexdigest()


def test_other_seeds_give_other_scenes():
    scenes = list(render_scenes(range(4), 24, 32))
    assert [scene.seed for scene in scenes] == [0, 1, 2, 3]
    assert len({scene.image.tobytes() for scene in scenes}) == 4


KINDS = [name for name in LAYOUTS if name not in NEED_MODELS]
PLACES = KINDS[KINDS.index("facade") + 1 :]
"""Kinds of meshes: building one takes seconds."""


@pytest.mark.parametrize(
    "layout",
    [pytest.param(name, marks=pytest.mark.slow) if name in PLACES[:-1] else name for name in KINDS],
)
def test_every_layout_renders_an_image_with_depth(layout):
    scene = render_scene(11, 32, 48, layout)
    assert scene.layout == layout
    assert scene.image.shape == (32, 48, 3) and scene.image.dtype == np.uint8
    assert scene.depth_m.shape == (32, 48) and scene.depth_m.dtype == np.float32
    known = np.isfinite(scene.depth_m)
    assert known.mean() > 0.15
    assert scene.depth_m[known].min() > 0.05 and scene.depth_m[known].max() <= 500
    assert scene.image.std() > 4, "an image shows something"
    assert not np.isinf(scene.depth_m).any()


def test_neighbouring_seeds_look_at_one_place_from_other_sides():
    """VIEWS seeds from a multiple on have one place; the next have another. None needs its neighbours."""
    pytest.importorskip("embreex")
    scenes = {seed: build_scene(seed, ["terrace"])[1] for seed in (16, 23, 24)}
    corners = {seed: scene.triangles.corners for seed, scene in scenes.items()}
    assert torch.equal(corners[16], corners[23])
    assert corners[24].shape != corners[16].shape or not torch.equal(corners[24], corners[16])
    assert not np.array_equal(scenes[16].camera.position, scenes[23].camera.position)
    alone = build_scene(23, ["terrace"])[1].camera
    assert np.array_equal(alone.position, scenes[23].camera.position)


def test_a_view_from_inside_a_car_is_known_as_one():
    pytest.importorskip("embreex")
    scene = make_scene()
    car = vehicles.car(np.random.default_rng(0))
    landscape.add(scene, car, [PLAIN] * 6)
    for position, inside in (((0, 1.0, 0), True), ((0, 1.0, 4.0), False), ((0, 2.5, 0), False)):
        seen = replace(scene, camera=Camera(np.array(position), 0.0, 0.0, 0.0, 1.0))
        assert is_inside(seen) is inside


def test_places_come_where_they_are_named_only():
    assert not {build_scene(seed)[0] for seed in range(12)} & set(PLACES)


def test_only_outdoor_scenes_have_sky():
    assert np.isfinite(render_scene(3, 24, 32, "room").depth_m).all()
    street = [render_scene(seed, 24, 32, "street").depth_m for seed in range(4)]
    assert any(np.isnan(depth_m).any() for depth_m in street)


def test_a_larger_image_shows_the_same_scene():
    small, large = render_scene(8, 30, 40), render_scene(8, 60, 80)
    assert large.f_px == pytest.approx(2 * small.f_px)
    averaged = large.depth_m.reshape(30, 2, 40, 2).mean((1, 3))
    assert np.median(np.abs(averaged - small.depth_m) / small.depth_m) < 0.02


def test_intrinsics_project_points_to_their_pixels():
    scene = render_scene(2, 30, 40)
    x, y, w = scene.intrinsics @ np.array([0.0, 0.0, 3.0])
    assert (x / w, y / w) == (20, 15)
    assert scene.intrinsics[0, 0] == scene.f_px


@pytest.mark.parametrize("kinds", [["close"], ["street", "open"]])
def test_only_the_kinds_asked_for_are_drawn(kinds):
    drawn = {build_scene(seed, kinds)[0] for seed in range(8)}
    assert drawn == set(kinds)


def test_a_scene_too_small_to_render_is_refused():
    with pytest.raises(ValueError, match="1 x 40"):
        render_scene(0, 1, 40)


def test_a_box_between_point_and_lamp_blocks_and_one_behind_the_lamp_does_not():
    scene = make_scene()
    scene.add(Shape.BOX, (0, 5, 0), (1, 0.1, 1), PLAIN)
    solids = solids_of([scene])
    points = torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 5.2, 0.0]]).T[None]  # below, beside, above
    lamp, low_lamp = torch.tensor([[0.0], [8.0], [0.0]]), torch.tensor([[0.0], [3.0], [0.0]])
    one, first = torch.ones(1), torch.zeros(1, dtype=torch.long)
    assert blocked_share(solids, points, lamp - points, one, first).tolist() == [[True, False, False]]
    below = points[:, :, :1]
    assert blocked_share(solids, below, low_lamp - below, one, first).tolist() == [[False]]


def test_lamps_of_a_scene_are_not_blocked_by_another_scene():
    scenes = [make_scene(), make_scene()]
    scenes[1].add(Shape.BOX, (0, 5, 0), (1, 0.1, 1), PLAIN)
    points = torch.zeros(2, 3, 1)
    towards = torch.tensor([[0.0], [8.0], [0.0]]).expand(2, 3, 1)
    blocked = blocked_share(solids_of(scenes), points, towards, torch.ones(2), torch.arange(2))
    assert blocked.tolist() == [[False], [True]]


def test_shadow_darkens_the_floor():
    scene = make_scene(pitch=-0.9)
    scene.lights = [Lamp(np.array([0.0, 8.0, 5.0]), np.full(3, 30.0))]
    light = floor_light(scene)
    scene.add(Shape.BOX, (0, 6, 5), (2, 0.1, 2), PLAIN)
    assert floor_light(scene) < 0.7 * light


def floor_light(scene: Scene) -> float:
    """Mean light of the middle of the image."""
    views, solids = views_of([scene.camera], HEIGHT, WIDTH), solids_of([scene])
    hits = cast_views(solids, views)
    surfaces, atlas = find_surfaces(solids, views, hits), atlas_of(0, torch.device("cpu"))
    light = shade([scene], solids, views, hits, surfaces, [0], atlas)[0]
    return float(light[:, 20:28, 28:36].mean())


def test_fog_and_sky_are_painted_where_nothing_is_hit():
    scene = make_scene()
    scene.shell = Shell(np.array([0.0, 10, 0]), np.full(3, 10.0), (None, None, PLAIN, None, None, None))
    scene.camera = Camera(np.array([0.0, 1.5, 0]), 0.0, 0.0, 0.0, math.radians(60))
    scene.sky = Sky(np.array([0.2, 0.4, 1.0]), np.ones(3), 0.0, 0, 1000.0)
    rendered = render_built([BuiltScene(scene, 1, "test")], HEIGHT, WIDTH)[0]
    upper = rendered.depth_m[: HEIGHT // 3]
    assert np.isnan(upper).all()
    assert np.isfinite(rendered.depth_m[-1]).all()
    red, _, blue = rendered.image[0].mean(0)
    assert blue > red


@pytest.mark.parametrize("kind", sorted(PAINTERS))
def test_textures_are_albedo_and_depend_on_their_seed(kind):
    image = paint_texture(kind, (1, 2, 3))
    assert image.shape == (SIDE, SIDE, 3) and image.dtype == np.float32
    assert image.min() >= 0.01 and image.max() <= 1
    assert np.array_equal(image, paint_texture(kind, (1, 2, 3)))
    assert not np.array_equal(image, paint_texture(kind, (1, 2, 4)))


def test_mip_levels_keep_the_mean():
    chain = mip_chain(paint_texture("bricks", (0, 4, 0))).float()
    assert chain.shape == (TEXELS, 3)
    finest, coarsest = chain[: SIDE * SIDE].mean(0), chain[-(MIP_SIDES[-1] ** 2) :].mean(0)
    assert torch.allclose(finest, coarsest, atol=2e-3)


def test_noise_wraps_around():
    noise = periodic_noise(np.random.default_rng(0), 4, 3)
    steps_inside = np.abs(np.diff(noise, axis=1)).max()
    assert np.abs(noise[:, 0] - noise[:, -1]).max() <= steps_inside
    assert np.abs(noise).max() == pytest.approx(1, abs=1e-4)


def test_views_of_next_to_nothing_are_not_worth_showing():
    rows = np.linspace(1, 6, 24, dtype=np.float32)[:, None] * np.ones((1, 32), np.float32)
    assert is_worth_showing(rows)
    assert not is_worth_showing(np.full((24, 32), 2.0, np.float32))
    assert not is_worth_showing(np.full((24, 32), np.nan, np.float32))
    assert not is_worth_showing(rows * 0.03)
