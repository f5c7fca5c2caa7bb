"""Middlebury stereo 2014: still scenes, disparity made metres. Scharstein et al., GCPR 2014."""

from __future__ import annotations

import re

from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.dataset_info import DatasetInfo
from cortexia_video.datasets.readers._calibration import parse_matrix, read_calibration
from cortexia_video.datasets.readers._pair import Pair, read_pair
from cortexia_video.errors import InputError
from cortexia_video.formats.conventions import parse_calibration
from cortexia_video.storage.paths import AnyPath, find_inside, name_inside


def _open(root: AnyPath, split: str | None) -> RGBDDataset:
    folders = sorted(path.parent for path in find_inside(root, "**/calib.txt"))
    scenes = [each for each in folders if (each / "disp0.pfm").exists()]
    pairs = []
    for scene in scenes:  # the left image and its disparity
        path = scene / "calib.txt"
        text = read_calibration(path)
        matrix = re.search(r"^cam0\s*=\s*\[(.*)\]", text, re.MULTILINE)
        if matrix is None:
            raise InputError(f"{path} has no cam0: get the scene again")
        camera, about = parse_matrix(matrix[1], str(path)), parse_calibration(text)
        image, depth = scene / "im0.png", scene / "disp0.pfm"
        key = name_inside(image, root)
        pairs.append(Pair(key, image, depth, "middlebury", "middlebury", about, camera))
    return RGBDDataset("middlebury", pairs, read_pair)


INFO = DatasetInfo(
    name="middlebury",
    summary="Middlebury stereo 2014: still scenes, structured light, metres",
    licence="research, cite the paper",
    where="https://vision.middlebury.edu/stereo/data/scenes2014/",
    layout="Adirondack-perfect/ and others, with im0.png, disp0.pfm and calib.txt",
    open=_open,
    marks=("**/calib.txt", "**/disp0.pfm"),
)
