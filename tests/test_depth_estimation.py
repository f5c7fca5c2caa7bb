"""The estimator: order, mixed sizes, and one bad image costing one image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from camera_model import Camera, InPlace
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cortexia_video import DepthEstimator, DepthMap, Failure, Frame, SyntheticModel
from cortexia_video.errors import DecodeError, InputError, ModelError
from cortexia_video.images.resampling import resize_depth
from cortexia_video.inference.batches import Batcher

POISON = 13


class Recording(SyntheticModel):
    """Fails on an image whose first pixel is 13, gives NaN where it is 14, and on batches over `fits`."""

    def __init__(self, fits: int = 100) -> None:
        super().__init__()
        self.fits = fits
        self.batches: list[int] = []

    def infer(self, batch: np.ndarray) -> np.ndarray:
        self.batches.append(len(batch))
        if len(batch) > self.fits:
            raise MemoryError("out of memory")
        if (batch[:, 0, 0, 0] == POISON).any():
            raise RuntimeError("cannot do this one")
        output = super().infer(batch)
        output[batch[:, 0, 0, 0] == POISON + 1, 2:4] = np.nan
        return output


def frame(key: str, size: tuple[int, int] = (64, 64), level: int = 100) -> Frame:
    return Frame(key, np.full((*size, 3), level, np.uint8))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([(64, 64), (64, 96), (128, 64)]), st.integers(0, 255)), max_size=25)
)
def test_results_come_in_order_each_the_size_of_its_frame_and_as_alone(items: list) -> None:
    frames = [frame(str(index), size, 20 + level % 200) for index, (size, level) in enumerate(items)]
    estimator = DepthEstimator(SyntheticModel(), batch_size=3)
    depths = list(estimator.estimate(frames))
    assert len(depths) == len(frames)
    for each, depth in zip(frames, depths, strict=True):
        (alone,) = estimator.estimate([each])
        np.testing.assert_array_equal(depth.values, alone.values)
        assert depth.values.shape == (each.height, each.width)


def test_a_bad_image_costs_itself_only() -> None:
    model = Recording()
    levels = [1, 2, POISON, 4, POISON + 1, 6]
    depths = list(
        DepthEstimator(model, batch_size=6).estimate([frame(str(each), level=each) for each in levels])
    )
    failed = {depth.key: depth.reason for depth in depths if isinstance(depth, Failure)}
    assert failed == {
        "13": "the model failed: RuntimeError: cannot do this one",
        "14": "synthetic gave NaN or infinite depth for 3.1 % of the pixels",
    }
    assert [isinstance(depth, DepthMap) for depth in depths] == [True, True, False, True, False, True]


def test_a_full_device_makes_the_batch_smaller() -> None:
    model = Recording(fits=2)
    depths = list(DepthEstimator(model, batch_size=8).estimate([frame(str(index)) for index in range(8)]))
    assert all(isinstance(depth, DepthMap) for depth in depths)
    assert model.batches == [8, 4, 2, 2, 2, 2]  # what fits is remembered


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA error: out of memory")])
def test_the_limit_is_remembered_for_its_shape_only(error: Exception) -> None:
    class Small(Recording):
        def infer(self, batch: np.ndarray) -> np.ndarray:
            self.batches.append(len(batch))
            if batch[0].size > 64 * 64 * 3 and len(batch) > 1:
                raise error
            return SyntheticModel.infer(self, batch)

    estimator = DepthEstimator(Small(), batch_size=4)
    for size, batches in (((64, 128), [4, 2, 1, 1, 1, 1]), ((64, 64), [4]), ((64, 128), [1, 1, 1, 1])):
        estimator.model.batches.clear()
        depths = list(estimator.estimate([frame(str(index), size) for index in range(4)]))
        assert all(isinstance(depth, DepthMap) for depth in depths)
        assert estimator.model.batches == batches


def test_an_image_that_does_not_fit_even_alone_fails_alone() -> None:
    class Picky(Recording):
        def infer(self, batch: np.ndarray) -> np.ndarray:
            if (batch[:, 0, 0, 0] == POISON).any():
                raise MemoryError("too large")
            return super().infer(batch)

    levels = [1, POISON, 3, 4]
    depths = list(DepthEstimator(Picky()).estimate([frame(str(each), level=each) for each in levels]))
    assert [isinstance(depth, DepthMap) for depth in depths] == [True, False, True, True]
    assert depths[1].reason == "the model failed: MemoryError: too large"


@pytest.mark.parametrize(
    ("kind", "spoil", "reason"),
    [
        ("disparity", np.nan, "gave NaN or infinite depth for 3.1 % of the pixels"),
        ("disparity", np.inf, "gave NaN or infinite depth for 3.1 % of the pixels"),
        ("metric", -np.inf, "gave NaN or infinite depth for 3.1 % of the pixels"),
        ("metric", -0.5, "gave negative depth for 3.1 % of the pixels"),
        ("scale_invariant", -0.5, "gave negative depth for 3.1 % of the pixels"),
        ("disparity", -0.5, None),
        ("affine_invariant", -0.5, None),
    ],
)
def test_output_that_cannot_be_is_caught(kind: str, spoil: float, reason: str | None) -> None:
    def answer(values: np.ndarray) -> np.ndarray:
        values[:, 2:4] = spoil
        return values

    model = Lying(answer)
    model.kind = kind
    (depth,) = DepthEstimator(model).estimate([frame("a")])
    assert (depth.reason if isinstance(depth, Failure) else None) == (reason and f"synthetic {reason}")


def test_the_same_depth_everywhere_is_caught() -> None:
    (depth,) = DepthEstimator(Lying(lambda values: np.zeros_like(values))).estimate([frame("a")])
    assert depth.reason == "synthetic gave the same depth, 0, for every pixel"


class Half(SyntheticModel):
    """Overflows on images of level 13, as half precision does: to infinity, or to the same everywhere."""

    def __init__(self, overflow: float) -> None:
        super().__init__()
        self.overflow = overflow
        self.again: list[int] = []

    def infer(self, batch: np.ndarray) -> np.ndarray:
        output = super().infer(batch)
        output[batch[:, 0, 0, 0] == POISON] = self.overflow
        return output

    def infer_float32(self, batch: np.ndarray) -> np.ndarray:
        self.again.append(len(batch))
        return SyntheticModel.infer(self, batch)


@pytest.mark.parametrize("overflow", [np.inf, np.nan, 0.0])
def test_what_overflowed_in_half_precision_is_done_in_float32(overflow: float) -> None:
    model = Half(overflow)
    frames = [frame(str(each), level=each) for each in (1, POISON, 3)]
    depths = list(DepthEstimator(model).estimate(frames))
    expected = list(DepthEstimator(SyntheticModel()).estimate(frames))
    for depth, right in zip(depths, expected, strict=True):
        np.testing.assert_array_equal(depth.values, right.values)
    assert model.again == [1]


def test_native_size_is_the_networks_and_says_what_image_it_is_of() -> None:
    estimator = DepthEstimator(SyntheticModel(short_side=32), size="native")
    (depth,) = estimator.estimate([Frame("a", np.zeros((300, 400, 3), np.uint8), 500.0, "exif")])
    assert (depth.values.shape, depth.full_size, depth.f_px) == ((32, 40), (300, 400), 500.0)
    (full,) = DepthEstimator(SyntheticModel(short_side=32)).estimate(
        [Frame("a", np.zeros((300, 400, 3), np.uint8))]
    )
    assert full.full_size is None
    np.testing.assert_array_equal(full.values, resize_depth(depth.values, 300, 400))
    with pytest.raises(InputError, match="`size` must be one of full, native, got 'small'"):
        DepthEstimator(SyntheticModel(), size="small")


def test_failures_pass_through_in_their_place() -> None:
    failure = Failure("b", "decode", DecodeError("cut short"))
    first, second, third = DepthEstimator(SyntheticModel()).estimate([frame("a"), failure, frame("c")])
    assert second is failure
    assert isinstance(first, DepthMap) and isinstance(third, DepthMap)


def test_the_focal_length_stays_with_the_depth() -> None:
    (depth,) = DepthEstimator(SyntheticModel()).estimate(
        [Frame("a", np.zeros((8, 8, 3), np.uint8), 500.0, "exif")]
    )
    assert (depth.f_px, depth.f_source) == (500.0, "exif")


def test_frames_are_read_a_few_batches_ahead_not_all() -> None:
    read = 0

    def frames() -> Iterator[Frame]:
        nonlocal read
        while True:
            read += 1
            yield frame(str(read), (64, 64 + 8 * (read % 7)))

    results = DepthEstimator(SyntheticModel(), batch_size=2).estimate(frames())
    for _ in range(30):
        next(results)
    assert read <= 30 + 3 * 8


def test_a_rare_shape_does_not_hold_up_the_stream() -> None:
    read = 0

    def frames() -> Iterator[Frame]:
        nonlocal read
        yield frame("rare", (96, 64))
        while True:
            read += 1
            yield frame(str(read))

    next(DepthEstimator(SyntheticModel(), batch_size=4).estimate(frames()))
    assert read <= 4 * 4


class Lying(SyntheticModel):
    """Gives what `answer` makes of the right output."""

    def __init__(self, answer: Callable[[np.ndarray], object]) -> None:
        super().__init__()
        self.answer = answer

    def infer(self, batch: np.ndarray) -> np.ndarray:
        return self.answer(super().infer(batch))


@pytest.mark.parametrize(
    "answer",
    [
        lambda values: values[:0],
        lambda values: np.concatenate([values, values]),
        lambda values: values[..., None],
        lambda values: values.mean(axis=(1, 2)),
        lambda values: list("depth"),
        lambda values: None,
    ],
)
def test_a_model_that_breaks_its_promise_fails_image_by_image(answer: Callable) -> None:
    frames = [frame("a"), frame("b"), frame("c")]
    depths = list(DepthEstimator(Lying(answer), batch_size=2).estimate(frames))
    assert all(isinstance(depth, Failure) for depth in depths)
    assert [depth.key for depth in depths] == ["a", "b", "c"]


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_other_floats_are_taken_as_float32(dtype: type) -> None:
    (depth,) = DepthEstimator(Lying(lambda values: values.astype(dtype))).estimate([frame("a")])
    assert depth.values.dtype == np.float32


@given(st.lists(st.integers(0, 4), max_size=60), st.integers(1, 5), st.integers(1, 12))
def test_the_batcher_loses_nothing_and_mixes_nothing(shapes: list[int], batch_size: int, window: int) -> None:
    batcher: Batcher[tuple[int, int]] = Batcher(lambda shape: batch_size, lambda: window)
    batches = []
    for index, shape in enumerate(shapes):
        batches.extend(batcher.add(shape, (index, shape)))
        gone = {item for batch in batches for item in batch}
        assert gone >= set(list(enumerate(shapes))[: max(0, index - 5 * window)])
    batches.extend(batcher.flush())
    assert sorted(item for batch in batches for item in batch) == list(enumerate(shapes))
    assert all(len({shape for _, shape in batch}) <= 1 and len(batch) <= batch_size for batch in batches)


@pytest.mark.parametrize("size", ["full", "native"])
def test_depth_says_which_model_with_which_weights_made_it(size: str) -> None:
    estimator = DepthEstimator(SyntheticModel(), size=size)
    (depth,) = estimator.estimate([Frame("a", np.zeros((20, 30, 3), np.uint8), 25.0, "exif")])
    assert (depth.model, depth.weights_sha256) == ("synthetic", estimator.model.weights_digest)
    assert (depth.f_px, depth.f_source) == (25, "exif")


def test_one_image_is_an_array_a_pillow_image_a_frame_or_a_path(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    estimator = DepthEstimator(SyntheticModel())
    (expected,) = estimator.estimate([Frame("a", pixels)])
    assert isinstance(expected, DepthMap)
    kinds = (pixels, Image.fromarray(pixels), Frame("a", pixels), tmp_path / "a.png", str(tmp_path / "a.png"))
    for image in kinds:
        np.testing.assert_array_equal(estimator(image).values, expected.values)


def test_one_image_of_pillows_is_turned_and_has_its_focal_length(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0xA405] = 28  # FocalLengthIn35mmFilm
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    image.save(tmp_path / "a.png", exif=exif)
    estimator = DepthEstimator(SyntheticModel())
    with Image.open(tmp_path / "a.png") as opened:
        depth, read = estimator(opened), estimator(tmp_path / "a.png")
    assert depth.values.shape == (64, 48)
    assert (depth.f_px, depth.f_source) == (read.f_px, "exif")
    np.testing.assert_array_equal(depth.values, read.values)


def test_one_image_raises_what_would_be_a_failure() -> None:
    with pytest.raises(ModelError, match="cannot do this one"):
        DepthEstimator(Recording())(frame("a", level=POISON).image)
    with pytest.raises(InputError, match=r"image must be uint8 \(H, W, 3\) RGB, got float64"):
        DepthEstimator(SyntheticModel())(np.zeros((4, 4, 3)))
    with pytest.raises(InputError, match="no such file: nothing"):
        DepthEstimator(SyntheticModel())("nothing.jpg")


def test_normals_follow_from_depth_though_the_model_writes_over_its_numbers() -> None:
    image = np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)
    normals = [
        DepthEstimator(each, size="native", also="normals")(image).normals for each in (Camera(), InPlace())
    ]
    assert normals[0] is not None and normals[1] is not None
    np.testing.assert_array_equal(*normals)
