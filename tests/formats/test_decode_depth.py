"""What depth files mean when they are read: from themselves, from the caller, and never from a guess."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import OpenEXR
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cortexia_video import DepthMap, read_depth
from cortexia_video.depth_map import KINDS
from cortexia_video.errors import DepthFileError, InputError
from cortexia_video.formats.decode_depth import decode_depth, read_file
from cortexia_video.formats.metadata import metadata_of, with_metadata
from cortexia_video.formats.registry import FORMATS, is_own_output

METRIC = {"kind": "metric"}
VALUES = np.array([[1, 2.5, np.nan], [0.25, 1e4, 3]], np.float32)
FULL = DepthMap(VALUES, "metric", 812.5, "exif", (20, 30), "depth-pro", "ab12")


def npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def fields(depth: DepthMap) -> list[object]:
    return [getattr(depth, name) for name in DepthMap.__slots__ if name != "values"]


def test_half_floats_are_scaled_in_full() -> None:
    numbers = np.array([[1001, 2047, 65504]], np.float16)
    depth = decode_depth(npy(numbers), "a.npy", about={**METRIC, "scale": 0.001, "unknown": 2047})
    np.testing.assert_allclose(depth.values, [[numbers[0, 0] * np.float64(0.001), np.nan, 65.504]], rtol=1e-6)


@pytest.mark.parametrize("said", [{"f_px": 500}, {"f_px": 500, "f_source": None}, {}])
def test_a_focal_length_and_its_source_are_one_fact(said: dict[str, object]) -> None:
    text = json.dumps({"software": "cortexia_video depth", "kind": "metric", **said})
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("cortexia_video depth.json", text)
        archive.writestr("depth.npy", npy(VALUES))
    depth = decode_depth(file.getvalue(), "a.npz", about={"f_px": 20, "f_source": "given"})
    assert (depth.f_px, depth.f_source) == ((500, None) if said else (20, "given"))


@pytest.mark.parametrize("kind", KINDS)
def test_metadata_goes_through_json_and_back(kind: str) -> None:
    depth = DepthMap(VALUES, kind, 812.5, "exif", (20, 30), "depth-pro", "ab12")
    again = with_metadata(VALUES, json.loads(json.dumps(metadata_of(depth))))
    assert fields(again) == fields(depth)
    assert metadata_of(depth)["larger_is"] == ("nearer" if kind == "disparity" else "farther")
    assert metadata_of(depth)["unit"] == ("metres" if kind == "metric" else None)


def test_metadata_says_the_size_of_the_image_and_nothing_of_what_is_not_known() -> None:
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
    with pytest.raises(
        DepthFileError, match="a: 33.3 % of its values are infinite: if they are unknown, give"
    ):
        decode_depth(npy(values), "a", about=METRIC)
    read = decode_depth(npy(values), "a", about={**METRIC, "unknown": "inf"}).values
    np.testing.assert_array_equal(read, np.array([[1, np.nan, 3]], np.float32))
    assert np.isinf(values[0, 1])


HUGE = npy(VALUES).replace(b"(2, 3), }" + b" " * 16, b"(2000000, 3000000), }    ")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "its content is not what its name says: it is cut short or mislabelled"),
        (b"\xff\xd8\xff\xe0 an image", "its content is not what its name says"),
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
        (HUGE, "it says that it has 6000000000000 pixels, the limit is 200000000: raise `max_megapixels`"),
    ],
)
def test_a_file_that_is_no_depth_is_an_error_with_its_name(data: bytes, reason: str) -> None:
    with pytest.raises(DepthFileError, match=f"trip/a.npy: {reason}"):
        decode_depth(data, "trip/a.npy", about=METRIC)


def test_what_a_file_does_not_say_is_not_guessed() -> None:
    with pytest.raises(DepthFileError, match="a.npy: it holds float32 and does not say what it means: give"):
        decode_depth(npy(VALUES), "a.npy")
    with pytest.raises(DepthFileError, match="a.npy: kind is 'meters': it must be one of metric, scale"):
        decode_depth(npy(VALUES), "a.npy", about={"kind": "meters"})
    with pytest.raises(DepthFileError, match="a.npy: f_px is -1"):
        decode_depth(npy(VALUES), "a.npy", about={**METRIC, "f_px": -1})


def test_a_file_that_cannot_be_opened_or_is_of_no_format_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none.npy: cannot be read: No such file"):
        read_depth(tmp_path / "none.npy")
    with pytest.raises(DepthFileError, match="cannot be read: the name has a zero byte"):
        read_depth("a\0.npy")
    with (tmp_path / "huge.npy").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(
        DepthFileError, match="huge.npy: too large: the file has 1099.5 GB, the limit is 3.22 for 200 megapix"
    ):
        read_depth(tmp_path / "huge.npy")
    with pytest.raises(DepthFileError, match="a.txt: not a depth file that can be read: give one of .npy"):
        decode_depth(b"text", "a.txt")


def encode(name: str, depth: DepthMap = FULL) -> bytes:
    return b"".join(bytes(chunk) for chunk in FORMATS[name].encode(depth))


def save(image: Image.Image, form: str) -> bytes:
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


def archive(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


READABLE = [name for name, form in FORMATS.items() if form.decode]
LARGE = DepthMap(np.random.default_rng(0).random((300, 400), np.float32) + 1, "metric")


@pytest.mark.parametrize("name", READABLE)
def test_a_file_that_is_cut_short_is_never_half_a_map(name: str) -> None:
    suffix = FORMATS[name].suffix
    for depth in (FULL, LARGE):
        data = encode(name, depth)
        for end in {0, 1, 7, 20, 100, len(data) // 3, len(data) // 2, len(data) - 20, len(data) - 1}:
            if name == "png16" and data[end:] in (b"\x82", data[-20:]):
                continue  # all pixels are there; only the end mark is not
            with pytest.raises(DepthFileError, match=f"^a{suffix}: "):
                decode_depth(data[: min(end, len(data) - 1)], f"a{suffix}", about=METRIC)


@pytest.mark.parametrize("name", READABLE)
def test_a_file_may_have_another_name_or_none(name: str) -> None:
    for other in ("a", "a.jpg", "a.npy", "a.exr"):
        np.testing.assert_allclose(decode_depth(encode(name), other, about=METRIC).values, VALUES, rtol=1e-3)


@pytest.mark.parametrize("name", READABLE)
def test_what_the_file_says_counts_and_the_caller_fills_the_gaps(name: str) -> None:
    said = DepthMap(VALUES, "metric", model="depth-pro")
    about = {"kind": "metric", "f_px": 700, "model": "other", "scale": 0.5, "unknown": 3}
    depth = decode_depth(encode(name, said), "a", about=about)
    assert depth.f_px == 700
    if FORMATS[name].holds_metadata:
        assert depth.model == "depth-pro"
        np.testing.assert_allclose(depth.values, VALUES, rtol=1e-3)
    else:
        assert depth.model == "other"
        np.testing.assert_array_equal(np.isnan(depth.values), np.isnan(VALUES) | (VALUES == 3))
        np.testing.assert_array_equal(depth.values[1, 0], VALUES[1, 0] / 2)


@pytest.mark.parametrize("name", [name for name in READABLE if FORMATS[name].holds_metadata])
@pytest.mark.parametrize(
    ("right", "wrong", "reason"),
    [
        (b'"metric"', b'"metre" ', "kind is 'metre': it must be one of metric, scale_invariant"),
        (b'"farther"', b'"nearer" ', "larger_is is 'nearer', but of kind metric it is 'farther'"),
        (b'"f_px": 812.5', b'"f_px": -12.5', "f_px is -12.5: it must be a number"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(
    name: str, right: bytes, wrong: bytes, reason: str
) -> None:
    data = repair_checksum(encode(name).replace(right, wrong), name)
    with pytest.raises(DepthFileError, match=f"^a: .*({reason})"):
        decode_depth(data, "a")


def repair_checksum(data: bytes, name: str) -> bytes:
    """Return the text in a PNG or an archive the checksum it has now."""
    if name == "png16":
        begin = data.index(b"tEXt")
        end = begin + 4 + int.from_bytes(data[begin - 4 : begin], "big")
        return data[:end] + zlib.crc32(data[begin:end]).to_bytes(4, "big") + data[end + 4 :]
    if name == "npz":
        begin = data.index(b'{"software"')
        end = data.index(b"}", begin) + 1
        before, now = (zlib.crc32(each[begin:end]).to_bytes(4, "little") for each in (encode("npz"), data))
        return data.replace(before, now)
    return data


RGB = np.zeros((4, 5, 3), np.uint8)


def packed(content: bytes) -> bytes:
    """Return an archive whose array is packed."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("depth.npy", content)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (encode("png"), "it is an 8-bit view, made to look at: there is no depth in it"),
        (
            save(Image.fromarray(RGB), "PNG"),
            r"it has 8 bits per channel and 3 channels, .* \(`convention`\), one of carla, shift$",
        ),
        (save(Image.fromarray(RGB[..., 0]), "PNG"), "it has 8 bits per pixel, .* give `scale`"),
        (cv2.imencode(".png", RGB.astype(np.uint16))[1].tobytes(), "it has 16 bits per channel, RGB"),
        (save(Image.fromarray(RGB), "TIFF"), "its pixels are 3 x u8: depth is read from TIFF of one channel"),
        (save(Image.fromarray(RGB[..., 0]).convert("P"), "TIFF"), "its pixels are a palette"),
        (
            save(Image.fromarray(RGB[..., 0]), "TIFF"),
            "it has 8 bits per pixel, .* give `scale`",
        ),
        (save(Image.fromarray(RGB), "JPEG"), "its content is not what its name says"),
        (b"PF\n1 1\n-1\n" + bytes(12), r"it has three channels \(PF\): depth is one number a pixel"),
        (b"Pf\n2 2\n-1\n" + bytes(12), "it has 12 bytes of values, its header says 16: it is not whole"),
        (b"Pf\n-2 2\n-1\n" + bytes(12), "its header is not that of a PFM file"),
        (
            b"Pf\n999999999 999999999\n-1\n",
            "it says that it has 999999998000000001 pixels, the limit is 200000000",
        ),
        (b"P5\n2 2\n0\n" + bytes(4), "its largest number is 0, which is not of 8 or 16 bits"),
        (b"P5\n2 2\n255\n" + bytes(4), "it has 8 bits per pixel, .* give `scale`"),
        (b"P5\n2 2\n65535\n" + bytes(7), "it has 7 bytes of values, its header says 8"),
        (archive(depth=np.array([["a"]], object)), "it holds Python objects .* which are never loaded"),
        (archive(a=VALUES, b=VALUES), "its arrays are a, b, and none is depth: give one as `array`"),
        (archive(), "its content is not what its name says"),
        (packed(HUGE), "it says that it has 6000000000000 pixels, the limit is 200000000"),
        (
            packed(npy(VALUES) + bytes(1000)),
            "it has 1024 bytes of values, its header says 24: it is not whole",
        ),
        (encode("exr").replace(b"Y\0\x02", b"Y\0\x01"), "it cannot be decoded: .*; is it whole"),
        (
            imagecodecs.jpegxl_encode(RGB, lossless=True),
            "it has 8 bits per channel and 3 channels",
        ),
        (
            imagecodecs.jpegxl_encode(RGB.astype(np.uint16), lossless=True),
            r"its shape is \(4, 5, 3\): depth is",
        ),
        (
            b"\xff\x0a" + bytes.fromhex("fcffffffffffff"),
            "it says that it has .* pixels, the limit is 200000000",
        ),
    ],
)
def test_what_is_no_depth_is_an_error_with_name_and_reason(data: bytes, reason: str) -> None:
    with pytest.raises(DepthFileError, match=f"^a.npy: {reason}"):
        decode_depth(data, "a.npy", about=METRIC, convention=None)


