"""Readers of datasets: each on a small one in its true layout, and on real frames where they are there."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_layouts import HEIGHT, MAKERS, RAYS, WIDTH, Scene, make_rgbd, make_scene, save, whole, write
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from cortexia_video import Failure, Pinhole, decode, estimate
from cortexia_video.augmentation import Resize
from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.eval_region import EIGEN_CROP, GARG_CROP, Region
from cortexia_video.datasets.readers._association import associate
from cortexia_video.datasets.registry import DATASETS, open_dataset, recognise
from cortexia_video.errors import CortexiaError, DepthFileError, InputError
from cortexia_video.pinhole import unproject

OPTIONS: dict[str, dict[str, Any]] = {
    "7scenes": {"allow_unregistered": True},
    "pairs": {"convention": "tum", "camera": (60.0, 61.0, 31.5, 23.5)},
}
WITHOUT_CAMERA = {"7scenes", "diode"}  # the latter's is of 1024 x 768 only
LOSSY = {"sunrgbd", "scannet", "hypersim"}  # their images are JPEG
SPLITS = {
    "nyu-labeled": ("test", 2),
    "kitti": ("train", 3),
    "sunrgbd": ("test", 2),
    "scannet": ("train", 3),
    "7scenes": ("train", 3),
    "diode": ("val", 3),
    "hypersim": ("train", 2),
}


@pytest.fixture(scope="session")
def scene() -> Scene:
    return make_scene()


@pytest.fixture(scope="session", params=MAKERS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, scene: Scene) -> Any:
    """Return name, folder and the open set of three samples."""
    root = tmp_path_factory.mktemp("sets") / request.param
    MAKERS[request.param](root, scene, 3)
    return request.param, root, open_dataset(request.param, root, **OPTIONS.get(request.param, {}))


def test_every_local_row_has_a_layout_that_is_tested() -> None:
    assert set(DATASETS) - set(MAKERS) == {"parquet", "webdataset", "hub", "nyu"}


def test_samples_are_what_was_written(made: Any, scene: Scene) -> None:
    name, _, dataset = made
    assert len(dataset) == 3 and len(set(dataset.keys)) == 3
    sample = dataset[1]
    assert (sample.key, sample.size, sample.depth.kind) == (dataset.keys[1], (HEIGHT, WIDTH), "metric")
    np.testing.assert_allclose(sample.depth.values, scene.depth_m, atol=1e-3)
    if name in LOSSY:
        assert np.abs(sample.frame.image.astype(int) - scene.image).mean() < 6
    else:
        np.testing.assert_array_equal(sample.frame.image, scene.image)


def test_cameras_are_those_of_the_set(made: Any) -> None:
    name, _, dataset = made
    camera = dataset[0].camera
    assert (camera is None) == (name in WITHOUT_CAMERA)
    if camera is None:
        return
    assert (camera.width, camera.height) == (WIDTH, HEIGHT)
    assert dataset[0].frame.f_px == dataset[0].depth.f_px == (camera.fx + camera.fy) / 2
    if name not in ("tum", "nyu-labeled", "hypersim"):
        assert (camera.fx, camera.cx, camera.cy) == (60.0, 32.0, 24.0)


def test_depth_of_a_laser_in_turning_is_sparse(made: Any) -> None:
    name, _, dataset = made
    assert dataset[0].sparse == (name == "kitti")


def test_sets_of_ones_own_say_that_they_are_sparse(tmp_path: Path, scene: Scene) -> None:
    make_rgbd(tmp_path, scene, 1, sparse=True)
    known = np.isfinite(scene.depth_m).sum()
    for dataset in (
        open_dataset("rgbd", tmp_path),
        open_dataset("pairs", tmp_path, kind="metric", scale=0.001, sparse=True),
    ):
        larger = Resize(4 * HEIGHT, 4 * WIDTH)(next(iter(dataset)))
        assert np.isfinite(larger.depth.values).sum() == known


def test_reading_in_a_row_gives_what_numbers_give_and_travels_to_other_processes(made: Any) -> None:
    _, _, dataset = made
    copy = pickle.loads(pickle.dumps(dataset))
    for index, sample in enumerate(copy.attempt(workers=2)):
        assert not isinstance(sample, Failure)
        assert sample.key == dataset.keys[index]
        np.testing.assert_array_equal(sample.depth.values, dataset[index].depth.values)


def test_splits_are_those_of_the_authors(made: Any) -> None:
    name, root, dataset = made
    with pytest.raises(InputError, match=f"{name} has no split 'other'"):
        open_dataset(name, root, split="other")
    if name in SPLITS:
        split, count = SPLITS[name]
        part = open_dataset(name, root, split=split, **OPTIONS.get(name, {}))
        assert isinstance(part, RGBDDataset)
        assert len(part) == count and set(part.keys) <= set(dataset.keys)


def test_a_set_is_recognised_by_its_files(made: Any) -> None:
    name, root, _ = made
    if name == "pairs":
        with pytest.raises(InputError, match="no dataset that is known"):
            recognise(root)
    else:
        assert recognise(root) == name


@pytest.mark.parametrize("name", [*MAKERS, "parquet", "webdataset"])
def test_a_missing_set_says_where_it_is_from_and_how_it_should_lie(name: str, tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError) as caught:
            open_dataset(name, root)
        assert DATASETS[name].where in str(caught.value) and DATASETS[name].layout in str(caught.value)


def test_unknown_names_and_options_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown dataset 'nyuv2': did you mean nyu\? use one of rgbd"):
        open_dataset("nyuv2", tmp_path)
    with pytest.raises(InputError, match="tum has no option 'speed': it has max_difference_s"):
        open_dataset("tum", tmp_path, speed=2)


def test_hypersim_is_turned_from_rays_to_the_axis(tmp_path: Path, scene: Scene) -> None:
    """A wall at 2 m before the camera has one depth; along the rays it had many."""
    wall = Scene(scene.image, np.full((HEIGHT, WIDTH), 2.0, np.float32))
    MAKERS["hypersim"](tmp_path, wall, 1)
    sample = open_dataset("hypersim", tmp_path)[0]  # type: ignore[index]
    np.testing.assert_allclose(sample.depth.values, 2.0, rtol=1e-6)
    points = unproject(sample.depth.values, sample.camera)
    ray = np.reshape(RAYS, (3, 3)) @ [1 / WIDTH - 1, 1 - 1 / HEIGHT, 1]
    np.testing.assert_allclose(points[0, 0], 2.0 * ray * [1, -1, -1], rtol=1e-5)


# of metadata_camera_parameters.csv: lenses tilted up, and up and sideways, whose rows and columns are askew
TILTED = {
    "ai_026_006": (
        0.7903225369878771,
        0,
        0,
        0,
        0.4439377392550294,
        0,
        0,
        -0.39276232880718764,
        -1.3688787409561254,
    ),
    "ai_033_008": (
        0.5780909187633487,
        0,
        0,
        0,
        0.4330129532395793,
        0,
        0,
        0.021935288973592558,
        -1.0012828099482403,
    ),
    "ai_019_007": (
        *(0.5816325918420933, 0, 0, 0, 0.4521482462309275, 0),
        *(0.16414578812081862, -0.031774812884525834, -1.0334879501698204),
    ),
}


@pytest.mark.parametrize("name", TILTED)
def test_a_tilted_lens_of_hypersim_has_a_camera_square_to_its_image(
    name: str, tmp_path: Path, scene: Scene
) -> None:
    """The points of depth and camera are as far from each other as those that the scene's matrix gives."""
    import h5py

    MAKERS["hypersim"](tmp_path, scene, 1)
    table = tmp_path / "metadata_camera_parameters.csv"
    head = table.read_text().splitlines()[0]
    table.write_text("\n".join([head, ",".join(map(str, ("ai_001_001", *TILTED[name])))]))
    u, v = np.meshgrid((np.arange(WIDTH) + 0.5) / WIDTH * 2 - 1, 1 - (np.arange(HEIGHT) + 0.5) / HEIGHT * 2)
    rays = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.reshape(TILTED[name], (3, 3)).T
    distance = np.random.default_rng(0).uniform(1, 9, (HEIGHT, WIDTH))
    points = rays / np.linalg.norm(rays, axis=-1, keepdims=True) * distance[..., None]
    (path,) = tmp_path.rglob("*.hdf5")
    with h5py.File(path, "r+") as file:
        file["dataset"][...] = distance
    sample = open_dataset("hypersim", tmp_path)[0]  # type: ignore[index]
    some = np.random.default_rng(1).permutation(HEIGHT * WIDTH)[:200]
    expected = points.reshape(-1, 3)[some]
    if name == "ai_019_007":  # no pinhole camera: its axes are 0.8 degrees from square
        assert sample.camera is None
        matrix = np.reshape(TILTED[name], (3, 3))
        away = np.cross(matrix[:, 0], matrix[:, 1])  # the image plane is spanned by what u and v move
        depth = np.abs(points @ away) / np.linalg.norm(away)
        np.testing.assert_allclose(sample.depth.values, depth, rtol=1e-5)
        return
    found = unproject(sample.depth.values, sample.camera).reshape(-1, 3)[some]
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, rtol=1e-4, atol=1e-3)


