"""The filter against flicker, on moves over a picture whose motion and depth are known exactly."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import InputError
from cortexia_video.video.optical_flow import find_flow
from cortexia_video.video.steady import Steady, SteadyMode

Array = NDArray[np.float32]
HEIGHT, WIDTH, FRAMES = 96, 128, 16


def make_scene() -> tuple[Array, Array]:
    """Return a large picture, grey 0..255, and its depth: steps between things, and slopes."""
    scene = np.asarray(Image.open("examples/room_900002.jpg").convert("L"), np.float32)[:260, :320]
    rows, columns = np.indices(scene.shape, np.float32)
    depth = 2 + rows / 130 + 1.5 * (columns > 150) + 0.8 * (rows > 140)
    return scene, depth.astype(np.float32)


def make_move(noise: float = 0.08, seed: int = 0) -> Iterator[tuple[Array, Array, Array]]:
    """Yield grey, flickering depth and true depth of a pan of 3 and 2 pixels a frame."""
    scene, depth = make_scene()
    random = np.random.default_rng(seed)
    for number in range(FRAMES):
        window = slice(2 * number, 2 * number + HEIGHT), slice(3 * number, 3 * number + WIDTH)
        coarse = random.normal(0, 1, (HEIGHT // 8, WIDTH // 8)).astype(np.float32)
        flicker = np.asarray(Image.fromarray(coarse).resize((WIDTH, HEIGHT)))
        grey = scene[window] + random.normal(0, 2, (HEIGHT, WIDTH)).astype(np.float32)
        yield grey.astype(np.float32), depth[window] * np.exp(noise * flicker), depth[window]


def measure_change(frames: list[Array], true: list[Array]) -> float:
    """Return the mean change along the motion that the truth does not have: tce."""
    changes = [
        np.abs((b[:-2, :-3] - a[2:, 3:]) - (d[:-2, :-3] - c[2:, 3:])).mean()
        for (a, b), (c, d) in zip(pairwise(frames), pairwise(true), strict=True)
    ]
    return float(np.mean(changes[2:]))


def run(mode: SteadyMode, kind: DepthKind = "disparity", scale: float = 0.0) -> tuple[list[Array], ...]:
    steady, random = Steady(mode, kind), np.random.default_rng(5)
    raw, out, true = [], [], []
    for number, (grey, depth, truth) in enumerate(make_move()):
        depth = (depth * np.exp(random.normal(0, scale))).astype(np.float32) if scale else depth
        ((at, values),) = steady.add(number, grey, depth)
        assert at == number and values.dtype == np.float32
        raw.append(depth), out.append(values), true.append(truth)  # type: ignore[func-returns-value]
    return raw, out, true


def error(frames: list[Array], true: list[Array]) -> float:
    return float(np.mean([np.abs(a / b - 1).mean() for a, b in zip(frames, true, strict=True)]))


@pytest.mark.parametrize("kind", ["disparity", "metric"])
def test_flicker_falls_to_less_than_half_and_depth_is_nearer_to_the_ground_truth(kind: DepthKind) -> None:
    raw, out, true = run("mean", kind)
    assert measure_change(out, true) < 0.5 * measure_change(raw, true)
    assert error(out, true) < 0.75 * error(raw, true)


def test_edges_stay_where_they_are() -> None:
    _, out, true = run("mean")
    across = [np.abs(np.diff(each, axis=1)) > 0.75 for each in (out[-1], true[-1])]
    assert (across[0] & across[1]).sum() > 0.9 * across[1].sum()


def test_a_still_clip_comes_to_rest() -> None:
    (grey, _, depth), *_ = make_move()
    random, steady = np.random.default_rng(2), Steady("mean", "disparity")
    noisy = [depth + random.normal(0, 0.05, depth.shape).astype(np.float32) for _ in range(30)]
    out = [steady.add(number, grey, each)[0][1] for number, each in enumerate(noisy)]
    changes = [np.abs(b - a).mean() for a, b in pairwise(out)]
    assert np.mean(changes[-5:]) < 0.25 * np.abs(noisy[1] - noisy[0]).mean()


def test_a_cut_leaves_no_trace() -> None:
    steady = Steady("mean", "disparity")
    for number, (grey, depth, _) in enumerate(make_move()):
        steady.add(number, grey, depth)
    other = np.random.default_rng(9).uniform(0, 255, (HEIGHT, WIDTH)).astype(np.float32)
    wall = np.full((HEIGHT, WIDTH), 9, np.float32) + np.linspace(0, 1, WIDTH, dtype=np.float32)
    ((_, values),) = steady.add(FRAMES, other, wall)
    assert np.array_equal(values, wall)
    assert steady.cuts == 1


def test_align_takes_jumps_of_scale_away() -> None:
    raw, mean, true = run("mean", scale=0.05)
    _, aligned, _ = run("align", scale=0.05)
    assert measure_change(mean, true) < 0.8 * measure_change(raw, true)
    assert measure_change(aligned, true) < 0.75 * measure_change(mean, true)


def test_metres_keep_their_scale() -> None:
    with pytest.raises(InputError, match="metres"):
        Steady("align", "metric")
    _, out, true = run("mean", "metric")
    assert np.median(np.array(out) / np.array(true)) == pytest.approx(1, abs=0.01)


def test_off_gives_depth_as_it_is() -> None:
    raw, out, _ = run("off")
    assert all(a is b for a, b in zip(raw, out, strict=True))


def test_it_goes_on_from_its_state_as_if_nothing_had_been() -> None:
    whole, first = Steady("mean", "metric"), Steady("mean", "metric")
    frames = [(grey, depth) for grey, depth, _ in make_move()]
    expected = [whole.add(number, *each)[0][1] for number, each in enumerate(frames)]
    for number, each in enumerate(frames[:7]):
        first.add(number, *each)
    state = {name: values.copy() for name, values in first.state().items()}
    second = Steady("mean", "metric", state)
    for number, each in enumerate(frames[7:], 7):
        assert np.array_equal(second.add(number, *each)[0][1], expected[number])


@pytest.mark.parametrize("move", [(0, 0), (3, -2), (-5, 7), (7, 3)])
def test_motion_is_found(move: tuple[int, int]) -> None:
    scene, _ = make_scene()
    down, across = move
    before = scene[60 : 60 + HEIGHT, 60 : 60 + WIDTH]
    now = scene[60 + down : 60 + down + HEIGHT, 60 + across : 60 + across + WIDTH]
    flow = find_flow(now, before)[:, 16:-16, 16:-16]
    error = np.hypot(flow[0] - down, flow[1] - across)
    assert np.median(error) < 0.5


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (3, 3), (8, 5), (16, 17)])
def test_small_maps_are_taken(shape: tuple[int, int]) -> None:
    random, steady = np.random.default_rng(3), Steady("mean", "disparity")
    for number in range(3):
        values = random.random(shape).astype(np.float32)
        ((_, out),) = steady.add(number, 255 * values, values)
        assert out.shape == shape and np.isfinite(out).all()


@pytest.mark.parametrize(("mode", "kind"), [("mean", "metric"), ("align", "disparity")])
def test_sky_stays_unknown_and_takes_nothing_from_what_is_before_it(
    mode: SteadyMode, kind: DepthKind
) -> None:
    steady, whole = Steady(mode, kind), Steady(mode, kind)
    for number, (grey, depth, _) in enumerate(make_move()):
        sky = np.indices(depth.shape)[0] < 20 + number % 5  # its border is not quite the same in each frame
        ((_, values),) = steady.add(number, grey, np.where(sky, np.float32(np.nan), depth))
        ((_, expected),) = whole.add(number, grey, depth)
        np.testing.assert_array_equal(np.isnan(values), sky)
        assert values.dtype == np.float32
        if mode == "mean":
            np.testing.assert_allclose(values[60:], expected[60:], rtol=0.05)
    steady.add(99, grey, np.full_like(grey, np.nan))
    ((_, values),) = steady.add(100, grey, depth)
    assert np.isfinite(values).all()
