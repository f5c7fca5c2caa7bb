"""COLMAP's models: what is read is what pycolmap and the documented format say; damage is one error."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from colmap_files import MODELS, Model, View, look, make_views

from cortexia_video.errors import InputError
from cortexia_video.geometry.camera_models import LENSES, LensCamera
from cortexia_video.sparse_depth import ColmapModel
from cortexia_video.sparse_depth.names import NameIndex

How = Literal["bin", "txt"]
both = pytest.mark.parametrize("how", ["bin", "txt"])


def make_model(names: tuple[str, ...] = ("a.jpg", "cam1/b c.jpg")) -> Model:
    random = np.random.default_rng(0)
    return make_views({name: random.uniform(1, 5, (48, 64)) for name in names}, 60, 30)


@both
def test_a_model_is_read_as_it_was_written(tmp_path: Path, how: How) -> None:
    written = make_model()
    model = ColmapModel(written.write(tmp_path / "sparse" / "0", how).parents[1])
    assert model.names == ["a.jpg", "cam1/b c.jpg"]
    assert model.find_camera("a.jpg") == LensCamera("PINHOLE", 64, 48, (60, 60, 32, 24))
    for name, view in written.views.items():
        rotation, translation = model.find_pose(name)
        np.testing.assert_allclose(rotation, view.rotation, atol=1e-12)
        np.testing.assert_allclose(translation, view.translation)
        seen = model.find_points(name)
        linked = view.ids >= 0
        np.testing.assert_array_equal(seen.pixels, view.pixels[linked])
        world = written.points[view.ids[linked] - written.first]
        np.testing.assert_allclose(seen.points, world @ view.rotation.T + view.translation, atol=1e-9)
        camera = model.find_camera(name)
        np.testing.assert_allclose(camera.project(seen.points), seen.pixels, atol=1e-6)


@both
def test_pycolmap_and_we_read_the_same(tmp_path: Path, how: How) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    names = (
        "a.jpg",
        "cam1/b c.jpg" if how == "bin" else "cam1/b.jpg",
    )  # in text pycolmap ends a name at a space
    folder = make_model(names).write(tmp_path / "ours", how)
    theirs = pycolmap.Reconstruction(str(folder))
    again = tmp_path / "theirs"
    again.mkdir()
    theirs.write_binary(str(again)) if how == "bin" else theirs.write_text(str(again))
    ours = [ColmapModel(folder), ColmapModel(again)]
    for image in theirs.images.values():
        points = [each for each in image.points2D if each.has_point3D()]
        pose = image.cam_from_world() if callable(image.cam_from_world) else image.cam_from_world
        for model in ours:
            seen = model.find_points(image.name)
            np.testing.assert_allclose(seen.pixels, [each.xy for each in points])
            world = np.array([theirs.points3D[each.point3D_id].xyz for each in points])
            np.testing.assert_allclose(
                seen.points, world @ pose.rotation.matrix().T + pose.translation, atol=1e-9
            )


@pytest.mark.parametrize("name", LENSES)
def test_lenses_project_as_pycolmaps_do_and_back(name: str) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    random, lens = np.random.default_rng(1), LENSES[name]
    typical = {"FOV": 0.8, "EUCM": (0.6, 1.1)}.get(name, 0)
    more = 0.02 * random.standard_normal(lens.count - lens.focal - 2) + typical
    params = (*(500.0, 510.0)[: lens.focal], 320.0, 240.0, *more.tolist())
    points = np.column_stack([random.uniform(-1, 1, (60, 2)), np.ones(60)]) * random.uniform(1, 5, (60, 1))
    theirs = pycolmap.Camera(model=name, width=640, height=480, params=list(params))
    camera = LensCamera(name, 640, 480, params)
    pixels = camera.project(points)
    np.testing.assert_allclose(pixels, theirs.img_from_cam(points), atol=1e-9)
    np.testing.assert_allclose(camera.find_rays(pixels), points[:, :2] / points[:, 2:], atol=1e-7)
    assert int(theirs.model) == lens.number


def test_no_lens_of_pycolmap_is_missing_but_that_of_panoramas_which_has_no_axis() -> None:
    pycolmap = pytest.importorskip("pycolmap")
    assert {*pycolmap.CameraModelId.__members__} - {*LENSES} <= {"INVALID", "EQUIRECTANGULAR"}


def test_a_brown_lens_projects_as_opencvs_does() -> None:
    cv2 = pytest.importorskip("cv2")
    k = (-0.2, 0.05, 0.002, -0.003)
    points = np.random.default_rng(2).uniform((-1, -1, 2), (1, 1, 4), (20, 3))
    matrix = np.array([[300, 0, 160], [0, 310, 120], [0, 0, 1.0]])
    theirs, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), matrix, np.array(k))
    ours = LensCamera("OPENCV", 320, 240, (300, 310, 160, 120, *k)).project(points)
    np.testing.assert_allclose(ours, theirs[:, 0], atol=1e-9)
    assert np.isnan(LensCamera("OPENCV", 320, 240, (300, 310, 160, 120, *k)).project(-points)).all()


def test_numbers_of_lenses_are_those_of_the_format() -> None:
    assert {name: LENSES[name].number for name in MODELS} == MODELS


@both
def test_a_model_without_features_projects_its_points_through_the_lens(tmp_path: Path, how: How) -> None:
    rotation, translation = look(0.0, (0, 0, 0))
    random = np.random.default_rng(3)
    front = np.column_stack([random.uniform(-1, 1, (50, 2)), np.full(50, 2.0)])
    hidden = front * 3  # behind the others
    behind = np.array([[0, 0, -2.0]])
    params = (100, 100, 64, 48, -0.1, 0.01, 0, 0)
    view = View(rotation, translation, np.empty((0, 2)), np.empty(0, np.int64))
    model = Model({1: ("OPENCV", 128, 96, params)}, {"a.jpg": view}, np.concatenate([front, hidden, behind]))
    seen = ColmapModel(model.write(tmp_path, how)).find_points("a.jpg")
    camera = LensCamera("OPENCV", 128, 96, params)
    expected = camera.project(front)
    inside = ((expected >= 0) & (expected < (128, 96))).all(axis=1)
    np.testing.assert_allclose(seen.pixels, expected[inside])
    np.testing.assert_allclose(seen.points[:, 2], 2)


@both
def test_points_of_many_views_and_little_error_weigh_more(tmp_path: Path, how: How) -> None:
    model = make_model(("a.jpg",))
    model.errors = np.where(np.arange(30) < 10, 4.0, 0.3)
    model.errors[29] = -1  # was never computed
    model.tracks[model.first + 15] = [(9, 9)] * 7
    weights = ColmapModel(model.write(tmp_path, how)).find_points("a.jpg").weights
    assert weights[:10].max() < weights[10:].min()
    assert weights[15] == pytest.approx(8 * weights[16])
    assert weights[29] == pytest.approx(1 / 1.25)


@both
@pytest.mark.parametrize("name", ["cameras", "images", "points3D"])
def test_a_damaged_model_is_one_error(tmp_path: Path, how: How, name: str) -> None:
    make_model().write(tmp_path, how)
    path = tmp_path / f"{name}.{how}"
    data = path.read_bytes()
    for broken in (b"", data[: len(data) // 2], data[:-3], b"\xff" * 50, data[:8] + b"\xff" * 60):
        path.write_bytes(broken)
        try:
            model = ColmapModel(tmp_path)
            for each in model.names:
                model.find_points(each)
        except InputError as error:
            assert "Traceback" not in str(error) and "object" not in str(error)
        else:
            assert how == "txt"  # where a number cut short is a number


@both
@pytest.mark.parametrize("length", [0.0, 1e300, np.nan])
def test_a_pose_that_is_none_is_refused(tmp_path: Path, how: How, length: float) -> None:
    model = make_model(("a.jpg",))
    model.views["a.jpg"].translation[0] = np.nan if np.isnan(length) else 0
    model.write(tmp_path, how)
    if not np.isnan(length):
        path = tmp_path / f"images.{how}"
        data = path.read_bytes()
        if how == "bin":  # the count, the image's id, then the quaternion
            data = data[:12] + np.full(4, length).tobytes() + data[44:]
        else:
            first = next(line for line in data.splitlines() if not line.startswith(b"#"))
            words = first.split()
            data = data.replace(first, b" ".join([words[0], *[repr(length).encode()] * 4, *words[5:]]))
        path.write_bytes(data)
    with pytest.raises(InputError, match=r"the pose of a.jpg is no pose"):
        ColmapModel(tmp_path)


def test_a_folder_without_a_model_is_refused_with_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model of COLMAP: it needs cameras, images and points3D"):
        ColmapModel(tmp_path)


def test_names_are_matched_from_their_ends() -> None:
    index = NameIndex(["cam1/a.jpg", "cam2/a.jpg", "b.JPG", "cam1/c.png"])
    assert index.find("trip/cam1/a.jpg") == "cam1/a.jpg"
    assert index.find("x/b.JPG") == "b.JPG"
    assert index.find("c.jpg") == "cam1/c.png"
    assert index.find("c") == "cam1/c.png"
    assert index.find("d.jpg") is None
    assert index.find("cam3/a.jpg") is None  # of another folder
    with pytest.raises(InputError, match="2 images may be meant .cam1/a.jpg, cam2/a.jpg"):
        index.find("a.jpg")
