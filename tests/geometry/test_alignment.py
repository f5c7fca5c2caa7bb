"""Metres from known distances: what is recovered, what is refused, what is said of it."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import cortexia_video as cx
from cortexia_video.depth_map import KINDS, Alignment, DepthKind
from cortexia_video.errors import InputError
from cortexia_video.formats.metadata import metadata_of, with_metadata
from cortexia_video.geometry.alignment import apply_fit, fit_samples, join_samples, take_samples

HEIGHT, WIDTH = 60, 80
Array = NDArray[np.floating]
every_kind = pytest.mark.parametrize("kind", KINDS)


def make_metres(seed: int, shape: tuple[int, int] = (HEIGHT, WIDTH)) -> Array:
    """Depth from 1 m to 10 m, each distance in log steps as likely as another."""
    return np.exp(np.random.default_rng(seed).uniform(0, math.log(10), shape))


def make_relative(metres: Array, kind: DepthKind, scale: float, shift: float) -> cx.DepthMap:
    """What a perfect network of this kind says of metres: scale and shift are those that lead back."""
    if kind == "disparity":
        values = (1 / metres - shift) / scale
    else:
        values = (metres - (shift if kind == "affine_invariant" else 0)) / scale
    return cx.DepthMap(values.astype(np.float32), kind)


def take_points(metres: Array, count: int, seed: int, wrong: float = 0.0, noise: float = 0.0) -> Array:
    """Points (count, 3) of a map; a share of them is wrong by a factor of 1.25 to 4, either way."""
    random = np.random.default_rng(seed)
    chosen = random.choice(metres.size, count, replace=False)
    lines, columns = np.divmod(chosen, metres.shape[1])
    found = metres[lines, columns] * (1 + noise * random.standard_normal(count))
    bad = round(wrong * count)
    found[:bad] *= np.exp(random.uniform(math.log(1.25), math.log(4), bad) * random.choice([-1, 1], bad))
    return np.stack([columns + 0.5, lines + 0.5, found], axis=1)


@every_kind
@settings(max_examples=40, deadline=None)
@given(
    scale=st.floats(1e-3, 1e3),
    shift=st.floats(-0.5, 0.5),
    count=st.integers(5, 500),
    wrong=st.floats(0, 0.4),
    seed=st.integers(0, 1000),
)
def test_metres_come_back_whatever_scale_and_shift_were_and_two_of_five_points_are_wrong(
    kind: DepthKind, scale: float, shift: float, count: int, wrong: float, seed: int
) -> None:
    if count < 12:
        wrong = min(wrong, 0.2)  # of so few, two wrong ones and a right one may agree
    metres = make_metres(seed)
    depth = make_relative(metres, kind, scale, shift)
    found = cx.align(depth, take_points(metres, count, seed, wrong))
    known = ~np.isnan(found.values)
    assert known.mean() > 0.999
    np.testing.assert_allclose(found.values[known], metres[known], rtol=1e-3)
    assert found.kind == "metric"
    assert found.alignment is not None
    assert found.alignment.scale == pytest.approx(scale, rel=1e-3)
    assert found.alignment.points_used >= count - round(wrong * count)
    assert found.alignment.points_rejected <= round(wrong * count)


@every_kind
def test_scale_is_within_one_percent_at_thirty_points_of_which_nine_are_wrong(kind: DepthKind) -> None:
    errors = []
    for seed in range(60):
        metres = make_metres(seed)
        depth = make_relative(metres, kind, 0.4, 0.05)
        found = cx.align(depth, take_points(metres, 30, seed, 0.3, noise=0.005))
        errors.append(float(np.nanmedian(found.values / metres)) - 1)
    assert np.abs(errors).max() < 0.01


@every_kind
def test_a_rendered_scene_is_aligned_nearly_as_well_as_by_all_of_its_pixels(kind: DepthKind) -> None:
    pytest.importorskip("torch")
    from cortexia_video.scenes import render_scene

    for seed in range(4):
        scene = render_scene(seed, height=96, width=128)
        metres = scene.depth_m.astype(np.float64)
        there = np.isfinite(metres)
        metres[~there] = np.nan
        random = np.random.default_rng(seed)
        exact = make_relative(metres, kind, 0.3, 0.02).values
        spread = np.nanstd(exact) if kind in ("disparity", "affine_invariant") else exact
        depth = cx.DepthMap((exact + 0.01 * spread * random.standard_normal(exact.shape)).astype("f4"), kind)
        places = np.flatnonzero(there)
        points = take_points(metres.ravel()[places][None], 30, seed, 0.3, noise=0.005)
        chosen = places[np.floor(points[:, 0]).astype(int)]
        points[:, 0], points[:, 1] = chosen % 128 + 0.5, chosen // 128 + 0.5
        found = cx.align(depth, points, unknown_beyond=True)
        best = fit_all_pixels(depth.values[there], metres[there], kind)
        error = np.nanmedian(np.abs(found.values[there] / metres[there] - 1))
        least = np.nanmedian(np.abs(best / metres[there] - 1))
        assert error < least + 0.01
        assert found.alignment is not None
        assert abs(found.alignment.scale / 0.3 - 1) < 0.03


def fit_all_pixels(values: Array, metres: Array, kind: DepthKind) -> Array:
    """Metres by least squares on all pixels, as numpy's solver has it: what a robust fit of 30 is held against."""
    if kind == "disparity":
        scale, shift = np.polyfit(values, 1 / metres, 1)
        return 1 / (scale * values + shift)
    if kind == "affine_invariant":
        return np.polyval(np.polyfit(values, metres, 1, w=1 / metres), values)
    share = values / metres
    return values * share.sum() / (share**2).sum()


