"""MoGe-2's ONNX files: a small network with their ports, whose points, camera and mask are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_files import write_point_network

from cortexia_video import DepthMap, Frame, load_estimator
from cortexia_video.errors import ModelLoadError, ModelOutputError
from cortexia_video.geometry.point_map import place_pixels
from cortexia_video.models.point_maps import pack_input, to_prediction
from cortexia_video.models.registry import load_model
from cortexia_video.pinhole import to_f_px

F, SHIFT = 0.8, 0.4


def draw(size: tuple[int, int] = (60, 90), seed: int = 0) -> np.ndarray:
    """Return soft colours, with a bright red corner: there the network's mask is false."""
    row, column = np.mgrid[: size[0], : size[1]]
    wave = 100 + 60 * np.sin(column / 17 + seed) + 50 * np.cos(row / 11)
    image = np.repeat(np.rint(wave)[..., None], 3, axis=2).astype(np.uint8)
    image[: size[0] // 4, : size[1] // 4, 0] = 255
    return image


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_point_network(tmp_path / "moge.onnx", f=F, shift=SHIFT)


def test_metres_mask_normals_and_camera_are_the_networks(path: Path) -> None:
    estimator = load_estimator(f"onnx:{path}", size="native", also=["normals"])
    image = draw((364, 546))
    depth = estimator(image)
    assert depth.values.shape == (49 * 14, 1029)  # 3600 tokens; the image's shape to the pixel
    assert (depth.kind, depth.f_source) == ("metric", "estimated")
    assert depth.f_px / 546 == pytest.approx(F, rel=1e-5)
    seen = estimator.prepare(Frame("a", image)).pixels["pixels"][0]
    expected = 2 * (1 + seen.mean(axis=0))  # 3600 tokens are twice 1800
    known = seen[0] < 0.9
    np.testing.assert_array_equal(depth.valid, known)
    np.testing.assert_allclose(depth.values[known], expected[known], rtol=1e-5)
    assert np.isnan(depth.values[~known]).all() and 0.03 < (~known).mean() < 0.1
    np.testing.assert_allclose(depth.normals[known], np.broadcast_to((0, 0, -1), (known.sum(), 3)))


def test_a_known_focal_length_moves_what_the_network_gave(path: Path) -> None:
    estimator = load_estimator(f"onnx:{path}", size="native")
    image = draw()
    same = estimator(Frame("a", image, to_f_px(2 * np.degrees(np.arctan(0.5 / F)), 90), "given"))
    free, longer = estimator(image), estimator(Frame("a", image, 1.5 * F * 90, "exif"))
    np.testing.assert_allclose(same.values, free.values, rtol=1e-5)
    assert (longer.f_px, longer.f_source) == (1.5 * F * 90, "exif")
    moved = (longer.values - free.values)[free.valid]
    assert moved.min() > 0.5 and np.ptp(moved) < 1e-5  # a shift, not a factor
    assert not estimator.uses_focal_length


def test_a_file_of_one_size_takes_images_in_batches(tmp_path: Path) -> None:
    path = write_point_network(tmp_path / "one.onnx", f=F, shift=SHIFT, shape=["B", 3, 56, 84])
    estimator = load_estimator(f"onnx:{path}", batch_size=3)
    assert estimator.model.processed_size(500, 100) == (56, 84)
    frames = [
        Frame(f"{at}", draw((60, 90 + at), at), 90.0 if at == 1 else None, "exif" if at == 1 else None)
        for at in range(4)
    ]
    for frame, depth in zip(frames, estimator.estimate(frames), strict=True):
        assert isinstance(depth, DepthMap)
        np.testing.assert_array_equal(depth.values, estimator(frame).values)
    with pytest.raises(ModelLoadError, match="takes 56x84 only, not 70: leave `input_size` out"):
        load_model(f"onnx:{path}", input_size=70)
    with pytest.raises(ModelLoadError, match="takes 56x84 only, not 84x56: leave `input_size` out"):
        load_model(f"onnx:{path}", input_size=(84, 56))


@pytest.mark.parametrize(
    ("input_size", "size"), [(None, (686, 1029)), (140, (140, 210)), ((98, 70), (98, 70))]
)
def test_the_input_size_sets_tokens(input_size: object, size: tuple[int, int], path: Path) -> None:
    model = load_model(f"onnx:{path}", **({"input_size": input_size} if input_size else {}))
    assert model.processed_size(60, 90) == size
    assert model.processed_size(1, 100_000)[1] <= 14 * 3600


@pytest.mark.parametrize("size", [(1, 2), (7, 300), (333, 217)])
def test_any_image_size(size: tuple[int, int], path: Path) -> None:
    depth = load_estimator(f"onnx:{path}", input_size=56)(draw(size))
    assert depth.values.shape == size


@pytest.mark.parametrize("spoilt", ["points", "mask", "metric_scale"])
def test_what_is_no_number_is_an_error_and_not_taken_for_sky(
    spoilt: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    estimator = load_estimator(f"onnx:{path}", input_size=56)
    session = estimator.model._session
    run = session.run

    def spoil(names: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        given = zip(names, run(names, inputs), strict=True)
        return [np.full_like(each, np.nan) if name == spoilt else each for name, each in given]

    monkeypatch.setattr(session, "run", spoil)
    with pytest.raises(ModelOutputError, match="NaN or infinite depth"):
        estimator(draw())


def test_points_at_no_distance_say_nothing_of_the_camera() -> None:
    places = place_pixels(20, 30, 1.5)
    z = np.linspace(1, 2, 600, dtype=np.float32).reshape(20, 30, 1)
    points = np.concatenate([places * z / np.float32(F), z], axis=-1)[None]
    points[0, 3, 4, 2] = 0  # as an exponential in half precision gives
    inputs = pack_input(np.zeros((3, 20, 30), np.float32), 1.5, None)[None]
    found = to_prediction(inputs, points, np.ones((1, 20, 30), np.float32), np.float32([2]))
    assert found.fov_deg[0] == pytest.approx(np.degrees(2 * np.arctan(0.5 / F)), rel=1e-5)
    assert not found.valid[0, 3, 4] and found.valid.sum() == 599
    np.testing.assert_allclose(found.values[found.valid], 2 * z[..., 0][found.valid[0]], rtol=1e-5)


def test_by_openvino_it_is_the_same(path: Path) -> None:
    pytest.importorskip("openvino")
    image = draw()
    onnx = load_estimator(f"onnx:{path}", input_size=70)(image)
    openvino = load_estimator(f"onnx:{path}", input_size=70, backend="openvino", precision="float32")(image)
    np.testing.assert_allclose(openvino.values, onnx.values, rtol=1e-5)
    assert openvino.f_px == pytest.approx(onnx.f_px, rel=1e-5)


def test_what_is_no_such_file_says_so(tmp_path: Path, path: Path) -> None:
    with pytest.raises(ModelLoadError, match="gives metres, not disparity: leave `kind` out"):
        load_model(f"onnx:{path}", kind="disparity")
    with pytest.raises(ModelLoadError, match="does not take all of these options: normalize"):
        load_model(f"onnx:{path}", normalize="unit")
    without_scale = write_point_network(tmp_path / "1.onnx", f=F, shift=SHIFT, drop=("metric_scale",))
    with pytest.raises(ModelLoadError, match="takes image .* a depth network takes one float"):
        load_model(f"onnx:{without_scale}", kind="metric")
    without_normals = write_point_network(tmp_path / "n.onnx", f=F, shift=SHIFT, drop=("normal",))
    assert load_model(f"onnx:{without_normals}").maps == ("mask",)
