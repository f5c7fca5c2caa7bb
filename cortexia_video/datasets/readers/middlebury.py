"""Middlebury stereo 2014: still scenes, disparity made metres. Scharstein et al., GCPR 2014."""

from __future__ import annotations

import re
from dataclasses import replace

from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.dataset_info import DatasetInfo
from cortexia_video.datasets.readers._calibration import parse_matrix, read_calibration
from cortexia_video.datasets.readers._pair import Pair, read_pair
from cortexia_video.errors import CortexiaError
from cortexia_video.formats.conventions import parse_calibration
from cortexia_video.storage.paths import AnyPath, find_inside, name_inside

_DISPARITIES = ("disp0.pfm", "disp0GT.pfm")  # of the scenes, of the evaluation kit


def _open(root: AnyPath, split: str | None) -> RGBDDataset:
    pairs = []
    for path in find_inside(root, "**/calib.txt"):
        scene = path.parent
        depth = next((scene / name for name in _DISPARITIES if (scene / name).exists()), None)
        if depth is None:
            continue
        image = scene / "im0.png"  # the left one, as the disparity
        key = name_inside(image, root)
        try:
            text = read_calibration(path)
            about = parse_calibration(text)
            matrix = re.search(r"^cam0\s*=\s*\[(.*)\]", text, re.MULTILINE)
            camera = parse_matrix(matrix[1] if matrix else "", f"cam0 in {path}")
        except CortexiaError as error:
            pairs.append(Pair(key, image, depth, "middlebury", problem=error))
            continue
        pair = Pair(key, image, depth, "middlebury", "middlebury", about, camera)
        if "calibrated_size" in about:
            height, width = about["calibrated_size"]
            pair = replace(pair, camera_size=(width, height))
        pairs.append(pair)
    return RGBDDataset("middlebury", sorted(pairs, key=lambda pair: pair.key), read_pair)


INFO = DatasetInfo(
    name="middlebury",
    summary="Middlebury stereo 2014: still scenes, structured light, metres",
    licence="research, cite the paper",
    where="https://vision.middlebury.edu/stereo/data/scenes2014/",
    layout="Adirondack-perfect/ and others, with im0.png, disp0.pfm and calib.txt; or of the evaluation kit "
    "MiddEval3 trainingQ/Adirondack/ and others, with disp0GT.pfm",
    open=_open,
    marks=("**/calib.txt", "**/disp0*.pfm"),
)