@every_kind
def test_the_fit_without_outliers_is_that_of_scikit_learn(kind: DepthKind) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    metres = make_metres(3)
    depth = make_relative(metres, kind, 2, 0.01)
    points = take_points(metres, 200, 3, noise=0.02)
    values = depth.values[points[:, 1].astype(int), points[:, 0].astype(int)].astype(np.float64)
    inverse, both = kind == "disparity", kind in ("disparity", "affine_invariant")
    target = 1 / points[:, 2] if inverse else points[:, 2]
    weights = None if inverse else 1 / points[:, 2] ** 2
    model = linear_model.LinearRegression(fit_intercept=both).fit(values[:, None], target, weights)
    found = cx.align(depth, points).alignment
    assert found is not None
    assert found.scale == pytest.approx(model.coef_[0], rel=0.02)
    assert found.shift == pytest.approx(model.intercept_, abs=0.02)


@every_kind
@settings(max_examples=30, deadline=None)
@given(factor=st.floats(1e-4, 1e4), shift=st.floats(-3, 3), seed=st.integers(0, 99))
def test_metres_do_not_depend_on_the_relative_maps_scale_and_shift(
    kind: DepthKind, factor: float, shift: float, seed: int
) -> None:
    metres = make_metres(seed)
    points = take_points(metres, 40, seed, 0.2, noise=0.01)
    depth = make_relative(metres, kind, 1, 0)
    moved = depth.values * factor + (shift * factor if kind in ("disparity", "affine_invariant") else 0)
    first, second = cx.align(depth, points), cx.align(replace(depth, values=moved), points)
    np.testing.assert_allclose(first.values, second.values, rtol=2e-4)
    assert first.alignment is not None and second.alignment is not None
    assert first.alignment.points_used == second.alignment.points_used


def test_heavier_points_decide() -> None:
    metres = make_metres(0)
    points = take_points(metres, 40, 0)
    points[:24, 2] *= 2  # three of five say another scale ...
    weights = np.where(np.arange(40) < 24, 1.0, 10.0)  # ... and weigh less
    found = cx.align(make_relative(metres, "scale_invariant", 1, 0), np.c_[points, weights])
    np.testing.assert_allclose(found.values, metres, rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "needed"), [("scale_invariant", 1), ("affine_invariant", 2), ("disparity", 2)]
)
def test_too_few_points_are_refused_with_their_number(kind: DepthKind, needed: int) -> None:
    metres = make_metres(0)
    depth, points = make_relative(metres, kind, 1, 0), take_points(metres, needed, 0)
    np.testing.assert_allclose(cx.align(depth, points).values, metres, rtol=1e-4)
    outside = [[-1, 5, 2.0], [WIDTH, 5, 2.0], [5, 5, math.nan], [math.nan, 5, 2.0], [5, 5, -3.0], [5, 5, 0]]
    message = f"{needed - 1} known distances .6 more are outside.* {kind} depth needs {needed} or more"
    with pytest.raises(InputError, match=message):
        cx.align(depth, [*points[: needed - 1].tolist(), *outside])


