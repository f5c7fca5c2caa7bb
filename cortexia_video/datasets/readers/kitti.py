"""KITTI depth: sparse laser depth of road scenes. Uhrig et al., "Sparsity Invariant CNNs", 3DV 2017."""

from __future__ import annotations

import re
from functools import partial
from itertools import groupby

from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.dataset_info import DatasetInfo
from cortexia_video.datasets.eval_region import GARG_CROP, Region
from cortexia_video.datasets.readers._calibration import Calibration, parse_matrix, try_matrix
from cortexia_video.datasets.readers._pair import Pair, list_images, read_image_file, read_pair
from cortexia_video.errors import InputError, attempt, in_words
from cortexia_video.runtime.bounded_map import AT_ONCE, map_bounded
from cortexia_video.storage.paths import AnyPath, find_inside, read_named_text

_SPLITS = ("train", "val", "selection")
_SELECTION = ("val_selection_cropped", "depth_selection/val_selection_cropped")


def _open(root: AnyPath, split: str | None) -> RGBDDataset:
    """Return a split, or train and val together: the selection is a part of val, cropped."""
    pairs: list[Pair] = []
    for each in (split,) if split else ("train", "val"):
        pairs += _list_selection(root) if each == "selection" else _list_drives(root, each)
    region = Region((1e-3, 80.0), GARG_CROP)
    return RGBDDataset("kitti", pairs, read_pair, evaluation=region, read_file=read_image_file)


def _list_drives(root: AnyPath, split: str) -> list[Pair]:
    """Pair the depth of a split with the raw images, PNG as they come or JPEG as many keep them."""
    pairs = []
    found = find_inside(root / split, "*_sync/proj_depth/groundtruth/image_0[23]/*.png")
    for (drive, view), depths in groupby(found, lambda path: (path.parts[-5], path.parts[-2])):
        calibration, data = (
            root / drive[:10] / "calib_cam_to_cam.txt",
            root / drive[:10] / drive / view / "data",
        )
        camera = attempt(str(calibration), "find", partial(_read_camera, calibration, view))
        images = {image.stem: image for image in list_images(data)}
        for depth in depths:
            key, image = f"{drive}/{view}/{depth.name}", images.get(depth.stem, data / depth.name)
            pairs.append(Pair(key, image, depth, "kitti", "kitti", camera=camera, sparse=True))
    return pairs


def _list_selection(root: AnyPath) -> list[Pair]:
    folder = next((root / name for name in _SELECTION if (root / name).is_dir()), root)
    images = list_images(folder / "image")
    files = [folder / "intrinsics" / f"{image.stem}.txt" for image in images]
    cameras = map_bounded(files, try_matrix, workers=AT_ONCE)
    pairs = []
    for image, camera in zip(images, cameras, strict=True):
        name = image.stem.replace("_sync_image_", "_sync_groundtruth_depth_")
        depth = folder / "groundtruth_depth" / f"{name}.png"
        pairs.append(Pair(image.name, image, depth, "kitti", "kitti", camera=camera, sparse=True))
    return pairs


def _read_camera(path: AnyPath, view: str) -> Calibration | None:
    """Return the camera of the rectified images of a day, or None where its calibration does not exist."""
    with in_words(f"cannot read the camera {path}"):
        try:
            text = read_named_text(path)
        except FileNotFoundError:
            return None
    line = re.search(rf"^P_rect_{view[-2:]}:(.*)$", text, re.MULTILINE)
    if line is None:
        raise InputError(f"{path} has no P_rect_{view[-2:]}: get the calibration of the raw data again")
    return parse_matrix(line[1], str(path))


INFO = DatasetInfo(
    name="kitti",
    summary="KITTI depth: roads, sparse laser depth in metres",
    licence="CC BY-NC-SA 3.0",
    where="https://www.cvlibs.net/datasets/kitti/eval_depth.php (depth) and raw_data.php (images)",
    layout="train/ and val/ of data_depth_annotated with the raw days (2011_09_26/, calib_cam_to_cam.txt in "
    "each) beside them; for split selection, val_selection_cropped/",
    open=_open,
    splits=_SPLITS,
    marks=("*/*_sync/proj_depth/groundtruth",),
)