def test_sunrgbd_has_raw_and_filled_depth(tmp_path: Path, scene: Scene) -> None:
    MAKERS["sunrgbd"](tmp_path, scene, 1)
    raw, filled = (open_dataset("sunrgbd", tmp_path, depth=name)[0] for name in ("depth", "depth_bfx"))  # type: ignore[index]
    np.testing.assert_allclose(raw.depth.values, scene.depth_m, atol=1e-3)
    np.testing.assert_allclose(filled.depth.values, 8.192)  # 1, turned by three bits
    with pytest.raises(InputError, match="must be one of depth, depth_bfx, got 'best'"):
        open_dataset("sunrgbd", tmp_path, depth="best")


def test_a_set_without_samples_of_a_split_is_there_all_the_same(tmp_path: Path, scene: Scene) -> None:
    MAKERS["hypersim"](tmp_path, scene, 1)  # frame 0 is of val
    assert len(open_dataset("hypersim", tmp_path, split="val")) == 1  # type: ignore[arg-type]
    with pytest.raises(
        InputError, match="holds hypersim, but nothing of its split 'train': leave `split` out"
    ):
        open_dataset("hypersim", tmp_path, split="train")


def test_depth_beyond_the_range_is_masked_not_changed(tmp_path: Path, scene: Scene) -> None:
    make_rgbd(tmp_path, scene, 1)
    sample = open_dataset("rgbd", tmp_path)[0]  # type: ignore[index]
    beyond = np.nan_to_num(scene.depth_m) > 6
    assert beyond.any() and sample.mask is not None
    np.testing.assert_array_equal(sample.mask, ~beyond)
    np.testing.assert_array_equal(sample.valid, np.isfinite(scene.depth_m) & ~beyond)
    assert np.nanmax(sample.depth.values) > 6