def test_points_on_one_value_do_not_fix_a_shift() -> None:
    depth = cx.DepthMap(np.ones((4, 4), np.float32), "disparity")
    with pytest.raises(InputError, match="one value, 1, at all 3 known distances"):
        cx.align(depth, [(0, 0, 1.0), (1, 1, 2.0), (2, 2, 3.0)])


@pytest.mark.parametrize("kind", ["affine_invariant", "disparity"])
def test_near_and_far_swapped_are_refused(kind: DepthKind) -> None:
    metres = make_metres(1)
    depth = make_relative(metres, kind, -1, 12)
    with pytest.raises(InputError, match="as if near and far were swapped"):
        cx.align(depth, take_points(metres, 20, 1))


@pytest.mark.parametrize("kind", ["affine_invariant", "disparity"])
def test_a_shift_that_makes_depth_negative_is_refused_or_its_pixels_are_unknown(kind: DepthKind) -> None:
    inverse = kind == "disparity"
    values = np.linspace(0, 1, 100, dtype=np.float32)[None].repeat(4, 0)
    depth = cx.DepthMap(values, kind)
    fitted = values.astype(np.float64) - 0.3  # the first 30 % have no depth
    points = [(x + 0.5, 1, 1 / fitted[1, x] if inverse else fitted[1, x]) for x in range(40, 100, 5)]
    with pytest.raises(InputError, match="(beyond infinity|negative).*unknown_beyond"):
        cx.align(depth, points)
    found = cx.align(depth, points, unknown_beyond=True)
    np.testing.assert_array_equal(np.isnan(found.values), fitted <= 0)


def test_a_stray_pixel_beyond_infinity_is_unknown_and_costs_nothing() -> None:
    metres = make_metres(2)
    depth = make_relative(metres, "disparity", 1, 0)
    depth.values[7, 7] = -0.01
    found = cx.align(depth, take_points(metres, 20, 2))
    assert np.isnan(found.values[7, 7]) and np.isnan(found.values).sum() == 1


def test_sky_that_noise_puts_beyond_infinity_is_unknown() -> None:
    metres = make_metres(2)
    depth = make_relative(metres, "disparity", 1, 0)
    depth.values[:20] = -1e-4
    points = take_points(metres, 60, 2, noise=0.02)
    found = cx.align(depth, points[points[:, 1] > 20])
    assert np.isnan(found.values[:20]).all() or (found.values[:20] > 100).all()


def test_metric_depth_gets_a_factor_and_a_warning_that_says_how_far_off_it_was(
    caplog: pytest.LogCaptureFixture,
) -> None:
    metres = make_metres(4)
    depth = cx.DepthMap((metres / 1.25).astype(np.float32), "metric", f_px=70.0, model="m")
    with caplog.at_level(logging.WARNING):
        found = cx.align(depth, take_points(metres, 10, 4))
    np.testing.assert_allclose(found.values, metres, rtol=1e-4)
    assert "1.25" in caplog.text
    assert (found.f_px, found.model) == (70.0, "m")


def test_a_sensors_map_with_holes_is_as_good_as_points() -> None:
    metres = make_metres(5)
    sensor = np.where(np.random.default_rng(5).random(metres.shape) < 0.3, metres, np.nan)
    sensor[0, 0] = 0  # unknown, as some sensors say it
    depth = make_relative(metres, "disparity", 0.3, 0.02)
    found = cx.align(depth, cx.DepthMap(sensor.astype(np.float32), "metric"))
    np.testing.assert_allclose(found.values, metres, rtol=1e-3)
    with pytest.raises(InputError, match="disparity, not metric"):
        cx.align(depth, depth)
    with pytest.raises(InputError, match="image of 10 x 20"):
        cx.align(depth, cx.DepthMap(np.ones((20, 10), np.float32), "metric"))


