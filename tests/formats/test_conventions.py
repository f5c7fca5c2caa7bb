"""Depth as other people write it: read as their documents say, and never without being told whose it is."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from cortexia_video import read_depth
from cortexia_video.depth_map import KINDS
from cortexia_video.errors import DepthFileError
from cortexia_video.formats.conventions import CONVENTIONS, parse_calibration
from cortexia_video.formats.decode_depth import decode_depth

NUMBERS = np.arange(65536, dtype=np.uint16).reshape(256, 256)
CALIBRATION = """cam0=[994.978 0 311.193; 0 994.978 254.877; 0 0 1]
cam1=[994.978 0 342.279; 0 994.978 254.877; 0 0 1]
doffs=31.086
baseline=193.001
width=741
height=500
ndisp=75
"""


def png(numbers: np.ndarray, **text: float) -> bytes:
    info = PngImagePlugin.PngInfo()
    for name, value in text.items():
        info.add_text(name, str(value))
    return save(Image.fromarray(numbers), "PNG", pnginfo=info)


def save(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def pgm(numbers: np.ndarray, comment: bytes = b"") -> bytes:
    height, width = numbers.shape
    return b"P5\n%s%d %d\n65535\n" % (comment, width, height) + numbers.astype(">u2").tobytes()


def pfm(values: np.ndarray, order: str = "<") -> bytes:
    height, width = values.shape
    scale = {"<": -1.0, ">": 1.0}[order]
    return f"Pf\n{width} {height}\n{scale}\n".encode() + values[::-1].astype(f"{order}f4").tobytes()


def compare(read: np.ndarray, metres: np.ndarray, unknown: np.ndarray) -> None:
    expected = np.where(unknown, np.nan, metres)
    np.testing.assert_allclose(read, expected, rtol=6e-8, atol=0)
    assert read.dtype == np.float32


@pytest.mark.parametrize("encode", [png, pgm, lambda numbers: save(Image.fromarray(numbers), "TIFF")])
@pytest.mark.parametrize(
    ("convention", "per_metre"),
    [("tum", 5000), ("kitti", 256), ("nyu", 1000), ("scannet", 1000), ("7scenes", 1000)],
)
def test_whole_numbers_become_metres(convention: str, per_metre: float, encode: Any) -> None:
    depth = decode_depth(encode(NUMBERS), "a.png", convention=convention)
    unknown = (NUMBERS == 0) | ((NUMBERS == 65535) & (convention == "7scenes"))
    compare(depth.values, NUMBERS / per_metre, unknown)
    assert (depth.kind, depth.model, depth.f_px) == ("metric", None, None)


def test_sun_rgbd_is_turned_by_three_bits() -> None:
    read = decode_depth(png(NUMBERS), "a.png", convention="sunrgbd").values
    turned = [int(f"{number:016b}"[-3:] + f"{number:016b}"[:-3], 2) for number in range(65536)]
    millimetres = np.array(turned).reshape(NUMBERS.shape)
    compare(read, millimetres / 1000, millimetres == 0)


def test_moge_is_log_spaced_and_ends_at_infinity() -> None:
    metres = decode_depth(png(NUMBERS, near=0.5, far=80.25, unit=2.0), "a.png", convention="moge")
    exact = 2 * 0.5 ** (1 - (NUMBERS - 1.0) / 65533) * 80.25 ** ((NUMBERS - 1.0) / 65533)
    compare(metres.values, exact, (NUMBERS == 0) | (NUMBERS == 65535))
    assert metres.kind == "metric"
    unitless = png(NUMBERS, near=0.5, far=80.25)
    with pytest.raises(
        DepthFileError, match="a.png: a file of moge does not say its kind of depth: give `kind`"
    ):
        decode_depth(unitless, "a.png", convention="moge")
    depth = decode_depth(unitless, "a.png", convention="moge", about={"kind": "scale_invariant"})
    compare(depth.values, exact / 2, (NUMBERS == 0) | (NUMBERS == 65535))
    with pytest.raises(
        DepthFileError, match="no number called near in its text: it is not of this convention"
    ):
        decode_depth(png(NUMBERS), "a.png", convention="moge")


def test_iw3_is_linear_between_the_values_in_its_text() -> None:
    data = png(NUMBERS, iw3_min_depth_value=-2.5, iw3_max_depth_value=10.0)
    depth = decode_depth(data, "a.png", convention="iw3", about={"kind": "disparity"})
    np.testing.assert_allclose(depth.values, NUMBERS / 65535 * 12.5 - 2.5, rtol=1e-6, atol=1e-6)
    depth = decode_depth(png(NUMBERS), "a.png", convention="iw3", about={"kind": "disparity"})
    np.testing.assert_allclose(depth.values, NUMBERS / 65535, rtol=1e-6)
    with pytest.raises(DepthFileError, match="a file of iw3 does not say its kind"):
        decode_depth(data, "a.png", convention="iw3")
    for kind in ("metric", "scale_invariant", "affine_invariant"):
        with pytest.raises(
            DepthFileError, match=f"larger numbers are nearer then, which {kind} depth is not"
        ):
            decode_depth(png(NUMBERS), "a.png", convention="iw3", about={"kind": kind})


@pytest.mark.parametrize("order", "<>")
def test_middlebury_is_triangulated_with_its_calibration(order: str) -> None:
    about = parse_calibration(CALIBRATION.replace("741", "3").replace("500", "2"))
    disparity = np.array([[10.0, 59.5, np.inf], [0, -40, 74.25]], np.float32)
    depth = decode_depth(pfm(disparity, order), "disp0.pfm", convention="middlebury", about=about)
    expected = 994.978 * 0.193001 / (disparity + 31.086)  # as ../shared/data/SOURCES.md has it
    expected[0, 2] = expected[1, 1] = np.nan
    np.testing.assert_allclose(depth.values, expected, rtol=1e-6)
    assert (depth.kind, depth.f_px, depth.f_source) == ("metric", 994.978, "given")
    with pytest.raises(
        DepthFileError, match="disp0.pfm: disparity of Middlebury needs f_px: give the calib.txt"
    ):
        decode_depth(pfm(disparity), "disp0.pfm", convention="middlebury")
    with pytest.raises(DepthFileError, match="the calibration has no cam0, doffs: give the calib.txt"):
        parse_calibration("baseline=193.001\n")


def test_middlebury_of_another_size_is_triangulated_with_its_calibration_resized() -> None:
    """Half the size, half the numbers, the same metres; the calib.txt is that of the full size."""
    about = parse_calibration(CALIBRATION)
    assert about["calibrated_size"] == [500, 741]
    metres = np.linspace(2, 4, 500 * 741, dtype=np.float64).reshape(500, 741)
    disparity = (994.978 * 0.193001 / metres - 31.086).astype(np.float32)
    for step in (1, 2):
        small = disparity[::step, ::step] / step
        depth = decode_depth(pfm(small), "disp0.pfm", convention="middlebury", about=about)
        np.testing.assert_allclose(depth.values, metres[::step, ::step], rtol=2e-3 if step > 1 else 1e-5)
        assert depth.f_px == pytest.approx(994.978 * small.shape[1] / 741)
    with pytest.raises(DepthFileError, match="it is 500 x 500, its calib.txt is for 741 x 500"):
        decode_depth(pfm(disparity[:, :500]), "disp0.pfm", convention="middlebury", about=about)


def test_the_datasets_guide_has_tiff_of_metres() -> None:
    values = np.array([[0, 1.25, 3.5]], np.float32)
    image = Image.fromarray(values)
    assert image.mode == "F"
    data = save(image, "TIFF")
    compare(decode_depth(data, "a.tiff", convention="metres").values, values, values == 0)
    compare(decode_depth(data, "a.tiff", about={"kind": "metric"}).values, values, values == 0)


def test_depth_pros_archive_has_metres() -> None:
    values = np.array([[0.5, 1.25, 1e4]], np.float32)
    file = io.BytesIO()
    np.savez_compressed(file, depth=values)
    depth = decode_depth(file.getvalue(), "a.npz", convention="depth-pro")
    np.testing.assert_array_equal(depth.values, values)
    assert depth.kind == "metric"


def test_whole_numbers_are_never_guessed() -> None:
    for data in (png(NUMBERS), pgm(NUMBERS), pgm(NUMBERS, b"# a comment\n")):
        with pytest.raises(DepthFileError) as error:
            decode_depth(data, "a.png")
        assert all(convention in str(error.value) for convention in CONVENTIONS)
        assert "a.png: it holds " in str(error.value) and "does not say what it means" in str(error.value)
        about = {"kind": "metric", "scale": 0.25, "unknown": [65535]}
        unknown = (NUMBERS == 65535) | (NUMBERS == 0)
        compare(decode_depth(data, "a", about=about).values, NUMBERS / 4, unknown)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float16])
@pytest.mark.parametrize("given", [None, [7], ["nan"], [float("nan")]])
def test_no_distance_is_unknown_and_no_disparity_is_not(
    kind: str, dtype: type, given: list[Any] | None
) -> None:
    """A sensor has 0 for what it does not see; in disparity 0 is far, and in a shifted kind a number."""
    numbers = np.array([[0, 1, 7, 100]], dtype)
    file = io.BytesIO()
    np.save(file, numbers)
    about = {"kind": kind, "scale": 0.5, **({} if given is None else {"unknown": given})}
    depth = decode_depth(file.getvalue(), "a.npy", about=about)
    asked_for = given is not None and given != [7]
    unknown = (numbers == 7) & (given == [7])
    unknown |= (numbers == 0) & (kind in ("metric", "scale_invariant")) & (not asked_for)
    compare(depth.values, numbers * 0.5, unknown)


def test_a_convention_that_does_not_fit_is_refused() -> None:
    floats = save(Image.fromarray(np.ones((2, 3), np.float32)), "TIFF")
    with pytest.raises(
        DepthFileError, match="a.tiff: it holds float32, which files of this convention do not"
    ):
        decode_depth(floats, "a.tiff", convention="tum")
    with pytest.raises(DepthFileError, match="it holds uint16, which files of this convention do not"):
        decode_depth(png(NUMBERS), "a.png", convention="metres")
    with pytest.raises(
        DepthFileError, match="unknown convention 'tumm': did you mean tum. use one of tum, kitti"
    ):
        decode_depth(png(NUMBERS), "a.png", convention="tumm")


@pytest.mark.parametrize(
    "folder", ["felixchenfy", "kitti-demo", "living-room", "motorcycle", "nvblox-3dmatch"]
)
def test_real_frames_are_read_as_their_sets_say(folder: str, shared_data: Path) -> None:
    said = json.loads((shared_data / "rgbd" / folder / "set.json").read_text())
    convention = {1000: "scannet", 256: "kitti"}[said["depth_scale"]]
    for frame in said["frames"][:2]:
        path = shared_data / "rgbd" / folder / frame["depth"]
        depth = read_depth(path, convention=convention)
        numbers = np.asarray(Image.open(path))
        compare(depth.values, numbers / said["depth_scale"], numbers == 0)
        with pytest.raises(DepthFileError, match="give its convention"):
            read_depth(path)


def test_what_the_caller_calls_unknown_is_so_besides_what_the_convention_does() -> None:
    data = png(np.array([[0, 1000, 65535, 7]], np.uint16))
    for unknown, expected in ((65535, [np.nan, 1, np.nan, 0.007]), ([65535, 7], [np.nan, 1, np.nan, np.nan])):
        depth = decode_depth(data, "a.png", convention="nyu", about={"unknown": unknown})
        np.testing.assert_allclose(depth.values, [expected], rtol=1e-6)
