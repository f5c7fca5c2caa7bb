"""Files that we write, read by libraries that know nothing of us: the same numbers, and the words beside."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import OpenEXR
import pytest
import tifffile
from PIL import Image

from cortexia_video import DepthMap
from cortexia_video.errors import MissingExtraError, OutputError
from cortexia_video.formats.decode_depth import decode_depth
from cortexia_video.formats.metadata import metadata_of
from cortexia_video.formats.registry import FORMATS
from cortexia_video.sinks.sink import FolderSink

RANDOM = np.random.default_rng(0)
METRES = (0.5 + 60 * RANDOM.random((123, 457))).astype(np.float32)
METRES[5, 7] = np.nan
FAR = METRES * 100
DEPTH = DepthMap(METRES, "metric", 812.5, "exif", (246, 914), "depth-pro", "ab12")
LARGE = DepthMap((1 + RANDOM.random((700, 900))).astype(np.float32), "metric")  # over a MiB: begins at a page


def encode(name: str, depth: DepthMap = DEPTH) -> bytes:
    return b"".join(bytes(chunk) for chunk in FORMATS[name].encode(depth))


def opencv(data: bytes) -> np.ndarray:
    read = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert read is not None
    return read


def says(text: str | bytes) -> dict:
    """Read the words beside the numbers, less those for the numbers' steps."""
    words = json.loads(text)
    assert words.pop("software") == "cortexia_video depth"
    return words


def said_of(depth: DepthMap) -> dict:
    return json.loads(json.dumps(metadata_of(depth)))


def numbers_of(values: np.ndarray, words: dict) -> np.ndarray:
    """Return the whole numbers that the docs promise, in float64, for metres: 0 where unknown."""
    if "near" in words:
        near, far = words["near"], words["far"]
        exact = 1 + 65534 * np.log(values.astype(float) / near) / np.log(far / near)
    else:
        exact = (values.astype(float) - words["offset"]) / words["scale"]
    return np.nan_to_num(exact)


@pytest.mark.parametrize("values", [METRES, FAR], ids=["near", "far"])
@pytest.mark.parametrize("kind", ["metric", "disparity"])
def test_png16_by_opencv_and_pillow(kind: str, values: np.ndarray) -> None:
    depth = DepthMap(values, kind, 812.5, "exif", None, "depth-pro", "ab12")
    data = encode("png16", depth)
    numbers, image = opencv(data), Image.open(io.BytesIO(data))
    assert numbers.dtype == np.uint16 and image.mode == "I;16"
    np.testing.assert_array_equal(numbers, np.asarray(image))
    words = says(image.info["cortexia_video"])
    assert {name: words[name] for name in said_of(depth)} == {**said_of(depth), "unknown": 0}
    assert np.abs(numbers - numbers_of(values, words)).max() < 0.51
    if kind == "metric":
        assert (words["near"], words["far"]) == (1e-5, 1e6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 70000), (300, 1), (700, 900)])
def test_png16_of_any_shape_is_whole(shape: tuple[int, int]) -> None:
    values = (1 + RANDOM.random(shape)).astype(np.float32)
    data = encode("png16", DepthMap(values, "metric"))
    exact = 1 + 65534 * np.log(values.astype(float) / 1e-5) / np.log(1e11)
    np.testing.assert_allclose(opencv(data), exact, rtol=0, atol=0.51)
    place, names = 8, []
    while place < len(data):  # every chunk has the checksum that the standard wants
        (size,) = struct.unpack_from(">I", data, place)
        names.append(data[place + 4 : place + 8])
        assert struct.unpack_from(">I", data, place + 8 + size)[0] == zlib.crc32(
            data[place + 4 : place + 8 + size]
        )
        place += 12 + size
    assert names[:2] == [b"IHDR", b"tEXt"] and names[-1] == b"IEND"


@pytest.mark.parametrize("depth", [DEPTH, LARGE], ids=["small", "large"])
def test_npy_and_npz_by_numpy(depth: DepthMap) -> None:
    np.testing.assert_array_equal(np.load(io.BytesIO(encode("npy", depth))), depth.values)
    data = encode("npz", depth)
    with np.load(io.BytesIO(data)) as archive:
        assert archive["depth"].dtype == np.float32
        np.testing.assert_array_equal(archive["depth"], depth.values)
        assert says(archive["cortexia_video depth.json"]) == said_of(depth)
    assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None


