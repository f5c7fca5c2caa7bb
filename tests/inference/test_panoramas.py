"""A model that sees panoramas by their views: by the run's whole way, from files to points."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geometry.test_panorama import HIGH, LOW, TRUTH, Z, differ, find_angles
from PIL import Image
from telling_model import NORMAL, Telling

import cortexia_video as cx
from cortexia_video import DepthEstimator, Frame, SyntheticModel, estimate, load_estimator
from cortexia_video.errors import InputError, ModelError
from cortexia_video.geometry.sphere import find_directions, list_views
from cortexia_video.images.resampling import resize_depth
from cortexia_video.inference.panorama import Panorama
from cortexia_video.ledger.lines import read_done


class Knowing(SyntheticModel):
    """Knows the true depth of the views, which it is shown in their order, each in a scale of its own."""

    def __init__(self, kind: str, *, focal: bool = False, most: int = 12) -> None:
        super().__init__("knowing", kind=kind, short_side=96)
        scales = np.random.default_rng(5).uniform(0.5, 2, (12, 1, 1))
        self.truth = scales * (1 / Z + 0.2) if kind == "disparity" else Z if kind == "metric" else scales * Z
        self.most, self.calls, self.frames = most, [], []
        self.shown = 0

    def preprocess_frame(self, frame: Frame, size: tuple[int, int]) -> np.ndarray:
        self.frames.append(frame)
        self.shown += 1
        return np.array([(self.shown - 1) % 12])

    def infer(self, batch: np.ndarray) -> np.ndarray:
        if len(batch) > self.most:
            raise MemoryError
        self.calls.append(len(batch))
        return self.truth[batch[:, 0]].astype(np.float32)


def make_panorama(height: int = 120) -> np.ndarray:
    return np.rint((find_directions(height, 2 * height) + 1) * 127.5).astype(np.uint8)


@pytest.mark.parametrize("kind", ["metric", "scale_invariant", "disparity"])
def test_the_ground_truth_of_the_views_is_that_around(kind: str) -> None:
    model = Knowing(kind)
    depth = DepthEstimator(Panorama(model))(Frame("a", make_panorama(128), f_px=99.0))
    assert (depth.kind, depth.projection, depth.f_px, depth.values.shape) == (
        kind,
        "equirectangular",
        None,
        (128, 256),
    )
    truth = 1 / TRUTH if kind == "disparity" else TRUTH
    errors = np.abs(depth.values / truth - 1) if kind == "metric" else differ(depth.values, truth)
    assert np.median(errors) < 5e-3 and np.quantile(errors, 0.95) < 0.03
    assert {frame.image.shape for frame in model.frames} == {(81, 81, 3)}
    assert model.frames[0].f_px == pytest.approx(40.5)  # the camera of a view is known


def test_each_panorama_of_a_batch_is_as_alone_and_full_memory_makes_calls_smaller() -> None:
    estimator = DepthEstimator(Panorama(Knowing("metric", most=2)), batch_size=4)
    frames = [Frame(f"{number}", make_panorama(64)) for number in range(3)]
    found = [*estimator.estimate(frames)]
    for each in found:
        np.testing.assert_array_equal(each.values, found[0].values)  # type: ignore[union-attr]
    assert {*estimator.model._model.calls} == {2}  # type: ignore[attr-defined]


def test_nothing_jumps_where_the_ends_meet_at_any_size() -> None:
    values = np.sin(2 * np.pi * (np.arange(40) + 0.5) / 40)[None].repeat(20, 0).astype(np.float32) + 2
    for width in (40, 93, 400, 31):
        out = resize_depth(values, 57, width, around=True)
        expected = np.sin(2 * np.pi * (np.arange(width) + 0.5) / width) + 2
        np.testing.assert_allclose(out[30], expected, atol=5e-3)
    turned = resize_depth(np.roll(values, 7, axis=1), 20, 400, around=True)
    np.testing.assert_allclose(
        turned, np.roll(resize_depth(values, 20, 400, around=True), 70, axis=1), atol=1e-5
    )


def test_what_views_do_not_know_is_unknown() -> None:
    image = np.full((64, 128, 3), 120, np.uint8)
    image[:20] = 255  # sky
    image[40:44] = 60
    estimator = DepthEstimator(Panorama(Telling()), also="mask")
    depth = estimator(image)
    assert depth.valid is not None and not depth.valid[:8].any() and depth.valid[40:].all()
    assert np.isnan(depth.values[:8]).all() and np.isfinite(depth.values[40:]).all()
    assert np.isfinite(DepthEstimator(Panorama(Telling()), sky="keep")(image).values).all()
    with pytest.raises(InputError, match="synthetic gives no confidence: leave `also` out"):
        DepthEstimator(Panorama(SyntheticModel()), also="confidence")


def test_what_views_tell_besides_is_carried() -> None:
    """Where a view looks, its normals, which are alike in each view's axes, are turned by its rotation."""
    image = np.full((64, 128, 3), 120, np.uint8)
    image[::4] = 60
    depth = DepthEstimator(Panorama(Telling()), also="normals,confidence")(image)
    assert depth.normals is not None and depth.confidence is not None
    np.testing.assert_allclose(np.linalg.norm(depth.normals, axis=-1), 1, atol=1e-5)
    assert 60 / 255 <= depth.confidence.min() < depth.confidence.max() <= 121 / 255
    directions, rotation = find_directions(64, 128), list_views()[0]
    middle = np.unravel_index(np.argmax(directions @ rotation[2]), (64, 128))
    assert depth.normals[middle] @ (NORMAL @ rotation) > 0.98  # neighbours see it, too, at their borders


