"""SUN RGB-D: rooms by four sensors. Song, Lichtenberg and Xiao, CVPR 2015. Raw depth, not the filled one."""

from __future__ import annotations

from pathlib import Path

from cortexia_video.datasets.calibration import read_matrix
from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.info import DatasetInfo
from cortexia_video.datasets.matlab import read_mat
from cortexia_video.datasets.pair import Pair, read_pair
from cortexia_video.errors import InputError

_LIST = "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat"
_SPLITS = {"train": "alltrain", "test": "alltest"}


def _open(root: Path, split: str | None) -> RGBDDataset:
    folders = (path.parent for path in sorted((root / "SUNRGBD").rglob("intrinsics.txt")))
    wanted = None if split is None else _read_split(root, split)
    pairs = [_find_pair(root, each) for each in folders if wanted is None or _name(root, each) in wanted]
    return RGBDDataset("sunrgbd", pairs, read_pair)


def _find_pair(root: Path, folder: Path) -> Pair:
    image, depth = (_find_file(folder / name) for name in ("image", "depth"))
    camera = read_matrix(folder / "intrinsics.txt")
    return Pair(f"{_name(root, folder)}/{image.name}", image, depth, "sunrgbd", "sunrgbd", camera=camera)


def _find_file(folder: Path) -> Path:
    found = sorted(folder.glob("*.*"))
    if len(found) != 1:
        raise InputError(f"{folder} holds {len(found)} files, not one: unpack the data set again")
    return found[0]


def _name(root: Path, folder: Path) -> str:
    return folder.relative_to(root / "SUNRGBD").as_posix()


def _read_split(root: Path, split: str) -> frozenset[str]:
    """Give the folders of a split, whose list has them under the authors' own root."""
    cells = read_mat(root / _LIST)[_SPLITS[split]]
    return frozenset(str(cell[0]).partition("/SUNRGBD/")[2].strip("/") for cell in cells.ravel())


INFO = DatasetInfo(
    name="sunrgbd",
    summary="SUN RGB-D: rooms by Kinect 1 and 2, RealSense and Xtion, metres",
    licence="research, see its page",
    where="https://rgbd.cs.princeton.edu (SUNRGBD.zip, SUNRGBDtoolbox.zip)",
    layout=f"SUNRGBD/kv1/.../NYU0001 with image/, depth/, intrinsics.txt; for splits {_LIST}",
    open=_open,
    splits=tuple(_SPLITS),
    marks=("SUNRGBD",),
)
