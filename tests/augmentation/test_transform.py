"""Transforms of images with depth: what a pixel shows stays where it was in space."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cortexia_video import DepthMap, Frame, Pinhole, RGBDSample, augmentation
from cortexia_video.augmentation import (
    CanonicalDepth,
    Compose,
    Crop,
    Flip,
    PerspectiveCrop,
    Photometric,
    RandomCrop,
    RandomPerspectiveCrop,
    RandomRotate,
    RandomZoom,
    Resize,
    Rotate,
    Sometimes,
    Transform,
    View,
    Zoom,
)
from cortexia_video.augmentation import opencv_ops as pixels
from cortexia_video.depth_map import KINDS
from cortexia_video.errors import InputError
from cortexia_video.pinhole import project, unproject

SHARES = st.floats(0, 1)
SAMPLINGS = st.sampled_from(["nearest", "edge_aware"])
CAMERAS = st.builds(
    Pinhole,
    fx=st.floats(30, 200),
    fy=st.floats(30, 200),
    cx=st.floats(5, 50),
    cy=st.floats(5, 40),
    width=st.integers(8, 60),
    height=st.integers(8, 50),
)
CROPS = st.builds(
    Crop, st.integers(-9, 20), st.integers(-9, 20), st.integers(1, 40), st.integers(1, 40), st.just("pad")
)
ANGLES = st.floats(-25, 25)
FLIPS = st.builds(Flip, st.sampled_from(["horizontal", "vertical"]))
RESIZES = st.builds(Resize, st.integers(5, 90), st.integers(5, 90), SAMPLINGS)
ZOOMS = st.builds(Zoom, st.floats(0.5, 4), SHARES, SHARES, SAMPLINGS)
ROTATIONS = st.builds(Rotate, st.floats(-180, 180), SAMPLINGS)
PERSPECTIVES = st.builds(
    PerspectiveCrop,
    st.integers(4, 60),
    st.integers(4, 60),
    st.floats(10, 70),
    yaw_deg=ANGLES,
    pitch_deg=ANGLES,
    roll_deg=ANGLES,
    outside=st.just("pad"),
    depth=SAMPLINGS,
)
WINDOWS = st.one_of(FLIPS, CROPS, RESIZES, ZOOMS)
GEOMETRIC = st.one_of(WINDOWS, ROTATIONS, PERSPECTIVES)
SIDES = st.integers(3, 40)
RANDOM_CROPS = st.builds(RandomCrop, SIDES, SIDES, st.just("pad"))
RANDOM_ZOOMS = st.builds(RandomZoom, st.tuples(st.floats(0.5, 1), st.floats(1, 4)), SAMPLINGS)
RANDOM_ROTATIONS = st.builds(RandomRotate, st.floats(0, 180), SAMPLINGS)
STEPS = st.one_of(GEOMETRIC, RANDOM_CROPS, RANDOM_ZOOMS, RANDOM_ROTATIONS)
TABLE: dict[type, st.SearchStrategy[Any]] = {  # a new transform needs a row here, and is then tested
    CanonicalDepth: st.builds(CanonicalDepth, st.floats(100, 2000)),
    Compose: st.builds(Compose, st.lists(st.one_of(STEPS, st.builds(Sometimes, STEPS)), max_size=4)),
    Crop: CROPS,
    Flip: FLIPS,
    PerspectiveCrop: PERSPECTIVES,
    Photometric: st.just(Photometric(lambda image, rng: rng.permuted(image, axis=2))),
    RandomCrop: RANDOM_CROPS,
    RandomPerspectiveCrop: st.builds(
        RandomPerspectiveCrop, SIDES, SIDES, st.just((5.0, 40.0)), st.floats(0, 25), st.just("pad"), SAMPLINGS
    ),
    RandomRotate: RANDOM_ROTATIONS,
    RandomZoom: RANDOM_ZOOMS,
    Resize: RESIZES,
    Rotate: ROTATIONS,
    Sometimes: st.builds(Sometimes, STEPS, SHARES),
    Zoom: ZOOMS,
}


def make_sample(camera: Pinhole, seed: int, *, holes: float = 0.2, **fields: Any) -> RGBDSample:
    """Return random depth with holes; the image's red and green say which column and row a pixel was."""
    random = np.random.default_rng(seed)
    size = camera.height, camera.width
    depth = random.uniform(1, 20, size).astype(np.float32)
    depth[random.random(size) < holes] = np.nan
    rows, columns = np.indices(size)
    image = np.stack([4 * columns, 4 * rows, np.full(size, 200)], axis=-1).astype(np.uint8)
    kind = fields.pop("kind", "metric")
    frame = Frame("a", image, camera.fx, "given")
    return RGBDSample(frame, DepthMap(depth, kind, camera.fx, "given"), camera, **fields)


