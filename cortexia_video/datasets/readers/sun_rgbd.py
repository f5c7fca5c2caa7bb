"""SUN RGB-D: rooms by four sensors. Song, Lichtenberg and Xiao, CVPR 2015. Raw depth, not the filled one."""

from __future__ import annotations

from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.dataset_info import DatasetInfo
from cortexia_video.datasets.readers._calibration import Calibration, read_matrix
from cortexia_video.datasets.readers._matlab import read_mat
from cortexia_video.datasets.readers._pair import Pair, read_pair
from cortexia_video.errors import InputError
from cortexia_video.runtime.bounded_map import AT_ONCE, map_bounded
from cortexia_video.storage.paths import AnyPath, find_inside, name_inside

_LIST = "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat"
_SPLITS = {"train": "alltrain", "test": "alltest"}


def _open(root: AnyPath, split: str | None) -> RGBDDataset:
    folders = [path.parent for path in find_inside(root / "SUNRGBD", "**/intrinsics.txt")]
    wanted = None if split is None else _read_split(root, split)
    chosen = [each for each in folders if wanted is None or _name(root, each) in wanted]
    cameras = map_bounded(chosen, lambda folder: read_matrix(folder / "intrinsics.txt"), workers=AT_ONCE)
    pairs = [_find_pair(root, *each) for each in zip(chosen, cameras, strict=True)]
    return RGBDDataset("sunrgbd", pairs, read_pair)


def _find_pair(root: AnyPath, folder: AnyPath, camera: Calibration) -> Pair:
    image, depth = (_find_file(folder / name) for name in ("image", "depth"))
    return Pair(f"{_name(root, folder)}/{image.name}", image, depth, "sunrgbd", "sunrgbd", camera=camera)


def _find_file(folder: AnyPath) -> AnyPath:
    found = find_inside(folder, "*.*")
    if len(found) != 1:
        raise InputError(f"{folder} holds {len(found)} files, not one: unpack the dataset again")
    return found[0]


def _name(root: AnyPath, folder: AnyPath) -> str:
    return name_inside(folder, root / "SUNRGBD")


def _read_split(root: AnyPath, split: str) -> frozenset[str]:
    """Return the folders of a split, whose list has them under the authors' own root."""
    cells = read_mat(root / _LIST, _SPLITS[split], list)
    return frozenset(str(cell).partition("/SUNRGBD/")[2].strip("/") for cell in cells)


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
