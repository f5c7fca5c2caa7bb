"""One contract for every format: depth comes back within the bounds of docs/formats.md and means the same."""

from __future__ import annotations

import dataclasses
import re
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from cortexia_video import DepthMap
from cortexia_video.depth_map import KINDS
from cortexia_video.formats import jxl, png16
from cortexia_video.formats.decode_depth import decode_depth, decode_stored
from cortexia_video.formats.metadata import MARK, metadata_of
from cortexia_video.formats.quantization import lost
from cortexia_video.formats.registry import FORMATS, PREVIEW, FormatName, is_own_output

READABLE = [name for name, form in FORMATS.items() if form.decode]
IN_STEPS = ["png16", "jxl"]
EVERY = pytest.mark.parametrize("name", READABLE)
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)
SETTINGS = settings(max_examples=25, deadline=None)


def encode(name: str, depth: DepthMap) -> bytes:
    return b"".join(bytes(chunk) for chunk in FORMATS[name].encode(depth))


def round_trip(name: str, depth: DepthMap) -> DepthMap:
    about = None if FORMATS[name].holds_metadata else metadata_of(depth)
    return decode_depth(encode(name, depth), f"a{FORMATS[name].suffix}", about=about)


def bound(name: str, depth: DepthMap) -> np.ndarray:
    """Return the error that docs/formats.md allows each value, from the values alone."""
    values = depth.values.astype(np.float64)
    known = values[np.isfinite(values)]
    if name not in IN_STEPS or not known.size:
        return np.abs(values) * (2.0**-11 if name == "exr16" else 0)
    low, high = known.min(), known.max()
    rounding = 1e-6 * np.abs(known).max() + 1e-37
    if depth.kind in ("metric", "scale_invariant"):
        return np.abs(values) * 1.96e-4
    return np.full(values.shape, (high - low) / 131068 + rounding)


def check(name: str, depth: DepthMap) -> None:
    given = depth.values.copy()
    read = round_trip(name, depth)
    assert depth.values.tobytes() == given.tobytes()
    assert fields(read) == fields(depth)
    if name in IN_STEPS and depth.kind in ("metric", "scale_invariant"):
        given[(given < 9.9981e-6) | (given > 1000192)] = np.nan  # they are lost, which is said
        assert (FORMATS[name].lost(depth) is None) == (np.isnan(given) == np.isnan(depth.values)).all()
    np.testing.assert_array_equal(np.isnan(read.values), np.isnan(given))
    error = np.abs(read.values.astype(np.float64) - given)
    allowed = bound(name, depth)
    assert (np.isnan(given) | (error <= allowed)).all(), np.nanmax(error - allowed)


def fields(depth: DepthMap) -> dict[str, object]:
    return {
        each.name: getattr(depth, each.name) for each in dataclasses.fields(depth) if each.name != "values"
    }


NAMED = st.characters(codec="utf-8", exclude_characters="\0") | st.characters(
    categories=["Cs"], min_codepoint=0xDC80, max_codepoint=0xDCFF
)
"""What the texts of a `DepthMap` may hold: names of files that are not UTF-8, too."""

SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=9)
POSITIVE = arrays(
    np.float32, SHAPES, elements=st.floats(0.0009765625, 60000, width=32) | st.just(np.float32(np.nan))
)
ANY = arrays(np.float32, SHAPES, elements=st.floats(allow_infinity=False, width=32))


@EVERY
@EVERY_KIND
@SETTINGS
@given(POSITIVE)
def test_depth_above_0_comes_back(name: str, kind: str, values: np.ndarray) -> None:
    check(name, DepthMap(values, kind))


@pytest.mark.parametrize("name", [name for name in READABLE if name != "exr16"])
@EVERY_KIND
@SETTINGS
@given(ANY)
def test_any_finite_numbers_come_back(name: str, kind: str, values: np.ndarray) -> None:
    signed = kind in ("affine_invariant", "disparity")
    check(name, DepthMap(values if signed else np.abs(values), kind))


@EVERY
@EVERY_KIND
@SETTINGS
@given(
    f_px=st.none() | st.floats(1e-3, 1e6),
    f_source=st.sampled_from([None, "exif", "given", "estimated"]),
    full_size=st.none() | st.tuples(st.integers(4, 10**6), st.integers(1, 10**6)),
    model=st.none() | st.text(NAMED, max_size=30),
    weights_sha256=st.none() | st.text("0123456789abcdef", min_size=64, max_size=64),
)
def test_what_the_numbers_mean_comes_back(name: str, kind: str, **facts: Any) -> None:
    check(name, DepthMap(np.arange(1, 7, dtype=np.float32).reshape(2, 3), kind, **facts))


@EVERY
@EVERY_KIND
@pytest.mark.parametrize(
    "values",
    [
        np.full((3, 4), np.nan),
        np.full((3, 4), 7.25),
        np.full((1, 1), 1e-30),
        np.array([[np.nan, 2], [2, 2]]),
        np.linspace(1, 1.0000002, 12).reshape(3, 4),
        np.linspace(0.001, 65.535, 70000).reshape(7, 10000),
        np.geomspace(1e-4, 1e4, 90000).reshape(300, 300),
        np.arange(140000.0).reshape(2, 70000)[:, ::2] + 1,
        np.geomspace(100, 109.9, 100000).reshape(100, 1000),
    ],
    ids=[
        "unknown",
        "constant",
        "one",
        "one unknown",
        "hardly different",
        "millimetres",
        "ratio",
        "strided",
        "narrow",
    ],
)
def test_odd_maps_come_back(name: str, kind: str, values: np.ndarray) -> None:
    if name == "exr16" and (values.max() > 65504 or values.max() < 2**-14):
        assert FORMATS[name].lost(DepthMap(values.astype(np.float32), kind))
        return
    check(name, DepthMap(values.astype(np.float32), kind))