@pytest.mark.parametrize("name", ["npy", "npz"])
def test_large_arrays_begin_at_a_page_and_are_not_copied(name: str) -> None:
    chunks = FORMATS[name].encode(LARGE)
    index = next(i for i, chunk in enumerate(chunks) if len(chunk) == LARGE.values.nbytes)
    assert sum(map(len, chunks[:index])) % 4096 == 0
    assert np.shares_memory(np.frombuffer(chunks[index], np.uint8), LARGE.values)


def test_tiff_by_tifffile() -> None:
    with tifffile.TiffFile(io.BytesIO(encode("tiff", LARGE))) as file:
        page = file.pages[0]
        assert (page.compression.name, page.predictor.name, page.dtype) == (
            "ADOBE_DEFLATE",
            "FLOATINGPOINT",
            "<f4",
        )
        np.testing.assert_array_equal(page.asarray(), LARGE.values)
        assert says(page.description) == said_of(LARGE)


@pytest.mark.parametrize("missing", ["imagecodecs", "tifffile"])
def test_tiff_without_the_packages_that_pack_it(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = encode("tiff")
    monkeypatch.setitem(sys.modules, missing, None)
    data = encode("tiff")
    np.testing.assert_array_equal(opencv(data), METRES)
    for each in (data, packed):  # what is packed can be read without them, too
        read = decode_depth(each, "a.tiff")
        np.testing.assert_array_equal(read.values, METRES)
        assert metadata_of(read) == metadata_of(DEPTH)
    monkeypatch.undo()
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        np.testing.assert_array_equal(file.asarray(), METRES)
        assert says(file.pages[0].description) == said_of(DEPTH)


def test_exr_by_openexr() -> None:
    file = OpenEXR.File(io.BytesIO(encode("exr")), separate_channels=True)
    np.testing.assert_array_equal(file.channels()["Y"].pixels, METRES)
    assert says(file.header()["cortexia_video"]) == said_of(DEPTH)
    half = OpenEXR.File(io.BytesIO(encode("exr16")), separate_channels=True).channels()["Y"].pixels
    np.testing.assert_array_equal(half, METRES.astype(np.float16))


def test_exr_by_the_letter_of_its_standard() -> None:
    data = encode("exr")
    height, width = METRES.shape
    begin = len(data) - height * (8 + 4 * width)  # rows that are not packed: y, size, values
    rows = np.frombuffer(data, np.dtype([("y", "<i4"), ("size", "<i4"), ("z", "<f4", width)]), offset=begin)
    np.testing.assert_array_equal(rows["y"], np.arange(height))
    np.testing.assert_array_equal(rows["z"], METRES)


def expected_of(name: str) -> np.ndarray:
    """Return what a reader of pixels finds: metres, or the whole numbers that stand for them."""
    data = encode(name)
    if name == "png16":
        return np.asarray(Image.open(io.BytesIO(data)))
    return METRES.astype(np.float16).astype(np.float32) if name == "exr16" else METRES


@pytest.mark.parametrize("name", ["tiff", "exr", "exr16", "png16"])  # PFM it reads upside down
def test_pixels_by_openimageio(name: str, tmp_path: Path) -> None:
    oiio = pytest.importorskip("OpenImageIO")
    path = tmp_path / f"a{FORMATS[name].suffix}"
    path.write_bytes(encode(name))
    image = oiio.ImageInput.open(str(path))
    pixels = image.read_image("uint16" if name == "png16" else "float")
    assert pixels.shape == (*METRES.shape, 1) and not image.geterror()
    np.testing.assert_array_equal(pixels[..., 0], expected_of(name))


@pytest.mark.parametrize("name", ["tiff", "png16"])
def test_pixels_by_imageio(name: str, tmp_path: Path) -> None:
    imageio = pytest.importorskip("imageio.v3")
    path = tmp_path / f"a{FORMATS[name].suffix}"
    path.write_bytes(encode(name))
    for plugin in ("pillow", "tifffile") if name == "tiff" else ("pillow",):
        np.testing.assert_array_equal(imageio.imread(path, plugin=plugin), expected_of(name))


@pytest.mark.parametrize("depth", [DEPTH, LARGE], ids=["small", "large"])
def test_tiff_by_opencv_and_pillow(depth: DepthMap) -> None:
    data = encode("tiff", depth)
    np.testing.assert_array_equal(opencv(data), depth.values)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), depth.values)


