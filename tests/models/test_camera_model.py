"""The seam for networks that need a focal length: known, estimated, native, in half precision."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from camera_model import POISON, Camera
from PIL import Image

from cortexia_video import DepthEstimator, DepthMap, Failure, Frame, estimate, read_ledger
from cortexia_video.geometry import depth_to_normals
from cortexia_video.images.resampling import resize_depth
from cortexia_video.models.canonical_depth import to_metres
from cortexia_video.pinhole import to_f_px, to_fov_deg


def frame(key: str, f_px: float | None = None, size: tuple[int, int] = (48, 64), level: int = 100) -> Frame:
    return Frame(key, np.full((*size, 3), level, np.uint8), f_px, "given" if f_px else None)


def test_field_of_view_and_focal_length_are_each_others_inverse() -> None:
    assert to_f_px(90.0, 640) == pytest.approx(320)
    assert to_fov_deg(320.0, 640) == pytest.approx(90)
    for f_px in (3.0, 500.0, 1e6):
        assert to_f_px(to_fov_deg(f_px, 4000), 4000) == pytest.approx(f_px, rel=1e-9)


def test_depth_follows_from_the_focal_length_that_is_known() -> None:
    near, far = DepthEstimator(Camera()).estimate([frame("near", 50.0), frame("far", 100.0)])
    np.testing.assert_allclose(far.values, 2 * near.values, rtol=1e-6)
    assert (far.f_px, far.f_source, far.kind) == (100.0, "given", "metric")


def test_a_focal_length_that_is_not_known_is_estimated_and_recorded() -> None:
    (depth,) = DepthEstimator(Camera()).estimate([frame("a")])
    assert depth.f_source == "estimated"
    assert depth.f_px == pytest.approx(32 / math.tan(math.radians(30)))
    (known,) = DepthEstimator(Camera()).estimate([frame("a", depth.f_px)])
    np.testing.assert_allclose(depth.values, known.values, rtol=1e-6)


def test_what_is_resized_is_what_the_network_gave_not_the_depth() -> None:
    model = Camera()
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    (full,) = DepthEstimator(model).estimate([Frame("a", image, 90.0, "exif")])
    (native,) = DepthEstimator(model, size="native").estimate([Frame("a", image, 90.0, "exif")])
    assert (native.values.shape, native.full_size, native.f_px) == ((32, 40), (96, 128), 90.0)
    np.testing.assert_allclose(1 / full.values, resize_depth(1 / native.values, 96, 128), rtol=1e-5)


@pytest.mark.parametrize("size", ["native", "full"])
def test_normals_follow_from_depth_where_nothing_is_resized_and_it_is_made_in_place(size: str) -> None:
    class InPlace(Camera):
        def to_depth(self, values: np.ndarray, fov_deg: float) -> np.ndarray:
            return to_metres(values, fov_deg)

    image = np.repeat(np.linspace(40, 200, 40, dtype=np.uint8)[None, :, None], 32, axis=0).repeat(3, axis=2)
    depth = DepthEstimator(InPlace(), also=["normals"], size=size)(Frame("a", image, 40.0, "given"))
    assert depth.camera is not None and depth.normals is not None and depth.values.shape == (32, 40)
    np.testing.assert_allclose(depth.normals, depth_to_normals(depth.values, depth.camera), atol=1e-5)


def test_images_with_and_without_focal_length_do_not_share_a_batch() -> None:
    model = Camera()
    frames = [frame(str(index), 50.0 if index % 2 else None, level=50 + index) for index in range(8)]
    together = list(DepthEstimator(model, batch_size=4).estimate(frames))
    assert model.calls == [("infer", 4, True), ("infer", 4, False)]
    for each, depth in zip(frames, together, strict=True):
        (alone,) = DepthEstimator(Camera()).estimate([each])
        np.testing.assert_array_equal(depth.values, alone.values)
        assert depth.f_px == alone.f_px


@pytest.mark.parametrize("can_run_again", [True, False])
def test_a_field_of_view_that_cannot_be_is_caught(
    can_run_again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_run_again:
        monkeypatch.delattr(Camera, "infer_float32")
    model = Camera()
    good, bad = DepthEstimator(model).estimate([frame("good"), frame("bad", level=POISON)])
    assert isinstance(good, DepthMap)
    if can_run_again:
        assert isinstance(bad, DepthMap) and bad.f_px == good.f_px
        assert model.calls == [("infer", 2, True), ("infer_float32", 1, True)]
    else:
        assert isinstance(bad, Failure)
        assert bad.reason == "synthetic gave a field of view of nan degrees"


def test_a_model_may_say_what_memory_a_batch_is_in() -> None:
    taken: list[np.ndarray] = []

    class Pinned(Camera):
        def allocate(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
            taken.append(np.empty(shape, dtype))
            return taken[-1]

    estimator = DepthEstimator(Pinned())
    stacked = estimator.stack([estimator.prepare(frame(key)) for key in ("a", "b")])
    assert stacked is taken[0] and stacked.shape == (2, 32, 40, 3)


def test_a_run_records_where_each_focal_length_came_from(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    make_image(tmp_path / "photos/plain.jpg")
    with Image.open(make_image(tmp_path / "photos/exif.jpg")) as image:
        exif = image.getexif()
        exif.get_ifd(0x8769)[0xA405] = 50  # mm, 35 mm equivalent
        image.save(tmp_path / "photos/exif.jpg", exif=exif)
    report = estimate(tmp_path / "photos", tmp_path / "depth", model=DepthEstimator(Camera(), batch_size=4))
    assert (report.done, report.failed) == (2, 0)
    lines = [line for line in read_ledger(tmp_path / "depth") if line.get("outcome") == "done"]
    recorded = {line["key"]: (line["f_source"], line["f_px"]) for line in lines}
    assert recorded["exif.jpg"] == ("exif", pytest.approx(50 * 80 / math.hypot(36, 24)))
    assert recorded["plain.jpg"] == ("estimated", pytest.approx(32 / math.tan(math.radians(30))))
