"""Metrics that need neighbours or a camera, models in the engine, and pairs in memory."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from cortexia_video.depth_estimation import DepthEstimator
from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import Failure, InputError
from cortexia_video.evaluation.evaluator import evaluate_pairs
from cortexia_video.evaluation.ground_truth import to_ground_truth
from cortexia_video.evaluation.image_score import score_image
from cortexia_video.evaluation.job import measure_predictors
from cortexia_video.evaluation.metrics.regions import REGIONS, split_errors
from cortexia_video.evaluation.metrics.registry import GROUPS, choose_groups
from cortexia_video.evaluation.predictors import InMemoryPredictor, ModelPredictor
from cortexia_video.evaluation.protocol import load_protocol
from cortexia_video.evaluation.reference import Items, find_reference
from cortexia_video.evaluation.score_file import ScoreFile
from cortexia_video.evaluation.summary import summarise
from cortexia_video.frame import Frame
from cortexia_video.models.synthetic import SyntheticModel
from cortexia_video.pinhole import Pinhole
from cortexia_video.rgbd_sample import RGBDSample

METRIC = load_protocol("moge-metric")
CAMERA = Pinhole.centred(40.0, 64, 48)
COUNTED = ("boundary", "edges", "normals", "points", "ordinal", "focal", "regions")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def make_room(rng, shape=(48, 64)):
    """Two walls of noise-free slopes with a box before them, metres."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    depth = 4 + 0.01 * columns + 0.005 * rows + rng.uniform(0, 0.5)
    depth[10:30, 20:40] = 2.0
    return depth.astype(np.float32)


def make_sample(key, depth, rng, camera=None):
    image = rng.integers(0, 256, (*depth.shape, 3), dtype=np.uint8)
    return RGBDSample(Frame(key, image), DepthMap(depth, "metric"), camera)


def test_equal_depth_is_perfect_by_every_metric_that_a_camera_allows(rng):
    depth = make_room(rng)
    reference = find_reference("a", depth, METRIC, camera=CAMERA)
    same = DepthMap(depth, "metric", CAMERA.fx, "estimated")
    score = score_image(same, reference, METRIC, COUNTED)
    best = {"larger": 1, "smaller": 0}
    for group in COUNTED:
        for name, meaning in GROUPS[group].metrics.items():
            assert score.more[name] == pytest.approx(best[meaning.better], abs=1e-9), name
    assert not score.lacking


def test_what_an_image_lacks_is_said(rng):
    depth = make_room(rng)
    sparse = np.where(rng.random(depth.shape) < 0.3, depth, 0)
    for reference, lacks in [
        (find_reference("a", depth, METRIC), {"normals": "no camera", "points": "no camera"}),
        (
            find_reference("a", sparse, METRIC, camera=CAMERA),
            dict.fromkeys(("edges", "normals"), "half of the"),
        ),
        (find_reference("a", depth, METRIC, registered=False), {"boundary": "not registered"}),
    ]:
        lacking = score_image(DepthMap(depth, "metric"), reference, METRIC, COUNTED).lacking
        assert "no focal length was estimated" in lacking["focal"]
        for group, words in lacks.items():
            assert words in lacking[group]


def test_depth_that_is_nowhere_is_worst_by_every_metric(rng):
    reference = find_reference("a", make_room(rng), METRIC, camera=CAMERA)
    found = score_image(None, reference, METRIC, COUNTED).more
    assert (found["f_score"], found["whdr"], found["normal_error"], found["boundary_f1"]) == (0, 1, 180, 0)
    assert (found["edge_accuracy"], found["edge_completeness"]) == (10, 10)
    assert found["abs_rel near"] > 0.99


def test_an_unknown_group_names_those_there_are_and_tae_where_it_is():
    with pytest.raises(
        InputError,
        match=r"unknown metrics 'nomals': did you mean normals\? use some of boundary, edges",
    ):
        choose_groups(METRIC, ["nomals"])
    with pytest.raises(InputError, match="pose of every image"):
        choose_groups(METRIC, ["stability"])


