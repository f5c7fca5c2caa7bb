"""One length in the scene gives the factor: the camera's height over the ground, or a thing of known size."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import cortexia_video as cx
from cortexia_video.errors import InputError
from cortexia_video.geometry.known_lengths import fit_camera_height, fit_known_length

HEIGHT, WIDTH, F_PX = 90, 120, 100.0
CAMERA = cx.Pinhole.centred(F_PX, WIDTH, HEIGHT)


def make_floor(height_m: float, pitch_deg: float, seed: int = 0, noise: float = 0.0) -> NDArray[np.float64]:
    """Depth of a floor seen from a height by a camera that looks down, with a wall 9 m away and boxes on the floor."""
    rows = np.repeat(np.arange(HEIGHT)[:, None] + 0.5 - HEIGHT / 2, WIDTH, axis=1)
    down = rows / F_PX
    pitch = math.radians(pitch_deg)
    falls = down * math.cos(pitch) + math.sin(pitch)  # how far a ray of depth 1 goes down
    metres = np.minimum(np.where(falls > 0, height_m / np.maximum(falls, 1e-9), np.inf), 9.0)
    random = np.random.default_rng(seed)
    for _ in range(5):
        y, x = random.integers(40, HEIGHT - 20), random.integers(0, WIDTH - 20)
        metres[y : y + 20, x : x + 20] = np.minimum(metres[y : y + 20, x : x + 20], random.uniform(1, 2))
    return metres * (1 + noise * random.standard_normal(metres.shape))


@pytest.mark.parametrize("pitch_deg", [5, 20, 35])
@pytest.mark.parametrize("scale", [0.01, 1, 70])
def test_the_height_of_the_camera_gives_the_factor(pitch_deg: float, scale: float) -> None:
    for seed in range(4):
        metres = make_floor(1.5, pitch_deg, seed, noise=0.01)
        depth = cx.DepthMap((metres / scale).astype(np.float32), "scale_invariant")
        fit = fit_camera_height(depth, CAMERA, 1.5)
        assert fit.scale == pytest.approx(scale, rel=0.02)
        deviation = fit.find_deviation(fit.middle)
        assert deviation is not None and 0 < deviation / (fit.scale * fit.middle) < 0.01


def test_the_camera_may_be_of_a_larger_image() -> None:
    depth = cx.DepthMap(make_floor(1.2, 15).astype(np.float32), "metric", full_size=(4 * HEIGHT, 4 * WIDTH))
    fit = fit_camera_height(depth, cx.Pinhole.centred(4 * F_PX, 4 * WIDTH, 4 * HEIGHT), 2.4)
    assert fit.scale == pytest.approx(2, rel=0.01)


def test_a_wall_is_no_ground() -> None:
    wall = cx.DepthMap(np.full((HEIGHT, WIDTH), 3, np.float32), "scale_invariant")
    with pytest.raises(InputError, match="no ground is found"):
        fit_camera_height(wall, CAMERA, 1.5)
    with pytest.raises(InputError, match="next to no known depth"):
        fit_camera_height(cx.DepthMap(np.full((HEIGHT, WIDTH), np.nan, np.float32), "metric"), CAMERA, 1.5)


def test_a_thing_of_known_size_gives_the_factor() -> None:
    metres = make_floor(1.5, 25)
    depth = cx.DepthMap((metres / 3).astype(np.float32), "scale_invariant")
    ends = []
    for x, y in ((20, 80), (90, 70)):
        z = metres[y, x]
        ends.append(np.array([(x + 0.5 - WIDTH / 2) / F_PX * z, (y + 0.5 - HEIGHT / 2) / F_PX * z, z]))
    length = float(np.linalg.norm(ends[0] - ends[1]))
    fit = fit_known_length(depth, CAMERA, [(20, 80, 90, 70, length)])
    assert fit.scale == pytest.approx(3, rel=1e-5)
    one = fit.find_deviation(1.0)
    assert one is not None and 0.005 < one / 3 < 0.1  # a pixel of some seventy
    both = fit_known_length(depth, CAMERA, [(20, 80, 90, 70, length), (20, 80, 90, 70, 1.2 * length)])
    assert both.scale == pytest.approx(3.3, rel=0.01)
    more = both.find_deviation(1.0)
    assert more is not None and more > 0.25  # they contradict each other


@pytest.mark.parametrize(
    ("length", "message"),
    [
        ((30, 30, 200, 5, 1), "the end 200,5 of a length lies outside of the image of 120 x 90"),
        ((5, 5, 9, 9, 1), "the end 5,5 of a length is where depth is unknown"),
        ((30, 30, 30.2, 30, 1), "begins and ends at one point"),
        ((30, 30, 50, 30, 0), "`size` must be metres above 0"),
    ],
)
def test_a_length_that_is_none_is_refused(length: tuple[float, ...], message: str) -> None:
    depth = cx.DepthMap(make_floor(1.5, 25).astype(np.float32), "metric")
    depth.values[5, 5] = np.nan
    with pytest.raises(InputError, match=message):
        fit_known_length(depth, CAMERA, [length])


def test_a_length_says_nothing_of_depth_without_a_shape() -> None:
    depth = cx.DepthMap(make_floor(1.5, 25).astype(np.float32), "disparity")
    with pytest.raises(
        InputError, match="disparity depth has no shape in space, so that `camera_height` says nothing"
    ):
        fit_camera_height(depth, CAMERA, 1.5)
    with pytest.raises(InputError, match="`size` says nothing of it"):
        fit_known_length(depth, CAMERA, [(1, 1, 9, 9, 1)])


def test_align_takes_a_height_or_a_size(tmp_path: Path) -> None:
    metres = make_floor(1.5, 20)
    depth = cx.DepthMap((metres / 3).astype(np.float32), "scale_invariant", f_px=F_PX, f_source="given")
    cx.write_depth(depth, tmp_path / "depth" / "a.npz")
    span = abs((70 - 50) / F_PX) * metres[85, 60]  # along a row of the floor
    for to, by in (
        (cx.AlignTo(camera_height=1.5), "camera_height"),
        (cx.AlignTo(size=(f"50.5,85,70.5,85={span}",)), "size"),
    ):
        report = cx.align_folder(tmp_path / "depth", tmp_path / by, to, format="npz")
        assert report.done == 1, report.failures
        found = cx.read_depth(tmp_path / by / "a.npz")
        np.testing.assert_allclose(found.values, metres, rtol=0.02)
        assert found.alignment is not None and found.alignment.by == by
        assert found.alignment.uncertainty is not None and found.alignment.uncertainty > 0
    without = cx.DepthMap(depth.values, "scale_invariant")
    cx.write_depth(without, tmp_path / "other" / "a.npz")
    report = cx.align_folder(tmp_path / "other", tmp_path / "x", cx.AlignTo(camera_height=1.5), format="npz")
    assert "no focal length is known" in report.failures[0].reason
    with pytest.raises(InputError, match="`size` must be x1,y1,x2,y2=metres"):
        cx.align_folder(tmp_path / "other", tmp_path / "x", cx.AlignTo(size=("1,2=3",)), format="npz")
