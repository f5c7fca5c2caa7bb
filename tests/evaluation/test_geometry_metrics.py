"""Boundaries, edges, normals, clouds, focal lengths, order and steadiness agree with what others compute."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt
from scipy.spatial.distance import cdist

from cortexia_video.evaluation.metrics.edges import (
    boundary_f1,
    boundary_recall,
    edge_accuracy,
    edge_completeness,
    measure_distance,
)
from cortexia_video.evaluation.metrics.geometry import (
    field_of_view_error,
    focal_length_error,
    measure_normals,
    score_cloud,
)
from cortexia_video.evaluation.metrics.ordinal import whdr
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


def recall_pixel_by_pixel(depth, inside):
    """Depth Pro's definition: in each direction, of a run of contours only the strongest."""
    total = weights = 0.0
    for limit in np.linspace(1.05, 1.25, 10):
        recalls = []
        for turned in range(4):
            found = true = 0
            for line, row in zip(np.rot90(depth, turned), np.rot90(inside, turned), strict=True):
                ratios = [line[i] / line[i + 1] for i in range(len(line) - 1)]  # of inverse depth
                best, run = set(), []
                for place, ratio in enumerate([*ratios, 0.0]):
                    if ratio > limit:
                        run.append(place)
                    elif run:
                        best.add(max(run, key=ratios.__getitem__))
                        run = []
                edges = {i for i in range(len(ratios)) if row[i + 1] and not row[i]}
                true, found = true + len(edges), found + len(best & edges)
            recalls.append(found / max(true, 1))
        total, weights = total + limit * np.mean(recalls), weights + limit
    return total / weights


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [
        (slice(10, 30), slice(20, 40), 1.0),
        (slice(10, 30), slice(None), 0.5),
        (slice(None), slice(20, 40), 0.5),
    ],
)
@pytest.mark.parametrize("order", "CF")
def test_perfect_depth_of_a_rectangle_and_of_bands(rows, columns, expected, order):
    """Values of SI_boundary_Recall of apple/ml-depth-pro at 9efe5c1."""
    inside = np.zeros((40, 60), bool, order=order)
    inside[rows, columns] = True
    assert boundary_recall(np.where(inside, 2.0, 4.0).copy(order), inside) == pytest.approx(expected)


def test_boundary_recall_is_the_same_in_all_four_directions():
    inside = np.zeros((5, 8), bool)
    inside[:, :4] = True
    sharp = np.where(inside, 1.0, 2.0)
    ramp = np.tile([1.0, 1.0, 1.0, 1.0, 1.3, 2.0, 2.9, 2.9], (5, 1))  # the largest ratio is a pixel late
    for depth, expected in ((sharp, 0.25), (ramp, 0)):
        for turned in range(4):
            found = boundary_recall(np.rot90(depth, turned).copy(), np.rot90(inside, turned).copy())
            assert found == pytest.approx(expected)  # of the sharp one: all of one direction, none of three


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_boundary_recall_agrees_with_loops_over_runs(seed):
    rng = np.random.default_rng(seed)
    inside = np.kron(rng.random((3, 4)) < 0.5, np.ones((4, 3))).astype(bool)
    depth = np.where(inside, 1.0, 1.2) * np.exp(rng.normal(0, 0.1, inside.shape))
    assert boundary_recall(depth, inside) == pytest.approx(recall_pixel_by_pixel(depth, inside))


@pytest.mark.parametrize(
    ("seed", "expected"), [(0, 0.7758419109574), (1, 0.7759421257587018), (2, 0.7984806511674717)]
)
def test_boundary_recall_is_what_depth_pro_computes(seed, expected):
    """Values of SI_boundary_Recall of apple/ml-depth-pro at 9efe5c1, on the same maps."""
    rng = np.random.default_rng(seed)
    inside = np.kron(rng.random((6, 8)) < 0.5, np.ones((8, 8))).astype(bool)
    depth = np.where(inside, 2.0, 2.5) * np.exp(rng.normal(0, 0.05, inside.shape))
    assert boundary_recall(depth, inside) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("seed", "shares", "accuracy", "completeness"),
    [
        (0, (0.002, 0.01), 5.036613805015942, 8.485804140850647),
        (1, (0.02, 0.05), 3.4828241483489224, 3.122948533369182),
        (2, (0.1, 0.01), 1.2924202601140353, 4.061231530910956),
    ],
)
def test_edges_are_what_the_script_of_ibims_computes(seed, shares, accuracy, completeness):
    """Values of compute_depth_boundary_error, as eight of ten public copies have it, on the same edges."""
    rng = np.random.default_rng(seed)
    true, found = (rng.random((48, 64)) < share for share in shares)
    true[0, 0] = found[40, 60] = True
    assert edge_accuracy(found, true) == pytest.approx(accuracy)
    assert edge_completeness(found, true, formula="scripts") == pytest.approx(completeness)


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


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_completeness_is_the_papers_and_that_of_the_scripts(seed):
    """In scipy's distances: the mean over true edges, and over true and found ones, each at most 10."""
    rng = np.random.default_rng(seed)
    true, found = rng.random((2, 31, 43)) < rng.choice([0.003, 0.05])
    true[3, 4] = found[30, 42] = True
    to_found, to_true = (np.minimum(distance_transform_edt(~each), 10) for each in (found, true))
    assert edge_completeness(found, true) == pytest.approx(to_found[true].mean())
    both = (to_found[true].sum() + to_true[found].sum()) / (true.sum() + found.sum())
    assert edge_completeness(found, true, formula="scripts") == pytest.approx(both)


def test_the_formula_of_the_scripts_worked_by_hand():
    true, found = (np.zeros((30, 40), bool) for _ in range(2))
    true[5, 5:10] = True  # five true edges, found 3 rows below
    found[8, 5:10] = found[20, 30] = True  # and one 20 pixels away, which counts as 10
    assert edge_completeness(found, true) == 3
    assert edge_completeness(found, true, formula="scripts") == pytest.approx((5 * 3 + 5 * 3 + 10) / 11)
    assert edge_completeness(np.zeros_like(true), true, formula="scripts") == 10
    assert np.isnan(edge_completeness(found, np.zeros_like(true), formula="scripts"))
    with pytest.raises(ValueError, match="unknown formula 'script'"):
        edge_completeness(found, true, formula="script")


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


def test_point_cloud_scores_agree_with_all_distances(rng):
    points, reference = rng.random((200, 3)), rng.random((150, 3))
    distances = cdist(points, reference)
    precision, recall = np.mean(distances.min(1) <= 0.08), np.mean(distances.min(0) <= 0.08)
    found = score_cloud(points, reference, 0.08)
    expected = precision, recall, 2 * precision * recall / (precision + recall)
    assert found == pytest.approx(expected)
    assert score_cloud(reference, reference, 0.0) == (1, 1, 1)


def test_points_that_are_not_finite_count_against_the_point_cloud():
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