def make_turn(transform: Transform) -> np.ndarray:
    """Return what the transform's own fields say that it does to points, found by scipy."""
    if isinstance(transform, Flip):
        return np.diag([-1.0, 1, 1] if transform.axis == "horizontal" else [1.0, -1, 1])
    if isinstance(transform, Rotate):
        return Rotation.from_euler("z", -transform.roll_deg, degrees=True).as_matrix()
    if isinstance(transform, PerspectiveCrop):
        angles = -transform.yaw_deg, -transform.pitch_deg, -transform.roll_deg
        return Rotation.from_euler("yxz", angles, degrees=True).as_matrix()  # about fixed axes, in this order
    return np.eye(3)


@contextmanager
def leave_out_refusals() -> Iterator[None]:
    """Leave out views that a camera cannot have, which are refused."""
    try:
        yield
    except InputError as error:
        assert "looks behind the camera" in str(error) or "sees more than an image" in str(error)
        assume(False)


def apply(transform: Transform, sample: RGBDSample) -> RGBDSample:
    with leave_out_refusals():
        return transform(sample)
    raise AssertionError


def trace_back(
    result: RGBDSample, turn: np.ndarray, camera: Pinhole
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Take the target's known pixels back: their (rows, columns), their points there, and where these are
    seen."""
    assert result.camera
    rows, columns = np.nonzero(np.isfinite(result.depth.values))
    points = unproject(result.depth.values, result.camera)[rows, columns].astype(np.float64) @ turn
    return np.stack([rows, columns]), points, project(points, camera)


def list_all() -> list[type]:
    """Return every transform that the package offers."""
    classes = [each for each in vars(augmentation).values() if inspect.isclass(each)]
    offered = [each for each in classes if each.__name__ in augmentation.__all__]
    return [each for each in offered if hasattr(each, "draw") and not inspect.isabstract(each)]


def list_steps(transform: Transform) -> list[Transform]:
    """Return what a drawn composition does, one after another."""
    steps = getattr(transform, "steps", None)
    return [transform] if steps is None else [each for step in steps for each in list_steps(step)]


def test_every_transform_has_a_row_in_the_table() -> None:
    assert set(TABLE) == {*list_all()} and len(TABLE) >= 14


@pytest.mark.parametrize("kind", TABLE, ids=lambda kind: kind.__name__)
@given(camera=CAMERAS, seed=st.integers(0, 999), data=st.data())
def test_points_in_space_stay_where_they_were(kind: type, camera: Pinhole, seed: int, data: Any) -> None:
    """After each step of whatever is offered, each known pixel is one of before, where it was in space."""
    sample = make_sample(camera, seed)
    transform = data.draw(TABLE[kind])
    with leave_out_refusals():
        drawn = transform.draw(View.of(sample), np.random.default_rng(seed))
    turn, result = np.eye(3), sample
    for step in list_steps(drawn):
        before, result = result, apply(step, result)
        turn = make_turn(step) @ turn
        check_points(before, step, result)
    at_once, motion = drawn(sample), drawn.trace(View.of(sample))
    np.testing.assert_allclose(motion.turn, turn, atol=1e-12)
    assert motion.target == View.of(result) == View.of(at_once)
    for one, other in zip(parts(at_once), parts(result), strict=True):
        np.testing.assert_array_equal(one, other)


def check_points(sample: RGBDSample, transform: Transform, result: RGBDSample) -> None:
    """See to each known pixel: in space it is a known pixel of the source, as near as half a pixel of
    sampling allows."""
    camera, turn = sample.camera, make_turn(transform)
    assert camera
    if isinstance(transform, CanonicalDepth):  # its depth is no distance before it is undone
        result = replace(result, depth=transform.undo(result.depth, result.camera))  # type: ignore[arg-type]
    _, points, seen = trace_back(result, turn, camera)
    cells = np.floor(seen).astype(int)
    surely = (np.abs(seen - np.rint(seen)) > 1e-3).all(axis=1)  # not on the border of two pixels
    cells, points, seen = cells[surely], points[surely], seen[surely]
    source = unproject(sample.depth.values, camera)[cells[:, 1], cells[:, 0]].astype(np.float64)
    assert (np.abs(seen - (cells + 0.5)) <= 0.5 + 1e-3).all()
    if getattr(transform, "depth", "nearest") == "nearest":  # along the new axis it is the point's own depth
        np.testing.assert_allclose((points @ turn.T)[:, 2], (source @ turn.T)[:, 2], rtol=1e-4)


@given(CAMERAS, GEOMETRIC, st.integers(0, 999))
def test_every_pixel_that_is_seen_again_is_known_again(
    camera: Pinhole, transform: Transform, seed: int
) -> None:
    """Depth is known just where the source's is, at the pixel that the target's centre lies in."""
    sample = make_sample(camera, seed)
    result = apply(transform, sample)
    assert result.camera
    rays = unproject(np.ones(result.size, np.float32), result.camera).astype(np.float64) @ make_turn(
        transform
    )
    seen = project(rays, camera)
    cells = np.floor(seen).astype(int)
    inside = ((cells >= 0) & (cells < [camera.width, camera.height])).all(axis=-1)
    surely = (np.abs(seen - np.rint(seen)) > 1e-3).all(axis=-1)
    known = np.zeros(result.size, bool)
    known[inside] = np.isfinite(sample.depth.values)[cells[inside][:, 1], cells[inside][:, 0]]
    np.testing.assert_array_equal(np.isfinite(result.depth.values)[surely], known[surely])


@given(CAMERAS, GEOMETRIC, st.integers(0, 999))
def test_the_image_moves_with_its_depth(camera: Pinhole, transform: Transform, seed: int) -> None:
    sample = make_sample(camera, seed, holes=0)
    result = apply(transform, sample)
    (rows, columns), _, seen = trace_back(result, make_turn(transform), camera)
    margin = 1.5 + 3 * max(camera.width, camera.height) / min(result.size)  # where borders are mixed in
    inner = ((seen > margin) & (seen < np.array([camera.width, camera.height]) - margin)).all(axis=1)
    shown = result.frame.image[rows, columns][inner]
    coarseness = max(camera.fx / result.camera.fx, camera.fy / result.camera.fy, 1)  # type: ignore[union-attr]
    assert (np.abs(shown[:, :2] - 4 * (seen[inner] - 0.5)) <= 2 + 2 * (coarseness - 1)).all()
    assert (shown[:, 2] == 200).all()


@given(CAMERAS, GEOMETRIC, st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.floats(1, 20))
def test_a_plane_stays_the_plane_to_the_last_digit(
    camera: Pinhole, transform: Transform, across: float, down: float, distance: float
) -> None:
    """Edge-aware depth of a plane is exact: after the turn, the points lie on the turned plane."""
    if hasattr(transform, "depth"):
        transform = replace(transform, depth="edge_aware")  # type: ignore[type-var]
    normal = np.array([across, down, 1.0])
    rays = unproject(np.ones((camera.height, camera.width), np.float32), camera).astype(np.float64)
    facing = rays @ normal
    assume(facing.min() > 0.3)
    depth = (distance / facing).astype(np.float32)
    sample = replace(make_sample(camera, 0), depth=DepthMap(depth, "metric"))
    result = apply(transform, sample)
    _, points, seen = trace_back(result, make_turn(transform), camera)
    steps = [np.abs(np.diff(depth, axis=axis)).max() for axis in (0, 1)]
    assume(sum(steps) < 0.04 * depth.min() * min(1, 500 / camera.fx))
    inner = ((seen >= 0.5) & (seen <= np.array([camera.width, camera.height]) - 0.5)).all(axis=1)
    np.testing.assert_allclose((points @ normal)[inner], distance, rtol=2e-5)


@given(CAMERAS, GEOMETRIC, st.integers(0, 99))
def test_points_move_as_pixels_do_and_back(camera: Pinhole, transform: Transform, seed: int) -> None:
    sample = make_sample(camera, seed)
    result = apply(transform, sample)
    motion = transform.trace(View.of(sample))
    assert motion.target == View.of(result)
    np.testing.assert_allclose(motion.turn, make_turn(transform), atol=1e-12)
    points = np.random.default_rng(seed).uniform(0, [camera.width, camera.height], (50, 2))
    moved = motion.move(points)
    rays = np.concatenate([(points - [camera.cx, camera.cy]) / [camera.fx, camera.fy], np.ones((50, 1))], 1)
    turned = rays @ make_turn(transform).T
    before = turned[:, 2] > 0.05
    assert result.camera
    np.testing.assert_allclose(moved[before], project(turned[before], result.camera), rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(motion.inverse().move(moved[before]), points[before], atol=1e-5)


@given(CAMERAS, GEOMETRIC, st.integers(0, 999), st.floats(0, 0.3))
def test_sparse_depth_stays_sparse(camera: Pinhole, transform: Transform, seed: int, share: float) -> None:
    """Each known pixel becomes one at most, the one its centre falls into; the nearest of several is kept."""
    sample = make_sample(camera, seed, holes=1 - share, sparse=True)
    result = apply(transform, sample)
    assert result.camera and result.sparse
    rows, columns = np.nonzero(np.isfinite(sample.depth.values))
    points = unproject(sample.depth.values, camera)[rows, columns].astype(np.float64) @ make_turn(transform).T
    points = points[points[:, 2] > 1e-3]
    seen = project(points, result.camera)
    assume((np.abs(seen - np.rint(seen)) > 1e-3).all())
    expected: dict[tuple[int, int], float] = {}
    for (x, y), z in zip(np.floor(seen).astype(int).tolist(), points[:, 2], strict=True):
        if 0 <= x < result.camera.width and 0 <= y < result.camera.height:
            expected[y, x] = min(z, expected.get((y, x), np.inf))
    found = {
        (y, x): result.depth.values[y, x] for y, x in np.argwhere(np.isfinite(result.depth.values)).tolist()
    }
    assert found == pytest.approx(expected, rel=1e-4)


@given(CAMERAS, GEOMETRIC, st.integers(0, 999))
def test_no_depth_is_invented_across_an_edge(camera: Pinhole, transform: Transform, seed: int) -> None:
    """Two surfaces, 2 and 5 metres away: nothing between; `nearest` gives no value that was not there."""
    sample = make_sample(camera, seed)
    near = np.random.default_rng(seed).random(sample.size) < 0.5
    sample = replace(sample, depth=DepthMap(np.where(near, np.float32(2), np.float32(5)), "metric"))
    if isinstance(transform, PerspectiveCrop):  # the depth of each changes: straight ahead it does not
        transform = replace(transform, yaw_deg=0, pitch_deg=0)
    values = apply(transform, sample).depth.values
    known = np.isfinite(values)
    distance = np.minimum(np.abs(values[known] - 2), np.abs(values[known] - 5))
    assert distance.max(initial=0) < 1e-5
    if not isinstance(transform, PerspectiveCrop) and getattr(transform, "depth", "nearest") == "nearest":
        assert distance.max(initial=0) == 0


@pytest.mark.parametrize("kind", KINDS)
@given(camera=CAMERAS, transform=st.one_of(WINDOWS, st.builds(Rotate, ANGLES, SAMPLINGS)))
def test_kinds_pass_through(kind: Any, camera: Pinhole, transform: Transform) -> None:
    sample = make_sample(camera, 0, kind=kind)
    result = transform(sample)
    assert result.depth.kind == kind
    if kind in ("disparity", "affine_invariant"):
        assert set(result.depth.values[np.isfinite(result.depth.values)]) <= set(sample.depth.values.ravel())


@pytest.mark.parametrize("kind", ["disparity", "affine_invariant"])
def test_depth_with_an_unknown_shift_has_no_other_axis(kind: Any) -> None:
    sample = make_sample(Pinhole.centred(50, 40, 30), 0, kind=kind)
    with pytest.raises(InputError, match=f"'a': depth of kind {kind} has an unknown shift"):
        PerspectiveCrop(10, 10, 20)(sample)


@given(CAMERAS, GEOMETRIC, st.integers(0, 9))
def test_the_mask_moves_along(camera: Pinhole, transform: Transform, seed: int) -> None:
    """A mask of what is nearer than 10 metres goes where that depth goes."""
    sample = make_sample(camera, seed, holes=0)
    if hasattr(transform, "depth"):
        transform = replace(transform, depth="nearest")  # type: ignore[type-var]
    alone = apply(transform, sample)
    masked = apply(transform, replace(sample, mask=sample.depth.values < 10))
    marked = replace(
        sample,
        depth=DepthMap(np.where(sample.depth.values < 10, np.float32(1), np.float32(np.nan)), "metric"),
    )
    expected = np.isfinite(apply(transform, marked).depth.values)
    assert alone.mask is None and masked.mask is not None
    np.testing.assert_array_equal(masked.mask, expected)
    np.testing.assert_array_equal(masked.valid, expected & np.isfinite(masked.depth.values))


@given(CAMERAS, GEOMETRIC)
def test_nothing_known_stays_nothing_known(camera: Pinhole, transform: Transform) -> None:
    for sparse in (False, True):
        result = apply(transform, make_sample(camera, 0, holes=1, sparse=sparse))
        assert result.valid_share == 0


@given(CAMERAS, GEOMETRIC, st.integers(0, 9))
def test_inputs_are_never_changed(camera: Pinhole, transform: Transform, seed: int) -> None:
    sample = make_sample(camera, seed, mask=np.ones((camera.height, camera.width), bool))
    before = pickle.dumps(sample)
    apply(transform, sample)
    assert pickle.dumps(sample) == before


@pytest.mark.parametrize("axis", ["horizontal", "vertical"])
def test_two_flips_are_none(axis: Any) -> None:
    sample = make_sample(Pinhole(50, 60, 11, 13, 40, 30), 0, mask=np.eye(30, 40, dtype=bool))
    once = Flip(axis)(sample)
    twice = Flip(axis)(once)
    assert not np.array_equal(once.frame.image, sample.frame.image)
    for one, other in zip(parts(twice), parts(sample), strict=True):
        np.testing.assert_array_equal(one, other)
    assert twice.camera == sample.camera != once.camera


def parts(sample: RGBDSample) -> tuple[Any, ...]:
    return sample.frame.image, sample.depth.values, sample.mask


def test_a_crop_and_its_padding_back() -> None:
    sample = make_sample(Pinhole(50, 60, 11, 13, 40, 30), 0)
    cut = Crop(5, 8, 20, 25)(sample)
    np.testing.assert_array_equal(cut.depth.values, sample.depth.values[5:25, 8:33])
    back = Crop(-5, -8, 30, 40, "pad")(cut)
    assert back.camera == sample.camera
    np.testing.assert_array_equal(back.depth.values[5:25, 8:33], cut.depth.values)
    assert not back.frame.image[:5].any() and np.isnan(back.depth.values[:5]).all()


def test_a_zoom_moves_the_focal_length_and_not_the_depth() -> None:
    sample = replace(make_sample(Pinhole.centred(100, 40, 30), 0), camera=None)
    closer = Zoom(2)(sample)
    assert closer.frame.f_px == closer.depth.f_px == 200
    assert (closer.frame.f_source, closer.camera) == ("given", None)
    np.testing.assert_array_equal(closer.depth.values[::2, ::2], sample.depth.values[8:23, 10:30])
    squeezed = Resize(30, 20)(sample)
    assert (squeezed.frame.f_px, squeezed.frame.f_source, squeezed.depth.f_px) == (None, None, None)


RANDOM = [
    Sometimes(Flip()),
    RandomCrop(20, 30),
    RandomZoom((0.8, 2)),
    RandomRotate(20),
    RandomPerspectiveCrop(24, 32, (20, 50), 10),
    Photometric(lambda image, rng: rng.permuted(image, axis=2)),
]


@pytest.mark.parametrize("step", RANDOM, ids=lambda step: type(step).__name__)
def test_what_is_drawn_depends_on_seed_and_key_alone(step: Any) -> None:
    samples = [
        replace(make_sample(Pinhole.centred(60, 60, 40), 0), frame=replace(make_frame(), key=key))
        for key in "abcdefgh"
    ]
    several = [step(sample, 7) for sample in samples]
    backwards = [step(sample, 7) for sample in reversed(samples)][::-1]
    for one, other in zip(several, backwards, strict=True):
        assert one.camera == other.camera
        np.testing.assert_array_equal(one.frame.image, other.frame.image)
        np.testing.assert_array_equal(one.depth.values, other.depth.values)
    others = [*(step(sample, 8) for sample in samples), *several]
    assert len({(each.frame.image.tobytes(), each.camera) for each in others}) > 1
    assert len({(each.frame.image.tobytes(), each.camera) for each in several}) > 1


def make_frame() -> Frame:
    return make_sample(Pinhole.centred(60, 60, 40), 0).frame


def test_what_was_drawn_can_be_done_again_elsewhere() -> None:
    sample = make_sample(Pinhole.centred(60, 60, 40), 0)
    steps = Compose(
        [Sometimes(Flip()), RandomZoom((1, 2)), RandomPerspectiveCrop(24, 32, (15, 25)), RandomCrop(20, 20)]
    )
    drawn = steps.draw(View.of(sample), np.random.default_rng(3))
    again = pickle.loads(pickle.dumps(drawn))
    assert again == drawn
    one, other = drawn(sample), again(sample)
    np.testing.assert_array_equal(one.depth.values, other.depth.values)
    assert pickle.loads(pickle.dumps(steps)) == steps
    motion = drawn.trace(View.of(sample))
    points = unproject(np.full(one.size, 2, np.float32), one.camera).reshape(-1, 3) @ motion.turn  # type: ignore[arg-type]
    expected = project(points, sample.camera)  # type: ignore[arg-type]
    grid = np.stack(np.meshgrid(np.arange(20), np.arange(20)), axis=-1).reshape(-1, 2) + 0.5
    np.testing.assert_allclose(motion.inverse().move(grid), expected, atol=1e-3)
    assert (
        steps(sample, 5).frame.image
        == steps(sample, np.random.default_rng([5, *key_number("a")])).frame.image
    ).all()


def key_number(key: str) -> list[int]:
    import xxhash

    return [xxhash.xxh3_64_intdigest(key.encode())]


def test_perspective_crops_stay_inside_and_cover_the_range() -> None:
    view = View(480, 640, Pinhole(520, 525, 300, 250, 640, 480))
    step = RandomPerspectiveCrop(224, 224, (20, 45), 15)
    rng = np.random.default_rng(0)
    drawn = [step.draw(view, rng) for _ in range(200)]
    for crop in drawn:
        corners = crop.trace(view).inverse().move(np.array([[0, 0], [224, 0], [0, 224], [224, 224]]))
        assert (corners >= -1e-3).all() and (corners <= [640.001, 480.001]).all()
    assert min(crop.fov_deg for crop in drawn) < 22 and max(crop.fov_deg for crop in drawn) > 42
    assert {crop.yaw_deg > 0 for crop in drawn} == {crop.pitch_deg > 0 for crop in drawn} == {True, False}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: RandomCrop(31, 20)(s, 0), "20 x 31 pixels is larger than an image of 40 x 30: .*pad"),
        (lambda s: Crop(0, 21, 10, 20)(s), "20 x 10 pixels at column 21, row 0 .* image of 40 x 30"),
        (lambda s: Crop(0, 0, 0, 20), "20 x 0 pixels cannot be made"),
        (lambda s: RandomCrop(5, 5)(s), r"seeded by None: .*transform\(sample, 0\)"),
        (lambda s: RandomCrop(5, 5)(s, -1), "seeded by -1"),
        (lambda s: Zoom(0), "is no zoom"),
        (lambda s: RandomZoom((2, 1)), r"\(2, 1\) are no factors"),
        (lambda s: Resize(5, 5, "bilinear"), "sampled by 'bilinear': use one of nearest, edge_aware"),
        (lambda s: Crop(0, 0, 5, 5, "reflect"), "outside='reflect': use"),
        (lambda s: Flip("both"), "unknown axis 'both'"),
        (lambda s: Sometimes(Flip(), 2), "2 is no probability"),
        (lambda s: PerspectiveCrop(9, 9, 180), "field of view of 180 degrees"),
        (lambda s: PerspectiveCrop(9, 9, 20, yaw_deg=120)(s), "looks behind the camera"),
        (lambda s: PerspectiveCrop(9, 9, 90)(s), "sees more than an image of 40 x 30"),
        (lambda s: RandomPerspectiveCrop(9, 9, (90, 95))(s, 0), "fov_deg=90.* sees more than an image"),
        (lambda s: PerspectiveCrop(9, 9, 20)(replace(s, camera=None)), "needs the sample's camera"),
        (lambda s: RandomPerspectiveCrop(9, 9, (20, 30))(replace(s, camera=None), 0), "needs the .* camera"),
        (lambda s: RandomPerspectiveCrop(9, 9, (30, 20)), "no range of fields of view"),
        (lambda s: Photometric(lambda image, rng: image[:5])(s, 0), r"uint8 \(5, 40, 3\) of uint8 \(30"),
        (lambda s: CanonicalDepth()(replace(s, camera=None)), "needs the sample's camera"),
        (lambda s: CanonicalDepth()(CanonicalDepth()(s)), "kind scale_invariant where metric is needed"),
        (lambda s: CanonicalDepth(0), "0 is no focal length"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused(call: Callable[[RGBDSample], object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        call(make_sample(Pinhole.centred(50, 40, 30), 0))


def test_a_smaller_image_is_placed_anywhere_in_a_padded_crop() -> None:
    sample = make_sample(Pinhole.centred(50, 40, 30), 0, holes=0)
    results = [RandomCrop(40, 50, "pad")(sample, seed) for seed in range(20)]
    assert all(result.valid.sum() == 1200 for result in results)
    assert len({result.camera.cx for result in results if result.camera}) > 5


@given(CAMERAS, GEOMETRIC)
def test_what_is_not_geometry_stays(camera: Pinhole, transform: Transform) -> None:
    sample = make_sample(camera, 0, origin="rooms", sparse=True)
    frame = replace(sample.frame, timestamp_s=1.5, full_size=sample.size)
    depth = replace(sample.depth, model="m", weights_sha256="abc", full_size=sample.size)
    result = apply(transform, replace(sample, frame=frame, depth=depth))
    moved = {"image", "values", "f_px", "f_source", "full_size", "frame", "depth", "camera", "mask"}
    for old, new in ((sample, result), (frame, result.frame), (depth, result.depth)):
        names = {field.name for field in fields(old)} - moved
        assert {name: getattr(new, name) for name in names} == {name: getattr(old, name) for name in names}


def test_photometric_changes_touch_the_image_alone() -> None:
    sample = make_sample(Pinhole.centred(50, 40, 30), 0)
    result = Photometric(lambda image, rng: 255 - image)(sample, 0)
    np.testing.assert_array_equal(result.frame.image, 255 - sample.frame.image)
    assert result.depth is sample.depth and result.camera is sample.camera


def test_canonical_depth_mixes_cameras_and_is_undone() -> None:
    """Two cameras, one image: the longer lens sees things farther away; canonical depth is the same."""
    near = make_sample(Pinhole.centred(50, 40, 30), 0)
    far = replace(near, depth=DepthMap(near.depth.values * 3, "metric"), camera=Pinhole.centred(150, 40, 30))
    canonical = CanonicalDepth(500)
    one, other = canonical(near), canonical(far)
    assert one.depth.kind == "scale_invariant"
    np.testing.assert_allclose(one.depth.values, other.depth.values, rtol=1e-6)
    undone = canonical.undo(other.depth, far.camera)  # type: ignore[arg-type]
    np.testing.assert_allclose(undone.values, far.depth.values, rtol=1e-6)
    assert undone.kind == "metric"


def test_an_image_comes_out_the_same_without_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cv2")
    sample = make_sample(Pinhole.centred(50, 60, 50), 0, mask=np.eye(50, 60, dtype=bool))
    sample = replace(sample, frame=replace(sample.frame, image=make_noise(50, 60)))
    steps = [
        Flip(),
        Flip("vertical"),
        Zoom(1.7),
        Zoom(0.7),
        Resize(25, 30),
        Resize(33, 60),
        Resize(1, 1),
        Resize(70, 95),
    ]
    if not pixels._load_opencv():
        pytest.skip("this OpenCV (before 4.11) has other bits, so it is not used")
    with_opencv = [step(sample) for step in steps]
    monkeypatch.setattr(pixels, "_load_opencv", lambda: None)
    for step, result in zip(steps, with_opencv, strict=True):
        for one, other in zip(parts(step(sample)), parts(result), strict=True):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype


def make_noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("opencv", [True, False])
@given(st.one_of(ROTATIONS, PERSPECTIVES), st.integers(1, 60), st.integers(1, 50))
def test_turned_images_are_mixed_to_a_level(
    opencv: bool, transform: Transform, width: int, height: int
) -> None:
    """scipy mixes in float64: OpenCV is off by rounding, Pillow by cutting off; black is what is outside."""
    if opencv and not pixels._load_warps():
        pytest.skip("no OpenCV, or one with other values, which is not used")
    from scipy.ndimage import map_coordinates

    image, camera = make_noise(height, width), Pinhole(70, 80, width / 2.1, height / 1.9, width, height)
    with leave_out_refusals():
        motion = transform.trace(View(height, width, camera))
    target = motion.target
    rows, columns = np.indices((target.height, target.width)) + 0.5
    across, down = np.moveaxis(motion.inverse().move(np.stack([columns, rows], axis=-1)), -1, 0)
    at, colours = [down - 0.5, across - 0.5], np.moveaxis(image.astype(float), -1, 0)
    mixed = [map_coordinates(each, at, order=1, mode="nearest") for each in colours]
    expected = np.stack(mixed, axis=-1)
    inside = (across > 0) & (across < width) & (down > 0) & (down < height)
    surely = (np.abs(np.stack([across, across - width, down, down - height])) > 1e-3).all(axis=0)
    with pytest.MonkeyPatch.context() as patch:
        if not opencv:
            patch.setattr(pixels, "_load_warps", lambda: None)
        found = pixels.warp_linear(image, motion.pixels, target.height, target.width)
    off = found[surely] - np.where(inside[..., None], expected, 0)[surely]
    low, high = (-0.6, 0.6) if opencv else (-1.01, 0.01)
    assert off.min(initial=0) >= low and off.max(initial=0) <= high


KEPT_TURN = [  # of commit b227764: green, depth and mask of the turn below
    [[0, 0, 212, 188, 146, 141, 149, 0], [202, 169, 188, 163, 108, 158, 122, 114],
     [188, 115, 98, 137, 107, 181, 171, 187], [210, 126, 165, 76, 138, 133, 161, 155],
     [181, 101, 130, 189, 164, 49, 57, 7], [0, 208, 188, 138, 200, 106, 0, 0]],
    [[0, 0, 4, 5, 6, 15, 16, 0], [2, 3, 4, 13, 14, 22, 23, 32], [2, 10, 11, 20, 21, 30, 31, 32],
     [9, 18, 19, 28, 29, 30, 39, 39], [17, 26, 26, 35, 36, 37, 46, 47], [0, 33, 34, 35, 44, 45, 0, 0]],
    [[0, 0, 1, 1, 0, 0, 1, 0], [1, 0, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 1, 1],
     [0, 0, 1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 0, 1, 1, 1], [0, 0, 1, 1, 1, 0, 0, 0]],
]  # fmt: skip
KEPT_LOOK = [
    [[193, 197, 186, 138, 132, 0], [155, 112, 117, 146, 109, 0], [73, 164, 119, 176, 178, 0],
     [175, 220, 136, 85, 113, 0], [57, 46, 0, 0, 0, 0]],
    [[1.9227, 3.9073, 4.9228, 5.9538, 8.0623, 0], [9.6716, 10.7239, 12.8749, 22.0865, 24.4659, 0],
     [17.5135, 26.6362, 29.0582, 30.2924, 31.5421, 0], [33.4765, 34.732, 36.003, 38.5914, 48.3686, 0],
     [41.5976, 42.9208, 0, 0, 0, 0]],
    [[1, 1, 1, 0, 1, 0], [1, 1, 1, 1, 0, 0], [0, 0, 1, 0, 1, 0], [1, 1, 0, 1, 1, 0], [0, 1, 0, 0, 0, 0]],
]  # fmt: skip


@pytest.mark.parametrize("opencv", [True, False])
@pytest.mark.parametrize(
    ("step", "kept"),
    [
        (Rotate(25), KEPT_TURN),
        (PerspectiveCrop(5, 6, 50, yaw_deg=4, pitch_deg=-3, roll_deg=7, outside="pad"), KEPT_LOOK),
    ],
)
def test_turns_keep_the_values_they_had(
    step: Transform, kept: Any, opencv: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow's image, to the bit without OpenCV and to a level with it; depth and mask, either way."""
    if not opencv:
        monkeypatch.setattr(pixels, "_load_warps", lambda: None)
    depth = np.arange(1, 49, dtype=np.float32).reshape(6, 8)
    sample = RGBDSample(
        Frame("a", make_noise(6, 8)), DepthMap(depth, "metric"), Pinhole(9, 9, 4.2, 2.9, 8, 6), depth % 3 > 0
    )
    result = step(sample)
    green = result.frame.image[..., 1].astype(int)
    assert np.abs(green - kept[0]).max() <= (1 if opencv else 0)
    np.testing.assert_allclose(np.nan_to_num(result.depth.values), kept[1], atol=1e-4)
    np.testing.assert_array_equal(result.mask, kept[2])


@pytest.mark.parametrize("roll_deg", [-170, -30, 10, 45])
def test_a_rotated_image_is_that_of_albumentations(roll_deg: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_ALBUMENTATIONS_UPDATE", "1")
    albumentations = pytest.importorskip("albumentations")
    image = make_noise(90, 120)
    rotate = albumentations.Rotate((roll_deg, roll_deg), p=1)
    expected = rotate(image=image)["image"].astype(int)
    depth = DepthMap(np.ones((90, 120), np.float32), "metric")
    result = Rotate(roll_deg)(RGBDSample(Frame("a", image), depth))
    black = ~np.isfinite(result.depth.values)
    assert not result.frame.image[black].any()
    inner = (
        rotate(image=np.pad(np.full((86, 116, 3), 255, np.uint8), ((2, 2), (2, 2), (0, 0))))["image"] == 255
    )
    assert inner.mean() > 0.5
    assert np.abs(result.frame.image - expected)[inner].max() <= 1  # at edges theirs is mixed with black


@given(*[st.integers(1, 90)] * 4)
def test_images_are_mixed_as_opencv_mixes_them(height: int, width: int, tall: int, wide: int) -> None:
    cv2 = pytest.importorskip("cv2")
    image = make_noise(height, width)
    expected = cv2.resize(image, (wide, tall), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(pixels._mix(image, tall, wide), expected)


def test_what_shrinks_much_is_averaged() -> None:
    """A chequered image is grey from afar, not black or white by chance."""
    camera = Pinhole.centred(300, 320, 240)
    image = np.repeat((255 * (np.indices((240, 320)).sum(axis=0) % 2)).astype(np.uint8)[..., None], 3, axis=2)
    sample = replace(make_sample(camera, 0), frame=Frame("a", image))
    for step in (Resize(50, 60), PerspectiveCrop(40, 40, 40, yaw_deg=3)):
        assert np.abs(step(sample).frame.image.astype(int) - 127).max() < 40


def test_tensors_hold_what_the_sample_does() -> None:
    torch = pytest.importorskip("torch")
    from cortexia_video.datasets.torch.tensors import to_tensors

    sample = make_sample(Pinhole(50, 60, 11, 13, 40, 30), 0)
    tensors = to_tensors(Flip()(sample))
    assert {name: tuple(each.shape) for name, each in tensors.items() if isinstance(each, torch.Tensor)} == {
        "pixel_values": (3, 30, 40),
        "labels": (1, 30, 40),
        "valid": (1, 30, 40),
        "intrinsics": (3, 3),
    }
    flipped = sample.depth.values[:, ::-1]
    np.testing.assert_array_equal(tensors["labels"][0], np.nan_to_num(flipped))
    np.testing.assert_array_equal(tensors["valid"][0], np.isfinite(flipped))
    np.testing.assert_allclose(255 * tensors["pixel_values"][1], sample.frame.image[:, ::-1, 1], rtol=1e-6)
    assert tensors["intrinsics"].tolist() == [[50, 0, 29], [0, 60, 13], [0, 0, 1]]
    assert (tensors["kind"], tensors["key"]) == ("metric", "a")
    assert to_tensors(replace(sample, camera=None))["intrinsics"].isnan().all()