def test_unregistered_depth_is_refused_unless_asked_for(tmp_path: Path, scene: Scene) -> None:
    make_rgbd(tmp_path, scene, 1, registered=False)
    with pytest.raises(InputError, match="not registered.*allow_unregistered"):
        open_dataset("rgbd", tmp_path)
    assert len(open_dataset("rgbd", tmp_path, allow_unregistered=True)) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "words", [{"depth_scale": 0}, {"frames": None}, {"intrinsics": {"fx": 1}}, {"intrinsics": [1]}]
)
def test_a_wrong_set_json_is_one_error(words: dict[str, Any], tmp_path: Path, scene: Scene) -> None:
    make_rgbd(tmp_path, scene, 1, **words)
    with pytest.raises(InputError, match="is no description of a set"):
        open_dataset("rgbd", tmp_path)


@pytest.mark.parametrize("change", [{"rgb": None}, {"depth": 3}, {"name": ...}, {"intrinsics": {"fx": 1}}])
def test_a_wrong_frame_costs_one_sample(change: dict[str, Any], tmp_path: Path, scene: Scene) -> None:
    make_rgbd(tmp_path, scene, 3)
    about = json.loads((tmp_path / "set.json").read_text())
    frame = {**about["frames"][1], **change}
    about["frames"][1] = {name: value for name, value in frame.items() if value is not ...}
    (tmp_path / "set.json").write_text(json.dumps(about))
    first, wrong, last = open_dataset("rgbd", tmp_path).attempt()
    assert not isinstance(first, Failure) and not isinstance(last, Failure)
    assert isinstance(wrong, Failure) and isinstance(wrong.error, InputError)
    assert "frame 1 of set.json lacks name, rgb or depth, or has a wrong camera" in str(wrong.error)


def test_a_broken_sample_costs_one_sample(tmp_path: Path, scene: Scene) -> None:
    make_rgbd(tmp_path, scene, 3)
    (tmp_path / "depth/1.png").write_bytes((tmp_path / "depth/0.png").read_bytes()[:90])
    save(scene.image[:-1], tmp_path / "rgb/2.png")
    dataset = open_dataset("rgbd", tmp_path)
    good, cut, small = dataset.attempt()
    assert not isinstance(good, Failure)
    assert isinstance(cut, Failure) and isinstance(cut.error, DepthFileError) and cut.key == "1"
    assert isinstance(small, Failure) and "64 x 47" in small.reason and "64 x 48" in small.reason
    with pytest.raises(DepthFileError, match=r"1\.png"):
        list(dataset)


