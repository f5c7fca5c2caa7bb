"""A sensor's depth with holes, as a map: samples laid into it, and scikit-learn's neighbours where it is filled."""

from __future__ import annotations

import numpy as np
import pytest

import cortexia_video as cx
from cortexia_video.errors import InputError
from cortexia_video.geometry.sparse_map import fill_holes, shrink_sparse, to_sparse_map

NAN = np.float32(np.nan)


def make_sparse(height: int, width: int, share: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 9, (height, width)).astype(np.float32)
    return np.where(rng.random((height, width)) < share, depth, NAN)


@pytest.mark.parametrize(
    ("size", "share"), [((40, 60), 0.02), ((30, 30), 0.5), ((9, 100), 0.1), ((64, 5), 0.9)]
)
def test_a_hole_is_the_mean_of_its_four_nearest(size: tuple[int, int], share: float) -> None:
    neighbours = pytest.importorskip("sklearn.neighbors")
    known = make_sparse(*size, share)
    known[: size[0] // 2, : size[1] // 3] = NAN  # far from any
    filled, places, holes = fill_holes(known), np.argwhere(~np.isnan(known)), np.argwhere(np.isnan(known))
    values = known[tuple(places.T)]
    np.testing.assert_array_equal(filled[tuple(places.T)], values)
    distances, found = neighbours.NearestNeighbors(n_neighbors=5).fit(places).kneighbors(holes)
    clear = distances[:, 3] < distances[:, 4] - 1e-9  # of the others several fours are as near
    assert clear.sum() > 20
    expected = values[found[:, :4]].mean(axis=1)
    np.testing.assert_allclose(filled[tuple(holes.T)][clear], expected[clear], rtol=1e-6)


def test_fewer_than_four_points_are_all_that_is_near() -> None:
    known = np.full((20, 30), NAN, np.float32)
    known[3, 4], known[15, 20] = 2, 4
    filled = fill_holes(known)
    assert (filled[3, 4], filled[15, 20], filled[0, 0]) == (2, 4, 3) and np.isfinite(filled).all()


def test_samples_are_laid_where_they_are_and_the_nearest_stands() -> None:
    samples = [(0, 0, 5.0), (0.9, 0.2, 3.0), (639, 479, 7.0), (640, 10, 1.0), (5, 5, -1.0), (5, 5, np.nan)]
    found = to_sparse_map(samples, 640, 480)
    assert found.shape == (384, 512) and found.dtype == np.float32
    assert {tuple(each): found[tuple(each)] for each in np.argwhere(np.isfinite(found))} == {
        (0, 0): 3,
        (383, 511): 7,
    }


def test_a_sensors_map_keeps_its_size_and_loses_what_is_no_distance() -> None:
    values = np.array([[1.5, 0, np.inf], [-2, np.nan, 4]], np.float32)
    found = to_sparse_map(cx.DepthMap(values, "metric"), 1200, 800)
    np.testing.assert_array_equal(found, [[1.5, NAN, NAN], [NAN, NAN, 4]])
    assert values[0, 1] == 0


def test_a_finer_map_shrinks_without_losing_points() -> None:
    known = np.full((100, 200), NAN, np.float32)
    known[7, 9], known[8, 8], known[99, 199] = 3, 2, 5
    found = shrink_sparse(known, 10, 20)
    assert {tuple(each): found[tuple(each)] for each in np.argwhere(np.isfinite(found))} == {
        (0, 0): 2,
        (9, 19): 5,
    }
    assert shrink_sparse(known, 100, 300) is known


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (
            cx.DepthMap(np.ones((4, 6), np.float32), "disparity"),
            "is disparity, not metric: it says no metres",
        ),
        (cx.DepthMap(np.ones((4, 5), np.float32), "metric"), "of an image of 5 x 4, this one has 600 x 400"),
        (cx.DepthMap(np.full((4, 6), NAN), "metric"), "has no point in the image with a distance above 0"),
        ([(700, 20, 2.0)], "has no point in the image with a distance above 0"),
        (
            np.ones((4, 6), np.float32),
            r"a metric DepthMap, or samples \(N, 3\), x, y and metres, not \(4, 6\)",
        ),
    ],
)
def test_what_says_nothing_of_an_image_is_refused(known: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        to_sparse_map(known, 600, 400)  # type: ignore[arg-type]
