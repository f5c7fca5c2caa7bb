"""Given focal lengths: which image's they are, what a file may say, and what a run makes of them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
from camera_model import Camera
from PIL import Image

from cortexia_video import DepthEstimator, Frame, Pinhole, Report, estimate, read_ledger
from cortexia_video.cli import main
from cortexia_video.errors import InputError
from cortexia_video.geometry.intrinsics import Intrinsics, load_intrinsics
from cortexia_video.jobs.point_clouds import CloudOptions, make_point_cloud

Make = Callable[..., Path]


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str | bytes], Intrinsics]:
    """Return load(text), which reads it from a file."""

    def load_text(text: str | bytes) -> Intrinsics:
        path = tmp_path / "intrinsics"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_intrinsics(path=path)

    return load_text


@pytest.mark.parametrize(
    "text",
    [
        "key,f_px\na.jpg,3000\n*,2000\n",
        "\ufeffkey, fx, fy\r\n\r\na.jpg,2990,3010\r\n*,2000,2000\r\n",
        'fx,fy,cx,cy,width,height,key\n1500,1500,9,,2000,1500,"a.jpg"\n2000,2000,,,,,*',
        '{"a.jpg": 3000, "*": 2000}',
        '\n {"a.jpg": {"fx": 6000, "fy": 6000, "cx": 1, "width": 8000, "height": 6000}, "*": {"f_px": 2000}}',
    ],
)
def test_every_way_to_write_it_says_the_same(load: Callable[[str], Intrinsics], text: str) -> None:
    given = load(text)
    assert given.find("a.jpg", 4000, 3000) == pytest.approx(3000)
    assert given.find("trip/a.jpg", 4000, 3000) == pytest.approx(3000)
    assert given.find("b.jpg", 4000, 3000) == 2000
    assert given.settings == {"intrinsics": given.settings["intrinsics"]}


def test_a_file_name_alone_will_do_where_no_other_entry_has_it(load: Callable[[str], Intrinsics]) -> None:
    given = load("key,f_px\na.jpg,1000\nx/b.jpg,2000\nb.jpg,3000\n")
    keys = {"a.jpg": 1000, "y/a.jpg": 1000, "x/b.jpg": 2000, "b.jpg": 3000, "y/b.jpg": None, "c.jpg": None}
    assert {key: given.find(key, 4000, 3000) for key in keys} == keys


@pytest.mark.parametrize(
    "text", [b"key,f_px\n\xff.jpg,1000\n", b'{"\\udcff.jpg": 1000}', b'{"\xff.jpg": 1000}']
)
def test_names_that_are_not_utf_8_are_keys(load: Callable[[bytes], Intrinsics], text: bytes) -> None:
    assert load(text).find("trip/\udcff.jpg", 4000, 3000) == 1000


@pytest.mark.parametrize("size", [(2000, 1500), (1500, 2000), (1000, 752)], ids=["half", "turned", "aligned"])
def test_a_resized_image_has_a_scaled_focal_length(
    load: Callable[[str], Intrinsics], size: tuple[int, int]
) -> None:
    given = load("key,fx,fy,width,height\n*,3000,3000,4000,3000\n")
    assert given.find("a.jpg", *size) == pytest.approx(3000 * max(size) / 4000)


def test_an_image_of_another_shape_is_an_error_with_both_sizes(load: Callable[[str], Intrinsics]) -> None:
    given = load("key,fx,fy,width,height\n*,3000,3000,4000,3000\n")
    with pytest.raises(InputError, match="an image of 4000 x 3000, it has 4000 x 2250, of another shape"):
        given.find("a.jpg", 4000, 2250)


def test_millimetres_are_distinguished_from_pixels() -> None:
    with pytest.raises(InputError, match=r"focal length of 26 pixels for 4000 x 3000: give pixels, not mm"):
        load_intrinsics(26).find("a.jpg", 4000, 3000)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: the header must name key"),
        ("a.jpg,3000\n", "line 1: the header must name key"),
        ("key,f_px,widht\n", "line 1: the header must name key"),
        ("key,f_px\n", "no focal length in it"),
        ("key,f_px\na.jpg,3000\nb.jpg\n", "line 3: 1 fields, the header has 2"),
        (
            "key,f_px\na.jpg,3000\n\nb.jpg,26 mm\n",
            "line 4: b.jpg: f_px must be a number of pixels.*got .*26 mm",
        ),
        ("key,f_px\na.jpg,nan\n", "line 2: a.jpg: f_px must be"),
        ("key,f_px\na.jpg,-1\n", "line 2: a.jpg: f_px must be"),
        ("key,f_px\na.jpg,\n", "line 2: a.jpg: give f_px, or fx and fy"),
        ("key,f_px\n,1\n", "line 2: no key"),
        ("key,f_px\na.jpg,1\na.jpg,2\n", "line 3: a.jpg was there before"),
        ('key,f_px\n"a"b,1\n', "line 2: not CSV"),
        ("key,fx\na.jpg,1\n", "line 2: a.jpg: fx and fy belong together"),
        ("key,f_px,width\na.jpg,1,5\n", "line 2: a.jpg: width and height belong together"),
        ("key,fx,fy,f_px\na.jpg,1,1,1\n", "f_px is given, and fx and fy, too"),
        ('{"a.jpg": 1,\n 2}', "line 2: not JSON"),
        ('{"a.jpg": true}', "a.jpg: f_px must be a number of pixels above 0, got True"),
        ('{"a.jpg": {"focal": 1}}', "'focal' is not known: give f_px, or fx and fy"),
        ('{"a.jpg": 1, "a.jpg": 2}', "a.jpg was there before"),
        ('{"a.jpg": ' + "[" * 100_000, "nested more than"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    load: Callable[[str], Intrinsics], text: str, told: str
) -> None:
    with pytest.raises(InputError, match=f"intrinsics.*{told}"):
        load(text)


@pytest.mark.parametrize("f_px", [0, -1, math.nan, math.inf])
def test_a_focal_length_is_more_than_0(f_px: float) -> None:
    with pytest.raises(InputError, match="`f_px` must be a number above 0, got"):
        load_intrinsics(f_px)


def test_what_is_given_for_all_comes_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "given.json").write_text('{"a.jpg": 50}')
    given = load_intrinsics(80, tmp_path / "given.json")
    assert (given.find("a.jpg", 64, 48), given.settings) == (80, {"f_px": 80})
    assert load_intrinsics().settings == {} and load_intrinsics().find("a.jpg", 64, 48) is None
    with pytest.raises(InputError, match="cannot read intrinsics from .*: No such file"):
        load_intrinsics(80, tmp_path / "none")


def test_a_frame_is_given_its_focal_length() -> None:
    frame = Frame("a", np.zeros((48, 64, 3), np.uint8), 30.0, "exif")
    assert load_intrinsics().apply(frame) is frame
    applied = load_intrinsics(50).apply(frame)
    assert (applied.f_px, applied.f_source, frame.f_px) == (50, "given", 30)


# ---- a run -------------------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path: Path, make_image: Make) -> Path:
    """Return plain.jpg, and exif.jpg with 50 mm in EXIF."""
    make_image(tmp_path / "photos/plain.jpg")
    with Image.open(make_image(tmp_path / "photos/exif.jpg")) as image:
        exif = image.getexif()
        exif.get_ifd(0x8769)[0xA405] = 50
        image.save(tmp_path / "photos/exif.jpg", exif=exif)
    return tmp_path / "photos"


def run(photos: Path, **options: object) -> Report:
    return estimate(photos, photos.parent / "out", model=DepthEstimator(Camera()), **options)


def recorded(out: Path) -> dict[str, tuple[str, float]]:
    lines = [line for line in read_ledger(out) if line.get("outcome") == "done"]
    return {line["key"]: (line["f_source"], round(line["f_px"], 2)) for line in lines}


def test_given_comes_before_exif_and_exif_before_the_model(photos: Path, tmp_path: Path) -> None:
    exif, estimated = ("exif", 92.45), ("estimated", 55.43)
    (tmp_path / "given.csv").write_text("key,f_px\nplain.jpg,70\n")
    assert run(photos).done == 2
    assert recorded(tmp_path / "out") == {"exif.jpg": exif, "plain.jpg": estimated}
    assert run(photos, intrinsics=tmp_path / "given.csv").done == 2
    assert recorded(tmp_path / "out") == {"exif.jpg": exif, "plain.jpg": ("given", 70)}
    before = np.load(tmp_path / "out/plain.jpg.npy")
    assert run(photos, intrinsics=tmp_path / "given.csv", f_px=140).done == 2
    assert recorded(tmp_path / "out") == {"exif.jpg": ("given", 140), "plain.jpg": ("given", 140)}
    np.testing.assert_allclose(np.load(tmp_path / "out/plain.jpg.npy"), 2 * before, rtol=1e-6)


def test_what_is_given_is_part_of_the_settings(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "given.json"
    path.write_text('{"*": 70}')
    assert [run(photos, intrinsics=path).skipped for _ in range(2)] == [0, 2]
    path.write_text('{"*": 71}')
    assert [run(photos, intrinsics=path).skipped for _ in range(2)] == [0, 2]
    assert [run(photos, f_px=f_px).skipped for f_px in (71, 71.0, 72)] == [0, 2, 0]
    settings = [line["settings"] for line in read_ledger(tmp_path / "out") if "settings" in line]
    assert settings[0]["intrinsics"] == hashlib.sha256(b'{"*": 70}').hexdigest()
    assert settings[-1]["f_px"] == 72 and "intrinsics" not in settings[-1]
    assert run(photos).skipped == 0
    assert (
        "f_px" not in [line for line in read_ledger(tmp_path / "out") if "settings" in line][-1]["settings"]
    )


def test_an_image_of_another_shape_fails_alone(photos: Path, tmp_path: Path) -> None:
    entry = {"f_px": 70, "width": 64, "height": 36}
    (tmp_path / "given.json").write_text(json.dumps({"plain.jpg": entry, "*": 70}))
    report = run(photos, intrinsics=tmp_path / "given.json")
    assert (report.done, report.failed) == (1, 1)
    (failure,) = report.failures
    assert (failure.key, failure.stage) == ("plain.jpg", "decode")
    assert "64 x 36, it has 64 x 48" in failure.reason


def test_a_bad_file_ends_the_command_before_anything_is_written(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "given.csv"
    path.write_text("key,f_px\na.jpg,0\n")
    for option, value in (("--intrinsics", path), ("--f-px", "0")):
        with pytest.raises(SystemExit) as ended:
            main(["estimate", str(photos), "-o", str(tmp_path / "out"), option, str(value)])
        assert ended.value.code == 2
        assert capsys.readouterr().err.startswith("cortexia: ")
    assert not (tmp_path / "out").exists()


def test_the_command_takes_them(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "given.csv").write_text("key,f_px\nplain.jpg,70\n")
    for options in (["--f-px", "90.5"], ["--intrinsics", str(tmp_path / "given.csv")]):
        with pytest.raises(SystemExit) as ended:
            main(["estimate", str(photos), "-o", str(tmp_path / "out"), "--model", "synthetic", *options])
        assert ended.value.code == 0
        assert recorded_given(tmp_path / "out") == float(options[1] if options[0] == "--f-px" else 70)


def recorded_given(out: Path) -> float:
    (f_px,) = {
        line["key"]: line["f_px"]
        for line in read_ledger(out)
        if line.get("key") == "plain.jpg" and "f_px" in line
    }.values()
    return f_px


MATRIX = [[525.0, 0, 319.5], [0, 530.0, 239.5], [0, 0, 1]]
FLAT = [each for row in MATRIX for each in row]
OPEN3D = {"width": 640, "height": 480, "intrinsic_matrix": [525, 0, 0, 0, 530, 0, 319.5, 239.5, 1]}
ROS = """image_width: 640
image_height: 480
camera_name: narrow_stereo
camera_matrix:
  rows: 3
  cols: 3
  data: [525.0, 0.0, 319.5, 0.0, 530.0, 239.5, 0.0, 0.0, 1.0]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [0.0, 0.0, 0.0, 0.0, 0.0]
