"""ONNX files whose depth is metres at one focal length: said by the file or by the option; and their sky."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_files import write_mean_network

from cortexia_video import DepthMap, Failure, Frame, convert, estimate, load_estimator, read_depth
from cortexia_video.errors import ModelLoadError

SIZES = {"short_side": "32", "multiple_of": "32", "normalize": "unit"}
LEVEL = 51  # the network gives 0.2


def make_frame(f_px: float | None, size: tuple[int, int] = (100, 150)) -> Frame:
    image = np.full((*size, 3), LEVEL, np.uint8)
    image[:, size[1] // 2 :] = 255
    return Frame("a", image, f_px, "given" if f_px else None)


@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize("canonical_f", [300, 1000.5])
def test_metres_are_by_the_focal_length_of_what_the_network_sees(
    said: bool, canonical_f: float, tmp_path: Path
) -> None:
    numbers = {"numbers": f"canonical:{canonical_f}", "kind": "metric"} if said else {}
    path = write_mean_network(tmp_path / "m.onnx", metadata={**SIZES, **numbers})
    estimator = load_estimator(f"onnx:{path}", **({} if said else {"canonical_f": canonical_f}))
    (depth,) = estimator.estimate([make_frame(120.0)])
    f_px_seen = 120.0 * 64 / 150  # 100 x 150 becomes 32 x 64
    assert (depth.kind, estimator.uses_focal_length) == ("metric", True)
    np.testing.assert_allclose(depth.values[:, :60], 0.2 * f_px_seen / canonical_f, rtol=1e-5)
    (unknown,) = estimator.estimate([make_frame(None)])
    assert isinstance(unknown, Failure) and "estimates no focal length" in unknown.reason


def test_another_focal_length_afterwards_is_exact(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(make_frame(None).image).save(tmp_path / "a.png")
    path = write_mean_network(tmp_path / "m.onnx", metadata=SIZES)
    options = {"model": f"onnx:{path}", "canonical_f": 300.0}
    for name, f_px in (("short", 90.0), ("long", 270.0)):
        assert estimate(tmp_path / "a.png", tmp_path / name, f_px=f_px, **options).failed == 0
    assert convert(tmp_path / "short", tmp_path / "converted", format="npy", f_px=270.0).failed == 0
    converted, again = read_depth(tmp_path / "converted/a.png.npy"), read_depth(tmp_path / "long/a.png.npy")
    np.testing.assert_allclose(converted.values, again.values, rtol=1e-6)
    assert converted.f_px == again.f_px == 270.0


def test_sky_is_from_a_number_on(tmp_path: Path) -> None:
    metadata = {**SIZES, "kind": "affine_invariant", "sky": "0.5"}
    path = write_mean_network(tmp_path / "m.onnx", metadata=metadata, sky=True)
    (depth,) = load_estimator(f"onnx:{path}").estimate([make_frame(None)])
    assert isinstance(depth, DepthMap) and depth.valid is not None
    assert depth.valid[:, :70].all() and not depth.valid[:, 80:].any()
    np.testing.assert_allclose(depth.values[:, :70], 0.2, atol=1e-6)
    (kept,) = load_estimator(f"onnx:{path}", sky="keep").estimate([make_frame(None)])
    assert 0.2 <= kept.values[:, 100:].max() < 0.5  # as far as what is no sky


@pytest.mark.parametrize(
    ("metadata", "options", "message"),
    [
        ({}, {"canonical_f": 0.0}, "`canonical_f` must be a focal length in pixels, above 0, got 0"),
        ({}, {"canonical_f": float("nan")}, "got nan"),
        ({}, {"canonical_f": 300, "kind": "disparity"}, "gives metres by the focal length"),
        ({"numbers": "canonical:300", "kind": "metric"}, {"canonical_f": 1000}, "leave `canonical_f` out"),
        (
            {"numbers": "canonical:far", "kind": "metric"},
            {},
            "'canonical:far': it must be like canonical:300",
        ),
        ({"numbers": "canonicl:300", "kind": "metric"}, {}, "'canonicl:300': it must be like canonical:300"),
        ({"numbers": "canonical_inverse_depth", "kind": "metric"}, {"canonical_f": 300}, "not of 300 pixels"),
        ({"kind": "metric", "sky": "much"}, {}, "cortexia.sky = 'much'"),
    ],
)
def test_what_cannot_be_says_why(metadata: dict, options: dict, message: str, tmp_path: Path) -> None:
    path = write_mean_network(tmp_path / "m.onnx", metadata={**SIZES, **metadata})
    with pytest.raises(ModelLoadError, match=message):
        load_estimator(f"onnx:{path}", **options)
