"""Maps beside depth go where depth goes: `convert` and `align` take them along, and say what was removed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from telling_model import NORMAL, Telling, write_photo

import cortexia_video as cx
from cortexia_video import DepthEstimator, align_folder, convert, estimate, verify
from cortexia_video.cli import main as run_main
from cortexia_video.errors import DepthFileError, InputError
from cortexia_video.formats.maps import decode_mask, decode_normals
from cortexia_video.geometry.normals import depth_to_normals, stretch_normals
from cortexia_video.jobs.inspect import inspect
from cortexia_video.jobs.point_clouds import CloudOptions, make_point_cloud, make_point_clouds
from cortexia_video.pinhole import Pinhole

ALL = ("normals", "mask", "confidence", "points")
ENDINGS = {".normals.png", ".mask.png", ".confidence.npy", ".points.npy"}
SIZE = (40, 60)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photo(tmp_path / "photos", SIZE)


def run(photos: Path, *also: str, **options: Any) -> Path:
    """Estimate, and return the output folder."""
    out = photos.parent / "depth"
    carried = [each for each in also if each != "points"]
    model = DepthEstimator(Telling(), also=carried, **options)
    assert estimate(photos, out, model=model, also=also, **options).done == 1
    return out


def beside(out: Path) -> set[str]:
    return {each.name.removeprefix("a.png") for each in out.iterdir()} & ENDINGS


def test_convert_takes_the_maps_along_as_they_are(photos: Path) -> None:
    depth, tiffs = run(photos, *ALL), photos.parent / "tiffs"
    report = convert(depth, tiffs, format="tiff")
    assert report.done == 1 and beside(tiffs) == ENDINGS and not verify(tiffs).wrong
    for ending in ENDINGS:
        assert (tiffs / f"a.png{ending}").read_bytes() == (depth / f"a.png{ending}").read_bytes()
    assert convert(depth, tiffs, format="tiff").skipped == 1
    (tiffs / "a.png.mask.png").unlink()
    assert [each.output for each in verify(tiffs).wrong] == ["a.png.mask.png"]
    assert convert(depth, tiffs, format="tiff").done == 1 and not verify(tiffs).wrong
    read = cx.read_depth(tiffs / "a.png.tiff", also="normals,mask,confidence")
    again = cx.read_depth(depth / "a.png.npy", also=("normals", "mask", "confidence"))
    for name in ("values", "normals", "valid", "confidence"):
        np.testing.assert_array_equal(getattr(read, name), getattr(again, name))
    assert read.valid is not None and not read.valid[:8].any()


def test_another_convention_and_depth_alone_have_none(photos: Path) -> None:
    depth = run(photos, "normals", "mask")
    convert(depth, photos.parent / "moge", to="moge", allow_loss=True)
    assert not [*(photos.parent / "moge").rglob("*normals*")]
    assert cx.read_depth(depth / "a.png.npy").valid is None
    with pytest.raises(InputError, match="unknown map in `also` 'points'"):
        cx.read_depth(depth / "a.png.npy", also="points")


def test_another_focal_length_turns_the_normals_and_makes_the_points_anew(photos: Path) -> None:
    camera = Pinhole.centred(50.0, 64, 48)
    rays_across, rays_down = camera.find_rays()
    plane = (2 / (1 + 0.4 * rays_across - 0.2 * rays_down)).astype(np.float32)
    longer = Pinhole.centred(75.0, 64, 48)
    expected = depth_to_normals(plane * np.float32(1.5), longer)
    stretched = stretch_normals(depth_to_normals(plane, camera), 1.5)
    np.testing.assert_allclose(stretched[1:-1, 1:-1], expected[1:-1, 1:-1], atol=1e-5)

    class Proportional(Telling):
        """Metres that are proportional to the focal length."""

        def to_depth(self, values: np.ndarray, fov_deg: float) -> np.ndarray:
            return values / np.float32(np.tan(np.radians(fov_deg) / 2))

    depth, out = photos.parent / "depth", photos.parent / "longer"
    model = DepthEstimator(Proportional(), also=["normals", "mask"])
    assert estimate(photos, depth, model=model, also="normals,mask,points", f_px=60).done == 1
    assert convert(depth, out, format="npy", f_px=90).done == 1 and not verify(out).wrong
    before, after = np.load(depth / "a.png.points.npy"), np.load(out / "a.png.points.npy")
    np.testing.assert_allclose(after, before * (1, 1, 1.5), rtol=1e-5)
    normal = decode_normals((out / "a.png.normals.png").read_bytes())[20, 20]
    wanted = np.array(NORMAL) / (1, 1, 1.5)
    np.testing.assert_allclose(normal, wanted / np.linalg.norm(wanted), atol=4e-5)
    np.testing.assert_array_equal(
        decode_mask((out / "a.png.mask.png").read_bytes()),
        decode_mask((depth / "a.png.mask.png").read_bytes()),
    )


def test_somebody_elses_file_in_a_maps_place_stays(photos: Path) -> None:
    depth, out = run(photos, "mask"), photos.parent / "out"
    out.mkdir()
    Image.new("L", (4, 4), 7).save(out / "a.png.mask.png")
    before = (out / "a.png.mask.png").read_bytes()
    (failure,) = convert(depth, out, format="tiff", overwrite=True).failures
    assert failure.reason.startswith("a.png.mask.png exists already, an image that is not ours")
    assert (out / "a.png.mask.png").read_bytes() == before and not (out / "a.png.tiff").exists()


def test_align_fits_inside_the_mask_and_takes_the_maps_along(photos: Path) -> None:
    depth, out = run(photos, *ALL, sky="keep"), photos.parent / "metres"
    values = np.load(depth / "a.png.npy")
    assert np.isfinite(values).all()
    points = photos.parent / "points.csv"
    rows = [f"*,{x},{y},{2 * values[y, x]}" for x, y in ((10, 20), (30, 24), (50, 14))]
    rows += [f"*,{x},3,1000" for x in range(0, 60, 6)]  # in the sky: most of them, and wrong
    points.write_text("\n".join(["key,x,y,depth_m", *rows]))
    assert align_folder(depth, out, cx.AlignTo(points=str(points))).done == 1 and not verify(out).wrong
    aligned = cx.read_depth(out / "a.png.npy", also="mask,normals")
    assert aligned.alignment and aligned.alignment.scale == pytest.approx(2, rel=1e-5)
    assert aligned.valid is not None and beside(out) == ENDINGS
    np.testing.assert_allclose(aligned.values[aligned.valid], 2 * values[aligned.valid], rtol=1e-5)
    assert np.isnan(aligned.values[~aligned.valid]).all()
    assert (out / "a.png.normals.png").read_bytes() == (depth / "a.png.normals.png").read_bytes()
    np.testing.assert_array_equal(np.load(out / "a.png.points.npy")[..., 2], aligned.values)
    shared = photos.parent / "shared"
    assert align_folder(depth, shared, cx.AlignTo(points=str(points)), share="all").done == 1
    np.testing.assert_array_equal(np.load(shared / "a.png.npy"), aligned.values)


def test_what_was_removed_is_done_without_and_said_and_what_was_changed_is_refused(
    photos: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    depth, clouds = run(photos, "normals", "mask"), photos.parent / "clouds"
    (depth / "a.png.mask.png").unlink()
    with caplog.at_level(logging.WARNING):
        assert make_point_clouds(depth, clouds, options=CloudOptions(normals=True)).done == 1
        assert convert(depth, photos.parent / "tiffs", format="tiff").done == 1
    said = [each.message for each in caplog.records if "missing" in each.message]
    assert len(said) == 1 and "files of its mask are missing: done without them" in said[0]
    assert beside(photos.parent / "tiffs") == {".normals.png"}
    found = inspect(depth / "a.png.npy")
    assert (found.maps, found.maps_missing) == (("normals",), ("mask",))  # type: ignore[union-attr]
    with pytest.raises(SystemExit):
        run_main(["info", str(depth / "a.png.npy"), str(depth)])
    told = capsys.readouterr().out
    assert "beside it   normals\n" in told and "missing     mask beside it\n" in told
    assert "beside it   normals (1)\n" in told and "missing     mask (1) beside it: `cortexia verify`" in told
    (depth / "a.png.normals.png").write_bytes(b"x")
    (failure,) = convert(depth, photos.parent / "exrs", format="npz").failures
    assert isinstance(failure.error, DepthFileError)
    assert failure.reason.startswith("a.png.normals.png: it is not what was written")


def test_a_point_cloud_of_one_image_leaves_out_what_that_of_the_run_does(photos: Path) -> None:
    depth = run(photos, "mask", sky="keep")
    options = CloudOptions(max_gap=float("inf"))
    cloud = make_point_cloud(photos / "a.png", depth / "a.png.npy", photos.parent / "a.ply", options=options)
    assert len(cloud.points) == decode_mask((depth / "a.png.mask.png").read_bytes()).sum()