def test_focal_lengths_are_measured_only_where_they_were_estimated(rng):
    reference = find_reference("a", make_room(rng), METRIC, camera=CAMERA)
    values = reference.depth_m
    estimated = score_image(DepthMap(values, "metric", 50.0, "estimated"), reference, METRIC, ("focal",))
    assert estimated.more["focal_error"] == pytest.approx(0.25)
    expected = 2 * np.degrees(np.arctan(32 / 40) - np.arctan(32 / 50))
    assert estimated.more["fov_error"] == pytest.approx(expected)
    given = score_image(DepthMap(values, "metric", 50.0, "given"), reference, METRIC, ("focal",))
    assert not given.more


def test_a_camera_is_cut_with_its_image():
    protocol = load_protocol("zoedepth-kitti")
    camera = protocol.cut_camera(Pinhole(700.0, 700.0, 604.6, 181.0, 1242, 375))
    assert (camera.cx, camera.cy, camera.width, camera.height) == (604.6 - 13, 181.0 - 23, 1216, 352)
    small = Pinhole.centred(500.0, 640, 300)
    assert protocol.cut_camera(small) == small
    assert METRIC.cut_camera(CAMERA) == CAMERA


def test_order_is_that_of_all_pairs(rng):
    reference = find_reference("a", make_room(rng), METRIC)
    swapped = score_image(DepthMap(8 / reference.depth_m, "metric"), reference, METRIC, ("ordinal",))
    assert swapped.more["whdr"] == 1
    flat = reference.depth_m.copy()
    flat[:, 32:] = 3.0  # of these pairs none is ordered rightly
    found = score_image(DepthMap(flat, "metric"), reference, METRIC, ("ordinal",)).more["whdr"]
    assert 0.2 < found < 0.9


