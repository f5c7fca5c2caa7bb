"""Resampling against Pillow and against numpy's interpolation."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cortexia_video.images import resampling
from cortexia_video.images.resampling import fit_short_side, resize_depth, resize_image

SIDES = st.integers(1, 70)


def interpolate_rows(values: np.ndarray, height: int) -> np.ndarray:
    """Interpolate each column by numpy.interp, in float64."""
    centres = (np.arange(height) + 0.5) * values.shape[0] / height - 0.5
    return np.stack([np.interp(centres, np.arange(values.shape[0]), column) for column in values.T], axis=1)


@given(height=SIDES, width=SIDES, new_height=SIDES, new_width=SIDES, seed=st.integers(0, 99))
def test_depth_is_interpolated_between_pixel_centres(
    height: int, width: int, new_height: int, new_width: int, seed: int
) -> None:
    values = np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)
    expected = interpolate_rows(interpolate_rows(values.astype(float), new_height).T, new_width).T
    np.testing.assert_allclose(resize_depth(values, new_height, new_width), expected, atol=1e-5)


@pytest.mark.parametrize("new", [(1, 41), (3, 50), (41, 1), (30, 2)])
def test_depth_of_large_maps_is_interpolated_in_parts(
    new: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resampling, "_MOST_COLUMNS", 0)
    monkeypatch.setattr(resampling, "_POSITIONS", 7)
    values = np.random.default_rng(1).normal(size=(9, 12)).astype(np.float32)
    expected = interpolate_rows(interpolate_rows(values.astype(float), new[0]).T, new[1]).T
    np.testing.assert_allclose(resize_depth(values, *new), expected, atol=1e-5)


@pytest.mark.parametrize("new", [(1, 5_000_000), (5_000_000, 1)])
def test_the_depth_of_a_line_of_pixels_takes_little_more_than_itself(new: tuple[int, int]) -> None:
    values = np.ones((32, 16), np.float32)
    tracemalloc.start()
    depth = resize_depth(values, *new)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (depth == 1).all()
    assert peak < 3 * depth.nbytes + 50_000_000


def test_enlarging_depth_equals_pillow() -> None:
    values = np.random.default_rng(0).normal(size=(19, 33)).astype(np.float32)
    expected = np.asarray(Image.fromarray(values).resize((500, 301), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(resize_depth(values, 301, 500), expected, atol=1e-5)


def test_depth_of_the_right_size_is_not_touched() -> None:
    values = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    assert resize_depth(values, 5, 6) is values


def test_a_shrunk_image_is_averaged_not_sampled() -> None:
    checker = (np.indices((640, 640)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    small = resize_image(checker, 40, 40).astype(int)
    assert abs(small - 127).max() <= 2


@given(
    height=st.integers(1, 900), width=st.integers(1, 900), new=st.tuples(SIDES, SIDES), seed=st.integers(0, 9)
)
def test_an_image_is_resized_as_pillow_does(height: int, width: int, new: tuple[int, int], seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    expected = Image.fromarray(image).resize(new[::-1], Image.Resampling.BILINEAR, reducing_gap=2.0)
    np.testing.assert_array_equal(resize_image(image, *new), np.asarray(expected))


def test_a_large_image_is_resized_as_pillow_does() -> None:
    image = np.random.default_rng(0).integers(0, 256, (2999, 1777, 3), dtype=np.uint8)
    expected = Image.fromarray(image).resize((192, 320), Image.Resampling.BILINEAR, reducing_gap=2.0)
    np.testing.assert_array_equal(resize_image(image, 320, 192), np.asarray(expected))


@given(height=st.integers(1, 20000), width=st.integers(1, 20000))
def test_processed_size_keeps_the_aspect_ratio(height: int, width: int) -> None:
    fitted = fit_short_side(height, width, short_side=192, multiple_of=32)
    assert all(side % 32 == 0 and 32 <= side <= 8 * 192 for side in fitted)
    if max(height, width) <= 4 * min(height, width):
        assert min(fitted) == 192
        assert max(fitted) == pytest.approx(192 * max(height, width) / min(height, width), abs=16)
