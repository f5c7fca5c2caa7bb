"""SUN RGB-D: rooms by four sensors. Song, Lichtenberg and Xiao, CVPR 2015. Raw depth, or the filled one.

The authors' toolbox reads the filled one, `depth_bfx`, and takes what is beyond 8 m for 8 m; here it stays.
"""

from __future__ import annotations

from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.dataset_info import DatasetInfo
from cortexia_video.datasets.readers._calibration import try_matrix
from cortexia_video.datasets.readers._matlab import read_mat
from cortexia_video.datasets.readers._pair import Pair, list_images, read_image_file, read_pair
from cortexia_video.errors import InputError
from cortexia_video.runtime.bounded_map import AT_ONCE, map_bounded
from cortexia_video.storage.paths import AnyPath, find_inside, name_inside

_LIST = "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat"
_SPLITS = {"train": "alltrain", "test": "alltest"}
_DEPTHS = ("depth", "depth_bfx")


def _open(root: AnyPath, split: str | None, depth: str = "depth") -> RGBDDataset:
    """Return the samples with the depth in one of the folders `_DEPTHS`."""
    if depth not in _DEPTHS:
        raise InputError(f"the depth of sunrgbd must be one of {', '.join(_DEPTHS)}, got {depth!r}")
    folders = [path.parent for path in find_inside(root / "SUNRGBD", "**/intrinsics.txt")]
    if split is not None:  # the folders of a split, whose list has them under the authors' own root
        cells = read_mat(root / _LIST, _SPLITS[split], list)
        wanted = {str(cell).partition("/SUNRGBD/")[2].strip("/") for cell in cells}
        folders = [each for each in folders if _name(root, each) in wanted]
    pairs, files = [], [folder / "intrinsics.txt" for folder in folders]
    cameras = map_bounded(files, try_matrix, workers=AT_ONCE)
    for folder, camera in zip(folders, cameras, strict=True):
        name = _name(root, folder)
        images, depths = list_images(folder / "image"), list_images(folder / depth)
        if len(images) == len(depths) == 1:
            key = f"{name}/{images[0].name}"
            pairs.append(Pair(key, images[0], depths[0], "sunrgbd", "sunrgbd", camera=camera))
            continue
        words = f"{folder} holds {len(images)} images and {len(depths)} of depth, not one: unpack the dataset again"
        pairs.append(Pair(name, folder, folder, "sunrgbd", problem=InputError(words)))
    return RGBDDataset("sunrgbd", pairs, read_pair, read_file=read_image_file)


def _name(root: AnyPath, folder: AnyPath) -> str:
    return name_inside(folder, root / "SUNRGBD")


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
