"""Panoramas: rays of the sphere, and views with scales of their own that are merged to the truth of a made room."""

from __future__ import annotations

import numpy as np
import pytest

import cortexia_video as cx
from cortexia_video.geometry.panorama import merge_views
from cortexia_video.geometry.sphere import (
    cut_view,
    distance_to_normals,
    find_directions,
    find_sphere_edges,
    list_views,
    look_through,
    unproject_sphere,
)

LOW, HIGH = np.array([-2.0, -1.5, -4.0]), np.array([3.0, 1.1, 2.5])  # of a room, metres from the camera
BALLS = (
    (np.array([0.6, 0.3, 1.6]), 0.5),
    (np.array([-1.2, 0.6, -1.5]), 0.4),
    (np.array([1.5, -0.8, -0.2]), 0.3),
)
HEIGHT = 128


def cast(directions: np.ndarray) -> np.ndarray:
    """Return the distance, metres, at which rays of unit length (..., 3) from the camera meet the room."""
    with np.errstate(divide="ignore"):
        found = np.where(directions > 0, HIGH / directions, LOW / directions).min(axis=-1)
    for centre, radius in BALLS:
        along = directions @ centre
        inside = along**2 - centre @ centre + radius**2
        near = along - np.sqrt(np.maximum(inside, 0))
        found = np.where((inside > 0) & (near > 0) & (near < found), near, found)
    return found


