"""Depth files that other programs write: the right value, or a refusal that says how to get it.

What is expected comes from the libraries that write the files, and from the formulas of their documents.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import h5py
import imagecodecs
import numpy as np
import OpenEXR
import pytest
import tifffile
from PIL import Image

from cortexia_video import convert, inspect, read_depth
from cortexia_video.errors import DepthFileError, MissingExtraError
from cortexia_video.formats.decode_depth import decode_depth
from cortexia_video.sources.depth_files import DepthFiles

Y, X = np.mgrid[:48, :64]
DEPTH = (1 + 0.03 * Y + 0.01 * X).astype(np.float32)  # 1 to 3.04
METRIC = {"kind": "metric"}
MILLIMETRES = np.round(DEPTH * 1000).astype(np.uint16)


def plane(value: float) -> np.ndarray:
    return np.full(DEPTH.shape, value, np.float32)


def exr(*parts: dict[str, np.ndarray], windows: dict[str, Any] | None = None) -> bytes:
    """Return a file of channels, in one part or in several, which are called part0 and so on."""
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **(windows or {})}
    if len(parts) > 1:
        file = OpenEXR.File([OpenEXR.Part({**header}, each, f"part{i}") for i, each in enumerate(parts)])
    else:
        file = OpenEXR.File(header, parts[0])
    data = io.BytesIO()
    file.write(data)
    return data.getvalue()


def layers(*names: str, depth: str) -> dict[str, np.ndarray]:
    return {**{name: plane(9) for name in names}, depth: DEPTH}


COLOURS = ("R", "G", "B", "A")
NORMALS = ("Normal.X", "Normal.Y", "Normal.Z")


@pytest.mark.parametrize(
    "channels",
    [
        layers(*NORMALS, *COLOURS, depth="ViewLayer.Depth.V"),
        layers(*NORMALS, *COLOURS, depth="ViewLayer.Depth.Z"),
        layers(*NORMALS, *COLOURS, depth="Z"),
        layers(*NORMALS, *COLOURS, depth="depth"),
        layers("P.X", "P.Y", "P.Z", "P.W", depth="Z"),
        layers("Position.Z", "Vector.X", "Vector.Y", "Vector.Z", "Vector.W", depth="z"),
        layers("Denoising Depth.Z", *COLOURS, depth="ViewLayer.Depth.Z"),
        layers("depth_confidence", *COLOURS, depth="depth_m"),
        layers("Z.A", "ZBack", depth="Z"),
        layers("A", depth="R"),
        layers("A", depth="Y"),
    ],
    ids=lambda channels: "-".join(channels),
)
def test_exr_has_its_depth_in_the_channel_that_is_called_so(channels: dict[str, np.ndarray]) -> None:
    np.testing.assert_array_equal(decode_depth(exr(channels), "a.exr", about=METRIC).values, DEPTH)


@pytest.mark.parametrize(
    "names",
    [
        COLOURS,
        NORMALS,
        ("left.Depth.Z", "right.Depth.Z"),
        ("Normal.Z", "R"),
        ("depth.confidence", "mask"),
        ("Z", "z"),
    ],
    ids=str,
)
def test_exr_whose_channels_leave_it_open_is_refused_with_the_way_on(names: tuple[str, ...]) -> None:
    data = exr(dict.fromkeys(names, DEPTH))
    if names == ("Normal.Z", "R"):  # a normal is none; what is left may be
        np.testing.assert_array_equal(decode_depth(data, "a.exr", about=METRIC).values, DEPTH)
        return
    with pytest.raises(
        DepthFileError, match=r"its channels are .*: which is depth is not clear: .* `channel`"
    ):
        decode_depth(data, "a.exr", about=METRIC)
    for wanted in (names[-1], names[-1].rpartition(".")[2]):
        if sum(name == wanted or name.endswith(f".{wanted}") for name in names) == 1:
            about = {**METRIC, "channel": wanted}
            np.testing.assert_array_equal(decode_depth(data, "a.exr", about=about).values, DEPTH)
    with pytest.raises(DepthFileError, match="0 of them are called W"):
        decode_depth(data, "a.exr", about={**METRIC, "channel": "W"})


def test_exr_of_several_parts_is_not_its_first_part() -> None:
    beauty = dict.fromkeys(("R", "G", "B"), plane(9))
    np.testing.assert_array_equal(decode_depth(exr(beauty, {"Z": DEPTH}), "a", about=METRIC).values, DEPTH)
    two = exr({"Z": plane(9)}, {"Z": DEPTH})
    with pytest.raises(DepthFileError, match=r"part0\.Z, part1\.Z: which is depth is not clear"):
        decode_depth(two, "a", about=METRIC)
    about = {**METRIC, "channel": "part1.Z"}
    np.testing.assert_array_equal(decode_depth(two, "a", about=about).values, DEPTH)


@pytest.mark.parametrize("at", [(10, 8, 40, 56), (-5, -3, 30, 70), (0, 0, 48, 64), (47, 63, 60, 80)])
def test_exr_is_as_large_as_its_display_window(at: tuple[int, int, int, int]) -> None:
    top, left, bottom, right = at  # of the pixels that it has
    grown = np.full((200, 200), np.nan, np.float32)
    grown[100:148, 100:164] = DEPTH
    overscan = np.where(np.isnan(grown), 7, grown).astype(np.float32)
    pixels = overscan[100 + top : 100 + bottom, 100 + left : 100 + right].copy()
    windows = {
        "dataWindow": ((left, top), (right - 1, bottom - 1)),
        "displayWindow": ((0, 0), (63, 47)),
    }
    expected = np.full((48, 64), np.nan, np.float32)
    rows, columns = slice(max(top, 0), min(bottom, 48)), slice(max(left, 0), min(right, 64))
    expected[rows, columns] = DEPTH[rows, columns]
    data = exr({"Z": pixels}, windows=windows)
    np.testing.assert_array_equal(decode_depth(data, "a.exr", about=METRIC).values, expected)
    with pytest.raises(DepthFileError, match="it has 3072 pixels"):
        decode_depth(data, "a.exr", about=METRIC, max_megapixels=0.003)


def test_exr_outside_of_its_display_window_is_refused() -> None:
    windows = {"dataWindow": ((100, 100), (163, 147)), "displayWindow": ((0, 0), (63, 47))}
    with pytest.raises(DepthFileError, match="its data window lies outside of its display window"):
        decode_depth(exr({"Z": DEPTH}, windows=windows), "a.exr", about=METRIC)


def tiff(*pages: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    with tifffile.TiffWriter(
        file, bigtiff=options.pop("bigtiff", False), byteorder=options.pop("order", "<")
    ) as out:
        for page in pages:
            out.write(page, contiguous=False, **options)
    return file.getvalue()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "u2", "i2", "u4", "i4", "u8"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd"])
def test_tiff_of_any_number_type_is_read(dtype: str, order: str, compression: str | None) -> None:
    floats = dtype[0] == "f"
    values = DEPTH.astype(dtype) if floats else (DEPTH * 1000).round().astype(dtype)
    about = METRIC if floats else {**METRIC, "scale": 0.001}
    for options in ({}, {"bigtiff": True}, {"tile": (16, 16)}):
        data = tiff(values, order=order, compression=compression, **options)
        depth = decode_depth(data, "a.tif", about=about).values
        np.testing.assert_allclose(depth, values * (1 if floats else 0.001), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_tiff_of_floats_behind_a_predictor_is_read(dtype: str) -> None:
    values = DEPTH.astype(dtype)
    data = tiff(values, compression="zlib", predictor=3)
    np.testing.assert_array_equal(decode_depth(data, "a.tif", about=METRIC).values, values.astype("f4"))


def test_the_largest_numbers_of_32_bits_are_not_negative() -> None:
    numbers = np.where(Y < 3, np.uint32(4294967295), MILLIMETRES.astype(np.uint32))
    about = {**METRIC, "scale": 0.001, "unknown": 4294967295}
    depth = decode_depth(tiff(numbers), "a.tif", about=about).values
    assert np.isnan(depth[:3]).all()
    np.testing.assert_allclose(depth[3:], MILLIMETRES[3:] / 1000, rtol=1e-6)


def test_tiff_of_doubles_without_tifffile_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    with pytest.raises(
        MissingExtraError, match=r"TIFF of f64 needs tifffile: (uv )?pip install '.*\[tiff\]'"
    ):
        decode_depth(tiff(DEPTH.astype(np.float64)), "a.tif", about=METRIC)


@pytest.mark.parametrize("dtype", ["f4", "f8", "u2"])
def test_tiff_of_several_pages_is_not_its_first(dtype: str) -> None:
    pages = [(DEPTH * 1000 + i).astype(dtype) for i in range(3)]
    about = {**METRIC, "scale": 0.001} if dtype == "u2" else METRIC
    with pytest.raises(
        DepthFileError, match="it has 3 pages, of which one is depth: say which as `page`, from 1"
    ):
        decode_depth(tiff(*pages), "a.tif", about=about)
    for number, page in enumerate(pages, 1):
        depth = decode_depth(tiff(*pages), "a.tif", about={**about, "page": number}).values
        np.testing.assert_allclose(depth, page * (0.001 if dtype == "u2" else 1), rtol=1e-6)
    with pytest.raises(DepthFileError, match="it has no page 4: `page` is 1 to 3"):
        decode_depth(tiff(*pages), "a.tif", about={**about, "page": 4})


def test_smaller_copies_of_a_tiff_are_no_pages_of_it() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as out:
        out.write(DEPTH, subifds=1)
        out.write(DEPTH[::2, ::2], subfiletype=1)
        out.write(DEPTH[::4, ::4], subfiletype=1)
    np.testing.assert_array_equal(decode_depth(file.getvalue(), "a.tif", about=METRIC).values, DEPTH)


@pytest.mark.parametrize(
    "options",
    [
        {"imagej": True, "truncate": True},
        {"photometric": "minisblack", "truncate": True},
        {"volumetric": True, "tile": (16, 16, 16)},
    ],
    ids=["ImageJ", "tifffile", "volume"],
)
def test_images_that_a_tiff_has_behind_one_page_are_seen(options: dict[str, Any]) -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, np.repeat(DEPTH[None], 16, axis=0)[None], **options)
    with pytest.raises(DepthFileError, match="it has 16 images in one page: depth is one"):
        decode_depth(file.getvalue(), "a.tif", about=METRIC)
    older = re.sub(
        rb'\{("shape": [^]]*\]), ("truncated": true)\}', rb"{\2, \1}", file.getvalue()
    )  # tifffile of 2024
    with pytest.raises(DepthFileError, match="it has 16 images in one page: depth is one"):
        decode_depth(older, "a.tif", about=METRIC)
    one = tiff(DEPTH, metadata={"axes": "YX"})
    np.testing.assert_array_equal(decode_depth(one, "a.tif", about=METRIC).values, DEPTH)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_numbers_of_tiff_are_never_turned_round(dtype: str) -> None:
    numbers = (DEPTH * 60).astype(dtype)
    about = {**METRIC, "scale": 1 / 60}
    for photometric in ("minisblack", "miniswhite"):
        depth = decode_depth(tiff(numbers, photometric=photometric), "a.tif", about=about)
        np.testing.assert_allclose(depth.values, numbers / 60, rtol=1e-6)


def test_other_files_of_several_frames_are_not_their_first() -> None:
    frames = [Image.fromarray(MILLIMETRES + i) for i in range(3)]
    png = io.BytesIO()
    frames[0].save(png, "PNG", save_all=True, append_images=frames[1:])
    with pytest.raises(DepthFileError, match="a.png: it has 3 frames: depth is one image"):
        decode_depth(png.getvalue(), "a.png", convention="nyu")
    jxl = imagecodecs.jpegxl_encode(np.stack([np.asarray(each) for each in frames]), lossless=True)
    with pytest.raises(DepthFileError, match="a.jxl: it has several frames: depth is one image"):
        decode_depth(jxl, "a.jxl", convention="nyu")
    one = imagecodecs.jpegxl_encode(np.asarray(frames[0]), lossless=True)
    np.testing.assert_allclose(
        decode_depth(one, "a.jxl", convention="nyu").values, MILLIMETRES / 1000, rtol=1e-6
    )
    stacked = io.BytesIO()
    np.save(stacked, np.stack([DEPTH] * 3))
    with pytest.raises(DepthFileError, match=r"its shape is \(3, 48, 64\)"):
        decode_depth(stacked.getvalue(), "a.npy", about=METRIC)


def test_an_array_of_an_archive_is_chosen_by_its_name() -> None:
    file = io.BytesIO()
    np.savez_compressed(file, depth=plane(9), raw=DEPTH)
    assert decode_depth(file.getvalue(), "a.npz", about=METRIC).values[0, 0] == 9
    about = {**METRIC, "array": "raw"}
    np.testing.assert_array_equal(decode_depth(file.getvalue(), "a.npz", about=about).values, DEPTH)
    with pytest.raises(
        DepthFileError, match="its arrays are depth, raw, and none is mask: give one as `array`"
    ):
        decode_depth(file.getvalue(), "a.npz", about={**METRIC, "array": "mask"})


def test_a_choice_that_a_file_does_not_have_is_refused() -> None:
    npy = io.BytesIO()
    np.save(npy, DEPTH)
    for word, value in {"channel": "Z", "array": "a", "page": 1}.items():
        with pytest.raises(DepthFileError, match=f"a .npy file has no `{word}` to choose: leave it out"):
            decode_depth(npy.getvalue(), "a.npy", about={**METRIC, word: value})


def hdf5(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as out:
        for name, values in arrays.items():
            out.create_dataset(name.replace("__", "/"), data=values, compression="gzip")
    return file.getvalue()


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_hdf5_has_its_depth_in_its_only_array_or_in_the_one_that_is_called_so(dtype: str) -> None:
    values = DEPTH.astype(dtype)
    for data in (
        hdf5(dataset=values),
        hdf5(frame__depth=values, frame__rgb=np.zeros((48, 64, 3), np.uint8)),
        hdf5(depth=values[None], intrinsics=np.eye(3), stamps=np.arange(3.0)),
    ):
        np.testing.assert_array_equal(
            decode_depth(data, "a.h5", about=METRIC).values, values.astype(np.float32)
        )
    two = hdf5(left=plane(9), right=values)
    with pytest.raises(
        DepthFileError, match="its arrays are left, right, which is depth is not clear: .* `array`"
    ):
        decode_depth(two, "a.h5", about=METRIC)
    chosen = decode_depth(two, "a.h5", about={**METRIC, "array": "/right"})
    np.testing.assert_array_equal(chosen.values, values.astype(np.float32))
    with pytest.raises(DepthFileError, match="it has 3072 pixels"):
        decode_depth(hdf5(dataset=values), "a.h5", about=METRIC, max_megapixels=0.003)


def test_hdf5_whose_numbers_lie_in_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(4 * DEPTH.size))
    with h5py.File(tmp_path / "outside.h5", "w") as out:
        out.create_dataset(
            "depth", DEPTH.shape, "f4", external=[(str(tmp_path / "secret"), 0, h5py.h5f.UNLIMITED)]
        )
    with h5py.File(tmp_path / "linked.h5", "w") as out:
        out["depth"] = h5py.ExternalLink("outside.h5", "/depth")
        out["group"] = h5py.ExternalLink("outside.h5", "/")
    with pytest.raises(DepthFileError, match="it cannot be decoded|other files"):
        read_depth(tmp_path / "outside.h5", about=METRIC)
    for name in (None, "depth", "group/depth"):
        with pytest.raises(DepthFileError, match="its arrays are none"):
            read_depth(tmp_path / "linked.h5", about={**METRIC, "array": name})


def colmap(values: np.ndarray) -> bytes:
    """Return a dense map: columns run fastest in a Fortran array of (width, height)."""
    height, width = values.shape[:2]
    channels = values.shape[2] if values.ndim == 3 else 1
    return f"{width}&{height}&{channels}&".encode() + np.asfortranarray(
        values.reshape(height, width, channels).transpose(1, 0, 2), "<f4"
    ).tobytes(order="F")


def test_colmaps_dense_maps_are_read_in_its_unit_or_in_metres_if_somebody_says_so(tmp_path: Path) -> None:
    values = np.where(X < 2, 0, DEPTH)
    folder = tmp_path / "depth_maps"
    folder.mkdir()
    (folder / "a.jpg.geometric.bin").write_bytes(colmap(values))
    (folder / "a.jpg.photometric.bin").write_bytes(colmap(values))
    (folder / "other.bin").write_bytes(bytes(16))
    for kind in ("scale_invariant", "metric"):
        about = None if kind == "scale_invariant" else METRIC
        depth = read_depth(folder / "a.jpg.geometric.bin", convention="colmap", about=about)
        assert depth.kind == kind
        np.testing.assert_array_equal(depth.values, np.where(X < 2, np.nan, DEPTH))
    report = convert(folder, tmp_path / "out", format="npz", convention="colmap")
    assert (report.found, report.done) == (2, 2)
    with pytest.raises(DepthFileError, match="it has 3 channels, as COLMAP's normals have"):
        decode_depth(colmap(np.stack([DEPTH] * 3, -1)), "a.bin", about=METRIC)
    with pytest.raises(DepthFileError, match="it has 12280 bytes of values, its header says 12288"):
        decode_depth(colmap(DEPTH)[:-8], "a.bin", about=METRIC)


@pytest.mark.parametrize("convention", ["carla", "shift"])
@pytest.mark.parametrize("alpha", [False, True])
def test_depth_in_the_bytes_of_colours(convention: str, alpha: bool, tmp_path: Path) -> None:
    # CARLA: normalized = (R + G * 256 + B * 256 * 256) / (256 * 256 * 256 - 1), in metres 1000 times that
    number = np.round(DEPTH.astype(np.float64) / 1000 * (2**24 - 1)).astype(np.int64)
    number[0] = 2**24 - 1  # nothing is there
    number[1] = np.arange(64) * 200_000
    pixels = np.stack(
        [number & 255, number >> 8 & 255, number >> 16, *([number * 0 + 255] if alpha else [])], -1
    )
    (tmp_path / "in").mkdir()
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "in/a.png")
    depth = read_depth(tmp_path / "in/a.png", convention=convention)
    assert (depth.kind, depth.values.shape) == ("metric", (48, 64))
    assert np.isnan(depth.values[0]).all()
    np.testing.assert_allclose(depth.values[2:], DEPTH[2:], atol=3e-5)
    np.testing.assert_allclose(depth.values[1], np.arange(64) * 200_000 / (2**24 - 1) * 1000, rtol=1e-6)
    report = convert(tmp_path / "in", tmp_path / "out", format="npz", convention=convention)
    assert (report.found, report.done) == (1, 1)
    assert inspect(tmp_path / "in", convention=convention).sampled[0].kind == "metric"
    with pytest.raises(DepthFileError, match="give its convention .*, one of carla, shift"):
        read_depth(tmp_path / "in/a.png", about=METRIC)
    with pytest.raises(DepthFileError, match="it holds uint16, which files of this convention do not"):
        decode_depth(tiff(MILLIMETRES), "a.tif", convention=convention)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_8_bits_are_depth_only_with_a_scale(suffix: str, tmp_path: Path) -> None:
    # Middlebury 2003: grey levels of disparity times 4, 0 where unknown
    levels = ((X + Y) % 200).astype(np.uint8)
    path = tmp_path / f"in/a{suffix}"
    path.parent.mkdir()
    Image.fromarray(levels).save(path)
    for about in ({"kind": "disparity"}, METRIC):
        with pytest.raises(
            DepthFileError, match="it has 8 bits per pixel, as photos and views have, .* `scale`"
        ):
            read_depth(path, about=about)
    with pytest.raises(DepthFileError, match="it holds uint8, which files of this convention do not"):
        read_depth(path, convention="tum")
    about = {"kind": "disparity", "scale": 0.25, "unknown": 0}
    depth = read_depth(path, about=about)
    np.testing.assert_array_equal(depth.values, np.where(levels == 0, np.nan, levels / 4))
    assert [each.key for each in DepthFiles([path.parent], about=about)] == ["a"]
    assert [each.key for each in DepthFiles([path.parent])] == ([] if suffix == ".png" else ["a"])


def test_distance_along_the_ray_becomes_depth_along_the_axis(tmp_path: Path) -> None:
    f_px = 50.0
    x, y = (X + 0.5 - 32) / f_px, (Y + 0.5 - 24) / f_px
    distance = DEPTH * np.sqrt(x**2 + y**2 + 1)
    np.save(tmp_path / "a.npy", distance.astype(np.float32))
    about = {**METRIC, "along": "ray", "f_px": f_px}
    np.testing.assert_allclose(read_depth(tmp_path / "a.npy", about=about).values, DEPTH, rtol=3e-7)
    whole = {**about, "f_px": 2 * f_px, "full_size": [96, 128]}  # a focal length is that of the whole image
    np.testing.assert_allclose(read_depth(tmp_path / "a.npy", about=whole).values, DEPTH, rtol=3e-7)
    report = convert(
        tmp_path / "a.npy", tmp_path / "out", format="npz", f_px=f_px, about={**METRIC, "along": "ray"}
    )
    assert report.done == 1
    np.testing.assert_allclose(read_depth(tmp_path / "out/a.npz").values, DEPTH, rtol=3e-7)
    data = hdf5(dataset=distance.astype(np.float32))  # as Hypersim's depth_meters
    np.testing.assert_allclose(decode_depth(data, "a.hdf5", about=about).values, DEPTH, rtol=3e-7)
    with pytest.raises(
        DepthFileError, match="metric depth along rays .* without a focal length: give `f_px`"
    ):
        read_depth(tmp_path / "a.npy", about={**METRIC, "along": "ray"})
    with pytest.raises(DepthFileError, match="disparity values are no distances along rays"):
        read_depth(tmp_path / "a.npy", about={**about, "kind": "disparity"})
    with pytest.raises(DepthFileError, match="along is 'z': it must be axis or ray"):
        read_depth(tmp_path / "a.npy", about={**about, "along": "z"})


@pytest.mark.parametrize("factor", [1, 2, 0.5])
def test_middlebury_of_another_size_than_its_calibration(factor: float, tmp_path: Path) -> None:
    """Z = f B / (d + doffs), all three in pixels of one size: at half of it each is half."""
    width, height, f_px, doffs, baseline = 200, 160, 1000.0, 30.0, 100.0
    metres = np.linspace(2, 4, width, dtype=np.float64)[None].repeat(height, 0)
    if factor != 1:
        size = round(width * factor), round(height * factor)
        metres = np.linspace(2, 4, size[0])[None].repeat(size[1], 0)
    disparity = f_px * factor * baseline / 1000 / metres - doffs * factor
    path = tmp_path / "disp0.pfm"
    rows = disparity[::-1].astype("<f4").tobytes()
    path.write_bytes(f"Pf\n{metres.shape[1]} {metres.shape[0]}\n-1.0\n".encode() + rows)
    calibration = f"cam0=[{f_px} 0 1; 0 {f_px} 1; 0 0 1]\ndoffs={doffs}\nbaseline={baseline}\n"
    (tmp_path / "calib.txt").write_text(f"{calibration}width={width}\nheight={height}\n")
    depth = read_depth(path, convention="middlebury")
    np.testing.assert_allclose(depth.values, metres, rtol=1e-5)
    assert depth.f_px == f_px * factor
    (tmp_path / "calib.txt").write_text(f"{calibration}width={width}\nheight={width}\n")
    with pytest.raises(DepthFileError, match=r"its calib.txt is for 200 x 200, of another shape"):
        read_depth(path, convention="middlebury")
