"""Boundaries, edges, normals, clouds, focal lengths, order and steadiness agree with what others compute."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt
from scipy.spatial.distance import cdist

from cortexia_video.evaluation.metrics.boundary import boundary_f1, boundary_recall
from cortexia_video.evaluation.metrics.edges import edge_accuracy, edge_completeness, measure_distance
from cortexia_video.evaluation.metrics.focal_length import field_of_view_error, focal_length_error
from cortexia_video.evaluation.metrics.normals import measure_normals
from cortexia_video.evaluation.metrics.ordinal import whdr
from cortexia_video.evaluation.metrics.point_clouds import score_cloud
from cortexia_video.evaluation.metrics.temporal_stability import measure_stability
from cortexia_video.pinhole import Pinhole

CAMERA = Pinhole.centred(40.0, 32, 24)
SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def make_steps(rng, shape=(9, 8)):
    return rng.choice([1.0, 1.07, 1.12, 1.18, 2.0], shape)


def list_contours(depth, limit, known, step):
    """Pixel by pixel: where the neighbour at `step` is behind."""
    found = set()
    for y, x in np.ndindex(depth.shape):
        v, u = y + step[0], x + step[1]
        inside = 0 <= v < depth.shape[0] and 0 <= u < depth.shape[1]
        if inside and known[y, x] and known[v, u] and depth[v, u] / depth[y, x] > limit:
            found.add((y, x))
    return found


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_boundary_f1_agrees_with_the_definition_pixel_by_pixel(seed):
    rng = np.random.default_rng(seed)
    depth, reference, known = make_steps(rng), make_steps(rng), rng.random((9, 8)) < 0.9
    total = weights = 0.0
    for limit in np.linspace(1.05, 1.25, 10):
        precisions, recalls = [], []
        for step in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            ours, theirs = (list_contours(each, limit, known, step) for each in (depth, reference))
            precisions.append(len(ours & theirs) / max(len(ours), 1))
            recalls.append(len(ours & theirs) / max(len(theirs), 1))
        precision, recall = np.mean(precisions), np.mean(recalls)
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0
        total, weights = total + limit * f1, weights + limit
    assert boundary_f1(depth, reference, known) == pytest.approx(total / weights, abs=1e-12)


def test_boundary_f1_is_one_for_the_same_contours_at_any_scale(rng):
    reference = make_steps(rng)
    assert boundary_f1(4 * reference, reference) == pytest.approx(1)


def test_boundary_f1_without_contours_is_zero_and_unknown_depth_has_none(rng):
    reference = make_steps(rng)
    assert boundary_f1(np.ones((9, 8)), reference) == 0
    assert boundary_f1(np.full((9, 8), np.nan), reference) == 0


def test_boundary_recall_keeps_the_largest_of_each_run():
    inside = np.zeros((3, 8), bool)
    inside[:, :4] = True
    sharp = np.where(inside, 1.0, 2.0)
    ramp = np.tile([1.0, 1.0, 1.0, 1.0, 1.3, 2.0, 2.9, 2.9], (3, 1))  # the largest ratio is a pixel late
    assert boundary_recall(sharp, inside) == pytest.approx(0.25)  # all of one direction, none of three
    assert boundary_recall(ramp, inside) == 0
    assert boundary_recall(sharp.T, inside.T) == pytest.approx(0.25)


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        boundary_f1(np.ones((2, 2)), np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        boundary_recall(np.ones((2, 2)), np.ones((2, 3), bool))


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_distances_agree_with_scipy(seed):
    rng = np.random.default_rng(seed)
    edges = rng.random((23, 31)) < rng.choice([0.002, 0.05])
    edges[4, 7] = True
    assert measure_distance(edges) == pytest.approx(np.minimum(distance_transform_edt(~edges), 10))


def test_edges_that_are_moved_are_as_far_as_they_were_moved():
    true, found, none = (np.zeros((30, 30), bool) for _ in range(3))
    true[:, 5] = found[:, 8] = True
    assert edge_accuracy(found, true) == edge_completeness(found, true) == 3
    found[:, 28] = True  # too far from any to count
    assert edge_accuracy(found, true) == edge_completeness(found, true) == 3
    assert edge_accuracy(true, true) == edge_completeness(true, true) == 0
    assert edge_accuracy(none, true) == edge_completeness(none, true) == 10
    assert np.isnan(edge_accuracy(true, none))


def make_plane(slope_deg):
    """Depth of a plane turned about the vertical axis: z (1 - tan(a) x / z) = 3."""
    across, _ = CAMERA.find_rays()
    depth = 3 / (1 - np.tan(np.radians(slope_deg)) * across.astype(np.float64))
    return np.tile(depth, (24, 1))


def test_normals_of_planes_differ_by_the_angle_between_them():
    error = measure_normals(make_plane(20), make_plane(0), CAMERA)
    assert (error.mean_deg, error.median_deg) == pytest.approx((20, 20), abs=0.02)
    assert (error.within_11, error.within_22, error.within_30) == (0, 1, 1)
    same = measure_normals(2 * make_plane(20), make_plane(20), CAMERA)
    assert same.mean_deg == pytest.approx(0, abs=0.01)
    assert measure_normals(make_plane(5), make_plane(5), CAMERA).mean_deg == 0


def test_a_missing_normal_counts_and_nothing_to_measure_is_refused():
    assert measure_normals(np.full((24, 32), np.nan), make_plane(0), CAMERA).mean_deg == 180
    with pytest.raises(ValueError, match="no normal"):
        measure_normals(make_plane(0), np.zeros((24, 32)), CAMERA)


def test_cloud_scores_agree_with_all_distances(rng):
    points, reference = rng.random((200, 3)), rng.random((150, 3))
    distances = cdist(points, reference)
    precision, recall = np.mean(distances.min(1) <= 0.08), np.mean(distances.min(0) <= 0.08)
    found = score_cloud(points, reference, 0.08)
    expected = precision, recall, 2 * precision * recall / (precision + recall)
    assert found == pytest.approx(expected)
    assert score_cloud(reference, reference, 0.0) == (1, 1, 1)


def test_points_that_are_not_finite_count_against_the_cloud():
    reference = np.zeros((2, 3))
    assert score_cloud(np.array([[0, 0, 0], [np.nan] * 3]), reference, 0.1).precision == 0.5
    assert score_cloud(np.empty((0, 3)), reference, 0.1) == (0, 0, 0)
    with pytest.raises(ValueError, match="empty"):
        score_cloud(reference, np.empty((0, 3)), 0.1)


def test_focal_lengths():
    assert focal_length_error(1250, 1000) == 0.25
    assert field_of_view_error(500, 500 / np.sqrt(3), 1000) == pytest.approx(30)  # 90 and 120 degrees


def test_ordinal_disagreement_is_the_weighted_share_of_wrong_pairs():
    values = np.array([[1.0, 2.0], [2.1, np.nan]])
    pairs = np.array([[[0, 0], [0, 1]], [[0, 1], [0, 0]], [[0, 1], [1, 0]], [[0, 0], [1, 1]]])
    relations = np.array([-1, -1, 0, -1])  # right, wrong, right only within 10 %, unknown
    assert whdr(values, pairs, relations, equal_ratio=1.1) == 0.5
    assert whdr(values, pairs, relations) == 0.75
    assert whdr(values, pairs, relations, np.array([5, 1, 1, 1.0]), equal_ratio=1.1) == 0.25
    assert whdr(-values, pairs[:1], relations[:1], larger_is_nearer=True) == 0
    with pytest.raises(ValueError, match="no pair"):
        whdr(values, pairs[:0], relations[:0])


def test_a_steady_wall_is_steady_and_a_wavering_one_is_not():
    poses = [np.eye(4) for _ in range(3)]
    for index, pose in enumerate(poses):
        pose[2, 3] = 0.5 * index  # the camera walks towards the wall
    wall = [np.full((24, 32), 4 - 0.5 * index) for index in range(3)]
    assert measure_stability(wall, poses, CAMERA) == pytest.approx(0, abs=1e-7)
    wavering = [wall[0], 1.1 * wall[1], wall[2]]
    # seen 4 -> 3.5 against 3.85, 3.85 -> 4.35 against 4, 3.85 -> 3.35 against 3, 3 -> 3.5 against 3.85
    expected = np.mean([0.35 / 3.85, 0.35 / 4, 0.35 / 3, 0.35 / 3.85])
    assert measure_stability(wavering, poses, CAMERA) == pytest.approx(expected, abs=1e-6)


def test_the_nearest_of_two_points_on_a_pixel_is_seen():
    pose = np.eye(4)
    pose[0, 3] = 0.5
    near = np.full((24, 32), 10.0)
    near[:, 16:] = 2.0  # comes before the wall as the camera walks to the right
    moved = np.full((24, 32), 10.0)
    moved[:, 6:22] = 2.0
    assert measure_stability([near, moved], [np.eye(4), pose], CAMERA) == pytest.approx(0, abs=0.2)


def test_frames_that_share_nothing_are_refused():
    away = np.eye(4)
    away[0, 3] = 1e6
    with pytest.raises(ValueError, match="common pixel"):
        measure_stability([np.ones((24, 32))] * 2, [np.eye(4), away], CAMERA)
    with pytest.raises(ValueError, match="1 maps"):
        measure_stability([np.ones((24, 32))], [np.eye(4)], CAMERA)
