"""Every format over the table, and the 8-bit view and the preview for what they show."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cortexia_video import DepthMap
from cortexia_video.depth_map import KINDS
from cortexia_video.errors import DepthFileError
from cortexia_video.formats import npy
from cortexia_video.formats.registry import FORMATS, PREVIEW, is_own_output


def encode(name: str, depth: DepthMap) -> bytes:
    return b"".join(bytes(chunk) for chunk in FORMATS[name].encode(depth))


def ramp(kind: str, height: int = 30, width: int = 40) -> DepthMap:
    """Return a map that is nearest at the left."""
    nearness = np.linspace(1, 0.1, width, dtype=np.float32)[None].repeat(height, axis=0)
    return DepthMap(nearness if kind == "disparity" else 1 / nearness, kind)


def test_npy_is_exact_and_equals_numpys_own_file() -> None:
    values = np.random.default_rng(0).normal(size=(30, 40)).astype(np.float32)
    values[3, 4] = np.nan
    own = io.BytesIO()
    np.save(own, values)
    assert encode("npy", DepthMap(values, "metric")) == own.getvalue()


@pytest.mark.parametrize("kind", ["<f2", "<f4", ">f4", "<f8", "<i4", "<u2", ">u2", "|u1", "|i1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_is_read_as_numpy_reads_it(kind: str, order: str) -> None:
    values, file = np.arange(35).reshape(5, 7).astype(kind, order=order), io.BytesIO()
    np.save(file, values)
    data = file.getvalue()
    for same in (data, data.replace(b", }", b",} ")):
        read = npy.decode(same, 1e6).values
        assert read.dtype == values.dtype and (read == np.load(io.BytesIO(data))).all()
    with pytest.raises(DepthFileError, match="not whole"):
        npy.decode(data[:-1], 1e6)
    with pytest.raises((ValueError, SyntaxError)):  # a header that claims to be longer than it is
        npy.decode(data[:8] + b"\xff\xff" + data[10:], 1e6)


def test_npy_of_a_view_holds_the_view() -> None:
    values = np.arange(24, dtype=np.float32).reshape(4, 6)[::2, ::3]
    np.testing.assert_array_equal(np.load(io.BytesIO(encode("npy", DepthMap(values, "metric")))), values)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_file_does_not_depend_on_the_system(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    depth = DepthMap(np.linspace(1, 2, 12, dtype=np.float32).reshape(3, 4), "metric")
    files = []
    for system in ("linux", "win32"):
        monkeypatch.setattr(sys, "platform", system)
        files.append(b"".join(bytes(each) for each in FORMATS[name].encode(depth)))
    assert files[0] == files[1]


@pytest.mark.parametrize("kind", KINDS)
def test_png_is_darker_where_nearer_whatever_the_kind(kind: str) -> None:
    image = Image.open(io.BytesIO(encode("png", ramp(kind))))
    assert image.mode == "L"
    row = np.asarray(image)[0].astype(int)
    assert (row[0], row[-1]) == (0, 255)
    assert (np.diff(row) >= 0).all()


@pytest.mark.parametrize("value", [0.0, 3.5, -2.0])
def test_png_of_a_constant_map_is_all_zeros(value: float) -> None:
    image = np.asarray(
        Image.open(io.BytesIO(encode("png", DepthMap(np.full((5, 6), value, np.float32), "metric"))))
    )
    assert not image.any()


def test_png_scales_by_the_known_pixels() -> None:
    values = np.array([[1, 2, np.nan, 3]], np.float32)
    image = np.asarray(Image.open(io.BytesIO(encode("png", DepthMap(values, "metric")))))
    assert image.tolist() == [[0, 128, 0, 255]]


@pytest.mark.filterwarnings("error")
def test_png_of_unknown_pixels_alone_is_zeros() -> None:
    image = np.asarray(
        Image.open(io.BytesIO(encode("png", DepthMap(np.full((2, 3), np.nan, np.float32), "metric"))))
    )
    assert not image.any()


@pytest.mark.parametrize("kind", KINDS)
def test_preview_is_brighter_where_nearer(kind: str) -> None:
    data = b"".join(bytes(chunk) for chunk in PREVIEW.encode(ramp(kind, 600, 800)))
    image = Image.open(io.BytesIO(data))
    assert image.size == (640, 480)
    brightness = np.asarray(image.convert("L")).astype(int)
    assert brightness[:, 5].mean() > brightness[:, -5].mean() + 100


def test_own_files_are_known_by_their_content(tmp_path: Path) -> None:
    files = {"a.jpg.png": encode("png", ramp("metric")), "a_depth_new.png": encode("png", ramp("metric"))}
    files["a.jpg.preview.jpg"] = b"".join(bytes(chunk) for chunk in PREVIEW.encode(ramp("metric")))
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        assert is_own_output(tmp_path / name)
    Image.new("L", (4, 4)).save(tmp_path / "b.jpg.png")
    assert not is_own_output(tmp_path / "b.jpg.png")
    assert not is_own_output(tmp_path / "not-there.jpg.png")