def break_camera(name: str, root: Path) -> tuple[Path, str]:
    """Return the file that says the camera of a sample, and a part of the keys that it is of."""
    return {
        "kitti": (root / "2011_09_26/calib_cam_to_cam.txt", ""),
        "sunrgbd": (root / "SUNRGBD/kv1/NYUdata/NYU0001/intrinsics.txt", "NYU0001"),
        "scannet": (root / "scans/scene0000_00/intrinsic/intrinsic_depth.txt", ""),
        "middlebury": (root / "Scene1-perfect/calib.txt", "Scene1"),
        "hypersim": (root / "metadata_camera_parameters.csv", ""),
    }[name]


@pytest.mark.parametrize("content", ["", "1 2 3", "\x00\xff", "fx: left"])
@pytest.mark.parametrize("name", ["kitti", "sunrgbd", "scannet", "middlebury", "hypersim"])
def test_a_broken_camera_costs_its_own_samples(name: str, content: str, tmp_path: Path, scene: Scene) -> None:
    MAKERS[name](tmp_path, scene, 3)
    path, part = break_camera(name, tmp_path)
    if name == "hypersim":  # a line of a table: that of another scene stays
        head, line = path.read_text().splitlines()
        other = line.replace("ai_001_001", "ai_001_002")
        path.write_text("\n".join([head, f"ai_001_001,{content.replace(chr(0), '')}", other]))
    else:
        path.write_bytes(content.encode("latin-1"))
    samples = list(open_dataset(name, tmp_path).attempt())
    assert len(samples) == 3
    for sample in samples:
        assert isinstance(sample, Failure) == (part in sample.key)
        if isinstance(sample, Failure):
            assert isinstance(sample.error, CortexiaError), "in words, not a traceback"


def test_a_broken_camera_of_kittis_selection_costs_one_sample(tmp_path: Path, scene: Scene) -> None:
    root = tmp_path / "val_selection_cropped"
    for number, suffix in enumerate((".png", ".jpg", ".png")):
        name = f"2011_09_26_drive_0002_sync_image_{number:010d}_image_02"
        save(scene.image, root / f"image/{name}{suffix}")
        depth = name.replace("_sync_image_", "_sync_groundtruth_depth_")
        save(whole(scene.depth_m, 256), root / f"groundtruth_depth/{depth}.png")
        write("60.0 0 31.5\n0 61.0 23.5\n0 0 1" if number else "", root / f"intrinsics/{name}.txt")
    write("not an image", root / "image/Thumbs.db")
    broken, jpeg, png = open_dataset("kitti", tmp_path, split="selection").attempt()
    assert isinstance(broken, Failure) and "0 numbers: a camera matrix has" in broken.reason
    for sample in (jpeg, png):
        assert not isinstance(sample, Failure) and sample.camera is not None
        np.testing.assert_allclose(sample.depth.values, scene.depth_m, atol=1e-3)


def test_kitti_is_read_with_images_as_jpeg(tmp_path: Path, scene: Scene) -> None:
    """As many keep the raw images: those are a tenth as large."""
    MAKERS["kitti"](tmp_path, scene, 2)
    data = next(tmp_path.glob("2011_09_26/*/image_02/data"))
    for path in data.glob("*.png"):
        save(scene.image, path.with_suffix(".jpg"), quality=95, subsampling=0)
        path.unlink()
    for sample in open_dataset("kitti", tmp_path):
        assert np.abs(sample.frame.image.astype(int) - scene.image).mean() < 6
        np.testing.assert_allclose(sample.depth.values, scene.depth_m, atol=1e-3)