projection_matrix:
  rows: 3
  cols: 4
  data: [9.0, 0.0, 9.0, 0.0, 0.0, 9.0, 9.0, 0.0, 0.0, 0.0, 1.0, 0.0]
"""
ROS2 = """header:
  frame_id: camera
height: 480
width: 640
distortion_model: plumb_bob
d:
- 0.0
k:
- 525.0
- 0.0
- 319.5
- 0.0
- 530.0
- 239.5
- 0.0
- 0.0
- 1.0
r:
- 1.0
"""
OPENCV = """%YAML:1.0
---
image_width: 640
image_height: 480
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 5.25e+02, 0., 3.195e+02, 0., 530., 239.5, 0., 0., 1. ]
"""
ONE_CAMERA = {
    "fields": json.dumps({"fx": 525, "fy": 530, "cx": 320, "cy": 240, "width": 640, "height": 480}),
    "Open3D": json.dumps(OPEN3D),
    "Open3D with a pose": json.dumps({"class_name": "PinholeCameraParameters", "intrinsic": OPEN3D, "extrinsic": [1]}),
    "Open3D by key": json.dumps({"*": OPEN3D}),
    "ROS": ROS,
    "ROS 2": ROS2,
    "ROS 1 as JSON": json.dumps({"height": 480, "width": 640, "K": FLAT, "D": [0]}),
    "ROS as JSON": json.dumps({"image_width": 640, "image_height": 480, "camera_matrix": {"data": FLAT}}),
    "OpenCV": OPENCV,
}  # fmt: skip
MATRICES = {
    "text": "525 0 319.5\n0 530 239.5\n0 0 1\n",
    "numpy.savetxt": "5.250000000000000000e+02 0 3.195e+02\n0 5.3e+02 2.395e+02\n0 0 1.0\n",
    "commas": "525,0,319.5,0,530,239.5,0,0,1",
    "4 x 4": "525 0 319.5 0\n0 530 239.5 0\n0 0 1 0\n0 0 0 1\n",
    "3 x 4": "525 0 319.5 4\n0 530 239.5 0\n0 0 1 0\n",
    "rows in JSON": json.dumps(MATRIX),
    "JSON by key": json.dumps({"*": MATRIX}),
}


@pytest.mark.parametrize("form", [*ONE_CAMERA, *MATRICES])
@pytest.mark.parametrize("scale", [1, 10])
def test_one_camera_as_others_write_it_is_that_of_every_image(
    load: Callable[[str], Intrinsics], form: str, scale: int
) -> None:
    """525 px for 640 wide are 52.5 for 64; their principal points count from the first pixel's centre."""
    given = load({**ONE_CAMERA, **MATRICES}[form])
    if form in MATRICES and scale > 1:  # it does not say of what size, but not of this one
        with pytest.raises(InputError, match=r"cx 320 and cy 240, outside of an image of 64 x 48"):
            given.find("a.png", 64, 48)
        return
    camera = given.find_camera("trip/any.png", 640 // scale, 480 // scale)
    expected = Pinhole(525 / scale, 530 / scale, 320 / scale, 240 / scale, 640 // scale, 480 // scale)
    assert camera is not None
    np.testing.assert_allclose(astuple(camera), astuple(expected), rtol=1e-12)
    assert given.find("any.png", 640 // scale, 480 // scale) == pytest.approx(527.5 / scale)
    given.require_square()  # within 1 %


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "[[525, 0, 319.5], [0, 525, 239.5]]",
            "K must be a matrix of 3 x 3, 3 x 4 or 4 x 4 numbers: it has 6",
        ),
        ('{"intrinsic_matrix": "525 0"}', "intrinsic_matrix must be a matrix"),
        ('{"a.jpg": {"K": [1, 2, null]}}', "a.jpg: K must be a matrix"),
        ("camera_matrix:\n  data: [1, 2]\n", "K must be a matrix.*it has 2"),
        ('{"fx": 525, "fy": 525, "cx": 1, "focal": 2}', "'focal' is not known: give f_px"),
        ("[]", "K must be a matrix"),
        ("17", "header must name key|not an object"),
    ],
)
def test_a_camera_that_is_none_is_named(load: Callable[[str], Intrinsics], text: str, told: str) -> None:
    with pytest.raises(InputError, match=f"intrinsics.*({told})"):
        load(text)