def test_points_are_in_pixels_of_the_whole_image() -> None:
    metres = make_metres(6)
    depth = replace(make_relative(metres, "disparity", 1, 0), full_size=(HEIGHT * 8, WIDTH * 8))
    points = take_points(metres, 20, 6)
    points[:, :2] *= 8
    np.testing.assert_allclose(cx.align(depth, points).values, metres, rtol=1e-4)


def test_the_alignment_says_how_good_it_is() -> None:
    metres = make_metres(7)
    depth = make_relative(metres, "disparity", 0.5, 0.01)
    points = take_points(metres, 200, 7, 0.1, noise=0.02)
    points = points[points[:, 2] > 3]
    found = cx.align(depth, points, by="tape").alignment
    assert found is not None
    errors = np.abs(
        found.scale * depth.values[points[:, 1].astype(int), points[:, 0].astype(int)] + found.shift
    )
    shares = np.abs(1 / errors / points[:, 2] - 1)
    assert found.by == "tape" and found.kind == "disparity"
    assert found.points_used + found.points_rejected == len(points)
    used = np.sort(shares)[: found.points_used]
    assert found.residual_share == pytest.approx(np.median(used), rel=0.1)
    assert found.residual_m is not None and 0.01 < found.residual_m < 0.3
    assert found.held_out_share is not None and 0.003 < found.held_out_share < 0.06
    assert found.uncertainty is not None and 0 < found.uncertainty < 0.01
    assert found.near_m >= 3
    near_share = (metres < found.near_m * 0.98).mean()
    assert found.beyond == pytest.approx(near_share, abs=0.05)
    assert len(found.residual_grid) == 9


def test_uncertainty_is_that_of_repeated_measurements() -> None:
    found, said = [], []
    for seed in range(80):
        metres = make_metres(1)
        points = take_points(metres, 30, seed, noise=0.02)
        alignment = cx.align(make_relative(metres, "scale_invariant", 1, 0), points).alignment
        assert alignment is not None and alignment.uncertainty is not None
        found.append(alignment.scale)
        said.append(alignment.uncertainty)
    assert np.median(said) == pytest.approx(np.std(found), rel=0.35)


def test_where_a_map_fits_badly_is_said_by_ninths() -> None:
    metres = make_metres(8)
    depth = make_relative(metres, "scale_invariant", 1, 0)
    depth.values[:20, :26] *= 1.5
    found = cx.align(depth, take_points(metres, 400, 8)).alignment
    assert found is not None
    assert found.residual_grid[0] == pytest.approx(0.5, abs=0.01)
    assert max(abs(each or 0) for each in found.residual_grid[2:]) < 0.01


def test_an_alignment_travels_in_metadata() -> None:
    metres = make_metres(9)
    depth = cx.align(make_relative(metres, "disparity", 1, 0), take_points(metres, 20, 9, 0.2))
    said = json.loads(json.dumps(metadata_of(depth)))
    assert said["aligned_by"] == "points"
    assert with_metadata(depth.values, said).alignment == depth.alignment
    for name, wrong in (("scale", "1"), ("kind", "other"), ("points_used", math.inf), ("share", 3)):
        with pytest.raises(ValueError, match=name):
            Alignment.from_dict({**said["alignment"], name: wrong})
    with pytest.raises(ValueError, match="not whole"):
        Alignment.from_dict({"by": "points", "kind": "metric"})


def test_one_fit_can_be_that_of_many_images() -> None:
    maps = [make_metres(seed) for seed in range(5)]
    depths = [make_relative(each, "disparity", 0.7, 0.03) for each in maps]
    taken = [take_samples(depth, take_points(each, 8, 1)) for depth, each in zip(depths, maps, strict=True)]
    nothing = take_samples(depths[0], [])
    fit = fit_samples(join_samples([*taken, nothing]), "disparity")
    assert (fit.scale, fit.shift) == pytest.approx((0.7, 0.03), rel=1e-3)
    found = apply_fit(depths[0], fit, nothing, "known", share="all")
    np.testing.assert_allclose(found.values, maps[0], rtol=1e-3)
    assert found.alignment is not None
    assert (found.alignment.points_used, found.alignment.residual_m) == (0, None)


def test_samples_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(N, 3\).*\(2,\)"):
        cx.align(cx.DepthMap(np.ones((2, 2), np.float32), "metric"), [1.0, 2.0])