STRANGERS = {
    "sunrgbd": ("SUNRGBD/kv1/NYUdata/NYU0001/image", "SUNRGBD/kv1/NYUdata/NYU0001/depth"),
    "scannet": ("scans/scene0000_00/color",),
    "pairs": ("rgb", "depth"),
    "7scenes": ("chess/seq-01",),
    "kitti": ("2011_09_26/2011_09_26_drive_0001_sync/image_02/data",),
    "hypersim": ("ai_001_001/images/scene_cam_00_geometry_hdf5",),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_files_of_file_managers_are_passed_over(name: str, tmp_path: Path, scene: Scene) -> None:
    MAKERS[name](tmp_path, scene, 3)
    for folder in STRANGERS[name]:
        for stranger in ("Thumbs.db", "desktop.ini", "1.txt"):
            write("not an image", tmp_path / folder / stranger)
    samples = list(open_dataset(name, tmp_path, **OPTIONS.get(name, {})).attempt())
    assert len(samples) == 3 and not any(isinstance(each, Failure) for each in samples)


def test_a_folder_that_lost_its_image_costs_one_sample(tmp_path: Path, scene: Scene) -> None:
    MAKERS["sunrgbd"](tmp_path, scene, 3)
    next(tmp_path.glob("**/NYU0001/image/*.jpg")).unlink()
    first, lost, last = open_dataset("sunrgbd", tmp_path).attempt()
    assert not isinstance(first, Failure) and not isinstance(last, Failure)
    assert isinstance(lost, Failure) and "holds 0 images and 1 of depth, not one" in lost.reason


def test_a_broken_list_costs_its_sequence(tmp_path: Path, scene: Scene) -> None:
    MAKERS["tum"](tmp_path / "a", scene, 2)
    MAKERS["tum"](tmp_path / "b", scene, 2)
    next(tmp_path.glob("b/*/depth.txt")).write_text("yesterday depth/1.png")
    *good, broken = open_dataset("tum", tmp_path).attempt()
    assert len(good) == 2 and not any(isinstance(each, Failure) for each in good)
    assert isinstance(broken, Failure) and "depth.txt is no list of time stamps" in broken.reason


def test_a_scene_without_its_list_of_a_split_costs_that_scene(tmp_path: Path, scene: Scene) -> None:
    MAKERS["7scenes"](tmp_path, scene, 2)
    MAKERS["7scenes"](tmp_path / "more", scene, 2)
    (tmp_path / "more/chess/TrainSplit.txt").unlink()
    found = list(open_dataset("7scenes", tmp_path, split="train", allow_unregistered=True).attempt())
    assert [each.key for each in found if isinstance(each, Failure)] == ["more/chess/TrainSplit.txt"]
    assert len(found) == 3


def test_the_evaluation_kit_of_middlebury_is_read(tmp_path: Path, scene: Scene) -> None:
    """MiddEval3: trainingQ/SCENE/ with disp0GT.pfm, and mask0nocc.png beside it."""
    MAKERS["middlebury"](tmp_path / "trainingQ", scene, 2)
    for path in list(tmp_path.glob("**/disp0.pfm")):
        path.rename(path.with_name("disp0GT.pfm"))
        save(np.full((HEIGHT, WIDTH), 255, np.uint8), path.with_name("mask0nocc.png"))
    assert recognise(tmp_path) == "middlebury"
    for sample in open_dataset("middlebury", tmp_path):
        np.testing.assert_allclose(sample.depth.values, scene.depth_m, atol=1e-3)


@pytest.mark.parametrize("step", [1, 2, 4])
def test_middlebury_of_another_size_than_its_calibration(step: int, tmp_path: Path) -> None:
    """Half the image, half the disparity, and the calib.txt of the full size, which says so: the same metres."""
    f_px, baseline, doffs, width, height = 1000.0, 0.2, 30.0, 200, 160
    metres = 2 + 0.01 * np.tile(np.arange(width), (height, 1))
    disparity = ((f_px * baseline / metres - doffs) / step)[::step, ::step].astype("<f4")
    save(np.zeros((*disparity.shape, 3), np.uint8), tmp_path / "im0.png")
    header = f"Pf\n{width // step} {height // step}\n-1.0\n".encode()
    (tmp_path / "disp0.pfm").write_bytes(header + disparity[::-1].tobytes())
    camera = f"cam0=[{f_px} 0 99.5; 0 {f_px} 79.5; 0 0 1]\ndoffs={doffs}\nbaseline={1000 * baseline}\n"
    write(f"{camera}width={width}\nheight={height}\n", tmp_path / "calib.txt")
    sample = open_dataset("middlebury", tmp_path)[0]  # type: ignore[index]
    np.testing.assert_allclose(sample.depth.values, metres[::step, ::step], rtol=1e-5)
    assert sample.camera == Pinhole(
        f_px / step, f_px / step, 100 / step, 80 / step, width // step, height // step
    )
    (tmp_path / "calib.txt").write_text(f"{camera}width=400\nheight=160\n")
    with pytest.raises(CortexiaError, match="400 x 160"):
        open_dataset("middlebury", tmp_path)[0]  # type: ignore[index]


CAMERAS: dict[str, Any] = {
    "object": {"fx": 60.0, "fy": 61.0, "cx": 31.5, "cy": 23.5},
    "list": [60.0, 61.0, 31.5, 23.5],
    "of its size": {"fx": 60.0, "fy": 61.0, "cx": 31.5, "cy": 23.5, "width": WIDTH, "height": HEIGHT},
    "of twice": {"fx": 120.0, "fy": 122.0, "cx": 63.5, "cy": 47.5, "width": 2 * WIDTH, "height": 2 * HEIGHT},
}


@pytest.mark.parametrize("camera", CAMERAS)
def test_cameras_of_set_json_in_all_their_forms(camera: str, tmp_path: Path, scene: Scene) -> None:
    make_rgbd(tmp_path, scene, 1, intrinsics=CAMERAS[camera])
    sample = open_dataset("rgbd", tmp_path)[0]  # type: ignore[index]
    assert sample.camera == Pinhole(60.0, 61.0, 32.0, 24.0, WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            {"intrinsics": [60, 61, 31]},
            "intrinsics must be an object with the numbers fx, fy, cx, cy, or a list",
        ),
        ({"intrinsics": "60 61 31 23"}, "intrinsics must be an object"),
        ({"intrinsics": {**CAMERAS["object"], "fx": "60"}}, "intrinsics must be an object"),
        ({"intrinsics": {**CAMERAS["object"], "width": "w"}}, 'width must be a number above 0, not "w"'),
        ({"depth_scale": "1000"}, 'depth_scale must be a number above 0, not "1000"'),
        ({"depth_scale": None}, "depth_scale is missing"),
        ({"max_depth_m": [10]}, r"max_depth_m must be a number above 0, not \[10\]"),
        ({"max_depth_m": True}, "max_depth_m must be a number above 0, not true"),
        ({"frames": {}}, "it is no object with name, frames"),
        ({"registered": "false"}, 'registered must be true or false, not "false"'),
        ({"sparse": 1}, "sparse must be true or false, not 1"),
        ({"same_view": None}, "same_view must be true or false, not null"),
    ],
)
def test_wrong_values_of_set_json_are_named(
    words: dict[str, Any], said: str, tmp_path: Path, scene: Scene
) -> None:
    make_rgbd(tmp_path, scene, 1, **words)
    with pytest.raises(InputError, match=said) as caught:
        open_dataset("rgbd", tmp_path)
    assert "Error" not in str(caught.value) and "indices" not in str(caught.value)