def test_normals_follow_where_the_model_gives_none() -> None:
    depth = DepthEstimator(Panorama(Knowing("metric")), also="normals")(make_panorama(128))
    assert depth.normals is not None
    assert np.median(find_angles(depth.normals)) < 0.5
    relative = DepthEstimator(Panorama(Knowing("disparity")), also="normals")(make_panorama(128))
    assert relative.normals is None


def test_what_is_no_panorama_fails_in_one_line() -> None:
    with pytest.raises(
        ModelError, match="it is 120 x 90, and an equirectangular panorama is twice as wide as high"
    ):
        DepthEstimator(Panorama(SyntheticModel()))(np.zeros((90, 120, 3), np.uint8))
    with pytest.raises(
        InputError, match="`projection` must be one of perspective, equirectangular, got 'fisheye'"
    ):
        load_estimator(projection="fisheye")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="panorama has no focal length"):
        cx.DepthMap(np.ones((2, 4), np.float32), "metric", f_px=3.0, projection="equirectangular")


def run(folder: Path, **options: Any) -> cx.Report:
    return estimate(folder / "in", folder / "out", projection="equirectangular", format="npz", **options)


@pytest.fixture
def panoramas(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    Image.fromarray(make_panorama(100)).save(tmp_path / "in/a.png")
    Image.fromarray(make_panorama(100)[:60]).save(tmp_path / "in/b.png")
    return tmp_path


def test_a_run_says_what_its_files_are(panoramas: Path) -> None:
    report = run(panoramas)
    assert (report.done, report.failed) == (1, 1)
    assert report.failures[0].reason.startswith("it is 200 x 60, and an equirectangular panorama")
    (line,) = read_done(panoramas / "out")
    assert line["projection"] == "equirectangular" and line["f_px"] is None
    depth = cx.read_depth(panoramas / "out/a.png.npz")
    assert (depth.kind, depth.projection, depth.values.shape) == ("disparity", "equirectangular", (100, 200))
    assert run(panoramas).skipped == 1
    words = [sys.executable, "-m", "cortexia_video", "info", str(panoramas / "out/a.png.npz")]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "equirectangular: distances along the rays" in shown


def test_what_has_no_meaning_all_around_is_refused(panoramas: Path) -> None:
    for options, message in (
        ({"f_px": 100.0}, "has no focal length: leave `f_px`"),
        ({"also": ["normals"], "model": DepthEstimator(Panorama(SyntheticModel()))}, "gives also [], not"),
        ({"model": DepthEstimator(SyntheticModel())}, "the loaded model gives projection 'perspective'"),
    ):
        with pytest.raises(InputError) as raised:
            run(panoramas, **options)  # type: ignore[arg-type]
        assert message in str(raised.value)


def test_points_are_where_the_room_is(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(make_panorama(128)).save(tmp_path / "in/a.png")
    model = DepthEstimator(Panorama(Knowing("metric")))
    assert run(tmp_path, model=model).done == 1
    depth = cx.read_depth(tmp_path / "out/a.png.npz")
    cloud = cx.point_cloud(depth, tmp_path / "in/a.png")
    off_walls = np.minimum(np.abs(cloud.points - LOW), np.abs(cloud.points - HIGH)).min(axis=1)
    assert np.median(off_walls) < 0.01 and len(cloud.points) > 20_000
    seen = cloud.points / np.linalg.norm(cloud.points, axis=1, keepdims=True)
    assert np.abs(seen - (cloud.colors / 127.5 - 1)).max() < 0.02  # colours are the directions
    with pytest.raises(InputError, match="a panorama has no focal length"):
        cx.point_cloud(depth, tmp_path / "in/a.png", f_px=100.0)
    facing = cx.point_cloud(depth, tmp_path / "in/a.png", normals=True).normals
    assert facing is not None and (np.abs(facing).max(axis=1) > 0.999).mean() > 0.8  # walls