def test_an_archive_that_says_it_is_huge_is_not_unpacked() -> None:
    bomb = packed(npy(np.zeros((1000, 4000), np.float32)))
    assert len(bomb) < 20000
    with pytest.raises(
        DepthFileError, match="a.npz: it says that it has 4000000 pixels, the limit is 1000000"
    ):
        decode_depth(bomb, "a.npz", about=METRIC, max_megapixels=1)


def test_exr_of_other_channels(tmp_path: Path) -> None:
    def exr(*names: str) -> bytes:
        file = io.BytesIO()
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        OpenEXR.File(header, dict.fromkeys(names, VALUES)).write(file)
        return file.getvalue()

    for names in (["Y"], ["Z", "A"], ["R", "G", "B", "ViewLayer.Depth.Z"], ["depth"]):
        np.testing.assert_array_equal(decode_depth(exr(*names), "a.exr", about=METRIC).values, VALUES)
    with pytest.raises(
        DepthFileError, match="its channels are B, G, R: which is depth is not clear: give .* as `channel`"
    ):
        decode_depth(exr("R", "G", "B"), "a.exr", about=METRIC)
    big = exr("Z").replace(struct.pack("<4i", 0, 0, 2, 1), struct.pack("<4i", 0, 0, 299999, 99999))
    with pytest.raises(
        DepthFileError, match="a.exr: it says that it has 30000000000 pixels, the limit is 200000000"
    ):
        decode_depth(big, "a.exr", about=METRIC)