def test_pixels_that_are_not_square_are_for_point_clouds_alone(
    load: Callable[[str], Intrinsics], photos: Path, tmp_path: Path
) -> None:
    """DIODE's published camera, of a computed view: points lie along each axis by its own focal length."""
    words = {"fx": 886.81, "fy": 927.06, "cx": 512, "cy": 384, "width": 1024, "height": 768}
    given = load(json.dumps({"*": words}))
    camera = given.find_camera("a.png", 512, 384)
    assert camera == Pinhole(443.405, 463.53, 256, 192, 512, 384)
    turned = load(json.dumps({name: words[name] for name in ("fx", "fy", "width", "height")}))
    camera = turned.find_camera("a.png", 384, 512)
    assert camera == Pinhole(463.53, 443.405, 192, 256, 384, 512)
    with pytest.raises(InputError, match=r"\*: fx 886.81 and fy 927.06 differ by more than 1 %"):
        given.require_square()
    (tmp_path / "given.json").write_text(json.dumps(words))
    with pytest.raises(InputError, match="differ by more than 1 %"):
        run(photos, intrinsics=tmp_path / "given.json")
    depth = np.full((48, 64), 2, np.float32)
    np.save(tmp_path / "d.npy", depth)
    options = CloudOptions(intrinsics=str(tmp_path / "given.json"))
    cloud = make_point_cloud(
        photos / "plain.jpg", tmp_path / "d.npy", tmp_path / "a.ply", kind="metric", options=options
    )
    rows, columns = np.indices((48, 64)) + 0.5
    factor = 64 / 1024
    expected = np.stack(
        [
            (columns - 512 * factor) / (886.81 * factor) * 2,
            (rows - 384 * factor) / (927.06 * factor) * 2,
            2 * np.ones((48, 64)),
        ],
        axis=-1,
    )
    np.testing.assert_allclose(cloud.points, expected.reshape(-1, 3), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("text", ["key,f_px\nexif,70\nother,80\n", '{"exif": 70}'])
def test_cameras_that_are_no_images_are_said(
    text: str,
    photos: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "given.csv"
    path.write_text(text)
    run(photos, intrinsics=path)
    assert "is of an image here: its keys are exif" in caplog.text and ".jpg" in caplog.text
    caplog.clear()
    path.write_text("key,f_px\nexif.jpg,70\nother.jpg,80\n")
    run(photos, intrinsics=path)  # one of two will do: a file may be for more than is here
    assert "is of an image here" not in caplog.text
    path.write_text(text)
    np.save(tmp_path / "d.npy", np.full((48, 64), 2, np.float32))
    with pytest.raises(SystemExit):
        words = [
            "--depth",
            tmp_path / "d.npy",
            "--kind",
            "metric",
            "-o",
            tmp_path / "a.ply",
            "--intrinsics",
            path,
        ]
        main([*map(str, ["pointcloud", photos / "plain.jpg", *words])])
    said = capsys.readouterr().err
    assert "no camera in --intrinsics is of an image here" in said and "plain.jpg" in said
