"""Colours and sheets: what is near is bright, what is unknown is grey, what is constant is dark."""

from __future__ import annotations

import numpy as np
import pytest

from cortexia_video import collage, colored_depthmap, merge_into_row

DARK, BRIGHT, GREY = [0x44, 0x01, 0x54], [0xFD, 0xE7, 0x25], [128, 128, 128]


def test_the_ends_of_the_range_have_the_ends_of_viridis() -> None:
    image = colored_depthmap(np.array([[1, 5, 3]], np.float32))
    assert image.dtype == np.uint8
    assert (image[0, 0].tolist(), image[0, 1].tolist()) == (DARK, BRIGHT)


def test_limits_can_be_given_and_clip() -> None:
    image = colored_depthmap(np.array([[-9, 0, 10, 99]], np.float32), d_min=0, d_max=10)
    assert image[0].tolist() == [DARK, DARK, BRIGHT, BRIGHT]


def test_unknown_pixels_are_grey_and_constant_maps_dark() -> None:
    assert colored_depthmap(np.array([[np.nan, 1, 2]], np.float32))[0, 0].tolist() == GREY
    assert colored_depthmap(np.full((2, 2), 7, np.float32)).reshape(-1, 3).tolist() == [DARK] * 4
    assert colored_depthmap(np.full((1, 1), np.nan, np.float32))[0, 0].tolist() == GREY


def test_a_row_and_a_sheet_hold_their_pictures() -> None:
    red = np.full((30, 40, 3), (255, 0, 0), np.uint8)
    depth = np.arange(1200, dtype=np.float32).reshape(30, 40)
    row = merge_into_row(red, depth)
    assert row.shape == (30, 80, 3)
    np.testing.assert_array_equal(row[:, :40], red)
    np.testing.assert_array_equal(row[:, 40:], colored_depthmap(depth))
    sheet = collage([(red, depth)] * 3, columns=2, height=60)
    assert sheet.shape == (2 * 68 + 8, 2 * 168 + 8, 3)
    assert ((sheet[..., 0] == 255) & (sheet[..., 1] == 0)).sum() >= 3 * 60 * 79
    with pytest.raises(ValueError, match="at least one sample"):
        collage([])