@EVERY
@SETTINGS
@given(POSITIVE)
def test_a_second_round_trip_changes_nothing(name: str, values: np.ndarray) -> None:
    once = round_trip(name, DepthMap(values, "metric"))
    np.testing.assert_array_equal(round_trip(name, once).values, once.values)


@pytest.mark.parametrize("name", IN_STEPS)
@pytest.mark.parametrize("low", [1e-5, 0.002, 0.05, 1, 30, 5000])
def test_steps_are_the_same_for_every_map_and_hold_their_bound(name: str, low: float) -> None:
    values = np.geomspace(low, 20 * low, 200_000).astype(np.float32).reshape(400, -1)  # 2 to 40 mm, too
    for kind in ("metric", "scale_invariant"):
        data = encode(name, DepthMap(values, kind))
        assert data.count(b'"near": 1e-05, "far": 1000000.0') == 1
        error = np.abs(round_trip(name, DepthMap(values, kind)).values.astype(np.float64) / values - 1)
        assert error.max() < 1.96e-4


@pytest.mark.parametrize("name", IN_STEPS)
@pytest.mark.parametrize("scale", [0.001, 1 / 5000, 1 / 256, 0.00025])
def test_the_numbers_of_a_sensor_are_kept(name: str, scale: float) -> None:
    numbers = np.arange(65536).reshape(256, 256)
    values = np.where(numbers > 0, numbers * scale, np.nan).astype(np.float32)
    depth = DepthMap(values, "metric")
    assert lost(depth, scale) is None
    data = b"".join(map(bytes, {"png16": png16, "jxl": jxl}[name].encode(depth, scale)))
    stored = decode_stored(data, "a")
    np.testing.assert_array_equal(stored.values, numbers)
    np.testing.assert_array_equal(decode_depth(data, "a").values, values)


@pytest.mark.parametrize(("millimetres", "count"), [(2.4, 1), (2.0, 0), (2500.4, 0), (0.2, 1), (65536.0, 1)])
def test_steps_that_are_too_coarse_are_named(millimetres: float, count: int) -> None:
    said = lost(DepthMap(np.array([[millimetres / 1000, 1]], np.float32), "metric"), 0.001)
    assert (said is not None) == bool(count)
    assert not said or re.search("^1 value is outside|too coarse for 1 value:", said)


@pytest.mark.parametrize("name", IN_STEPS)
@pytest.mark.parametrize("payload", [0x7FC00001, 0xFFC0FFFF, 0x7F80FFFF])
def test_nan_of_any_bits_is_unknown(name: str, payload: int) -> None:
    values = np.array([[payload, 0x3F800000]], np.uint32).view(np.float32)
    assert np.isnan(round_trip(name, DepthMap(values, "metric")).values).tolist() == [[True, False]]


def test_what_would_be_lost_is_said() -> None:
    values = np.array([[1, 2, 3]], np.float32)
    for name, form in FORMATS.items():
        lost = form.lost and form.lost(DepthMap(values, "metric"))
        assert (lost is None) == (form.decode is not None), name
    assert "8-bit view" in str(FORMATS["png"].lost(DepthMap(values, "metric")))
    infinite = DepthMap(np.array([[1, np.inf]], np.float32), "metric")
    wide = DepthMap(np.array([[0, 100]], np.float32), "metric")
    for name in IN_STEPS:
        assert FORMATS[name].lost(infinite) == "1 infinite value becomes unknown"
        assert np.isnan(round_trip(name, infinite).values[0, 1])
        assert "1 value is outside of the 9.998e-06 to 1.00019e+06 that" in str(FORMATS[name].lost(wide))
        assert FORMATS[name].lost(dataclasses.replace(wide, kind="disparity")) is None
        narrow = DepthMap(np.array([[100, 109]], np.float32), "metric")
        assert FORMATS[name].lost(narrow) is None
    half = DepthMap(np.array([[1e5, 1e-5, np.nan, 0]], np.float32), "metric")
    assert (
        FORMATS["exr16"].lost(half)
        == "1 value from 65520 up becomes unknown; values below 6.10352e-05 keep fewer digits"
    )


@EVERY
def test_the_same_depth_gives_the_same_bytes(name: str) -> None:
    depth = DepthMap(np.random.default_rng(0).random((30, 40), np.float32), "metric")
    assert encode(name, depth) == encode(name, depth)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("shape", [(2, 3), (600, 700)])
def test_own_files_are_distinguished_from_images(name: str, shape: tuple[int, int], tmp_path) -> None:
    depth = DepthMap(np.random.default_rng(0).random(shape, np.float32), "metric", 800.5, "exif")
    path = tmp_path / f"a.jpg{FORMATS[name].suffix}"
    path.write_bytes(encode(name, depth))
    assert is_own_output(path)
    if FORMATS[name].holds_metadata:
        path.write_bytes(path.read_bytes().replace(MARK, b"somebody_else's data"))
        assert not is_own_output(path)


def test_the_command_offers_what_the_table_has() -> None:
    assert get_args(FormatName) == tuple(FORMATS)
    suffixes = [form.suffix for form in (*FORMATS.values(), PREVIEW)]
    assert len({*suffixes}) == len(suffixes)
