"""What a network tells beside depth: carried whatever the size, the batch and the memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from telling_model import NORMAL, POISON, SKY, WRONG, Telling

from cortexia_video import DepthEstimator, DepthMap, Frame, SyntheticModel
from cortexia_video.errors import Failure, InputError
from cortexia_video.jobs.point_clouds import CloudMaker, CloudOptions
from cortexia_video.models.protocol import Prediction
from cortexia_video.viewing.steps import make_map_view

ALSO = ("normals", "confidence", "mask")


def photo(key: str = "photo", level: int = 100, size: tuple[int, int] = (64, 96)) -> Frame:
    """A quarter of it, at the top, is sky; the right half of the rest is of `level`."""
    image = np.full((*size, 3), 128, np.uint8)
    image[: size[0] // 4] = 255
    image[size[0] // 4 :, size[1] // 2 :] = level
    return Frame(key, image)


@pytest.mark.parametrize("size", ["full", "native"])
def test_maps_have_the_size_of_their_depth(size: str) -> None:
    depth = DepthEstimator(Telling(), also=ALSO, size=size)(photo())
    shape = (64, 96) if size == "full" else (32, 48)
    assert depth.values.shape == depth.valid.shape == depth.confidence.shape == shape
    assert depth.normals.shape == (*shape, 3) and depth.normals.dtype == np.float32
    assert depth.camera.width == shape[1] and depth.camera.fx == pytest.approx(shape[1] / 2)  # 90 degrees
    np.testing.assert_allclose(
        depth.normals[depth.valid], np.broadcast_to(NORMAL, (depth.valid.sum(), 3)), rtol=1e-6
    )
    assert np.isnan(depth.normals[~depth.valid]).all()
    assert depth.confidence[-1, 0] == pytest.approx(128 / 255)


def test_sky_is_unknown_in_metres_and_nothing_of_it_is_mixed_into_what_is_before_it() -> None:
    depth = DepthEstimator(Telling())(photo())
    assert np.isnan(depth.values[:14]).all() and not depth.valid[:14].any()
    assert np.isnan(depth.values[~depth.valid]).all()
    known = depth.values[depth.valid]
    assert known.max() < WRONG and depth.valid[20:].all()


def test_sky_is_zero_in_disparity_and_what_is_hidden_unknown() -> None:
    depth = DepthEstimator(Telling("disparity"))(photo(level=0))
    assert (depth.values[:14] == 0).all() and np.isnan(depth.values[30:, 60:]).all()
    assert not depth.valid[:14].any() and not depth.valid[30:, 60:].any() and depth.valid[30:, :40].all()


def test_what_is_no_number_in_the_sky_stays_unknown_where_the_sky_is_kept() -> None:
    class Infinite(Telling):
        def infer_float32(self, batch: np.ndarray, *, also: frozenset[str] = frozenset()) -> Prediction:
            told = super().infer_float32(batch, also=also)
            assert told.sky is not None
            told.values[:, 0][told.sky[:, 0]] = np.nan
            told.values[:, 1][told.sky[:, 1]] = -1
            return told

        infer = infer_float32

    depth = DepthEstimator(Infinite(), sky="keep", size="native")(photo())
    kept = DepthEstimator(Telling(), sky="keep", size="native")(photo())
    assert np.isnan(depth.values[:2]).all() and np.isfinite(depth.values[2:]).all()
    np.testing.assert_array_equal(depth.values[2:], kept.values[2:])
    (found,) = DepthEstimator(Infinite(kind="disparity"), sky="keep").estimate([photo()])
    assert isinstance(found, DepthMap) and (found.values[2] < 0).any()  # of disparity any number may be


def test_sky_can_keep_the_numbers_of_the_network() -> None:
    estimator = DepthEstimator(Telling(), sky="keep")
    depth = estimator(photo())
    assert (
        np.isfinite(depth.values).all() and (depth.values[:13] == WRONG).all() and not depth.valid[:14].any()
    )
    assert estimator.identity["sky"] == "keep" and "sky" not in DepthEstimator(Telling()).identity


def test_a_photo_of_the_sky_alone_has_no_depth_and_is_no_error() -> None:
    depth = DepthEstimator(Telling())(np.full((40, 60, 3), SKY, np.uint8))
    assert np.isnan(depth.values).all() and not depth.valid.any()


def test_maps_are_the_same_in_any_batch_and_where_memory_is_short() -> None:
    class Small(Telling):
        def infer(self, batch: np.ndarray, *, also: frozenset[str] = frozenset()) -> Prediction:
            if len(batch) > 2:
                raise MemoryError("out of memory")
            return super().infer(batch, also=also)

    frames = [photo(str(level), level) for level in (0, 40, POISON, 120, 255)]
    for together in (DepthEstimator(Telling(), batch_size=5, also=ALSO), DepthEstimator(Small(), also=ALSO)):
        for frame, depth in zip(frames, together.estimate(frames), strict=True):
            alone = DepthEstimator(Telling(), also=ALSO)(frame)
            for name in ("values", "valid", "confidence", "normals"):
                np.testing.assert_array_equal(getattr(depth, name), getattr(alone, name))


def test_normals_that_overflow_are_run_again_in_float32() -> None:
    model = Telling()
    image = np.full((32, 32, 3), POISON, np.uint8)
    assert np.isfinite(DepthEstimator(model, also=["normals"])(image).normals).all()
    assert model.asked == [{"normals"}] * 2


def test_a_model_is_asked_for_what_is_wanted_and_for_no_more() -> None:
    model = Telling()
    depth = DepthEstimator(model, also=["mask"])(photo())
    assert model.asked == [frozenset()] and depth.normals is None and depth.confidence is None
    DepthEstimator(model, also=["mask", "normals"])(photo())
    assert model.asked[-1] == {"normals"}


def test_a_focal_length_that_is_known_is_kept() -> None:
    frame = photo()
    known = DepthEstimator(Telling())(Frame("known", frame.image, 70.0, "exif"))
    assert (known.f_px, known.f_source) == (70.0, "exif")
    found = DepthEstimator(Telling())(frame)
    assert found.f_px == pytest.approx(48) and found.f_source == "estimated"
    assert DepthEstimator(Telling(fov_deg=None))(frame).camera is None


def test_names_of_maps_may_have_commas_and_wrong_ones_are_answered() -> None:
    depth = DepthEstimator(Telling(), also="normals, mask")(photo())
    assert depth.normals is not None and depth.valid is not None and depth.confidence is None
    with pytest.raises(InputError, match="unknown map in `also` 'normal': did you mean normals"):
        DepthEstimator(Telling(), also="normal")


def test_what_a_model_has_not_is_refused_before_the_first_image() -> None:
    with pytest.raises(InputError, match="synthetic gives no confidence, mask: leave `also` out"):
        DepthEstimator(SyntheticModel(), also=["mask", "confidence"])
    with pytest.raises(InputError, match="synthetic gives no mask: `also` can be normals"):
        DepthEstimator(SyntheticModel(kind="metric"), also="mask")
    with pytest.raises(InputError, match="`sky` must be one of unknown, keep, got 'blue'"):
        DepthEstimator(Telling(), sky="blue")


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        ({"normals": None}, "telling was asked for normals and gave none"),
        ({"normals": np.zeros((1, 32, 48, 2))}, r"gives normals of shape \(1, 32, 48, 2\) beside depth of"),
        ({"valid": np.ones((1, 5, 5))}, r"gives valid of shape \(1, 5, 5\) beside depth of"),
        ({"normals": np.full((1, 32, 48, 3), np.inf)}, "telling gave NaN or infinite normals"),
    ],
)
def test_a_model_that_breaks_its_promise_fails_with_its_name(spoilt: dict, reason: str) -> None:
    class Broken(Telling):
        def infer_float32(self, batch: np.ndarray, *, also: frozenset[str] = frozenset()) -> Prediction:
            return super().infer_float32(batch, also=also)._replace(**spoilt)

        infer = infer_float32

    (failure,) = DepthEstimator(Broken(), also=["normals"]).estimate([photo()])
    assert isinstance(failure, Failure)
    with pytest.raises(type(failure.error), match=reason):
        raise failure.error


def test_maps_of_another_size_are_refused() -> None:
    values = np.ones((4, 6), np.float32)
    for name, wrong in (("valid", values), ("confidence", values[:3]), ("normals", values)):
        with pytest.raises(ValueError, match=f"{name} must be .* as its depth"):
            DepthMap(values, "metric", **{name: wrong})
    assert "with valid" in repr(DepthMap(values, "metric", valid=np.ones((4, 6), bool)))


def test_a_viewer_and_a_video_take_depth_that_has_a_mask(tmp_path: Path) -> None:
    frame = photo(size=(600, 900))
    depth = DepthEstimator(Telling(), also=ALSO)(frame)
    shown = make_map_view(depth, frame, None, CloudMaker(CloudOptions()))
    assert shown.points is not None and shown.no_points is None
    alone = depth.without_maps()
    assert (alone.valid, alone.confidence, alone.normals) == (None, None, None)
    pytest.importorskip("av")
    from clips import write_clip

    clip = write_clip(tmp_path / "clip.mp4", [photo().image] * 3)
    for sky, unknown in (("unknown", True), ("keep", False)):
        for _, each in DepthEstimator(Telling(), sky=sky).estimate_video(clip):
            assert isinstance(each, DepthMap) and np.isnan(each.values[4]).all() == unknown
