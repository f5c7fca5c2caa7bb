"""Middlebury stereo 2014: still scenes, disparity made metres. Scharstein et al., GCPR 2014."""

from __future__ import annotations

import re
from pathlib import Path

from cortexia_video.datasets.calibration import parse_matrix
from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.info import DatasetInfo
from cortexia_video.datasets.pair import Pair, read_pair
from cortexia_video.errors import InputError
from cortexia_video.formats.dialects import parse_calibration


def _open(root: Path, split: str | None) -> RGBDDataset:
    scenes = sorted(path.parent for path in root.rglob("calib.txt") if (path.parent / "disp0.pfm").exists())
    return RGBDDataset("middlebury", [_find_pair(root, each) for each in scenes], read_pair)


def _find_pair(root: Path, scene: Path) -> Pair:
    """Give the left picture and its disparity."""
    path = scene / "calib.txt"
    text = path.read_text()
    matrix = re.search(r"^cam0\s*=\s*\[(.*)\]", text, re.MULTILINE)
    if matrix is None:
        raise InputError(f"{path} has no cam0: get the scene again")
    camera, about = parse_matrix(matrix[1], str(path)), parse_calibration(text)
    key = (scene / "im0.png").relative_to(root).as_posix()
    return Pair(key, scene / "im0.png", scene / "disp0.pfm", "middlebury", "middlebury", about, camera)


INFO = DatasetInfo(
    name="middlebury",
    summary="Middlebury stereo 2014: still scenes, structured light, metres",
    licence="research, cite the paper",
    where="https://vision.middlebury.edu/stereo/data/scenes2014/",
    layout="Adirondack-perfect/ and others, with im0.png, disp0.pfm and calib.txt",
    open=_open,
    marks=("**/calib.txt", "**/disp0.pfm"),
)
