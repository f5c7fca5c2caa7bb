"""The two types that cross every boundary refuse what they are not."""

from __future__ import annotations

import numpy as np
import pytest

from cortexia_video import DepthMap, Failure, Frame
from cortexia_video.errors import DecodeError


@pytest.mark.parametrize(
    "image", [np.zeros((4, 5), np.uint8), np.zeros((4, 5, 4), np.uint8), np.zeros((4, 5, 3))]
)
def test_frame_takes_uint8_rgb_only(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"frame 'a.jpg': image must be uint8 \(H, W, 3\) RGB, got"):
        Frame("a.jpg", image)


def test_frame_says_its_size() -> None:
    frame = Frame("a.jpg", np.zeros((4, 5, 3), np.uint8))
    assert (frame.height, frame.width) == (4, 5)


def test_depth_map_takes_float32_of_a_known_kind_only() -> None:
    with pytest.raises(ValueError, match="got float64"):
        DepthMap(np.zeros((2, 2)), "metric")
    with pytest.raises(ValueError, match="unknown kind of depth 'meters'"):
        DepthMap(np.zeros((2, 2), np.float32), "meters")


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "a\udc00"])
def test_depth_map_takes_no_text_that_files_cannot_hold(text: str) -> None:
    """Metadata with such a text is not read back: a file would forget what its values mean."""
    values = np.zeros((2, 2), np.float32)
    for facts in ({"model": text}, {"weights_sha256": text}):
        with pytest.raises(ValueError, match="holds a zero byte or half a character"):
            DepthMap(values, "metric", **facts)  # type: ignore[arg-type]
    assert DepthMap(values, "metric", model="caf\udce9.onnx").model == "caf\udce9.onnx"


def test_only_disparity_is_larger_when_nearer() -> None:
    values = np.zeros((2, 2), np.float32)
    nearer = {
        kind: DepthMap(values, kind).larger_is_nearer
        for kind in ("metric", "scale_invariant", "affine_invariant", "disparity")
    }
    assert nearer == {"metric": False, "scale_invariant": False, "affine_invariant": False, "disparity": True}


def test_a_failure_gives_one_line() -> None:
    assert Failure("a", "decode", DecodeError("cut\nshort")).reason == "cut short"
    assert Failure("a", "decode", MemoryError()).reason.startswith("there is not enough memory")