@pytest.mark.parametrize("name", ["rgbd", "pairs"])
def test_depth_smaller_than_its_image_is_read_where_the_set_says_so(
    name: str, tmp_path: Path, scene: Scene
) -> None:
    """As ARKitScenes has it: the camera is that of the image, and shrinks with it."""
    large = {"fx": 120.0, "fy": 122.0, "cx": 63.5, "cy": 47.5}
    for says in (False, True):
        make_rgbd(tmp_path, scene, 1, intrinsics=large, same_view=says)
        save(scene.image.repeat(2, axis=0).repeat(2, axis=1), tmp_path / "rgb/0.png")
        more = {"kind": "metric", "scale": 0.001, "camera": (*large.values(),), "same_view": says}
        dataset = open_dataset(name, tmp_path, **({} if name == "rgbd" else more))
        (sample,) = dataset.attempt()
        if not says:
            assert isinstance(sample, Failure) and "resample or register" in sample.reason
            continue
        assert not isinstance(sample, Failure)
        assert sample.camera == Pinhole(60.0, 61.0, 32.0, 24.0, WIDTH, HEIGHT)
        assert np.abs(sample.frame.image.astype(int) - scene.image).mean() < 6
        np.testing.assert_allclose(sample.depth.values, scene.depth_m, atol=1e-3)
    save(scene.image.repeat(2, axis=0), tmp_path / "rgb/0.png")
    (sample,) = dataset.attempt()
    assert isinstance(sample, Failure) and "do not show the same view" in sample.reason


def test_the_output_of_a_run_is_no_ground_truth_unless_it_is_named(tmp_path: Path, scene: Scene) -> None:
    save(scene.image, tmp_path / "rgb/a.png")
    estimate(tmp_path / "rgb", tmp_path / "depth", model="synthetic")
    (tmp_path / "depth/a.npy").write_bytes((tmp_path / "depth/a.png.npy").read_bytes())
    with pytest.raises(InputError, match="depth is the output of cortexia estimate, no ground truth"):
        open_dataset("pairs", tmp_path, kind="disparity")
    assert len(open_dataset("pairs", tmp_path, kind="disparity", depths="depth/*.npy")) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["metric", "disparity"])
