"""What depth files mean when they are read: from themselves, from the caller, and never from a guess."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortexia_video import DepthFileError, DepthMap, InputError, read_depth
from cortexia_video.depth_map import KINDS
from cortexia_video.formats.metadata import metadata_of, with_metadata
from cortexia_video.formats.reading import decode_depth

METRIC = {"kind": "metric"}
VALUES = np.array([[1, 2.5, np.nan], [0.25, 1e4, 3]], np.float32)
FULL = DepthMap(VALUES, "metric", 812.5, "exif", (20, 30), "depth-pro", "ab12")


def npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def fields(depth: DepthMap) -> list[object]:
    return [getattr(depth, name) for name in DepthMap.__slots__ if name != "values"]


@pytest.mark.parametrize("kind", KINDS)
def test_metadata_goes_through_json_and_back(kind: str) -> None:
    depth = DepthMap(VALUES, kind, 812.5, "exif", (20, 30), "depth-pro", "ab12")
    again = with_metadata(VALUES, json.loads(json.dumps(metadata_of(depth))))
    assert fields(again) == fields(depth)
    assert metadata_of(depth)["larger_is"] == ("nearer" if kind == "disparity" else "farther")
    assert metadata_of(depth)["unit"] == ("metres" if kind == "metric" else None)


def test_metadata_says_the_size_of_the_picture_and_nothing_of_what_is_not_known() -> None:
    depth = DepthMap(VALUES, "metric")
    metadata = metadata_of(depth)
    assert metadata["full_size"] == [2, 3]
    assert [metadata[name] for name in ("f_px", "f_source", "model", "weights_sha256")] == [None] * 4
    assert fields(with_metadata(VALUES, metadata)) == fields(depth)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({}, "kind is None: it must be one of metric"),
        ({"kind": "meters"}, "kind is 'meters'"),
        ({**METRIC, "unit": "feet"}, "unit is 'feet', but of kind metric it is 'metres'"),
        ({**METRIC, "larger_is": "nearer"}, "larger_is is 'nearer', but of kind metric it is 'farther'"),
        ({**METRIC, "f_px": 0}, "f_px is 0: it must be a number of pixels above 0"),
        ({**METRIC, "f_px": True}, "f_px is True"),
        ({**METRIC, "f_source": "lens"}, "f_source is 'lens'"),
        ({**METRIC, "full_size": [3]}, r"full_size is \[3\]: it must be \[height, width\]"),
        ({**METRIC, "model": 3}, "model is 3"),
    ],
)
def test_metadata_that_cannot_be_is_refused(wrong: Mapping[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        with_metadata(VALUES, wrong)


def test_what_is_said_of_a_file_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(npy(VALUES))
    depth = read_depth(tmp_path / "a.npy", about=metadata_of(FULL))
    assert fields(depth) == fields(FULL)
    np.testing.assert_array_equal(depth.values, VALUES)


@pytest.mark.parametrize("dtype", [">f4", np.float16, np.float64, ">f8"])
def test_floats_of_any_width_become_float32(dtype: str) -> None:
    values = np.array([[1, 2.5, 3], [0.25, 100, np.nan]], dtype)
    np.testing.assert_array_equal(decode_depth(npy(values), "a.npy", about=METRIC).values, values)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(1, 2, 3), (1, 1, 2, 3), (2, 3, 1), (2, 3)])
def test_axes_of_one_are_dropped_and_columns_are_columns(shape: tuple[int, ...], order: str) -> None:
    values = np.asarray(VALUES.reshape(shape), order=order)
    np.testing.assert_array_equal(decode_depth(npy(values), "a.npy", about=METRIC).values, VALUES)


def test_integers_need_a_scale_and_unknown_is_what_is_said() -> None:
    millimetres = np.array([[1000, 0, 65535]], np.uint16)
    with pytest.raises(
        DepthFileError, match="a.npy: it holds uint16 and does not say what one step is: give"
    ):
        decode_depth(npy(millimetres), "a.npy", about=METRIC)
    about = {**METRIC, "scale": 0.001, "unknown": [0, 65535]}
    read = decode_depth(npy(millimetres), "a.npy", about=about).values
    np.testing.assert_array_equal(read, np.array([[1, np.nan, np.nan]], np.float32))
    read = decode_depth(npy(millimetres), "a.npy", about={"kind": "disparity"}).values
    np.testing.assert_array_equal(read, millimetres)


def test_infinite_may_be_called_unknown() -> None:
    values = np.array([[1, np.inf, 3]], np.float32)
    with pytest.raises(DepthFileError, match="a: 33.3 % of its values are infinite: if that means unknown"):
        decode_depth(npy(values), "a", about=METRIC)
    read = decode_depth(npy(values), "a", about={**METRIC, "unknown": "inf"}).values
    np.testing.assert_array_equal(read, np.array([[1, np.nan, 3]], np.float32))
    assert np.isinf(values[0, 1])


HUGE = npy(VALUES).replace(b"(2, 3), }" + b" " * 16, b"(2000000, 3000000), }    ")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "its content is not what its name says: it is cut short or mislabelled"),
        (b"\xff\xd8\xff\xe0 a picture", "its content is not what its name says"),
        (npy(VALUES)[:9], "it cannot be decoded: .*; is it whole"),
        (npy(VALUES)[:-1], "it has 23 bytes of values, its header says 24: it is not whole"),
        (npy(VALUES) + b"\0", "it has 25 bytes of values"),
        (npy(np.array([["depth"]], object)), "it holds Python objects .* never loaded: save an array"),
        (npy(np.zeros((2, 3), "f4,f4")), "it holds .*: save an array of numbers"),
        (npy(np.array([["a", "b"]])), "it holds <U1, not numbers"),
        (npy(VALUES > 1), "it holds bool, not numbers"),
        (npy(VALUES.astype(complex)), "it holds complex128, not numbers"),
        (npy(np.zeros((4, 5, 3), np.float32)), r"its shape is \(4, 5, 3\): depth is one number a pixel"),
        (npy(np.float32(3)), "it is 0 x 1: there is no depth in it"),
        (npy(np.zeros((0, 3), np.float32)), "it is 3 x 0: there is no depth in it"),
        (npy(-VALUES), "83.3 % of its values are negative, which metric depth is not"),
        (HUGE, "it says that it has 6000000 megapixels, the limit is 200: raise max_megapixels"),
    ],
)
def test_a_file_that_is_no_depth_is_an_error_with_its_name(data: bytes, reason: str) -> None:
    with pytest.raises(DepthFileError, match=f"trip/a.npy: {reason}"):
        decode_depth(data, "trip/a.npy", about=METRIC)


def test_what_a_file_does_not_say_is_not_guessed() -> None:
    with pytest.raises(DepthFileError, match="a.npy: it does not say what its numbers mean: give its kind"):
        decode_depth(npy(VALUES), "a.npy")
    with pytest.raises(DepthFileError, match="a.npy: kind is metric|a.npy: f_px is -1"):
        decode_depth(npy(VALUES), "a.npy", about={**METRIC, "f_px": -1})


def test_a_file_that_cannot_be_opened_or_is_of_no_format_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none.npy: cannot be read: No such file"):
        read_depth(tmp_path / "none.npy")
    with pytest.raises(DepthFileError, match="a.txt: not a depth file that can be read: give one of .npy"):
        decode_depth(b"text", "a.txt")
