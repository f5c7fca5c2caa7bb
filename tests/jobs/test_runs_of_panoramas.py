"""What commands do with a run over panoramas, whose files (.npy) do not say themselves that they are such."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from geometry.test_panorama import TRUTH, find_angles
from inference.test_panoramas import Knowing, make_panorama
from PIL import Image

import cortexia_video as cx
from cortexia_video import DepthEstimator, SyntheticModel, convert, estimate
from cortexia_video.datasets.build_items import list_run_items
from cortexia_video.errors import InputError
from cortexia_video.evaluation.side_by_side import compare
from cortexia_video.geometry.sphere import unproject_sphere
from cortexia_video.inference.panorama import Panorama
from cortexia_video.jobs.point_clouds import CloudMaker, CloudOptions, make_point_clouds
from cortexia_video.ledger.lines import read_done
from cortexia_video.viewing.steps import make_map_view


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a panorama (`in`), its metric depth with maps (`out`) and the truth of it (`truth`)."""
    work = tmp_path_factory.mktemp("panoramas")
    for name in ("in", "truth"):
        (work / name).mkdir()
    Image.fromarray(make_panorama(128)).save(work / "in/a.png")
    truth = cx.DepthMap(TRUTH.astype(np.float32), "metric", projection="equirectangular")
    cx.write_depth(truth, work / "truth/a.npz")
    model = DepthEstimator(Panorama(Knowing("metric")), also="normals")
    report = estimate(
        work / "in", work / "out", model=model, projection="equirectangular", also=["normals", "points"]
    )
    assert report.done == 1, report.failures
    return work


def test_normals_and_points_are_written_beside(work: Path) -> None:
    depth = cx.read_depth(work / "out/a.png.npy", also="normals")
    assert depth.projection == "equirectangular" and depth.normals is not None
    assert np.median(find_angles(depth.normals)) < 0.5
    np.testing.assert_array_equal(np.load(work / "out/a.png.points.npy"), unproject_sphere(depth.values))


def test_they_are_measured_pixel_by_pixel_and_not_against_what_is_none(work: Path, tmp_path: Path) -> None:
    result = cx.evaluate(
        str(work / "out"), truth=work / "truth", protocol="moge-metric", metrics=["normals", "boundary"]
    )
    (name,) = [column.name for column in result.evaluation.columns if not column.is_baseline]
    scores = [*result.evaluation.columns[0].list_scores()]
    depth = cx.read_depth(work / "out/a.png.npy").values
    expected = np.mean(np.abs(depth - TRUTH) / TRUTH)
    assert result.summary.totals[name]["abs_rel"].value == pytest.approx(expected, rel=1e-4)
    assert scores[0].lacking["normals"] == "it is a panorama, which no camera sees"
    estimate(work / "in", tmp_path / "flat", model=DepthEstimator(SyntheticModel(kind="metric")))
    with pytest.raises(InputError, match="perspective depth for a reference that is equirectangular"):
        cx.evaluate(str(tmp_path / "flat"), truth=work / "truth", protocol="moge-metric")
    with pytest.raises(InputError, match="projections differ"):
        compare([str(work / "out"), str(tmp_path / "flat")], output=tmp_path / "compared")
    (tmp_path / "others").mkdir()
    np.save(
        tmp_path / "others/a.npy", TRUTH.astype(np.float32)
    )  # a file that says nothing is taken for what it is beside
    other = cx.evaluate(str(tmp_path / "others"), truth=work / "truth", protocol="moge-metric", kind="metric")
    assert next(iter(other.summary.totals.values()))["abs_rel"].value < 1e-6


def test_points_lie_around_the_camera(work: Path, tmp_path: Path) -> None:
    report = make_point_clouds(work / "out", tmp_path / "clouds", options=CloudOptions(normals=True))
    assert report.done == 1, report.failures
    (line,) = read_done(tmp_path / "clouds")
    assert line["points"] > 20_000
    refused = make_point_clouds(work / "out", tmp_path / "others", options=CloudOptions(f_px=100.0))
    assert refused.failures[0].reason.startswith("a panorama has no focal length: leave out `f_px`")


def test_the_viewer_shows_points_and_no_camera(work: Path) -> None:
    depth = cx.read_depth(work / "out/a.png.npy", also="normals")
    frame = cx.read_image(work / "in/a.png")
    shown = make_map_view(depth, frame, None, CloudMaker(CloudOptions()))
    assert shown.points is not None and shown.camera is None and shown.normals is not None
    assert (shown.points.points[:, 2] < 0).mean() > 0.3  # behind, too
    assert "a panorama: distances along the rays of its pixels" in shown.lines
    assert not [line for line in shown.lines if "no points" in line or "focal length" in line]


def test_a_focal_length_changes_none_of_it(work: Path, tmp_path: Path) -> None:
    report = convert(work / "out", tmp_path / "exr", format="exr", f_px=100.0)
    assert report.done == 1, report.failures
    before, after = cx.read_depth(work / "out/a.png.npy"), cx.read_depth(tmp_path / "exr/a.png.exr")
    np.testing.assert_array_equal(before.values, after.values)
    assert after.projection == "equirectangular" and after.f_px is None


def test_what_takes_none_says_so(work: Path, tmp_path: Path) -> None:
    (item,) = list_run_items(work / "in", work / "out", Counter())
    with pytest.raises(InputError, match="it is a panorama: datasets need a perspective camera"):
        item.load()  # type: ignore[union-attr]
    report = convert(work / "out", tmp_path / "kitti", to="kitti")
    assert "read there as depth along an axis" in report.failures[0].reason


def test_a_plan_of_panoramas_is_timed_as_such(work: Path) -> None:
    planned = cx.plan(work / "in", model="synthetic", projection="equirectangular")
    assert (planned.found, planned.timed) == (1, 1)
    assert planned.formats["npy"].bytes == pytest.approx(4 * 128 * 256, rel=0.01)
