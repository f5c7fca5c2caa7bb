"""A model's depth against depth that was made elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cortexia_video import DepthMap, load_estimator, write_depth
from cortexia_video.errors import InputError, ParityError
from cortexia_video.jobs.check_model import check_model


@pytest.fixture
def image(make_image: Callable[..., Path], tmp_path: Path) -> Path:
    return make_image(tmp_path / "a.jpg", (48, 64))


@pytest.mark.parametrize("size", ["full", "native"])
def test_the_same_depth_passes_at_the_images_size_and_the_networks(
    size: str, image: Path, tmp_path: Path
) -> None:
    depth = load_estimator("synthetic", size=size)(image)
    np.save(tmp_path / "expected.npy", depth.values)
    check = check_model("synthetic", image, expect=tmp_path / "expected.npy")
    assert check.passed and check.difference.mean == 0 and check.compared == 1
    assert str(check).startswith("the same: mean difference 0.000%")


def test_other_depth_does_not(image: Path, tmp_path: Path) -> None:
    values = load_estimator("synthetic")(image).values
    np.save(tmp_path / "expected.npy", values + 0.1 * np.ptp(values))
    check = check_model("synthetic", image, expect=tmp_path / "expected.npy")
    assert not check.passed and 0.09 < check.difference.mean < 0.15
    assert check_model("synthetic", image, expect=tmp_path / "expected.npy", max_error=0.2).passed


def test_what_cannot_be_compared_says_why(image: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "small.npy", np.ones((5, 7), np.float32))
    with pytest.raises(
        InputError, match=r"small.npy is 5x7: synthetic gives \d+x\d+, and the image is 48x64"
    ):
        check_model("synthetic", image, expect=tmp_path / "small.npy")
    write_depth(DepthMap(np.ones((48, 64), np.float32), "metric"), tmp_path / "metres.npz")
    with pytest.raises(ParityError, match="disparity depth .* cannot be compared with metric"):
        check_model("synthetic", image, expect=tmp_path / "metres.npz")
    np.save(tmp_path / "nothing.npy", np.full((48, 64), np.nan, np.float32))
    with pytest.raises(ParityError, match="has no depth to compare"):
        check_model("synthetic", image, expect=tmp_path / "nothing.npy")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"f_px": 0.0}, "`f_px` must be a number above 0, got 0"),
        ({"f_px": -3.0}, "`f_px` must be a number above 0, got -3"),
        ({"f_px": 1e9}, "no lens has a focal length of 1e[+]09 pixels"),
        ({"max_error": float("nan")}, "`max_error` must be above 0, got nan"),
    ],
)
def test_numbers_that_cannot_be_are_refused(
    options: dict[str, float], reason: str, image: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "expected.npy", load_estimator("synthetic")(image).values)
    with pytest.raises(InputError, match=reason):
        check_model("synthetic", image, expect=tmp_path / "expected.npy", **options)


@pytest.mark.parametrize("unknown", [np.nan, np.inf])
def test_what_the_file_does_not_know_is_not_compared(unknown: float, image: Path, tmp_path: Path) -> None:
    values = load_estimator("synthetic")(image).values.copy()
    values[:24] = unknown
    np.save(tmp_path / "half.npy", values)
    check = check_model("synthetic", image, expect=tmp_path / "half.npy")
    assert check.passed and check.difference.mean == 0 and check.compared == 0.5
