"""The camera of a point map: made-up points with exact answers, and SciPy's least squares."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cortexia_video.geometry.point_map import place_pixels, solve_camera

CAMERAS = [(0.6, 1.33, 0.0), (0.35, 2.0, 0.8), (1.5, 0.5, -0.7), (4.0, 1.0, 5.0)]  # f, aspect, shift


def make_points(f: float, aspect: float, shift: float, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return points (N, 3) that a camera of `f` widths sees, moved back by `shift`, and where it sees them."""
    rng = np.random.default_rng(0)
    places = place_pixels(40, 60, aspect).reshape(-1, 2).astype(float)
    depth = 2 + abs(shift) + np.sin(places @ (9.0, 7.0)) + rng.random(len(places))
    points = np.column_stack([places * depth[:, None] / f, depth - shift])
    return points * (1 + noise * rng.normal(size=points.shape)), places


def test_pixels_are_placed_by_the_image_not_by_the_map() -> None:
    places = place_pixels(2, 4, aspect=1.5)
    np.testing.assert_allclose(places[0, :, 0], [-0.375, -0.125, 0.125, 0.375])
    np.testing.assert_allclose(places[:, 0, 1], [-0.25 / 1.5, 0.25 / 1.5])


@pytest.mark.parametrize(("f", "aspect", "shift"), CAMERAS)
def test_a_camera_is_found_exactly(f: float, aspect: float, shift: float) -> None:
    points, places = make_points(f, aspect, shift)
    assert solve_camera(points, places) == pytest.approx((f, shift), rel=1e-9, abs=1e-9)
    assert solve_camera(points, places, f) == pytest.approx((f, shift), rel=1e-9, abs=1e-9)
    in_float32 = solve_camera(points.astype(np.float32), places.astype(np.float32))
    assert in_float32 == pytest.approx((f, shift), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("noise", [1e-3, 1e-2])
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(("f", "aspect", "shift"), CAMERAS)
def test_with_noise_the_sum_of_squares_is_scipys(
    f: float, aspect: float, shift: float, known: bool, noise: float
) -> None:
    least_squares = pytest.importorskip("scipy.optimize").least_squares
    points, places = make_points(f, aspect, shift, noise)

    def miss(unknown: np.ndarray) -> np.ndarray:
        focal, moved = (f, unknown[0]) if known else unknown
        return (focal * points[:, :2] / (points[:, 2:] + moved) - places).ravel()

    start = [0.0] if known else [0.5, 0.0]
    tight = dict.fromkeys(("ftol", "xtol", "gtol"), 1e-15)
    expected = least_squares(miss, start, method="lm", **tight).x
    found = solve_camera(points, places, f if known else None)
    np.testing.assert_allclose([*found][known:], expected, rtol=1e-5, atol=1e-6)


def test_another_focal_length_is_another_shift_not_a_factor() -> None:
    points, places = make_points(0.6, 1.33, 0.0)
    near, far = (solve_camera(points, places, f)[1] for f in (0.4, 1.2))
    assert near < 0 < far
    depths = points[:, 2] + near, points[:, 2] + far
    assert min(depths[0]) > 0
    assert np.ptp(depths[1] / depths[0]) > 0.5


@pytest.mark.parametrize(
    "points",
    [np.empty((0, 3)), [[0.1, 0.1, 1.0]], [[0.0, 0.0, 1.0], [0.0, 0.0, 2.0]]],
    ids=["none", "one", "on the axis"],
)
def test_points_that_say_nothing_give_a_usual_camera(points: np.ndarray) -> None:
    places = np.zeros((len(points), 2))
    assert solve_camera(np.asarray(points), places) == (0.5 / math.tan(math.radians(30)), 0.0)
    assert solve_camera(np.asarray(points), places, 2.0) == (2.0, 0.0)


def test_a_plane_that_the_camera_faces_keeps_its_place() -> None:
    places = place_pixels(8, 8, 1.0).reshape(-1, 2)
    points = np.column_stack([places * 3, np.full(len(places), 2.0)])
    assert solve_camera(points, places) == pytest.approx((2 / 3, 0.0))
