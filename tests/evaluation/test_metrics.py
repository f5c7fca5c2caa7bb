"""Metrics, alignment and baselines agree with numbers that were computed elsewhere."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.linear_model import LinearRegression, QuantileRegressor
from sklearn.metrics import (
    mean_absolute_error,
    mean_absolute_percentage_error,
    root_mean_squared_error,
    root_mean_squared_log_error,
)

from cortexia_video.depth_map import KINDS
from cortexia_video.errors import InputError
from cortexia_video.evaluation.baselines import BASELINES, depth_by_row, disparity_by_row, median_depth
from cortexia_video.evaluation.metrics.alignment import (
    ALIGNMENTS,
    align,
    align_disparity,
    fit_scale_and_shift,
)
from cortexia_video.evaluation.metrics.depth_metrics import PIXEL_METRICS, score_pixels
from cortexia_video.evaluation.metrics.pixel_sums import add_sums, measure_pixels, sum_errors

SHARED = Path(__file__).parents[3] / "shared" / "data"
# AbsRel and delta1 of two baselines, mean over the frames: shared/data/SOURCES.md, which others measured
PUBLISHED = {
    "felixchenfy": ((0.495, 0.367), (0.345, 0.477)),
    "kitti-demo": ((0.482, 0.244), (0.318, 0.432)),
    "nyu-demo": ((0.247, 0.624), (0.246, 0.646)),
    "motorcycle": ((0.212, 0.551), (0.148, 0.789)),
}


SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
ERRORS = [name for name, metric in PIXEL_METRICS.items() if metric.better == "smaller"]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def score(depth, reference, mask=None):
    return score_pixels(
        measure_pixels(depth, reference, np.ones(depth.shape, bool) if mask is None else mask)
    )


def make_pair(size):
    height, width, seed = size
    rng = np.random.default_rng(seed)
    return rng.uniform(0.1, 80, (height, width)), rng.uniform(0.1, 80, (height, width)), rng


@pytest.mark.parametrize("shape", [(7, 5), (300, 200)])  # within a block of pixels, and over many
def test_metrics_agree_with_scikit_learn(rng, shape):
    depth, reference = rng.uniform(0.5, 9, shape), rng.uniform(0.5, 9, shape)
    mask = rng.random(shape) < 0.6
    found = score(depth, reference, mask)
    d, r = depth[mask], reference[mask]
    expected = {
        "abs_rel": mean_absolute_percentage_error(r, d),
        "sq_rel": np.average((r - d) ** 2 / r),
        "rmse": root_mean_squared_error(r, d),
        "rmse_log": root_mean_squared_log_error(r - 1, d - 1),  # scikit-learn adds one
        "log10": mean_absolute_error(np.log10(r), np.log10(d)),
        "silog": 100 * np.std(np.log(d) - np.log(r)),
        "mae": mean_absolute_error(r, d),
        "irmse": 1000 * root_mean_squared_error(1 / r, 1 / d),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-11), name


def test_shares_agree_with_loops_over_pixels(rng):
    depth, reference = rng.uniform(0.5, 2, (7, 5)), rng.uniform(0.5, 2, (7, 5))
    found = score(depth, reference)
    limits = {"delta_105": 1.05, "delta_110": 1.1, "delta1": 1.25, "delta2": 1.5625, "delta3": 1.953125}
    for name, limit in limits.items():
        hits = sum(max(d / r, r / d) < limit for d, r in zip(depth.flat, reference.flat, strict=True))
        assert found[name] == pytest.approx(hits / 35, abs=1e-15)


@given(SIZES)
def test_a_perfect_map_scores_perfectly_to_the_last_bit(size):
    depth, _, _ = make_pair(size)
    for name, value in score(depth, depth).items():
        assert value == (0 if name in ERRORS else 1)


@given(SIZES, st.floats(0.01, 100))
def test_silog_does_not_see_a_factor(size, factor):
    depth, reference, _ = make_pair(size)
    expected = score(depth, reference)["silog"]
    assert score(depth * factor, reference)["silog"] == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(SIZES, st.sampled_from([0.25, 0.5, 4.0, 1024.0]))
def test_ratios_do_not_see_a_common_unit(size, factor):
    depth, reference, _ = make_pair(size)
    found, expected = score(depth * factor, reference * factor), score(depth, reference)
    for name in ("abs_rel", "delta1", "delta2", "delta3", "silog", "rmse_log", "log10"):
        assert found[name] == pytest.approx(expected[name], rel=1e-12)


@given(SIZES)
def test_the_order_of_pixels_does_not_matter(size):
    depth, reference, rng = make_pair(size)
    order = rng.permutation(depth.size)
    found = score(depth.ravel()[order][None], reference.ravel()[order][None])
    assert found == pytest.approx(score(depth, reference), rel=1e-9, abs=1e-9)


@given(SIZES)
def test_a_mask_is_the_same_as_leaving_pixels_out(size):
    depth, reference, rng = make_pair(size)
    mask = rng.random(depth.shape) < 0.5
    mask[0, 0] = True
    spoiled = np.where(mask, depth, rng.choice([np.nan, np.inf, -1.0, 1e30], depth.shape))
    assert score(spoiled, reference, mask) == score(depth[mask][None], reference[mask][None])


@given(SIZES)
def test_twice_the_error_is_no_better(size):
    _, reference, rng = make_pair(size)
    noise = rng.normal(0, 0.1, reference.shape)
    scores = [score(reference * np.exp(amount * noise), reference) for amount in (0.5, 1.0, 2.0)]
    for name, metric in PIXEL_METRICS.items():
        values = [each[name] for each in scores]
        assert values == sorted(values, reverse=metric.better == "larger"), name


@pytest.mark.parametrize("wrong", [0.0, -2.0])
def test_depth_of_zero_or_less_is_refused_with_the_remedy(wrong):
    with pytest.raises(ValueError, match="1 of 4 measured pixels are not above 0: clip"):
        score(np.array([[2.0, wrong, 2.0, 2.1]]), np.full((1, 4), 2.0))


def test_metrics_refuse_what_cannot_be_measured():
    ones = np.ones((2, 2))
    with pytest.raises(ValueError, match="mask is empty"):
        score(ones, ones, np.zeros((2, 2), bool))
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        score(np.ones((2, 3)), ones, np.ones((2, 2), bool))
    with pytest.raises(ValueError, match="1 of 4 measured pixels"):
        score(np.array([[1, np.nan], [1, 1]]), ones)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_sums_over_a_data_set_are_those_of_one_large_image_in_any_order(seed):
    rng = np.random.default_rng(seed)
    pairs = [rng.uniform(0.1, 80, (2, 3, int(rng.integers(1, 9)))) for _ in range(6)]
    parts = [measure_pixels(*pair, np.ones(pair[0].shape, bool)) for pair in pairs]
    total = add_sums(iter(parts))
    assert add_sums([parts[index] for index in rng.permutation(6)]) == total
    whole = np.concatenate(pairs, axis=2)
    assert score_pixels(total) == pytest.approx(score(*whole), rel=1e-11)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 4), st.integers(1, 6), st.sampled_from([1e-3, 0.4, 2.0]))
def test_unknown_pixels_count_at_the_worse_end_for_each_metric(seed, known, unknown, low):
    """As the worst of all ways to put each unknown pixel at the one end or the other."""
    rng = np.random.default_rng(seed)
    reference, high = rng.uniform(0.5, 9, known + unknown), 10.0
    depth = reference * np.exp(rng.normal(0, 0.3, reference.size))
    depth[known:] = np.nan
    ways = [
        score(np.concatenate([depth[:known], ends])[None], reference[None])
        for ends in itertools.product((low, high), repeat=unknown)
    ]
    found = score_pixels(sum_errors(depth, reference, (low, high)))
    assert found.pop("coverage") == pytest.approx(known / reference.size)
    for name, value in found.items():
        worst = (max if PIXEL_METRICS[name].better == "smaller" else min)(way[name] for way in ways)
        assert value == pytest.approx(worst, rel=1e-7, abs=1e-9), name


def test_unknown_pixels_of_many_images_add_up(rng):
    reference = rng.uniform(1, 5, (3, 40))
    depth = np.where(rng.random((3, 40)) < 0.3, np.nan, 1.1 * reference)
    parts = [sum_errors(*pair, (1e-3, 10.0)) for pair in zip(depth, reference, strict=True)]
    total, whole = score_pixels(add_sums(parts)), sum_errors(depth.ravel(), reference.ravel(), (1e-3, 10.0))
    assert total["coverage"] == pytest.approx(np.isfinite(depth).mean())
    for name, value in score_pixels(whole).items():
        if name != "silog":  # whose worst case is of all images together, here that of each
            assert total[name] == pytest.approx(value, rel=1e-9), name


def test_no_image_adds_up_to_an_error():
    with pytest.raises(ValueError, match="no image"):
        add_sums([])


def test_metrics_agree_with_the_published_numbers_of_fastdepth():
    folder = SHARED / "fastdepth-selfcheck"
    if not folder.exists():
        pytest.skip(f"{folder} is not here")
    reference = np.load(folder / "depth.npy")
    depth = np.load(folder / "pred.npy").squeeze()
    mask = reference > 0
    assert mask.sum() == 50_176
    found = score(depth, reference, mask)
    assert found["abs_rel"] == pytest.approx(0.140498, abs=5e-7)
    assert found["delta1"] == pytest.approx(0.777264, abs=5e-7)
    assert found["delta2"] == pytest.approx(0.964725, abs=1e-6)  # it is 48,406 pixels: 0.9647242
    assert found["delta3"] == pytest.approx(0.999621, abs=5e-7)
    assert found["rmse"] == pytest.approx(0.618001, abs=5e-7)
    assert found["mae"] == pytest.approx(0.422242, abs=5e-7)
    assert found["log10"] == pytest.approx(0.062049, abs=5e-7)


@pytest.mark.parametrize(
    ("name", "depth", "reference", "expected", "within"),
    [
        # lightning.ai/docs/torchmetrics: the examples of MeanAbsolutePercentageError and MeanSquaredError
        ("abs_rel", [0.9, 15, 1.2e6], [1, 10, 1e6], 0.2667, 5e-5),
        ("rmse", [3, 5, 2.5, 7], [2.5, 5, 4, 8], 0.8750**0.5, 5e-5),
        # scikit-learn.org: that of mean_squared_log_error, 0.039...; ln(1 + x) there
        ("rmse_log", [3.5, 6, 5, 9], [4, 6, 3.5, 8], 0.0395**0.5, 1.3e-3),
    ],
)
def test_metrics_agree_with_worked_examples(name, depth, reference, expected, within):
    found = score(np.array([depth], float), np.array([reference], float))
    assert found[name] == pytest.approx(expected, abs=within)


def test_alignment_undoes_any_scale_and_shift(rng):
    reference = rng.uniform(1, 20, (9, 11))
    mask = rng.random((9, 11)) < 0.7
    disparity = 3.5 / reference - 12
    assert align_disparity(disparity, reference, mask, max_depth_m=100) == pytest.approx(reference)


def test_alignment_is_the_least_squares_solution(rng):
    values, target = rng.normal(size=(6, 7)), rng.normal(size=(6, 7))
    mask = rng.random((6, 7)) < 0.5
    columns = np.stack([values[mask], np.ones(mask.sum())], axis=1)
    expected = np.linalg.lstsq(columns, target[mask], rcond=None)[0]
    assert fit_scale_and_shift(values, target, mask) == pytest.approx(tuple(expected))


@pytest.mark.parametrize("alignment", sorted(ALIGNMENTS))
@pytest.mark.parametrize("kind", KINDS)
def test_every_alignment_undoes_what_it_may_or_is_refused_by_name(rng, alignment, kind):
    reference = rng.uniform(1, 20, (9, 11))
    mask = rng.random((9, 11)) < 0.7
    how = ALIGNMENTS[alignment]
    if kind not in how.kinds:
        with pytest.raises(InputError, match=f"{kind} depth does not allow the alignment '{alignment}'"):
            align(reference, kind, reference, mask, alignment, max_depth_m=100)
        return
    values = 3.5 / reference - 12 if kind == "disparity" else reference.copy()
    if alignment != "none" and kind != "disparity":
        values *= 3
    if "affine" in alignment:
        values += 7
    values[0, 0] = np.nan
    aligned = align(values, kind, reference, mask, alignment, max_depth_m=100)
    assert aligned.ravel()[1:] == pytest.approx(reference.ravel()[1:], rel=1e-6)
    assert np.isnan(aligned[0, 0])


def test_scale_fits_agree_with_scikit_learn(rng):
    x, y = rng.uniform(1, 9, 60), rng.uniform(1, 9, 60)
    scale = LinearRegression(fit_intercept=False).fit(x[:, None], y).coef_[0]
    assert ALIGNMENTS["scale"].fit(x, y).scale == pytest.approx(scale, rel=1e-12)
    assert ALIGNMENTS["median"].fit(x, y).scale == np.median(y) / np.median(x)


@pytest.mark.parametrize("alignment", ["scale_l1", "affine_l1"])
def test_robust_fits_agree_with_the_linear_programme(rng, alignment):
    x = rng.uniform(1, 9, 81)
    y = 2 * x + 1 + rng.normal(0, 0.2, 81)
    y[:9] *= 5
    fitted = QuantileRegressor(alpha=0, fit_intercept=alignment == "affine_l1", solver="highs").fit(
        x[:, None], y, sample_weight=1 / y
    )
    scale, shift = ALIGNMENTS[alignment].fit(x, y)
    assert (scale, shift) == pytest.approx((fitted.coef_[0], fitted.intercept_), rel=1e-4)


def test_a_trimmed_fit_does_not_see_a_fifth_that_is_wrong(rng):
    x = rng.uniform(1, 9, 100)
    y = 2 * x + 1
    y[:19] += 30
    assert ALIGNMENTS["affine_trimmed"].fit(x, y) == pytest.approx((2, 1))


def test_an_unknown_alignment_names_those_there_are():
    ones = np.ones((2, 2))
    with pytest.raises(InputError, match="'best': use one of none, median"):
        align(ones, "metric", ones, ones > 0, "best", max_depth_m=10)


def test_alignment_clamps_at_the_largest_depth(rng):
    reference = rng.uniform(1, 3, (5, 5))
    disparity = 1 / reference
    disparity[2, 2] = -5
    mask = np.ones((5, 5), bool)
    mask[2, 2] = False
    depth = align_disparity(disparity, reference, mask, max_depth_m=10)
    assert depth[2, 2] == pytest.approx(10)
    assert depth.max() == pytest.approx(10)


def test_alignment_ignores_unknown_reference_and_keeps_its_inputs(rng):
    reference = rng.uniform(1, 3, (5, 5)).astype(np.float32)
    reference[0] = 0
    disparity = rng.random((5, 5)).astype(np.float32)
    before = disparity.copy(), reference.copy()
    align_disparity(disparity, reference, reference > 0, max_depth_m=10)
    assert np.array_equal(disparity, before[0])
    assert np.array_equal(reference, before[1])


def test_a_constant_disparity_aligns_to_a_constant(rng):
    reference = rng.uniform(1, 3, (5, 5))
    depth = align_disparity(np.ones((5, 5)), reference, np.ones((5, 5), bool), max_depth_m=10)
    assert depth == pytest.approx(np.full((5, 5), 1 / np.mean(1 / reference)))


def test_row_baselines_are_exact_on_what_they_describe():
    rows = np.repeat(np.arange(8.0)[:, None], 5, axis=1)
    mask = np.ones((8, 5), bool)
    floor = 1 / (0.1 + 0.05 * rows)
    assert disparity_by_row(floor, mask, 100.0) == pytest.approx(floor)
    ramp = 1 + 0.5 * rows
    assert depth_by_row(ramp, mask, 100.0) == pytest.approx(ramp)
    assert median_depth(ramp, mask, 100.0) == pytest.approx(np.full((8, 5), np.median(ramp)))


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_baselines_agree_with_the_published_numbers(name):
    folder = SHARED / "rgbd" / name
    if not folder.exists():
        pytest.skip(f"{folder} is not here")
    about = json.loads((folder / "set.json").read_text())
    limit = about["max_depth_m"]
    scores = []
    for frame in about["frames"]:
        depth_m = np.asarray(Image.open(folder / frame["depth"])) / about["depth_scale"]
        mask = np.isfinite(depth_m) & (depth_m > 0) & (depth_m <= limit)
        guesses = [BASELINES[key](depth_m, mask, limit) for key in ("median depth", "depth linear in row")]
        found = [score(np.maximum(guess, 1e-3), depth_m, mask) for guess in guesses]
        scores.append([(each["abs_rel"], each["delta1"]) for each in found])
    assert np.mean(scores, axis=0) == pytest.approx(np.array(PUBLISHED[name]), abs=0.0015)
