"""What generators of triangles make has the size, place and shape that it should."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")  # of which the room of scenes needs some everywhere

from cortexia_video.scenes import buildings, people, plants, playthings, street_things, trees, vehicles
from cortexia_video.scenes.description import rotation
from cortexia_video.scenes.pieces import (
    Piece,
    ball,
    boxes,
    ellipse,
    join,
    loft,
    path,
    scatter,
    surface,
    vec,
)

SEEDS = range(6)


def area_of(piece: Piece) -> float:
    a, b, c = piece.corners.transpose(1, 0, 2)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def span_of(piece: Piece) -> tuple[np.ndarray, np.ndarray]:
    return piece.corners.min((0, 1)), piece.corners.max((0, 1))


def test_a_box_has_the_area_and_the_place_of_a_box():
    made = boxes((1, 2, 3), (0.5, 1, 2))
    assert len(made) == 12
    assert area_of(made) == pytest.approx(2 * (1 * 2 + 2 * 4 + 1 * 4))
    low, high = span_of(made)
    assert low == pytest.approx([0.5, 1, 1]) and high == pytest.approx([1.5, 3, 5])


def test_a_ball_of_many_sides_has_the_area_of_a_sphere():
    assert area_of(ball((0, 0, 0), (2, 2, 2), sides=48)) == pytest.approx(16 * np.pi, rel=0.01)


def test_a_capped_loft_is_closed():
    """Every edge of a closed surface belongs to two triangles."""
    rings = np.array([ellipse((0, y, 0), 1, 0.5, 7) for y in (0, 1, 3)])
    corners = loft(rings).corners.round(6)
    edges: dict[frozenset[tuple[float, ...]], int] = {}
    for triangle in corners:
        for a, b in ((0, 1), (1, 2), (2, 0)):
            edge = frozenset((tuple(triangle[a]), tuple(triangle[b])))
            edges[edge] = edges.get(edge, 0) + 1
    assert set(edges.values()) == {2}


def test_uv_is_metres_along_the_surface():
    """A triangle along two axes has the same sides in UV as in space."""
    flat = np.array([[[0, 0, 0], [3, 0, 0], [0, 0, 4.0]], [[0, 0, 0], [0, 2, 0], [1, 0, 0.0]]])
    made = surface(flat)
    for corners, uv in zip(made.corners, made.uv, strict=True):
        for a, b in ((0, 1), (1, 2), (2, 0)):
            assert np.linalg.norm(uv[a] - uv[b]) == pytest.approx(np.linalg.norm(corners[a] - corners[b]))


def test_scatter_stands_parts_on_their_places_facing_where_it_should():
    mark = boxes((0, 0.5, 2), (0.1, 0.5, 0.1))
    places = np.array([[0, 0, 0], [10, 1, -3.0]])
    made = scatter(np.random.default_rng(0), [mark], places, scale=0.0, yaw=np.array([0, np.pi / 2]))
    first, second = made.corners.reshape(2, -1, 3).mean(1)
    assert first == pytest.approx([0, 0.5, 2], abs=1e-5)
    assert second == pytest.approx([12, 1.5, -3], abs=1e-5)
    assert rotation(np.pi / 2) @ vec(0, 0, 1) == pytest.approx([1, 0, 0], abs=1e-9)


def test_joined_pieces_keep_their_materials():
    made = join([boxes((0, 0, 0), (1, 1, 1), 2), path([(0, 0, 0), (0, 1, 0)], 0.1, 1).wearing(3)])
    assert set(made.material[:12]) == {2} and set(made.material[12:]) == {4}
    assert len(join([])) == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_branches_thin_out_and_reach_what_they_grow_towards(seed):
    rng = np.random.default_rng(seed)
    points = rng.uniform((-2, 2, -2), (2, 5, 2), (150, 3))
    trunk = np.stack([np.zeros(6), np.linspace(0, 2, 6), np.zeros(6)], 1)
    nodes, parent, radius = trees.grow(points, trunk, 0.25, 0.2)
    assert radius[0] == pytest.approx(0.2)
    assert (radius[1:] <= radius[parent[1:]] + 1e-9).all()
    assert (parent[1:] < np.arange(1, len(nodes))).all(), "each grows from one that was there"
    nearest = np.linalg.norm(points[:, None] - nodes, axis=2).min(1)
    assert np.quantile(nearest, 0.9) < 2 * 0.25


def test_a_branch_carries_what_leaves_it():
    """Da Vinci's rule with the pipe model's power: r^2.3 of a fork is the sum of those of its arms."""
    points = np.array([[-1.0, 2.5, 0], [1.0, 2.5, 0]])
    trunk = np.stack([np.zeros(5), np.linspace(0, 1, 5), np.zeros(5)], 1)
    _, parent, radius = trees.grow(points, trunk, 0.2, 0.1)
    for fork in np.flatnonzero(np.bincount(parent[1:]) > 1):
        arms = np.flatnonzero(parent == fork)
        assert (radius[arms[arms > 0]] ** 2.3).sum() == pytest.approx(radius[fork] ** 2.3)


@pytest.mark.parametrize("seed", SEEDS)
def test_trees_have_about_their_height_and_stand_on_the_ground(seed):
    for grow in (
        lambda rng: trees.broadleaf(rng, 8.0, 0.3),
        lambda rng: trees.conifer(rng, 8.0, 0.3),
        lambda rng: trees.palm(rng, 8.0),
    ):
        low, high = span_of(grow(np.random.default_rng(seed)))
        assert -0.5 < low[1] <= 0.35 and 6 < high[1] < 11.5


@pytest.mark.parametrize("seed", SEEDS)
def test_cars_stand_on_their_wheels_and_have_the_size_of_cars(seed):
    low, high = span_of(vehicles.car(np.random.default_rng(seed)))
    width, height, length = high - low
    assert abs(low[1]) < 0.03
    assert 3.4 < length < 6.2 and 1.3 < height < 2.7 and 1.6 < width < 2.5
    low, high = span_of(vehicles.truck(np.random.default_rng(seed)))
    assert abs(low[1]) < 0.03 and high[1] > 2.3


@pytest.mark.parametrize("seed", SEEDS)
def test_people_are_as_tall_as_people(seed):
    low, high = span_of(people.person(np.random.default_rng(seed)))
    assert -0.1 < low[1] < 0.15 and 1.0 < high[1] < 2.05


@pytest.mark.parametrize("seed", SEEDS)
def test_panes_of_a_house_lie_behind_its_walls(seed):
    half_width, half_depth = 6.0, 4.0
    house = buildings.building(np.random.default_rng(seed), half_width, 7.0, half_depth)
    glass = house.corners[house.material == buildings.GLASS].reshape(-1, 3)
    below_eaves = glass[glass[:, 1] < 6.9]
    assert len(below_eaves) > 0
    assert (np.abs(below_eaves[:, 0]) < half_width).all() and (np.abs(below_eaves[:, 2]) < half_depth).all()


def test_an_opened_wall_has_a_hole_for_each_pane():
    columns, rows = np.linspace(0, 6, 4), np.linspace(0, 6, 3)
    made = buildings.opened_wall(columns, rows, np.array([0.25, 0.75, 0.25, 0.75]), 0.2)
    flat = np.ptp(made.corners[:, :, 2], axis=1) < 1e-9
    front = surface(made.corners[flat & (made.material == buildings.WALL)])
    panes = surface(made.corners[flat & (made.corners[:, 0, 2] < -0.19) & (made.material == buildings.GLASS)])
    assert area_of(front) == pytest.approx(36 * 0.75) and area_of(panes) == pytest.approx(36 * 0.25)


@pytest.mark.parametrize("crop", plants.CROPS, ids=lambda crop: crop[0].__name__)
def test_crops_grow_up_from_their_place(crop):
    grow, (least, most), _ = crop
    for height in (least, most):
        low, high = span_of(grow(np.random.default_rng(1), height, 4))
        assert low[1] > -0.35 * height and 0.4 * height < high[1] < 3 * height


@pytest.mark.parametrize("thing", playthings.PLAYTHINGS, ids=lambda thing: thing[0].__name__)
def test_playthings_stand_on_the_ground(thing):
    low, high = span_of(thing[0](np.random.default_rng(2)))
    assert -0.06 < low[1] < 0.2 and 0.3 < high[1] < 5 and np.isfinite(low).all()


def test_one_seed_grows_one_tree():
    first, again = (trees.broadleaf(np.random.default_rng(3), 6.0, 0.3) for _ in range(2))
    assert np.array_equal(first.corners, again.corners) and np.array_equal(first.uv, again.uv)


@pytest.mark.parametrize("seed", SEEDS)
def test_stairs_go_up_to_a_landing_without_gaps(seed):
    made = street_things.stairs(np.random.default_rng(seed))
    steps = surface(made.corners[made.material == 0])
    level = np.unique(steps.corners[:, :, 1].round(6))
    assert level[0] == pytest.approx(0, abs=1e-6)
    assert np.diff(level) == pytest.approx(np.full(len(level) - 1, level[1]), abs=1e-5)


def test_a_bridge_leaves_the_road_free():
    made = street_things.bridge(np.random.default_rng(0), 6.0)
    over_road = np.abs(made.corners[:, :, 0]).max(1) < 5.9
    assert (made.corners[over_road][:, :, 1] > 4).all()