@pytest.mark.parametrize("name", ["png16", "tiff", "jxl"])
def test_packed_files_are_measured_before_they_are_unpacked(name: str) -> None:
    with pytest.raises(DepthFileError, match="a: it says that it has 120000 pixels, the limit is 100000"):
        decode_depth(encode(name, LARGE), "a", max_megapixels=0.1)
    assert decode_depth(encode(name, LARGE), "a", max_megapixels=0.12).values.shape == (300, 400)


@given(st.tuples(st.integers(1, 1200), st.integers(1, 1200)))
@settings(max_examples=60, deadline=None)
def test_jpeg_xl_says_its_size_before_it_is_unpacked(shape: tuple[int, int]) -> None:
    data = imagecodecs.jpegxl_encode(np.zeros(shape, np.uint16), lossless=True, effort=1)
    pixels = shape[0] * shape[1]
    assert (
        decode_depth(data, "a", convention="nyu", max_megapixels=(pixels + 0.5) / 1e6).values.shape == shape
    )
    with pytest.raises(DepthFileError, match=f"it has {pixels} pixels, the limit is"):
        decode_depth(data, "a", convention="nyu", max_megapixels=(pixels - 0.5) / 1e6)


@pytest.mark.parametrize("name", READABLE)
def test_a_damaged_file_is_a_map_or_an_error_with_its_name(name: str) -> None:
    data, random = encode(name), np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(data)
        place = int(random.integers(min(len(data), 400)))
        damaged[place : place + int(random.integers(3))] = random.bytes(int(random.integers(1, 5)))
        try:
            assert decode_depth(bytes(damaged), "trip/a", about=METRIC).values.dtype == np.float32
        except DepthFileError as error:
            assert str(error).startswith("trip/a: ")
            refused += 1
    assert refused > 75


def test_a_pipe_is_refused_before_it_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npy")
    with pytest.raises(
        DepthFileError, match="a.npy: cannot be read: it is a pipe, not a file: write it to a file first"
    ):
        read_file(tmp_path / "a.npy")
    assert not is_own_output(tmp_path / "a.npy")
    with pytest.raises(DepthFileError, match="cannot be read: Is a directory"):
        read_file(tmp_path)