def test_zero_of_pairs_is_unknown_in_metres_only(kind: str, tmp_path: Path, scene: Scene) -> None:
    MAKERS["pairs"](tmp_path, scene, 1)
    for scale in (0.0002, None):
        if scale is None and kind == "metric":
            continue
        sample = open_dataset("pairs", tmp_path, kind=kind, scale=scale)[0]  # type: ignore[index]
        known = np.isfinite(scene.depth_m) if kind == "metric" else np.ones((HEIGHT, WIDTH), bool)
        np.testing.assert_array_equal(sample.valid, known)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("is_turned", [False, True])
def test_depth_lies_on_an_image_that_exif_turns_or_is_refused(
    orientation: int, is_turned: bool, tmp_path: Path, scene: Scene
) -> None:
    """Pillow turns the image, and where the set's author turned the depth with it, the depth."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(scene.image, tmp_path / "rgb/0.jpg", quality=95, subsampling=0, exif=exif)
    numbers = Image.fromarray(whole(scene.depth_m, 1000))
    moved = ImageOps.exif_transpose(Image.open(tmp_path / "rgb/0.jpg"))
    if is_turned:
        numbers.getexif()[0x0112] = orientation
        numbers = ImageOps.exif_transpose(numbers)
    (tmp_path / "depth").mkdir()
    numbers.save(tmp_path / "depth/0.png", exif=b"")
    (sample,) = open_dataset("pairs", tmp_path, convention="nyu").attempt()
    if orientation in (2, 3, 4):  # as large turned as not
        assert (
            isinstance(sample, Failure)
            and f"EXIF turns the image (orientation {orientation})" in sample.reason
        )
        return
    assert not isinstance(sample, Failure)
    expected = np.asarray(moved) if is_turned else scene.image
    assert np.abs(sample.frame.image.astype(int) - expected).mean() < 6
    known = np.asarray(numbers)
    np.testing.assert_array_equal(sample.valid, known > 0)
    np.testing.assert_allclose(sample.depth.values[known > 0], known[known > 0] / 1000, rtol=1e-6)


def test_a_models_depth_is_upright_as_its_image(tmp_path: Path, scene: Scene) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    save(scene.image, tmp_path / "rgb/0.jpg", exif=exif)
    estimate(tmp_path / "rgb", tmp_path / "run", model="synthetic", format="tiff")
    (tmp_path / "depth").mkdir()
    (tmp_path / "depth/0.tiff").write_bytes((tmp_path / "run/0.jpg.tiff").read_bytes())
    (sample,) = open_dataset("pairs", tmp_path).attempt()
    assert not isinstance(sample, Failure), sample.reason
    np.testing.assert_array_equal(
        sample.frame.image, decode((tmp_path / "rgb/0.jpg").read_bytes(), "0").image
    )


def test_keys_must_differ(tmp_path: Path, scene: Scene) -> None:
    make_rgbd(tmp_path, scene, 2)
    about = json.loads((tmp_path / "set.json").read_text())
    about["frames"][1]["name"] = "0"
    write(json.dumps(about), tmp_path / "set.json")
    with pytest.raises(InputError, match="2 samples have the key '0'"):
        open_dataset("rgbd", tmp_path)


def test_pairs_name_their_own_arguments_in_errors(tmp_path: Path) -> None:
    for part, values in (("rgb", np.zeros((4, 4, 3), np.uint8)), ("depth", np.ones((4, 4), np.uint16))):
        save(values, tmp_path / part / "a.png")
    with pytest.raises(DepthFileError, match=r"convention \(`convention`\), one of .* of depth \(`kind`\)"):
        open_dataset("pairs", tmp_path)[0]
    with pytest.raises(DepthFileError, match="or `scale`, in metres"):
        open_dataset("pairs", tmp_path, kind="metric")[0]


@pytest.mark.parametrize(
    ("images", "depths"),
    [("**/*_color.png", "**/*_d.png"), ("*/c/*_color.*", "*/d/*_d.png")],
)
def test_patterns_pair_what_their_wild_cards_stand_for(
    images: str, depths: str, tmp_path: Path, scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    for folder in ("a", "b"):
        inner = ("", "") if "**" in images else ("c/", "d/")
        save(scene.image, tmp_path / f"{folder}/{inner[0]}1_color.png")
        save(np.full((HEIGHT, WIDTH), ord(folder), np.uint16), tmp_path / f"{folder}/{inner[1]}1_d.png")
    save(scene.image, tmp_path / f"a/{inner[0]}2_color.png")
    dataset = open_dataset("pairs", tmp_path, images=images, depths=depths, kind="metric", scale=0.01)
    assert [np.unique(sample.depth.values).tolist() for sample in dataset] == [
        [np.float32(0.97)],
        [np.float32(0.98)],
    ]
    assert "1 of 3 images have no depth" in caplog.text


@given(st.lists(st.integers(0, 40), max_size=6), st.lists(st.integers(0, 40), max_size=6), st.integers(0, 9))
def test_times_are_paired_nearest_first(first: list[int], second: list[int], most: int) -> None:
    first, second = sorted(first), sorted(second)
    free = [(abs(b - a), i, j) for i, a in enumerate(first) for j, b in enumerate(second)]
    expected = {}
    while free:
        difference, i, j = min(free)
        if difference > most:
            break
        expected[i] = j
        free = [each for each in free if each[1] != i and each[2] != j]
    assert associate(first, second, most) == sorted(expected.items())


def test_crops_are_those_of_the_papers() -> None:
    assert EIGEN_CROP.find_slices(480, 640) == (slice(45, 471), slice(41, 601))
    height, width = 375, 1242
    rows = slice(int(0.40810811 * height), int(0.99189189 * height))
    assert GARG_CROP.find_slices(height, width) == (
        rows,
        slice(int(0.03594771 * width), int(0.96405229 * width)),
    )


def test_a_region_leaves_out_by_place_and_by_depth(tmp_path: Path, scene: Scene) -> None:
    make_rgbd(tmp_path, scene, 1, max_depth_m=None)
    sample = open_dataset("rgbd", tmp_path)[0]  # type: ignore[index]
    assert sample.mask is None
    inside = Region((2.0, 5.0), EIGEN_CROP).restrict(sample)
    rows, columns = np.indices((HEIGHT, WIDTH))
    place = (rows >= 4) & (rows < 47) & (columns >= 4) & (columns < 60)
    depth = np.nan_to_num(scene.depth_m)
    np.testing.assert_array_equal(inside.valid, place & (depth >= 2) & (depth <= 5))


@pytest.mark.parametrize("name", ["felixchenfy", "kitti-demo", "motorcycle", "tum-desk"])
def test_real_sets_read_as_their_sources_say(name: str, shared_data: Path) -> None:
    root = shared_data / "rgbd" / name
    about = json.loads((root / "set.json").read_text())
    dataset = open_dataset("rgbd", root)
    assert isinstance(dataset, RGBDDataset) and dataset.keys == [frame["name"] for frame in about["frames"]]
    sample = dataset[0]
    from PIL import Image

    with Image.open(root / about["frames"][0]["depth"]) as image:
        numbers = np.asarray(image)
    known = (numbers > 0) & (numbers <= about["max_depth_m"] * about["depth_scale"])
    np.testing.assert_array_equal(sample.valid, known)
    np.testing.assert_allclose(sample.depth.values[known], numbers[known] / about["depth_scale"], rtol=1e-6)


def test_real_frames_in_other_layouts(shared_data: Path, tmp_path: Path) -> None:
    """The frames of KITTI in its own layout, and 3DMatch by patterns, give what set.json gives."""
    frames = shared_data / "rgbd/kitti-demo"
    drive = "2011_09_26_drive_0001_sync"
    for kind, folder in (
        ("rgb", f"2011_09_26/{drive}/image_02/data"),
        ("depth", f"val/{drive}/proj_depth/groundtruth/image_02"),
    ):
        (tmp_path / folder).mkdir(parents=True)
        for path in (frames / kind).iterdir():
            (tmp_path / folder / path.name).symlink_to(path)
    theirs, ours = open_dataset("kitti", tmp_path, split="val"), open_dataset("rgbd", frames)
    for one, other in zip(theirs, ours, strict=True):
        np.testing.assert_array_equal(one.depth.values, other.depth.values)
        np.testing.assert_array_equal(one.frame.image, other.frame.image)
    matched = open_dataset("pairs", shared_data / "rgbd/nvblox-3dmatch", convention="scannet")
    assert [path.split("/")[1] for path in matched.keys] == [  # type: ignore[union-attr]
        f"{each}.png"
        for each in open_dataset("rgbd", shared_data / "rgbd/nvblox-3dmatch").keys  # type: ignore[union-attr]
    ]