def find_facing(directions: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Return which way the room faces where rays meet it, (..., 3), towards the camera."""
    points = directions * distance[..., None]
    facing = (np.abs(points - LOW) < 1e-6).astype(float) - (np.abs(points - HIGH) < 1e-6)
    for centre, radius in BALLS:
        away = points - centre
        on_ball = np.abs(np.linalg.norm(away, axis=-1) - radius) < 1e-6
        facing[on_ball] = away[on_ball] / radius
    return facing / np.linalg.norm(facing, axis=-1, keepdims=True)


def find_angles(normals: np.ndarray) -> np.ndarray:
    """Return how far normals of a panorama are from the room's, degrees, of those that are known."""
    known = np.isfinite(normals).all(axis=-1)
    np.testing.assert_allclose(np.linalg.norm(normals[known], axis=-1), 1, atol=1e-5)
    return np.degrees(np.arccos(np.clip((normals * FACING).sum(axis=-1)[known], -1, 1)))


def list_rays(side: int = 96) -> list[np.ndarray]:
    """Return the directions of each view's pixels, (side, side, 3)."""
    across = (np.arange(side) + 0.5) / side * 2 - 1
    local = np.stack(np.broadcast_arrays(across, across[:, None], 1.0), axis=-1)
    local /= np.linalg.norm(local, axis=-1, keepdims=True)
    return [local @ rotation for rotation in list_views()]


def render_views(side: int = 96) -> np.ndarray:
    """Return each view's depth along its axis, (12, side, side), metres."""
    across = (np.arange(side) + 0.5) / side * 2 - 1
    local = np.stack(np.broadcast_arrays(across, across[:, None], 1.0), axis=-1)
    length = np.linalg.norm(local, axis=-1)
    return np.stack([cast(local @ rotation / length[..., None]) / length for rotation in list_views()])


DIRECTIONS = find_directions(HEIGHT, 2 * HEIGHT).astype(np.float64)
TRUTH = cast(DIRECTIONS)
FACING = find_facing(DIRECTIONS, TRUTH)
Z = render_views()
RNG = np.random.default_rng(0)
FACTORS, SHIFTS = RNG.uniform(0.3, 3, (12, 1, 1)), RNG.uniform(-0.3, 0.3, (12, 1, 1))


def differ(values: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return how far values are from the truth, as shares, after one factor for all."""
    return np.abs(values * np.median(truth / values) / truth - 1)


def test_the_middle_looks_forward_and_the_right_to_the_right() -> None:
    found = find_directions(4, 8)
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1, rtol=1e-6)
    assert found[1:3, 3:5].mean(axis=(0, 1))[2] > 0.8 and found[:, 6, 0].min() > 0  # forward; right
    assert (found[0, :, 1] < -0.9).all() and (found[3, :, 1] > 0.9).all()  # up is negative
    np.testing.assert_array_equal(find_directions(4, 8, slice(1, 3)), found[1:3])


def test_views_are_cameras_that_see_every_direction_upright() -> None:
    rotations = list_views()
    np.testing.assert_allclose(
        rotations @ rotations.transpose(0, 2, 1), np.tile(np.eye(3), (12, 1, 1)), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(rotations), 1)
    assert (
        np.abs(rotations[:, 0, 1]).max() < 1e-12 and rotations[:, 1, 1].min() > 0.5
    )  # level, and not upside down
    directions = find_directions(60, 120).reshape(-1, 3)
    seen = np.zeros(len(directions))
    for rotation in rotations:
        x, y, length = look_through(rotation, directions)
        with np.errstate(invalid="ignore"):
            inside = (np.abs(x) < 0.9) & (np.abs(y) < 0.9)
        assert length[inside].min() >= 1 - 1e-6
        seen += inside
    assert seen.min() >= 1


def test_a_view_shows_what_is_there() -> None:
    """By colours that are the directions themselves; around the ends of the panorama and near its poles, too."""
    panorama = np.rint((find_directions(512, 1024) + 1) * 127.5).astype(np.uint8)
    across = (np.arange(65) + 0.5) / 65 * 2 - 1
    local = np.stack(np.broadcast_arrays(across, across[:, None], 1.0), axis=-1)
    local /= np.linalg.norm(local, axis=-1, keepdims=True)
    for rotation in list_views():
        expected = (local @ rotation + 1) * 127.5
        assert np.abs(cut_view(panorama, rotation, 65) - expected).max() < 1.6


@pytest.mark.parametrize("kind", ["metric", "scale_invariant"])
def test_views_of_any_scale_are_merged_to_the_ground_truth(kind: str) -> None:
    scaled = (Z * FACTORS).astype(np.float32)
    merged = merge_views(scaled, kind, HEIGHT)  # type: ignore[arg-type]
    errors = differ(merged.values, TRUTH)
    assert np.median(errors) < 1e-3 and np.quantile(errors, 0.97) < 0.01  # but for contours
    np.testing.assert_allclose(merged.scale * FACTORS[:, 0, 0], np.exp(np.log(FACTORS).mean()), rtol=2e-3)


def test_metres_stay_metres() -> None:
    merged = merge_views(Z.astype(np.float32), "metric", HEIGHT)
    errors = np.abs(merged.values / TRUTH - 1)
    assert np.median(errors) < 1e-3 and np.quantile(errors, 0.97) < 0.01
    np.testing.assert_allclose(merged.scale, 1, rtol=2e-3)


@pytest.mark.parametrize("kind", ["disparity", "affine_invariant"])
def test_views_of_any_scale_and_shift_are_merged_to_the_ground_truth(kind: str) -> None:
    depth, truth = (1 / Z, 1 / TRUTH) if kind == "disparity" else (Z, TRUTH)
    views = ((depth - SHIFTS) * FACTORS).astype(np.float32)
    merged = merge_views(views, kind, HEIGHT)  # type: ignore[arg-type]
    errors = differ(merged.values, truth)
    assert np.median(errors) < 3e-3 and np.quantile(errors, 0.95) < 0.03


@pytest.mark.parametrize("kind", ["metric", "disparity"])
def test_nothing_jumps_at_the_ends_and_the_poles(kind: str) -> None:
    depth = 1 / Z if kind == "disparity" else Z
    noise = (
        np.random.default_rng(1).normal(1, 0.05, (12, 3, 3)).repeat(32, 1).repeat(32, 2)
    )  # views that disagree
    values = merge_views((depth * FACTORS * noise).astype(np.float32), kind, HEIGHT).values  # type: ignore[arg-type]
    around = np.abs(np.diff(np.concatenate([values, values[:, :1]], axis=1), axis=1)) / values
    assert around[:, -1].max() <= around.max(axis=1).max()
    seam, others = np.median(around[:, -1]), np.median(around)
    assert seam < 5 * others + 1e-3
    assert np.ptp(values[0]) / values[0].mean() < 0.1 and np.ptp(values[-1]) / values[-1].mean() < 0.1


def test_views_that_disagree_are_not_squeezed() -> None:
    """Least squares alone would make all factors 0; here noise of 20 % keeps the range of the truth."""
    noise = np.random.default_rng(2).normal(0, 0.2 / np.median(Z), (12, 8, 8)).repeat(12, 1).repeat(12, 2)
    merged = merge_views((1 / Z + noise).astype(np.float32), "disparity", HEIGHT)
    slope = np.polyfit((1 / TRUTH).ravel(), merged.values.ravel(), 1)[0]
    assert 0.6 < slope < 1.6 and merged.scale.min() > 0.3
    assert np.corrcoef(1 / TRUTH.ravel(), merged.values.ravel())[0, 1] > 0.85


def test_what_a_view_does_not_know_is_left_to_others() -> None:
    valid = np.ones(Z.shape, bool)
    valid[4], valid[:, :10] = False, False
    broken = np.where(valid, Z * FACTORS, 999).astype(np.float32)
    merged = merge_views(broken, "scale_invariant", HEIGHT, valid)
    assert merged.valid is not None and 0.6 < merged.valid.mean() < 1
    assert np.quantile(differ(merged.values, TRUTH)[merged.valid], 0.95) < 0.02
    np.testing.assert_allclose(np.delete(merged.scale * FACTORS[:, 0, 0], 4).std(), 0, atol=1e-2)


def test_what_is_not_finite_is_not_hidden() -> None:
    views = Z.astype(np.float32)
    views[3, 40, 40] = np.nan
    assert np.isnan(merge_views(views, "metric", HEIGHT).values).any()


def test_one_value_everywhere_stays_so() -> None:
    merged = merge_views(np.ones((12, 16, 16), np.float32), "disparity", 32)
    assert np.isfinite(merged.values).all() and (merged.scale > 0).all()


def test_points_are_on_the_rays_of_the_sphere() -> None:
    depth = cx.DepthMap(TRUTH.astype(np.float32), "metric", projection="equirectangular")
    points = unproject_sphere(depth.values)
    np.testing.assert_allclose(np.linalg.norm(points, axis=-1), TRUTH, rtol=1e-5)
    on_wall = (np.abs(points - LOW) < 1e-4).any(axis=-1) | (np.abs(points - HIGH) < 1e-4).any(axis=-1)
    on_ball = np.zeros(on_wall.shape, bool)
    for centre, radius in BALLS:
        on_ball |= np.abs(np.linalg.norm(points - centre, axis=-1) - radius) < 1e-4
    assert (on_wall | on_ball).all() and on_ball.any()


def test_normals_follow_from_distances_and_planes_are_exact_at_the_poles_too() -> None:
    normals = distance_to_normals(TRUTH.astype(np.float32))
    angles = find_angles(normals)
    assert np.median(angles) < 0.05 and np.quantile(angles, 0.95) < 1  # but for corners of the room
    assert np.isfinite(normals).all(axis=-1).mean() > 0.95
    for row in (0, 1, -2, -1):  # floor and ceiling
        np.testing.assert_allclose(normals[row], FACING[row], atol=2e-3)
    on_ball = np.abs(FACING).max(axis=-1) < 0.999
    balls = np.where(on_ball[..., None], normals, np.nan)
    assert np.median(find_angles(balls)) < 1
    unknown = TRUTH.astype(np.float32)
    unknown[60:64], unknown[70, 8] = np.nan, 0
    around = distance_to_normals(unknown)
    assert np.isnan(around[60:64]).all() and np.isnan(around[70, 8]).all()
    assert np.isfinite(around[59]).mean() > 0.9  # by the rows above


def test_normals_of_views_are_turned_into_the_axes_of_the_panorama() -> None:
    normals = np.stack(
        [
            find_facing(rays, cast(rays)) @ rotation.T
            for rays, rotation in zip(list_rays(), list_views(), strict=True)
        ]
    ).astype(np.float32)
    normals[2, 40:44] = np.nan
    sure = np.stack([2 + rays[..., 1] for rays in list_rays()]).astype(np.float32)
    merged = merge_views(Z.astype(np.float32), "metric", HEIGHT, normals=normals, confidence=sure)
    assert merged.normals is not None and merged.confidence is not None
    angles = find_angles(merged.normals)
    assert np.median(angles) < 0.1 and np.quantile(angles, 0.95) < 5
    np.testing.assert_allclose(merged.confidence, 2 + DIRECTIONS[..., 1], atol=5e-3)
    valid = np.ones(Z.shape, bool)
    valid[:, :, 30:] = False
    some = merge_views(Z.astype(np.float32), "metric", HEIGHT, valid, normals=normals).normals
    assert some is not None and np.quantile(find_angles(some), 0.9) < 5


def test_an_edge_is_found_between_the_last_column_and_the_first() -> None:
    distance = np.full((4, 8), 2, np.float32)
    distance[:, 0] = 3
    edges = find_sphere_edges(distance, 0.05)
    assert edges[:, [0, 1, 7]].all() and not edges[:, 2:7].any()
