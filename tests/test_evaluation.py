"""Metrics, alignment and baselines agree with numbers that were computed elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cortexia_video.evaluation.alignment import align_disparity, fit_scale_and_shift
from cortexia_video.evaluation.baselines import BASELINES, depth_by_row, disparity_by_row, median_depth
from cortexia_video.evaluation.metrics import abs_rel, delta1, known_mask

SHARED = Path(__file__).parents[2] / "shared" / "data"
# AbsRel and delta1 of two baselines, mean over the frames: shared/data/SOURCES.md, which others measured
PUBLISHED = {
    "felixchenfy": ((0.495, 0.367), (0.345, 0.477)),
    "kitti-demo": ((0.482, 0.244), (0.318, 0.432)),
    "nyu-demo": ((0.247, 0.624), (0.246, 0.646)),
    "motorcycle": ((0.212, 0.551), (0.148, 0.789)),
}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_a_perfect_map_scores_perfectly(rng):
    depth = rng.uniform(1, 5, (6, 8))
    mask = np.ones((6, 8), bool)
    assert abs_rel(depth, depth, mask) == 0
    assert delta1(depth, depth, mask) == 1


def test_metrics_agree_with_loops_over_pixels(rng):
    depth, reference = rng.uniform(0.5, 9, (7, 5)), rng.uniform(0.5, 9, (7, 5))
    mask = rng.random((7, 5)) < 0.6
    errors, hits = [], 0
    for y, x in zip(*np.nonzero(mask), strict=True):
        errors.append(abs(depth[y, x] - reference[y, x]) / reference[y, x])
        hits += max(depth[y, x] / reference[y, x], reference[y, x] / depth[y, x]) < 1.25
    assert abs_rel(depth, reference, mask) == pytest.approx(sum(errors) / len(errors), rel=1e-12)
    assert delta1(depth, reference, mask) == pytest.approx(hits / len(errors), rel=1e-12)


def test_what_the_mask_leaves_out_does_not_count(rng):
    reference = rng.uniform(1, 5, (4, 4))
    depth = reference.copy()
    depth[0, 0], depth[1, 1] = np.nan, 1e9
    mask = np.ones((4, 4), bool)
    mask[0, 0] = mask[1, 1] = False
    assert abs_rel(depth, reference, mask) == 0


def test_depth_of_zero_or_less_is_a_miss_not_a_crash():
    reference = np.full((1, 4), 2.0)
    depth = np.array([[2.0, 0.0, -2.0, 2.1]])
    assert delta1(depth, reference, np.ones((1, 4), bool)) == 0.5


@pytest.mark.parametrize("metric", [abs_rel, delta1])
def test_metrics_refuse_what_cannot_be_measured(metric):
    ones = np.ones((2, 2))
    with pytest.raises(ValueError, match="mask is empty"):
        metric(ones, ones, np.zeros((2, 2), bool))
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        metric(np.ones((2, 3)), ones, np.ones((2, 2), bool))
    with pytest.raises(ValueError, match="1 of 4 measured pixels"):
        metric(np.array([[1, np.nan], [1, 1]]), ones, np.ones((2, 2), bool))


def test_known_pixels_are_positive_finite_and_near_enough():
    reference = np.array([[0.0, 1.0, np.nan, np.inf, 80.0, 81.0, -1.0]])
    assert known_mask(reference, 80.0).tolist() == [[False, True, False, False, True, False, False]]


def test_metrics_agree_with_the_published_numbers_of_fastdepth():
    folder = SHARED / "fastdepth-selfcheck"
    if not folder.exists():
        pytest.skip(f"{folder} is not here")
    reference = np.load(folder / "depth.npy")
    depth = np.load(folder / "pred.npy").squeeze()
    mask = reference > 0
    assert mask.sum() == 50_176
    assert abs_rel(depth, reference, mask) == pytest.approx(0.140498, abs=5e-7)
    assert delta1(depth, reference, mask) == pytest.approx(0.777264, abs=5e-7)


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
        mask = known_mask(depth_m, limit)
        guesses = [BASELINES[key](depth_m, mask, limit) for key in ("median depth", "depth linear in row")]
        scores.append([(abs_rel(guess, depth_m, mask), delta1(guess, depth_m, mask)) for guess in guesses])
    assert np.mean(scores, axis=0) == pytest.approx(np.array(PUBLISHED[name]), abs=0.0015)
