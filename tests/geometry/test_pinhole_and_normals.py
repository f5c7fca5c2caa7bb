"""Pixels to points and back, the normals of planes, and which pixels are at a gap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortexia_video import Pinhole
from cortexia_video.errors import InputError
from cortexia_video.geometry import depth_to_normals
from cortexia_video.geometry.depth_edges import choose_max_gap, find_edges
from cortexia_video.pinhole import project, unproject

CAMERAS = st.builds(
    Pinhole,
    fx=st.floats(20, 3000),
    fy=st.floats(20, 3000),
    cx=st.floats(-50, 150),
    cy=st.floats(-50, 150),
    width=st.integers(2, 40),
    height=st.integers(2, 40),
)
DIRECTIONS = st.tuples(st.floats(-1, 1), st.floats(-1, 1)).map(lambda xy: np.array([*xy, -1.0]))


def pixel_centres(camera: Pinhole) -> np.ndarray:
    """Return float64 (H, W, 2), across and down."""
    return np.stack(np.meshgrid(np.arange(camera.width), np.arange(camera.height)), axis=-1) + 0.5


def see_plane(camera: Pinhole, normal: np.ndarray, distance: float) -> np.ndarray:
    """Return float32 depth of the plane normal . P = -distance; NaN where it is not seen."""
    rays = np.concatenate([pixel_centres(camera), np.ones((camera.height, camera.width, 1))], axis=-1)
    rays = (rays - [camera.cx, camera.cy, 0]) / [camera.fx, camera.fy, 1]
    towards = rays @ normal
    return np.where(towards < -1e-3, -distance / np.minimum(towards, -1e-3), np.nan).astype(np.float32)


@given(CAMERAS, st.integers(0, 99))
def test_a_point_is_seen_at_its_pixel(camera: Pinhole, seed: int) -> None:
    depth = np.random.default_rng(seed).uniform(0.1, 100, (camera.height, camera.width)).astype(np.float32)
    points = unproject(depth, camera)
    np.testing.assert_array_equal(points[..., 2], depth)
    np.testing.assert_allclose(project(points, camera), pixel_centres(camera), atol=2e-3)


def test_axes_and_centres_are_as_documented() -> None:
    camera = Pinhole.centred(100, 4, 2)
    assert (camera.cx, camera.cy) == (2, 1)
    points = unproject(np.full((2, 4), 10, np.float32), camera)
    np.testing.assert_allclose(points[0, 0], [-0.15, -0.05, 10], rtol=1e-6)  # left is -x, above is -y
    np.testing.assert_allclose(points[1, 3], [0.15, 0.05, 10], rtol=1e-6)


@pytest.mark.parametrize("factor", [2, 3])
def test_a_resized_camera_sees_the_same_points(factor: int) -> None:
    camera = Pinhole(400, 410, 300, 250, 640, 480)
    small = camera.resized(640 // factor, 480)
    point = np.array([0.3, -0.2, 2.0])
    np.testing.assert_allclose(project(point, small), project(point, camera) / [640 / (640 // factor), 1])


@pytest.mark.parametrize(
    "numbers", [(0, 1, 1, 1, 1, 1), (1, -1, 1, 1, 1, 1), (1, 1, np.nan, 1, 1, 1), (1, 1, 1, 1, 0, 1)]
)
def test_numbers_that_are_no_camera_are_refused(numbers: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="is no camera"):
        Pinhole(*numbers)  # type: ignore[arg-type]


def test_a_camera_for_another_size_is_refused() -> None:
    depth = np.ones((4, 8), np.float32)
    for use in (unproject, depth_to_normals):
        with pytest.raises(InputError, match=r"depth of 8 x 4 .* for 8 x 5: use camera.resized\(8, 4\)"):
            use(depth, Pinhole.centred(10, 8, 5))


@given(CAMERAS, DIRECTIONS, st.floats(0.1, 100))
def test_a_plane_has_one_normal(camera: Pinhole, direction: np.ndarray, distance: float) -> None:
    normal = direction / np.linalg.norm(direction)
    depth = see_plane(camera, normal, distance)
    found = depth_to_normals(depth, camera, max_gap=np.inf)
    known = ~np.isnan(found).any(axis=2)
    across, down = camera.find_rays()
    widest = 1 + np.square(across).max() + np.square(down).max()
    tolerance = 3e-7 * widest * max(camera.fx, camera.fy)  # of float32 depth's steps from pixel to pixel
    assert np.abs(found[known] - normal).max(initial=0) < 1e-6 + tolerance


def test_normals_are_of_unit_length_face_the_camera_and_survive_holes() -> None:
    camera = Pinhole.centred(60, 50, 40)
    depth = see_plane(camera, np.array([0.3, -0.5, -0.9]), 2)
    depth[10:13, 20:23] = np.nan
    depth[30, 5], depth[30, 9], depth[20, 30] = 0, np.inf, -1
    normals = depth_to_normals(depth, camera)
    known = np.isfinite(depth) & (depth > 0)
    np.testing.assert_array_equal(np.isnan(normals).any(axis=2), ~known)
    np.testing.assert_allclose(np.linalg.norm(normals[known], axis=1), 1, atol=1e-6)
    assert ((normals * unproject(depth, camera)).sum(axis=2)[known] < 0).all()


def test_no_difference_is_taken_over_a_gap() -> None:
    camera = Pinhole.centred(50, 20, 20)
    depth = np.full((20, 20), 2, np.float32)
    depth[:, 10:] = 4
    np.testing.assert_allclose(
        depth_to_normals(depth, camera), np.broadcast_to([0, 0, -1], (20, 20, 3)), atol=1e-6
    )
    assert np.abs(depth_to_normals(depth, camera, max_gap=np.inf)[:, 9:11, 0]).min() > 0.9


def test_a_pixel_without_neighbours_has_no_normal() -> None:
    depth = np.full((3, 3), np.nan, np.float32)
    depth[1] = 2
    assert np.isnan(depth_to_normals(depth, Pinhole.centred(9, 3, 3))).all()


@given(CAMERAS, DIRECTIONS, st.floats(0.1, 100), st.floats(1.2, 9), st.data())
def test_only_pixels_at_a_gap_are_edges(
    camera: Pinhole, direction: np.ndarray, distance: float, factor: float, data: st.DataObject
) -> None:
    surface = see_plane(camera, direction, distance)
    steps = [np.abs(np.diff(surface, axis=axis)) for axis in (0, 1)]
    smooth = max(np.nanmax(each, initial=0) for each in steps) <= 0.1 * np.nanmin(surface, initial=1e9)
    split = data.draw(st.integers(1, camera.width - 1))
    stepped = surface.copy()
    stepped[:, split:] *= factor
    if not smooth:
        return
    assert not find_edges(surface, 0.1).any()
    edges = find_edges(stepped, 0.1)
    assert not edges[:, : split - 1].any() and not edges[:, split + 1 :].any()
    both = ~np.isnan(surface[:, split - 1]) & ~np.isnan(surface[:, split])
    if factor > 1.25:
        np.testing.assert_array_equal(edges[:, split - 1 : split + 1], np.stack([both, both], axis=1))


def test_unknown_neighbours_are_no_gap_and_a_factor_changes_nothing() -> None:
    depth = np.array([[1, 1.04, np.nan, 9], [1, 1.2, 1.2, np.nan]], np.float32)
    edges = find_edges(depth, 0.05)
    assert edges.tolist() == [[False, True, False, False], [True, True, False, False]]
    np.testing.assert_array_equal(find_edges(1000 * depth, 0.05), edges)


def test_the_gap_shrinks_with_the_angle_between_pixels() -> None:
    assert choose_max_gap(200) == choose_max_gap(500) == 0.05
    assert choose_max_gap(2500) == pytest.approx(0.01)


def test_an_edge_that_was_spread_by_enlarging_is_found() -> None:
    small = np.full((30, 30), 2, np.float32)
    small[:, 15:] = 3
    enlarged = np.repeat(np.repeat(small, 5, axis=0), 5, axis=1)
    ramp = np.linspace(2, 3, 7, dtype=np.float32)[1:-1]
    enlarged[:, 73:78] = ramp
    assert find_edges(enlarged, choose_max_gap(5 * 500))[:, 72:79].all()
