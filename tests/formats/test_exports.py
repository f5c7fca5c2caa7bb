"""What `convert --to` writes, read by libraries that know nothing of us, by their documents' formulas."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

import cortexia_video as cx
from cortexia_video import DepthMap, convert, read_depth
from cortexia_video.depth_map import KINDS
from cortexia_video.errors import InputError, LossError
from cortexia_video.formats.conventions import CONVENTIONS
from cortexia_video.formats.exports import EXPORTS
from cortexia_video.ledger.artifacts import find_depth, read_run_depth
from cortexia_video.ledger.lines import read_done

METRES = (0.6 + 7 * np.random.default_rng(0).random((48, 64))).astype(np.float32)
METRES[5, 7] = np.nan
DEPTH = DepthMap(METRES, "metric", 60.5, "exif", None, "depth-pro", "ab12")
LARGER = replace(DEPTH, full_size=(96, 128))  # of an image of which the map is a smaller one
HALF_STEP = {"tum": 1e-4, "kitti": 1 / 512, "carla": 3e-5, "shift": 3e-5}


def source(folder: Path, depth: DepthMap = DEPTH, name: str = "trip/a.jpg.npz") -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    cx.write_depth(depth, folder / name, overwrite=True)
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    ours = ("ledger.jsonl", "depth.json")
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(ours))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def write(to: str, depth: DepthMap, tmp_path: Path) -> dict[str, bytes]:
    report = convert(source(tmp_path / "in", depth), tmp_path / "out", to=to)
    assert (report.found, report.done) == (1, 1), report.failures
    return files_of(tmp_path / "out")


def opencv(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def test_every_convention_can_be_written() -> None:
    assert EXPORTS.keys() == CONVENTIONS.keys()


@pytest.mark.parametrize(
    ("to", "per_metre"), [("tum", 5000), ("kitti", 256), ("nyu", 1000), ("scannet", 1000), ("7scenes", 1000)]
)
def test_16_bits_as_opencv_and_pillow_read_them(to: str, per_metre: int, tmp_path: Path) -> None:
    files = write(to, DEPTH, tmp_path)
    assert files.keys() == {"trip/a.png"}
    for read in (opencv(files["trip/a.png"]), np.asarray(Image.open(io.BytesIO(files["trip/a.png"])))):
        assert read.dtype == np.uint16
        exact = np.nan_to_num(METRES).astype(float) * per_metre
        assert np.abs(read - exact).max() < 0.51 and (read[np.isnan(METRES)] == 0).all()


def test_sun_rgbd_as_its_toolbox_reads_it(tmp_path: Path) -> None:
    numbers = opencv(write("sunrgbd", DEPTH, tmp_path)["trip/a.png"])
    read = np.bitwise_or(np.right_shift(numbers, 3), np.left_shift(numbers, 16 - 3))  # read3dPoints.m
    np.testing.assert_array_equal(read, np.rint(np.nan_to_num(METRES).astype(float) * 1000))


def test_middlebury_by_its_formula(tmp_path: Path) -> None:
    for depth, f_px in ((DEPTH, 60.5), (LARGER, 30.25)):
        files = write("middlebury", depth, tmp_path / str(f_px))
        assert files.keys() == {"trip/a/disp0.pfm", "trip/a/calib.txt"}
        said = dict(line.split("=") for line in files["trip/a/calib.txt"].decode().splitlines())
        f, _, cx_px, _, same_f, cy_px = map(float, re.findall(r"[\d.]+", said["cam0"])[:6])
        assert (f, same_f, cx_px, cy_px) == (f_px, f_px, 31.5, 23.5)
        assert (said["width"], said["height"]) == ("64", "48")
        disparity = opencv(files["trip/a/disp0.pfm"])
        # Z = baseline * f / (d + doffs), in millimetres; infinite where unknown
        metres = float(said["baseline"]) * f / (disparity + float(said["doffs"])) / 1000
        assert np.isinf(disparity[5, 7])
        np.testing.assert_allclose(np.where(np.isinf(disparity), np.nan, metres), METRES, rtol=1e-6)
        assert disparity[np.isfinite(disparity)].max() < int(said["ndisp"])


@pytest.mark.parametrize("to", ["carla", "shift"])
def test_carla_by_its_formula(to: str, tmp_path: Path) -> None:
    pixels = opencv(write(to, DEPTH, tmp_path)["trip/a.png"]).astype(np.float64)
    blue, green, red = np.moveaxis(pixels, -1, 0)
    metres = 1000 * (red + 256 * green + 65536 * blue) / (256**3 - 1)
    np.testing.assert_allclose(metres, np.nan_to_num(METRES, nan=1000), atol=3e-5)


def test_moge_as_its_code_reads_it(tmp_path: Path) -> None:
    image = Image.open(io.BytesIO(write("moge", DEPTH, tmp_path)["trip/a.png"]))
    near, far, unit = (float(image.info[name]) for name in ("near", "far", "unit"))
    numbers = np.asarray(image)
    share = (numbers.astype(np.float64) - 1) / 65533
    np.testing.assert_array_equal(numbers == 0, np.isnan(METRES))
    metres = np.where(numbers == 0, np.nan, near ** (1 - share) * far**share * unit)
    np.testing.assert_allclose(metres, METRES, rtol=1e-4)
    assert numbers.max() == 65534


def test_iw3_as_its_code_reads_it(tmp_path: Path) -> None:
    known = replace(DEPTH, values=np.nan_to_num(METRES, nan=2.0), kind="disparity")
    image = Image.open(io.BytesIO(write("iw3", known, tmp_path)["trip/a.png"]))
    low, high = (float(image.info[f"iw3_{name}_depth_value"]) for name in ("min", "max"))
    read = np.asarray(image) / 65535 * (high - low) + low
    np.testing.assert_allclose(read, known.values, atol=(high - low) / 131070 * 1.01)


def test_floats_as_others_read_them(tmp_path: Path) -> None:
    tiff = write("metres", DEPTH, tmp_path / "tiff")["trip/a.tiff"]
    image = Image.open(io.BytesIO(tiff))
    assert image.mode == "F"
    np.testing.assert_array_equal(np.asarray(image), np.nan_to_num(METRES))
    with np.load(io.BytesIO(write("depth-pro", DEPTH, tmp_path / "npz")["trip/a.npz"])) as archive:
        np.testing.assert_array_equal(archive["depth"], METRES)
    dense = write("colmap", DEPTH, tmp_path / "bin")
    (data,) = dense.values()
    assert dense.keys() == {"trip/a.jpg.geometric.bin"}  # as COLMAP calls them
    assert data.startswith(b"64&48&1&")
    read = np.frombuffer(data, "<f4", offset=8).reshape((64, 48, 1), order="F").transpose(1, 0, 2)[..., 0]
    np.testing.assert_array_equal(read, np.nan_to_num(METRES))


@pytest.mark.parametrize("to", EXPORTS)
@pytest.mark.parametrize("depth", [DEPTH, LARGER], ids=["whole", "smaller"])
def test_what_is_written_is_read_by_the_same_name_and_by_its_folder(
    to: str, depth: DepthMap, tmp_path: Path
) -> None:
    known = replace(depth, values=np.nan_to_num(METRES, nan=2.0))
    written = known if to == "iw3" else depth
    files = write(to, written, tmp_path)
    place = tmp_path / "out" / next(name for name in files if not name.endswith("calib.txt"))
    alone = tmp_path / "alone" / place.name
    alone.parent.mkdir()
    for name in (place, *place.parent.glob("calib.txt")):
        (alone.parent / name.name).write_bytes(name.read_bytes())
    (line,) = read_done(tmp_path / "out")
    found = find_depth(line)
    assert found is not None and tmp_path / "out" / found[0] == place
    about = {"kind": "metric"} if CONVENTIONS[to].kind is None else None
    for read in (
        read_depth(place),
        read_depth(place, convention=to),
        read_depth(alone, convention=to, about=about),
        read_run_depth(tmp_path / "out", line),
    ):
        assert read.kind == "metric"
        bound = HALF_STEP.get(to, 0.0005)
        np.testing.assert_allclose(read.values, written.values, atol=bound * 1.01)
    assert read_depth(place).f_px == 60.5
    assert cx.verify(tmp_path / "out").wrong == []
    assert convert(tmp_path / "in", tmp_path / "out", to=to).skipped == 1
    again = convert(
        tmp_path / "out",
        tmp_path / "again",
        format="npz",
        convention=to if to in ("carla", "shift") else None,
    )
    assert (again.done, again.failed) == (1, 0), again.failures


@pytest.mark.parametrize("to", EXPORTS)
@pytest.mark.parametrize("kind", KINDS)
def test_depth_of_another_kind_is_refused(to: str, kind: Any, tmp_path: Path) -> None:
    known = replace(DEPTH, values=np.nan_to_num(METRES, nan=2.0), kind=kind)
    for allow_loss in (False, True):
        report = convert(
            source(tmp_path / "in", known), tmp_path / f"out{allow_loss}", to=to, allow_loss=allow_loss
        )
        takes = {"moge": ("metric", "scale_invariant"), "colmap": ("metric", "scale_invariant"), "iw3": KINDS}
        assert report.failed == (kind not in takes.get(to, ("metric",)))
        assert not report.failed or f"`to={to}` holds " in report.failures[0].reason or to == "shift"


@pytest.mark.parametrize(
    ("to", "metres", "reason"),
    [
        ("tum", 13.2, "outside of the 0.0001 to 13.1071 that its numbers hold"),
        ("nyu", 70, "outside of the 0.0005 to 65.5355"),
        ("7scenes", 65.535, "outside of the 0.0005 to 65.5345"),
        ("kitti", 300, "outside of the 0.001953 to 255.998"),
        ("nyu", 0.0003, "outside of"),
        ("nyu", 0.0024, "its steps of 0.001 are too coarse for 1 value: .* more than 1.00%"),
        ("kitti", 0.1, "its steps of 0.00390625 are too coarse for 1 value"),
        ("tum", 0.0, "1 value is outside of .*it has 0 to 2"),
        ("sunrgbd", 70, "outside of"),
        ("carla", 1200, "outside of"),
        ("metres", 0, "1 value is 0, which means unknown there"),
        ("depth-pro", 0, "1 value is 0, which means unknown there"),
        ("middlebury", 0, "1 value is 0, which means unknown there"),
        ("colmap", 0, "1 value is 0, which means unknown there"),
        ("moge", 0, "1 value is outside of .*it has 0 to 2"),
    ],
)
def test_what_does_not_fit_is_refused_or_named(to: str, metres: float, reason: str, tmp_path: Path) -> None:
    depth = DepthMap(np.array([[2, metres]], np.float32), "metric", 60.0)
    report = convert(source(tmp_path / "in", depth), tmp_path / "out", to=to)
    assert report.failed == 1 and isinstance(report.failures[0].error, LossError)
    assert re.search(reason, report.failures[0].reason), report.failures[0].reason
    assert convert(tmp_path / "in", tmp_path / "out", to=to, allow_loss=True).done == 1
    (line,) = read_done(tmp_path / "out")
    assert re.search(reason, line["lost"])
    read = read_run_depth(tmp_path / "out", line).values
    assert read[0, 0] == pytest.approx(2, rel=1e-3)
    assert np.isnan(read[0, 1]) or "coarse" in reason or to == "depth-pro"  # its text says that 0 is known


@pytest.mark.parametrize("to", ["tum", "depth-pro", "moge", "iw3", "colmap"])
def test_distances_of_a_panorama_are_not_given_for_depth_along_an_axis(to: str, tmp_path: Path) -> None:
    around = DepthMap(
        np.linspace(1, 2, 8, dtype=np.float32).reshape(2, 4), "metric", projection="equirectangular"
    )
    report = convert(source(tmp_path / "in", around), tmp_path / "out", to=to)
    assert "a panorama's distances along its rays are read there as" in report.failures[0].reason
    assert convert(tmp_path / "in", tmp_path / "out", to=to, allow_loss=True).done == 1
    assert convert(tmp_path / "in", tmp_path / "kept", format="tiff").done == 1


def test_names_are_those_of_the_images_and_never_of_two(tmp_path: Path) -> None:
    names = [
        "a.jpg.npz",
        "a.png.npz",
        "b.jpg.npz",
        "b.16.png",
        "c.JPEG.npz",
        "d.npz",
        "e.v2.npz",
        "f.jpg",
        "0001.png.npz",
    ]
    for name in names[:-2] + names[-1:]:
        source(tmp_path / "in", name=name)
    report = convert(tmp_path / "in", tmp_path / "out", to="kitti")
    assert report.done == 8, report.failures
    assert files_of(tmp_path / "out").keys() == {
        *("a.jpg.png", "a.png.png", "b.jpg.png", "b.png", "c.png", "d.png", "e.v2.png", "0001.png")
    }


def test_middlebury_without_a_focal_length_says_what_to_give(tmp_path: Path) -> None:
    folder = source(tmp_path / "in", replace(DEPTH, f_px=None, f_source=None))
    report = convert(folder, tmp_path / "out", to="middlebury")
    assert "`to=middlebury` needs a focal length: give `f_px` or `intrinsics`" in report.failures[0].reason
    assert convert(folder, tmp_path / "out", to="middlebury", f_px=60.5).done == 1


def test_a_convention_and_a_format_are_not_both_given(tmp_path: Path) -> None:
    folder = source(tmp_path / "in")
    with pytest.raises(InputError, match="`to` says the format: leave `format` out"):
        convert(folder, tmp_path / "out", to="tum", format="npz")
    with pytest.raises(
        InputError, match="unknown convention 'tumm': did you mean tum. use one of tum, kitti"
    ):
        convert(folder, tmp_path / "out", to="tumm")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("format", ["png16", "jxl"])
@pytest.mark.parametrize(
    ("convention", "scale"), [("tum", None), ("kitti", None), ("nyu", None), (None, 0.00025)]
)
def test_a_sensors_steps_are_kept(
    format: Any, convention: str | None, scale: float | None, tmp_path: Path
) -> None:
    numbers = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in/a.png"), numbers)
    about = {"kind": "metric", "scale": scale, "unknown": 0} if scale else None
    expected = read_depth(tmp_path / "in/a.png", convention=convention, about=about).values
    report = convert(tmp_path / "in", tmp_path / "out", format=format, convention=convention, about=about)
    assert report.done == 1, report.failures
    (name,) = files_of(tmp_path / "out")
    np.testing.assert_array_equal(read_depth(tmp_path / "out" / name).values, expected)
    if format == "png16":
        np.testing.assert_array_equal(opencv((tmp_path / "out" / name).read_bytes()), numbers)


@pytest.mark.parametrize("to", ["tum", "sunrgbd"])
def test_the_steps_of_an_export_are_kept_as_a_sensors_are(to: str, tmp_path: Path) -> None:
    write(to, DEPTH, tmp_path)
    assert convert(tmp_path / "out", tmp_path / "again", format="png16").done == 1
    again = read_depth(tmp_path / "again/trip/a.16.png")
    np.testing.assert_array_equal(again.values, read_depth(tmp_path / "out/trip/a.png").values)
