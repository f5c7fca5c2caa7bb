"""An image with its depth: sizes must agree, and what can be used is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortexia_video import DepthMap, Frame, Pinhole, RGBDSample
from cortexia_video.errors import InputError

FRAME = Frame("a", np.zeros((3, 4, 3), np.uint8))
DEPTH = DepthMap(np.ones((3, 4), np.float32), "metric")


def test_what_agrees_is_taken() -> None:
    sample = RGBDSample(FRAME, DEPTH, Pinhole.centred(5, 4, 3), np.ones((3, 4), bool), "rooms")
    assert (sample.key, sample.size, sample.valid_share) == ("a", (3, 4), 1)
    assert RGBDSample(FRAME, DEPTH).camera is None


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"depth": DepthMap(np.ones((4, 3), np.float32), "metric")}, "depth of 3 x 4"),
        ({"depth": DepthMap(np.ones((3, 4), np.float32), "metric", full_size=(6, 8))}, "reduced from 8 x 6"),
        ({"frame": Frame("a", FRAME.image, full_size=(6, 8))}, "an image reduced from 8 x 6"),
        ({"camera": Pinhole.centred(5, 3, 4)}, "a camera for 3 x 4"),
        ({"mask": np.ones((3, 5), bool)}, "a mask of 5 x 3"),
    ],
)
def test_sizes_that_differ_are_refused_and_both_are_named(other: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=f"'a': an image of 4 x 3 and .*{words} pixels"):
        RGBDSample(**{"frame": FRAME, "depth": DEPTH, **other})


def test_a_mask_of_numbers_is_refused() -> None:
    with pytest.raises(InputError, match="must be bool, got uint8"):
        RGBDSample(FRAME, DEPTH, mask=np.ones((3, 4), np.uint8))  # type: ignore[arg-type]


def test_valid_is_what_is_known_a_distance_and_not_masked_out() -> None:
    values = np.array([[1, np.nan, 0, -2, np.inf, 5]], np.float32)
    frame = Frame("a", np.zeros((1, 6, 3), np.uint8))
    mask = np.array([[True, True, True, True, True, False]])
    metric = RGBDSample(frame, DepthMap(values, "metric"), mask=mask)
    assert metric.valid.tolist() == [[True, False, False, False, False, False]]
    assert metric.valid_share == pytest.approx(1 / 6)
    disparity = RGBDSample(frame, DepthMap(values, "disparity"))
    assert disparity.valid.tolist() == [[True, False, True, True, False, True]]