@pytest.mark.parametrize("name", ["exr", "exr16"])
@pytest.mark.parametrize("flag", ["UNCHANGED", "ANYDEPTH"])
def test_exr_by_opencv_where_its_wheel_reads_exr(name: str, flag: str, tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    path.write_bytes(encode(name))
    code = f"import cv2, numpy, sys; read = cv2.imread(sys.argv[1], cv2.IMREAD_{flag}); "
    code += "print('none') if read is None else numpy.save(sys.argv[2], read)"
    known = {**os.environ, "OPENCV_IO_ENABLE_OPENEXR": "1"}
    words = [sys.executable, "-c", code, str(path), str(tmp_path / "read.npy")]
    said = subprocess.run(words, env=known, check=True, capture_output=True, text=True, timeout=600).stdout
    if "none" in said:
        pytest.skip("this OpenCV is built without OpenEXR: 4.x has it")
    np.testing.assert_array_equal(np.load(tmp_path / "read.npy"), expected_of(name))


def test_the_first_array_of_an_npz_is_the_depth() -> None:
    with np.load(io.BytesIO(encode("npz"))) as archive:
        np.testing.assert_array_equal(archive[archive.files[0]], METRES)


def test_pfm_by_opencv() -> None:
    np.testing.assert_array_equal(opencv(encode("pfm")), METRES)


@pytest.mark.parametrize("values", [METRES, FAR], ids=["near", "far"])
def test_jxl_by_imagecodecs(values: np.ndarray) -> None:
    data = encode("jxl", DepthMap(values, "metric"))
    numbers = imagecodecs.jpegxl_decode(data)
    np.testing.assert_array_equal(numbers, opencv(encode("png16", DepthMap(values, "metric"))))
    label = data.index(b"json{")
    (size,) = struct.unpack_from(">I", data, label - 4)
    words = says(data[label + 4 : label - 4 + size])
    assert np.abs(numbers - numbers_of(values, words)).max() < 0.51


def test_a_bare_codestream_is_put_in_a_container_and_read(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = encode("jxl")
    place = whole.index(b"jxlc")
    (size,) = struct.unpack_from(">I", whole, place - 4)
    bare = whole[place + 4 : place - 4 + size]
    monkeypatch.setattr(imagecodecs, "jpegxl_encode", lambda *_, **__: bare)
    for data in (encode("jxl"), whole):
        read = decode_depth(data, "a.jxl")
        np.testing.assert_allclose(read.values, METRES, rtol=1.96e-4)
        assert metadata_of(read) == metadata_of(DEPTH)
    assert decode_depth(bare, "a.jxl", convention="nyu").values.shape == METRES.shape


@pytest.mark.parametrize(
    ("name", "module", "extra"), [("exr", "OpenEXR", "exr"), ("jxl", "imagecodecs", "jxl")]
)
def test_a_format_whose_package_is_missing_says_what_to_install(
    name: str, module: str, extra: str, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encode(name)
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr("cortexia_video.formats.registry.find_spec", lambda name: None)
    remedy = rf"install '.*\[{extra}\]'"
    assert not FORMATS[name].is_installed
    for call in (
        lambda: FORMATS[name].encode(DEPTH),
        lambda: decode_depth(data, "a"),
        lambda: FolderSink(tmp_path, format=name),
    ):
        with pytest.raises(MissingExtraError, match=remedy):
            call()
    with pytest.raises(OutputError, match="unknown format"):
        FolderSink(tmp_path, format=f"{name}2")


def test_openexr_says_how_wide_the_image_is_at_distance_1() -> None:
    depth = DepthMap(np.ones((3, 4), np.float32), "metric", 500, "exif", (300, 400))
    for name, known, width in (("exr", depth, 0.8), ("exr", replace(depth, full_size=None), 0.008)):
        data = b"".join(map(bytes, FORMATS[name].encode(known)))
        assert OpenEXR.File(io.BytesIO(data)).header()["screenWindowWidth"] == pytest.approx(width)


@pytest.mark.parametrize(
    ("kind", "values", "lost"),
    [
        ("disparity", [0, 1e-7, 1], None),
        ("affine_invariant", [-1, 1e-7, 1], None),
        ("disparity", [1e-7, 2e-6], "values below"),
        ("metric", [1e-6, 1], "values below"),
        ("metric", [0, 1], None),
        ("disparity", [1, 7e4], "1 value from 65520 up becomes unknown"),
    ],
)
def test_half_floats_lose_what_is_small_against_what_counts(
    kind: Any, values: list, lost: str | None
) -> None:
    said = FORMATS["exr16"].lost(DepthMap(np.array([values], np.float32), kind))
    assert said is None if lost is None else said is not None and said.startswith(lost)
