"""Resampling by covered area, and by cubic where a side grows: what OpenCV gives."""

from __future__ import annotations

import numpy as np
import pytest

from cortexia_video.images.resampling import cover_image


def make_image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_pixel_is_the_mean_of_what_it_covers() -> None:
    image = make_image(6, 9)
    means = image.reshape(3, 2, 3, 3, 3).mean(axis=(1, 3))
    np.testing.assert_array_equal(cover_image(image, 3, 3), np.floor(means + 0.5))
    ramp = np.repeat(np.array([0, 90, 30], np.uint8)[:, None, None], 3, axis=2)  # 3 rows to 2: 1.5 each
    np.testing.assert_array_equal(cover_image(ramp, 2, 1)[:, 0, 0], [(0 + 45) / 1.5, (45 + 30) / 1.5])


def test_an_image_of_the_size_stays() -> None:
    image = make_image(5, 7)
    assert cover_image(image, 5, 7) is image


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("size", [(3, 5), (40, 70), (7, 70), (1, 1)])
def test_one_colour_stays_one_colour(level: int, size: tuple[int, int]) -> None:
    assert np.unique(cover_image(np.full((20, 30, 3), level, np.uint8), *size)).tolist() == [level]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((480, 640), (378, 504)),
        ((1008, 756), (504, 378)),
        ((1080, 1920), (284, 504)),
        ((284, 504), (280, 504)),
        ((300, 451), (335, 504)),
        ((283, 504), (280, 518)),
        ((1, 1), (14, 14)),
    ],
)
def test_pixels_are_those_of_opencv(old: tuple[int, int], new: tuple[int, int]) -> None:
    cv2 = pytest.importorskip("cv2")
    grows = new[0] > old[0] or new[1] > old[1]
    image = make_image(*old)
    expected = cv2.resize(image, new[::-1], interpolation=cv2.INTER_CUBIC if grows else cv2.INTER_AREA)
    difference = np.abs(cover_image(image, *new).astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.06  # OpenCV 4 rounds the cubic's weights