def test_regions_are_what_loops_over_pixels_give(rng):
    reference = rng.choice([1.0, 2.0, 4.0], (12, 9)).astype(np.float32)
    mask = rng.random((12, 9)) < 0.9
    depth = reference * rng.uniform(0.5, 1.5, (12, 9))
    found = dict(zip(REGIONS, split_errors(depth[mask], reference, mask), strict=True))
    nearer, farther = np.percentile(reference[mask].astype(float), (100 / 3, 200 / 3))
    errors = {name: [] for name in REGIONS}
    for y, x in zip(*np.nonzero(mask), strict=True):
        r, error = float(reference[y, x]), abs(float(depth[y, x]) / float(reference[y, x]) - 1)
        errors["near" if r <= nearer else "middle" if r <= farther else "far"].append(error)
        errors[("upper rows", "middle rows", "lower rows")[y // 4]].append(error)
    for name in REGIONS[:6]:
        expected = np.mean(errors[name]) if errors[name] else np.nan
        assert found[name] == pytest.approx(expected, nan_ok=True), name


def test_beside_edges_is_three_pixels(rng):
    reference = np.full((9, 40), 2.0, np.float32)
    reference[:, 20:] = 3.0
    depth = reference.astype(float)
    depth[:, 16:24] *= 1.5  # the edge is at 19 and 20, beside it are 16 to 23
    found = dict(zip(REGIONS, split_errors(depth.ravel(), reference, reference > 0), strict=True))
    assert (found["beside edges"], found["off edges"]) == (pytest.approx(0.5), 0)


class Blinking(SyntheticModel):
    """Fails on dark images, and counts what it is asked."""

    asked = 0

    def infer(self, batch):
        type(self).asked += len(batch)
        values = super().infer(batch)
        values[batch.mean(axis=(1, 2, 3)) < 10] = np.nan
        return values


def make_samples(rng):
    shapes = [(48, 64), (48, 64), (60, 44), (48, 64), (60, 44)]
    return [make_sample(str(index), make_room(rng, shape), rng) for index, shape in enumerate(shapes)]


def test_a_model_in_the_engine_gives_the_numbers_of_images_one_by_one(rng, tmp_path):
    samples = make_samples(rng)
    dark = np.zeros_like(samples[3].frame.image)
    samples[3] = replace(samples[3], frame=replace(samples[3].frame, image=dark))
    protocol = load_protocol("moge-disparity")
    estimator = DepthEstimator(Blinking("blinking"), batch_size=2)
    predictor = ModelPredictor("blinking", estimator)
    truth = to_ground_truth(samples)
    with ScoreFile(tmp_path) as kept:
        column = measure_predictors(truth, [predictor], protocol, kept=kept, workers=2).columns[0]
    (scores,) = column.scores.values()
    for sample, score in zip(samples, scores, strict=True):
        (depth,) = estimator.estimate([sample.frame])
        reference = find_reference(sample.key, sample.depth.values, protocol)
        alone = score_image(None if isinstance(depth, Failure) else depth, reference, protocol)
        assert score.metrics == alone.metrics
    assert [bool(score.remark) for score in scores] == [False, False, False, True, False]
    assert "NaN" in scores[3].remark and scores[3].unknown == 48 * 64
    Blinking.asked = 0
    with ScoreFile(tmp_path) as kept:
        again = measure_predictors(truth, [predictor], protocol, kept=kept, workers=2).columns[0]
    assert Blinking.asked == 0
    assert again.scores == column.scores


def test_a_kind_that_a_protocol_refuses_ends_the_evaluation_of_a_model(rng):
    predictor = ModelPredictor("synthetic", DepthEstimator(SyntheticModel()))
    with pytest.raises(InputError, match="disparity depth does not allow the alignment 'none'"):
        measure_predictors(to_ground_truth(make_samples(rng)), [predictor], METRIC)


def test_hidden_cameras_are_not_given_to_models(rng):
    sample = make_sample("a", make_room(rng), rng, CAMERA)
    sample = replace(sample, frame=replace(sample.frame, f_px=40.0, f_source="given"))
    hidden = replace(METRIC, cameras="hidden")
    seen = [
        next(map(items.open, items.list_pending()))
        for items in (Items(to_ground_truth([sample]), each) for each in (METRIC, hidden))
    ]
    assert [item.frame.f_px for item in seen] == [40.0, None]
    assert all(item.reference.camera == CAMERA for item in seen)
    assert hidden.digest != METRIC.digest


def test_pairs_in_memory_are_measured_in_a_few_lines(rng):
    samples = make_samples(rng)
    depths = [DepthMap(each.depth.values * rng.uniform(0.8, 1.2), "metric") for each in samples]
    summary = evaluate_pairs(zip(depths, samples, strict=True), "moge-metric", metrics=["ordinal"])
    errors = [
        np.mean(abs(depth.values / sample.depth.values - 1))
        for depth, sample in zip(depths, samples, strict=True)
    ]
    total = summary.totals["depth"]["abs_rel"]
    assert total.value == pytest.approx(np.mean(errors), rel=1e-6)
    assert total.low < total.value < total.high
    assert summary.totals["depth"]["whdr"].value == 0
    assert [*summary.totals][1:] == ["median depth", "depth linear in row", "disparity linear in row"]
    missing = evaluate_pairs([(None, samples[0]), (depths[1], samples[1])], "moge-metric")
    assert missing.totals["depth"]["abs_rel"].value > 0.49


def test_two_predictors_in_memory_are_compared_on_the_same_draws(rng, tmp_path):
    samples = make_samples(rng)
    held = [
        InMemoryPredictor(name, {each.key: DepthMap(each.depth.values * by, "metric") for each in samples})
        for name, by in (("near", 0.9), ("nearer", 0.8))
    ]
    with ScoreFile(tmp_path) as scores:
        summary = summarise(
            measure_predictors(to_ground_truth(samples), held, METRIC, kept=scores), resamples=50
        )
    first = summary.comparisons[0]
    assert first.differences["abs_rel"] == pytest.approx((-0.1, -0.1, -0.1), abs=1e-6)
    assert first.better["abs_rel"] == 1
    kept = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert len(kept) == 2 * len(samples)
